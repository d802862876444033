//! Re-solves the weights of every linear map whose input a cut has changed.
//!
//! ```text
//! y = W x + b     W, b ← argmin Σ ‖W x_p + b − y_d‖² + λ‖W − W₀‖²
//! ```
//!
//! ```onnx before
//! g (float[n,2] x) => (float[n,1] y)
//! <float[2,2] w = {1.0, 0.0, 0.0, 1.0}, float[2,1] v = {1.0, 1.0}>
//! { h = MatMul (x, w)  y = MatMul (h, v) }
//! ```
//! ```onnx after
//! g (float[n,2] x) => (float[n,1] y)
//! <float[2,2] w = {1.0, 0.0, 0.0, 1.0}, float[2,1] v = {2.0, 2.0}>
//! { h = MatMul (x, w)  y = MatMul (h, v) }
//! ```
//! (the dense model had `w = {1, 0, 1, 0, 1, 1}` and `v = {1, 1, 1}`: the unit that left was the sum of the two that
//! stay, which now do its work; with λ = 0)
//!
//! Node after node in topological order: x_p is what the *pruned* model, solved up to here, feeds the node; y_d is what
//! the *dense* model's node gave; every tap of a convolution is an unknown of its own; W₀ are the weights that the cut
//! left. Errors of earlier nodes are thus corrected by later ones instead of piling up. Where the result is only added,
//! behind its bias, to an activation that is already solved, the target is the dense *sum* less the pruned other side, so
//! that a block also corrects the stream it adds to. Where result or sum is only read through an activation, what that
//! hides is no error, and the target follows (`bend.rs`). λ = `ridge` · mean diag of the covariance of x_p.
//!
//! A map inside a node (the input weights of a recurrence) has no result to look at: its target is computed from the
//! dense model's input and weights. Weights on a recurrence's own state stay as the cut left them.
//!
//! A node that keeps running statistics (a normalisation) gets those under which its result has the dense mean and
//! variance of each channel. So does one over channels of which some left, by its scale and shift.
//!
//! Samples are streamed: a batch is computed, summed up and dropped; `walk.rs` says what is held.
//!
//! Needs: shapes. Keeps: everything but the values of constants; a missing bias is added.
//! Leaves alone, with the reason: weights that other nodes read too, forms that are not solved, too few observations, equations too large for the memory, a solve that fails, a held-out error that does not fall.
//! Source: layer-wise least squares with inputs of the pruned and targets of the original network as in He et al. 2017
//! (Channel Pruning for Accelerating Very Deep Neural Networks, §3.1), here also for depthwise, grouped and scattering
//! windows.

use super::solve::{Batches, solve};
use super::statistics::{Moments, rescale, restate};
use super::steps::{Step, Steps, input, reads, result, steps};
use super::stream::{Stream, Target, activation, kept_part};
use super::walk::Walk;
use crate::mask::Places;
use sparsec_analysis::infer;
use sparsec_calib::CalibError;
use sparsec_ir::{Id, Model, NodeId, OpTable, Tensor, TensorError, ValueId};
use sparsec_plan::{Bits, MaskPlan};
use sparsec_runtime::{Runtime, RuntimeError};
use std::collections::BTreeSet;
use std::ops::Range;
use thiserror::Error;

/// Why recovery stopped.
#[derive(Debug, Error)]
pub enum RecoverError {
    /// The runtime failed.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// A weight could not be read or written.
    #[error(transparent)]
    Calib(#[from] CalibError),
    /// An activation is not floating point.
    #[error("activation `{value}`: {source}")]
    Activation {
        /// Value.
        value: String,
        /// Why.
        source: TensorError,
    },
    /// The caller asked to stop.
    #[error("interrupted")]
    Interrupted,
}

/// How to recover.
#[derive(Clone, Copy, Debug)]
pub struct RecoverOptions {
    /// λ relative to the mean variance of the inputs.
    pub ridge: f64,
    /// Multiply-accumulates that the covariance of one node may cost; with more observations than that, some are drawn.
    pub work: f64,
    /// Samples in one run. Sums are taken run by run, so results depend on it.
    pub batch: usize,
    /// Bytes that activations, sums and equations may take. Equations too large for it are not solved, and fewer
    /// observations are held out, or looked at behind an activation, where they are many; results depend on it in no other
    /// way.
    pub memory: u64,
}

impl Default for RecoverOptions {
    fn default() -> Self {
        Self { ridge: 1e-3, work: 6e9, batch: 32, memory: 1 << 30 }
    }
}

/// Why a node kept the weights that the cut left.
#[derive(Clone, Debug, PartialEq)]
pub enum Skipped {
    /// Fewer observations than unknowns.
    TooFew {
        /// Observations.
        observations: usize,
        /// Unknowns of one output.
        unknowns: usize,
    },
    /// The equations could not be solved in finite numbers.
    Singular,
    /// The error on held-out observations did not fall.
    NoGain {
        /// Relative error before.
        before: f64,
        /// Relative error with the solution.
        after: f64,
    },
    /// The form of the node is not one that rows can be made for.
    Form,
    /// The node sums over channels that were cut, but is not a linear map in a form that is solved.
    NotLinear,
    /// The equations would take too much memory.
    TooLarge {
        /// Unknowns of one output.
        unknowns: usize,
        /// Bytes.
        bytes: u64,
    },
    /// Other nodes read the weight or the bias too: what is best for one is not for the others.
    Shared,
    /// A new weight is beyond what the type of the old ones holds.
    Range,
}

impl Skipped {
    /// The reason without figures of the node, of which several share one.
    pub fn about(&self) -> &'static str {
        match self {
            Self::TooFew { .. } => "fewer observations than unknowns: give more samples",
            Self::Singular => "the equations have no finite solution",
            Self::NoGain { .. } => "the error on held-out samples would not fall",
            Self::Form => "a scattering window that overlaps itself",
            Self::NotLinear => "they sum over channels that were cut, in a form that is not solved",
            Self::TooLarge { .. } => "the equations would take too much memory",
            Self::Shared => "other nodes read the weights too",
            Self::Range => "new weights are beyond what their type holds",
        }
    }
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooFew { observations, unknowns } => {
                write!(f, "{observations} observations for {unknowns} unknowns: give more samples")
            }
            Self::Singular => f.write_str("the equations have no finite solution"),
            Self::NoGain { before, after } => write!(f, "held-out error would go from {before:.3} to {after:.3}"),
            Self::Form => f.write_str("a scattering window that overlaps itself"),
            Self::NotLinear => f.write_str("it sums over channels that were cut, in a form that is not solved"),
            Self::TooLarge { unknowns, bytes } => {
                write!(f, "equations of {unknowns} unknowns would take {} MiB", bytes >> 20)
            }
            Self::Shared => f.write_str("other nodes read its weights too"),
            Self::Range => f.write_str("new weights are beyond what their type holds"),
        }
    }
}

/// What became of one node.
#[derive(Clone, Debug, PartialEq)]
pub struct Recovered {
    /// Label of the node.
    pub node: String,
    /// Held-out error relative to the target's variance, before and after; or why the node was left alone.
    pub outcome: Result<(f64, f64), Skipped>,
    /// The mask of its weight, with what stays of it.
    pub mask: Option<MaskPlan>,
}

/// What recovery works from.
pub struct Recovery<'a> {
    /// The dense model.
    pub dense: &'a Model,
    /// Indices that the pruned model has of an axis of a value of the dense one; `None` where it has all.
    pub kept: &'a dyn Fn(ValueId, usize) -> Option<Vec<u32>>,
    /// Masks by the weight of the pruned model that each is of.
    pub masks: &'a Places,
    /// The operators.
    pub table: &'a OpTable,
    /// Runs both models.
    pub runtime: &'a dyn Runtime,
    /// Samples, of one shape a part: inputs in the order of the graph's (first axis: samples). Largest ones first: by these
    /// it is judged what fits into memory.
    pub samples: &'a [Vec<Tensor>],
    /// Threads to work with; the result does not depend on them.
    pub threads: usize,
    /// How to recover.
    pub options: RecoverOptions,
    /// Told of each node done, and of how many; says whether to stop.
    pub progress: &'a dyn Fn(usize, usize) -> bool,
}

/// Re-solves the weights of `pruned`, which was cut from the dense model and shares its value ids.
pub fn recover(cx: &Recovery, pruned: &mut Model) -> Result<Vec<Recovered>, RecoverError> {
    let facts = infer(pruned, cx.table).facts;
    let dense_facts = infer(cx.dense, cx.table).facts;
    let Steps { all: steps, none } = steps((cx.dense, &dense_facts), (pruned, &facts), cx);
    let unsolvable =
        |n: &NodeId| Recovered { node: pruned.graph.label(*n), outcome: Err(Skipped::NotLinear), mask: None };
    let mut out: Vec<Recovered> = none.iter().map(unsolvable).collect();
    // A sixth of the memory for what each model has at hand; the rest is for batches, sums and equations.
    let (memory, batch) = (cx.options.memory, cx.options.batch);
    let (runtime, inputs) = ((cx.runtime, cx.threads), (cx.samples, batch));
    let mut walk_dense = Walk::new(runtime, (cx.dense, dense_facts), inputs, memory / 6)?;
    let mut walk_pruned = Walk::new(runtime, (pruned, facts.clone()), inputs, memory / 6)?;
    let samples = walk_dense.samples().to_vec();
    let held = |bytes: u64| held(cx, bytes);
    let mut unsolved: BTreeSet<NodeId> = steps.iter().map(|s| s.0).collect();
    for (i, (node, step)) in steps.iter().enumerate() {
        if (cx.progress)(i, steps.len()) {
            return Err(RecoverError::Interrupted);
        }
        let ahead: Vec<ValueId> = steps[i + 1..].iter().flat_map(|(n, s)| reads(pruned, cx.table, (*n, s))).collect();
        let x = input(pruned, *node, step);
        let found = match step {
            Step::Linear(linear) => {
                let target = Target::of(cx, (pruned, &facts), (*node, linear), &unsolved)?;
                let mut stream = Stream::of_map(cx, (&walk_pruned, pruned), &walk_dense, (x, &target), &ahead)?;
                let mut parts = |range| stream.parts(range, &target, &linear.form);
                let batches = Batches { samples: &samples, held: &held, parts: &mut parts };
                let mask = linear.weight_of(pruned, *node).and_then(|w| cx.masks.get(&w));
                let found = solve(cx, (pruned, &facts), (*node, linear, target.read()), batches)?;
                let with = |kept: &Option<Bits>| mask.map(|m| MaskPlan { kept: kept.clone(), ..m.clone() });
                let mask = found.as_ref().ok().and_then(|s| with(&s.kept));
                out.push(Recovered { node: pruned.graph.label(*node), outcome: found.map(|s| s.error), mask });
                stream.close()
            }
            Step::Statistics { mean, variance, epsilon, axis } => {
                let whole = dense_operand(cx, pruned, *node, 0);
                let wanted = (vec![x], vec![whole]);
                let mut stream = Stream::open(cx, (&walk_pruned, pruned), &walk_dense, wanted, &ahead)?;
                let (of_pruned, of_dense) =
                    moments(cx, &mut stream, (whole, *axis), windows(samples.len(), cx.threads.max(1)))?;
                restate(pruned, *node, (*mean, *variance), *epsilon, (&of_pruned, &of_dense))?;
                stream.close()
            }
            Step::Scale(form) => {
                let y = result(pruned, *node).expect("steps are made for nodes with a result");
                let mut stream = Stream::open(cx, (&walk_pruned, pruned), &walk_dense, (vec![y], vec![y]), &ahead)?;
                let (of_pruned, of_dense) =
                    moments(cx, &mut stream, (y, form.axis), windows(samples.len(), cx.threads.max(1)))?;
                rescale(pruned, *node, form, (&of_pruned, &of_dense))?;
                let mut found = stream.close();
                // What was seen of the result is no longer so.
                found.0.remove(&y);
                found
            }
        };
        unsolved.remove(node);
        walk_pruned.keep(pruned, found.0, &ahead);
        walk_dense.keep(cx.dense, found.1, &ahead);
    }
    (cx.progress)(steps.len(), steps.len());
    Ok(out)
}

/// Batches of so many bytes that are held at a time: as many as keep the threads busy, where they fit.
pub(crate) fn held(cx: &Recovery, bytes: u64) -> usize {
    (cx.options.memory / 6 / bytes.max(1)).clamp(1, 2 * cx.threads.max(1) as u64) as usize
}

/// What the dense model's node reads: behind a dropped branch not what the pruned one's does.
pub(crate) fn dense_operand(cx: &Recovery, pruned: &Model, node: NodeId, operand: usize) -> ValueId {
    let read = |model: &Model| model.graph.node(node).inputs.get(operand).copied().flatten();
    let dense = (node.index() < cx.dense.graph.node_bound()).then(|| read(cx.dense)).flatten();
    dense.or_else(|| read(pruned)).expect("steps are made for nodes with an input")
}

/// Moments of a value along an axis, in the pruned and in the dense model: of the channels that the pruned one has.
fn moments(
    cx: &Recovery,
    stream: &mut Stream,
    (value, axis): (ValueId, usize),
    windows: impl Iterator<Item = Range<usize>>,
) -> Result<(Moments, Moments), RecoverError> {
    let (mut of_pruned, mut of_dense) = (Moments::default(), Moments::default());
    for range in windows {
        for batch in stream.next(range)? {
            let error = |source| activation(cx, value, source);
            of_pruned.add(&batch.pruned[0], axis).map_err(error)?;
            of_dense.add(&kept_part(cx, value, batch.dense[0].clone())?, axis).map_err(error)?;
        }
    }
    Ok((of_pruned, of_dense))
}

/// The first batch alone, whose sizes say how many fit, and the others `held` at a time.
pub(crate) fn windows(batches: usize, held: usize) -> impl Iterator<Item = Range<usize>> {
    let others = (1..batches).step_by(held).map(move |at| at..(at + held).min(batches));
    std::iter::once(0..batches.min(1)).chain(others)
}
