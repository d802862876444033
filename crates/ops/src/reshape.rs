//! `Reshape`, `Flatten`: the same elements in row-major order under another shape.
//! Spec: ai.onnx `Reshape`, versions 1, 5, 13, 14, 19, 21, 23, 24, 25; `Flatten`, versions 1, 9, 11, 13, 21, 23, 24, 25.
//!  R0  The wanted shape is operand 1, an attribute before version 5.
//!  R1  Entry 0 of the wanted shape copies the size of x (unless `allowzero`); −1 takes what is left.
//!  R2  Old and new axes fall into blocks of equal size, matched from the left, then from the right. Size 1 is ignored.
//!  R3  A block of one axis on each side: they are the same axis.
//!  R4  A static block is split into digits, the common refinement of both sides; every axis is the product of its
//!      digits. Where the two factorisations have no common refinement, the block is frozen.
//!  R5  Static axes in a block with a dynamic one are frozen.
//!  R6  After a cut the shape operand holds the new sizes; entries 0 and −1 stay where they still say the same.

use crate::content::freeze_sizes;
use crate::form::{followed, mismatch, unnamed};
use crate::work::nothing;
use sparsec_ir::{
    Affine, Attr, AxisRef, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate,
    Relations, Resize, Resized, ShapeRule, WorkRule,
};

const RESHAPE: OpDef = OpDef {
    name: "Reshape",
    domain: ONNX,
    since: &[1, 5, 13, 14, 19, 21, 23, 24, 25],
    shape: ShapeRule::By(reshape_shape),
    relate: Relate::By(relate),
    work: WorkRule::By(nothing),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    RESHAPE,
    OpDef {
        name: "Flatten",
        since: &[1, 9, 11, 13, 21, 23, 24, 25],
        shape: ShapeRule::By(flatten_shape),
        resize: Resize::Nothing,
        ..RESHAPE
    },
];

fn reshape_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?;
    let elem = x.fact.elem;
    let shape = match (wanted(node)?, node.input(1).and_then(|w| w.size(0))) {
        (Some(entries), _) => Some(target(node, x.fact.shape.as_deref(), &entries)?),
        (None, Some(rank)) if rank <= 64 => Some((0..rank as usize).map(|a| unnamed(node, 0, a)).collect()),
        _ => None,
    };
    let content = x.fact.content.clone().filter(|_| shape.as_ref().is_some_and(|s| s.len() <= 1));
    Ok(vec![Fact { elem, shape, content }])
}

/// Entries of the wanted shape, where they are known; R0.
fn wanted(node: &NodeRef) -> Result<Option<Vec<Dim>>, OpError> {
    if node.opset < 5 {
        let missing = || OpError::BadAttribute { name: "shape".to_string(), expected: "given" };
        return Ok(Some(node.ints("shape")?.ok_or_else(missing)?.into_iter().map(Dim::from).collect()));
    }
    Ok(node.need_input(1)?.fact.content.clone())
}

/// The shape that the entries of the shape operand ask for.
fn target(node: &NodeRef, x: Option<&[Dim]>, entries: &[Dim]) -> Result<Vec<Dim>, OpError> {
    let copies = node.int_or("allowzero", 0)? == 0;
    let mut hole = None;
    let mut dims = Vec::with_capacity(entries.len());
    for (axis, entry) in entries.iter().enumerate() {
        dims.push(match (entry.as_const(), x) {
            (Some(0), Some(x)) if copies => {
                x.get(axis).cloned().ok_or(OpError::AxisOutOfRange { axis: axis as i64, rank: x.len() })?
            }
            (Some(0), None) if copies => unnamed(node, 0, axis),
            (Some(-1), _) if hole.is_some() => return Err(OpError::Unsupported("more than one entry is -1")),
            (Some(-1), _) => {
                hole = Some(axis);
                Dim::from(1)
            }
            (Some(c), _) if c < 0 => return Err(mismatch("entry of the shape operand", entry, "a size")),
            _ => entry.clone(),
        });
    }
    let Some(x) = x else {
        if let Some(axis) = hole {
            dims[axis] = unnamed(node, 0, axis);
        }
        return Ok(dims);
    };
    if let Some(axis) = hole {
        dims[axis] = followed(node, 0, axis, left_over(x, &dims));
    }
    match (Dim::product(x).and_then(|p| p.as_const()), Dim::product(&dims).and_then(|p| p.as_const())) {
        (Some(old), Some(new)) if old != new => Err(mismatch("numbers of elements", old, new)),
        _ => Ok(dims),
    }
}

/// Π old ÷ Π new, with equal factors dropped first: a sum of symbols divides itself only.
fn left_over(old: &[Dim], new: &[Dim]) -> Option<Dim> {
    let mut rest = old.to_vec();
    let mut divisor = Vec::new();
    for d in new {
        match rest.iter().position(|r| r == d) {
            Some(at) => drop(rest.remove(at)),
            None => divisor.push(d),
        }
    }
    Dim::product(&rest)?.div_exact(&Dim::product(divisor)?)
}

fn flatten_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?;
    let Some(dims) = &x.fact.shape else { return Ok(vec![Fact::unranked(x.fact.elem)]) };
    let (axis, rank) = (node.int_or("axis", 1)?, dims.len());
    let at = if axis == rank as i64 { rank } else { node.axis(axis, rank)? };
    let side = |a: usize, dims: &[Dim]| followed(node, 0, a, Dim::product(dims));
    let shape = vec![side(0, &dims[..at]), side(1, &dims[at..])];
    Ok(vec![Fact { elem: x.fact.elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    freeze_sizes(node, 1, r);
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    reblock(&axes_of(&x, 0)?, &axes_of(&y, 0)?, r);
    Ok(())
}

/// An axis with its size.
type Sized = (AxisRef, Dim);

fn axes_of(operand: &Operand, index: usize) -> Result<Vec<Sized>, OpError> {
    let dims = operand.fact.shape.as_ref().ok_or(OpError::UnknownRank { index })?;
    Ok(dims.iter().enumerate().map(|(a, d)| (operand.axis(a), d.clone())).collect())
}

/// Relates the axes of a row-major tensor under one shape to its axes under another (R2 to R5).
fn reblock(old: &[Sized], new: &[Sized], r: &mut Relations) {
    let wide = |side: &[Sized]| side.iter().filter(|(_, d)| d.as_const() != Some(1)).cloned().collect::<Vec<_>>();
    let (mut old, mut new) = (wide(old), wide(new));
    while let Some((i, j)) = first_block(old.iter(), new.iter()) {
        let (rest_old, rest_new) = (old.split_off(i), new.split_off(j));
        relate_block(&old, &new, r);
        (old, new) = (rest_old, rest_new);
    }
    while let Some((i, j)) = first_block(old.iter().rev(), new.iter().rev()) {
        let (block_old, block_new) = (old.split_off(old.len() - i), new.split_off(new.len() - j));
        relate_block(&block_old, &block_new, r);
    }
    relate_block(&old, &new, r);
}

/// How many axes of either side, taken in order, make the first block of equal size.
fn first_block<'a>(
    mut old: impl Iterator<Item = &'a Sized>,
    mut new: impl Iterator<Item = &'a Sized>,
) -> Option<(usize, usize)> {
    let (mut a, mut b) = (old.next()?.1.clone(), new.next()?.1.clone());
    let (mut i, mut j) = (1, 1);
    while a != b {
        let old_is_smaller = match (a.as_const(), b.as_const()) {
            (Some(a), Some(b)) => a < b,
            _ if b.div_exact(&a).is_some() => true,
            _ if a.div_exact(&b).is_some() => false,
            _ => return None,
        };
        if old_is_smaller {
            a = a.mul(&old.next()?.1)?;
            i += 1;
        } else {
            b = b.mul(&new.next()?.1)?;
            j += 1;
        }
    }
    Some((i, j))
}

fn relate_block(old: &[Sized], new: &[Sized], r: &mut Relations) {
    let sizes = |side: &[Sized]| side.iter().map(|(_, d)| d.as_size()).collect::<Option<Vec<u64>>>();
    let reason = match (sizes(old), sizes(new)) {
        (Some(a), Some(b)) => match digits(&a, &b) {
            Some(digits) => return relate_digits(old, new, &digits, r), // R3, R4
            None => Reason::Factorisation,                              // R4
        },
        _ => Reason::Rule("merged with an axis of dynamic length"), // R5
    };
    for (axis, _) in old.iter().chain(new).filter(|(_, d)| d.as_size().is_some()) {
        r.freeze(*axis, reason.clone());
    }
}

/// Lengths of the digits that refine both factorisations of one number, outermost first.
fn digits(a: &[u64], b: &[u64]) -> Option<Vec<u64>> {
    let suffixes = |side: &[u64]| {
        let mut all = vec![1u64];
        for &n in side.iter().rev() {
            all.push(all.last()?.checked_mul(n).filter(|&p| p > 0)?);
        }
        Some(all)
    };
    let (a, b) = (suffixes(a)?, suffixes(b)?);
    if a.last() != b.last() {
        return None;
    }
    let mut bounds = [a, b].concat();
    bounds.sort_unstable();
    bounds.dedup();
    let mut digits =
        bounds.windows(2).map(|w| (w[1] % w[0] == 0).then_some(w[1] / w[0])).collect::<Option<Vec<_>>>()?;
    digits.reverse();
    Some(digits)
}

/// Ties axes that are one digit on both sides and states the others as products.
fn relate_digits(old: &[Sized], new: &[Sized], digits: &[u64], r: &mut Relations) {
    let (old, new) = (spans(old, digits), spans(new, digits));
    let single = |side: &[(AxisRef, std::ops::Range<usize>)], digit: usize| {
        side.iter().find(|(_, span)| *span == (digit..digit + 1)).map(|(axis, _)| *axis)
    };
    let axes: Vec<AxisRef> = digits
        .iter()
        .enumerate()
        .map(|(i, &len)| match (single(&old, i), single(&new, i)) {
            (Some(a), Some(b)) => {
                r.tie(a, b, len, "R3");
                a
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => r.virtual_axis(len),
        })
        .collect();
    for (axis, span) in old.into_iter().chain(new).filter(|(_, span)| span.len() > 1) {
        r.product(axis, &axes[span], "R4");
    }
}

/// The digits that each axis consists of.
fn spans(side: &[Sized], digits: &[u64]) -> Vec<(AxisRef, std::ops::Range<usize>)> {
    let mut at = 0;
    let mut span = |(axis, dim): &Sized| {
        let (start, mut product) = (at, 1);
        while at < digits.len() && Some(product) != dim.as_size() {
            product *= digits[at];
            at += 1;
        }
        (*axis, start..at)
    };
    side.iter().map(&mut span).collect()
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let node = &cut.before;
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let entries = wanted(node)?;
    let Some(sizes) = cut.shape(y.value).filter(|_| cut.any()) else { return Ok(Vec::new()) };
    let entries = entries.as_ref();
    let entry = |axis: usize| entries.and_then(|e| e.get(axis)).and_then(Dim::as_const);
    // Where no axis is empty, entry 0 can copy whatever the attribute says of it.
    let literal = node.int_or("allowzero", 0)? != 0;
    let copies = !literal || sizes.iter().all(|d| d.as_const() != Some(0));
    let copied = |axis: usize, size: &Dim| {
        copies && axis < x.rank().unwrap_or(0) && cut.dim(x.value, axis).as_ref() == Some(size)
    };
    let open =
        |(axis, size): &(usize, &Dim)| entry(*axis) == Some(-1) || size.as_const().is_none() && !copied(*axis, size);
    let holes = sizes.iter().enumerate().filter(open).count();
    // Where some sizes must be computed in any case, those that are stay.
    let computed = |axis: usize, size: &Dim| holes > 1 && entries.and_then(|e| e.get(axis)) == Some(size);
    let mut dims = Vec::with_capacity(sizes.len());
    let mut zeros = false;
    for (axis, size) in sizes.into_iter().enumerate() {
        let copied = copied(axis, &size);
        dims.push(match entry(axis) {
            Some(-1) => Dim::from(-1),
            Some(0) if copied => Dim::from(0),
            _ if size.as_const().is_some() || computed(axis, &size) => size,
            // A size that is known only at run time is better copied or left over than computed.
            _ if copied => {
                zeros = true;
                Dim::from(0)
            }
            _ if holes == 1 => Dim::from(-1),
            _ => size,
        });
    }
    if entries == Some(&dims) {
        return Ok(Vec::new());
    }
    if node.opset < 5 {
        let sizes: Option<Vec<i64>> = dims.iter().map(Dim::as_const).collect();
        let sizes = sizes.ok_or(OpError::Unsupported("an attribute cannot hold a size known only at run time"))?;
        return Ok(vec![Edit::Attr("shape", Attr::Ints(sizes))]);
    }
    let mut edits = vec![Edit::Content { operand: 1, dims }]; // R6
    if zeros && literal {
        edits.push(Edit::NoAttr("allowzero"));
    }
    Ok(edits)
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_error, check_fact, check_relation, check_resize};

    fn reshape(x: &str, wanted: &[i64]) -> String {
        let entries: Vec<String> = wanted.iter().map(i64::to_string).collect();
        let (len, entries) = (entries.len(), entries.join(", "));
        format!("g (float[{x}] x) => (float[] y) <int64[{len}] s = {{{entries}}}> {{ y = Reshape (x, s) }}")
    }
    const SIZES: &str = "s.0 frozen: holds sizes";

    #[test]
    fn zero_copies_and_minus_one_takes_the_rest() {
        check_fact(&reshape("n,6,4", &[0, -1]), "float[n,24]");
        check_fact(&reshape("n,6,4", &[-1, 4]), "float[6*n,4]");
        check_fact(&reshape("n,6,h", &[0, 2, 3, -1]), "float[n,2,3,h]");
    }
    #[test]
    fn sizes_of_too_many_terms_are_not_followed() {
        let sides = |n: usize| (0..n).map(|i| format!("s{i}")).collect::<Vec<_>>().join(",");
        let flat = |n: usize, last: &str| {
            let ones = vec!["1"; 2 * n].join(", ");
            let (x, pads) = (sides(n), format!("int64[{}] p = {{{ones}}}, int64[1] m = {{-1}}", 2 * n));
            format!("g (float[{x}] x) => (float[] y) <{pads}> {{ h = Pad (x, p) y = {last} }}")
        };
        check_fact(&flat(2, "Reshape (h, m)"), "float[s0*s1+2*s0+2*s1+4]");
        check_fact(&flat(16, "Reshape (h, m)"), "float[?y.0]");
        check_fact(&flat(16, "Flatten <axis = 8> (h)"), "float[?y.0,?y.1]");
    }
    #[test]
    fn element_counts_must_agree() {
        check_error(&reshape("2,6", &[5, 2]), "numbers of elements: 12 against 10");
    }
    #[test]
    fn merged_axes_are_digits_of_the_flat_one() {
        check_relation(&reshape("n,6,4", &[0, -1]), &[SIZES, "R4 y.1 = x.1*x.2"]);
    }
    #[test]
    fn a_split_axis_is_the_product_of_its_digits() {
        check_relation(&reshape("n,16,12", &[0, 0, 3, 4]), &[SIZES, "R3 x.1 = y.1 x16", "R4 x.2 = y.2*y.3"]);
    }
    #[test]
    fn crossing_factorisations_share_a_virtual_digit() {
        check_relation(&reshape("6,4", &[3, 8]), &[SIZES, "R4 x.0 = y.0*#0", "R4 y.1 = #0*x.1"]);
    }
    #[test]
    fn factorisations_without_refinement_freeze() {
        let why = "frozen: two factorisations of the axis meet";
        let all = ["x.0", "x.1", "y.0", "y.1"].map(|a| format!("{a} {why}"));
        let all: Vec<&str> = std::iter::once(SIZES).chain(all.iter().map(String::as_str)).collect();
        check_relation(&reshape("6,4", &[4, 6]), &all);
    }
    #[test]
    fn static_axes_merged_with_a_dynamic_one_are_frozen() {
        check_relation(
            &reshape("n,6,8", &[-1, 8]),
            &[SIZES, "x.1 frozen: merged with an axis of dynamic length", "R3 x.2 = y.1 x8"],
        );
    }
    #[test]
    fn blocks_are_matched_from_the_right_past_unknown_sizes() {
        check_relation(
            "g (float[n,4,8] x, float[p] z) => (float[] y) <int64[1] e = {32}> {
                k = Shape (z) s = Concat <axis = 0> (k, e) y = Reshape (x, s) }",
            &["s.0 frozen: holds sizes", "R4 y.1 = x.1*x.2"],
        );
    }
    #[test]
    fn single_slots_are_ignored() {
        check_relation(&reshape("1,6,1", &[6]), &[SIZES, "R3 x.1 = y.0 x6"]);
    }
    #[test]
    fn literal_sizes_follow_a_cut_and_dynamic_ones_are_copied() {
        let cut: &[u32] = &[0, 2, 3];
        check_resize(&reshape("n,16,12", &[-1, 16, 3, 4]), &[("y", 3, cut)], &["operand 1 = -1,16,3,3"]);
        check_resize(&reshape("n,6,4", &[0, -1]), &[("y", 1, cut)], &[]);
    }
    #[test]
    fn the_shape_is_an_attribute_in_the_first_version() {
        let text = r#"<ir_version: 8, opset_import: ["" : 1]> g (float[n,6,4] x) => (float[] y)
            { y = Reshape <shape = [0, 24]> (x) }"#;
        check_fact(text, "float[n,24]");
        check_relation(text, &["R4 y.1 = x.1*x.2"]);
        check_resize(text, &[("y", 1, &[0, 2, 3])], &["shape = Ints([0, 3])"]);
    }
    #[test]
    fn flatten_merges_on_both_sides() {
        check_relation("g (float[n,6,4] x) => (float[] y) { y = Flatten (x) }", &["R4 y.1 = x.1*x.2"]);
        check_fact("g (float[n,6,4] x) => (float[] y) { y = Flatten <axis = -1> (x) }", "float[6*n,4]");
    }
}
