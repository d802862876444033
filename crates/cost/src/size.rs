//! Sizes of values.

use sparsec_ir::{Def, Dim, ElemType, Fact, Facts, Graph, Tensor, ValueId};

/// Elements of a value of this fact, if every size is known and the count fits 64 bits.
pub(crate) fn count(fact: &Fact) -> Option<u64> {
    fact.shape.as_ref()?.iter().map(Dim::as_size).try_fold(1u64, |n, d| n.checked_mul(d?))
}

/// Bytes of a value of this fact, if its type and every size are known and the count fits 64 bits.
pub(crate) fn bytes(fact: &Fact) -> Option<u64> {
    fact.elem?.raw_len(count(fact)?)
}

/// Elements and bytes of a constant: those of its fact, which may be those of a plan, or of its tensor where it has none.
pub(crate) fn constant(graph: &Graph, facts: &Facts, value: ValueId) -> (u64, u64) {
    let fact = facts.get(value);
    if let (Some(n), Some(b)) = (count(fact), bytes(fact)) {
        return (n, b);
    }
    match &graph.value(value).def {
        Def::Constant(t) => (t.count(), t.byte_len()),
        Def::Sparse(s) => (s.values.count(), s.values.byte_len()),
        _ => (0, 0),
    }
}

/// Whether elements of a constant are parameters: of a type that holds weights, and not a scalar.
pub(crate) fn holds_parameters(elem: ElemType, rank: usize) -> bool {
    elem.holds_weights() && rank >= 1
}

/// Parameters and bytes of a tensor that no plan changes.
pub(crate) fn fixed(tensor: &Tensor) -> (u64, u64) {
    let params = if holds_parameters(tensor.elem, tensor.dims.len()) { tensor.count() } else { 0 };
    (params, tensor.byte_len())
}
