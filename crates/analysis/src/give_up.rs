//! Slots that a user gives up: what leaves with them, exactly for all that stays.

use crate::allowed::{Allowed, Slots};
use crate::axes::{AxisOwner, Slot};
use crate::channels::{Channels, Removal, UnitId, channels_allowing};
use crate::solve::Freeze;
use sparsec_ir::{Facts, Model, NodeId, OpTable, ValueId};

/// A slot that was given up and stays all the same.
#[derive(Clone, Debug)]
pub struct Stays {
    /// Value and axis.
    pub axis: (ValueId, u32),
    /// Index along it.
    pub index: u32,
    /// Why.
    pub why: Tie,
}

/// Why a slot cannot be given up.
#[derive(Clone, Debug)]
pub enum Tie {
    /// It never leaves.
    Frozen(Freeze),
    /// It would take a slot along that was not given up.
    With {
        /// Value and axis.
        axis: (ValueId, u32),
        /// Index along it.
        index: u32,
    },
    /// A node sums over it: what stays depends on it.
    Summed(NodeId),
}

/// Channels of `model` with `given_up` let go, and the removal of just these slots, or the first that stays. What stays of
/// the model computes the same as before: a slot that something sums over is refused.
pub fn give_up(model: &Model, facts: &Facts, table: &OpTable, given_up: Slots) -> (Channels, Result<Removal, Stays>) {
    let allowed = Allowed { given_up, ..Allowed::default() };
    let channels = channels_allowing(model, facts, table, allowed);
    let removal = removal(&channels);
    (channels, removal)
}

fn removal(channels: &Channels) -> Result<Removal, Stays> {
    let mut removal = Removal::none(channels);
    for (&(value, axis), indices) in &channels.allowed.given_up {
        let Some(id) = channels.axes.find(value, axis as usize) else { continue };
        for &index in indices {
            let stays = |why| Stays { axis: (value, axis), index, why };
            if let Some(freeze) = channels.why_frozen(id, index) {
                return Err(stays(Tie::Frozen(freeze)));
            }
            let mut ties = Vec::new();
            match channels.cut(id, index).iter().find(|u| tie(channels, **u).map(|t| ties.push(t)).is_none()) {
                Some(unit) => removal.set(*unit, true),
                None => return Err(stays(ties.swap_remove(0))),
            }
        }
    }
    Ok(removal)
}

/// What holds a unit back though its slots may leave.
fn tie(channels: &Channels, unit: UnitId) -> Option<Tie> {
    let slots = &channels.units[unit as usize].slots;
    let other = |s: &Slot| {
        let (axis, index) = channels.axes.locate(*s);
        let AxisOwner::Value(v, a) = channels.axes.owner(axis) else { return None };
        let kept = channels.allowed.given_up.get(&(v, a)).is_some_and(|given| !given.contains(&index));
        kept.then_some(Tie::With { axis: (v, a), index })
    };
    let summed = || {
        let on = |(start, step): (Slot, i32), count: u32| {
            slots.iter().any(|s| {
                let (way, step) = (i64::from(*s) - i64::from(start), i64::from(step));
                if step == 0 { way == 0 } else { way % step == 0 && (0..i64::from(count)).contains(&(way / step)) }
            })
        };
        channels.contractions.iter().find(|l| on(l.a, l.count) || on(l.b, l.count)).map(|l| Tie::Summed(l.node))
    };
    slots.iter().find_map(other).or_else(summed)
}
