//! What a user can do about frozen axes. A remedy is offered only where that which would take it accepts it.

use sparsec::drive::{Prepared, way_out};
use sparsec_analysis::{Allowed, AxisId, Channels, FrozenAxis, Slot, channels_allowing};
use sparsec_ir::{NodeId, Policy, Reason, Relate, ValueId};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

/// Axes of values that can be given up together, if they can.
type WayOut = Option<BTreeSet<(ValueId, u32)>>;

/// Remedies for the frozen axes of one model.
pub(crate) struct Remedies<'a> {
    dense: &'a Prepared,
    /// Channels of the model under one more policy.
    allowing: BTreeMap<Policy, Channels>,
    /// Nodes that make values whose rank nothing says, though that of their operands is known.
    shapeless: BTreeMap<ValueId, NodeId>,
    /// What was found of axes, by the axis that a reason is stated of: finding it solves the channels anew.
    tried: RefCell<BTreeMap<AxisId, WayOut>>,
}

impl<'a> Remedies<'a> {
    pub(crate) fn of(dense: &'a Prepared) -> Self {
        let stated = dense.channels.frozen.iter().filter_map(|f| match f.freeze.reason {
            Reason::Unless { policy, .. } => Some(policy),
            _ => None,
        });
        let solved = |policy: Policy| {
            let policies = dense.concessions.allow.iter().copied().chain([policy]).collect();
            let allowed = Allowed { policies, ..Allowed::default() };
            (policy, channels_allowing(&dense.model, &dense.facts, &dense.table, allowed))
        };
        let policies: BTreeSet<Policy> = stated.collect();
        let allowing = policies.into_iter().map(solved).collect();
        Self { dense, allowing, shapeless: shapeless(dense), tried: RefCell::default() }
    }

    /// What may free axes that `node` freezes for one reason.
    pub(crate) fn remedy(&self, reason: &Reason, node: Option<NodeId>, frozen: &[&FrozenAxis]) -> Option<String> {
        match reason {
            Reason::Dynamic => Some("export the model with this size fixed".to_string()),
            Reason::Unless { policy, .. } => {
                let freed = frozen.iter().any(|f| self.frees(*policy, f));
                freed.then(|| format!("`--allow {policy}` lets it go, inexactly"))
            }
            Reason::GraphOutput | Reason::Lookup => self.give_up(frozen),
            Reason::Captured { .. } => Some("export the model without the subgraph".to_string()),
            Reason::Opaque { op, .. } => self.opaque(op, node?),
            Reason::Unstated { op } => {
                self.is_taught(node?).then(|| format!("say in the rule of {op} what becomes of this axis"))
            }
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

    /// Whether a slot of the axis that never leaves does so under the policy.
    fn frees(&self, policy: Policy, f: &FrozenAxis) -> bool {
        let Some(allowing) = self.allowing.get(&policy) else { return false };
        let mut stuck =
            (0..self.dense.channels.axes.len(f.axis)).filter(|i| self.dense.channels.cut(f.axis, *i).is_empty());
        stuck.any(|i| !allowing.cut(f.axis, i).is_empty())
    }

    fn give_up(&self, frozen: &[&FrozenAxis]) -> Option<String> {
        /// Axes that are tried, of those that one reason is stated of.
        const MOST: usize = 8;
        let axes = &self.dense.channels.axes;
        let stated: BTreeMap<_, Slot> = frozen.iter().map(|f| (axes.locate(f.freeze.at).0, f.freeze.at)).collect();
        let way_out = |(axis, at): (AxisId, Slot)| {
            self.tried.borrow_mut().entry(axis).or_insert_with(|| way_out(self.dense, at)).clone()
        };
        let all = stated.into_iter().take(MOST).find_map(way_out)?;
        let option =
            |(v, axis): (ValueId, u32)| format!("--give-up {}:{axis}=INDICES", self.dense.model.graph.value(v).name);
        let options: Vec<String> = all.into_iter().map(option).collect();
        Some(format!("`{}` takes out what nobody needs", options.join(" ")))
    }

    fn opaque(&self, op: &str, id: NodeId) -> Option<String> {
        let node = self.dense.model.graph.node(id);
        if let Some(cause) = node.inputs.iter().flatten().find_map(|v| self.shapeless.get(v)) {
            let cause_op = self.dense.model.graph.node(*cause).op_name();
            return match self.is_taught(*cause) {
                true => Some(format!("say in the rule of {cause_op} what shape it gives (`like`)")),
                false => self.is_unknown(*cause).then(|| teach(&cause_op)),
            };
        }
        Some(match self.is_taught(id) {
            true => format!("correct the rule of {op} in the file of `--ops`"),
            false if self.is_unknown(id) => teach(op),
            false => format!("export the model without {op}"),
        })
    }

    /// Whether the operator can be taught: those that are known are refused.
    fn is_unknown(&self, id: NodeId) -> bool {
        let node = self.dense.model.graph.node(id);
        self.dense.table.get(&node.domain, &node.op).is_none()
    }

    fn is_taught(&self, id: NodeId) -> bool {
        let node = self.dense.model.graph.node(id);
        self.dense.table.get(&node.domain, &node.op).is_some_and(|d| matches!(d.relate, Relate::Given(_)))
    }
}

fn teach(op: &str) -> String {
    format!("teach {op} with `--ops FILE` (docs/teaching.md)")
}

/// The first node without a known result shape before each value of unknown rank.
fn shapeless(dense: &Prepared) -> BTreeMap<ValueId, NodeId> {
    let graph = &dense.model.graph;
    let mut out: BTreeMap<ValueId, NodeId> = BTreeMap::new();
    for id in sparsec_ir::topological(graph).unwrap_or_default() {
        let node = graph.node(id);
        let cause = node.inputs.iter().flatten().find_map(|v| out.get(v).copied()).unwrap_or(id);
        let unknown = |v: &&ValueId| dense.facts.get(**v).shape.is_none();
        out.extend(node.outputs.iter().flatten().filter(unknown).map(|v| (*v, cause)));
    }
    out
}
