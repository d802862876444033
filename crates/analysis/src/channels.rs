//! What can be cut: units, the groups they form, and what is frozen.
//!
//! A *unit* is a set of slots that must leave together. Units that sit on the same axes in the same numbers form a
//! *group*: the channels of a layer, the heads of an attention block, the dimensions inside its heads.

use crate::allowed::{Allowed, Inexact};
use crate::axes::{Axes, AxisId, AxisOwner, Slot};
use crate::collect::{Link, collect};
use crate::depth::{Branch, BranchId, StayingTerm, branches};
use crate::solve::{Freeze, Solution, solve};
use crate::table::Table;
use sparsec_ir::{Def, Facts, Id, LinkKind, Model, NodeId, OpTable, Reason, Sum, ValueId, ZeroPoint, topological};
use std::collections::{BTreeMap, BTreeSet};

/// Position of a unit in [`Channels::units`].
pub type UnitId = u32;
/// Position of a group in [`Channels::groups`].
pub type GroupId = usize;

/// A set of slots that must leave together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unit {
    /// Its group.
    pub group: GroupId,
    /// Its slots, ascending, those of virtual axes included.
    pub slots: Vec<Slot>,
}

/// Units of one shape and role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Stable name for plans: the weight axis that makes the channels, `value:axis`, with `/k` where a unit has k
    /// slots of it, and `.n` where that is still not unique.
    pub id: String,
    /// Its units, ordered by their first slot on the anchor axis.
    pub units: Vec<UnitId>,
    /// The weight axis that the name and the order come from.
    pub anchor: AxisId,
    /// Axes of values that the units sit on, with the number of slots each unit has there.
    pub axes: Vec<(AxisId, u32)>,
    /// Weight elements that sit in a slot of the group.
    pub params: u64,
}

/// A weight axis, or part of it, that can never be cut.
#[derive(Clone, Debug)]
pub struct FrozenAxis {
    /// The axis, of a constant.
    pub axis: AxisId,
    /// Frozen slots of it.
    pub slots: u32,
    /// Why the first of them stays.
    pub freeze: Freeze,
    /// Elements of the constant that sit in a frozen slot of this axis.
    pub params: u64,
}

/// Axes that a unit sits on, with the number of slots on each.
type Signature = Vec<(AxisId, u32)>;

/// Cut sets of the slots of one axis, in compressed rows.
#[derive(Clone, Debug, Default)]
struct AxisCut {
    /// Row `i` is `units[starts[i]..starts[i + 1]]`.
    starts: Vec<u32>,
    units: Vec<UnitId>,
}

/// The solved channel structure of a model.
#[derive(Clone, Debug, Default)]
pub struct Channels {
    /// Numbering of axes and slots.
    pub axes: Axes,
    /// Every unit.
    pub units: Vec<Unit>,
    /// Every group with at least two units, or of any size where slots are given up.
    pub groups: Vec<Group>,
    /// Terms of sums that can be dropped whole.
    pub branches: Vec<Branch>,
    /// Computed terms of sums that cannot be dropped, and why.
    pub staying_terms: Vec<StayingTerm>,
    /// Nodes that work on a sum, and what they are without one of its terms.
    pub fused_sums: BTreeMap<NodeId, Sum>,
    /// Weight axes with frozen slots.
    pub frozen: Vec<FrozenAxis>,
    /// Weight elements in all, and those that sit in at least one slot that can leave.
    pub params: (u64, u64),
    /// Contractions: slots that are multiplied and summed over.
    pub contractions: Vec<Link>,
    /// What was allowed beyond exact cuts.
    pub allowed: Allowed,
    /// Nodes that a policy lets compute something else where slots of their axes leave.
    pub inexact: Vec<Inexact>,
    /// Operands of a node that stand for zero by another number.
    pub zero_points: Vec<(NodeId, ZeroPoint)>,
    cuts: Vec<AxisCut>,
    pub(crate) solution: Solution,
}

/// Which units of a model leave, which branches are dropped, and in which order the units that stay lie.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Removal {
    gone: Vec<bool>,
    /// Unit that the place of a unit holds, where that is another one.
    order: BTreeMap<UnitId, UnitId>,
    dropped: BTreeSet<BranchId>,
}

impl Removal {
    /// Nothing leaves.
    pub fn none(channels: &Channels) -> Self {
        Self { gone: vec![false; channels.units.len()], order: BTreeMap::new(), dropped: BTreeSet::new() }
    }
    /// Marks a unit as leaving or staying.
    pub fn set(&mut self, unit: UnitId, leaves: bool) {
        self.gone[unit as usize] = leaves;
        if leaves && self.order.contains_key(&unit) {
            self.order.clear();
        }
    }
    /// Whether a unit leaves.
    pub fn leaves(&self, unit: UnitId) -> bool {
        self.gone[unit as usize]
    }
    /// Marks a branch as dropped or staying.
    pub fn set_branch(&mut self, branch: BranchId, drops: bool) {
        if drops {
            self.dropped.insert(branch);
        } else {
            self.dropped.remove(&branch);
        }
    }
    /// Branches that are dropped, ascending.
    pub fn dropped(&self) -> &BTreeSet<BranchId> {
        &self.dropped
    }
    /// The unit that lies in the place of a unit.
    pub fn held(&self, place: UnitId) -> UnitId {
        *self.order.get(&place).unwrap_or(&place)
    }
    pub(crate) fn hold(&mut self, place: UnitId, unit: UnitId) {
        self.order.remove(&place);
        if place != unit {
            self.order.insert(place, unit);
        }
    }
    /// Whether nothing leaves.
    pub fn is_empty(&self) -> bool {
        !self.gone.contains(&true) && self.dropped.is_empty()
    }
    /// Whether nothing leaves or changes places.
    pub fn changes_nothing(&self) -> bool {
        self.is_empty() && self.order.is_empty()
    }
}

/// Solves the channel structure of `model`. `facts` are those of [`infer`](crate::infer).
///
/// Near-linear in the number of slots.
pub fn channels(model: &Model, facts: &Facts, table: &OpTable) -> Channels {
    channels_allowing(model, facts, table, Allowed::default())
}

/// [`channels`] with cuts that a user allows besides.
pub fn channels_allowing(model: &Model, facts: &Facts, table: &OpTable, allowed: Allowed) -> Channels {
    let mut axes = Axes::of(&model.graph, facts);
    let mut statements = collect(model, facts, table, &allowed, &mut axes);
    let zero_points = std::mem::take(&mut statements.zero_points);
    let inexact = std::mem::take(&mut statements.inexact);
    let mut sums = std::mem::take(&mut statements.sums);
    let solution = solve(&mut axes, statements);
    let contractions = solution.links.iter().copied().filter(|l| l.kind == LinkKind::Contract).collect();
    let mut out = Channels { axes, contractions, zero_points, solution, allowed, inexact, ..Channels::default() };
    out.find_groups(model);
    // Freezing a slot changes groups, and what they say of other axes.
    while let Some(slot) = out.mortal_slot() {
        out.solution.keep(slot);
        (out.units, out.groups, out.cuts) = Default::default();
        out.find_groups(model);
    }
    out.count(model);
    (out.branches, out.staying_terms) = branches(model, facts, (&sums, &out.contractions), &out.zero_points);
    sums.retain(|_, sum| matches!(sum, Sum::Inside(_)));
    out.fused_sums = sums;
    out
}

impl Channels {
    /// The first of `dropped` branches that a branch lies in, so that it goes with it.
    pub fn branch_around(&self, branch: BranchId, dropped: &BTreeSet<BranchId>) -> Option<BranchId> {
        let inner = &self.branches[branch].nodes;
        let around = |outer: &BranchId| {
            let nodes = &self.branches[*outer].nodes;
            *outer != branch && nodes.len() > inner.len() && inner.iter().all(|n| nodes.binary_search(n).is_ok())
        };
        dropped.iter().copied().find(around)
    }
    /// Cut set of a slot of `axis`: the units with which it leaves.
    pub fn cut(&self, axis: AxisId, index: u32) -> &[UnitId] {
        let c = &self.cuts[axis.index()];
        match c.starts.get(index as usize..=index as usize + 1) {
            Some(&[from, to]) => &c.units[from as usize..to as usize],
            _ => &[],
        }
    }
    /// Whether any slot of the axis can leave.
    pub fn can_shrink(&self, axis: AxisId) -> bool {
        !self.cuts[axis.index()].units.is_empty()
    }
    /// Indices of `axis` that stay, in the order in which they lie; `None` where all do, each in its place.
    pub fn kept(&self, axis: AxisId, removal: &Removal) -> Option<Vec<u32>> {
        if !self.can_shrink(axis) {
            return None;
        }
        let all = 0..self.axes.len(axis);
        let stays = |i: &u32| !self.cut(axis, *i).iter().any(|u| removal.leaves(*u));
        let moved = all.clone().any(|i| self.cut(axis, i).iter().any(|u| removal.order.contains_key(u)));
        // Orders are exact, so every slot has its counterpart.
        let held = moved.then(|| self.held(axis, &removal.order)).flatten();
        let kept: Vec<u32> = held.unwrap_or_else(|| all.clone().collect()).into_iter().filter(stays).collect();
        (!kept.iter().copied().eq(all)).then_some(kept)
    }
    /// Indices of an axis of a value that stay, in the order in which they lie; `None` where all do, each in its place, or
    /// the axis is not slotted.
    pub fn kept_of(&self, value: ValueId, axis: usize, removal: &Removal) -> Option<Vec<u32>> {
        self.kept(self.axes.find(value, axis)?, removal)
    }
    /// Facts as they are after a removal: sizes of cut axes shrink, all else stays.
    pub fn facts_after(&self, model: &Model, facts: &Facts, removal: &Removal) -> Facts {
        let mut out = facts.clone();
        for (v, _) in model.graph.values() {
            let mut fact = None;
            for a in 0..facts.get(v).rank().unwrap_or(0) {
                let Some(axis) = self.axes.find(v, a).filter(|x| self.can_shrink(*x)) else { continue };
                let stays = |i: &u32| !self.cut(axis, *i).iter().any(|u| removal.leaves(*u));
                let len = (0..self.axes.len(axis)).filter(stays).count();
                let fact = fact.get_or_insert_with(|| facts.get(v).clone());
                if let Some(shape) = &mut fact.shape {
                    shape[a] = sparsec_ir::Dim::from(len as i64);
                }
            }
            if let Some(fact) = fact {
                out.set(v, fact);
            }
        }
        out
    }
    /// Nodes of which a removal takes slots that only a policy lets go: there it is not exact.
    pub fn inexact_cuts(&self, removal: &Removal) -> impl Iterator<Item = &Inexact> {
        let cut = |x: &AxisId| self.kept(*x, removal).is_some_and(|k| k.len() < self.axes.len(*x) as usize);
        self.inexact.iter().filter(move |i| i.axes.iter().any(cut))
    }
    /// Group of an id.
    pub fn group(&self, id: &str) -> Option<GroupId> {
        self.groups.iter().position(|g| g.id == id)
    }

    /// Makes units of the solver's variables and groups of units that sit alike.
    fn find_groups(&mut self, model: &Model) {
        // Slots of each variable, in slot order; axes are numbered in value order, so this is canonical.
        let mut members: Table<(Vec<Slot>, Signature)> = Table::new(self.axes.slot_count());
        for axis in self.axes.iter() {
            for s in self.axes.slots(axis) {
                for v in self.solution.cut(s) {
                    let (slots, signature) = members.get_or_insert(*v, Default::default);
                    slots.push(s);
                    match signature.last_mut() {
                        Some((last, n)) if *last == axis => *n += 1,
                        _ => signature.push((axis, 1)),
                    }
                }
            }
        }
        let weights = weight_order(model);
        let mut alike: BTreeMap<Signature, Vec<Vec<Slot>>> = BTreeMap::new();
        for (slots, signature) in members.into_entries() {
            alike.entry(signature).or_default().push(slots);
        }
        let mut groups: Vec<(Group, Vec<Vec<Slot>>)> = Vec::new();
        for (axes, mut units) in alike {
            // The weight that makes the channels comes first; where there is none, nothing would be saved.
            let of_weight = |(axis, n): &(AxisId, u32)| match self.axes.owner(*axis) {
                AxisOwner::Value(v, a) => weights.get(&v).map(|w| (*w, a, *axis, *n)),
                _ => None,
            };
            let Some((_, _, anchor, per_unit)) = axes.iter().filter_map(of_weight).min() else { continue };
            // A unit alone is not worth a choice, but may be one that is given up.
            if units.len() < 2 && self.allowed.given_up.is_empty() {
                continue;
            }
            let range = self.axes.slots(anchor);
            units.sort_by_key(|u| u.iter().copied().find(|s| range.contains(s)));
            let mut id = self.axes.label(&model.graph, anchor);
            if per_unit > 1 {
                id = format!("{id}/{per_unit}");
            }
            let axes = axes.into_iter().filter(|(x, _)| matches!(self.axes.owner(*x), AxisOwner::Value(..))).collect();
            groups.push((Group { id, units: Vec::new(), anchor, axes, params: 0 }, units));
        }
        groups.sort_by_key(|(g, units)| {
            let order = match self.axes.owner(g.anchor) {
                AxisOwner::Value(v, a) => (weights[&v], a),
                _ => (usize::MAX, 0),
            };
            (order, units[0][0])
        });
        let mut taken: BTreeMap<String, u32> = BTreeMap::new();
        let mut of_slot: Table<Vec<UnitId>> = Table::new(self.axes.slot_count());
        for (mut group, units) in groups {
            let n = taken.entry(group.id.clone()).or_insert(0);
            *n += 1;
            if *n > 1 {
                group.id = format!("{}.{n}", group.id);
            }
            for unit in units {
                let id = self.units.len() as UnitId;
                unit.iter().for_each(|s| of_slot.get_or_insert(*s, Vec::new).push(id));
                group.units.push(id);
                self.units.push(Unit { group: self.groups.len(), slots: unit });
            }
            self.groups.push(group);
        }
        for axis in self.axes.iter() {
            let mut cut = AxisCut::default();
            if self.axes.slots(axis).any(|s| of_slot.get(s).is_some()) {
                cut.starts.push(0);
                for s in self.axes.slots(axis) {
                    cut.units.extend(of_slot.get(s).into_iter().flatten());
                    cut.starts.push(cut.units.len() as u32);
                }
            }
            self.cuts.push(cut);
        }
    }

    /// A slot to keep of an axis that could be emptied though every group keeps a unit; `None` where there is no such axis.
    ///
    /// An axis lives if a slot of it never leaves. It also does if some groups have a slot for each choice of one unit of
    /// each: what is kept is such a choice. Axes whose slots all leave with one unit are of that kind, since units of a
    /// group lie on the same axes.
    fn mortal_slot(&self) -> Option<Slot> {
        let lives = |axis: AxisId| {
            let mut choices: BTreeMap<Vec<GroupId>, BTreeSet<&[UnitId]>> = BTreeMap::new();
            for i in 0..self.axes.len(axis) {
                let units = self.cut(axis, i);
                let groups: Vec<GroupId> = units.iter().map(|u| self.units[*u as usize].group).collect();
                if groups.windows(2).all(|w| w[0] < w[1]) {
                    choices.entry(groups).or_default().insert(units);
                }
            }
            let all = |groups: &[GroupId]| groups.iter().map(|g| self.groups[*g].units.len()).product::<usize>();
            choices.iter().any(|(groups, units)| units.len() == all(groups))
        };
        let several = |axis: &AxisId| (0..self.axes.len(*axis)).any(|i| self.cut(*axis, i).len() > 1);
        let mortal = self.axes.iter().filter(|x| self.can_shrink(*x)).filter(several).find(|axis| !lives(*axis))?;
        let fewest = (0..self.axes.len(mortal)).min_by_key(|i| self.cut(mortal, *i).len())?;
        Some(self.axes.slot(mortal, fewest))
    }

    /// Counts parameters: in all, prunable, by group, and behind frozen axes.
    fn count(&mut self, model: &Model) {
        for (v, value) in model.graph.values() {
            let Def::Constant(t) = &value.def else { continue };
            if !is_weight(t) {
                continue;
            }
            let total = t.count();
            self.params.0 += total;
            let mut all_frozen = 1u64;
            for (a, &len) in t.dims.iter().enumerate() {
                let Some(axis) = self.axes.find(v, a) else { continue };
                let stuck: Vec<u32> = (0..self.axes.len(axis)).filter(|i| self.cut(axis, *i).is_empty()).collect();
                all_frozen *= stuck.len() as u64;
                if let (Some(&first), true) = (stuck.first(), len > 1) {
                    let freeze = self.freeze_of(axis, first);
                    let params = total / len * stuck.len() as u64;
                    self.frozen.push(FrozenAxis { axis, slots: stuck.len() as u32, freeze, params });
                }
            }
            self.params.1 += total - all_frozen;
        }
        for group in &mut self.groups {
            let mut slots: BTreeMap<(ValueId, usize), u64> = BTreeMap::new();
            for (axis, n) in &group.axes {
                let AxisOwner::Value(v, a) = self.axes.owner(*axis) else { continue };
                slots.insert((v, a as usize), u64::from(*n) * group.units.len() as u64);
            }
            let values: BTreeSet<ValueId> = slots.keys().map(|(v, _)| *v).collect();
            let weights = values.iter().filter_map(|v| Some((*v, model.graph.constant(*v).filter(|t| is_weight(t))?)));
            let on = |v, a| slots.get(&(v, a)).copied().unwrap_or(0);
            group.params = weights.map(|(v, t)| elements_on(&t.dims, |a| on(v, a))).sum();
        }
    }

    /// Why a slot never leaves.
    fn freeze_of(&self, axis: AxisId, index: u32) -> Freeze {
        let slot = self.axes.slot(axis, index);
        let unstated = || Freeze { reason: Reason::WholeAxis, at: slot, node: None };
        self.solution.freeze_of(axis, slot).unwrap_or_else(unstated)
    }

    /// Why slot `index` of `axis` stays, or `None` where it can leave.
    pub fn why_frozen(&self, axis: AxisId, index: u32) -> Option<Freeze> {
        self.cut(axis, index).is_empty().then(|| self.freeze_of(axis, index))
    }
}

/// Whether a constant is a parameter: of a type that holds weights, and not a scalar.
fn is_weight(t: &sparsec_ir::Tensor) -> bool {
    t.elem.holds_weights() && !t.dims.is_empty()
}

/// Elements of a tensor that sit in a slot of at least one axis, where `slots` says how many of axis `a` count.
pub fn elements_on(dims: &[u64], slots: impl Fn(usize) -> u64) -> u64 {
    let elsewhere = dims.iter().enumerate().map(|(a, len)| len.saturating_sub(slots(a))).product::<u64>();
    dims.iter().product::<u64>() - elsewhere
}

/// Weights in order of their first use by a node in topological order.
fn weight_order(model: &Model) -> BTreeMap<ValueId, usize> {
    let mut out = BTreeMap::new();
    let order: Vec<NodeId> = topological(&model.graph).unwrap_or_default();
    for n in order {
        for &v in model.graph.node(n).inputs.iter().flatten() {
            if model.graph.constant(v).is_some_and(|t| is_weight(t)) {
                let next = out.len();
                out.entry(v).or_insert(next);
            }
        }
    }
    out
}
