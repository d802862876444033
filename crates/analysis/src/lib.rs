//! Analyses: pure functions of a model and the operator table. Opens no file, runs no model.
//!
//! [`infer`] finds shapes, [`channels`] finds what can be cut and what must leave together, [`path`] explains it.

mod allowed;
mod audit;
mod axes;
mod channels;
mod collect;
mod depth;
mod explain;
mod faults;
mod give_up;
mod order;
mod shapes;
mod solve;
mod table;
mod whole;

pub use allowed::{Allowed, Inexact, Slots};
pub use audit::{Breach, audit};
pub use axes::{Axes, AxisId, AxisOwner, Slot};
pub use channels::{
    Channels, FrozenAxis, Group, GroupId, Removal, Unit, UnitId, channels, channels_allowing, elements_on,
};
pub use collect::Link;
pub use depth::{Branch, BranchId, StayingTerm, WhyTermStays};
pub use explain::{Step, path};
pub use faults::{Fault, faults};
pub use give_up::{Stays, Tie, give_up};
pub use order::OrderError;
pub use shapes::{Inferred, ShapeProblem, infer, infer_node, node_ref, start};
pub use solve::Freeze;
