//! Which share of the arithmetic can be cut.

use super::Prepared;
use sparsec_analysis::{Removal, node_ref};
use sparsec_ir::{Facts, NodeId, WorkRule};

/// Multiply-accumulates of a model: in all, and those of which a factor or the sum sits in a slot that can leave.
///
/// What is left of a node when every unit leaves that can is what cannot be cut of it; a node whose sizes would then
/// make no sense has nothing left. `bound` are the facts of `dense` with sizes bound.
pub fn macs(dense: &Prepared, bound: &Facts) -> (u64, u64) {
    let mut all = Removal::none(&dense.channels);
    (0..dense.channels.units.len()).for_each(|u| all.set(u as u32, true));
    let bare = dense.channels.facts_after(&dense.model, bound, &all);
    let of = |facts: &Facts, id: NodeId| {
        let node = dense.model.graph.node(id);
        match dense.table.get(&node.domain, &node.op).map(|d| d.work) {
            Some(WorkRule::By(work)) => work(&node_ref(&dense.model, facts, id)).map_or(0, |w| w.macs),
            Some(WorkRule::Unknown(_)) | None => 0,
        }
    };
    dense
        .model
        .graph
        .nodes()
        .map(|(id, _)| (of(bound, id), of(&bare, id)))
        .fold((0, 0), |(total, can), (dense, left)| (total + dense, can + dense.saturating_sub(left)))
}
