//! Making weights partly zero, in patterns that kernels can use, with the weights that are left standing in for them.

mod curves;
mod obs;
mod order;
mod places;
mod units;

pub use curves::{Probe, WeightCurve, curves};
pub(crate) use obs::{masked, solved_on, work_of};
pub use order::{Rows, arranged, rows};
pub use places::{MaskError, Places, holds, places, zeroed};
pub(crate) use units::Units;
pub use units::Unmaskable;
