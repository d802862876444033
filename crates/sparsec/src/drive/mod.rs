//! The flow: prepare → measure → decide → cut → mask and recover. Each step is a function of what came before; the command line
//! prints what they return.

mod bounded;
mod check;
mod concede;
mod cut;
mod decide;
mod footing;
mod mask_curves;
mod masks;
mod measure;
mod memory;
mod metered;
mod near;
mod order;
mod prepare;
mod pricing;
mod sampling;
mod share;
mod verify;

pub use bounded::Bounded;
pub use check::{Oddity, check};
pub use concede::{NarrowError, Need, Original, compare_narrow, way_out};
pub use cut::{Cut, cut, cut_and_recover};
pub use decide::{Decision, decide, random_removal, removal_of};
pub use footing::Footing;
pub use mask_curves::{MaskCurves, MaskErrors, measure_masks};
pub use masks::{MaskDecision, Stays, WeightMask, decide_masks};
pub use measure::{BranchCurve, Curves, GroupCurve, Nothing, measure};
pub use memory::{MEMORY, Samples};
pub use metered::Metered;
pub use near::near;
pub use order::order_for_masks;
pub use prepare::{Prepared, bound_facts, prepare, prepare_with, says_of_listed};
pub use pricing::{Pricing, inside};
pub use sampling::{MOST_SAMPLES, Sampling};
pub use share::{Uncounted, macs, macs_by_node, macs_of_branch, macs_on, uncounted};
pub use sparsec_plan::{Concessions, GivenUp};
pub use verify::{
    COMPARED, Comparison, NOT_FINITE, RESOLVED, changed_weights, compare, compare_canonical, difference, random_inputs,
    run, verify, weight_bytes,
};

use sparsec_calib::CalibError;
pub use sparsec_calib::Known;
use sparsec_ir::{OpError, TensorError};
use sparsec_passes::PassError;
use sparsec_passes::mask::MaskError;
use sparsec_passes::recover::RecoverError;
use sparsec_passes::remove::RemoveError;
use sparsec_plan::{PlanError, SearchError};
use sparsec_runtime::RuntimeError;
use thiserror::Error;

/// Who is told how far the work is, and says when to stop.
pub trait Observer: Sync {
    /// A stage of `steps` steps begins.
    fn stage(&self, name: &'static str, steps: u64);
    /// So many steps of the stage are done.
    fn done(&self, steps: u64);
    /// Whether to stop at the next good place.
    fn interrupted(&self) -> bool;
    /// Something a user should know.
    fn note(&self, text: &str);
}

/// An observer that hears nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Observer for Quiet {
    fn stage(&self, _: &'static str, _: u64) {}
    fn done(&self, _: u64) {}
    fn interrupted(&self) -> bool {
        false
    }
    fn note(&self, _: &str) {}
}

/// Why the flow stopped.
#[derive(Debug, Error)]
pub enum DriveError {
    /// A node's attribute is of another type than its operator reads.
    #[error("node {node}: {source}")]
    Attribute {
        /// Node and operator.
        node: String,
        /// Attribute and types.
        source: OpError,
    },
    /// Operands that must be of one element type are not.
    #[error("node {node}: operands must be of one type, but {left} and {right}")]
    Types {
        /// Node and operator.
        node: String,
        /// One operand with its type.
        left: String,
        /// Another one.
        right: String,
    },
    /// An input for which no values can be made up.
    #[error("input `{input}` is {ty}, for which no values can be made up")]
    OpenInput {
        /// Input.
        input: String,
        /// Its type.
        ty: String,
    },
    /// A pass failed.
    #[error(transparent)]
    Pass(#[from] PassError),
    /// The plan does not fit the model.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// An order of channels that was chosen for masks is none.
    #[error("the units of group `{id}` cannot be put into the order that was chosen: {source}")]
    Order {
        /// Group.
        id: String,
        /// Why not.
        source: sparsec_analysis::OrderError,
    },
    /// What a user gives up cannot leave.
    #[error(transparent)]
    Narrow(Box<NarrowError>),
    /// A removal failed.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// A plan's masks do not fit.
    #[error(transparent)]
    Mask(Box<MaskError>),
    /// Statistics could not be computed.
    #[error(transparent)]
    Calib(#[from] CalibError),
    /// Weights could not be re-solved.
    #[error(transparent)]
    Recover(Box<RecoverError>),
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A result cannot be read.
    #[error("output `{value}`: {source}")]
    Output {
        /// Output.
        value: String,
        /// Why.
        source: TensorError,
    },
    /// An input has a size that nothing gives.
    #[error("axis {axis} of input `{input}` has no known size")]
    OpenSize {
        /// Input.
        input: String,
        /// Axis.
        axis: usize,
    },
    /// Samples for a model whose inputs do not start with the samples' axis.
    #[error("input `{input}` has no axis for samples: its first axis is fixed to {size}")]
    NoSampleAxis {
        /// Input.
        input: String,
        /// Size of its first axis.
        size: u64,
    },
    /// A removal whose result is not that of masking: a rule of an operator is wrong.
    #[error("the smaller model differs from the masked one: by {max_abs_error:.3e}, relative {max_rel_error:.3e}")]
    Unequal {
        /// Largest difference.
        max_abs_error: f64,
        /// Largest difference relative to the output.
        max_rel_error: f64,
    },
    /// A canonical model that does not compute what the file does: a pass is wrong.
    #[error("the canonical model differs from the file: by {max_abs_error:.3e}, relative {max_rel_error:.3e}")]
    Canonical {
        /// Largest difference.
        max_abs_error: f64,
        /// Largest difference relative to the output.
        max_rel_error: f64,
    },
    /// Samples that tell no unit from another.
    #[error(
        "the calibration samples ({samples}) tell no channel from another: {}",
        if *constant { "every element of every input is the same" } else { "no activation that is summed over varies" }
    )]
    NoInformation {
        /// How many there are.
        samples: u64,
        /// Whether the inputs are constant themselves.
        constant: bool,
    },
    /// A size for an axis that no input has.
    #[error("no input has an open axis `{name}`; {}", open_axes(known))]
    NoSuchSize {
        /// Name that was given.
        name: String,
        /// Names of open axes.
        known: Vec<String>,
    },
    /// Curves of another model.
    #[error("the curves are of another model: {what} `{id}` {why}")]
    Curves {
        /// A group or a branch.
        what: &'static str,
        /// Which.
        id: String,
        /// What differs.
        why: &'static str,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

fn open_axes(known: &[String]) -> String {
    match known {
        [] => "every size of the inputs is fixed".to_string(),
        [one] => format!("there is `{one}`"),
        more => format!("there are `{}`", more.join("`, `")),
    }
}

// Boxed, as the next one, since the error is by far the largest of all, and every result would have to make room for it.
impl From<RecoverError> for DriveError {
    fn from(e: RecoverError) -> Self {
        Self::Recover(Box::new(e))
    }
}

impl From<MaskError> for DriveError {
    fn from(e: MaskError) -> Self {
        Self::Mask(Box::new(e))
    }
}

impl From<NarrowError> for DriveError {
    fn from(e: NarrowError) -> Self {
        Self::Narrow(Box::new(e))
    }
}

impl From<SearchError> for DriveError {
    fn from(e: SearchError) -> Self {
        match e {
            SearchError::Interrupted => Self::Interrupted,
        }
    }
}

impl DriveError {
    /// Whether the user asked for it.
    pub fn is_interruption(&self) -> bool {
        match self {
            Self::Interrupted | Self::Calib(CalibError::Interrupted) => true,
            Self::Recover(e) => matches!(**e, RecoverError::Interrupted),
            _ => false,
        }
    }
}
