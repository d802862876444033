//! What a user allows beyond exact cuts.

use crate::axes::AxisId;
use sparsec_ir::{NodeId, Policy, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Indices of axes, by value and axis.
pub type Slots = BTreeMap<(ValueId, u32), BTreeSet<u32>>;

/// What a user allows beyond exact cuts; nothing by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Allowed {
    /// Inexact cuts.
    pub policies: BTreeSet<Policy>,
    /// Slots that a user gives up: outputs that nobody reads, entries of tables that no data names.
    pub given_up: Slots,
}

/// A node that a policy lets compute something else where slots of its axes leave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inexact {
    /// The node.
    pub node: NodeId,
    /// The policy.
    pub policy: Policy,
    /// The axes.
    pub axes: Vec<AxisId>,
}
