//! Prices of keep-counts: what the search asks thousands of times.

use super::share::macs_of_node;
use super::{MaskCurves, Observer, Prepared};
use sparsec_analysis::{AxisId, AxisOwner, Branch, BranchId, Removal};
use sparsec_cost::{Pricer, Tally, Target};
use sparsec_ir::{Dim, Facts, Id, NodeId, ValueId};
use sparsec_passes::remove::drop_branches;
use sparsec_plan::{Evaluate, Price};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

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

/// A weight that may be masked.
struct Maskable {
    node: NodeId,
    /// Parts of which some stay.
    parts: u32,
    /// Branches that it lies in.
    around: Vec<BranchId>,
}

/// The plan that was priced last of those that drop the same branches.
struct Last<'a> {
    pricer: Pricer<'a>,
    /// Units of each group.
    keep: Vec<u32>,
    removal: Removal,
    facts: Facts,
    tally: Tally,
    price: Price,
    /// Multiply-accumulates with each weight that may be masked, zeros included; none where its node is dropped.
    macs: Vec<f64>,
}

/// Sets of dropped branches of which the last plan is remembered: a search goes to and fro between a few.
const REMEMBERED: usize = 16;

/// Prices plans of one model on one target. Each price is found from the last one, by what differs.
pub struct Pricing<'a> {
    dense: &'a Prepared,
    /// Facts of the dense model, bound to sizes.
    facts: Facts,
    target: &'a Target,
    /// Units of each group, the one most worth keeping first.
    orders: Vec<Vec<u32>>,
    axes: Vec<Axis>,
    /// Positions in `axes` of the axes of each group.
    axes_of: Vec<Vec<usize>>,
    maskable: Vec<Maskable>,
    /// Positions in `maskable` of the weights whose nodes touch each value.
    masked_on: BTreeMap<ValueId, Vec<usize>>,
    /// Groups, branches and weights that meet each of them in a kernel.
    coupled: Vec<Vec<usize>>,
    /// Groups, branches and weights inside each of them.
    inside: Vec<Vec<usize>>,
    /// The one that was asked for last comes last.
    last: RefCell<Vec<Last<'a>>>,
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
        let mut out = Self {
            dense,
            facts,
            target,
            orders,
            axes,
            axes_of,
            maskable: Vec::new(),
            masked_on: BTreeMap::new(),
            coupled: Vec::new(),
            inside: inside(dense),
            last: RefCell::default(),
            overhead: 0.0,
            watch,
        };
        let mut whole = out.without(&BTreeSet::new());
        out.overhead = (file_bytes as f64 - whole.price.size).max(0.0);
        whole.price.size += out.overhead;
        out.coupled = out.meetings(&whole.pricer, &[]);
        out.last.get_mut().push(whole);
        out
    }

    /// Prices of plans that also mask weights. What they keep of each, in parts as the curves count them, comes behind the
    /// branches; multiply-accumulates are then those that are not by zero. Nothing else gets less: a kernel that knows of no
    /// zeros takes the same time and memory.
    pub fn with_masks(mut self, masks: &MaskCurves) -> Self {
        let dense = self.dense;
        let (graph, branches) = (&dense.model.graph, &dense.channels.branches);
        let found = masks.maskable(&dense.model);
        for (at, &(_, node, parts)) in found.iter().enumerate() {
            let around: Vec<BranchId> =
                (0..branches.len()).filter(|b| branches[*b].nodes.binary_search(&node).is_ok()).collect();
            around.iter().for_each(|b| self.inside[self.orders.len() + b].push(dense.whole().len() + at));
            let n = graph.node(node);
            for v in n.inputs.iter().chain(&n.outputs).flatten() {
                self.masked_on.entry(*v).or_default().push(at);
            }
            self.maskable.push(Maskable { node, parts, around });
            self.inside.push(Vec::new());
        }
        let whole = self.without(&BTreeSet::new());
        self.coupled = self.meetings(&whole.pricer, &found.iter().map(|f| f.0).collect::<Vec<_>>());
        *self.last.get_mut() = vec![whole];
        self
    }

    /// What a plan keeps that changes nothing.
    pub fn whole(&self) -> Vec<u32> {
        let parts = self.maskable.iter().map(|m| m.parts);
        self.dense.whole().into_iter().chain(parts).collect()
    }

    /// Share of the multiplications with weights that may be masked that a plan's masks leave; 1 without any.
    pub fn density(&self, keep: &[u32]) -> f64 {
        let others = keep.len() - self.maskable.len();
        let none: Vec<u32> = (0..).zip(keep).map(|(i, k)| if i < others { *k } else { 0 }).collect();
        let macs = |keep: &[u32]| self.price(keep).macs;
        let (left, rest, all) = (macs(keep), macs(&none), macs(&self.unmasked(keep)));
        if all > rest { (left - rest) / (all - rest) } else { 1.0 }
    }

    /// A plan without its masks.
    pub fn unmasked(&self, keep: &[u32]) -> Vec<u32> {
        let parts = self.maskable.iter().map(|m| m.parts);
        keep.iter().copied().take(keep.len() - self.maskable.len()).chain(parts).collect()
    }

    /// Share that stays of each weight that may be masked.
    pub fn shares(&self, keep: &[u32]) -> Vec<f64> {
        let kept = &keep[self.dense.whole().len()..];
        kept.iter().zip(&self.maskable).map(|(k, m)| f64::from(*k) / f64::from(m.parts)).collect()
    }

    /// The plan that drops some branches and nothing else.
    fn without(&self, branches: &BTreeSet<BranchId>) -> Last<'a> {
        let dense = self.dense;
        let mut removal = Removal::none(&dense.channels);
        branches.iter().for_each(|b| removal.set_branch(*b, true));
        let model = drop_branches(&dense.model, &dense.channels, &removal);
        let pricer = Pricer::new(model, &self.facts, &dense.table, self.target);
        let (keep, facts) = (self.orders.iter().map(|o| o.len() as u32).collect(), self.facts.clone());
        let tally = pricer.tally(&facts);
        let price = price(&pricer.price(&facts), self.overhead);
        let macs = (0..self.maskable.len()).map(|m| self.macs(m, &removal, &facts)).collect();
        Last { pricer, keep, removal, facts, tally, price, macs }
    }

    /// Multiply-accumulates with a weight that may be masked, zeros included.
    fn macs(&self, at: usize, removal: &Removal, facts: &Facts) -> f64 {
        let m = &self.maskable[at];
        let gone = m.around.iter().any(|b| removal.dropped().contains(b));
        if gone { 0.0 } else { macs_of_node(&self.dense.model, &self.dense.table, facts, m.node) as f64 }
    }

    /// What leaves when each group keeps so many of its best units, and each branch stays or not.
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

    /// Changes a plan to one that keeps so many units of each group.
    fn keep(&self, last: &mut Last, units: &[u32]) {
        let mut axes = Vec::new();
        for (g, (new, group)) in units.iter().zip(&self.dense.channels.groups).enumerate() {
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
            return;
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
        last.price = price(&last.pricer.update(&mut last.tally, &last.facts, &changed), self.overhead);
        for &m in changed.iter().filter_map(|v| self.masked_on.get(v)).flatten() {
            last.macs[m] = self.macs(m, &last.removal, &last.facts);
        }
    }

    /// Groups, branches and `weights` that meet each of them in a kernel, ascending.
    fn meetings(&self, pricer: &Pricer, weights: &[ValueId]) -> Vec<Vec<usize>> {
        let graph = &self.dense.model.graph;
        let node = |n: NodeId| graph.node(n).inputs.iter().chain(&graph.node(n).outputs).flatten().copied();
        // Kernels around the sum may be fused in another way without the term.
        let branch = |b: &Branch| b.nodes.iter().copied().chain([b.sum]).flat_map(node).collect();
        let group = |list: &Vec<usize>| list.iter().map(|a| self.axes[*a].value).collect();
        let branches = self.dense.channels.branches.iter().map(branch);
        let weights = weights.iter().map(|w| vec![*w]);
        let values: Vec<Vec<ValueId>> = self.axes_of.iter().map(group).chain(branches).chain(weights).collect();
        let kernels = |values: &Vec<ValueId>| values.iter().flat_map(|v| pricer.kernels_on(*v)).copied().collect();
        coupled(&values.iter().map(kernels).collect::<Vec<_>>())
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

/// For each group, none, and for each branch the groups and branches of which nothing is left without it.
pub fn inside(dense: &Prepared) -> Vec<Vec<usize>> {
    let (graph, channels) = (&dense.model.graph, &dense.channels);
    let groups = channels.groups.len();
    let nodes_of = |axis: AxisId| match channels.axes.owner(axis) {
        AxisOwner::Value(v, _) => graph.producer(v).map_or_else(|| graph.consumers(v), |n| vec![n]),
        AxisOwner::Virtual(_) | AxisOwner::Digit => Vec::new(),
    };
    let mut nodes: Vec<Vec<NodeId>> = Vec::new();
    nodes.extend(channels.groups.iter().map(|g| g.axes.iter().flat_map(|(axis, _)| nodes_of(*axis)).collect()));
    nodes.extend(channels.branches.iter().map(|b| b.nodes.clone()));
    let of = |at: usize| {
        let Some(outer) = at.checked_sub(groups) else { return Vec::new() };
        let branch = &channels.branches[outer].nodes;
        let within = |n: &NodeId| branch.binary_search(n).is_ok();
        (0..nodes.len()).filter(|i| *i != at && nodes[*i].iter().all(within)).collect()
    };
    (0..nodes.len()).map(of).collect()
}

/// Which of some lists of kernels have one in common with each, ascending.
fn coupled(kernels_of: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut lists_with: Vec<Vec<usize>> = Vec::new();
    for (at, kernels) in kernels_of.iter().enumerate() {
        for &k in kernels {
            lists_with.resize(lists_with.len().max(k + 1), Vec::new());
            if lists_with[k].last() != Some(&at) {
                lists_with[k].push(at);
            }
        }
    }
    let meets = |(at, kernels): (usize, &Vec<usize>)| {
        let mut out: Vec<usize> = kernels.iter().flat_map(|k| &lists_with[*k]).copied().filter(|o| *o != at).collect();
        out.sort_unstable();
        out.dedup();
        out
    };
    kernels_of.iter().enumerate().map(meets).collect()
}

impl Evaluate for Pricing<'_> {
    fn price(&self, keep: &[u32]) -> Price {
        let (units, rest) = keep.split_at(self.dense.channels.groups.len());
        let (branches, shares) = rest.split_at(self.dense.channels.branches.len());
        let dropped: BTreeSet<BranchId> = (0..branches.len()).filter(|b| branches[*b] == 0).collect();
        let mut all = self.last.borrow_mut();
        let known = all.iter().position(|l| *l.removal.dropped() == dropped).map(|at| all.remove(at));
        let mut last = known.unwrap_or_else(|| self.without(&dropped));
        self.keep(&mut last, units);
        if all.len() == REMEMBERED {
            all.remove(0);
        }
        let mut price = last.price;
        let zeros = |((k, m), macs): ((&u32, &Maskable), &f64)| macs * f64::from(m.parts - k) / f64::from(m.parts);
        price.macs -= shares.iter().zip(&self.maskable).zip(&last.macs).map(zeros).sum::<f64>();
        all.push(last);
        price
    }
    fn coupled(&self, group: usize) -> &[usize] {
        &self.coupled[group]
    }
    fn inside(&self, group: usize) -> &[usize] {
        &self.inside[group]
    }
    fn interrupted(&self) -> bool {
        self.watch.interrupted()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::drive::{Concessions, Footing, MaskErrors, Quiet, bound_facts, cut, prepare};
    use sparsec_cost::estimate;
    use sparsec_plan::Pattern;
    use std::collections::BTreeMap;

    /// A branch `o` with another one in it, `i`, and a group of hidden channels in both.
    const NESTED: &str = "g (float[n,4] x) => (float[n,3] y)
        <float[4,8] stem = [\"location\": \"random:1\"], float[8,32] up = [\"location\": \"random:2\"],
         float[32,32] inner = [\"location\": \"random:3\"], float[32,8] down = [\"location\": \"random:4\"],
         float[8,3] head = [\"location\": \"random:5\"]>
        { a = MatMul (x, stem) h = MatMul (a, up) r = Relu (h) i = MatMul (r, inner) j = Add (r, i) o = MatMul (j, down)
          s = Add (a, o) t = Tanh (s) y = MatMul (t, head) }";

    #[test]
    fn a_plan_that_drops_branches_costs_what_its_model_does() {
        let none = Concessions::default();
        let dense = prepare(&sparsec_testkit::model(NESTED), sparsec_ops::table(), None, &none, &Quiet).unwrap();
        let sizes = dense.sizes(1, &BTreeMap::new()).unwrap();
        let target = Target::named_or_file("generic-x86").unwrap();
        let ids: Vec<&str> = dense.channels.branches.iter().map(|b| b.id.as_str()).collect();
        assert_eq!((ids, dense.whole()), (vec!["i", "o"], vec![8, 32, 1, 1]));
        let orders = vec![(0..8).collect(), (0..32).collect()];
        let pricing = Pricing::new(&dense, dense.bind(&sizes), &target, orders, 0, &Quiet);
        // To and fro, so that each price starts from another plan.
        for keep in
            [[8, 32, 0, 1], [6, 20, 1, 1], [6, 20, 0, 1], [6, 20, 1, 0], [8, 4, 0, 0], [6, 16, 0, 1], [8, 32, 1, 1]]
        {
            let model = cut(&dense, &pricing.removal(&keep), &[]).unwrap().model;
            let e = estimate(&model, &bound_facts(&model, &dense.table, &sizes), &dense.table, &target);
            let p = pricing.price(&keep);
            assert_eq!((p.macs, p.params, p.size), (e.macs as f64, e.params as f64, e.file_bytes as f64), "{keep:?}");
            assert_eq!((p.latency_ms, p.memory), (e.latency_ms.mid, e.memory.peak as f64), "{keep:?}");
        }
        assert_eq!([2, 3].map(|b| pricing.inside(b).to_vec()), [vec![], vec![1, 2]]);
        assert!(pricing.coupled(1).contains(&2) && pricing.coupled(2).contains(&3));
    }

    #[test]
    fn a_share_of_a_weight_scales_the_multiplications_of_its_node_and_nothing_else() {
        let none = Concessions::default();
        let dense = prepare(&sparsec_testkit::model(NESTED), sparsec_ops::table(), None, &none, &Quiet).unwrap();
        let sizes = dense.sizes(1, &BTreeMap::new()).unwrap();
        let target = Target::named_or_file("generic-x86").unwrap();
        let weight = |name: &str, counts: Vec<u32>| MaskErrors {
            weight: name.to_string(),
            error: counts.iter().map(|c| f64::from(32 - c)).collect(),
            counts,
            why: None,
        };
        let weights = vec![weight("up", vec![8, 32]), weight("head", Vec::new()), weight("inner", vec![16, 32])];
        let masks = MaskCurves { pattern: Pattern::Block(4), weights, footing: Footing::default() };
        let orders = vec![(0..8).collect(), (0..32).collect()];
        let pricing = Pricing::new(&dense, dense.bind(&sizes), &target, orders, 0, &Quiet).with_masks(&masks);
        assert_eq!(pricing.whole(), [8, 32, 1, 1, 32, 32]);
        // `up` is 8 × 20 multiplications and `inner` 20 × 20, unless its branch goes, or both with `o`.
        for (keep, saved) in [
            ([8, 20, 1, 1, 8, 16], 0.75 * 160.0 + 0.5 * 400.0),
            ([8, 20, 0, 1, 8, 16], 0.75 * 160.0),
            ([8, 20, 1, 0, 8, 16], 0.0),
            ([6, 20, 1, 1, 8, 32], 0.75 * 120.0),
        ] {
            let (masked, plain) = (pricing.price(&keep), pricing.price(&pricing.unmasked(&keep)));
            assert_eq!(Price { macs: plain.macs - saved, ..plain }, masked, "{keep:?}");
        }
        // The groups that `up` reads and makes, and the branches that it lies in or makes the input of.
        assert!([0, 1, 3].iter().all(|g| pricing.coupled(4).contains(g) && pricing.coupled(*g).contains(&4)));
        assert_eq!((pricing.inside(2), pricing.inside(3)), (&[5][..], &[1, 2, 4, 5][..]));
    }
}
