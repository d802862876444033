//! The order in which units of a group are worth keeping, and the error that is left.
//!
//! Forward greedy selection by what regression on the kept channels leaves: with the covariance R of the channels given
//! those already kept (the Schur complement) and the importance M of the consumer, keeping unit b lowers the consumer's
//! error by tr(R_bb⁻¹ (R M R)_bb). Both R and A = R M R are updated by rank |b| after each choice, so ranking a group of
//! n channels costs O(n³) for all its keep-counts together. Source: forward selection by the Schur complement, as in
//! orthogonal matching pursuit (Pati et al. 1993) for several targets.

use sparsec_linalg::{Matrix, product, solve_spd};

/// Units by worth, and the error that remains.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Unit numbers, the one most worth keeping first.
    pub order: Vec<u32>,
    /// `residual[k]`: share of the consumers' signal that is lost with the first k units of `order` kept and the
    /// consumers re-solved; from 1 at k = 0 to 0 at all.
    pub residual: Vec<f64>,
}

/// What one consumer knows of the group's channels.
struct State {
    /// R.
    residual: Matrix,
    /// A = R M R.
    weighted: Matrix,
    /// Variances below this are rounding.
    tiny: f64,
    /// Channels of each unit, as indices into the matrices.
    units: Vec<Vec<usize>>,
    total: f64,
    left: f64,
}

/// Ranks the units of a group. Each consumer gives the covariance of its channels (n × n), their importance (n × n),
/// and the channels of each unit.
pub fn rank(units: usize, consumers: &[(Matrix, Matrix, Vec<Vec<usize>>)]) -> Ranking {
    let mut states: Vec<State> = consumers.iter().filter_map(|(c, m, u)| State::new(c, m, u)).collect();
    let mut order: Vec<u32> = Vec::with_capacity(units);
    let mut residual = vec![1.0];
    let mut left: Vec<usize> = (0..units).collect();
    while !left.is_empty() {
        let gain = |u: usize| states.iter().map(|s| s.gain(u) / s.total).sum::<f64>();
        let mut best = (0, f64::NEG_INFINITY);
        for (at, &u) in left.iter().enumerate() {
            let g = gain(u);
            // Rounded, so that the order does not hang on the last digits of a kernel; ties go to the first unit.
            let g = if g.is_finite() { f64::from(g as f32) } else { 0.0 };
            if g > best.1 {
                best = (at, g);
            }
        }
        let unit = left.remove(best.0);
        order.push(unit as u32);
        states.iter_mut().for_each(|s| s.keep(unit));
        let share = states.iter().map(|s| (s.left / s.total).max(0.0)).sum::<f64>() / states.len().max(1) as f64;
        residual.push(if states.is_empty() { left.len() as f64 / units as f64 } else { share });
    }
    if let Some(last) = residual.last_mut() {
        *last = 0.0;
    }
    Ranking { order, residual }
}

impl State {
    /// The consumer's view, restricted to the group's own channels; `None` where they carry no signal.
    fn new(covariance: &Matrix, importance: &Matrix, units: &[Vec<usize>]) -> Option<Self> {
        let all: Vec<usize> = units.iter().flatten().copied().collect();
        let mut at = 0;
        let local = units.iter().map(|u| {
            at += u.len();
            (at - u.len()..at).collect()
        });
        let units: Vec<Vec<usize>> = local.collect();
        let residual = covariance.select(&all, &all);
        let importance = importance.select(&all, &all);
        let weighted = product(&product(&residual, &importance), &residual);
        let total = trace_of_product(&importance, &residual);
        (total > 0.0 && total.is_finite()).then(|| {
            let tiny = 1e-12 * residual.mean_diagonal();
            Self { residual, weighted, tiny, units, total, left: total }
        })
    }
    /// tr(R_bb⁻¹ A_bb).
    fn gain(&self, unit: usize) -> f64 {
        let b = &self.units[unit];
        if let [i] = b[..] {
            let r = self.residual.get(i, i);
            return if r > self.tiny { self.weighted.get(i, i) / r } else { 0.0 };
        }
        let a = self.weighted.select(b, b);
        match solve_spd(&self.lifted(b), &a) {
            Some(x) => (0..b.len()).map(|i| x.get(i, i)).sum(),
            None => 0.0,
        }
    }
    fn lifted(&self, b: &[usize]) -> Matrix {
        let mut r = self.residual.select(b, b);
        let lift = 1e-6 * r.mean_diagonal() + self.tiny;
        for i in 0..b.len() {
            r.set(i, i, r.get(i, i) + lift);
        }
        r
    }
    /// Conditions on the unit: R ← R − R_:b R_bb⁻¹ R_b:, and A = R M R along.
    fn keep(&mut self, unit: usize) {
        let b = self.units[unit].clone();
        let n = self.residual.rows();
        let all: Vec<usize> = (0..n).collect();
        let gain = self.gain(unit);
        let lifted = self.lifted(&b);
        let Some(x) = solve_spd(&lifted, &self.residual.select(&b, &all)) else { return };
        let Some(y) = solve_spd(&lifted, &self.weighted.select(&b, &all)) else { return };
        self.left -= gain;
        // With x = R_bb⁻¹ R_b: the step is D = R_:b x, and A' = (R − D) M (R − D) = A − D M R − R M D + D M D,
        // where x M R = R_bb⁻¹ A_b: = y and R_b: M R_:b = A_bb: M itself is not needed again.
        let column = self.residual.select(&all, &b);
        let step = product(&column, &x);
        let dmr = product(&column, &y);
        let dmd = product(&product(&x.transpose(), &self.weighted.select(&b, &b)), &x);
        for r in 0..n {
            for c in 0..n {
                let a = self.weighted.get(r, c) - dmr.get(r, c) - dmr.get(c, r) + dmd.get(r, c);
                self.weighted.set(r, c, a);
                self.residual.set(r, c, self.residual.get(r, c) - step.get(r, c));
            }
        }
    }
}

fn trace_of_product(a: &Matrix, b: &Matrix) -> f64 {
    (0..a.rows()).map(|i| a.row(i).iter().enumerate().map(|(j, v)| v * b.get(j, i)).sum::<f64>()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Σ M ∘ (C − C_:S C_SS⁻¹ C_S:) over the total, by definition.
    fn left_by_definition(c: &Matrix, m: &Matrix, keep: &[usize]) -> f64 {
        let all: Vec<usize> = (0..c.rows()).collect();
        let mut r = c.clone();
        if !keep.is_empty() {
            let x = solve_spd(&c.select(keep, keep), &c.select(keep, &all)).unwrap();
            r.add_scaled(&product(&c.select(&all, keep), &x), -1.0);
        }
        trace_of_product(m, &r) / trace_of_product(m, c)
    }

    #[test]
    fn residuals_match_the_regression_that_they_stand_for() {
        let n = 6;
        let value = |i: usize| ((i * 7919 % 211) as f64 - 105.0) / 105.0;
        let a = Matrix::new(40, n, (0..40 * n).map(value).collect());
        let w = Matrix::new(9, n, (0..9 * n).map(|i| value(i + 13)).collect());
        let (c, m) = (product(&a.transpose(), &a), product(&w.transpose(), &w));
        for size in [1, 2] {
            let units: Vec<Vec<usize>> = (0..n / size).map(|u| (u * size..(u + 1) * size).collect()).collect();
            let ranking = rank(units.len(), &[(c.clone(), m.clone(), units.clone())]);
            for k in 0..units.len() {
                let keep: Vec<usize> = ranking.order[..k].iter().flat_map(|u| units[*u as usize].clone()).collect();
                let exact = left_by_definition(&c, &m, &keep);
                assert!((ranking.residual[k] - exact).abs() < 1e-4, "{k}: {} {exact}", ranking.residual[k]);
            }
        }
    }

    #[test]
    fn a_copy_of_a_kept_channel_is_worth_nothing() {
        let c = Matrix::from_rows(&[&[4.0, 4.0, 0.0], &[4.0, 4.0, 0.0], &[0.0, 0.0, 1.0]]);
        let m = Matrix::from_rows(&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]]);
        let ranking = rank(3, &[(c, m, vec![vec![0], vec![1], vec![2]])]);
        assert_eq!(ranking.order, [0, 2, 1]);
    }
}
