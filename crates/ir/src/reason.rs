//! Every reason the tool can give for leaving an axis alone.

use crate::Policy;
use std::fmt;

/// Why slots of an axis can never leave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// The value is an input of the graph: its users decide its shape.
    GraphInput,
    /// The value is an output of the graph: its users rely on its shape.
    GraphOutput,
    /// The axis has one slot; an axis cannot be empty.
    SingleSlot,
    /// The axis has no static length.
    Dynamic,
    /// Nothing is known of the operator.
    Opaque {
        /// Operator, with its domain where it is not ONNX's own.
        op: String,
        /// What is missing.
        why: String,
    },
    /// The operator mixes neighbouring slots (a spatial window).
    Window,
    /// The operator reduces or normalises over the axis, so every slot counts in the result.
    Normalised {
        /// Operator.
        op: String,
    },
    /// The slots are addressed by data.
    Indexed,
    /// The slots are entries of a table that data looks up (an embedding's rows); the operator can follow when some
    /// leave that no data names.
    Lookup,
    /// Holds unless a policy allows otherwise.
    Unless {
        /// The policy.
        policy: Policy,
        /// Why the slots stay without it.
        because: Box<Reason>,
    },
    /// A rule of the operator, spelled out.
    Rule(&'static str),
    /// Two factorisations of one axis meet and have no common refinement.
    Factorisation,
    /// Every slot of an axis would leave with it.
    WholeAxis,
    /// The value is captured by a subgraph, which relies on its shape.
    Captured {
        /// Operator that the subgraph belongs to.
        op: String,
    },
    /// The operator's rule speaks of other axes and is silent on this one.
    Unstated {
        /// Operator.
        op: String,
    },
}

impl Reason {
    /// Whether a user can give up single slots that stay for this reason: outputs that nobody reads, and entries that
    /// nobody looks up.
    pub fn can_be_given_up(&self) -> bool {
        matches!(self, Self::GraphOutput | Self::Lookup)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GraphInput => f.write_str("graph input"),
            Self::GraphOutput => f.write_str("graph output"),
            Self::SingleSlot => f.write_str("length 1"),
            Self::Dynamic => f.write_str("dynamic length"),
            Self::Opaque { op, why } => write!(f, "opaque operator {op}: {why}"),
            Self::Window => f.write_str("a window mixes neighbouring slots"),
            Self::Normalised { op } => write!(f, "{op} works over the whole axis"),
            Self::Unless { because, .. } => because.fmt(f),
            Self::Indexed | Self::Lookup => f.write_str("indexed by data"),
            Self::Rule(r) => f.write_str(r),
            Self::Factorisation => f.write_str("two factorisations of the axis meet"),
            Self::WholeAxis => f.write_str("its channels could only leave all together"),
            Self::Captured { op } => write!(f, "captured by a subgraph of {op}"),
            Self::Unstated { op } => write!(f, "the rule of {op} does not speak of this axis"),
        }
    }
}
