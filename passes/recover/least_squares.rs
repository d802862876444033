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

use super::observations::{Activations, Rows, pick};
use super::walk::Walk;
use rayon::prelude::*;
use sparsec_analysis::{infer, node_ref};
use sparsec_calib::{Bias, CalibError, Weight, bias_of, read_bias, write_bias};
use sparsec_ir::{
    Affine, Contraction, Facts, Id, LinearRule, Model, NodeId, OpTable, Tensor, TensorError, Use, ValueId, topological,
};
use sparsec_linalg::{Matrix, add_cross, add_gram, product, solve_spd};
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
                let partner = addition(pruned, y).filter(|(_, other)| !behind(pruned, *other, &unsolved));
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
            if let LinearRule::By(rule) = def.linear {
                if let Some(form) = rule(&node_ref).ok().flatten().filter(|f| whole && x_changed(f.x)) {
                    out.push((id, Step::Linear(form)));
                }
            }
            if let Affine::By(rule) = def.affine {
                if let Some(affine) = rule(&node_ref).ok().flatten().filter(|_| whole && x_changed(0)) {
                    if let Some((mean, variance, epsilon)) = affine.statistics {
                        out.push((id, Step::Statistics { mean, variance, epsilon, axis: affine.axis }));
                    }
                }
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

/// Second-order sums of some rows: inputs with themselves, inputs with targets, and the sums of both.
struct Sums {
    gram: Matrix,
    cross: Matrix,
    x: Vec<f64>,
    y: Vec<f64>,
    count: usize,
}

impl Sums {
    fn of(rows: &Rows) -> Self {
        let mut gram = Matrix::zeros(rows.width, rows.width);
        let mut cross = Matrix::zeros(rows.width, rows.targets);
        add_gram(&mut gram, &rows.x, rows.count);
        add_cross(&mut cross, &rows.x, &rows.y, rows.count);
        let column_sums = |data: &[f32], n: usize| {
            let mut sum = vec![0.0; n];
            for row in data.chunks(n.max(1)) {
                row.iter().zip(&mut sum).for_each(|(v, s)| *s += f64::from(*v));
            }
            sum
        };
        let (x, y) = (column_sums(&rows.x, rows.width), column_sums(&rows.y, rows.targets));
        Self { gram, cross, x, y, count: rows.count }
    }
    fn add(&mut self, other: &Self) {
        self.gram.add_scaled(&other.gram, 1.0);
        self.cross.add_scaled(&other.cross, 1.0);
        self.x.iter_mut().zip(&other.x).for_each(|(a, b)| *a += b);
        self.y.iter_mut().zip(&other.y).for_each(|(a, b)| *a += b);
        self.count += other.count;
    }
    /// Covariance of x, covariance of x with y, means of both. Not centred where the node has no bias to take a mean.
    fn moments(&self, centred: bool) -> (Matrix, Matrix, Vec<f64>, Vec<f64>) {
        let n = self.count as f64;
        let mean = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|s| if centred { s / n } else { 0.0 }).collect() };
        let (mx, my) = (mean(&self.x), mean(&self.y));
        let centre = |m: &Matrix, right: &[f64]| {
            let mut out = m.clone();
            for r in 0..m.rows() {
                for c in 0..m.cols() {
                    out.set(r, c, m.get(r, c) / n - mx[r] * right[c]);
                }
            }
            out
        };
        (centre(&self.gram, &mx), centre(&self.cross, &my), mx, my)
    }
}

/// Rows that one thread sums up at a time: fixed, so that sums do not depend on the number of threads.
const CHUNK: usize = 4096;

/// Solves one node and writes its weight and bias.
fn solve(
    model: &mut Model,
    node: NodeId,
    form: &Contraction,
    x: &[Tensor],
    target: &[Tensor],
    options: RecoverOptions,
) -> Result<Result<(f64, f64), Skipped>, RecoverError> {
    let (x_value, y_value) = ends(model, (node, &Step::Linear(form.clone())));
    let source = |source| RecoverError::Activation { value: model.graph.value(x_value).name.clone(), source };
    let Some(activations) = Activations::new(x, target, form).map_err(source)? else { return Ok(Err(Skipped::Form)) };
    let w_value = model.graph.node(node).inputs[form.w].expect("a linear node has a weight");
    let tensor = model.graph.constant(w_value).expect("a linear node's weight is constant").clone();
    let broken = |source| CalibError::Weight { value: model.graph.value(w_value).name.clone(), source };
    let mut weight = Weight::of(&tensor, form).map_err(broken)?;
    let bias = bias_of(model, node, form);
    let constants = std::iter::once(w_value).chain(match bias {
        Some(Bias::Operand(v) | Bias::Added(v)) => Some(v),
        Some(Bias::Absent(_)) | None => None,
    });
    if constants.into_iter().any(|v| shared(model, v)) {
        return Ok(Err(Skipped::Shared));
    }
    let groups = form.groups.max(1) as usize;
    let outputs = if form.transposed { weight.outputs * groups } else { weight.outputs };
    let mut shift = match bias {
        Some(bias) => read_bias(model, bias, outputs)?,
        None => vec![0.0; outputs],
    };
    // A bias that is added outside the node is not part of the node's own result, which the target is.
    let inside = matches!(bias, Some(Bias::Operand(_) | Bias::Absent(_)));
    let old_shift = if inside { shift.clone() } else { vec![0.0; outputs] };

    let taps = if form.transposed { 1 } else { weight.taps() };
    let spread = if form.transposed { weight.taps() } else { 1 };
    let width = weight.inputs * taps;
    let per_group = outputs / groups;
    let wanted = (options.work / (width * width).max(1) as f64 / groups as f64) as usize;
    let picked = pick(activations.count(), wanted.max(32 * width), node.index() as u64);
    let (held, used): (Vec<usize>, Vec<usize>) = (0..picked.len()).partition(|i| i % HELD_OUT == HELD_OUT - 1);
    let (held, used): (Vec<usize>, Vec<usize>) =
        (held.into_iter().map(|i| picked[i]).collect(), used.into_iter().map(|i| picked[i]).collect());
    if used.len() < width {
        return Ok(Err(Skipped::TooFew { observations: used.len(), unknowns: width }));
    }

    // Groups are independent: a depthwise convolution has hundreds of small ones.
    let solutions: Vec<Option<(Matrix, Vec<f64>, f64, f64, f64)>> = (0..groups)
        .into_par_iter()
        .map(|g| {
            let mut old = Matrix::zeros(width, per_group * spread);
            for o in 0..per_group {
                for i in 0..weight.inputs {
                    for t in 0..taps * spread {
                        let (row, column) = if spread == 1 { (i * taps + t, o) } else { (i, o * spread + t) };
                        old.set(row, column, weight.get(if spread == 1 { g * per_group + o } else { o }, i, t));
                    }
                }
            }
            let old_bias: Vec<f64> = (0..per_group * spread).map(|c| old_shift[g * per_group + c / spread]).collect();
            let sums = |rows: &[usize]| {
                let parts: Vec<Sums> =
                    rows.par_chunks(CHUNK).filter_map(|c| Some(Sums::of(&activations.rows(g, c)?))).collect();
                let mut parts = parts.into_iter();
                let mut total = parts.next()?;
                parts.for_each(|p| total.add(&p));
                Some(total)
            };
            let total = sums(&used)?;
            let (mut a, mut c, mx, my) = total.moments(bias.is_some());
            c.add_scaled(&product(&a, &old), -1.0);
            let lift = options.ridge * a.mean_diagonal() + f64::MIN_POSITIVE;
            for i in 0..width {
                a.set(i, i, a.get(i, i) + lift);
            }
            let mut new = solve_spd(&a, &c)?;
            new.add_scaled(&old, 1.0);
            let mut new_bias = if bias.is_some() { Vec::new() } else { old_bias.clone() };
            if bias.is_some() {
                let mean = product(&Matrix::new(1, width, mx), &new);
                new_bias = my.iter().zip(mean.row(0)).map(|(y, m)| y - m).collect();
                // One bias serves all positions that a scattering window writes.
                for o in new_bias.chunks_mut(spread) {
                    let mean = o.iter().sum::<f64>() / spread as f64;
                    o.fill(mean);
                }
            }
            let test = activations.rows(g, &held)?;
            let (before, signal) = squared_error(&test, &old, &old_bias);
            let (after, _) = squared_error(&test, &new, &new_bias);
            Some((new, new_bias, before, after, signal))
        })
        .collect();
    let Some(solutions) = solutions.into_iter().collect::<Option<Vec<_>>>() else { return Ok(Err(Skipped::Singular)) };
    let total = |f: fn(&(Matrix, Vec<f64>, f64, f64, f64)) -> f64| solutions.iter().map(f).sum::<f64>();
    let signal = total(|s| s.4).max(f64::MIN_POSITIVE);
    let (before, after) = (total(|s| s.2) / signal, total(|s| s.3) / signal);
    if after.is_nan() || after >= before {
        return Ok(Err(Skipped::NoGain { before, after }));
    }
    for (g, (new, new_bias, ..)) in solutions.iter().enumerate() {
        for o in 0..per_group {
            for i in 0..weight.inputs {
                for t in 0..taps * spread {
                    let (row, column) = if spread == 1 { (i * taps + t, o) } else { (i, o * spread + t) };
                    weight.set(if spread == 1 { g * per_group + o } else { o }, i, t, new.get(row, column));
                }
            }
            let old = old_shift[g * per_group + o];
            shift[g * per_group + o] += new_bias[o * spread] - old;
        }
    }
    let solved = weight.to_tensor(&tensor).map_err(broken)?;
    model.graph.set_constant(w_value, solved);
    if let Some(bias) = bias {
        write_bias(model, node, bias, &shift)?;
    }
    debug_assert_eq!(ends(model, (node, &Step::Linear(form.clone()))).1, y_value);
    Ok(Ok((before, after)))
}

/// Whether changing a constant would change more than one operand.
fn shared(model: &Model, value: ValueId) -> bool {
    model.graph.value(value).uses.len() > 1 || model.graph.is_output(value)
}

/// Σ (y − x w − b)² over the rows, and Σ (y − mean y)².
fn squared_error(rows: &Rows, w: &Matrix, b: &[f64]) -> (f64, f64) {
    let x = Matrix::new(rows.count, rows.width, rows.x.iter().map(|v| f64::from(*v)).collect());
    let fit = product(&x, w);
    let (mut error, mut signal) = (0.0, 0.0);
    for c in 0..rows.targets {
        let column = || (0..rows.count).map(|r| f64::from(rows.y[r * rows.targets + c]));
        let mean = column().sum::<f64>() / rows.count.max(1) as f64;
        signal += column().map(|y| (y - mean).powi(2)).sum::<f64>();
        error += column().enumerate().map(|(r, y)| (y - fit.get(r, c) - b[c]).powi(2)).sum::<f64>();
    }
    (error, signal)
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
