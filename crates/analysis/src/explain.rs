//! Why slots leave together, or why one stays: the path of nodes and rules.

use crate::axes::Slot;
use crate::channels::Channels;
use sparsec_ir::NodeId;
use std::collections::{BTreeMap, VecDeque};

/// One step of a proof: `from` and `to` are tied by `rule` of `node`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// Slot.
    pub from: Slot,
    /// Slot.
    pub to: Slot,
    /// Node whose rule it is; `None` for ties between factorisations of one axis.
    pub node: Option<NodeId>,
    /// Rule of the operator file.
    pub rule: &'static str,
}

/// Shortest chain of rules from `from` to the first slot that `goal` accepts, over slots that `through` accepts; `None`
/// if no rule leads there. `from` needs neither.
///
/// Links are walked both ways; a product is walked between a flat slot and each of its factors' slots.
pub fn path(
    channels: &Channels,
    from: Slot,
    goal: impl Fn(Slot) -> bool,
    through: impl Fn(Slot) -> bool,
) -> Option<Vec<Step>> {
    let steps = neighbours(channels);
    let mut came: BTreeMap<Slot, Step> = BTreeMap::new();
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        if goal(at) {
            let mut out = Vec::new();
            let mut slot = at;
            while slot != from {
                let step = came[&slot].clone();
                slot = step.from;
                out.push(step);
            }
            out.reverse();
            return Some(out);
        }
        for step in steps.get(&at).into_iter().flatten() {
            if step.to != from && !came.contains_key(&step.to) && through(step.to) {
                came.insert(step.to, step.clone());
                queue.push_back(step.to);
            }
        }
    }
    None
}

/// Steps from every slot.
fn neighbours(channels: &Channels) -> BTreeMap<Slot, Vec<Step>> {
    let mut out: BTreeMap<Slot, Vec<Step>> = BTreeMap::new();
    let mut both = |a: Slot, b: Slot, node, rule| {
        out.entry(a).or_default().push(Step { from: a, to: b, node, rule });
        out.entry(b).or_default().push(Step { from: b, to: a, node, rule });
    };
    for l in &channels.solution.links {
        for i in 0..i64::from(l.count) {
            let at = |(start, step): (Slot, i32)| (i64::from(start) + i * i64::from(step)) as Slot;
            both(at(l.a), at(l.b), Some(l.node), l.rule);
        }
    }
    for e in &channels.solution.edges {
        both(e.a, e.b, e.node, "same factorisation");
    }
    for p in &channels.solution.products {
        let lens: Vec<u32> = p.factors.iter().map(|f| channels.axes.len(*f)).collect();
        for (i, flat) in channels.axes.slots(p.flat).enumerate() {
            let mut rest = i as u32;
            for (f, len) in p.factors.iter().zip(&lens).rev() {
                both(flat, channels.axes.slot(*f, rest % len), p.node, p.rule);
                rest /= len;
            }
        }
    }
    out
}
