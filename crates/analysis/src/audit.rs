//! Checks a solution against every statement, independently of how it was found.

use crate::axes::{Axes, AxisId, Slot};
use crate::channels::{Channels, UnitId};
use crate::collect::collect;
use sparsec_ir::{Facts, Model, NodeId, OpTable};

/// A statement that a solution does not satisfy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    /// Node whose rule it is; `None` for graph inputs, outputs and axes of length 1.
    pub node: Option<NodeId>,
    /// Rule of the operator file, or why the slot must stay.
    pub rule: String,
    /// The slot of the statement at which it fails.
    pub slot: Slot,
}

/// Statements of `model` that `channels` breaks; empty for whatever [`channels`](crate::channels()) returns.
///
/// The slots of a link must have equal cut sets, a flat slot the union of its factors', and slots that stay none.
pub fn audit(model: &Model, facts: &Facts, table: &OpTable, channels: &Channels) -> Vec<Breach> {
    // Axes are numbered anew: values first, then virtual axes in node order, as when the channels were solved.
    let mut axes = Axes::of(&model.graph, facts);
    let statements = collect(model, facts, table, &channels.allowed, &mut axes);
    let owners = owners(&axes);
    let cut = |slot: Slot| {
        let axis = owners[slot as usize];
        channels.cut(axis, slot - axes.slots(axis).start)
    };
    let mut out = Vec::new();
    for l in &statements.links {
        let at = |(start, step): (Slot, i32), i: i64| (i64::from(start) + i * i64::from(step)) as Slot;
        for i in 0..i64::from(l.count) {
            let (a, b) = (at(l.a, i), at(l.b, i));
            if cut(a) != cut(b) {
                out.push(Breach { node: Some(l.node), rule: l.rule.to_string(), slot: a });
            }
        }
    }
    for p in &statements.products {
        let lens: Vec<u32> = p.factors.iter().map(|f| axes.len(*f)).collect();
        for (i, flat) in axes.slots(p.flat).enumerate() {
            let mut rest = i as u32;
            let mut union: Vec<UnitId> = Vec::new();
            for (f, len) in p.factors.iter().zip(&lens).rev() {
                union.extend(cut(axes.slot(*f, rest % len)));
                rest /= len;
            }
            union.sort_unstable();
            union.dedup();
            if cut(flat) != union {
                out.push(Breach { node: p.node, rule: p.rule.to_string(), slot: flat });
            }
        }
    }
    for m in &statements.marks {
        let stays = m.slots.clone().filter(|s| !cut(*s).is_empty());
        out.extend(stays.map(|slot| Breach { node: m.node, rule: m.reason.to_string(), slot }));
    }
    out
}

/// Axis of each slot.
fn owners(axes: &Axes) -> Vec<AxisId> {
    axes.iter().flat_map(|x| axes.slots(x).map(move |_| x)).collect()
}
