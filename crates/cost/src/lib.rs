//! What a model costs on a device: latency with an error bar, memory, energy, size.
//!
//! A [`Target`] is a file of figures about a device and its runtime, each with its source. [`estimate`] prices a model
//! kernel by kernel as that runtime would merge them; a [`Pricer`] prices thousands of plans of one model, in microseconds
//! each, by the kernels that changed. Neither runs anything, and neither knows an operator by name: arithmetic comes from the work rules of an
//! [`OpTable`](sparsec_ir::OpTable).
//!
//! ```
//! use sparsec_cost::Target;
//! let target = Target::named_or_file("generic-x86")?;
//! assert!(!target.calibrated);
//! assert_eq!(Target::from_yaml(&target.to_yaml()?, "copy")?, target);
//! # Ok::<(), sparsec_cost::TargetError>(())
//! ```

mod error;
mod estimate;
mod latency;
mod memory;
mod pricer;
mod schedule;
mod size;
mod target;

pub use error::TargetError;
pub use estimate::{Estimate, Interval, Memory, NodeCost, estimate};
pub use memory::LiveRange;
pub use pricer::{Price, Pricer, Tally};
pub use schedule::params;
pub use target::{
    ByteClass, Channels, ComputeClass, Energy, Fusion, Kernels, Level, Levels, MemoryModel, OffPath, Overhead, Target,
    Weights, builtin,
};
