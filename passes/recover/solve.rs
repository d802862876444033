//! Solves one linear map over the samples, batch by batch.

use super::bend::Bend;
use super::equations::{Layout, Map, Normal, Ridge, Solution, Sums, judged, solve_group};
use super::least_squares::{RecoverError, RecoverOptions, Recovery, Skipped, windows};
use super::observations::{Part, Rows, pick};
use super::refine::{Seen, TURNS, refine};
use super::subject::Subject;
use crate::mask::{Units, masked, solved_on, work_of};
use rayon::prelude::*;
use sparsec_calib::{CalibError, Linear};
use sparsec_ir::{Facts, Id, Model, NodeId, TensorError, ValueId};
use sparsec_linalg::{Matrix, solve_spd};
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

/// Solves the map of `node`, masked where there is a plan for it, and writes its weight and bias. Its result is read as
/// `read`, where that is known.
pub(crate) fn solve(
    cx: &Recovery,
    (model, facts): (&mut Model, &Facts),
    (node, linear, read): (NodeId, &Linear, Option<ValueId>),
    batches: Batches,
) -> Result<Result<Solved, Skipped>, RecoverError> {
    let options = cx.options;
    let subject = Subject::of((model, facts, cx.table), node, linear.clone())?;
    if let Some(why) = subject.refused(model) {
        return Ok(Err(why));
    }
    let observed = match observe(batches, &subject.layout, node, options, read.is_some())? {
        Ok(observed) => observed,
        Err(why) => return Ok(Err(why)),
    };
    let bend = match read {
        Some(read) => Bend::of(cx, (model, facts), read, observed.most())?,
        None => None,
    };
    let ridge = subject.ridge(options.ridge);
    let solved = match cx.masks.get(&subject.value) {
        None => free(&observed, &subject, ridge, bend.as_ref()).map(|solutions| (solutions, None)),
        Some(plan) => on_support(&observed, &subject, ridge, plan, bend.as_ref()),
    };
    let Some((solutions, kept)) = solved else { return Ok(Err(Skipped::Singular)) };
    let total = |f: fn(&Solution) -> f64| solutions.iter().map(f).sum::<f64>();
    let signal = total(|s| s.signal).max(f64::MIN_POSITIVE);
    let (before, after) = (total(|s| s.before) / signal, total(|s| s.after) / signal);
    // Zeros that were asked for cost something.
    if after.is_nan() || (after >= before && kept.is_none()) {
        return Ok(Err(Skipped::NoGain { before, after }));
    }
    match subject.write(model, &solutions.iter().map(|s| &s.map).collect::<Vec<_>>()) {
        Err(CalibError::Weight { source: TensorError::Range { .. }, .. }) => Ok(Err(Skipped::Range)),
        written => Ok(Ok(written.map(|()| Solved { error: (before, after), kept })?)),
    }
}

/// Solutions of all groups, which are independent: a depthwise convolution has hundreds of small ones.
fn free(observed: &Observed, subject: &Subject, ridge: Ridge, bend: Option<&Bend>) -> Option<Vec<Solution>> {
    let one = |g: usize| {
        let (old, held) = (subject.map(g), &observed.held[g]);
        let map = solve_group(&observed.sums[g], &old, ridge)?;
        let solve = |e: &Normal| solve_spd(&e.gram, &e.cross);
        Some(judged(observed.refined(g, (map, &old), ridge, bend, &solve), held, &old, bend))
    };
    (0..observed.sums.len()).into_par_iter().map(one).collect()
}

/// Multiplications that solving a masked weight anew for what it is read through may cost.
const WORK: f64 = 2e11;

/// Solutions of all groups with the zeros of a plan, and which units stay.
fn on_support(
    observed: &Observed,
    subject: &Subject,
    ridge: Ridge,
    plan: &MaskPlan,
    bend: Option<&Bend>,
) -> Option<(Vec<Solution>, Option<Bits>)> {
    let units = Units::of(&subject.layout, plan.pattern).ok()?;
    let equations = observed.equations(subject, ridge);
    let weights = bend.map(|bend| (0..units.groups).map(|g| observed.slopes(g, bend)).collect::<Vec<_>>());
    let (weights, kept) = masked(&equations, &units, plan, weights.as_deref())?;
    let bend = bend.filter(|_| TURNS as f64 * work_of(&units, &kept) <= WORK);
    let one = |(g, weight): (usize, Matrix)| {
        let (old, held) = (subject.map(g), &observed.held[g]);
        let map = equations[g].completed(weight, &old, ridge);
        let solve = |e: &Normal| solved_on(e, &units, g, &kept);
        judged(observed.refined(g, (map, &old), ridge, bend, &solve), held, &old, bend)
    };
    let solutions = weights.into_par_iter().enumerate().map(one).collect();
    Some((solutions, Some(Bits::new(kept))))
}

/// Sums and held-out rows of each group.
pub(crate) struct Observed {
    sums: Vec<Sums>,
    held: Vec<Rows>,
    /// Rows of the observations in the sums, as many as there is room for; none where they are not asked for.
    rows: Vec<Rows>,
    /// Observations in the sums.
    used: usize,
}

impl Observed {
    /// The largest number that is read of a result.
    fn most(&self) -> f32 {
        let row = |r: &Rows| {
            let shift = r.shift.iter().copied().chain(std::iter::repeat(0.0));
            r.y.iter().zip(shift).fold(0.0f32, |m, (y, s)| m.max((y + s).abs()))
        };
        self.rows.iter().map(row).fold(0.0, f32::max)
    }
    /// For each target of a group, the mean square of the slope at which it is read.
    fn slopes(&self, group: usize, bend: &Bend) -> Vec<f64> {
        let rows = &self.rows[group];
        let mut out = vec![0.0; rows.targets];
        for (at, y) in rows.y.iter().enumerate() {
            let shift = rows.shift.get(at).copied().unwrap_or(0.0);
            out[at % rows.targets] += bend.slope(y + shift).powi(2) / rows.count as f64;
        }
        out
    }
    /// A group's map improved for what it is read through.
    fn refined(
        &self,
        group: usize,
        (map, old): (Map, &Map),
        ridge: Ridge,
        bend: Option<&Bend>,
        solve: &dyn Fn(&Normal) -> Option<Matrix>,
    ) -> Map {
        let seen = Seen { used: &self.rows[group], held: &self.held[group] };
        match bend {
            Some(bend) if seen.used.count > 2 * seen.used.width => {
                refine((map, old), (&self.sums[group], ridge), &seen, bend, solve)
            }
            _ => map,
        }
    }
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
    rows: bool,
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
    let none = || (0..layout.groups).map(|_| Rows::none(sizes)).collect();
    let mut out = Observed {
        sums: (0..layout.groups).map(|_| Sums::zeros(width, targets)).collect(),
        held: none(),
        rows: none(),
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
    let room = (memory / 8 / (4 * (width + 2 * targets) * layout.groups).max(1) as u64).max(1) as usize;
    let every = HELD_OUT.max(picked.len().div_ceil(room));
    let kept_every = if rows { picked.len().div_ceil(room) } else { usize::MAX };

    let held = (batches.held)(first.iter().map(Part::bytes).sum::<u64>() + bytes).max(1);
    let mut first = Some(first);
    for range in windows(batches.samples.len(), held) {
        let parts = match first.take() {
            Some(first) => first,
            None => (batches.parts)(range.clone())?,
        };
        let summed: Vec<Vec<(Sums, Rows, Rows)>> = parts
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
                let some: Vec<usize> =
                    if rows { used.iter().step_by(kept_every).copied().collect() } else { Vec::new() };
                let group = |g: usize| (Sums::of(part, g, &used, sizes), part.rows(g, &test), part.rows(g, &some));
                (0..layout.groups).into_par_iter().map(group).collect()
            })
            .collect();
        // Added in the order of batches, so that results do not depend on how many are held or on threads.
        for groups in summed {
            for (g, (sums, held, rows)) in groups.into_iter().enumerate() {
                out.sums[g].add(&sums);
                out.held[g].append(held);
                out.rows[g].append(rows);
            }
        }
    }
    out.used = out.sums.first().map_or(0, Sums::count);
    let too_few = Skipped::TooFew { observations: out.used, unknowns: width };
    Ok(if out.used < width { Err(too_few) } else { Ok(out) })
}
