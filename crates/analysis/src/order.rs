//! In which order the units of a group lie in the smaller model.
//!
//! An order π says which unit each place holds: *the place of unit u holds unit π(u)*, on every axis at once. The k-th slot
//! of an axis that leaves with units C gives its place to the k-th one that leaves with π(C). What the nodes compute stays
//! the same where what links them does: a pair of slots that a rule links must become a pair that the same rule links, and
//! a flat slot the flat slot of what its factors become. Then every place means to its node what it meant, so that numbers
//! which the graph holds (starts, sizes, indices) need no change, and the model computes the same in another order. Axes of
//! the model's inputs and outputs have no units, so nobody outside sees it.
//!
//! Units that leave keep their places, so that of every stretch of an axis as many places stay as slots.
//!
//! Orders that are exact make up a group in the sense of algebra: what two of them do one after the other is exact too.
//! One that moves every unit to the next place, and one that swaps the first two, generate all: only these are tried.

use crate::axes::{AxisId, Slot};
use crate::channels::{Channels, GroupId, Removal, UnitId};
use crate::collect::Product;
use sparsec_ir::{LinkKind, NodeId};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why units cannot lie in an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum OrderError {
    /// The model would compute something else.
    #[error("its units cannot change places: the model would compute something else")]
    Fixed,
    /// The units are not those of the places.
    #[error("the order does not hold each unit once")]
    Units,
}

/// Slots that the places of an axis hold.
type Held = BTreeMap<AxisId, Vec<u32>>;
/// A pair of slots as a rule of a node links it.
type Pair = (NodeId, &'static str, bool, Slot, Slot);

impl Removal {
    /// Lets the places of the units of a group that stay, in the group's order, hold `units`, which are the same ones. A unit
    /// of them that is made to leave later undoes all orders.
    ///
    /// # Errors
    /// Where that is no order of these units, or not an exact one.
    pub fn arrange(&mut self, channels: &Channels, group: GroupId, units: &[UnitId]) -> Result<(), OrderError> {
        let places: Vec<UnitId> = channels.groups[group].units.iter().copied().filter(|u| !self.leaves(*u)).collect();
        let set = |list: &[UnitId]| list.iter().copied().collect::<BTreeSet<UnitId>>();
        if places.len() != units.len() || set(&places) != set(units) {
            return Err(OrderError::Units);
        }
        if places != units && !channels.interchangeable(group) {
            return Err(OrderError::Fixed);
        }
        places.iter().zip(units).for_each(|(place, unit)| self.hold(*place, *unit));
        Ok(())
    }
}

impl Channels {
    /// Whether the units of a group may lie in any order.
    ///
    /// Linear in the slots and links of the axes that the units lie on, up to a logarithm.
    pub fn interchangeable(&self, group: GroupId) -> bool {
        let units = &self.groups[group].units;
        let [first, second, ..] = units.as_slice() else { return true };
        let next: BTreeMap<UnitId, UnitId> = units.iter().copied().zip(units.iter().copied().cycle().skip(1)).collect();
        let swap = BTreeMap::from([(*first, *second), (*second, *first)]);
        let touched =
            |axis: &AxisId| (0..self.axes.len(*axis)).any(|i| self.cut(*axis, i).iter().any(|u| next.contains_key(u)));
        let axes: Vec<AxisId> = self.axes.iter().filter(|x| self.can_shrink(*x)).filter(touched).collect();
        let pairs = self.pairs_on(&axes);
        [next, swap].iter().all(|order| {
            let held = axes.iter().map(|x| Some((*x, self.held(*x, order)?))).collect::<Option<Held>>();
            held.is_some_and(|held| self.keeps_pairs(&pairs, &held) && self.keeps_products(&held))
        })
    }

    /// The slot that each place of an axis holds, where the places of units hold others; `None` where a slot has no
    /// counterpart.
    pub(crate) fn held(&self, axis: AxisId, order: &BTreeMap<UnitId, UnitId>) -> Option<Vec<u32>> {
        let mut slots: BTreeMap<&[UnitId], Vec<u32>> = BTreeMap::new();
        (0..self.axes.len(axis)).for_each(|i| slots.entry(self.cut(axis, i)).or_default().push(i));
        let mut seen: BTreeMap<&[UnitId], usize> = BTreeMap::new();
        let slot = |i: u32| {
            let cut = self.cut(axis, i);
            if !cut.iter().any(|u| order.contains_key(u)) {
                return Some(i);
            }
            let mut units: Vec<UnitId> = cut.iter().map(|u| *order.get(u).unwrap_or(u)).collect();
            units.sort_unstable();
            let k = seen.entry(cut).or_insert(0);
            *k += 1;
            slots.get(units.as_slice())?.get(*k - 1).copied()
        };
        (0..self.axes.len(axis)).map(slot).collect()
    }

    /// Every pair that is linked on one of `axes`, sorted.
    fn pairs_on(&self, axes: &[AxisId]) -> Vec<Pair> {
        let mut out = Vec::new();
        for l in &self.solution.links {
            if ![l.a.0, l.b.0].iter().any(|s| axes.binary_search(&self.axes.locate(*s).0).is_ok()) {
                continue;
            }
            let at = |(start, step): (Slot, i32), i: i64| (i64::from(start) + i * i64::from(step)) as Slot;
            let pair = |i: i64| (l.node, l.rule, l.kind == LinkKind::Contract, at(l.a, i), at(l.b, i));
            out.extend((0..i64::from(l.count)).map(pair));
        }
        out.sort_unstable();
        out
    }

    fn keeps_pairs(&self, pairs: &[Pair], held: &Held) -> bool {
        let now = |slot: Slot| {
            let (axis, index) = self.axes.locate(slot);
            held.get(&axis).map_or(slot, |h| self.axes.slot(axis, h[index as usize]))
        };
        pairs
            .iter()
            .all(|(node, rule, kind, a, b)| pairs.binary_search(&(*node, *rule, *kind, now(*a), now(*b))).is_ok())
    }

    fn keeps_products(&self, held: &Held) -> bool {
        let now = |axis: &AxisId, index: u32| held.get(axis).map_or(index, |h| h[index as usize]);
        let kept = |p: &Product| {
            (0..self.axes.len(p.flat)).all(|flat| {
                let (mut rest, mut stride, mut wanted) = (flat, 1, 0);
                for factor in p.factors.iter().rev() {
                    let len = self.axes.len(*factor);
                    wanted += now(factor, rest % len) * stride;
                    rest /= len;
                    stride *= len;
                }
                now(&p.flat, flat) == wanted
            })
        };
        let touched = |p: &&Product| p.factors.iter().chain([&p.flat]).any(|x| held.contains_key(x));
        self.solution.products.iter().filter(touched).all(kept)
    }
}
