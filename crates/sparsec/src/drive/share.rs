//! Which share of the arithmetic can be cut.

use super::Prepared;
use sparsec_analysis::{AxisOwner, Branch, Group, Removal, UnitId, node_ref};
use sparsec_ir::{Facts, Graph, LinearRule, Model, Node, NodeId, OpTable, ValueId, WorkRule};
use std::collections::{BTreeMap, BTreeSet};

/// Multiply-accumulates of each node under `facts`, those of nodes that have some. A node whose sizes make no sense has
/// none.
pub fn macs_by_node(dense: &Prepared, facts: &Facts) -> BTreeMap<NodeId, u64> {
    let all = dense.model.graph.nodes().map(|(id, _)| (id, macs_of(dense, facts, id)));
    all.filter(|(_, macs)| *macs > 0).collect()
}

fn macs_of(dense: &Prepared, facts: &Facts, id: NodeId) -> u64 {
    macs_of_node(&dense.model, &dense.table, facts, id)
}

/// Multiply-accumulates of a node. `facts` are bound.
pub(super) fn macs_of_node(model: &Model, table: &OpTable, facts: &Facts, id: NodeId) -> u64 {
    let node = model.graph.node(id);
    match table.get(&node.domain, &node.op).map(|d| d.work) {
        Some(WorkRule::By(work)) => work(&node_ref(model, facts, id)).map_or(0, |w| w.macs),
        Some(WorkRule::Unknown(_)) | None => 0,
    }
}

/// Nodes that multiply and of which no multiply-accumulate is counted.
pub struct Uncounted {
    /// Those of which a size is not known.
    pub open: Vec<NodeId>,
    /// Those whose subgraphs do.
    pub bodies: Vec<NodeId>,
}

/// What the multiply-accumulates of a model under `facts` leave out.
pub fn uncounted(dense: &Prepared, facts: &Facts) -> Uncounted {
    let (model, table) = (&dense.model, &dense.table);
    let open = |(id, node): (NodeId, &Node)| {
        let def = table.get(&node.domain, &node.op)?;
        let WorkRule::By(work) = def.work else { return None };
        (multiplies(table, node) && work(&node_ref(model, facts, id)).is_err()).then_some(id)
    };
    let body = |(_, node): &(NodeId, &Node)| node.subgraphs().any(|g| any_multiplies(table, g));
    Uncounted {
        open: model.graph.nodes().filter_map(open).collect(),
        bodies: model.graph.nodes().filter(body).map(|(id, _)| id).collect(),
    }
}

fn multiplies(table: &OpTable, node: &Node) -> bool {
    table.get(&node.domain, &node.op).is_some_and(|d| !matches!(d.linear, LinearRule::Never))
}

fn any_multiplies(table: &OpTable, graph: &Graph) -> bool {
    graph.nodes().any(|(_, n)| multiplies(table, n) || n.subgraphs().any(|g| any_multiplies(table, g)))
}

/// Multiply-accumulates that go with a branch. `facts` are bound.
pub fn macs_of_branch(dense: &Prepared, facts: &Facts, branch: &Branch) -> u64 {
    branch.nodes.iter().fold(0, |n, node| n.saturating_add(macs_of(dense, facts, *node)))
}

/// Multiply-accumulates of a model: in all, and those of which a factor or the sum sits in a slot that can leave.
///
/// What is left of a node when every unit leaves that can is what cannot be cut of it; a node whose sizes would then
/// make no sense has nothing left. `bound` are the facts of `dense` with sizes bound.
pub fn macs(dense: &Prepared, bound: &Facts) -> (u64, u64) {
    let mut all = Removal::none(&dense.channels);
    (0..dense.channels.units.len()).for_each(|u| all.set(u as UnitId, true));
    let bare = dense.channels.facts_after(&dense.model, bound, &all);
    let of = |id: NodeId| (macs_of(dense, bound, id), macs_of(dense, &bare, id));
    dense
        .model
        .graph
        .nodes()
        .map(|(id, _)| of(id))
        .fold((0, 0), |(total, can), (dense, left)| (total + dense, can + dense.saturating_sub(left)))
}

/// Multiply-accumulates of which a factor or the sum sits in a slot of the group. `facts` are bound; they are changed
/// meanwhile, since a copy for every group would take longer than all the rest.
pub fn macs_on(dense: &Prepared, facts: &mut Facts, group: &Group) -> u64 {
    let (graph, channels) = (&dense.model.graph, &dense.channels);
    let units: BTreeSet<UnitId> = group.units.iter().copied().collect();
    let mut touched: BTreeMap<ValueId, sparsec_ir::Fact> = BTreeMap::new();
    let mut nodes: BTreeSet<NodeId> = BTreeSet::new();
    for (axis, _) in &group.axes {
        let AxisOwner::Value(v, _) = channels.axes.owner(*axis) else { continue };
        touched.entry(v).or_insert_with(|| facts.get(v).clone());
        nodes.extend(graph.producer(v));
        nodes.extend(graph.consumers(v));
    }
    let sum = |facts: &Facts| nodes.iter().map(|n| macs_of(dense, facts, *n)).sum::<u64>();
    let before = sum(facts);
    for (axis, _) in &group.axes {
        let AxisOwner::Value(v, a) = channels.axes.owner(*axis) else { continue };
        let stays = |i: &u32| !channels.cut(*axis, *i).iter().any(|u| units.contains(u));
        let len = (0..channels.axes.len(*axis)).filter(stays).count();
        let mut fact = facts.get(v).clone();
        if let Some(dim) = fact.shape.as_mut().and_then(|s| s.get_mut(a as usize)) {
            *dim = sparsec_ir::Dim::from(len as i64);
        }
        facts.set(v, fact);
    }
    let after = sum(facts);
    touched.into_iter().for_each(|(v, fact)| facts.set(v, fact));
    before.saturating_sub(after)
}
