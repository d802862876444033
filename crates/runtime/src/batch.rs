//! Many samples in batches, over threads.

use crate::{Runtime, RuntimeError, Session};
use rayon::prelude::*;
use sparsec_ir::{Data, Model, Tensor, Type};
use std::ops::Range;

/// The outputs of `model` for all samples of `inputs`, whose first axes count samples.
///
/// Samples run `batch` at a time, the last batch with what is left, over `threads` threads with one thread inside an
/// operator; results do not depend on `threads`. Where the model states a fixed first size for an input, that is the
/// batch, and the last batch is filled with repetitions of the last sample, whose results are dropped.
///
/// Each output must hold its samples along its first axis, one or more rows for each; rows come in the order of samples.
///
/// # Errors
/// [`RuntimeError::Batch`] if inputs do not agree on the number of samples, there are none, or an output has no axis of
/// samples; otherwise the error of the first batch that failed.
pub fn run_batches(
    runtime: &dyn Runtime,
    model: &Model,
    inputs: &[Tensor],
    batch: usize,
    threads: usize,
) -> Result<Vec<Tensor>, RuntimeError> {
    let samples = samples(inputs)?;
    let fixed = fixed_batch(model)?;
    let size = fixed.unwrap_or_else(|| samples.min(batch.max(1) as u64));
    let load = |size: u64| {
        let shape = |t: &Tensor| std::iter::once(size).chain(t.dims[1..].iter().copied()).collect();
        runtime.load(model, &inputs.iter().map(shape).collect::<Vec<Vec<u64>>>(), 1)
    };
    let whole = load(size)?;
    let rest = samples % size;
    let short = if rest != 0 && fixed.is_none() { Some(load(rest)?) } else { None };
    let run = |start: u64| -> Result<Part, RuntimeError> {
        let end = samples.min(start + size);
        let (session, fed): (&dyn Session, u64) = match &short {
            Some(short) if end - start < size => (short.as_ref(), end - start),
            _ => (whole.as_ref(), size),
        };
        let taken = rows(start..start + fed, samples)?;
        let inputs = inputs.iter().map(|t| t.gather(0, &taken)).collect::<Result<Vec<_>, _>>()?;
        Ok(Part { outputs: session.run(&inputs)?, samples: end - start, fed })
    };
    let starts: Vec<u64> = (0..samples.div_ceil(size)).map(|i| i * size).collect();
    let parts: Vec<Result<Part, RuntimeError>> = if threads <= 1 || starts.len() == 1 {
        starts.into_iter().map(run).collect()
    } else {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        let pool = pool.map_err(|e| RuntimeError::Threads { threads, why: e.to_string() })?;
        // Collected before errors are looked at, so that the error reported is the first in sample order.
        pool.install(|| starts.into_par_iter().map(run).collect())
    };
    join(parts.into_iter().collect::<Result<_, _>>()?)
}

/// What one batch gave.
struct Part {
    outputs: Vec<Tensor>,
    /// Samples whose results count.
    samples: u64,
    /// Samples that were run, repetitions included.
    fed: u64,
}

fn refuse(why: impl Into<String>) -> RuntimeError {
    RuntimeError::Batch { why: why.into() }
}

/// How many samples `inputs` hold.
fn samples(inputs: &[Tensor]) -> Result<u64, RuntimeError> {
    let mut counts = inputs.iter().map(|t| t.dims.first().copied());
    match counts.next() {
        None => Err(refuse("there are none")),
        Some(None) => Err(refuse("a scalar has no axis of samples")),
        Some(Some(0)) => Err(refuse("there are no samples")),
        Some(Some(n)) if counts.all(|c| c == Some(n)) => Ok(n),
        Some(Some(_)) => Err(refuse("their first sizes differ")),
    }
}

/// The first size that the model states for its inputs, where it states a number.
fn fixed_batch(model: &Model) -> Result<Option<u64>, RuntimeError> {
    let mut fixed = None;
    for v in model.graph.inputs() {
        let Some(Type::Tensor { shape: Some(shape), .. }) = &model.graph.value(v).ty else { continue };
        let Some(size) = shape.first().and_then(|d| d.as_size()) else { continue };
        if size == 0 || fixed.is_some_and(|f| f != size) {
            return Err(refuse(format!("the model fixes a batch of {size} for `{}`", model.graph.value(v).name)));
        }
        fixed = Some(size);
    }
    Ok(fixed)
}

/// Indices of the samples in `range`, the last sample standing in for those beyond the end.
fn rows(range: Range<u64>, samples: u64) -> Result<Vec<u32>, RuntimeError> {
    let index = |i: u64| u32::try_from(i.min(samples - 1)).map_err(|_| refuse("there are more than 2^32 samples"));
    range.map(index).collect()
}

/// Joins the parts' outputs along their first axes.
fn join(parts: Vec<Part>) -> Result<Vec<Tensor>, RuntimeError> {
    let count = parts.first().map_or(0, |p| p.outputs.len());
    (0..count).map(|i| join_one(&parts, i)).collect()
}

fn join_one(parts: &[Part], index: usize) -> Result<Tensor, RuntimeError> {
    let no_axis = |t: &Tensor, fed: u64| {
        refuse(format!("output {index} of shape {:?} has no rows for each of {fed} samples", t.dims))
    };
    let first = &parts[0].outputs[index];
    let per_sample = |t: &Tensor, fed: u64| match t.dims.first() {
        Some(rows) if rows % fed == 0 => Ok(rows / fed),
        _ => Err(no_axis(t, fed)),
    };
    let each = per_sample(first, parts[0].fed)?;
    let (mut bytes, mut strings, mut total) = (Vec::new(), Vec::new(), 0);
    for Part { outputs, samples, fed } in parts {
        let tensor = &outputs[index];
        if per_sample(tensor, *fed)? != each || tensor.dims[1..] != first.dims[1..] || tensor.elem != first.elem {
            return Err(no_axis(tensor, *fed));
        }
        // Whole rows: `samples` out of `fed`, both counted in samples.
        let share = |len: usize| len / *fed as usize * *samples as usize;
        match &tensor.data {
            Data::Raw(b) => bytes.extend_from_slice(&b[..share(b.len())]),
            Data::Strings(s) => strings.extend_from_slice(&s[..share(s.len())]),
        }
        total += samples * each;
    }
    let dims: Vec<u64> = std::iter::once(total).chain(first.dims[1..].iter().copied()).collect();
    Ok(match first.data {
        Data::Raw(_) => Tensor::raw(first.elem, dims, bytes.into())?,
        Data::Strings(_) => Tensor { dims, data: Data::Strings(strings), ..first.clone() },
    })
}
