//! Making the weights that are left stand in for those that are gone, in closed form.

mod equations;
mod least_squares;
mod observations;
mod solve;
mod statistics;
mod steps;
mod stream;
mod walk;

pub use least_squares::{RecoverError, RecoverOptions, Recovered, Recovery, Skipped, recover};
