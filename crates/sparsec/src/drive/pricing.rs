//! Prices of keep-counts: what the search asks thousands of times.

use super::{Observer, Prepared};
use sparsec_analysis::{AxisId, AxisOwner, Removal};
use sparsec_cost::{Pricer, Target};
use sparsec_ir::{Dim, Facts, ValueId};
use sparsec_plan::{Evaluate, Price};
use std::cell::RefCell;

/// An axis that can shrink, and how its length follows the counts.
struct Axis {
    value: ValueId,
    axis: usize,
    id: AxisId,
    /// Groups on it with the slots each unit has there, where every slot leaves with at most one unit; else the slots
    /// have to be looked at.
    groups: Option<Vec<(usize, u32)>>,
}

/// Prices plans of one model on one target.
pub struct Pricing<'a> {
    pricer: Pricer<'a>,
    dense: &'a Prepared,
    /// Units of each group, the one most worth keeping first.
    orders: Vec<Vec<u32>>,
    axes: Vec<Axis>,
    facts: RefCell<Facts>,
    /// Bytes of the file that are not constants.
    overhead: f64,
    watch: &'a dyn Observer,
}

impl<'a> Pricing<'a> {
    /// `facts` are the dense ones, bound to sizes; `orders` the ranking of each group's units; `file_bytes` the size of
    /// the dense model's file.
    pub fn new(
        dense: &'a Prepared,
        facts: Facts,
        target: &'a Target,
        orders: Vec<Vec<u32>>,
        file_bytes: u64,
        watch: &'a dyn Observer,
    ) -> Self {
        let pricer = Pricer::new(&dense.model, &facts, &dense.table, target);
        let overhead = file_bytes as f64 - pricer.price(&facts).weight_bytes as f64;
        let channels = &dense.channels;
        let mut axes = Vec::new();
        for id in channels.axes.iter().filter(|a| channels.can_shrink(*a)) {
            let AxisOwner::Value(value, axis) = channels.axes.owner(id) else { continue };
            let plain = (0..channels.axes.len(id)).all(|i| channels.cut(id, i).len() <= 1);
            let on = |g: &sparsec_analysis::Group| g.axes.iter().find(|(a, _)| *a == id).map(|(_, n)| *n);
            let groups = channels.groups.iter().enumerate().filter_map(|(g, group)| Some((g, on(group)?))).collect();
            axes.push(Axis { value, axis: axis as usize, id, groups: plain.then_some(groups) });
        }
        Self { pricer, dense, orders, axes, facts: RefCell::new(facts), overhead: overhead.max(0.0), watch }
    }

    /// What leaves when each group keeps so many of its best units.
    pub fn removal(&self, keep: &[u32]) -> Removal {
        super::removal_of(self.dense, &self.orders, keep)
    }
}

impl Evaluate for Pricing<'_> {
    fn price(&self, keep: &[u32]) -> Price {
        let channels = &self.dense.channels;
        let mut facts = self.facts.borrow_mut();
        let mut removal = None;
        for a in &self.axes {
            let len = match &a.groups {
                Some(groups) => {
                    let gone = |(g, n): &(usize, u32)| (self.orders[*g].len() as u32 - keep[*g]) * n;
                    channels.axes.len(a.id) - groups.iter().map(gone).sum::<u32>()
                }
                None => {
                    let removal = removal.get_or_insert_with(|| self.removal(keep));
                    let stays = |i: &u32| !channels.cut(a.id, *i).iter().any(|u| removal.leaves(*u));
                    (0..channels.axes.len(a.id)).filter(stays).count() as u32
                }
            };
            if facts.get(a.value).size(a.axis) != Some(u64::from(len)) {
                let mut fact = facts.get(a.value).clone();
                if let Some(shape) = &mut fact.shape {
                    shape[a.axis] = Dim::from(i64::from(len));
                }
                facts.set(a.value, fact);
            }
        }
        let p = self.pricer.price(&facts);
        Price {
            macs: p.macs as f64,
            params: p.params as f64,
            size: p.weight_bytes as f64 + self.overhead,
            latency_ms: p.latency_ms,
            memory: p.memory_bytes as f64,
        }
    }
    fn interrupted(&self) -> bool {
        self.watch.interrupted()
    }
}
