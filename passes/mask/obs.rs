//! Makes part of a weight zero, and re-solves what is left of it on its support.
//!
//! ```text
//! y = W x + b     W, b ← argmin Σ ‖W x_p + b − y_d‖² + λ‖W − W₀‖²  over all W with zeros in the pattern, as many as planned
//! ```
//!
//! ```onnx before
//! g (float[n,2] x) => (float[n,1] y)
//! <float[2,3] w = {1.0, 0.0, 1.0, 0.0, 1.0, 1.0}, float[3,1] v = {1.0, 1.0, 1.0}>
//! { h = MatMul (x, w)  y = MatMul (h, v) }
//! ```
//! ```onnx after
//! g (float[n,2] x) => (float[n,1] y)
//! <float[2,3] w = {1.0, 0.0, 1.0, 0.0, 1.0, 1.0}, float[3,1] v = {0.0, 0.0, 2.0}>
//! { h = MatMul (x, w)  y = MatMul (h, v) }
//! ```
//! (`v` under `1x1` with a third left: the third unit is the sum of the others and now does their work; with λ → 0)
//!
//! A step of recovery: x_p is what the smaller model, masked up to here, feeds the node, y_d what the dense model's node
//! gave, so that later weights make up for what earlier ones lost. The zeros are those of `sparsec_linalg::trace`: every
//! block of outputs is traced by itself, from dense to nothing, and the units of all traces that add least go. Under
//! N of M every trace goes as far as the pattern demands. What is left is solved anew, once, on its support.
//!
//! Where tracing all unknowns at once would take too long, they are decided in stripes, each with the same share, and
//! those that are still free follow (see `sparsec_linalg::Inverse::fix`).
//!
//! Needs: what recovery needs. Keeps: shapes, and everything but the values of constants; a missing bias is added.
//! Numbers: sums of singles, then doubles. Leaves alone, with the reason: what recovery leaves alone, and weights that the
//! pattern does not fit.
//! Source: see `crates/linalg/src/mask.rs`; on the pruned model's own inputs, `He et al. 2017` as for recovery.

use super::units::Units;
use crate::recover::Normal;
use rayon::prelude::*;
use sparsec_linalg::{Inverse, Matrix, Quota, Trace, merge, solve_spd, trace, without};
use sparsec_plan::MaskPlan;
use std::ops::Range;

/// Multiplications that the traces of one weight may cost.
const WORK: f64 = 2e10;
/// Unknowns of a stripe, at least.
const STRIPE: usize = 96;
/// Shares at which the error of a mask is told, beside all and none.
const POINTS: usize = 32;

/// Which units stay, and what others would cost.
pub(crate) struct Choice {
    pub(crate) kept: Vec<bool>,
    /// Share that stays, falling from 1, and what the zeros add to the mean square of the result.
    pub(crate) curve: Vec<(f64, f64)>,
    /// The latter at the share that was asked for.
    pub(crate) error: f64,
    /// Mean square of what the dense weights give.
    pub(crate) explained: f64,
}

/// The weights of all groups with the zeros of a plan, solved on what stays, and which units do. `None` where the equations
/// have no finite solution.
pub(crate) fn masked(
    equations: &[Normal],
    units: &Units,
    plan: &MaskPlan,
    worth: Option<&[Vec<f64>]>,
) -> Option<(Vec<Matrix>, Vec<bool>)> {
    let kept = match &plan.kept {
        Some(bits) => bits.flags()[..units.count()].to_vec(),
        None => choose(equations, units, plan.density, WORK, worth)?.kept,
    };
    Some((solved(equations, units, &kept)?, kept))
}

/// The weights of all groups, solved on the units that stay.
pub(crate) fn solved(equations: &[Normal], units: &Units, kept: &[bool]) -> Option<Vec<Matrix>> {
    equations.iter().enumerate().map(|(g, e)| solved_on(e, units, g, kept)).collect()
}

/// Multiplications that solving all groups on the units that stay takes.
pub(crate) fn work_of(units: &Units, kept: &[bool]) -> f64 {
    let left = |own: &[bool]| own.iter().filter(|k| **k).count() as f64;
    kept.chunks(units.width.max(1)).map(|own| left(own).powi(3) / 3.0).sum()
}

/// The solution of a group among the weights that are zero where no unit stays.
pub(crate) fn solved_on(equations: &Normal, units: &Units, group: usize, kept: &[bool]) -> Option<Matrix> {
    let solve = |b: usize| {
        let (columns, own) = (&units.blocks[b], &kept[units.of_block(group, b)]);
        let support: Vec<usize> = (0..units.width).filter(|row| own[*row]).collect();
        let gram = equations.gram.select(&support, &support);
        Some((columns, solve_spd(&gram, &equations.cross.select(&support, columns))?, support))
    };
    let solved: Option<Vec<_>> = (0..units.blocks.len()).into_par_iter().map(solve).collect();
    let mut out = Matrix::zeros(units.width, equations.cross.cols());
    for (columns, weight, support) in solved? {
        for (r, row) in support.iter().enumerate() {
            columns.iter().enumerate().for_each(|(c, column)| out.set(*row, *column, weight.get(r, c)));
        }
    }
    Some(out)
}

/// Which units stay at a share, with traces of `work` multiplications. `None` where a Gram matrix has no inverse.
pub(crate) fn choose(
    equations: &[Normal],
    units: &Units,
    density: f64,
    work: f64,
    worth: Option<&[Vec<f64>]>,
) -> Option<Choice> {
    let mut inverses = equations.par_iter().map(|e| Inverse::of(&e.gram)).collect::<Option<Vec<_>>>()?;
    let mut weights: Vec<Matrix> = inverses.par_iter().zip(equations).map(|(p, e)| p.times(&e.cross)).collect();
    for (w, worth) in weights.iter_mut().zip(worth.unwrap_or_default()) {
        for row in w.data_mut().chunks_mut(worth.len().max(1)) {
            row.iter_mut().zip(worth).for_each(|(w, m)| *w *= m.sqrt());
        }
    }
    let dot = |(w, e): (&Matrix, &Normal)| w.data().iter().zip(e.cross.data()).map(|(w, c)| w * c).sum::<f64>();
    let explained = weights.iter().zip(equations).map(dot).sum();
    let mut kept = vec![true; units.count()];
    let leave = units.count() - units.stay(density);
    let mut curve = Curve::default();
    let (mut gone, mut seen, mut error) = (0, 0, 0.0);
    for stripe in stripes(units, work) {
        let (start, s) = (stripe.start, stripe.len());
        let traces = traces(&inverses, &weights, units, &stripe);
        seen += traces.len() * s;
        // The same share in every stripe, and in all together what was asked for.
        let own = if units.runs.is_some() { usize::MAX } else { leave * seen / units.count() - gone };
        let (counts, rises) = merge(&traces, own);
        error += rises.iter().sum::<f64>();
        gone += counts.iter().sum::<usize>();
        curve.add(&traces, units);
        for (at, (trace, count)) in traces.iter().zip(&counts).enumerate() {
            let own = units.of_block(at / units.blocks.len(), at % units.blocks.len());
            trace.order[..*count].iter().for_each(|row| kept[own.start + start + row] = false);
        }
        if stripe.end < units.width {
            let moved = |(g, (p, w)): (usize, (&mut Inverse, &mut Matrix))| {
                *w = follow(
                    p,
                    w,
                    s,
                    |b| {
                        let own = &kept[units.of_block(g, b)][stripe.clone()];
                        (0..s).filter(|row| !own[*row]).collect()
                    },
                    units,
                )?;
                Some(())
            };
            inverses.par_iter_mut().zip(&mut weights).enumerate().map(moved).collect::<Option<Vec<()>>>()?;
        }
    }
    Some(Choice { kept, curve: curve.points(units), error, explained })
}

/// Unknowns that are decided together: all, if there is time for it.
fn stripes(units: &Units, work: f64) -> Vec<Range<usize>> {
    let traces = (units.groups * units.blocks.len()) as f64;
    let whole = traces * (units.width as f64).powi(3) / 3.0 <= work;
    let most = (3.0 * work / (traces * units.width as f64)).sqrt() as usize;
    let size = if whole { units.width } else { most.max(STRIPE).next_multiple_of(units.grain) };
    (0..units.width).step_by(size.max(1)).map(|from| from..(from + size).min(units.width)).collect()
}

/// Traces of the first free unknowns, group by group and block by block.
fn traces(inverses: &[Inverse], weights: &[Matrix], units: &Units, stripe: &Range<usize>) -> Vec<Trace> {
    let first: Vec<usize> = (0..stripe.len()).collect();
    let all: Vec<(usize, &Vec<usize>)> =
        (0..units.groups).flat_map(|g| units.blocks.iter().map(move |columns| (g, columns))).collect();
    // Runs are counted from the stripe's own first one.
    let runs = units.runs.as_ref().map(|(class, stay)| {
        let from = class[stripe.clone()].iter().min().copied().unwrap_or(0);
        (class[stripe.clone()].iter().map(|c| c - from).collect::<Vec<usize>>(), *stay)
    });
    let one = |(g, columns): &(usize, &Vec<usize>)| {
        let quota = runs.as_ref().map(|(class, stay)| Quota { class, stay: *stay });
        trace(inverses[*g].first(stripe.len()), &weights[*g].select(&first, columns), quota)
    };
    all.par_iter().map(one).collect()
}

/// The weights behind the first `s` unknowns, once those of these that `gone` tells for each block are zero.
fn follow(
    p: &mut Inverse,
    weight: &Matrix,
    s: usize,
    gone: impl Fn(usize) -> Vec<usize>,
    units: &Units,
) -> Option<Matrix> {
    let head = p.first(s);
    let (first, rest): (Vec<usize>, Vec<usize>) = (0..weight.rows()).partition(|row| *row < s);
    let all: Vec<usize> = (0..weight.cols()).collect();
    let mut moved = Matrix::zeros(s, weight.cols());
    for (b, columns) in units.blocks.iter().enumerate() {
        let change = without(&head, &weight.select(&first, columns), &gone(b))?;
        for row in 0..s {
            columns.iter().enumerate().for_each(|(c, column)| moved.set(row, *column, change.get(row, c)));
        }
    }
    let mut out = weight.select(&rest, &all);
    out.add_scaled(&p.fix(&moved)?, 1.0);
    Some(out)
}

/// What zeros add to the error, summed over stripes.
#[derive(Default)]
struct Curve {
    /// Under N of M, the whole; else at `POINTS` shares.
    errors: Vec<f64>,
}

impl Curve {
    fn add(&mut self, traces: &[Trace], units: &Units) {
        let all: usize = traces.iter().map(|t| t.order.len()).sum();
        let (_, rises) = merge(traces, all);
        let steps = if units.runs.is_some() { 1 } else { POINTS };
        self.errors.resize(steps, 0.0);
        for (i, error) in self.errors.iter_mut().enumerate() {
            *error += rises[..all * (i + 1) / steps].iter().sum::<f64>();
        }
    }
    /// Share that stays, falling from 1; nothing is never left.
    fn points(&self, units: &Units) -> Vec<(f64, f64)> {
        let share = |i: usize| units.pattern.share().unwrap_or(1.0 - (i + 1) as f64 / POINTS as f64);
        let points = self.errors.iter().enumerate().map(|(i, e)| (share(i), *e));
        std::iter::once((1.0, 0.0)).chain(points.filter(|p| p.0 > 0.0)).collect()
    }
}
