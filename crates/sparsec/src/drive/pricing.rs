//! Prices of keep-counts: what the search asks thousands of times.

use super::{Observer, Prepared};
use sparsec_analysis::{AxisId, AxisOwner, Removal};
use sparsec_cost::{Pricer, Tally, Target};
use sparsec_ir::{Dim, Facts, Id, ValueId};
use sparsec_plan::{Evaluate, Price};
use std::cell::RefCell;

/// An axis that can shrink, and how its length follows the counts.
struct Axis {
    value: ValueId,
    axis: usize,
    id: AxisId,
    /// Groups on it, with the slots that each unit has there.
    groups: Vec<(usize, u32)>,
    /// Whether every slot leaves with at most one unit; else the slots have to be looked at.
    plain: bool,
}

/// The plan that was priced last.
struct Last {
    keep: Vec<u32>,
    removal: Removal,
    facts: Facts,
    tally: Tally,
    price: Price,
}

/// Prices plans of one model on one target. Each price is found from the last one, by what differs.
pub struct Pricing<'a> {
    pricer: Pricer<'a>,
    dense: &'a Prepared,
    /// Units of each group, the one most worth keeping first.
    orders: Vec<Vec<u32>>,
    axes: Vec<Axis>,
    /// Positions in `axes` of the axes of each group.
    axes_of: Vec<Vec<usize>>,
    /// Groups that meet each group in a kernel.
    coupled: Vec<Vec<usize>>,
    last: RefCell<Last>,
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
        let tally = pricer.tally(&facts);
        let whole = pricer.price(&facts);
        let overhead = (file_bytes as f64 - whole.weight_bytes as f64).max(0.0);
        let channels = &dense.channels;
        let axis = |id: AxisId| match channels.axes.owner(id) {
            AxisOwner::Value(value, axis) if channels.can_shrink(id) => {
                let plain = (0..channels.axes.len(id)).all(|i| channels.cut(id, i).len() <= 1);
                Some(Axis { value, axis: axis as usize, id, groups: Vec::new(), plain })
            }
            _ => None,
        };
        let mut axes: Vec<Axis> = channels.axes.iter().filter_map(axis).collect();
        let mut axes_of = vec![Vec::new(); channels.groups.len()];
        for (g, group) in channels.groups.iter().enumerate() {
            for (id, slots) in &group.axes {
                if let Ok(at) = axes.binary_search_by_key(&id.index(), |a| a.id.index()) {
                    axes[at].groups.push((g, *slots));
                    axes_of[g].push(at);
                }
            }
        }
        let coupled = coupled(&pricer, &axes, &axes_of);
        let last = Last {
            keep: dense.whole(),
            removal: Removal::none(channels),
            facts,
            tally,
            price: price(&whole, overhead),
        };
        Self { pricer, dense, orders, axes, axes_of, coupled, last: RefCell::new(last), overhead, watch }
    }

    /// What leaves when each group keeps so many of its best units.
    pub fn removal(&self, keep: &[u32]) -> Removal {
        super::removal_of(self.dense, &self.orders, keep)
    }

    /// Length of an axis under the plan of `last`.
    fn len(&self, a: &Axis, last: &Last) -> u32 {
        let channels = &self.dense.channels;
        let len = channels.axes.len(a.id);
        if a.plain {
            let gone = |(g, n): &(usize, u32)| (self.orders[*g].len() as u32 - last.keep[*g]) * n;
            return len - a.groups.iter().map(gone).sum::<u32>();
        }
        let stays = |i: &u32| !channels.cut(a.id, *i).iter().any(|u| last.removal.leaves(*u));
        (0..len).filter(stays).count() as u32
    }
}

fn price(p: &sparsec_cost::Price, overhead: f64) -> Price {
    Price {
        macs: p.macs as f64,
        params: p.params as f64,
        size: p.weight_bytes as f64 + overhead,
        latency_ms: p.latency_ms,
        memory: p.memory_bytes as f64,
    }
}

/// Groups that meet each group in a kernel, ascending.
fn coupled(pricer: &Pricer, axes: &[Axis], axes_of: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let kernels_of: Vec<Vec<usize>> = axes_of
        .iter()
        .map(|list| list.iter().flat_map(|a| pricer.kernels_on(axes[*a].value)).copied().collect())
        .collect();
    let mut groups_on: Vec<Vec<usize>> = Vec::new();
    for (g, kernels) in kernels_of.iter().enumerate() {
        for &k in kernels {
            groups_on.resize(groups_on.len().max(k + 1), Vec::new());
            if groups_on[k].last() != Some(&g) {
                groups_on[k].push(g);
            }
        }
    }
    let meets = |(g, kernels): (usize, &Vec<usize>)| {
        let mut out: Vec<usize> = kernels.iter().flat_map(|k| &groups_on[*k]).copied().filter(|o| *o != g).collect();
        out.sort_unstable();
        out.dedup();
        out
    };
    kernels_of.iter().enumerate().map(meets).collect()
}

impl Evaluate for Pricing<'_> {
    fn price(&self, keep: &[u32]) -> Price {
        let last = &mut *self.last.borrow_mut();
        let mut axes = Vec::new();
        for (g, (new, group)) in keep.iter().zip(&self.dense.channels.groups).enumerate() {
            let old = std::mem::replace(&mut last.keep[g], *new);
            if old == *new {
                continue;
            }
            for &u in &self.orders[g][old.min(*new) as usize..old.max(*new) as usize] {
                last.removal.set(group.units[u as usize], *new < old);
            }
            axes.extend(&self.axes_of[g]);
        }
        if axes.is_empty() {
            return last.price;
        }
        let mut changed = Vec::new();
        axes.sort_unstable();
        axes.dedup();
        for a in axes.into_iter().map(|a: usize| &self.axes[a]) {
            let len = self.len(a, last);
            if last.facts.get(a.value).size(a.axis) != Some(u64::from(len)) {
                let mut fact = last.facts.get(a.value).clone();
                if let Some(shape) = &mut fact.shape {
                    shape[a.axis] = Dim::from(i64::from(len));
                }
                last.facts.set(a.value, fact);
                changed.push(a.value);
            }
        }
        last.price = price(&self.pricer.update(&mut last.tally, &last.facts, &changed), self.overhead);
        last.price
    }
    fn coupled(&self, group: usize) -> &[usize] {
        &self.coupled[group]
    }
    fn interrupted(&self) -> bool {
        self.watch.interrupted()
    }
}
