//! `Einsum`: products of operands, summed over the indices that the result does not have. Spec: ai.onnx `Einsum`,
//! versions 12, 28.
//!  R1  Axes of one letter are one axis, in operands and result; an axis of length 1 relates to nothing.
//!  R2  A letter that the result lacks is summed over: its axes are contracted where two values hold it, and frozen
//!      where only one does, since nothing is multiplied there that could be worth zero.
//!  R3  Axes under an ellipsis are aligned from the right and tied.
//!  R4  A letter twice in one operand is a diagonal: its axes are tied.
//!  R5  Without `->` the result has the ellipsis and then, in alphabetical order, the letters that occur once.

use crate::form::{At, contract, dims, freeze, mismatch, normalised, product, sizes, tie, unnamed};
use sparsec_ir::{
    Affine, Dim, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Relate, Relations, Resize,
    ShapeRule, Work, WorkRule,
};
use std::collections::BTreeMap;

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Einsum",
    domain: ONNX,
    since: &[12, 28],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// What an axis is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Label {
    /// An axis under an ellipsis, counted from the right.
    Dots(usize),
    Letter(char),
}

/// The equation, written out to one label an axis.
struct Equation {
    operands: Vec<Vec<Label>>,
    result: Vec<Label>,
}

impl Equation {
    fn view(node: &NodeRef) -> Result<Self, OpError> {
        let text = node.string("equation")?.ok_or(OpError::Unsupported("`equation` is missing"))?;
        let text: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match text.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (text.as_str(), None),
        };
        let terms: Vec<&str> = left.split(',').collect();
        if terms.len() != node.input_count() {
            return Err(mismatch("terms of the equation against operands", terms.len(), node.input_count()));
        }
        let mut operands = Vec::new();
        for (index, term) in terms.iter().enumerate() {
            let rank = node.rank(index)?;
            let letters = letters_in(term)?;
            let dots = if term.contains("...") { rank.checked_sub(letters) } else { (rank == letters).then_some(0) };
            operands
                .push(labels(term, dots.ok_or_else(|| mismatch("term of the equation against a rank", term, rank))?)?);
        }
        let dots = operands.iter().flatten().filter_map(|l| if let Label::Dots(i) = l { Some(i + 1) } else { None });
        let dots = dots.max().unwrap_or(0);
        let result = match right {
            Some(term) if term.contains("...") => labels(term, dots)?,
            Some(term) => labels(term, 0)?,
            None => implicit(&operands, dots), // R5
        };
        let known = |l: &Label| operands.iter().any(|o| o.contains(l));
        if !result.iter().enumerate().all(|(i, l)| known(l) && !result[..i].contains(l)) {
            return Err(bad());
        }
        Ok(Self { operands, result })
    }
    /// Every (operand, axis) of each label.
    fn places(&self) -> BTreeMap<Label, Vec<(usize, usize)>> {
        let mut places: BTreeMap<Label, Vec<(usize, usize)>> = BTreeMap::new();
        for (operand, labels) in self.operands.iter().enumerate() {
            for (axis, label) in labels.iter().enumerate() {
                places.entry(*label).or_default().push((operand, axis));
            }
        }
        places
    }
}

fn bad() -> OpError {
    OpError::BadAttribute { name: "equation".to_string(), expected: "terms of letters with at most one `...` each" }
}

fn letters_in(term: &str) -> Result<usize, OpError> {
    let rest = term.replacen("...", "", 1);
    if rest.chars().all(|c| c.is_ascii_alphabetic()) { Ok(rest.len()) } else { Err(bad()) }
}

fn labels(term: &str, dots: usize) -> Result<Vec<Label>, OpError> {
    letters_in(term)?;
    let letters = |s: &str| s.chars().map(Label::Letter).collect::<Vec<_>>();
    Ok(match term.split_once("...") {
        Some((before, after)) => {
            let dots = (0..dots).rev().map(Label::Dots);
            letters(before).into_iter().chain(dots).chain(letters(after)).collect()
        }
        None => letters(term),
    })
}

fn implicit(operands: &[Vec<Label>], dots: usize) -> Vec<Label> {
    let mut times: BTreeMap<char, usize> = BTreeMap::new();
    for label in operands.iter().flatten() {
        if let Label::Letter(c) = label {
            *times.entry(*c).or_default() += 1;
        }
    }
    let once = times.into_iter().filter(|(_, n)| *n == 1).map(|(c, _)| Label::Letter(c));
    (0..dots).rev().map(Label::Dots).chain(once).collect()
}

/// Size of each label; the first that is not 1, a number where there is one.
fn label_sizes(node: &NodeRef, e: &Equation) -> Result<BTreeMap<Label, Dim>, OpError> {
    let one = Dim::from(1);
    let mut out: BTreeMap<Label, Dim> = BTreeMap::new();
    for (label, places) in e.places() {
        for (operand, axis) in places {
            let d = &dims(node, operand)?[axis];
            let known = out.entry(label).or_insert_with(|| d.clone());
            match (known.as_const(), d.as_const()) {
                _ if *d == one || known == d => {}
                _ if *known == one => *known = d.clone(),
                (Some(a), Some(b)) if a != b => return Err(mismatch("sizes of one letter", a, b)),
                (None, Some(_)) => *known = d.clone(),
                _ => {}
            }
        }
    }
    Ok(out)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let e = Equation::view(node)?;
    let sizes = label_sizes(node, &e)?;
    let size = |(axis, label): (usize, &Label)| sizes.get(label).cloned().unwrap_or_else(|| unnamed(node, 0, axis));
    let shape = e.result.iter().enumerate().map(size).collect();
    let elem = (0..node.input_count()).find_map(|i| node.input(i)?.fact.elem);
    Ok(vec![Fact { elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let e = Equation::view(node)?;
    let y = node.need_output(0)?;
    let operands = (0..node.input_count()).map(|i| node.need_input(i)).collect::<Result<Vec<Operand>, _>>()?;
    for (label, places) in e.places() {
        let places: Vec<At> = places.into_iter().map(|(o, axis)| (&operands[o], axis)).collect();
        let long: Vec<At> = places.into_iter().filter(|(o, axis)| o.size(*axis) != Some(1)).collect();
        let Some((first, rest)) = long.split_first() else { continue };
        if let Some(to) = e.result.iter().position(|l| *l == label) {
            for &place in &long {
                tie(r, place, (&y, to), "R1");
            }
            continue;
        }
        if rest.iter().all(|(o, _)| o.value == first.0.value) {
            for (operand, axis) in &long {
                freeze(r, operand, [*axis], &normalised(node)); // R2
            }
            continue;
        }
        for &place in rest {
            if place.0.value == first.0.value {
                tie(r, *first, place, "R4");
            } else {
                contract(r, *first, place, "R2");
            }
        }
    }
    Ok(())
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let e = Equation::view(node)?;
    for operand in 0..node.input_count() {
        sizes(node, operand)?;
    }
    let of = label_sizes(node, &e)?;
    let all = |keep: &dyn Fn(&Label) -> bool| {
        let sizes: Vec<u64> = of.iter().filter(|(l, _)| keep(l)).filter_map(|(_, d)| d.as_size()).collect();
        product(&sizes)
    };
    let macs = all(&|_| true)?;
    let [a, b] = e.operands.as_slice() else {
        let macs = if e.operands.len() > 2 { macs } else { 0 };
        return Ok(Work { kernel: Kernel::Reduce, macs });
    };
    let kept = |l: &Label| e.result.contains(l);
    let batch = all(&|l| kept(l) && a.contains(l) && b.contains(l))?;
    let m = all(&|l| kept(l) && a.contains(l) && !b.contains(l))?;
    let n = all(&|l| kept(l) && !a.contains(l) && b.contains(l))?;
    let k = all(&|l| !kept(l))?;
    Ok(Work { kernel: Kernel::BatchedMatMul { batch, m, n, k }, macs })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_shape, check_work};

    fn text(equation: &str, a: &str, b: &str) -> String {
        format!(r#"g (float[{a}] a, float[{b}] b) => (y) {{ y = Einsum <equation="{equation}"> (a, b) }}"#)
    }
    fn one(equation: &str, x: &str) -> String {
        format!(r#"g (float[{x}] x) => (y) {{ y = Einsum <equation="{equation}"> (x) }}"#)
    }

    #[test]
    fn r1_r2_letters_tie_and_summed_ones_contract() {
        let scores = text("bhqd,bhkd->bhqk", "2,4,7,8", "2,4,5,8");
        check_relation(
            &scores,
            "R1 a:0 = y:0
             R1 b:0 = y:0
             R2 a:3 * b:3
             R1 a:1 = y:1
             R1 b:1 = y:1
             R1 b:2 = y:3
             R1 a:2 = y:2",
        );
        check_shape(&scores, "float[2,4,7,5]");
        let kernel = Kernel::BatchedMatMul { batch: 8, m: 7, n: 5, k: 8 };
        check_work(&scores, &[], kernel, 8 * 7 * 5 * 8);
    }

    #[test]
    fn r2_r4_a_sum_over_one_operand_is_frozen() {
        check_relation(&one("ij->i", "3,4"), "R1 x:0 = y:0\nfreeze x:1: Einsum works over the whole axis");
        let trace = "freeze x:0: Einsum works over the whole axis\nfreeze x:1: Einsum works over the whole axis";
        check_relation(&one("ii->", "3,3"), trace);
        check_relation(&one("ii->i", "3,3"), "R1 x:0 = y:0\nR1 x:1 = y:0");
    }

    #[test]
    fn r3_ellipses_align_from_the_right() {
        let product = text("...ij,...jk->...ik", "n,4,2,3", "4,3,5");
        check_shape(&product, "float[n,4,2,5]");
        check_relation(
            &product,
            "R1 a:1 = y:1
             R1 b:0 = y:1
             R1 a:2 = y:2
             R2 a:3 * b:1
             R1 b:2 = y:3",
        );
    }

    #[test]
    fn r5_the_implicit_result_is_alphabetical() {
        check_shape(&one("ba", "2,3"), "float[3,2]");
        check_shape(&text("ij, jk", "2,3", "3,4"), "float[2,4]");
    }

    #[test]
    fn malformed_equations_are_errors() {
        let bad = "error: attribute `equation` is not terms of letters with at most one `...` each";
        check_shape(&one("i.->i", "2"), bad);
        check_shape(&one("i->ii", "2"), bad);
        check_shape(&one("i->j", "2"), bad);
        check_shape(&one("i,j->ij", "2"), "error: terms of the equation against operands: 2 against 1");
        check_shape(&one("ij->ij", "2"), "error: term of the equation against a rank: ij against 1");
        check_shape(&text("i,i->i", "2", "3"), "error: sizes of one letter: 2 against 3");
    }
}
