//! What can be said about an operator.

use crate::given::Word;
use crate::{Edit, Fact, Node, NodeRef, Relations, Resized};
use thiserror::Error;

/// The domain of ONNX's own operators.
pub const ONNX: &str = "";

/// Everything sparsec knows of one operator: plain functions that return data, with no defaults.
/// What is not known is spelled out with its reason.
#[derive(Clone, Copy)]
pub struct OpDef {
    /// Operator type.
    pub name: &'static str,
    /// Domain; [`ONNX`] for ONNX's own.
    pub domain: &'static str,
    /// Versions of the operator set in which its meaning changed, ascending.
    pub since: &'static [i64],
    /// Types, shapes and small contents of the results.
    pub shape: ShapeRule,
    /// How slots of operands and results hang together.
    pub relate: Relate,
    /// Arithmetic and the kernel that does it.
    pub work: WorkRule,
    /// Attributes and shape operands that must follow a cut.
    pub resize: Resize,
    /// The node as a linear map with a weight, for recovery.
    pub linear: LinearRule,
    /// The node as a scale and shift of each channel, for folding.
    pub affine: Affine,
}

/// Shape rule: one fact for each result of the node, in order.
#[derive(Clone, Copy)]
pub enum ShapeRule {
    /// Computed.
    By(fn(&NodeRef) -> Result<Vec<Fact>, OpError>),
    /// Every result has the type and shape of this operand.
    Like(usize),
    /// Not known.
    Unknown(&'static str),
}

/// Relation rule.
#[derive(Clone, Copy)]
pub enum Relate {
    /// Computed.
    By(fn(&NodeRef, &mut Relations) -> Result<(), OpError>),
    /// In words, those of a user; see [`given::relate`](crate::given::relate).
    Given(&'static [Word]),
    /// Every axis is frozen, for this reason.
    Opaque(&'static str),
    /// Every axis is frozen because the node draws random numbers, which makes its results differ from run to run.
    Drawn(&'static str),
}

/// Work rule. Facts are bound to sizes before it is asked; they may be those of a plan, so it must read sizes from
/// shapes, not from attributes that follow them (a convolution's `group` is `x channels / w channels`).
#[derive(Clone, Copy)]
pub enum WorkRule {
    /// Computed.
    By(fn(&NodeRef) -> Result<Work, OpError>),
    /// Not known: the node is priced by the bytes it touches, and the estimate says so.
    Unknown(&'static str),
}

/// Resize rule.
#[derive(Clone, Copy)]
pub enum Resize {
    /// Computed.
    By(fn(&Resized) -> Result<Vec<Edit>, OpError>),
    /// No attribute or operand speaks of sizes that can change.
    Nothing,
}

/// Linear rule.
#[derive(Clone, Copy)]
pub enum LinearRule {
    /// Computed; `None` where this node is not linear in one operand with another as the weight.
    By(fn(&NodeRef) -> Result<Option<Contraction>, OpError>),
    /// Computed: the node maps an operand linearly before it does anything else to it. `None` where it does not.
    Inner(fn(&NodeRef) -> Result<Option<InnerMap>, OpError>),
    /// Never linear.
    Never,
}

/// Affine rule.
#[derive(Clone, Copy)]
pub enum Affine {
    /// Computed; `None` where this node is no such map (training mode, operands that are not constant).
    By(fn(&NodeRef) -> Result<Option<ChannelAffine>, OpError>),
    /// As [`Affine::By`], of an operator that is the plain sum of two operands, constant or not.
    Sum(fn(&NodeRef) -> Result<Option<ChannelAffine>, OpError>),
    /// Not affine, but affine by channel behind a normalisation; `None` where the parameters are no vectors.
    Normalised(fn(&NodeRef) -> Result<Option<Normalised>, OpError>),
    /// Never affine by channel.
    Never,
}

/// `y[c] = scale[c] · u[c] + shift[c]` along one axis of operand 0 and result 0, u having a mean square of 1 along it:
/// `u = x / √(mean x² + ε)`, with x less its mean first where that is `centred`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Normalised {
    /// The axis.
    pub axis: usize,
    /// Operand that is the scale: one number a channel.
    pub scale: usize,
    /// Operand that is the shift, where there is one.
    pub shift: Option<usize>,
    /// Whether the mean is taken away.
    pub centred: bool,
}

type AffineFn = fn(&NodeRef) -> Result<Option<ChannelAffine>, OpError>;

impl Affine {
    /// The rule, where there is one.
    pub fn rule(self) -> Option<AffineFn> {
        match self {
            Self::By(rule) | Self::Sum(rule) => Some(rule),
            Self::Normalised(_) | Self::Never => None,
        }
    }
}

/// `y[c] = scale[c] · x[c] + shift[c]` along one axis of operand 0 and result 0.
#[derive(Clone, Debug, PartialEq)]
pub struct ChannelAffine {
    /// Channel axis.
    pub axis: usize,
    /// Scale of each channel.
    pub scale: Vec<f64>,
    /// Shift of each channel.
    pub shift: Vec<f64>,
    /// Operands that hold the mean and the variance, where the node keeps them, and its ε.
    pub statistics: Option<(usize, usize, f64)>,
}

/// Sliding window over the spatial axes (all after the channel axis).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Window {
    /// Kernel sizes.
    pub kernel: Vec<u64>,
    /// Strides.
    pub strides: Vec<u64>,
    /// Dilations.
    pub dilations: Vec<u64>,
    /// Padding before each axis.
    pub pads_begin: Vec<u64>,
    /// Padding after each axis.
    pub pads_end: Vec<u64>,
}

/// A node as a linear map: `y = w_scale · Σ_taps w[tap] · x[tap] + bias_scale · bias`.
///
/// Without a window: the channel axes of x and y hold inputs and outputs, and their other axes are the same, in the same
/// order. With one: a convolution of NC… tensors.
#[derive(Clone, Debug, PartialEq)]
pub struct Contraction {
    /// Operand that is the activation.
    pub x: usize,
    /// Operand that is the weight.
    pub w: usize,
    /// Operand that is, or could be, the bias over output channels; `None` where the operator has none.
    pub bias: Option<usize>,
    /// Factor on the weight; not 0.
    pub w_scale: f64,
    /// Factor on the bias; not 0.
    pub bias_scale: f64,
    /// Channel axis of x that is contracted.
    pub x_axis: usize,
    /// Channel axis of y.
    pub y_axis: usize,
    /// Axis of w that holds input channels (of one group).
    pub w_in: usize,
    /// Axis of w that holds output channels.
    pub w_out: usize,
    /// Number of groups (1 unless grouped).
    pub groups: u64,
    /// Window of a convolution; `None` for a matrix product.
    pub window: Option<Window>,
    /// Whether the window scatters instead of gathering (a transposed convolution).
    pub transposed: bool,
}

/// A linear map inside a node: `z[…, o] = Σ_i x[…, i] · w[o, i] + bias[places[o]]`, where o counts the rows of w in
/// row-major order. z is no result of the node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerMap {
    /// Operand that is the activation; its last axis is contracted.
    pub x: usize,
    /// Operand that is the weight; its last axis is contracted, its others are rows.
    pub w: usize,
    /// Operand that is, or could be, the bias.
    pub bias: usize,
    /// Sizes of the bias.
    pub bias_dims: Vec<u64>,
    /// For each row of w, where its number is in the bias, in row-major order.
    pub places: Vec<usize>,
}

/// Kernel class of a node, with the sizes that its cost depends on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Convolution, grouped and depthwise ones included.
    Conv {
        /// Input channels.
        cin: u64,
        /// Output channels.
        cout: u64,
        /// Groups.
        groups: u64,
        /// Taps of the kernel (product of its sizes).
        taps: u64,
        /// Output positions, batch included.
        positions: u64,
        /// Whether it is a transposed convolution.
        transposed: bool,
    },
    /// Matrix product with a constant right side.
    Gemm {
        /// Rows of the left side, batch included.
        m: u64,
        /// Columns of the right side.
        n: u64,
        /// Contracted length.
        k: u64,
    },
    /// Product of two activations.
    BatchedMatMul {
        /// Number of products.
        batch: u64,
        /// Rows.
        m: u64,
        /// Columns.
        n: u64,
        /// Contracted length.
        k: u64,
    },
    /// Recurrence over time.
    Recurrent {
        /// Steps in all, batch and directions included.
        steps: u64,
        /// Input size.
        input: u64,
        /// Hidden size.
        hidden: u64,
        /// Gates.
        gates: u64,
    },
    /// One result for each element.
    Elementwise {
        /// Whether it computes a transcendental function.
        heavy: bool,
    },
    /// Reduction, normalisation, softmax, pooling: several reads for each result.
    Reduce,
    /// Concatenation of channels.
    Join {
        /// Channels of each part.
        parts: Vec<u64>,
    },
    /// Movement of data.
    Move,
    /// Nothing at run time (a reshape, a shape).
    Free,
}

/// Arithmetic of one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Work {
    /// Kernel class.
    pub kernel: Kernel,
    /// Multiply-accumulates of contractions. Elementwise arithmetic counts as zero, as in the field's MAC counts.
    pub macs: u64,
}

/// Why a facet cannot answer for a node.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OpError {
    /// A required operand is left out.
    #[error("operand {index} is missing")]
    MissingOperand {
        /// Operand.
        index: usize,
    },
    /// A required result is left out.
    #[error("result {index} is missing")]
    MissingResult {
        /// Result.
        index: usize,
    },
    /// The rank of an operand is not known.
    #[error("the rank of operand {index} is not known")]
    UnknownRank {
        /// Operand.
        index: usize,
    },
    /// A size is not a number yet: a symbol was left unbound.
    #[error("a size of operand {index} is not bound")]
    UnboundSize {
        /// Operand.
        index: usize,
    },
    /// An operand would have to be constant.
    #[error("operand {index} is computed at run time")]
    NotConstant {
        /// Operand.
        index: usize,
    },
    /// An attribute is of another type than the standard gives it.
    #[error("attribute `{name}` is {found}, not {expected}")]
    AttributeType {
        /// Attribute.
        name: String,
        /// What it should be.
        expected: &'static str,
        /// What it is.
        found: &'static str,
    },
    /// An attribute has a value that the operator does not take.
    #[error("attribute `{name}` is not {expected}")]
    BadAttribute {
        /// Attribute.
        name: String,
        /// What it should be.
        expected: &'static str,
    },
    /// An axis lies outside the rank.
    #[error("axis {axis} is out of range for rank {rank}")]
    AxisOutOfRange {
        /// Axis.
        axis: i64,
        /// Rank.
        rank: usize,
    },
    /// Shapes do not fit each other.
    #[error("{what}: {left} against {right}")]
    Mismatch {
        /// What does not fit.
        what: &'static str,
        /// One side.
        left: String,
        /// Other side.
        right: String,
    },
    /// The node uses a form of the operator that the rule does not cover.
    #[error("{0}")]
    Unsupported(&'static str),
    /// Sizes overflow 64 bits, or have more terms than are followed.
    #[error("sizes overflow")]
    Overflow,
}

/// Operands that the standard gives one element type, for operators of ONNX's own domain.
#[derive(Clone, Copy, Debug)]
pub struct Alike {
    /// Operators.
    pub names: &'static [&'static str],
    /// Sets of operands; empty where all operands are alike.
    pub sets: &'static [&'static [usize]],
}

/// Operator definitions by (domain, type).
#[derive(Clone, Default)]
pub struct OpTable {
    /// Sorted by domain and type.
    defs: Vec<OpDef>,
    alike: &'static [Alike],
}

impl OpTable {
    /// A table of `defs`; panics if two share a key, which a test of the table rules out.
    pub fn new(defs: impl IntoIterator<Item = OpDef>) -> Self {
        let mut defs: Vec<OpDef> = defs.into_iter().collect();
        defs.sort_by_key(|d| (d.domain, d.name));
        for pair in defs.windows(2) {
            assert!(
                (pair[0].domain, pair[0].name) != (pair[1].domain, pair[1].name),
                "`{}` is defined twice",
                pair[0].name
            );
        }
        Self { defs, alike: &[] }
    }
    /// The table with what is known of operands of one element type.
    pub fn with_alike(self, alike: &'static [Alike]) -> Self {
        Self { alike, ..self }
    }
    /// Operands of an operator that must be of one element type, if there are any.
    pub fn alike(&self, domain: &str, name: &str) -> Option<&'static Alike> {
        let own = domain == ONNX || domain == "ai.onnx";
        self.alike.iter().find(|a| own && a.names.contains(&name))
    }
    /// The definition of an operator; `ai.onnx` is ONNX's own domain.
    pub fn get(&self, domain: &str, name: &str) -> Option<&OpDef> {
        let domain = if domain == "ai.onnx" { ONNX } else { domain };
        let at = self.defs.binary_search_by(|d| (d.domain, d.name).cmp(&(domain, name))).ok()?;
        Some(&self.defs[at])
    }
    /// Whether a node is the plain sum of two operands.
    pub fn is_sum(&self, node: &Node) -> bool {
        let sum = self.get(&node.domain, &node.op).is_some_and(|d| matches!(d.affine, Affine::Sum(_)));
        sum && node.inputs.len() == 2 && node.inputs.iter().all(Option::is_some)
    }
    /// Every definition, sorted by domain and type.
    pub fn iter(&self) -> impl Iterator<Item = &OpDef> {
        self.defs.iter()
    }
}
