//! Carrying out a decision.

use super::memory::{bound, first};
use super::verify::{RESOLVED, changed_weights};
use super::{DriveError, Observer, Prepared, Samples, compare};
use sparsec_analysis::{Removal, infer};
use sparsec_ir::{Model, ValueId};
use sparsec_passes::mask::{Places, places, zeroed};
use sparsec_passes::recover::{RecoverOptions, Recovered, Recovery, recover};
use sparsec_passes::remove::{mask, remove};
use sparsec_plan::MaskPlan;
use sparsec_runtime::{Runtime, batches_of_parts};
use std::sync::atomic::{AtomicUsize, Ordering};

/// A model with channels removed.
pub struct Cut {
    /// The model.
    pub model: Model,
    /// What became of each node whose weights were re-solved; empty where none were.
    pub recovered: Vec<Recovered>,
    /// Masks of its weights, with what stays of each.
    pub masks: Vec<MaskPlan>,
}

/// Removes channels and nothing else: the result equals the masked model. Then zeros what `masks` take away, which must
/// say what that is.
pub fn cut(dense: &Prepared, removal: &Removal, masks: &[MaskPlan]) -> Result<Cut, DriveError> {
    let mut model = remove(&dense.model, &dense.facts, &dense.table, &dense.channels, removal)?;
    // Of an earlier cut, which gave the model that this one starts from.
    model.meta.retain(|(key, _)| key != RESOLVED);
    if !masks.is_empty() {
        let facts = infer(&model, &dense.table).facts;
        zeroed(&mut model, &facts, &dense.table, masks)?;
        tell_resolved(dense, &mut model, removal)?;
    }
    Ok(Cut { model, recovered: Vec::new(), masks: masks.to_vec() })
}

/// Samples on which a removal is compared with the masked model.
const COMPARED: u64 = 2;

/// Removes channels, masks weights and re-solves what is left on the samples. The removal is checked against the masked
/// model before: were the two to differ, recovery would only hide it. What stays of a weight whose mask does not say so
/// is chosen on the way.
pub fn cut_and_recover(
    dense: &Prepared,
    removal: &Removal,
    masks: &[MaskPlan],
    runtime: &dyn Runtime,
    samples: &Samples,
    watch: &dyn Observer,
) -> Result<Cut, DriveError> {
    let mut out = cut(dense, removal, &[])?;
    if !removal.changes_nothing() {
        check(dense, &out.model, removal, runtime, samples)?;
    }
    if removal.changes_nothing() && masks.is_empty() {
        return Ok(out);
    }
    let facts = infer(&out.model, &dense.table).facts;
    let places = places((&out.model, &facts, &dense.table), masks)?;
    let stored: Vec<MaskPlan> = masks.iter().filter(|m| m.kept.is_some()).cloned().collect();
    zeroed(&mut out.model, &facts, &dense.table, &stored)?;
    let kept = |v: ValueId, axis: usize| dense.channels.kept_of(v, axis, removal);
    let against = (&dense.model, &kept as Kept, &places);
    let solved = |cx: &Recovery| Ok(recover(cx, &mut out.model)?);
    out.recovered = with_recovery(dense, against, (runtime, samples), (watch, "recover"), solved)?;
    tell_resolved(dense, &mut out.model, removal)?;
    // A weight that could not be solved has the mask that the plan gives it, or none.
    let solved = |m: &MaskPlan| out.recovered.iter().find_map(|r| r.mask.clone().filter(|s| s.weight == m.weight));
    out.masks = masks.iter().filter_map(|m| solved(m).or_else(|| m.kept.is_some().then(|| m.clone()))).collect();
    Ok(out)
}

/// Says in the model which weights are no longer the dense model's.
fn tell_resolved(dense: &Prepared, model: &mut Model, removal: &Removal) -> Result<(), DriveError> {
    let resolved = changed_weights(dense, model, removal)?;
    if !resolved.is_empty() {
        model.meta.push((RESOLVED.to_string(), resolved.join("\n")));
    }
    Ok(())
}

/// Compares a cut model with the masked one.
fn check(
    dense: &Prepared,
    cut: &Model,
    removal: &Removal,
    runtime: &dyn Runtime,
    samples: &Samples,
) -> Result<(), DriveError> {
    let masked = mask(&dense.model, &dense.facts, &dense.channels, removal)?;
    let few = batches_of_parts(&dense.model, &first(&samples.parts, COMPARED), COMPARED as usize)?;
    for inputs in &few {
        let found = compare(&masked, cut, runtime, inputs)?;
        if !found.equal() {
            let (max_abs_error, max_rel_error) = (found.max_abs_error, found.max_rel_error);
            return Err(DriveError::Unequal { max_abs_error, max_rel_error });
        }
    }
    Ok(())
}

/// Indices that are left of an axis of a value; `None` where all are.
type Kept<'a> = &'a dyn Fn(ValueId, usize) -> Option<Vec<u32>>;

/// Does what recovery does, on the samples: against a model, what is kept of it, and with masks.
fn with_recovery<T>(
    prepared: &Prepared,
    (dense, kept, masks): (&Model, Kept, &Places),
    (runtime, samples): (&dyn Runtime, &Samples),
    (watch, stage): (&dyn Observer, &'static str),
    work: impl FnOnce(&Recovery) -> Result<T, DriveError>,
) -> Result<T, DriveError> {
    let (progress, options) = (progress(watch, stage), options(prepared, samples)?);
    let (table, threads, progress) = (&prepared.table, samples.threads, &progress);
    let samples = &samples.parts;
    work(&Recovery { dense, kept, masks, table, runtime, samples, threads, options, progress })
}

/// The same of a model against itself, of which nothing is cut or masked.
pub(super) fn on_itself<T>(
    prepared: &Prepared,
    model: &Model,
    with: (&dyn Runtime, &Samples),
    stage: (&dyn Observer, &'static str),
    work: impl FnOnce(&Recovery) -> Result<T, DriveError>,
) -> Result<T, DriveError> {
    with_recovery(prepared, (model, &|_, _| None, &Places::new()), with, stage, work)
}

/// How to recover on the samples.
fn options(dense: &Prepared, samples: &Samples) -> Result<RecoverOptions, DriveError> {
    let batch = samples.batch(&dense.model, &bound(dense, samples)?);
    Ok(RecoverOptions { batch, memory: samples.memory, ..RecoverOptions::default() })
}

/// Tells `watch` of a stage of so many steps when it begins, and of every step; asks it whether to stop.
fn progress<'a>(watch: &'a dyn Observer, stage: &'static str) -> impl Fn(usize, usize) -> bool + 'a {
    let seen = AtomicUsize::new(usize::MAX);
    move |done, of| {
        if seen.swap(done, Ordering::Relaxed) == usize::MAX {
            watch.stage(stage, of as u64);
        } else {
            watch.done(1);
        }
        watch.interrupted()
    }
}
