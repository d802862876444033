//! Means and covariances of activations over the samples.

use crate::CalibError;
use rayon::prelude::*;
use sparsec_ir::{Facts, Model, Tensor, ValueId};
use sparsec_linalg::{Matrix, add_gram};
use sparsec_runtime::{Runtime, Sessions, batches, tap};
use std::collections::BTreeMap;

/// Second-order statistics of the channels of an activation; every position of every sample is one observation.
#[derive(Clone, Debug)]
pub struct Gram {
    /// Covariance E[(x − μ)(x − μ)ᵀ], channels × channels.
    pub covariance: Matrix,
    /// Mean μ of each channel.
    pub mean: Vec<f64>,
    /// Number of observations.
    pub count: u64,
}

impl Gram {
    /// Statistics from Σ x xᵀ, Σ x and the number of observations.
    pub fn from_sums(mut gram: Matrix, sum: &[f64], count: u64) -> Self {
        let n = count.max(1) as f64;
        let mean: Vec<f64> = sum.iter().map(|s| s / n).collect();
        for r in 0..gram.rows() {
            for c in 0..gram.cols() {
                gram.set(r, c, gram.get(r, c) / n - mean[r] * mean[c]);
            }
        }
        Self { covariance: gram, mean, count }
    }
    /// Whether the channels vary by more than rounding in singles leaves of a constant.
    pub fn varies(&self) -> bool {
        let variance: f64 = (0..self.mean.len()).map(|i| self.covariance.get(i, i)).sum();
        let square: f64 = self.mean.iter().map(|m| m * m).sum();
        variance > 1e-6 * (square + variance)
    }
    /// E[x xᵀ], not centred.
    pub fn uncentred(&self) -> Matrix {
        let mut out = self.covariance.clone();
        for r in 0..out.rows() {
            for c in 0..out.cols() {
                out.set(r, c, out.get(r, c) + self.mean[r] * self.mean[c]);
            }
        }
        out
    }
}

/// The tensor as observations × channels, `axis` being the channel axis.
pub fn rows(tensor: &Tensor, axis: usize) -> Result<Vec<f32>, sparsec_ir::TensorError> {
    let values: Vec<f32> = if tensor.elem.is_float() {
        tensor.to_f32()?
    } else {
        tensor.numbers()?.into_iter().map(|v| v as f32).collect()
    };
    let channels = tensor.dims[axis] as usize;
    let inner: usize = tensor.dims[axis + 1..].iter().product::<u64>() as usize;
    if inner == 1 {
        return Ok(values);
    }
    let mut out = vec![0f32; values.len()];
    for (block, to) in values.chunks(channels * inner).zip(out.chunks_mut(channels * inner)) {
        for c in 0..channels {
            for i in 0..inner {
                to[i * channels + c] = block[c * inner + i];
            }
        }
    }
    Ok(out)
}

/// How a run over samples is spread.
#[derive(Clone, Copy, Debug)]
pub struct Passes {
    /// Samples that one run of the model takes. Sums are taken run by run, so results depend on it.
    pub batch: usize,
    /// Runs whose results are held at a time; results do not depend on it.
    pub held: usize,
    /// Threads to run on; results do not depend on them.
    pub threads: usize,
}

/// Statistics of the given axes, from one run of `model` over all samples of `inputs` (first axis: samples).
///
/// Sums are taken run by run, so activations may hold their samples along any axis. `step` is told of each run and says
/// whether to stop.
pub fn grams(
    runtime: &dyn Runtime,
    model: &Model,
    facts: &Facts,
    inputs: &[Tensor],
    wanted: &[(ValueId, usize)],
    passes: Passes,
    step: &dyn Fn() -> bool,
) -> Result<BTreeMap<(ValueId, usize), Gram>, CalibError> {
    if wanted.is_empty() {
        return Ok(BTreeMap::new());
    }
    let mut values: Vec<ValueId> = wanted.iter().map(|w| w.0).collect();
    values.sort();
    values.dedup();
    let tapped = tap(model, facts, &values);
    let fed = batches(model, inputs, passes.batch)?;
    let sessions = Sessions::load(runtime, &tapped, &fed)?;
    let mut sums: Vec<Option<Sums>> = wanted.iter().map(|_| None).collect();
    for window in fed.chunks(passes.held.max(1)) {
        let outputs = sessions.run(window, passes.threads)?;
        sums.par_iter_mut().zip(wanted).try_for_each(|(sums, &(value, axis))| {
            let at = values.binary_search(&value).expect("every wanted value is tapped");
            outputs.iter().try_for_each(|o| add(model, sums, &o[at], (value, axis)))
        })?;
        for _ in window {
            if step() {
                return Err(CalibError::Interrupted);
            }
        }
    }
    let statistics = |s: Sums| Gram::from_sums(s.gram, &s.sum, s.count);
    Ok(wanted.iter().zip(sums).filter_map(|(key, s)| Some((*key, statistics(s?)))).collect())
}

/// Σ x xᵀ, Σ x and the number of observations.
struct Sums {
    gram: Matrix,
    sum: Vec<f64>,
    count: u64,
}

/// Adds one batch of an activation.
fn add(
    model: &Model,
    sums: &mut Option<Sums>,
    output: &Tensor,
    (value, axis): (ValueId, usize),
) -> Result<(), CalibError> {
    let name = || model.graph.value(value).name.clone();
    let x = rows(output, axis).map_err(|source| CalibError::Activation { value: name(), source })?;
    let n = output.dims[axis] as usize;
    let sums = sums.get_or_insert_with(|| Sums { gram: Matrix::zeros(n, n), sum: vec![0.0; n], count: 0 });
    let count = x.len() / n.max(1);
    add_gram(&mut sums.gram, &x, count);
    if !sums.gram.is_finite() {
        return Err(CalibError::NotFinite { value: name() });
    }
    for row in x.chunks(n.max(1)) {
        row.iter().zip(&mut sums.sum).for_each(|(v, s)| *s += f64::from(*v));
    }
    sums.count += count as u64;
    Ok(())
}
