//! Dense linear algebra in plain doubles, over faer. The only crate that knows faer: its generic code is compiled once,
//! here. Everything runs on the calling thread, so results do not depend on the number of threads.
//!
//! ```
//! use sparsec_linalg::{Matrix, solve_spd};
//! let a = Matrix::from_rows(&[&[4.0, 2.0], &[2.0, 3.0]]);
//! let x = solve_spd(&a, &Matrix::from_rows(&[&[2.0], &[1.0]])).unwrap();
//! assert!((x.get(0, 0) - 0.5).abs() < 1e-12 && x.get(1, 0).abs() < 1e-12);
//! ```

mod mask;

pub use mask::{Inverse, Quota, Trace, merge, trace, without};

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::prelude::Solve;
use faer::{Accum, MatMut, MatRef, Par, Side};

/// A dense matrix of doubles in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    rows: usize,
    cols: usize,
    data: Vec<f64>,
}

impl Matrix {
    /// A matrix of zeros.
    pub fn zeros(rows: usize, cols: usize) -> Self {
        Self { rows, cols, data: vec![0.0; rows * cols] }
    }
    /// A matrix over row-major data; panics if its length is not `rows · cols`, which is a mistake of the caller.
    pub fn new(rows: usize, cols: usize, data: Vec<f64>) -> Self {
        assert_eq!(data.len(), rows * cols, "data fits the shape");
        Self { rows, cols, data }
    }
    /// A matrix from its rows.
    pub fn from_rows(rows: &[&[f64]]) -> Self {
        let cols = rows.first().map_or(0, |r| r.len());
        Self::new(rows.len(), cols, rows.concat())
    }
    /// Number of rows.
    pub fn rows(&self) -> usize {
        self.rows
    }
    /// Number of columns.
    pub fn cols(&self) -> usize {
        self.cols
    }
    /// Elements, row by row.
    pub fn data(&self) -> &[f64] {
        &self.data
    }
    /// Elements, row by row.
    pub fn data_mut(&mut self) -> &mut [f64] {
        &mut self.data
    }
    /// Elements, row by row.
    pub fn into_data(self) -> Vec<f64> {
        self.data
    }
    /// One element.
    pub fn get(&self, r: usize, c: usize) -> f64 {
        self.data[r * self.cols + c]
    }
    /// Sets one element.
    pub fn set(&mut self, r: usize, c: usize, v: f64) {
        self.data[r * self.cols + c] = v;
    }
    /// One row.
    pub fn row(&self, r: usize) -> &[f64] {
        &self.data[r * self.cols..(r + 1) * self.cols]
    }
    /// The given rows and columns.
    pub fn select(&self, rows: &[usize], cols: &[usize]) -> Self {
        let data = rows.iter().flat_map(|&r| cols.iter().map(move |&c| self.get(r, c))).collect();
        Self::new(rows.len(), cols.len(), data)
    }
    /// The transpose.
    pub fn transpose(&self) -> Self {
        let data = (0..self.cols).flat_map(|c| (0..self.rows).map(move |r| self.get(r, c))).collect();
        Self::new(self.cols, self.rows, data)
    }
    /// Adds `other · factor`; panics if the shapes differ.
    pub fn add_scaled(&mut self, other: &Self, factor: f64) {
        assert_eq!((self.rows, self.cols), (other.rows, other.cols), "shapes agree");
        for (a, b) in self.data.iter_mut().zip(&other.data) {
            *a += factor * b;
        }
    }
    /// The diagonal's mean; 0 for an empty matrix.
    pub fn mean_diagonal(&self) -> f64 {
        let n = self.rows.min(self.cols);
        (0..n).map(|i| self.get(i, i)).sum::<f64>() / n.max(1) as f64
    }
    /// Whether every element is finite.
    pub fn is_finite(&self) -> bool {
        self.data.iter().all(|v| v.is_finite())
    }
    fn view(&self) -> MatRef<'_, f64> {
        MatRef::from_row_major_slice(&self.data, self.rows, self.cols)
    }
}

/// a · b; panics if the inner sizes differ.
pub fn product(a: &Matrix, b: &Matrix) -> Matrix {
    assert_eq!(a.cols, b.rows, "inner sizes agree");
    let mut out = Matrix::zeros(a.rows, b.cols);
    let view = MatMut::from_row_major_slice_mut(&mut out.data, a.rows, b.cols);
    matmul(view, Accum::Replace, a.view(), b.view(), 1.0, Par::Seq);
    out
}

/// out += factor · a · bᵀ over row-major slices: `a` is `rows × inner`, `b` is `cols × inner`, and `out` is
/// `rows × stride`, of which the first `cols` columns change. Panics if the slices do not fit, which is a mistake of the
/// caller.
pub fn add_outer(
    (out, stride): (&mut [f64], usize),
    factor: f64,
    a: &[f64],
    b: &[f64],
    (rows, inner, cols): (usize, usize, usize),
) {
    assert!(a.len() >= rows * inner && b.len() >= cols * inner, "data fits the shapes");
    // faer 0.24 takes the strides of `from_row_major_slice_with_stride_mut` the wrong way round.
    let view = MatMut::from_column_major_slice_with_stride_mut(out, cols, rows, stride).transpose_mut();
    let (a, b) = (&a[..rows * inner], &b[..inner * cols]);
    let (a, b) = (MatRef::from_row_major_slice(a, rows, inner), MatRef::from_row_major_slice(b, cols, inner));
    matmul(view, Accum::Add, a, b.transpose(), factor, Par::Seq);
}

/// Rows summed in single precision before they are added to a double: short enough that rounding stays near 1e-6 of
/// the sum, long enough for the kernel to run at full speed.
const BLOCK: usize = 256;

/// out += Xᵀ X for `x` of `rows × n` singles; `out` is `n × n` and symmetric.
pub fn add_gram(out: &mut Matrix, x: &[f32], rows: usize) {
    let n = out.rows;
    assert_eq!(x.len(), rows * n, "data fits the shape");
    let mut block = vec![0f32; n * n];
    for chunk in x.chunks(BLOCK * n.max(1)) {
        let view = MatRef::from_row_major_slice(chunk, chunk.len() / n, n);
        let dst = MatMut::from_row_major_slice_mut(&mut block, n, n);
        let (lower, full) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        triangular::matmul(dst, lower, Accum::Replace, view.transpose(), full, view, full, 1.0f32, Par::Seq);
        for r in 0..n {
            for c in 0..=r {
                out.data[r * n + c] += f64::from(block[r * n + c]);
            }
        }
    }
    for r in 0..n {
        for c in 0..r {
            out.data[c * n + r] = out.data[r * n + c];
        }
    }
}

/// out += Xᵀ Y for `x` of `rows × n` and `y` of `rows × m` singles; `out` is `n × m`.
pub fn add_cross(out: &mut Matrix, x: &[f32], y: &[f32], rows: usize) {
    let (n, m) = (out.rows, out.cols);
    assert!(x.len() == rows * n && y.len() == rows * m, "data fits the shape");
    let mut block = vec![0f32; n * m];
    for (cx, cy) in x.chunks(BLOCK * n.max(1)).zip(y.chunks(BLOCK * m.max(1))) {
        let vx = MatRef::from_row_major_slice(cx, cx.len() / n, n);
        let vy = MatRef::from_row_major_slice(cy, cy.len() / m, m);
        let dst = MatMut::from_row_major_slice_mut(&mut block, n, m);
        matmul(dst, Accum::Replace, vx.transpose(), vy, 1.0f32, Par::Seq);
        for (o, b) in out.data.iter_mut().zip(&block) {
            *o += f64::from(*b);
        }
    }
}

/// X W + b in singles, for `x` of `rows × n` and `weight` of `n × m`: `rows × m`.
pub fn apply(x: &[f32], weight: &Matrix, bias: &[f64]) -> Vec<f32> {
    let (n, m) = (weight.rows, weight.cols);
    assert!(x.len().is_multiple_of(n.max(1)) && bias.len() == m, "data fits the shape");
    let rows = x.len() / n.max(1);
    let w: Vec<f32> = weight.data.iter().map(|v| *v as f32).collect();
    let mut out: Vec<f32> = (0..rows).flat_map(|_| bias.iter().map(|b| *b as f32)).collect();
    let (x, w) = (MatRef::from_row_major_slice(x, rows, n), MatRef::from_row_major_slice(&w, n, m));
    matmul(MatMut::from_row_major_slice_mut(&mut out, rows, m), Accum::Add, x, w, 1.0f32, Par::Seq);
    out
}

/// a · b of two vectors.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    // Four sums side by side, so that the compiler may use vector instructions.
    let (mut sums, cut) = ([0.0; 4], a.len().min(b.len()) / 4 * 4);
    for (a, b) in a[..cut].chunks_exact(4).zip(b[..cut].chunks_exact(4)) {
        for k in 0..4 {
            sums[k] += a[k] * b[k];
        }
    }
    let rest: f64 = a[cut..].iter().zip(&b[cut..]).map(|(a, b)| a * b).sum();
    sums.iter().sum::<f64>() + rest
}

/// x with a · x = b for a symmetric positive definite `a`, by Cholesky; `None` where `a` is not positive definite or
/// the solution is not finite.
pub fn solve_spd(a: &Matrix, b: &Matrix) -> Option<Matrix> {
    if !a.is_finite() || !b.is_finite() {
        return None;
    }
    let llt = a.view().llt(Side::Lower).ok()?;
    let x = llt.solve(b.view());
    let data = (0..b.rows).flat_map(|r| (0..b.cols).map(move |c| (r, c))).map(|(r, c)| x[(r, c)]).collect();
    let x = Matrix::new(b.rows, b.cols, data);
    x.is_finite().then_some(x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gram_and_cross_products_match_the_definition() {
        let (rows, n, m) = (600, 5, 3);
        let value = |i: usize| ((i * 37 % 101) as f32 - 50.0) / 50.0;
        let x: Vec<f32> = (0..rows * n).map(value).collect();
        let y: Vec<f32> = (0..rows * m).map(|i| value(i + 7)).collect();
        let (mut gram, mut cross) = (Matrix::zeros(n, n), Matrix::zeros(n, m));
        add_gram(&mut gram, &x, rows);
        add_cross(&mut cross, &x, &y, rows);
        for i in 0..n {
            for j in 0..n {
                let exact: f64 = (0..rows).map(|r| f64::from(x[r * n + i]) * f64::from(x[r * n + j])).sum();
                assert!((gram.get(i, j) - exact).abs() < 1e-4);
            }
            for j in 0..m {
                let exact: f64 = (0..rows).map(|r| f64::from(x[r * n + i]) * f64::from(y[r * m + j])).sum();
                assert!((cross.get(i, j) - exact).abs() < 1e-4);
            }
        }
    }

    #[test]
    fn outer_products_change_only_their_columns() {
        let mut out = vec![1.0; 6];
        add_outer((&mut out, 3), -2.0, &[1.0, 2.0, 3.0, 4.0], &[1.0, 0.0, 0.0, 1.0], (2, 2, 2));
        assert_eq!(out, [-1.0, -3.0, 1.0, -5.0, -7.0, 1.0]);
    }

    #[test]
    fn what_is_not_positive_definite_is_refused() {
        let a = Matrix::from_rows(&[&[1.0, 2.0], &[2.0, 1.0]]);
        assert_eq!(solve_spd(&a, &Matrix::zeros(2, 1)), None);
        let nan = Matrix::from_rows(&[&[f64::NAN]]);
        assert_eq!(solve_spd(&nan, &Matrix::zeros(1, 1)), None);
    }
}
