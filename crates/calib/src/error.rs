//! Why statistics could not be computed.

use sparsec_ir::TensorError;
use sparsec_runtime::RuntimeError;
use thiserror::Error;

/// Why statistics could not be computed.
#[derive(Debug, Error)]
pub enum CalibError {
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A weight cannot be read or written.
    #[error("weight `{value}`: {source}")]
    Weight {
        /// Weight.
        value: String,
        /// Why.
        source: TensorError,
    },
    /// An activation is not of the size that the axes say.
    #[error("`{value}` has sizes {found:?}, but its axis {axis} should be {expected} long")]
    Sizes {
        /// Value.
        value: String,
        /// Sizes found.
        found: Vec<u64>,
        /// Axis.
        axis: usize,
        /// Length expected.
        expected: u64,
    },
    /// An activation is not finite on the samples.
    #[error("`{value}` is not finite on the calibration samples; check the data's scale and the model")]
    NotFinite {
        /// Value.
        value: String,
    },
    /// An activation has elements that statistics are not made for.
    #[error("activation `{value}`: {source}")]
    Activation {
        /// Value.
        value: String,
        /// Why.
        source: TensorError,
    },
    /// The masked model of a group or branch could not be made.
    #[error("`{what}` cannot be masked: {why}")]
    Mask {
        /// Group or branch.
        what: String,
        /// Why.
        why: String,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}
