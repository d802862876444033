//! Sample data and what is computed from it: Gram matrices, the order in which units of a group may leave, curves of
//! the output's error, closed-form solves. Changes no model by itself.

mod bias;
mod consumers;
pub mod data;
mod error;
mod gram;
pub mod metric;
mod rank;
mod sensitivity;
mod weight;

pub use bias::{Bias, bias_of, read_bias, set_own_constant, write_bias};
pub use consumers::{Consumer, Other, consumers};
pub use error::CalibError;
pub use gram::{Gram, grams, rows};
pub use rank::{Ranking, rank};
pub use sensitivity::{Probe, Sensitivity, divergence, sensitivity};
pub use weight::{Weight, compensate, unit_norms};
