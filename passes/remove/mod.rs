//! Executing a plan: taking slots out, and the masked model that proves it exact.

mod contents;
mod cut;
mod mask;
mod numbers;

pub use cut::{RemoveError, remove};
pub use mask::{mask, restore};
