//! Masks of weights in a plan, and how a share of non-zeros is spread over the weights.

use crate::{Bits, Pattern};
use serde::{Deserialize, Serialize};

/// What stays of one weight, the rest of which is zero. The weight keeps its shape.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskPlan {
    /// Name of the weight.
    pub weight: String,
    /// Where its zeros may lie.
    pub pattern: Pattern,
    /// Share of its blocks that stay, above 0 and at most 1.
    pub density: f64,
    /// Which blocks stay. Where they are not given, they are chosen on samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Bits>,
    /// Why so many; for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl MaskPlan {
    /// A share of a weight, without what stays of it.
    pub fn open(weight: &str, pattern: Pattern, density: f64) -> Self {
        Self { weight: weight.to_string(), pattern, density, kept: None, why: None }
    }
}

/// What a weight loses by its zeros.
#[derive(Clone, Debug, PartialEq)]
pub struct MaskCurve {
    /// Multiply-accumulates with the dense weight.
    pub macs: f64,
    /// Share that stays, falling from 1, and the error of the result with it.
    pub points: Vec<(f64, f64)>,
    /// Whether only the shares of the points can be had, as those of N of M.
    pub fixed: bool,
}

impl MaskCurve {
    /// The error at a share, between the points along a line.
    pub fn error(&self, share: f64) -> f64 {
        let after = self.points.iter().position(|p| p.0 <= share).unwrap_or(self.points.len().saturating_sub(1));
        match (after.checked_sub(1).map(|b| self.points[b]), self.points.get(after)) {
            (Some((s0, e0)), Some(&(s1, e1))) if s0 > s1 => e0 + (e1 - e0) * (s0 - share) / (s0 - s1),
            (_, Some(&(_, e))) => e,
            _ => 0.0,
        }
    }
    /// Steps along the lower convex hull: share before and after, and error by multiplication saved.
    fn steps(&self) -> Vec<(f64, f64, f64)> {
        let mut hull: Vec<(f64, f64)> = Vec::new();
        for &p in &self.points {
            let slope = |a: (f64, f64), b: (f64, f64)| (b.1 - a.1) / (a.0 - b.0).max(f64::MIN_POSITIVE);
            while let [.., a, b] = hull[..]
                && slope(b, p) <= slope(a, b)
            {
                hull.pop();
            }
            hull.push(p);
        }
        let step = |w: &[(f64, f64)]| {
            let saved = self.macs * (w[0].0 - w[1].0);
            (w[0].0, w[1].0, (w[1].1 - w[0].1) / saved.max(f64::MIN_POSITIVE))
        };
        hull.windows(2).map(step).collect()
    }
}

/// The share that stays of each weight, so that `density` of all multiplications stay at the least sum of errors. Where
/// the curves end before, all of them are at their end.
///
/// Curves are taken by their convex hulls, on which it is best to give up first what costs least for each multiplication.
pub fn allocate(curves: &[MaskCurve], density: f64) -> Vec<f64> {
    let mut shares: Vec<f64> = curves.iter().map(|c| c.points.first().map_or(1.0, |p| p.0)).collect();
    let total: f64 = curves.iter().map(|c| c.macs).sum();
    let mut excess = (1.0 - density) * total;
    let steps = curves.iter().enumerate().flat_map(|(i, c)| c.steps().into_iter().map(move |s| (i, s)));
    let mut steps: Vec<(usize, (f64, f64, f64))> = steps.collect();
    // Slopes rise along a hull, so steps of one weight stay in order.
    steps.sort_by(|(i, a), (j, b)| a.2.total_cmp(&b.2).then(i.cmp(j)).then(b.0.total_cmp(&a.0)));
    for (i, (from, to, _)) in steps {
        // What is left for rounding is no step.
        if excess <= 1e-9 * total {
            break;
        }
        let saved = curves[i].macs * (from - to);
        let part = if curves[i].fixed { 1.0 } else { (excess / saved.max(f64::MIN_POSITIVE)).min(1.0) };
        shares[i] = from - part * (from - to);
        excess -= part * saved;
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(macs: f64, points: &[(f64, f64)]) -> MaskCurve {
        MaskCurve { macs, points: points.to_vec(), fixed: false }
    }

    #[test]
    fn shares_are_the_best_of_all_that_hold_the_density() {
        // Errors a (1 − s)²: every share on a grid is tried.
        let grid: Vec<f64> = (0..=20).map(|i| 1.0 - f64::from(i) / 20.0).collect();
        let square =
            |macs: f64, a: f64| curve(macs, &grid.iter().map(|s| (*s, a * (1.0 - s).powi(2))).collect::<Vec<_>>());
        let all = [square(1.0, 1.0), square(2.0, 0.3), square(4.0, 5.0)];
        let shares = allocate(&all, 0.5);
        let macs = |s: &[f64]| s.iter().zip(&all).map(|(s, c)| s * c.macs).sum::<f64>();
        let error = |s: &[f64]| s.iter().zip(&all).map(|(s, c)| c.error(*s)).sum::<f64>();
        assert!((macs(&shares) - 3.5).abs() < 1e-9);
        let mut best = f64::INFINITY;
        for a in &grid {
            for b in &grid {
                for c in &grid {
                    let tried = [*a, *b, *c];
                    best = if macs(&tried) <= 3.5 + 1e-9 { best.min(error(&tried)) } else { best };
                }
            }
        }
        assert!(error(&shares) <= best + 1e-9, "{} {best}", error(&shares));
    }

    #[test]
    fn what_cannot_be_divided_is_taken_whole_and_what_ends_is_at_its_end() {
        let fixed = |macs, error| MaskCurve { macs, points: vec![(1.0, 0.0), (0.5, error)], fixed: true };
        assert_eq!(allocate(&[fixed(1.0, 0.1), fixed(1.0, 0.01), fixed(1.0, 0.02)], 0.8), [1.0, 0.5, 0.5]);
        assert_eq!(allocate(&[curve(1.0, &[(1.0, 0.0), (0.25, 1.0)])], 0.1), [0.25]);
        assert_eq!(allocate(&[curve(1.0, &[(1.0, 0.0)])], 0.5), [1.0]);
    }
}
