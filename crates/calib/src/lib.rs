//! Sample data and what is computed from it: Gram matrices, the order in which units of a group may leave, curves of
//! the output's error, closed-form solves. Changes no model by itself.

mod bias;
mod consumers;
pub mod data;
mod depth;
mod error;
mod gram;
mod linear;
pub mod metric;
mod normalised;
mod rank;
mod sensitivity;
mod suffix;
mod weight;

pub use bias::{Bias, bias_of, read_bias, set_own_constant, write_bias};
pub use consumers::{Consumer, Other, consumers};
pub use error::CalibError;
pub use gram::{Gram, Passes, grams, rows};
pub use linear::Linear;
pub use rank::{Ranking, rank};
pub use sensitivity::{Known, Probe, Reference, Sensitivity, Trial, sensitivity};
pub use suffix::Prefix;
pub use weight::{Weight, compensate, unit_norms};
