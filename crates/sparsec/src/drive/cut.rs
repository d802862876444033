//! Carrying out a decision.

use super::memory::{bound, first};
use super::verify::{RESOLVED, changed_weights};
use super::{DriveError, Observer, Prepared, Samples, compare};
use sparsec_analysis::Removal;
use sparsec_ir::Model;
use sparsec_passes::recover::{RecoverOptions, Recovered, Recovery, recover};
use sparsec_passes::remove::{mask, remove};
use sparsec_runtime::{Runtime, batches_of_parts};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model with channels removed.
pub struct Cut {
    /// The model.
    pub model: Model,
    /// What became of each node whose weights were re-solved; empty where none were.
    pub recovered: Vec<Recovered>,
}

/// Removes channels and nothing else: the result equals the masked model.
pub fn cut(dense: &Prepared, removal: &Removal) -> Result<Cut, DriveError> {
    let mut model = remove(&dense.model, &dense.facts, &dense.table, &dense.channels, removal)?;
    // Of an earlier cut, which gave the model that this one starts from.
    model.meta.retain(|(key, _)| key != RESOLVED);
    Ok(Cut { model, recovered: Vec::new() })
}

/// Samples on which a removal is compared with the masked model.
const COMPARED: u64 = 2;

/// Removes channels and re-solves the weights that are left on the samples. The removal is checked against the masked
/// model before: were the two to differ, recovery would only hide it.
pub fn cut_and_recover(
    dense: &Prepared,
    removal: &Removal,
    runtime: &dyn Runtime,
    samples: &Samples,
    watch: &dyn Observer,
) -> Result<Cut, DriveError> {
    let mut out = cut(dense, removal)?;
    if removal.is_empty() {
        return Ok(out);
    }
    let masked = mask(&dense.model, &dense.facts, &dense.channels, removal)?;
    let few = batches_of_parts(&dense.model, &first(&samples.parts, COMPARED), COMPARED as usize)?;
    for inputs in &few {
        let found = compare(&masked, &out.model, runtime, inputs)?;
        if !found.equal() {
            let (max_abs_error, max_rel_error) = (found.max_abs_error, found.max_rel_error);
            return Err(DriveError::Unequal { max_abs_error, max_rel_error });
        }
    }
    let facts = bound(dense, samples)?;
    let batch = samples.batch(&dense.model, &facts);
    let seen = AtomicUsize::new(usize::MAX);
    let progress = |done: usize, of: usize| {
        if seen.swap(done, Ordering::Relaxed) == usize::MAX {
            watch.stage("recover", of as u64);
        } else {
            watch.done(1);
        }
        watch.interrupted()
    };
    let cx = Recovery {
        dense: &dense.model,
        kept: &|v, axis| dense.channels.kept_of(v, axis, removal),
        table: &dense.table,
        runtime,
        samples: &samples.parts,
        threads: samples.threads,
        options: RecoverOptions { batch, memory: samples.memory, ..RecoverOptions::default() },
        progress: &progress,
    };
    out.recovered = recover(&cx, &mut out.model)?;
    let resolved = changed_weights(dense, &out.model, removal)?;
    if !resolved.is_empty() {
        out.model.meta.push((RESOLVED.to_string(), resolved.join("\n")));
    }
    Ok(out)
}
