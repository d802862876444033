//! Elementwise functions of several operands with multidirectional broadcasting. Spec: ai.onnx, the operators listed
//! below.
//!  R1  Shapes are broadcast by the rules of `broadcast.rs`; axes are related by B1 to B4.
//!  R2  y has the element type of operand 0; comparisons give booleans.
//!  R3  Contents are computed symbolically; comparisons of sizes where they hold for all sizes.
//!  R4  With a constant operand 1 that varies along one axis, `Add`, `Sub`, `Mul` and `Div` are affine by channel.
//!  R5  Before operator set 7 operand 1 is broadcast only if `broadcast` is set; its axes are then those of operand 0
//!      from `axis` on, by default the last ones. A slope of `PRelu` is then one of each channel, axis 1.
//!  R6  `Add` and `Sum` are plain sums: every operand is a term, where any may be the one that is broadcast.

use crate::broadcast::{self, Placed};
use crate::content::{self, zip};
use crate::work::{heavy, light};
use sparsec_ir::{
    Affine, ChannelAffine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize,
    ShapeRule, Sum, WorkRule,
};

type Shape = fn(&NodeRef) -> Result<Vec<Fact>, OpError>;

const fn row(name: &'static str, since: &'static [i64], shape: Shape) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(light),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const fn affine(def: OpDef, by: fn(&NodeRef) -> Result<Option<ChannelAffine>, OpError>) -> OpDef {
    OpDef { affine: Affine::By(by), ..def }
}

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        affine: Affine::Sum(|n| channel(n, |b| (1.0, b))),
        relate: Relate::By(relate_sum),
        ..row("Add", &[1, 6, 7, 13, 14], |n| number(n, Dim::add))
    },
    row("And", &[1, 7], |n| truth(n, |a, b| bit(a, b, |a, b| a & b))),
    row("BitShift", &[11, 28], |n| number(n, |_, _| None)),
    row("BitwiseAnd", &[18], |n| number(n, |_, _| None)),
    row("BitwiseOr", &[18], |n| number(n, |_, _| None)),
    row("BitwiseXor", &[18], |n| number(n, |_, _| None)),
    affine(row("Div", &[1, 6, 7, 13, 14], quotient), |n| channel(n, |b| (1.0 / b, 0.0))),
    row("Equal", &[1, 7, 11, 13, 19], |n| truth(n, equal)),
    row("Greater", &[1, 7, 9, 13], |n| truth(n, |a, b| less(b, a))),
    row("GreaterOrEqual", &[12, 16], |n| truth(n, |a, b| less(a, b).map(not))),
    row("Less", &[1, 7, 9, 13], |n| truth(n, less)),
    row("LessOrEqual", &[12, 16], |n| truth(n, |a, b| less(b, a).map(not))),
    row("Max", &[1, 6, 8, 12, 13], |n| number(n, |a, b| pick(less(a, b)?, b, a))),
    row("Mean", &[1, 6, 8, 13], |n| number(n, |_, _| None)),
    row("Min", &[1, 6, 8, 12, 13], |n| number(n, |a, b| pick(less(a, b)?, a, b))),
    row("Mod", &[10, 13, 28], remainder),
    affine(row("Mul", &[1, 6, 7, 13, 14], |n| number(n, Dim::mul)), |n| channel(n, |b| (b, 0.0))),
    row("Or", &[1, 7], |n| truth(n, |a, b| bit(a, b, |a, b| a | b))),
    row("PRelu", &[1, 6, 7, 9, 16], |n| number(n, |_, _| None)),
    OpDef { work: WorkRule::By(heavy), ..row("Pow", &[1, 7, 12, 13, 15], |n| number(n, power)) },
    affine(row("Sub", &[1, 6, 7, 13, 14], |n| number(n, Dim::sub)), |n| channel(n, |b| (1.0, -b))),
    OpDef { relate: Relate::By(relate_sum), ..row("Sum", &[1, 6, 8, 13], |n| number(n, Dim::add)) },
    row("Xor", &[1, 7], |n| truth(n, |a, b| bit(a, b, |a, b| a ^ b))),
];

/// All operands where they stand; left-out ones are an error.
fn operands<'g>(node: &NodeRef<'g>) -> Result<Vec<Placed<'g>>, OpError> {
    let mut all: Vec<Placed> =
        (0..node.input_count().max(1)).map(|i| node.need_input(i).map(Placed::last)).collect::<Result<_, _>>()?;
    if let ([a, b], ..7) = (all.as_mut_slice(), node.opset) {
        b.after = following(node, a.operand.rank(), b.operand.rank())?; // R5
    }
    Ok(all)
}

/// Axes of operand 0, of rank `a`, that follow those of operand 1, of rank `b`; R5.
fn following(node: &NodeRef, a: Option<usize>, b: Option<usize>) -> Result<usize, OpError> {
    let (Some(a), Some(b)) = (a, b) else { return Ok(0) };
    let slope = node.node().op == "PRelu" && b == 1;
    let axis = match node.int("axis")? {
        Some(axis) if node.int_or("broadcast", 0)? != 0 => node.axis(axis, a)?,
        _ if slope && a > 1 => 1,
        _ => return Ok(0),
    };
    a.checked_sub(axis + b).ok_or(OpError::AxisOutOfRange { axis: axis as i64, rank: a })
}

fn number(node: &NodeRef, fold: fn(&Dim, &Dim) -> Option<Dim>) -> Result<Vec<Fact>, OpError> {
    let all = operands(node)?;
    // Constant floats are read as sizes only beside an operand that is known to be one.
    let content = if all.iter().any(|o| o.operand.fact.content.is_some()) {
        let contents: Option<Vec<Vec<Dim>>> = all.iter().map(|o| content::of(&o.operand)).collect();
        contents.and_then(|c| {
            let mut c = c.into_iter();
            let first = c.next()?;
            c.try_fold(first, |a, b| zip(&a, &b, fold))
        })
    } else {
        None
    };
    Ok(vec![Fact { elem: all[0].operand.fact.elem, shape: broadcast::shape_at(node, &all)?, content }]) // R1, R2, R3
}

fn truth(node: &NodeRef, fold: fn(&Dim, &Dim) -> Option<Dim>) -> Result<Vec<Fact>, OpError> {
    let mut facts = number(node, fold)?;
    facts[0].elem = Some(ElemType::Bool);
    Ok(facts)
}

/// Whole numbers divide towards zero; floats keep contents only where they divide exactly.
fn quotient(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let whole = node.need_input(0)?.fact.elem.is_some_and(ElemType::is_int);
    number(node, if whole { divide } else { Dim::div_exact })
}

fn divide(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.as_const(), b.as_const()) {
        (Some(a), Some(b)) => a.checked_div(b).map(Dim::from),
        _ => a.div_exact(b),
    }
}

/// The remainder has the sign of the divisor, or with `fmod` that of the dividend.
fn remainder(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    number(node, if node.int_or("fmod", 0)? != 0 { truncated_rest } else { floored_rest })
}

fn truncated_rest(a: &Dim, b: &Dim) -> Option<Dim> {
    match (a.as_const(), b.as_const()) {
        (Some(a), Some(b)) => a.checked_rem(b).map(Dim::from),
        _ => a.div_exact(b).map(|_| Dim::from(0)),
    }
}

fn floored_rest(a: &Dim, b: &Dim) -> Option<Dim> {
    let rest = truncated_rest(a, b)?;
    match (rest.as_const()?, b.as_const()) {
        (r, Some(b)) if r != 0 && (r < 0) != (b < 0) => Some(Dim::from(r + b)),
        _ => Some(rest),
    }
}

fn power(a: &Dim, b: &Dim) -> Option<Dim> {
    let exponent = u32::try_from(b.as_const()?).ok()?;
    a.as_const()?.checked_pow(exponent).map(Dim::from)
}

fn equal(a: &Dim, b: &Dim) -> Option<Dim> {
    if a == b {
        return Some(Dim::from(1));
    }
    let apart = |d: Option<Dim>| d.and_then(|d| d.at_least()).is_some_and(|c| c > 0);
    (apart(a.sub(b)) || apart(b.sub(a))).then_some(Dim::from(0))
}

/// 1 if a < b for all sizes, 0 if a ≥ b for all sizes.
fn less(a: &Dim, b: &Dim) -> Option<Dim> {
    let at_least = |d: Option<Dim>, c: i64| d.and_then(|d| d.at_least()).is_some_and(|l| l >= c);
    if at_least(b.sub(a), 1) { Some(Dim::from(1)) } else { at_least(a.sub(b), 0).then_some(Dim::from(0)) }
}

fn not(d: Dim) -> Dim {
    Dim::from(i64::from(d == Dim::from(0)))
}

fn pick(condition: Dim, yes: &Dim, no: &Dim) -> Option<Dim> {
    Some(if condition == Dim::from(0) { no.clone() } else { yes.clone() })
}

fn bit(a: &Dim, b: &Dim, f: fn(bool, bool) -> bool) -> Option<Dim> {
    Some(Dim::from(i64::from(f(a.as_const()? != 0, b.as_const()? != 0))))
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    broadcast::relate_at(node, &operands(node)?, r) // R1
}

fn relate_sum(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, r)?;
    if node.opset >= 7 {
        r.sum = Some(Sum::Plain((0..node.input_count()).collect())); // R6; before, operand 0 gave the shape (R5)
    }
    Ok(())
}

/// `of` gives scale and shift for one element of operand 1.
fn channel(node: &NodeRef, of: fn(f64) -> (f64, f64)) -> Result<Option<ChannelAffine>, OpError> {
    let (x, constant) = (node.need_input(0)?, node.need_input(1)?);
    let (Some(tensor), Some(rank), None) = (constant.tensor, x.rank(), x.tensor) else { return Ok(None) };
    let after = operands(node)?[1].after;
    let Some(lead) = rank.checked_sub(tensor.dims.len() + after) else { return Ok(None) };
    let wide: Vec<usize> = (0..tensor.dims.len()).filter(|&a| tensor.dims[a] != 1).collect();
    let &[at] = wide.as_slice() else { return Ok(None) };
    // An axis of x that the constant stretches is not a scale of each channel.
    if x.size(lead + at) != Some(tensor.dims[at]) {
        return Ok(None);
    }
    let Ok(values) = tensor.to_f64() else { return Ok(None) };
    let (scale, shift) = values.into_iter().map(of).unzip();
    Ok(Some(ChannelAffine { axis: lead + at, scale, shift, statistics: None }))
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_affine, check_error, check_fact, check_relation};

    #[test]
    fn arithmetic_on_sizes_is_symbolic() {
        let text = |op: &str| {
            format!("g (float[n,6] x) => (int64[] y) <int64[2] k = {{2, 4}}> {{ s = Shape (x) y = {op} (s, k) }}")
        };
        check_fact(&text("Mul"), "int64[2] = {2*n,24}");
        check_fact(&text("Add"), "int64[2] = {n+2,10}");
        check_fact(&text("Sub"), "int64[2] = {n-2,2}");
    }
    #[test]
    fn whole_numbers_divide_towards_zero() {
        let text = "g () => (int64[] y) <int64[2] a = {-7, 8}, int64[1] b = {2}> { y = OP (a, b) }";
        check_fact(&text.replace("OP", "Div"), "int64[2] = {-3,4}");
        check_fact(&text.replace("OP", "Mod"), "int64[2] = {1,0}");
        check_fact(&text.replace("OP", "Mod <fmod = 1>"), "int64[2] = {-1,0}");
    }
    #[test]
    fn a_size_is_never_minus_one() {
        check_fact(
            "g (float[n,6] x) => (bool[] y) <int64[1] k = {-1}> { s = Shape (x) y = Equal (s, k) }",
            "bool[2] = {0,0}",
        );
    }
    #[test]
    fn an_open_comparison_has_no_contents() {
        check_fact("g (float[n] x) => (bool[] y) <int64[1] k = {3}> { s = Shape (x) y = Less (s, k) }", "bool[1]");
    }
    #[test]
    fn a_constant_along_one_axis_scales_channels() {
        let text = "g (float[n,2,4] x) => (float[] y) <float[2,1] b = {2, 4}> { y = OP (x, b) }";
        check_affine(&text.replace("OP", "Div"), Some((1, &[0.5, 0.25], &[0.0, 0.0])));
        check_affine(&text.replace("OP", "Sub"), Some((1, &[1.0, 1.0], &[-2.0, -4.0])));
    }
    #[test]
    fn a_constant_that_stretches_the_operand_is_not_affine() {
        check_affine("g (float[n,1] x) => (float[] y) <float[2] b = {2, 4}> { y = Mul (x, b) }", None);
    }
    #[test]
    fn early_operator_sets_broadcast_by_attributes() {
        let text = |op: &str, attrs: &str, b: &str| {
            format!(
                r#"<ir_version: 8, opset_import: ["" : 6]> g (float[2,3,4,5] x) => (float[] y)
                <float[{b}] b = {{1, 2, 3}}> {{ y = {op} <{attrs}> (x, b) }}"#
            )
        };
        let channels = ["B2 x.0 = y.0 x2", "B2 x.1 = y.1 x3", "B2 b.0 = y.1 x3", "B2 x.2 = y.2 x4", "B2 x.3 = y.3 x5"];
        check_fact(&text("Add", "broadcast = 1, axis = 1", "3"), "float[2,3,4,5]");
        check_relation(&text("Add", "broadcast = 1, axis = 1", "3"), &channels);
        check_relation(&text("Add", "broadcast = 1, axis = 1", "3,1"), &channels);
        check_relation(&text("PRelu", "", "3"), &channels);
        check_affine(&text("Mul", "broadcast = 1, axis = 1", "3"), Some((1, &[1.0, 2.0, 3.0], &[0.0, 0.0, 0.0])));
        check_error(&text("Add", "broadcast = 1, axis = 3", "3,1"), "axis 3 is out of range for rank 4");
    }
}
