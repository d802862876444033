//! Means and covariances of activations over the samples.

use crate::CalibError;
use rayon::prelude::*;
use sparsec_ir::{Facts, Model, Tensor, ValueId};
use sparsec_linalg::{Matrix, add_gram};
use sparsec_runtime::{Runtime, run_batches, tap};
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
    let values = tensor.to_f32()?;
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

/// Samples that one run of the model takes. Fixed, so that sums do not depend on the number of threads.
const BATCH: usize = 32;

/// Statistics of the given axes, from one run of `model` over all samples of `inputs` (first axis: samples).
pub fn grams(
    runtime: &dyn Runtime,
    model: &Model,
    facts: &Facts,
    inputs: &[Tensor],
    wanted: &[(ValueId, usize)],
    threads: usize,
    step: &dyn Fn() -> bool,
) -> Result<BTreeMap<(ValueId, usize), Gram>, CalibError> {
    let mut values: Vec<ValueId> = wanted.iter().map(|w| w.0).collect();
    values.sort();
    values.dedup();
    let tapped = tap(model, facts, &values);
    let mut sums: BTreeMap<(ValueId, usize), (Matrix, Vec<f64>, u64)> = BTreeMap::new();
    let samples = inputs.first().map_or(0, |t| t.dims.first().copied().unwrap_or(0)) as usize;
    // Several batches at a time keep the threads busy; what they return is summed in order.
    let window = BATCH * 4;
    for from in (0..samples).step_by(window) {
        if step() {
            return Err(CalibError::Interrupted);
        }
        let part: Vec<Tensor> =
            inputs.iter().map(|t| crate::data::rows(t, from as u64..(from + window).min(samples) as u64)).collect();
        let outputs = run_batches(runtime, &tapped, &part, BATCH, threads)?;
        let parts: Vec<Result<(Matrix, Vec<f64>, u64), CalibError>> = wanted
            .par_iter()
            .map(|&(value, axis)| {
                let at = values.binary_search(&value).expect("every wanted value is tapped");
                sums_of(model, &outputs[at], value, axis)
            })
            .collect();
        for (key, part) in wanted.iter().zip(parts) {
            let (gram, sum, count) = part?;
            match sums.get_mut(key) {
                Some(total) => {
                    total.0.add_scaled(&gram, 1.0);
                    total.1.iter_mut().zip(&sum).for_each(|(a, b)| *a += b);
                    total.2 += count;
                }
                None => {
                    sums.insert(*key, (gram, sum, count));
                }
            }
        }
    }
    Ok(sums.into_iter().map(|(k, (gram, sum, count))| (k, Gram::from_sums(gram, &sum, count))).collect())
}

fn sums_of(model: &Model, output: &Tensor, value: ValueId, axis: usize) -> Result<(Matrix, Vec<f64>, u64), CalibError> {
    let name = || model.graph.value(value).name.clone();
    let x = rows(output, axis).map_err(|source| CalibError::Activation { value: name(), source })?;
    let n = output.dims[axis] as usize;
    let count = x.len() / n.max(1);
    let mut gram = Matrix::zeros(n, n);
    add_gram(&mut gram, &x, count);
    if !gram.is_finite() {
        return Err(CalibError::NotFinite { value: name() });
    }
    let mut sum = vec![0.0; n];
    for row in x.chunks(n.max(1)) {
        row.iter().zip(&mut sum).for_each(|(v, s)| *s += f64::from(*v));
    }
    Ok((gram, sum, count as u64))
}
