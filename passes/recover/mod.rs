//! Making the weights that are left stand in for those that are gone, in closed form.

mod bend;
mod equations;
mod least_squares;
mod observations;
mod refine;
mod solve;
mod statistics;
mod steps;
mod stream;
mod subject;
mod walk;

pub(crate) use equations::{Layout, Map, Normal};
pub(crate) use least_squares::held;
pub(crate) use solve::{Batches, Observed, observe};
pub(crate) use stream::{Stream, Target};
pub(crate) use subject::Subject;
pub(crate) use walk::Walk;

pub use least_squares::{RecoverError, RecoverOptions, Recovered, Recovery, Skipped, recover};
