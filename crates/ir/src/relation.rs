//! The vocabulary of the axis algebra: how the slots of an operator's operands and results hang together.
//!
//! An axis of static length is a row of slots. A few primitives carry every word of the vocabulary:
//!
//! - a [`Relation::Link`] says that pairs of slots leave together (same, permute, join, pick, repeat, contract);
//! - a [`Relation::Product`] says that a flat axis is the row-major product of other axes (merge, split, groups):
//!   a flat slot leaves when any of its factors' slots does;
//! - a [`Relation::Freeze`] says that slots never leave, and why;
//! - a [`Relation::Unless`] freezes axes that a user's policy may let go, inexactly.
//!
//! What a slot that leaves is worth to a contraction is zero, unless the node says that a value stands for zero by
//! another number ([`ZeroPoint`]).
//!
//! An axis of a node that no relation mentions is frozen by the solver ([`Reason::Unstated`]): silence is safe.

use crate::{Attrs, Policy, Reason, ValueId};

/// An axis that relations speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AxisRef {
    /// Axis of a value.
    Value(ValueId, u32),
    /// An axis that only the relations of one node know (a convolution's groups, a recurrence's gates).
    Virtual(u32),
}

/// An arithmetic progression of slots of one axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The axis.
    pub axis: AxisRef,
    /// First slot.
    pub start: u32,
    /// Distance between slots; may be negative.
    pub step: i32,
}

/// What a link means to whoever computes the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkKind {
    /// The slots hold the same channel.
    Same,
    /// The slots are multiplied and summed over: a removed one is worth zero.
    Contract,
}

/// One statement about slots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Slot `a.start + i·a.step` and slot `b.start + i·b.step` leave together, for i < `count`.
    Link {
        /// One side. For [`LinkKind::Contract`]: the activation.
        a: Row,
        /// Other side. For [`LinkKind::Contract`]: the weight, or the second activation.
        b: Row,
        /// Number of pairs.
        count: u32,
        /// Meaning.
        kind: LinkKind,
        /// Rule of the operator file, e.g. `R2`.
        rule: &'static str,
    },
    /// `flat` is the row-major product of `factors`.
    Product {
        /// Flat axis.
        flat: AxisRef,
        /// Its factors, outermost first; lengths multiply to the flat length.
        factors: Vec<AxisRef>,
        /// Rule of the operator file.
        rule: &'static str,
    },
    /// Slots `start..start + count` of `axis` never leave.
    Freeze {
        /// The axis.
        axis: AxisRef,
        /// First slot.
        start: u32,
        /// Number of slots; `u32::MAX` for the rest of the axis.
        count: u32,
        /// Why.
        reason: Reason,
    },
    /// Slots of `axes` never leave, unless `policy` is allowed: then `allowed` holds. Where some leave, the node computes
    /// what it would of an input without them; this is not what it computes of the whole.
    Unless {
        /// The policy.
        policy: Policy,
        /// The axes.
        axes: Vec<AxisRef>,
        /// Why they stay without it.
        reason: Reason,
        /// What holds instead.
        allowed: Vec<Relation>,
    },
    /// Nothing ties the slots of `axis` on this node's account.
    Free {
        /// The axis.
        axis: AxisRef,
    },
}

/// What an operand of a node is where it is worth nothing. In a node that contracts, its terms are zero there; in one
/// that works element by element, the result is the number 0 there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ZeroPoint {
    /// The operand.
    pub value: ValueId,
    /// What stands for zero: one number, or one for each slot of `axis`; `None` for the number 0.
    pub point: Option<ValueId>,
    /// Axis of `value` that `point` runs along.
    pub axis: Option<u32>,
}

/// The operands that a node adds up.
#[derive(Clone, Debug)]
pub enum Sum {
    /// Result 0 is the sum of the operands in these places: without one of them it is what it is with zeros in its place,
    /// and of one alone it is that one.
    Plain(Vec<usize>),
    /// The node works on the sum of the operands in these places; without one of them it is another node.
    Inside(Vec<(usize, Replacement)>),
    /// The node works on the sum of the operands in these places, but is nothing else without one of them.
    Fixed(Vec<usize>, &'static str),
}

/// A node in place of another one.
#[derive(Clone, Debug)]
pub struct Replacement {
    /// Domain of the operator.
    pub domain: &'static str,
    /// Operator.
    pub op: &'static str,
    /// Attributes.
    pub attrs: Attrs,
    /// Each operand as the sum of operands of the old node, by their places.
    pub operands: Vec<Vec<usize>>,
    /// Result of the old node, other than the first, that is an operand of the new one.
    pub passed: Option<(usize, usize)>,
}

/// What an operator's rule says about one node.
#[derive(Clone, Debug, Default)]
pub struct Relations {
    /// The statements.
    pub all: Vec<Relation>,
    /// Operands that stand for zero by another number.
    pub zero_points: Vec<ZeroPoint>,
    /// Operands that the node adds up, where it does.
    pub sum: Option<Sum>,
    /// Lengths of the virtual axes.
    pub virtual_len: Vec<u64>,
}

impl Relations {
    /// *same*: two axes of one length hold the same channels.
    pub fn tie(&mut self, a: AxisRef, b: AxisRef, len: u64, rule: &'static str) {
        self.link(row(a, 0), row(b, 0), len, LinkKind::Same, rule);
    }
    /// *contract*: `x` and `w` are multiplied and summed over.
    pub fn contract(&mut self, x: AxisRef, w: AxisRef, len: u64, rule: &'static str) {
        self.link(row(x, 0), row(w, 0), len, LinkKind::Contract, rule);
    }
    /// *absorb*: a slot of `x` that is zero everywhere changes nothing in the rest of the result, and one that leaves is
    /// worth zero (a range that always holds zero, a sum).
    pub fn absorb(&mut self, x: AxisRef, len: u64, rule: &'static str) {
        self.contract(x, x, len, rule);
    }
    /// *join* / *segment*: `part` is `whole[start..start + len]`.
    pub fn segment(&mut self, whole: AxisRef, start: u64, part: AxisRef, len: u64, rule: &'static str) {
        self.link(row(whole, start), row(part, 0), len, LinkKind::Same, rule);
    }
    /// *pick*: slot i of `to` is slot `from[i]` of `from_axis`.
    pub fn pick(&mut self, from_axis: AxisRef, from: &[u64], to: AxisRef, rule: &'static str) {
        for (i, &f) in from.iter().enumerate() {
            self.link(row(from_axis, f), row(to, i as u64), 1, LinkKind::Same, rule);
        }
    }
    /// Any progression of slots with any other.
    pub fn link(&mut self, a: Row, b: Row, count: u64, kind: LinkKind, rule: &'static str) {
        self.all.push(Relation::Link { a, b, count: clamp(count), kind, rule });
    }
    /// *merge* / *split*: `flat` is the row-major product of `factors`.
    pub fn product(&mut self, flat: AxisRef, factors: &[AxisRef], rule: &'static str) {
        self.all.push(Relation::Product { flat, factors: factors.to_vec(), rule });
    }
    /// A new axis that only this node knows.
    pub fn virtual_axis(&mut self, len: u64) -> AxisRef {
        self.virtual_len.push(len);
        AxisRef::Virtual(self.virtual_len.len() as u32 - 1)
    }
    /// *freeze*: the whole axis.
    pub fn freeze(&mut self, axis: AxisRef, reason: Reason) {
        self.freeze_slots(axis, 0, u64::from(u32::MAX), reason);
    }
    /// *freeze*: some slots.
    pub fn freeze_slots(&mut self, axis: AxisRef, start: u64, count: u64, reason: Reason) {
        self.all.push(Relation::Freeze { axis, start: clamp(start), count: clamp(count), reason });
    }
    /// *freeze*, unless a policy is allowed: then what `allowed` states.
    pub fn unless(&mut self, policy: Policy, axes: Vec<AxisRef>, reason: &Reason, allowed: impl FnOnce(&mut Self)) {
        let from = self.all.len();
        allowed(self);
        let allowed = self.all.split_off(from);
        self.all.push(Relation::Unless { policy, axes, reason: reason.clone(), allowed });
    }
    /// The axis is this node's own: nothing ties its slots.
    pub fn free(&mut self, axis: AxisRef) {
        self.all.push(Relation::Free { axis });
    }
}

fn row(axis: AxisRef, start: u64) -> Row {
    Row { axis, start: clamp(start), step: 1 }
}

/// Slots are numbered in 32 bits; the solver refuses longer axes before it looks at any of these.
fn clamp(n: u64) -> u32 {
    u32::try_from(n).unwrap_or(u32::MAX)
}
