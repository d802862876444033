//! Carrying out a decision.

use super::{DriveError, Observer, Prepared, Samples};
use sparsec_analysis::Removal;
use sparsec_ir::Model;
use sparsec_passes::recover::{RecoverOptions, Recovered, Recovery, recover};
use sparsec_passes::remove::remove;
use sparsec_runtime::Runtime;
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
    let model = remove(&dense.model, &dense.facts, &dense.table, &dense.channels, removal)?;
    Ok(Cut { model, recovered: Vec::new() })
}

/// Removes channels and re-solves the weights that are left on the samples.
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
        inputs: samples.inputs,
        threads: samples.threads,
        options: RecoverOptions::default(),
        progress: &progress,
    };
    out.recovered = recover(&cx, &mut out.model)?;
    Ok(out)
}
