//! Which weights of a regression become zero: optimal brain surgeon on the inverse of its ridged Gram matrix.
//!
//! For the optimum W of `min Σ ‖y − Wᵀx‖²` with Gram matrix A and P = A⁻¹, fixing row j of W to zero and letting all others
//! follow raises the sum by ‖w_j‖² / P_jj, moves the others by −P_:j w_j / P_jj, and turns P into P − P_:j P_j: / P_jj.
//! Columns that lose their rows together (a block of outputs) have one P; columns that do not each need their own.
//!
//! Sources: Hassibi and Stork 1993 (Second Order Derivatives for Network Pruning: Optimal Brain Surgeon, eq. 5); for
//! blocks, Kurtic et al. 2022 (The Optimal BERT Surgeon, eq. 4), here with the blocks across outputs, whose P is shared,
//! so that no block of P has to be inverted; one trace a row of the weight and the choice among all traces,
//! Frantar and Alistarh 2022 (Optimal Brain Compression, §4, algorithms 1 and 2); unknowns decided stripe by stripe where
//! tracing them all would take too long, Frantar and Alistarh 2023 (SparseGPT, §3.2 and §3.3).

use crate::{Matrix, add_outer, dot, product, solve_spd};
use faer::linalg::solvers::DenseSolveCore;
use faer::{MatMut, Par, Side, linalg::triangular_solve};

/// P, the inverse of a Gram matrix, over the unknowns that are still free.
#[derive(Clone, Debug)]
pub struct Inverse {
    p: Matrix,
}

impl Inverse {
    /// The inverse of a symmetric positive definite matrix; `None` where it is not, or not finite.
    pub fn of(a: &Matrix) -> Option<Self> {
        if !a.is_finite() {
            return None;
        }
        let inverse = a.view().llt(Side::Lower).ok()?.inverse();
        let n = a.rows();
        let p = Matrix::new(n, n, (0..n * n).map(|at| inverse[(at / n, at % n)]).collect());
        p.is_finite().then_some(Self { p })
    }
    /// Free unknowns.
    pub fn free(&self) -> usize {
        self.p.rows()
    }
    /// P · c: the solution for cross products with the targets.
    pub fn times(&self, c: &Matrix) -> Matrix {
        product(&self.p, c)
    }
    /// P of the first `n` unknowns, while those behind them are free.
    pub fn first(&self, n: usize) -> Matrix {
        let rows: Vec<usize> = (0..n).collect();
        self.p.select(&rows, &rows)
    }
    /// Decides the first unknowns: they have moved by `moved` (unknowns × targets) and stay there. Returns how far the
    /// others move to make up for it (unknowns × targets), and keeps the P of these. `None` where P is not definite.
    ///
    /// With C Cᵀ = P_bb and Y = P_rb C⁻ᵀ: W_r moves by Y C⁻¹ δ, P_rr becomes P_rr − Y Yᵀ.
    pub fn fix(&mut self, moved: &Matrix) -> Option<Matrix> {
        let (n, s) = (self.p.rows(), moved.rows());
        let rest = n - s;
        let factor = self.first(s).view().llt(Side::Lower).ok()?;
        let solve = |m: &mut [f64], columns: usize| {
            let view = MatMut::from_row_major_slice_mut(m, s, columns);
            triangular_solve::solve_lower_triangular_in_place(factor.L(), view, Par::Seq);
        };
        let mut y: Vec<f64> = (0..s).flat_map(|b| self.p.row(b)[s..].iter().copied()).collect();
        solve(&mut y, rest);
        let mut z = moved.data().to_vec();
        solve(&mut z, moved.cols());
        let y = Matrix::new(s, rest, y).transpose();
        let others = product(&y, &Matrix::new(s, moved.cols(), z));
        let mut p: Vec<f64> = (s..n).flat_map(|r| self.p.row(r)[s..].iter().copied()).collect();
        add_outer((&mut p, rest), -1.0, y.data(), y.data(), (rest, s, rest));
        self.p = Matrix::new(rest, rest, p);
        others.is_finite().then_some(others)
    }
}

/// How the optimum `w` moves when the rows `gone` of it are fixed to zero: −P_:Q P_QQ⁻¹ w_Q. `None` where P is not definite.
pub fn without(p: &Matrix, w: &Matrix, gone: &[usize]) -> Option<Matrix> {
    let (rows, targets): (Vec<usize>, Vec<usize>) = ((0..p.rows()).collect(), (0..w.cols()).collect());
    let x = solve_spd(&p.select(gone, gone), &w.select(gone, &targets))?;
    let mut out = Matrix::zeros(p.rows(), w.cols());
    out.add_scaled(&product(&p.select(&rows, gone), &x), -1.0);
    Some(out)
}

/// Rows of one class, of which some must stay: N of M neighbours.
#[derive(Clone, Copy, Debug)]
pub struct Quota<'a> {
    /// Class of each row, from 0.
    pub class: &'a [usize],
    /// Rows of a class that stay.
    pub stay: usize,
}

/// Rows in the order in which they become zero, with what each adds to the error, the sum of squares.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// Rows.
    pub order: Vec<usize>,
    /// What each adds.
    pub rise: Vec<f64>,
}

/// Downdates that wait before P is written anew: few enough to stay in a core's cache.
const DELAY: usize = 48;
/// Rows of P that are written at a time, so that about half of it, the lower triangle, is.
const ROWS: usize = 64;

/// Takes all rows of `w` (unknowns × targets, the optimum) out one after another, that first which adds least to the
/// error while all others follow; under a quota, as many as may go. `p` is the inverse of the Gram matrix.
///
/// Greedy and exact: every step sees the P and W that the steps before have left. n³/3 multiplications for n rows.
pub fn trace(p: Matrix, w: &Matrix, quota: Option<Quota>) -> Trace {
    let mut state = State::new(p, w);
    let mut room: Option<Vec<usize>> = quota.map(|q| {
        let mut sizes = vec![0; q.class.iter().max().map_or(0, |m| m + 1)];
        q.class.iter().for_each(|c| sizes[*c] += 1usize);
        sizes.iter().map(|n| n.saturating_sub(q.stay)).collect()
    });
    let mut out = Trace::default();
    loop {
        let may = |row: usize| match (&room, quota) {
            (Some(room), Some(q)) => room[q.class[row]] > 0,
            _ => true,
        };
        let Some((at, rise)) = state.least(&may) else { return out };
        let row = state.live[at];
        if let (Some(room), Some(q)) = (&mut room, quota) {
            room[q.class[row]] -= 1;
        }
        out.order.push(row);
        out.rise.push(rise);
        state.take(at);
    }
}

/// Rows that are left, with P = `p` − L Lᵀ (its lower triangle) and its diagonal, which is always up to date.
struct State {
    /// Rows by their number in the weight.
    live: Vec<usize>,
    gone: Vec<bool>,
    p: Vec<f64>,
    diagonal: Vec<f64>,
    /// `live × DELAY`, of which `filled` columns are in use.
    l: Vec<f64>,
    filled: usize,
    /// `live × targets`.
    w: Vec<f64>,
    targets: usize,
    /// Variances below this are rounding.
    tiny: f64,
}

impl State {
    fn new(p: Matrix, w: &Matrix) -> Self {
        let n = p.rows();
        Self {
            live: (0..n).collect(),
            gone: vec![false; n],
            diagonal: (0..n).map(|i| p.get(i, i)).collect(),
            tiny: 1e-14 * p.mean_diagonal(),
            l: vec![0.0; n * DELAY],
            filled: 0,
            w: w.data().to_vec(),
            targets: w.cols(),
            p: p.into_data(),
        }
    }
    /// The row that adds least, and what it adds.
    fn least(&self, may: &dyn Fn(usize) -> bool) -> Option<(usize, f64)> {
        let mut best: Option<(usize, f64, f32)> = None;
        for at in (0..self.live.len()).filter(|at| !self.gone[*at] && may(self.live[*at])) {
            let w = &self.w[at * self.targets..(at + 1) * self.targets];
            let rise = w.iter().map(|w| w * w).sum::<f64>() / self.diagonal[at].max(self.tiny);
            // Rounded, so that the order does not hang on the last digits of a kernel; ties go to the first row.
            let key = rise as f32;
            if best.is_none_or(|b| key < b.2) {
                best = Some((at, rise, key));
            }
        }
        best.map(|(at, rise, _)| (at, rise))
    }
    /// Fixes a row to zero.
    fn take(&mut self, at: usize) {
        let (n, targets, filled) = (self.live.len(), self.targets, self.filled);
        let pivot = self.diagonal[at].max(self.tiny);
        let scale = pivot.sqrt();
        let own: Vec<f64> = self.l[at * DELAY..at * DELAY + filled].to_vec();
        let w: Vec<f64> = self.w[at * targets..(at + 1) * targets].iter().map(|w| w / pivot).collect();
        for i in (0..n).filter(|i| !self.gone[*i]) {
            let row = &mut self.l[i * DELAY..(i + 1) * DELAY];
            let column = self.p[i.max(at) * n + i.min(at)] - dot(&row[..filled], &own);
            row[filled] = column / scale;
            self.diagonal[i] -= row[filled] * row[filled];
            for (mine, w) in self.w[i * targets..(i + 1) * targets].iter_mut().zip(&w) {
                *mine -= column * w;
            }
        }
        self.gone[at] = true;
        self.filled += 1;
        if self.filled == DELAY {
            self.write();
        }
    }
    /// Brings P up to date, without the rows that are gone.
    fn write(&mut self) {
        let kept: Vec<usize> = (0..self.live.len()).filter(|i| !self.gone[*i]).collect();
        let (old, n) = (self.live.len(), kept.len());
        let l: Vec<f64> = kept.iter().flat_map(|&i| self.l[i * DELAY..(i + 1) * DELAY].iter().copied()).collect();
        // Elements only move towards the front, so this may be done in place.
        for (to, &from) in kept.iter().enumerate() {
            for (column, &j) in kept[..=to].iter().enumerate() {
                self.p[to * n + column] = self.p[from * old + j];
            }
            for t in 0..self.targets {
                self.w[to * self.targets + t] = self.w[from * self.targets + t];
            }
            self.diagonal[to] = self.diagonal[from];
            self.live[to] = self.live[from];
        }
        self.p.truncate(n * n);
        self.w.truncate(n * self.targets);
        self.diagonal.truncate(n);
        self.live.truncate(n);
        for (i, out) in self.p.chunks_mut((ROWS * n).max(1)).enumerate() {
            let (start, rows) = (i * ROWS, out.len() / n);
            add_outer((out, n), -1.0, &l[start * DELAY..], &l, (rows, DELAY, start + rows));
        }
        self.l.truncate(n * DELAY);
        (self.gone, self.filled) = (vec![false; n], 0);
    }
}

/// How many rows each of the traces gives up when `leave` go in all, so that those go which add least; and what is added
/// by each of the first rows to go, in that order.
///
/// A trace is followed in its own order: a row that adds little counts for as much as the dearest before it.
pub fn merge(traces: &[Trace], leave: usize) -> (Vec<usize>, Vec<f64>) {
    let mut all = Vec::new();
    for (t, trace) in traces.iter().enumerate() {
        let mut most = 0.0f32;
        for (step, rise) in trace.rise.iter().enumerate() {
            most = most.max(*rise as f32);
            all.push((most, t, step));
        }
    }
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then((a.1, a.2).cmp(&(b.1, b.2))));
    all.truncate(leave);
    let mut counts = vec![0; traces.len()];
    all.iter().for_each(|(_, t, _)| counts[*t] += 1);
    (counts, all.iter().map(|(_, t, step)| traces[*t].rise[*step]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers that all differ.
    fn random(rows: usize, cols: usize, seed: u64) -> Matrix {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1u32 << 31) - 0.5
        };
        Matrix::new(rows, cols, (0..rows * cols).map(|_| next()).collect())
    }

    /// A Gram matrix of `n` unknowns, and cross products with `m` targets.
    fn system(n: usize, m: usize) -> (Matrix, Matrix) {
        let x = random(2 * n, n, 1);
        (product(&x.transpose(), &x), random(n, m, 2))
    }

    /// tr(Wᵀ C) of the optimum on a support: the part of the targets that it explains.
    fn explained(a: &Matrix, c: &Matrix, support: &[usize]) -> f64 {
        if support.is_empty() {
            return 0.0;
        }
        let all: Vec<usize> = (0..c.cols()).collect();
        let c = c.select(support, &all);
        let w = solve_spd(&a.select(support, support), &c).unwrap();
        w.data().iter().zip(c.data()).map(|(w, c)| w * c).sum()
    }

    #[test]
    fn every_step_is_the_best_one_and_adds_what_it_says() {
        // More rows than wait for one downdate.
        let n = 110;
        let (a, c) = system(n, 3);
        let w = solve_spd(&a, &c).unwrap();
        let found = trace(Inverse::of(&a).unwrap().first(n), &w, None);
        let mut left: Vec<usize> = (0..n).collect();
        let mut now = explained(&a, &c, &left);
        for (step, (row, rise)) in found.order.iter().zip(&found.rise).enumerate() {
            let without = |row: usize| -> Vec<usize> { left.iter().copied().filter(|r| *r != row).collect() };
            if step % 17 == 0 {
                let least = left.iter().map(|r| now - explained(&a, &c, &without(*r))).fold(f64::INFINITY, f64::min);
                assert!((rise - least).abs() < 1e-6 * now.max(1e-3), "{step}: {rise} {least}");
            }
            left = without(*row);
            let then = explained(&a, &c, &left);
            assert!((now - then - rise).abs() < 1e-6 * now.max(1e-3), "{step}: {} {rise}", now - then);
            now = then;
        }
        assert!(left.is_empty());
    }

    #[test]
    fn what_goes_at_once_moves_the_rest_to_their_optimum() {
        let (a, c) = system(20, 2);
        let w = solve_spd(&a, &c).unwrap();
        let (gone, left): (Vec<usize>, Vec<usize>) = (0..20).partition(|i| i % 3 == 0);
        let change = without(&Inverse::of(&a).unwrap().first(20), &w, &gone).unwrap();
        let exact = solve_spd(&a.select(&left, &left), &c.select(&left, &[0, 1])).unwrap();
        let now = |row: usize, t: usize| w.get(row, t) + change.get(row, t);
        assert!(gone.iter().all(|row| now(*row, 0).abs() + now(*row, 1).abs() < 1e-9));
        let mut pairs = left.iter().enumerate().flat_map(|(r, row)| [0, 1].map(|t| now(*row, t) - exact.get(r, t)));
        assert!(pairs.all(|d| d.abs() < 1e-8));
    }

    #[test]
    fn a_quota_leaves_as_many_of_each_class() {
        let n = 110;
        let (a, c) = system(n, 1);
        let class: Vec<usize> = (0..n).map(|i| i / 4).collect();
        let w = solve_spd(&a, &c).unwrap();
        let found = trace(Inverse::of(&a).unwrap().first(n), &w, Some(Quota { class: &class, stay: 2 }));
        let left = |k: usize| (0..n).filter(|i| class[*i] == k && !found.order.contains(i)).count();
        assert!((0..n.div_ceil(4)).all(|k| left(k) == 2));
    }

    #[test]
    fn what_is_decided_is_made_up_for_by_what_is_free() {
        let (n, s) = (30, 12);
        let (a, c) = system(n, 2);
        let w = solve_spd(&a, &c).unwrap();
        let moved = random(s, 2, 5);
        let mut inverse = Inverse::of(&a).unwrap();
        let others = inverse.fix(&moved).unwrap();
        // The regression of the rest with the first ones held where they are.
        let (head, tail): (Vec<usize>, Vec<usize>) = (0..n).partition(|i| *i < s);
        let mut held = w.select(&head, &[0, 1]);
        held.add_scaled(&moved, 1.0);
        let mut rest = c.select(&tail, &[0, 1]);
        rest.add_scaled(&product(&a.select(&tail, &head), &held), -1.0);
        let exact = solve_spd(&a.select(&tail, &tail), &rest).unwrap();
        for (r, row) in tail.iter().enumerate() {
            assert!((0..2).all(|t| (w.get(*row, t) + others.get(r, t) - exact.get(r, t)).abs() < 1e-8));
        }
        let left = Inverse::of(&a.select(&tail, &tail)).unwrap();
        assert!((0..n - s).all(|i| (inverse.p.get(i, i) - left.p.get(i, i)).abs() < 1e-8));
    }

    #[test]
    fn traces_give_up_what_adds_least_in_their_own_order() {
        let one = Trace { order: vec![0, 1, 2], rise: vec![1.0, 5.0, 2.0] };
        let other = Trace { order: vec![0, 1], rise: vec![3.0, 4.0] };
        assert_eq!(merge(&[one.clone(), other.clone()], 3), (vec![1, 2], vec![1.0, 3.0, 4.0]));
        assert_eq!(merge(&[one, other], 4).0, [2, 2]);
    }
}
