//! Which weights values are made of.

use sparsec_ir::{Graph, NodeId, ValueId, topological};
use std::collections::{BTreeMap, BTreeSet};

/// The matrix of weights that a value is or is made of, by nodes that read nothing that varies: where it is transposed,
/// dequantised, cast. Vectors scale and shift what others made.
pub(crate) fn origins(graph: &Graph) -> BTreeMap<ValueId, ValueId> {
    let matrix = |v: ValueId| graph.constant(v).is_some_and(|t| t.elem.holds_weights() && t.dims.len() > 1);
    let all = graph.values().map(|(v, _)| v).filter(|v| matrix(*v));
    let mut out: BTreeMap<ValueId, ValueId> = all.map(|v| (v, v)).collect();
    let mut fixed: BTreeSet<ValueId> = BTreeSet::new();
    for id in topological(graph).unwrap_or_default() {
        let node = graph.node(id);
        let mut operands = node.inputs.iter().flatten();
        if operands.clone().all(|v| graph.constant(*v).is_some() || fixed.contains(v)) {
            fixed.extend(node.outputs.iter().flatten());
            if let Some(from) = operands.find_map(|v| out.get(v)).copied() {
                out.extend(node.outputs.iter().flatten().map(|v| (*v, from)));
            }
        }
    }
    out
}

/// Nodes that compute something that varies with each of the weights.
pub(crate) fn users(graph: &Graph, origins: &BTreeMap<ValueId, ValueId>) -> BTreeMap<ValueId, Vec<NodeId>> {
    let mut out: BTreeMap<ValueId, Vec<NodeId>> = BTreeMap::new();
    for (id, node) in graph.nodes() {
        if node.outputs.iter().flatten().any(|v| origins.contains_key(v)) {
            continue;
        }
        let weights: BTreeSet<ValueId> = node.inputs.iter().flatten().filter_map(|v| origins.get(v)).copied().collect();
        weights.into_iter().for_each(|w| out.entry(w).or_default().push(id));
    }
    out
}
