//! Re-solves the weights of every linear node whose input a cut has changed.
//!
//! ```text
//! y = W x + b     W, b ← argmin Σ ‖W x_p + b − y_d‖² + λ‖W − W₀‖²
//! ```
//!
//! Node after node in topological order: x_p is what the *pruned* model, solved up to here, feeds the node; y_d is what
//! the *dense* model's node gave; every tap of a convolution is an unknown of its own; W₀ are the weights that the cut
//! left. Errors of earlier nodes are thus corrected by later ones instead of piling up. Where the result is only added
//! to an activation that is already solved, the target is the dense *sum* less the pruned other side, so that a block
//! also corrects the stream it adds to. λ = `ridge` · mean diag of the covariance of x_p.
//!
//! A node that keeps running statistics (a normalisation) gets those under which its result has the dense mean and
//! variance of each channel.
//!
//! Needs: shapes. Keeps: everything but the values of constants; a missing bias is added.
//! Leaves alone, with the reason: weights that other nodes read too, too few observations, a solve that fails, a held-out error that does not fall.
//! Source: layer-wise least squares with inputs of the pruned and targets of the original network as in He et al. 2017
//! (Channel Pruning for Accelerating Very Deep Neural Networks, §3.1), here also for depthwise, grouped and scattering
//! windows.

use super::equations::{Layout, Ridge, Solution, solve_group};
use super::observations::{Activations, pick};
use super::walk::Walk;
use rayon::prelude::*;
use sparsec_analysis::{infer, node_ref};
use sparsec_calib::{Bias, CalibError, Weight, bias_of, read_bias, write_bias};
use sparsec_ir::{
    Affine, Contraction, Facts, Id, LinearRule, Model, NodeId, OpTable, Tensor, TensorError, Use, ValueId, topological,
};
use sparsec_runtime::{Runtime, RuntimeError};
use std::collections::BTreeSet;
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
    /// A runtime gave no result for a value.
    #[error("the runtime gave no result for `{value}`")]
    NoValue {
        /// Value.
        value: String,
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
}

impl Default for RecoverOptions {
    fn default() -> Self {
        Self { ridge: 1e-3, work: 6e9 }
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
    /// Other nodes read the weight or the bias too: what is best for one is not for the others.
    Shared,
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
            Self::Shared => f.write_str("other nodes read its weights too"),
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
}

/// Every eighth observation tells whether a solution holds beyond those that it was made from.
const HELD_OUT: usize = 8;

/// What is solved at a node.
enum Step {
    Linear(Contraction),
    Statistics { mean: usize, variance: usize, epsilon: f64, axis: usize },
}

/// What recovery works from.
pub struct Recovery<'a> {
    /// The dense model.
    pub dense: &'a Model,
    /// Indices that the pruned model has of an axis of a value of the dense one; `None` where it has all.
    pub kept: &'a dyn Fn(ValueId, usize) -> Option<Vec<u32>>,
    /// The operators.
    pub table: &'a OpTable,
    /// Runs both models.
    pub runtime: &'a dyn Runtime,
    /// Samples, in the order of the graph's inputs (first axis: samples).
    pub inputs: &'a [Tensor],
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
    let steps = steps(cx.dense, pruned, cx.table, &facts);
    let dense_facts = infer(cx.dense, cx.table).facts;
    let shapes = facts.clone();
    let mut walk_dense = Walk::new(cx.runtime, cx.threads, (cx.dense, dense_facts), cx.inputs)?;
    let mut walk_pruned = Walk::new(cx.runtime, cx.threads, (pruned, facts), cx.inputs)?;
    let mut unsolved: BTreeSet<NodeId> = steps.iter().map(|s| s.0).collect();
    let mut out = Vec::new();
    for (i, (node, step)) in steps.iter().enumerate() {
        if (cx.progress)(i, steps.len()) {
            return Err(RecoverError::Interrupted);
        }
        let (x, y) = ends(pruned, (*node, step));
        let x_pruned = walk_pruned.get(pruned, x)?;
        match step {
            Step::Linear(form) => {
                // A result that is stretched to be added has fewer observations than the sum.
                let whole =
                    |sum: ValueId| shapes.get(y).shape.is_some() && shapes.get(y).shape == shapes.get(sum).shape;
                let partner =
                    addition(pruned, y).filter(|(sum, other)| whole(*sum) && !behind(pruned, *other, &unsolved));
                let mut target = None;
                if let Some((sum, other)) = partner {
                    let sum = kept_part(cx, pruned, sum, walk_dense.get(cx.dense, sum)?)?;
                    target = difference(pruned, y, &sum, &walk_pruned.get(pruned, other)?)?;
                }
                let target = match target {
                    Some(t) => t,
                    None => kept_part(cx, pruned, y, walk_dense.get(cx.dense, y)?)?,
                };
                let outcome = solve(pruned, *node, form, &x_pruned, &target, cx.options)?;
                out.push(Recovered { node: pruned.graph.label(*node), outcome });
            }
            Step::Statistics { mean, variance, epsilon, axis } => {
                let x_dense = kept_part(cx, pruned, x, walk_dense.get(cx.dense, x)?)?;
                restate(pruned, *node, (*mean, *variance), *epsilon, *axis, &x_pruned, &x_dense)?;
            }
        }
        unsolved.remove(node);
        let ahead: Vec<ValueId> = steps[i + 1..].iter().flat_map(|(n, s)| reads(pruned, (*n, s))).collect();
        walk_pruned.keep_for(pruned, ahead.iter().copied());
        walk_dense.keep_for(cx.dense, ahead);
    }
    (cx.progress)(steps.len(), steps.len());
    Ok(out)
}

/// Values that a step may read in either model: input, result, and both sides of a sum that the result goes into.
fn reads(model: &Model, step: (NodeId, &Step)) -> Vec<ValueId> {
    let (x, y) = ends(model, step);
    let mut out = vec![x, y];
    out.extend(addition(model, y).into_iter().flat_map(|(sum, other)| [sum, other]));
    out
}

/// Input and first result of a node that a step was made for.
fn ends(model: &Model, (node, step): (NodeId, &Step)) -> (ValueId, ValueId) {
    let n = model.graph.node(node);
    let operand = if let Step::Linear(form) = step { form.x } else { 0 };
    let x = n.inputs[operand].expect("steps are made for nodes with an input");
    (x, n.outputs.first().copied().flatten().expect("steps are made for nodes with a result"))
}

/// Nodes to solve, in order: those whose input the cut has changed.
fn steps(dense: &Model, pruned: &Model, table: &OpTable, facts: &Facts) -> Vec<(NodeId, Step)> {
    let graph = &pruned.graph;
    let mut perturbed = vec![false; graph.value_bound()];
    let mut out = Vec::new();
    for id in topological(graph).unwrap_or_default() {
        let node = graph.node(id);
        let cut = |v: &ValueId| match (graph.constant(*v), v.index() < dense.graph.value_bound()) {
            (Some(now), true) => dense.graph.constant(*v).is_some_and(|t| t.dims != now.dims && t.elem.is_float()),
            _ => perturbed[v.index()],
        };
        let changed = node.inputs.iter().flatten().any(cut);
        let x_changed =
            |operand: usize| node.inputs.get(operand).copied().flatten().is_some_and(|x| perturbed[x.index()]);
        if let Some(def) = table.get(&node.domain, &node.op) {
            // A rule fails where shapes are not known: such a node is left alone.
            let node_ref = node_ref(pruned, facts, id);
            let whole = node.outputs.first().copied().flatten().is_some();
            if let (LinearRule::By(rule), true) = (def.linear, whole) {
                let form = rule(&node_ref).ok().flatten().filter(|f| x_changed(f.x));
                out.extend(form.map(|f| (id, Step::Linear(f))));
            }
            if let (Affine::By(rule), true) = (def.affine, whole && x_changed(0)) {
                let affine = rule(&node_ref).ok().flatten();
                let step = affine.and_then(|a| {
                    let (mean, variance, epsilon) = a.statistics?;
                    Some(Step::Statistics { mean, variance, epsilon, axis: a.axis })
                });
                out.extend(step.map(|s| (id, s)));
            }
        }
        if changed {
            node.outputs.iter().flatten().for_each(|v| perturbed[v.index()] = true);
        }
    }
    out
}

/// Whether `value` is computed from a node that is still to be solved.
fn behind(model: &Model, value: ValueId, unsolved: &BTreeSet<NodeId>) -> bool {
    let graph = &model.graph;
    let mut seen = vec![false; graph.node_bound()];
    let mut todo = vec![value];
    while let Some(v) = todo.pop() {
        let Some(n) = graph.producer(v) else { continue };
        if std::mem::replace(&mut seen[n.index()], true) {
            continue;
        }
        if unsolved.contains(&n) {
            return true;
        }
        todo.extend(graph.node(n).inputs.iter().flatten());
    }
    false
}

/// The sum that `y` goes into and what it is added to, if an addition is its only reader.
fn addition(model: &Model, y: ValueId) -> Option<(ValueId, ValueId)> {
    let graph = &model.graph;
    let [Use::Operand(add, _)] = graph.value(y).uses[..] else { return None };
    let node = graph.node(add);
    if node.op != "Add" || graph.is_output(y) {
        return None;
    }
    let other = node.inputs.iter().copied().flatten().find(|v| *v != y && graph.constant(*v).is_none())?;
    Some((node.outputs.first().copied().flatten()?, other))
}

/// a − b over all batches, if they have one shape.
fn difference(model: &Model, value: ValueId, a: &[Tensor], b: &[Tensor]) -> Result<Option<Vec<Tensor>>, RecoverError> {
    if a.iter().zip(b).any(|(a, b)| a.dims != b.dims) {
        return Ok(None);
    }
    let one = |(a, b): (&Tensor, &Tensor)| {
        let (x, y) = (singles(model, value, a)?, singles(model, value, b)?);
        Ok(Tensor::f32(&a.dims, &x.iter().zip(&y).map(|(a, b)| a - b).collect::<Vec<f32>>()))
    };
    a.iter().zip(b).map(one).collect::<Result<_, _>>().map(Some)
}

fn singles(model: &Model, value: ValueId, tensor: &Tensor) -> Result<Vec<f32>, RecoverError> {
    let source = |source| RecoverError::Activation { value: model.graph.value(value).name.clone(), source };
    tensor.to_f32().map_err(source)
}

/// A dense activation reduced to the indices that the pruned model has of it.
fn kept_part(cx: &Recovery, model: &Model, value: ValueId, batches: Vec<Tensor>) -> Result<Vec<Tensor>, RecoverError> {
    let rank = batches.first().map_or(0, |t| t.dims.len());
    let kept: Vec<(usize, Vec<u32>)> = (0..rank).filter_map(|a| Some((a, (cx.kept)(value, a)?))).collect();
    let source = |source| RecoverError::Activation { value: model.graph.value(value).name.clone(), source };
    let one = |t: Tensor| kept.iter().try_fold(t, |t, (axis, kept)| t.gather(*axis, kept).map_err(source));
    batches.into_iter().map(one).collect()
}

/// Solves one node and writes its weight and bias.
fn solve(
    model: &mut Model,
    node: NodeId,
    form: &Contraction,
    x: &[Tensor],
    target: &[Tensor],
    options: RecoverOptions,
) -> Result<Result<(f64, f64), Skipped>, RecoverError> {
    let x_value = ends(model, (node, &Step::Linear(form.clone()))).0;
    let source = |source| RecoverError::Activation { value: model.graph.value(x_value).name.clone(), source };
    let Some(activations) = Activations::new(x, target, form).map_err(source)? else { return Ok(Err(Skipped::Form)) };
    let w_value = model.graph.node(node).inputs[form.w].expect("a linear node has a weight");
    let tensor = model.graph.constant(w_value).expect("a linear node's weight is constant").clone();
    let broken = |source| CalibError::Weight { value: model.graph.value(w_value).name.clone(), source };
    let mut weight = Weight::of(&tensor, form).map_err(broken)?;
    let layout = Layout::of(&weight, form);
    let bias = bias_of(model, node, form);
    let constants = std::iter::once(w_value).chain(match bias {
        Some(Bias::Operand(v) | Bias::Added(v)) => Some(v),
        Some(Bias::Absent(_)) | None => None,
    });
    if constants.into_iter().any(|v| shared(model, v)) {
        return Ok(Err(Skipped::Shared));
    }
    let mut shift = match bias {
        Some(bias) => read_bias(model, bias, layout.outputs())?,
        None => vec![0.0; layout.outputs()],
    };
    // A bias that is added outside the node is not part of the node's own result, which the target is.
    let inside = matches!(bias, Some(Bias::Operand(_) | Bias::Absent(_)));
    let old_shift = if inside { shift.clone() } else { vec![0.0; layout.outputs()] };

    let wanted = options.work / (layout.width() as f64).powi(2).max(1.0) / layout.groups as f64;
    let picked = pick(activations.count(), (wanted as usize).max(32 * layout.width()), node.index() as u64);
    let held: Vec<usize> = picked.iter().copied().skip(HELD_OUT - 1).step_by(HELD_OUT).collect();
    let used: Vec<usize> =
        picked.iter().copied().enumerate().filter(|(i, _)| i % HELD_OUT != HELD_OUT - 1).map(|(_, r)| r).collect();
    if used.len() < layout.width() {
        return Ok(Err(Skipped::TooFew { observations: used.len(), unknowns: layout.width() }));
    }
    // Groups are independent: a depthwise convolution has hundreds of small ones.
    let solutions: Option<Vec<Solution>> = (0..layout.groups)
        .into_par_iter()
        .map(|g| {
            let old = layout.read(&weight, &old_shift, g);
            let ridge = Ridge { biased: bias.is_some(), spread: layout.spread, lambda: options.ridge };
            solve_group(&activations, g, (&used, &held), &old, ridge)
        })
        .collect();
    let Some(solutions) = solutions else { return Ok(Err(Skipped::Singular)) };
    let total = |f: fn(&Solution) -> f64| solutions.iter().map(f).sum::<f64>();
    let signal = total(|s| s.signal).max(f64::MIN_POSITIVE);
    let (before, after) = (total(|s| s.before) / signal, total(|s| s.after) / signal);
    if after.is_nan() || after >= before {
        return Ok(Err(Skipped::NoGain { before, after }));
    }
    for (g, s) in solutions.iter().enumerate() {
        layout.write(&mut weight, &s.map, g);
        for (o, b) in s.map.bias.iter().step_by(layout.spread).enumerate() {
            let at = g * layout.per_group + o;
            shift[at] += b - old_shift[at];
        }
    }
    model.graph.set_constant(w_value, weight.to_tensor(&tensor).map_err(broken)?);
    if let Some(bias) = bias {
        write_bias(model, node, bias, &shift)?;
    }
    Ok(Ok((before, after)))
}

/// Whether changing a constant would change more than one operand.
fn shared(model: &Model, value: ValueId) -> bool {
    model.graph.value(value).uses.len() > 1 || model.graph.is_output(value)
}

/// Gives a normalisation the running statistics under which its result has the dense mean and variance:
/// σ' = σ √(v_p / v_d), μ' = m_p − (m_d − μ) σ' / σ, for mean m and variance v of the input in either model.
fn restate(
    model: &mut Model,
    node: NodeId,
    (mean, variance): (usize, usize),
    epsilon: f64,
    axis: usize,
    x_pruned: &[Tensor],
    x_dense: &[Tensor],
) -> Result<(), RecoverError> {
    let x = ends(model, (node, &Step::Statistics { mean, variance, epsilon, axis })).0;
    let (p, d) = (moments(model, x, x_pruned, axis)?, moments(model, x, x_dense, axis)?);
    let operand = |i: usize| model.graph.node(node).inputs[i].expect("statistics are operands");
    let (mean_value, variance_value) = (operand(mean), operand(variance));
    if shared(model, mean_value) || shared(model, variance_value) {
        return Ok(());
    }
    let read = |v: ValueId| {
        let tensor = model.graph.constant(v).expect("statistics are constant").clone();
        let source = |source| CalibError::Weight { value: model.graph.value(v).name.clone(), source };
        tensor.to_f64().map(|values| (tensor, values)).map_err(source)
    };
    let ((mean_tensor, mut mu), (variance_tensor, mut var)) = (read(mean_value)?, read(variance_value)?);
    for c in 0..mu.len() {
        let ((m_p, v_p), (m_d, v_d)) = (p[c], d[c]);
        // A channel that is constant in either model has no scale to correct.
        let ratio = if v_p > 1e-12 && v_d > 1e-12 { (v_p / v_d).sqrt() } else { 1.0 };
        let scaled = (var[c] + epsilon) * ratio * ratio - epsilon;
        let ratio = if scaled >= 0.0 { ratio } else { 1.0 };
        var[c] = if scaled >= 0.0 { scaled } else { var[c] };
        mu[c] = m_p - (m_d - mu[c]) * ratio;
    }
    for (value, tensor, numbers) in [(mean_value, mean_tensor, mu), (variance_value, variance_tensor, var)] {
        let source = |source| CalibError::Weight { value: model.graph.value(value).name.clone(), source };
        let new = Tensor::from_f64(tensor.elem, &tensor.dims, &numbers).map_err(source)?;
        model.graph.set_constant(value, new);
    }
    Ok(())
}

/// Mean and variance of each channel.
fn moments(model: &Model, value: ValueId, x: &[Tensor], axis: usize) -> Result<Vec<(f64, f64)>, RecoverError> {
    let source = |source| RecoverError::Activation { value: model.graph.value(value).name.clone(), source };
    let n = x.first().map_or(0, |t| t.dims[axis]) as usize;
    let mut sums = vec![(0.0f64, 0.0f64); n];
    let mut count = 0;
    for batch in x {
        let rows = sparsec_calib::rows(batch, axis).map_err(source)?;
        for row in rows.chunks(n.max(1)) {
            for (v, s) in row.iter().zip(&mut sums) {
                s.0 += f64::from(*v);
                s.1 += f64::from(*v) * f64::from(*v);
            }
        }
        count += rows.len() / n.max(1);
    }
    let count = count.max(1) as f64;
    Ok(sums.into_iter().map(|(s, q)| (s / count, (q / count - (s / count).powi(2)).max(0.0))).collect())
}
