//! Executing a plan: taking slots out, and the masked model that proves it exact.

mod contents;
mod cut;
mod depth;
mod mask;
mod numbers;

pub use cut::{RemoveError, remove};
pub use depth::drop_branches;
pub use mask::{mask, restore};
