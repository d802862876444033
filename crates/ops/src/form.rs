//! What several operator files share: ties between axes of one size, bound sizes, sizes nobody named.

use sparsec_ir::{Dim, ElemType, Fact, Id, NodeRef, OpError, Operand, Reason, Relations};

/// An axis of an operand or result.
pub(crate) type At<'a, 'g> = (&'a Operand<'g>, usize);

/// Ties two axes of one length. Where one length is known the solver hears of it and freezes what it must; an axis of
/// length 1 against a longer one is broadcast and relates to nothing.
pub(crate) fn tie(r: &mut Relations, a: At, b: At, rule: &'static str) {
    if let Some(len) = common_len(a, b) {
        r.tie(a.0.axis(a.1), b.0.axis(b.1), len, rule);
    }
}

/// Says that two axes are multiplied and summed over; a constant side is the weight, wherever it stands.
pub(crate) fn contract(r: &mut Relations, a: At, b: At, rule: &'static str) {
    let Some(len) = common_len(a, b) else { return };
    let (x, w) = if a.0.tensor.is_some() && b.0.tensor.is_none() { (b, a) } else { (a, b) };
    r.contract(x.0.axis(x.1), w.0.axis(w.1), len, rule);
}

fn common_len(a: At, b: At) -> Option<u64> {
    match (a.0.size(a.1), b.0.size(b.1)) {
        (Some(a), Some(b)) => (a == b || (a != 1 && b != 1)).then_some(a.max(b)),
        (a, b) => a.or(b),
    }
}

/// Ties every axis of `x` in `axes` with the same axis of `y`.
pub(crate) fn tie_same(
    r: &mut Relations,
    x: &Operand,
    y: &Operand,
    axes: impl IntoIterator<Item = usize>,
    rule: &'static str,
) {
    for axis in axes {
        tie(r, (x, axis), (y, axis), rule);
    }
}

/// Freezes axes.
pub(crate) fn freeze(r: &mut Relations, x: &Operand, axes: impl IntoIterator<Item = usize>, reason: &Reason) {
    for axis in axes {
        r.freeze(x.axis(axis), reason.clone());
    }
}

/// Freezes every axis of an operand whose rank is known.
pub(crate) fn freeze_all(r: &mut Relations, x: &Operand, reason: &Reason) {
    freeze(r, x, 0..x.rank().unwrap_or(0), reason);
}

/// The reason of an operator that works over a whole axis.
pub(crate) fn normalised(node: &NodeRef) -> Reason {
    Reason::Normalised { op: node.node().op_name() }
}

/// Shape of an operand, or an error.
pub(crate) fn dims<'g>(node: &NodeRef<'g>, index: usize) -> Result<&'g [Dim], OpError> {
    node.need_input(index)?.fact.shape.as_deref().ok_or(OpError::UnknownRank { index })
}

/// Sizes of an operand whose symbols are bound.
pub(crate) fn sizes(node: &NodeRef, index: usize) -> Result<Vec<u64>, OpError> {
    node.need_input(index)?.fact.sizes().ok_or(OpError::UnboundSize { index })
}

/// Sizes of result `index` whose symbols are bound.
pub(crate) fn result_sizes(node: &NodeRef, index: usize) -> Result<Vec<u64>, OpError> {
    node.need_output(index)?.fact.sizes().ok_or(OpError::Unsupported("a size of a result is not bound"))
}

/// Product of sizes.
pub(crate) fn product<'a>(sizes: impl IntoIterator<Item = &'a u64>) -> Result<u64, OpError> {
    sizes.into_iter().try_fold(1u64, |p, &s| p.checked_mul(s)).ok_or(OpError::Overflow)
}

/// A size that nobody named: the symbol is that of the result's own axis, the same in every run.
pub(crate) fn unnamed(node: &NodeRef, result: usize, axis: usize) -> Dim {
    match node.output(result) {
        Some(y) => Dim::sym(&format!("?{}.{axis}", node.graph.value(y.value).name)),
        None => Dim::sym(&format!("?#{}:{result}.{axis}", node.id.index())),
    }
}

/// A size that was computed, or one that nobody named where that is too large or has too many terms to be followed.
pub(crate) fn followed(node: &NodeRef, result: usize, axis: usize, size: Option<Dim>) -> Dim {
    size.unwrap_or_else(|| unnamed(node, result, axis))
}

/// ⌊dim / by⌋ for by ≥ 1, where it is a polynomial: only the constant term may leave a remainder.
pub(crate) fn floor_div(dim: &Dim, by: u64) -> Option<Dim> {
    let by = i64::try_from(by).ok().filter(|b| *b > 0)?;
    let constant = dim.substitute(&|_| Some(0))?;
    let rest = dim.sub(&constant)?.div_exact(&Dim::from(by))?;
    rest.add(&Dim::from(constant.as_const()?.div_euclid(by)))
}

/// ⌈dim / by⌉ for by ≥ 1, where it is a polynomial.
pub(crate) fn ceil_div(dim: &Dim, by: u64) -> Option<Dim> {
    floor_div(&dim.add(&Dim::from(i64::try_from(by).ok()?.checked_sub(1)?))?, by)
}

/// `dim` with a whole number added.
pub(crate) fn plus(dim: &Dim, n: i64) -> Result<Dim, OpError> {
    dim.add(&Dim::from(n)).ok_or(OpError::Overflow)
}

/// Whole numbers of at least `min` from an attribute.
pub(crate) fn at_least(name: &str, min: i64, values: Vec<i64>) -> Result<Vec<u64>, OpError> {
    let expected = if min > 0 { "positive whole numbers" } else { "whole numbers from 0" };
    let bad = || OpError::BadAttribute { name: name.to_string(), expected };
    values.into_iter().map(|v| u64::try_from(v).ok().filter(|_| v >= min).ok_or_else(bad)).collect()
}

/// The attribute `name`, a positive whole number; one that must be given has the default 0.
pub(crate) fn positive(node: &NodeRef, name: &str, default: i64) -> Result<u64, OpError> {
    let bad = || OpError::BadAttribute { name: name.to_string(), expected: "a positive whole number" };
    u64::try_from(node.int_or(name, default)?).ok().filter(|n| *n > 0).ok_or_else(bad)
}

/// A size as a dimension.
pub(crate) fn whole(n: u64) -> Result<Dim, OpError> {
    i64::try_from(n).map(Dim::from).map_err(|_| OpError::Overflow)
}

/// Rank of operand 0, which is not 0.
pub(crate) fn positive_rank(node: &NodeRef) -> Result<usize, OpError> {
    match node.rank(0)? {
        0 => Err(OpError::AxisOutOfRange { axis: -1, rank: 0 }),
        rank => Ok(rank),
    }
}

/// The element type whose code an attribute gives.
pub(crate) fn elem_attr(node: &NodeRef, name: &str) -> Result<Option<ElemType>, OpError> {
    let bad = || OpError::BadAttribute { name: name.to_string(), expected: "the code of an element type" };
    let code = node.int(name)?.filter(|&code| code != 0);
    code.map(|code| i32::try_from(code).ok().and_then(ElemType::from_code).ok_or_else(bad)).transpose()
}

/// The fact of an operand whose elements the node changes and whose shape it keeps.
pub(crate) fn like(node: &NodeRef, index: usize) -> Result<Fact, OpError> {
    Ok(node.need_input(index)?.fact.clone().with_content(None))
}

/// Freezes every axis of every operand and result.
pub(crate) fn freeze_node(node: &NodeRef, r: &mut Relations, reason: &Reason) {
    let operands = (0..node.input_count()).filter_map(|i| node.input(i));
    for o in operands.chain((0..node.output_count()).filter_map(|i| node.output(i))) {
        freeze_all(r, &o, reason);
    }
}

/// Two shapes or sizes that do not fit.
pub(crate) fn mismatch(what: &'static str, left: impl ToString, right: impl ToString) -> OpError {
    OpError::Mismatch { what, left: left.to_string(), right: right.to_string() }
}

/// Whether two sizes are known to differ.
pub(crate) fn differ(a: &Dim, b: &Dim) -> bool {
    matches!((a.as_const(), b.as_const()), (Some(a), Some(b)) if a != b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn division_is_exact_or_refused() {
        let e = Dim::sym("n").mul(&Dim::from(4)).unwrap().add(&Dim::from(3)).unwrap();
        assert_eq!(floor_div(&e, 2).unwrap().to_string(), "2*n+1");
        assert_eq!(ceil_div(&e, 2).unwrap().to_string(), "2*n+2");
        assert_eq!(floor_div(&e, 3), None);
        assert_eq!(floor_div(&Dim::from(-1), 2).unwrap().as_const(), Some(-1));
    }
}
