//! What frozen axes cost: parameters and multiply-accumulates that they hold back, by reason.

use crate::names::Names;
use serde::Serialize;
use sparsec::drive::{Prepared, macs_by_node};
use sparsec_analysis::{AxisOwner, FrozenAxis};
use sparsec_ir::{Facts, NodeId, Reason, ValueId};
use std::collections::BTreeMap;

/// All that one reason freezes at one node.
#[derive(Serialize)]
pub(crate) struct HeldBack {
    pub(crate) reason: String,
    /// Node that states it.
    pub(crate) node: Option<String>,
    /// Axes of constants.
    pub(crate) axes: Vec<String>,
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

/// Frozen axes by reason and node, those that hold back most first. `bound` are facts with sizes bound.
pub(crate) fn held_back(dense: &Prepared, names: &Names, bound: Option<&Facts>) -> Vec<HeldBack> {
    let (graph, axes) = (&dense.model.graph, &dense.channels.axes);
    let macs = bound.map(|facts| macs_by_node(dense, facts));
    let mut alike: BTreeMap<Statement, Stuck> = BTreeMap::new();
    for f in &dense.channels.frozen {
        if let AxisOwner::Value(v, _) = axes.owner(f.axis) {
            // Every kernel of a convolution states the same.
            let node = f.freeze.node.filter(|_| f.freeze.reason != Reason::Window);
            alike.entry((&f.freeze.reason, node)).or_default().push((v, f));
        }
    }
    let row = |((reason, node), all): (Statement, Stuck)| {
        let mut of_value: BTreeMap<ValueId, Vec<&FrozenAxis>> = BTreeMap::new();
        all.iter().for_each(|(v, f)| of_value.entry(*v).or_default().push(f));
        let held: BTreeMap<ValueId, u64> = of_value.into_iter().map(|(v, fs)| (v, elements(dense, v, &fs))).collect();
        HeldBack {
            reason: reason.to_string(),
            node: node.map(|n| names.node(graph, n)),
            axes: all.iter().map(|(_, f)| axes.label(graph, f.axis)).collect(),
            slots: all.iter().map(|(_, f)| u64::from(f.slots)).sum(),
            params: held.values().sum(),
            macs: macs.as_ref().map(|macs| held.iter().map(|(v, n)| share(dense, *v, *n, macs)).sum()),
            remedy: remedy(reason, &all.first().map_or(String::new(), |(_, f)| stated_of(dense, f))),
            window: *reason == Reason::Window,
        }
    };
    let mut out: Vec<HeldBack> = alike.into_iter().map(row).collect();
    out.sort_by_key(|r| std::cmp::Reverse((r.params, r.macs)));
    out
}

/// The axis that a reason was stated of.
fn stated_of(dense: &Prepared, frozen: &FrozenAxis) -> String {
    let axes = &dense.channels.axes;
    axes.label(&dense.model.graph, axes.locate(frozen.freeze.at).0)
}

/// Elements of a constant that sit in a frozen slot of one of these axes of it.
fn elements(dense: &Prepared, v: ValueId, frozen: &[&FrozenAxis]) -> u64 {
    let Some(t) = dense.model.graph.constant(v) else { return 0 };
    let free = |a: usize, len: u64| {
        let here = frozen.iter().find(|f| dense.channels.axes.owner(f.axis) == AxisOwner::Value(v, a as u32));
        len - here.map_or(0, |f| u64::from(f.slots))
    };
    t.count() - t.dims.iter().enumerate().map(|(a, len)| free(a, *len)).product::<u64>()
}

/// Multiply-accumulates that `elements` of a constant take part in: each element of a node's weights takes part in as many.
fn share(dense: &Prepared, v: ValueId, elements: u64, macs: &BTreeMap<NodeId, u64>) -> u64 {
    let graph = &dense.model.graph;
    let weights = |n: NodeId| {
        let all = graph.node(n).inputs.iter().flatten().filter_map(|v| graph.constant(*v));
        all.filter(|t| t.elem.holds_weights() && t.dims.len() > 1).map(|t| t.count()).sum::<u64>()
    };
    if graph.constant(v).is_none_or(|t| t.dims.len() < 2) {
        return 0;
    }
    let of = |n: NodeId| {
        let share = elements as f64 / weights(n).max(1) as f64;
        macs.get(&n).map_or(0, |m| (*m as f64 * share).round() as u64)
    };
    graph.consumers(v).into_iter().map(of).sum()
}

/// What a user can do about it, where there is anything.
fn remedy(reason: &Reason, at: &str) -> Option<String> {
    match reason {
        Reason::Dynamic => Some("export the model with this size fixed".to_string()),
        Reason::Unless { policy, .. } => Some(format!("`--allow {policy}` lets it go, inexactly")),
        Reason::GraphOutput | Reason::Lookup => Some(format!("`--give-up {at}=INDICES` takes out what nobody needs")),
        Reason::Captured { .. } => Some("export the model without the subgraph".to_string()),
        Reason::Opaque { op, .. } => Some(format!("export the model without {op}, or give {op} a rule")),
        Reason::Unstated { op } => Some(format!("give {op} a rule for this axis")),
        Reason::GraphInput
        | Reason::SingleSlot
        | Reason::Window
        | Reason::Normalised { .. }
        | Reason::Indexed
        | Reason::Rule(_)
        | Reason::Factorisation
        | Reason::WholeAxis => None,
    }
}
