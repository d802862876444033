//! Running a model over all samples.

use crate::error::CliError;
use crate::interrupt;
use crate::progress::Stage;
use crate::talk::Talk;
use rayon::prelude::*;
use sparsec_calib::data::Dataset;
use sparsec_ir::{Model, Tensor};
use sparsec_runtime::{Runtime, RuntimeError, Session};
use std::ops::Range;

/// How to run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RunOptions {
    /// Samples a run, where the model does not fix that.
    pub(crate) batch: u64,
    /// Runs at a time; each has one thread.
    pub(crate) threads: usize,
}

/// The first output of `model` for every sample of `data`, first axis samples.
///
/// Batches do not depend on the number of threads, hence results neither.
pub(crate) fn first_output(
    runtime: &dyn Runtime,
    model: &Model,
    data: &Dataset,
    options: RunOptions,
    talk: Talk,
) -> Result<Tensor, CliError> {
    let output = *model.graph.outputs().first().ok_or(CliError::NoOutputs)?;
    let output = &model.graph.value(output).name;
    let ranges: Vec<Range<u64>> = data.batches(options.batch).collect();
    let len = |r: &Range<u64>| r.end - r.start;
    let load = |r: &Range<u64>| {
        let shapes: Vec<Vec<u64>> = data.batch(r.clone()).into_iter().map(|t| t.dims).collect();
        runtime.load(model, &shapes, 1)
    };
    // Only the last batch can be shorter than the first.
    let (Some(first), Some(last)) = (ranges.first(), ranges.last()) else { return Err(CliError::NoOutputs) };
    let whole = load(first)?;
    let tail = if len(last) == len(first) { None } else { Some(load(last)?) };
    let session = |r: &Range<u64>| -> &dyn Session {
        match &tail {
            Some(tail) if len(r) == len(last) => tail.as_ref(),
            _ => whole.as_ref(),
        }
    };
    let stage = Stage::new(talk, "running", data.samples());
    let one = |r: &Range<u64>| -> Result<Tensor, CliError> {
        let mut outputs = session(r).run(&data.batch(r.clone()))?;
        stage.advance(len(r));
        if outputs.is_empty() {
            return Err(CliError::NoOutputs);
        }
        let mut out = outputs.swap_remove(0);
        if data.is_stacked() {
            out.dims.insert(0, 1);
        }
        if out.dims.first() != Some(&len(r)) {
            return Err(CliError::OutputAxis { output: output.clone(), dims: out.dims, samples: len(r) });
        }
        Ok(out)
    };
    let threads = options.threads.max(1);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    let pool = pool.map_err(|e| RuntimeError::Threads { threads, why: e.to_string() })?;
    let mut parts = Vec::with_capacity(ranges.len());
    for chunk in ranges.chunks(threads) {
        interrupt::check()?;
        // Collected before errors are looked at, so that the error reported is the first in sample order.
        let done: Vec<Result<Tensor, CliError>> = pool.install(|| chunk.par_iter().map(one).collect());
        for part in done {
            parts.push(part?);
        }
    }
    join(output, parts)
}

fn join(output: &str, parts: Vec<Tensor>) -> Result<Tensor, CliError> {
    let mut dims = parts[0].dims.clone();
    dims[0] = 0;
    let mut bytes = Vec::new();
    for p in &parts {
        if p.dims[1..] != dims[1..] {
            return Err(CliError::OutputAxis { output: output.to_string(), dims: p.dims.clone(), samples: p.dims[0] });
        }
        dims[0] += p.dims[0];
        bytes.extend_from_slice(p.bytes().map_err(RuntimeError::from)?);
    }
    Ok(Tensor::raw(parts[0].elem, dims, bytes.into()).map_err(RuntimeError::from)?)
}
