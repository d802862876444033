//! Solves one linear map over the samples, batch by batch.

use super::equations::{Layout, Normal, Ridge, Solution, Sums, judged, solve_group};
use super::least_squares::{RecoverError, RecoverOptions, Skipped, windows};
use super::observations::{Part, Rows, pick};
use super::subject::Subject;
use crate::mask::{Units, masked};
use rayon::prelude::*;
use sparsec_calib::{CalibError, Linear};
use sparsec_ir::{Facts, Id, Model, NodeId, OpTable, TensorError};
use sparsec_linalg::Matrix;
use sparsec_plan::{Bits, MaskPlan};
use std::ops::Range;

/// Inputs and targets of a map, a few batches at a time.
pub(crate) struct Batches<'a> {
    /// Samples of each batch.
    pub(crate) samples: &'a [u64],
    /// How many batches of so many bytes to hold at a time.
    pub(crate) held: &'a dyn Fn(u64) -> usize,
    /// Parts of a range of batches, in order.
    pub(crate) parts: &'a mut dyn FnMut(Range<usize>) -> Result<Vec<Part<'a>>, RecoverError>,
}

/// Every eighth observation tells whether a solution holds beyond those that it was made from.
const HELD_OUT: usize = 8;

/// What became of a map that was solved.
pub(crate) struct Solved {
    /// Held-out error relative to the target's variance, before and after.
    pub(crate) error: (f64, f64),
    /// Which units of a masked weight stay.
    pub(crate) kept: Option<Bits>,
}

/// Solves the map of `node`, masked where there is a plan for it, and writes its weight and bias.
pub(crate) fn solve(
    (model, facts, table): (&mut Model, &Facts, &OpTable),
    (node, linear): (NodeId, &Linear),
    mask: Option<&MaskPlan>,
    batches: Batches,
    options: RecoverOptions,
) -> Result<Result<Solved, Skipped>, RecoverError> {
    let subject = Subject::of((model, facts, table), node, linear.clone())?;
    if let Some(why) = subject.refused(model) {
        return Ok(Err(why));
    }
    let observed = match observe(batches, &subject.layout, node, options)? {
        Ok(observed) => observed,
        Err(why) => return Ok(Err(why)),
    };
    let ridge = subject.ridge(options.ridge);
    let solved = match mask {
        None => free(&observed, &subject, ridge).map(|solutions| (solutions, None)),
        Some(plan) => on_support(&observed, &subject, ridge, plan),
    };
    let Some((solutions, kept)) = solved else { return Ok(Err(Skipped::Singular)) };
    let total = |f: fn(&Solution) -> f64| solutions.iter().map(f).sum::<f64>();
    let signal = total(|s| s.signal).max(f64::MIN_POSITIVE);
    let (before, after) = (total(|s| s.before) / signal, total(|s| s.after) / signal);
    // Zeros that were asked for cost something.
    if after.is_nan() || (after >= before && mask.is_none()) {
        return Ok(Err(Skipped::NoGain { before, after }));
    }
    match subject.write(model, &solutions.iter().map(|s| &s.map).collect::<Vec<_>>()) {
        Err(CalibError::Weight { source: TensorError::Range { .. }, .. }) => Ok(Err(Skipped::Range)),
        written => Ok(Ok(written.map(|()| Solved { error: (before, after), kept })?)),
    }
}

/// Solutions of all groups, which are independent: a depthwise convolution has hundreds of small ones.
fn free(observed: &Observed, subject: &Subject, ridge: Ridge) -> Option<Vec<Solution>> {
    let groups = (0..observed.sums.len()).into_par_iter();
    groups.map(|g| solve_group(&observed.sums[g], &observed.held[g], &subject.map(g), ridge)).collect()
}

/// Solutions of all groups with the zeros of a plan, and which units stay.
fn on_support(
    observed: &Observed,
    subject: &Subject,
    ridge: Ridge,
    plan: &MaskPlan,
) -> Option<(Vec<Solution>, Option<Bits>)> {
    let units = Units::of(&subject.layout, plan.pattern).ok()?;
    let equations = observed.equations(subject, ridge);
    let (weights, kept) = masked(&equations, &units, plan)?;
    let judged = |(g, weight): (usize, Matrix)| {
        judged(equations[g].completed(weight, &subject.map(g), ridge), &observed.held[g], &subject.map(g))
    };
    let solutions = weights.into_par_iter().enumerate().map(judged).collect();
    Some((solutions, Some(Bits::new(kept))))
}

/// Sums and held-out rows of each group.
pub(crate) struct Observed {
    sums: Vec<Sums>,
    held: Vec<Rows>,
    /// Observations in the sums.
    used: usize,
}

impl Observed {
    /// Equations of all groups.
    pub(crate) fn equations(&self, subject: &Subject, ridge: Ridge) -> Vec<Normal> {
        let groups = (0..self.sums.len()).into_par_iter();
        groups.map(|g| Normal::of(&self.sums[g], &subject.map(g), ridge)).collect()
    }
}

/// Streams the batches: a batch is summed up and dropped. Observations are drawn from all of them, as many as the work
/// allows; or it is said why the map cannot be solved.
pub(crate) fn observe(
    batches: Batches,
    layout: &Layout,
    node: NodeId,
    options: RecoverOptions,
) -> Result<Result<Observed, Skipped>, RecoverError> {
    let (width, targets) = (layout.width(), layout.per_group * layout.spread);
    let (memory, seed) = (options.memory, node.index() as u64);
    let bytes = 8 * (width as u64 * (width + targets) as u64) * layout.groups as u64;
    // The sums, those of the batch at work, the equations and their factor.
    if bytes.saturating_mul(4) > memory {
        return Ok(Err(Skipped::TooLarge { unknowns: width, bytes: bytes.saturating_mul(4) }));
    }
    let wanted = options.work / (width as f64).powi(2).max(1.0) / layout.groups as f64;
    let wanted = (wanted as usize).max(32 * width);
    let sizes = (width, targets);
    let empty = || Rows { count: 0, width, targets, x: Vec::new(), y: Vec::new() };
    let mut out = Observed {
        sums: (0..layout.groups).map(|_| Sums::zeros(width, targets)).collect(),
        held: (0..layout.groups).map(|_| empty()).collect(),
        used: 0,
    };
    let first = (batches.parts)(0..1)?;
    let (count, of) = (first.first().map_or(0, Part::count), batches.samples.first().copied().unwrap_or(1).max(1));
    // Batches of fewer samples have proportionally fewer observations.
    let mut starts = vec![0usize];
    for samples in batches.samples {
        starts.push(starts[starts.len() - 1] + (count as u64 * samples / of) as usize);
    }
    let picked = pick(starts[starts.len() - 1], wanted, seed);
    let rows = memory / 8 / (4 * (width + targets) * layout.groups).max(1) as u64;
    let every = HELD_OUT.max(picked.len().div_ceil(rows.max(1) as usize));

    let held = (batches.held)(first.iter().map(Part::bytes).sum::<u64>() + bytes).max(1);
    let mut first = Some(first);
    for range in windows(batches.samples.len(), held) {
        let parts = match first.take() {
            Some(first) => first,
            None => (batches.parts)(range.clone())?,
        };
        let summed: Vec<Vec<(Sums, Rows)>> = parts
            .par_iter()
            .zip(range.clone())
            .map(|(part, batch)| {
                let (from, to) = (starts[batch], starts[batch + 1].min(starts[batch] + part.count()));
                let place = |start: usize| picked.partition_point(|p| *p < start);
                let own = place(from)..place(to);
                let (mut used, mut test) = (Vec::new(), Vec::new());
                for (i, p) in own.clone().zip(&picked[own]) {
                    if i % every == every - 1 { &mut test } else { &mut used }.push(p - from);
                }
                let group = |g: usize| (Sums::of(part, g, &used, sizes), part.rows(g, &test));
                (0..layout.groups).into_par_iter().map(group).collect()
            })
            .collect();
        // Added in the order of batches, so that results do not depend on how many are held or on threads.
        for groups in summed {
            for ((sums, rows), (total, all)) in groups.into_iter().zip(out.sums.iter_mut().zip(&mut out.held)) {
                total.add(&sums);
                all.append(rows);
            }
        }
    }
    out.used = out.sums.first().map_or(0, Sums::count);
    let too_few = Skipped::TooFew { observations: out.used, unknowns: width };
    Ok(if out.used < width { Err(too_few) } else { Ok(out) })
}
