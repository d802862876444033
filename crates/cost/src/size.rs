//! Sizes of values.

use sparsec_ir::{Def, ElemType, Facts, Graph, Tensor, ValueId};

/// Elements and bytes of a constant: those of its fact, which may be those of a plan, or of its tensor where it has none.
pub(crate) fn constant(graph: &Graph, facts: &Facts, value: ValueId) -> (u64, u64) {
    let fact = facts.get(value);
    if let (Some(n), Some(b)) = (fact.count(), fact.byte_len()) {
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
