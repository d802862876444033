//! Making the weights that are left stand in for those that are gone, in closed form.

mod equations;
mod least_squares;
mod observations;
mod solve;
mod statistics;
mod steps;
mod stream;
mod walk;

pub(crate) use equations::{Layout, Map, Normal, Ridge};
pub(crate) use least_squares::held;
pub(crate) use observations::has_rows;
pub(crate) use solve::{Batches, observe, shared};
pub(crate) use stream::{Stream, Target};
pub(crate) use walk::Walk;

pub use least_squares::{RecoverError, RecoverOptions, Recovered, Recovery, Skipped, recover};
