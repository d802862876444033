//! How sure the difference between two models is.

use super::Scored;
use rayon::prelude::*;
use sparsec_ir::Draw;

/// Where a drop lies with 95 % confidence, in the metric's unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Sets of samples drawn. The ends of an interval are then good to a twentieth of its width or so.
const DRAWN: u64 = 1000;
/// Part of the drawn sets below the interval, and above it.
const TAIL: f64 = 0.025;

/// The interval of the drop from `before` to `after`, scores of the same samples in the same order.
///
/// Paired bootstrap (Efron and Tibshirani, *An Introduction to the Bootstrap*, 1993, §13.3, percentile intervals): as many
/// samples as there are, drawn with replacement, the same ones for both models, 1,000 times; from the 2.5th to the 97.5th
/// percentile of the drops. `None` below two samples, or where most sets have no value. The draw is seeded.
pub fn drop_interval(before: &Scored, after: &Scored) -> Option<Interval> {
    let samples = before.samples();
    if samples < 2 || after.samples() != samples {
        return None;
    }
    let one = |seed: u64| -> Option<f64> {
        let (mut draw, mut times) = (Draw::new(seed), vec![0u32; samples]);
        for _ in 0..samples {
            times[(draw.unit() * samples as f64) as usize] += 1;
        }
        Some(before.metric().drop(before.value(&times)?, after.value(&times)?))
    };
    let mut drops: Vec<f64> = (0..DRAWN).into_par_iter().filter_map(one).collect();
    if drops.len() < DRAWN as usize / 2 {
        return None;
    }
    drops.sort_by(f64::total_cmp);
    let at = |share: f64| drops[(share * (drops.len() - 1) as f64).round() as usize];
    Some(Interval { low: at(TAIL), high: at(1.0 - TAIL) })
}
