//! The order in which units of a group are worth keeping, and the error that is left.
//!
//! Forward greedy selection by what regression on the kept channels leaves: with the covariance R of the channels given
//! those already kept (the Schur complement) and the importance M of the consumer, keeping unit b lowers the consumer's
//! error by tr(R_bb⁻¹ (R M R)_bb). Both R and A = R M R are updated by rank |b| after each choice, so ranking a group of
//! n channels costs O(n³) for all its keep-counts together. Source: forward selection by the Schur complement, as in
//! orthogonal matching pursuit (Pati et al. 1993) for several targets.
//!
//! With the Cholesky factor R_bb = C Cᵀ, L = R_:b C⁻ᵀ and V = A_:b C⁻ᵀ − ½ L (C⁻¹ A_bb C⁻ᵀ), the updates are
//! R ← R − L Lᵀ and A ← A − L Vᵀ − V Lᵀ. A choice needs only the diagonal blocks and the chosen unit's columns, so L and
//! V of a few dozen choices are collected before they reach the matrices, as in a blocked Cholesky factorisation.

use crate::CalibError;
use rayon::prelude::*;
use sparsec_linalg::{Matrix, add_outer, dot};
use std::ops::Range;

/// Units by worth, and the error that remains.
#[derive(Clone, Debug, PartialEq)]
pub struct Ranking {
    /// Unit numbers, the one most worth keeping first.
    pub order: Vec<u32>,
    /// `residual[k]`: share of the consumers' signal that is lost with the first k units of `order` kept and the
    /// consumers re-solved; from 1 at k = 0 to 0 at all.
    pub residual: Vec<f64>,
    /// Units at the front of `order` that the statistics tell from the others. The rest carry nothing that those kept
    /// before them do not: their order is that of their numbers, unless [`Ranking::order_rest`] gives them one.
    pub informed: usize,
}

impl Ranking {
    /// Orders the units of which the statistics say nothing by a norm, the largest first. Where they say nothing of any,
    /// what remains is the share of the norm.
    pub fn order_rest(&mut self, norms: &[f64]) {
        let norm = |u: &u32| norms.get(*u as usize).copied().unwrap_or(0.0);
        let (first, rest) = self.order.split_at_mut(self.informed);
        // Stable: of equals the first unit comes first.
        rest.sort_by(|a, b| norm(b).total_cmp(&norm(a)));
        let total: f64 = rest.iter().map(norm).sum();
        if !first.is_empty() || total <= 0.0 || !total.is_finite() {
            return;
        }
        let mut left = total;
        for (share, unit) in self.residual.iter_mut().zip(rest) {
            *share = (left / total).max(0.0);
            left -= norm(unit);
        }
    }
}

/// Ranks the units of a group. Each consumer gives the covariance of its channels (n × n), their importance (n × n),
/// both symmetric, and the channels of each unit. `stop` is asked after each choice.
///
/// # Errors
/// [`CalibError::Interrupted`] where `stop` says so.
pub fn rank(
    units: usize,
    consumers: &[(Matrix, Matrix, Vec<Vec<usize>>)],
    stop: &dyn Fn() -> bool,
) -> Result<Ranking, CalibError> {
    let mut states: Vec<State> = consumers.iter().filter_map(|(c, m, u)| State::new(c, m, u)).collect();
    let mut order: Vec<u32> = Vec::with_capacity(units);
    let mut residual = vec![1.0];
    let mut left: Vec<usize> = (0..units).collect();
    while !left.is_empty() {
        if stop() {
            return Err(CalibError::Interrupted);
        }
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
        if best.1 <= 0.0 {
            break;
        }
        let unit = left.remove(best.0);
        order.push(unit as u32);
        states.iter_mut().for_each(|s| s.keep(unit));
        residual.push(states.iter().map(|s| (s.left / s.total).max(0.0)).sum::<f64>() / states.len() as f64);
    }
    let informed = order.len();
    let told = residual[informed];
    let rest = |n: usize| if informed == 0 { n as f64 / units as f64 } else { told };
    residual.extend((0..left.len()).rev().map(rest));
    order.extend(left.into_iter().map(|u| u as u32));
    if let Some(last) = residual.last_mut() {
        *last = 0.0;
    }
    Ok(Ranking { order, residual, informed })
}

/// Columns of L and V that are collected before the matrices are updated: few enough to stay in a core's cache.
const DELAY: usize = 48;
/// Rows that one task works on. Fixed, and no row depends on another, so results are the same at any number of threads.
const ROWS: usize = 128;

/// What one consumer knows of the group's channels. Channels of one unit are neighbours; those of units that were kept
/// are dropped at the next update.
struct State {
    /// Channels that the matrices have.
    n: usize,
    /// R and A without the updates that wait: row-major `n × n`, the lower triangle.
    residual: Vec<f64>,
    weighted: Vec<f64>,
    /// Updates that wait: `n × room`, of which `filled` columns are in use.
    l: Vec<f64>,
    v: Vec<f64>,
    room: usize,
    filled: usize,
    units: Vec<Unit>,
    /// Variances below this are rounding.
    tiny: f64,
    total: f64,
    left: f64,
}

/// A unit's channels and its diagonal blocks of R and A, which are always up to date.
struct Unit {
    channels: Range<usize>,
    residual: Vec<f64>,
    weighted: Vec<f64>,
    kept: bool,
}

impl State {
    /// The consumer's view, restricted to the group's own channels; `None` where they carry no signal.
    fn new(covariance: &Matrix, importance: &Matrix, units: &[Vec<usize>]) -> Option<Self> {
        let all: Vec<usize> = units.iter().flatten().copied().collect();
        let n = all.len();
        let (r, m) = (covariance.select(&all, &all), importance.select(&all, &all));
        let total: f64 = r.data().iter().zip(m.data()).map(|(r, m)| r * m).sum();
        if !(total > 0.0 && total.is_finite()) {
            return None;
        }
        let mut weighted = vec![0.0; n * n];
        weighted.par_chunks_mut(ROWS * n).enumerate().for_each(|(i, out)| {
            let (start, rows) = (i * ROWS, out.len() / n);
            let mut rm = vec![0.0; rows * n];
            add_outer((&mut rm, n), 1.0, &r.data()[start * n..], m.data(), (rows, n, n));
            add_outer((out, n), 1.0, &rm, r.data(), (rows, n, start + rows));
        });
        let tiny = 1e-12 * r.mean_diagonal();
        let mut at = 0;
        let block = |from: &[f64], b: &Range<usize>| -> Vec<f64> {
            b.clone().flat_map(|i| b.clone().map(move |j| from[i.max(j) * n + i.min(j)])).collect()
        };
        let unit = |u: &Vec<usize>| {
            let channels = at..at + u.len();
            at += u.len();
            let (residual, weighted) = (block(r.data(), &channels), block(&weighted, &channels));
            Unit { channels, residual, weighted, kept: false }
        };
        let units: Vec<Unit> = units.iter().map(unit).collect();
        let room = DELAY + units.iter().map(|u| u.channels.len()).max().unwrap_or(0);
        let (l, v) = (vec![0.0; n * room], vec![0.0; n * room]);
        let residual = r.into_data();
        Some(Self { n, residual, weighted, l, v, room, filled: 0, units, tiny, total, left: total })
    }
    /// tr(R_bb⁻¹ A_bb).
    fn gain(&self, unit: usize) -> f64 {
        let u = &self.units[unit];
        if let ([r], [a]) = (&u.residual[..], &u.weighted[..]) {
            return if *r > self.tiny { a / r } else { 0.0 };
        }
        let s = u.channels.len();
        self.factor(u).map_or(0.0, |c| {
            let b = whitened(&c, &u.weighted, s);
            (0..s).map(|i| b[i * s + i]).sum()
        })
    }
    /// Cholesky factor of R_bb, lifted a little off what is singular.
    fn factor(&self, unit: &Unit) -> Option<Vec<f64>> {
        let s = unit.channels.len();
        let mean = (0..s).map(|i| unit.residual[i * s + i]).sum::<f64>() / s.max(1) as f64;
        let mut c = unit.residual.clone();
        (0..s).for_each(|i| c[i * s + i] += 1e-6 * mean + self.tiny);
        cholesky(&mut c, s).then_some(c)
    }
    /// Conditions on the unit.
    fn keep(&mut self, unit: usize) {
        let gain = self.gain(unit);
        self.units[unit].kept = true;
        let u = &self.units[unit];
        let (b, s) = (u.channels.clone(), u.channels.len());
        let Some(c) = self.factor(u) else { return };
        self.left -= gain;
        let inner = whitened(&c, &u.weighted, s);
        let (n, room, filled) = (self.n, self.room, self.filled);
        let rows_of = |from: &[f64]| -> Vec<f64> {
            b.clone().flat_map(|i| from[i * room..i * room + filled].iter().copied()).collect()
        };
        let (l_b, v_b) = (rows_of(&self.l), rows_of(&self.v));
        let (residual, weighted) = (&self.residual, &self.weighted);
        let rows = self.l.par_chunks_mut(ROWS * room).zip(self.v.par_chunks_mut(ROWS * room));
        rows.enumerate().for_each(|(chunk, (l, v))| {
            for (row, (l, v)) in l.chunks_mut(room).zip(v.chunks_mut(room)).enumerate() {
                let i = chunk * ROWS + row;
                let (l_old, l_new) = l.split_at_mut(filled);
                let (v_old, v_new) = v.split_at_mut(filled);
                for (k, channel) in b.clone().enumerate() {
                    let at = i.max(channel) * n + i.min(channel);
                    let own = k * filled..(k + 1) * filled;
                    let (l_b, v_b) = (&l_b[own.clone()], &v_b[own]);
                    l_new[k] = residual[at] - dot(l_old, l_b);
                    v_new[k] = weighted[at] - dot(l_old, v_b) - dot(v_old, l_b);
                }
                forward(&c, &mut l_new[..s]);
                forward(&c, &mut v_new[..s]);
                for k in 0..s {
                    v_new[k] -= 0.5 * dot(&l_new[..s], &inner[k * s..(k + 1) * s]);
                }
            }
        });
        self.filled += s;
        for u in self.units.iter_mut().filter(|u| !u.kept) {
            let own = |i: usize| i * room + filled..i * room + filled + s;
            let t = u.channels.len();
            for (at, (i, j)) in (0..t).flat_map(|i| (0..t).map(move |j| (i, j))).enumerate() {
                let (i, j) = (u.channels.start + i, u.channels.start + j);
                let (li, lj) = (&self.l[own(i)], &self.l[own(j)]);
                let (vi, vj) = (&self.v[own(i)], &self.v[own(j)]);
                u.residual[at] -= dot(li, lj);
                u.weighted[at] -= dot(li, vj) + dot(vi, lj);
            }
        }
        if self.filled >= DELAY {
            self.update();
        }
    }
    /// Brings R and A up to date, without the channels of kept units.
    fn update(&mut self) {
        let live: Vec<usize> = self.units.iter().filter(|u| !u.kept).flat_map(|u| u.channels.clone()).collect();
        let (n, old, room, filled) = (live.len(), self.n, self.room, self.filled);
        let waiting = |from: &[f64]| -> Vec<f64> {
            live.iter().flat_map(|&i| from[i * room..i * room + filled].iter().copied()).collect()
        };
        let (l, v) = (waiting(&self.l), waiting(&self.v));
        for m in [&mut self.residual, &mut self.weighted] {
            // Elements only move towards the front, so this may be done in place.
            for (to, &from) in live.iter().enumerate() {
                for (column, &j) in live[..=to].iter().enumerate() {
                    m[to * n + column] = m[from * old + j];
                }
            }
            m.truncate(n * n);
        }
        let lower = |m: &mut [f64], pairs: &[(&[f64], &[f64])]| {
            m.par_chunks_mut((ROWS * n).max(1)).enumerate().for_each(|(i, out)| {
                let (start, rows) = (i * ROWS, out.len() / n);
                for (a, b) in pairs {
                    add_outer((out, n), -1.0, &a[start * filled..], b, (rows, filled, start + rows));
                }
            });
        };
        lower(&mut self.residual, &[(&l, &l)]);
        lower(&mut self.weighted, &[(&l, &v), (&v, &l)]);
        (self.n, self.filled) = (n, 0);
        self.l.truncate(n * room);
        self.v.truncate(n * room);
        let mut at = 0;
        for u in self.units.iter_mut().filter(|u| !u.kept) {
            u.channels = at..at + u.channels.len();
            at = u.channels.end;
        }
    }
}

/// Replaces a symmetric `s × s` matrix by its lower Cholesky factor; `false` where it is not positive definite.
fn cholesky(c: &mut [f64], s: usize) -> bool {
    for j in 0..s {
        for i in j..s {
            let (row_i, row_j) = (&c[i * s..i * s + j], &c[j * s..j * s + j]);
            let rest = c[i * s + j] - dot(row_i, row_j);
            if i > j {
                c[i * s + j] = rest / c[j * s + j];
            } else if rest > 0.0 && rest.is_finite() {
                c[i * s + j] = rest.sqrt();
            } else {
                return false;
            }
        }
    }
    true
}

/// x ← C⁻¹ x for a lower triangular C.
fn forward(c: &[f64], x: &mut [f64]) {
    let s = x.len();
    for i in 0..s {
        let (done, rest) = x.split_at_mut(i);
        rest[0] = (rest[0] - dot(&c[i * s..i * s + i], done)) / c[i * s + i];
    }
}

/// C⁻¹ A C⁻ᵀ for a symmetric A.
fn whitened(c: &[f64], a: &[f64], s: usize) -> Vec<f64> {
    let transposed = |m: &[f64]| -> Vec<f64> { (0..s * s).map(|at| m[at % s * s + at / s]).collect() };
    let mut half = a.to_vec();
    half.chunks_mut(s.max(1)).for_each(|row| forward(c, row));
    let mut out = transposed(&half);
    out.chunks_mut(s.max(1)).for_each(|row| forward(c, row));
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_linalg::{product, solve_spd};
    use std::cell::Cell;

    const GO: &dyn Fn() -> bool = &|| false;

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

    /// Covariance and importance of `n` channels that all differ.
    fn random_consumer(n: usize) -> (Matrix, Matrix) {
        let mut draw = sparsec_ir::Draw::new(7);
        let mut random = |rows: usize| Matrix::new(rows, n, (0..rows * n).map(|_| draw.normal()).collect());
        let (a, w) = (random(2 * n), random(n / 2));
        (product(&a.transpose(), &a), product(&w.transpose(), &w))
    }

    fn trace_of_product(a: &Matrix, b: &Matrix) -> f64 {
        (0..a.rows()).map(|i| a.row(i).iter().enumerate().map(|(j, v)| v * b.get(j, i)).sum::<f64>()).sum()
    }

    #[test]
    fn residuals_match_the_regression_that_they_stand_for() {
        // More channels than wait for one update, in units that do not divide it.
        let n = 160;
        let (c, m) = random_consumer(n);
        for size in [1, 2, 5] {
            let units: Vec<Vec<usize>> =
                (0..n / size).map(|u| (0..size).map(|k| u + k * (n / size)).collect()).collect();
            let ranking = rank(units.len(), &[(c.clone(), m.clone(), units.clone())], GO).unwrap();
            for k in (0..units.len()).step_by(7) {
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
        let ranking = rank(3, &[(c, m, vec![vec![0], vec![1], vec![2]])], GO).unwrap();
        assert_eq!(ranking.order, [0, 2, 1]);
    }

    #[test]
    fn any_number_of_threads_gives_the_same_bits() {
        let (c, m) = random_consumer(300);
        let units: Vec<Vec<usize>> = (0..300).map(|u| vec![u]).collect();
        let consumers = [(c, m, units)];
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| rank(300, &consumers, &|| false)).unwrap()
        };
        assert_eq!(with(1), with(3));
    }

    #[test]
    fn ranking_stops_when_asked() {
        let (c, m) = random_consumer(20);
        let units: Vec<Vec<usize>> = (0..20).map(|u| vec![u]).collect();
        let asked = Cell::new(0);
        let stop = || asked.replace(asked.get() + 1) == 3;
        assert!(matches!(rank(20, &[(c, m, units)], &stop), Err(CalibError::Interrupted)));
        assert_eq!(asked.get(), 4);
    }

    #[test]
    fn units_without_a_signal_follow_by_norm_and_are_not_counted_as_ranked() {
        let c = Matrix::from_rows(&[&[0.0, 0.0, 0.0], &[0.0, 4.0, 0.0], &[0.0, 0.0, 0.0]]);
        let m = Matrix::from_rows(&[&[1.0, 0.0, 0.0], &[0.0, 1.0, 0.0], &[0.0, 0.0, 1.0]]);
        let units = vec![vec![0], vec![1], vec![2]];
        let mut ranking = rank(3, &[(c, m.clone(), units.clone())], GO).unwrap();
        assert_eq!((ranking.informed, &ranking.order[..]), (1, &[1, 0, 2][..]));
        ranking.order_rest(&[1.0, 9.0, 3.0]);
        assert_eq!(ranking.order, [1, 2, 0]);
        let mut blind = rank(3, &[(Matrix::zeros(3, 3), m, units)], GO).unwrap();
        assert_eq!(blind.informed, 0);
        blind.order_rest(&[1.0, 2.0, 5.0]);
        assert_eq!((blind.order, blind.residual), (vec![2, 1, 0], vec![1.0, 0.375, 0.125, 0.0]));
    }
}
