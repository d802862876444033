//! What frozen axes cost: parameters and multiply-accumulates that they hold back, by reason.

use crate::names::Names;
use crate::origins::origins;
use crate::remedy::Remedies;
use serde::Serialize;
use sparsec::drive::{Prepared, macs_by_node};
use sparsec_analysis::{AxisOwner, FrozenAxis, elements_on};
use sparsec_ir::{Facts, NodeId, Reason, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// All that one reason freezes at one node.
#[derive(Serialize)]
pub(crate) struct HeldBack {
    pub(crate) reason: String,
    /// Node that states it.
    pub(crate) node: Option<String>,
    /// Axes of constants.
    pub(crate) axes: Vec<String>,
    /// The same as people know them.
    #[serde(skip)]
    pub(crate) shown: Vec<String>,
    pub(crate) slots: u64,
    /// Weight elements that sit in one of the slots.
    pub(crate) params: u64,
    /// Multiply-accumulates with these elements; null where sizes are open.
    pub(crate) macs: Option<u64>,
    /// What may free them.
    pub(crate) remedy: Option<String>,
    /// Whether these are axes of kernels, of which models have more than anyone reads.
    #[serde(skip)]
    pub(crate) window: bool,
}

/// A reason and the node that states it.
type Statement<'a> = (&'a Reason, Option<NodeId>);
/// Frozen axes with their constants.
type Stuck<'a> = Vec<(ValueId, &'a FrozenAxis)>;

/// Frozen axes by reason and node, those that hold back most first; a reason that more than `most` nodes state is one row.
/// `bound` are facts with sizes bound.
pub(crate) fn held_back(
    dense: &Prepared,
    (names, remedies): (&Names, &Remedies),
    bound: Option<&Facts>,
    most: usize,
) -> Vec<HeldBack> {
    let (graph, axes) = (&dense.model.graph, &dense.channels.axes);
    let macs = bound.map(|facts| macs_per_element(dense, facts));
    let mut nodes_of: BTreeMap<&Reason, BTreeSet<NodeId>> = BTreeMap::new();
    for f in &dense.channels.frozen {
        nodes_of.entry(&f.freeze.reason).or_default().extend(f.freeze.node);
    }
    // Every kernel of a convolution states the same.
    let named = |f: &&FrozenAxis| f.freeze.reason != Reason::Window;
    let mut alike: BTreeMap<Statement, Stuck> = BTreeMap::new();
    for f in &dense.channels.frozen {
        if let AxisOwner::Value(v, _) = axes.owner(f.axis) {
            let few = nodes_of.get(&f.freeze.reason).is_some_and(|nodes| nodes.len() <= most);
            let node = Some(f).filter(named).and_then(|f| f.freeze.node.filter(|_| few));
            alike.entry((&f.freeze.reason, node)).or_default().push((v, f));
        }
    }
    let row = |((reason, _), all): (Statement, Stuck)| {
        let nodes: BTreeSet<NodeId> = all.iter().map(|(_, f)| *f).filter(named).filter_map(|f| f.freeze.node).collect();
        let nodes: Vec<NodeId> = nodes.into_iter().collect();
        let mut of_value: BTreeMap<ValueId, Vec<&FrozenAxis>> = BTreeMap::new();
        all.iter().for_each(|(v, f)| of_value.entry(*v).or_default().push(f));
        let held: BTreeMap<ValueId, u64> = of_value.into_iter().map(|(v, fs)| (v, elements(dense, v, &fs))).collect();
        HeldBack {
            reason: reason.to_string(),
            node: (!nodes.is_empty()).then(|| names.list(graph, &nodes)),
            axes: all.iter().map(|(_, f)| axes.label(graph, f.axis)).collect(),
            shown: all.iter().map(|(_, f)| names.axis(dense, f.axis)).collect(),
            slots: all.iter().map(|(_, f)| u64::from(f.slots)).sum(),
            params: held.values().sum(),
            macs: macs.as_ref().map(|each| {
                let macs = |(v, n): (&ValueId, &u64)| each.get(v).map_or(0, |m| (m * *n as f64).round() as u64);
                held.iter().map(macs).sum()
            }),
            remedy: remedies.remedy(reason, nodes.first().copied(), &all.iter().map(|(_, f)| *f).collect::<Vec<_>>()),
            window: *reason == Reason::Window,
        }
    };
    let mut out: Vec<HeldBack> = alike.into_iter().map(row).collect();
    out.sort_by_key(|r| std::cmp::Reverse((r.params, r.macs)));
    out
}

/// Why a model has nothing that can be cut; `None` where it has.
pub(crate) fn nothing_to_cut(dense: &Prepared) -> Option<String> {
    const NAMED: usize = 3;
    let channels = &dense.channels;
    let name = |f: &FrozenAxis| format!("`{}` ({})", channels.axes.label(&dense.model.graph, f.axis), f.freeze.reason);
    let first: Vec<String> = channels.frozen.iter().take(NAMED).map(name).collect();
    let more = channels.frozen.len().checked_sub(NAMED).filter(|n| *n > 0);
    let more = more.map_or(String::new(), |n| format!(" and {n} more; `sparsec inspect` lists them"));
    let why = match first.is_empty() {
        true => "the model has no weights with channels outside of subgraphs".to_string(),
        false => format!("every channel is frozen: {}{more}", first.join(", ")),
    };
    (channels.groups.is_empty() && channels.branches.is_empty()).then(|| format!("nothing can be cut: {why}"))
}

/// Elements of a constant that sit in a frozen slot of one of these axes of it.
fn elements(dense: &Prepared, v: ValueId, frozen: &[&FrozenAxis]) -> u64 {
    let Some(t) = dense.model.graph.constant(v) else { return 0 };
    let on = |a: usize| frozen.iter().find(|f| dense.channels.axes.owner(f.axis) == AxisOwner::Value(v, a as u32));
    elements_on(&t.dims, |a| on(a).map_or(0, |f| u64::from(f.slots)))
}

/// Multiply-accumulates that an element of each constant takes part in: each element of a node's weights in as many.
pub(crate) fn macs_per_element(dense: &Prepared, facts: &Facts) -> BTreeMap<ValueId, f64> {
    let graph = &dense.model.graph;
    let macs = macs_by_node(dense, facts);
    // Where elements are repeated or left out, they take part in more or less than this says.
    let whole = |v: &ValueId, from: &ValueId| facts.get(*v).count() == graph.constant(*from).map(|t| t.count());
    let mut origin = origins(graph);
    origin.retain(|v, from| whole(v, from));
    let mut out: BTreeMap<ValueId, f64> = BTreeMap::new();
    for (node, macs) in macs {
        let weights: Vec<ValueId> =
            graph.node(node).inputs.iter().flatten().filter_map(|v| origin.get(v)).copied().collect();
        let elements: u64 = weights.iter().filter_map(|v| graph.constant(*v)).map(|t| t.count()).sum();
        for v in weights {
            *out.entry(v).or_default() += macs as f64 / elements.max(1) as f64;
        }
    }
    out
}
