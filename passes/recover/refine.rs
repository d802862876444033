//! Turns of least squares to targets that only matter as far as they are read: see `bend.rs`.

use super::bend::Bend;
use super::equations::{Map, Normal, Ridge, Sums};
use super::observations::Rows;
use rayon::prelude::*;
use sparsec_linalg::{Matrix, apply};

/// Turns, at most.
pub(crate) const TURNS: usize = 16;
/// Rows at a time.
const CHUNK: usize = 2048;
/// Part of the error by which a turn must lower it to be followed by another.
const GAIN: f64 = 2e-3;

/// Observations of one group: those that were summed up, or a part of them, and those held out.
pub(crate) struct Seen<'a> {
    pub(crate) used: &'a Rows,
    pub(crate) held: &'a Rows,
}

/// Improves a map whose result is read through `bend`; `solve` gives the weight that equations have, on the map's support.
/// Ends when the error behind the function no longer falls on the rows held out.
pub(crate) fn refine(
    (mut map, old): (Map, &Map),
    (sums, ridge): (&Sums, Ridge),
    seen: &Seen,
    bend: &Bend,
    solve: &dyn Fn(&Normal) -> Option<Matrix>,
) -> Map {
    let mut error = behind(seen.held, &map, bend);
    let mut equations = Normal::of(sums, old, ridge);
    for _ in 0..TURNS {
        equations.aim(&map, misses(seen.used, &map, bend), old, ridge);
        let Some(weight) = solve(&equations) else { break };
        let next = equations.completed(weight, old, ridge);
        let now = behind(seen.held, &next, bend);
        if now.is_nan() || now >= error {
            break;
        }
        let enough = now > (1.0 - GAIN) * error;
        (map, error) = (next, now);
        if enough {
            break;
        }
    }
    map
}

/// How far the aims lie from what the map gives: covariance with the inputs (uncentred: mean product) and mean.
fn misses(rows: &Rows, map: &Map, bend: &Bend) -> (Matrix, Vec<f64>) {
    let (width, targets) = (rows.width, rows.targets);
    let parts: Vec<(Matrix, Vec<f64>)> = chunks(rows)
        .map(|(x, y, shift)| {
            let mut miss = apply(x, &map.weight, &map.bias);
            for (at, (u, y)) in miss.iter_mut().zip(y).enumerate() {
                let shift = shift.get(at).copied().unwrap_or(0.0);
                *u = bend.aim(*u + shift, y + shift) - (*u + shift);
            }
            let (mut cross, mut sum) = (Matrix::zeros(width, targets), vec![0.0; targets]);
            sparsec_linalg::add_cross(&mut cross, x, &miss, y.len() / targets.max(1));
            for row in miss.chunks(targets.max(1)) {
                row.iter().zip(&mut sum).for_each(|(v, s)| *s += f64::from(*v));
            }
            (cross, sum)
        })
        .collect();
    let n = rows.count.max(1) as f64;
    let (mut cross, mut mean) = (Matrix::zeros(width, targets), vec![0.0; targets]);
    // Added in the order of rows, so that results do not depend on threads.
    for (c, s) in parts {
        cross.add_scaled(&c, 1.0 / n);
        s.iter().zip(&mut mean).for_each(|(s, m)| *m += s / n);
    }
    (cross, mean)
}

/// Mean of (f(u) − f(y))² over the rows.
fn behind(rows: &Rows, map: &Map, bend: &Bend) -> f64 {
    let sums: Vec<f64> = chunks(rows)
        .map(|(x, y, shift)| {
            let result = apply(x, &map.weight, &map.bias);
            let square = |(at, (u, y)): (usize, (&f32, &f32))| {
                let shift = shift.get(at).copied().unwrap_or(0.0);
                bend.square(u + shift, y + shift)
            };
            result.iter().zip(y).enumerate().map(square).sum()
        })
        .collect();
    sums.iter().sum::<f64>() / rows.count.max(1) as f64
}

/// Inputs, targets and shifts of some rows at a time.
fn chunks(rows: &Rows) -> impl IndexedParallelIterator<Item = (&[f32], &[f32], &[f32])> {
    let (width, targets) = (rows.width.max(1), rows.targets.max(1));
    (0..rows.count.div_ceil(CHUNK)).into_par_iter().map(move |i| {
        let range = |n: usize| i * CHUNK * n..((i + 1) * CHUNK).min(rows.count) * n;
        (&rows.x[range(width)], &rows.y[range(targets)], rows.shift.get(range(targets)).unwrap_or_default())
    })
}
