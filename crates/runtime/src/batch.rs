//! Many samples in batches, over threads.

use crate::signature::shared;
use crate::{Runtime, RuntimeError, Session};
use rayon::prelude::*;
use sparsec_ir::{Data, Model, Tensor, Type};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// The outputs of `model` for all samples of `inputs`, whose first axes count samples.
///
/// Samples run in [`batches`], the last one with what is left, over `threads` threads with one thread inside an operator;
/// results do not depend on `threads`. Results of repeated samples are dropped.
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
    let fed = batches(model, inputs, batch)?;
    let outputs = run_each(runtime, model, &fed, threads)?;
    let mut left = samples(inputs)?;
    let part = |(outputs, inputs): (Vec<Tensor>, &Vec<Tensor>)| {
        let fed = inputs[0].dims[0];
        let samples = fed.min(left);
        left -= samples;
        Part { outputs, samples, fed }
    };
    join(outputs.into_iter().zip(&fed).map(part).collect())
}

/// The samples of `inputs`, whose first axes count them, in batches of `size`: each the inputs of one run.
///
/// The last batch holds what is left. Where the model states a fixed first size for an input, that is the size, and the
/// last batch is filled with repetitions of the last sample. Whole batches share the bytes of `inputs`.
///
/// # Errors
/// [`RuntimeError::Batch`] if inputs do not agree on the number of samples or there are none.
pub fn batches(model: &Model, inputs: &[Tensor], size: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
    let samples = samples(inputs)?;
    let fixed = fixed_batch(model)?;
    let size = fixed.unwrap_or_else(|| samples.min(size.max(1) as u64));
    let batch = |i: u64| {
        let start = i * size;
        let end = if fixed.is_some() { start + size } else { samples.min(start + size) };
        inputs.iter().map(|t| part(t, start..end)).collect()
    };
    (0..samples.div_ceil(size)).map(batch).collect()
}

/// The [`batches`] of samples that come in parts, each of one shape.
///
/// # Errors
/// As [`batches`].
pub fn batches_of_parts(model: &Model, parts: &[Vec<Tensor>], size: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
    let each: Result<Vec<_>, _> = parts.iter().map(|inputs| batches(model, inputs, size)).collect();
    Ok(each?.into_iter().flatten().collect())
}

/// The outputs of `model` for each of `batches`, in order; each is one run, over `threads` threads with one thread inside
/// an operator. Nothing is asked of the layout of outputs, and results do not depend on `threads`.
///
/// # Errors
/// That of loading the model for the shapes of a batch, else that of the first batch that failed.
pub fn run_each(
    runtime: &dyn Runtime,
    model: &Model,
    batches: &[Vec<Tensor>],
    threads: usize,
) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
    Sessions::load(runtime, model, batches)?.run(batches, threads)
}

/// A model loaded for each shape that a set of batches has.
pub struct Sessions {
    by_shapes: BTreeMap<Vec<Vec<u64>>, Arc<dyn Session>>,
}

impl Sessions {
    /// Loads `model` for each distinct shape among `batches`: once for all that differ in more than the number of samples,
    /// where the runtime can do that.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    pub fn load(runtime: &dyn Runtime, model: &Model, batches: &[Vec<Tensor>]) -> Result<Self, RuntimeError> {
        let distinct: BTreeSet<Vec<Vec<u64>>> = batches.iter().map(|b| shapes(b)).collect();
        let distinct: Vec<Vec<Vec<u64>>> = distinct.into_iter().collect();
        let beyond_the_first = |s: Vec<Vec<Option<u64>>>| s.iter().any(|s| s.iter().skip(1).any(Option::is_none));
        let by_shapes = match runtime.any_size() {
            Some(runtime) if shared(&distinct).is_some_and(beyond_the_first) => {
                let session: Arc<dyn Session> = runtime.load_open(model, &distinct, 1)?.into();
                distinct.into_iter().map(|s| (s, session.clone())).collect()
            }
            _ => {
                let load = |s: Vec<Vec<u64>>| Ok((runtime.load(model, &s, 1)?.into(), s));
                let loaded: Result<Vec<(Arc<dyn Session>, _)>, RuntimeError> = distinct.into_iter().map(load).collect();
                loaded?.into_iter().map(|(session, s)| (s, session)).collect()
            }
        };
        Ok(Self { by_shapes })
    }

    /// The outputs for each of `batches`, in order, over `threads` threads.
    ///
    /// # Errors
    /// [`RuntimeError::Batch`] for a shape that was not loaded, else that of the first batch that failed.
    pub fn run(&self, batches: &[Vec<Tensor>], threads: usize) -> Result<Vec<Vec<Tensor>>, RuntimeError> {
        let run = |batch: &Vec<Tensor>| {
            let shapes = shapes(batch);
            let session = self.by_shapes.get(&shapes);
            session.ok_or_else(|| refuse(format!("no session is loaded for {shapes:?}")))?.run(batch)
        };
        // Collected before errors are looked at, so that the error reported is the first in order.
        let outputs: Vec<Result<Vec<Tensor>, RuntimeError>> = if threads <= 1 || batches.len() <= 1 {
            batches.iter().map(run).collect()
        } else {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
            let pool = pool.map_err(|e| RuntimeError::Threads { threads, why: e.to_string() })?;
            pool.install(|| batches.par_iter().map(run).collect())
        };
        outputs.into_iter().collect()
    }
}

fn shapes(batch: &[Tensor]) -> Vec<Vec<u64>> {
    batch.iter().map(|t| t.dims.clone()).collect()
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

/// The samples in `range`, the last sample standing in for those beyond the end.
fn part(t: &Tensor, range: Range<u64>) -> Result<Tensor, RuntimeError> {
    let samples = t.dims[0];
    if let (true, true, Ok(bytes)) = (range.end <= samples, t.elem.bits().is_multiple_of(8), t.bytes()) {
        let row = bytes.len() as u64 / samples;
        let bytes = bytes.slice((range.start * row) as usize..(range.end * row) as usize);
        let dims = std::iter::once(range.end - range.start).chain(t.dims[1..].iter().copied()).collect();
        return Ok(Tensor::raw(t.elem, dims, bytes)?);
    }
    let index = |i: u64| u32::try_from(i.min(samples - 1)).map_err(|_| refuse("there are more than 2^32 samples"));
    Ok(t.gather(0, &range.map(index).collect::<Result<Vec<u32>, _>>()?)?)
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
