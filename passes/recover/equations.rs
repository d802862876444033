//! The regression of one group of a linear node.

use super::bend::Bend;
use super::observations::{Part, Rows};
use sparsec_calib::Weight;
use sparsec_ir::Contraction;
use sparsec_linalg::{Matrix, add_cross, add_gram, product, solve_spd};

/// How the elements of a weight are the unknowns of its groups' regressions.
///
/// A gathering window makes each (input, tap) an unknown of each output; a scattering one makes each tap an output of
/// its own.
pub(crate) struct Layout {
    /// Groups of the node.
    pub(crate) groups: usize,
    /// Outputs of one group.
    pub(crate) per_group: usize,
    /// Targets for each output: taps of a scattering window, else 1.
    pub(crate) spread: usize,
    /// Inputs of one group.
    pub(crate) inputs: usize,
    /// Unknowns of one input: taps of a gathering window, else 1.
    pub(crate) taps: usize,
}

/// y = x · weight + bias for one group; columns are outputs, each `spread` times.
pub(crate) struct Map {
    /// Unknowns × targets.
    pub(crate) weight: Matrix,
    /// One number a target.
    pub(crate) bias: Vec<f64>,
}

/// A solved group, with squared errors on the held-out observations.
pub(crate) struct Solution {
    pub(crate) map: Map,
    /// Of the weights that the cut left.
    pub(crate) before: f64,
    /// Of the solution.
    pub(crate) after: f64,
    /// Σ (y − mean y)².
    pub(crate) signal: f64,
}

impl Layout {
    pub(crate) fn of(weight: &Weight, form: &Contraction) -> Self {
        let groups = form.groups.max(1) as usize;
        let (taps, spread) = if form.transposed { (1, weight.taps()) } else { (weight.taps(), 1) };
        let per_group = if form.transposed { weight.outputs } else { weight.outputs / groups };
        Self { groups, per_group, spread, inputs: weight.inputs, taps }
    }
    /// Outputs of all groups.
    pub(crate) fn outputs(&self) -> usize {
        self.groups * self.per_group
    }
    /// Unknowns of one target.
    pub(crate) fn width(&self) -> usize {
        self.inputs * self.taps
    }
    /// Every element of a group: output, input and tap in the weight; row and column in the map.
    fn elements(&self, group: usize) -> impl Iterator<Item = ([usize; 3], (usize, usize))> + '_ {
        let per = self.inputs * self.taps * self.spread;
        (0..self.per_group * per).map(move |n| {
            let (o, rest) = (n / per, n % per);
            let (i, t) = (rest / (self.taps * self.spread), rest % (self.taps * self.spread));
            // Scattering windows have one group, so their outputs need no offset.
            let at = if self.spread == 1 { (i * self.taps + t, o) } else { (i, o * self.spread + t) };
            ([group * self.per_group + o, i, t], at)
        })
    }
    /// The map that a group has.
    pub(crate) fn read(&self, weight: &Weight, bias: &[f64], group: usize) -> Map {
        let mut out = Matrix::zeros(self.width(), self.per_group * self.spread);
        for ([o, i, t], (row, column)) in self.elements(group) {
            out.set(row, column, weight.get(o, i, t));
        }
        let bias = (0..out.cols()).map(|c| bias[group * self.per_group + c / self.spread]).collect();
        Map { weight: out, bias }
    }
    /// Writes a group's map into the weight.
    pub(crate) fn write(&self, weight: &mut Weight, map: &Map, group: usize) {
        for ([o, i, t], (row, column)) in self.elements(group) {
            weight.set(o, i, t, map.weight.get(row, column));
        }
    }
}

/// Second-order sums of some rows: inputs with themselves, inputs with targets, and the sums of both.
pub(crate) struct Sums {
    gram: Matrix,
    cross: Matrix,
    x: Vec<f64>,
    y: Vec<f64>,
    count: usize,
}

/// Rows that are made at a time.
const CHUNK: usize = 4096;

impl Sums {
    /// Sums of nothing.
    pub(crate) fn zeros(width: usize, targets: usize) -> Self {
        let (gram, cross) = (Matrix::zeros(width, width), Matrix::zeros(width, targets));
        Self { gram, cross, x: vec![0.0; width], y: vec![0.0; targets], count: 0 }
    }
    /// Sums of a group over the observations `picked` of one batch.
    pub(crate) fn of(part: &Part, group: usize, picked: &[usize], (width, targets): (usize, usize)) -> Self {
        let mut out = Self::zeros(width, targets);
        for chunk in picked.chunks(CHUNK) {
            let rows = part.rows(group, chunk);
            add_gram(&mut out.gram, &rows.x, rows.count);
            add_cross(&mut out.cross, &rows.x, &rows.y, rows.count);
            for (sums, data) in [(&mut out.x, &rows.x), (&mut out.y, &rows.y)] {
                for row in data.chunks(sums.len().max(1)) {
                    row.iter().zip(sums.iter_mut()).for_each(|(v, s)| *s += f64::from(*v));
                }
            }
            out.count += rows.count;
        }
        out
    }
    /// Rows that were summed up.
    pub(crate) fn count(&self) -> usize {
        self.count
    }
    pub(crate) fn add(&mut self, other: &Self) {
        self.gram.add_scaled(&other.gram, 1.0);
        self.cross.add_scaled(&other.cross, 1.0);
        self.x.iter_mut().zip(&other.x).for_each(|(a, b)| *a += b);
        self.y.iter_mut().zip(&other.y).for_each(|(a, b)| *a += b);
        self.count += other.count;
    }
    /// Covariance of x, covariance of x with y, means of both. Not centred where the node has no bias to take a mean.
    fn moments(&self, centred: bool) -> (Matrix, Matrix, Vec<f64>, Vec<f64>) {
        let n = self.count as f64;
        let mean = |sums: &[f64]| -> Vec<f64> { sums.iter().map(|s| if centred { s / n } else { 0.0 }).collect() };
        let (mx, my) = (mean(&self.x), mean(&self.y));
        let centre = |m: &Matrix, right: &[f64]| {
            let rows = m.data().chunks(m.cols().max(1)).zip(&mx);
            let data = rows.flat_map(|(row, left)| row.iter().zip(right).map(move |(v, r)| v / n - left * r));
            Matrix::new(m.rows(), m.cols(), data.collect())
        };
        (centre(&self.gram, &mx), centre(&self.cross, &my), mx, my)
    }
}

/// What rounding leaves of a variance, relative to the squared mean: sums of squares are taken in single precision
/// (`sparsec_linalg::add_gram`).
const ROUNDING: f64 = 1e-6;

/// What a regression fits.
#[derive(Clone, Copy)]
pub(crate) struct Ridge {
    /// Whether there is a bias to fit.
    pub(crate) biased: bool,
    /// Targets that share one bias.
    pub(crate) spread: usize,
    /// λ relative to the mean variance of the inputs.
    pub(crate) lambda: f64,
}

/// Regresses a group's targets on its inputs, drawn towards the map that it has. `None` where the equations have no finite
/// solution.
pub(crate) fn solve_group(total: &Sums, old: &Map, ridge: Ridge) -> Option<Map> {
    let mut equations = Normal::of(total, old, ridge);
    // For the change, which is small, not for the weight: less is lost to rounding.
    equations.cross.add_scaled(&product(&equations.gram, &old.weight), -1.0);
    let mut weight = solve_spd(&equations.gram, &equations.cross)?;
    weight.add_scaled(&old.weight, 1.0);
    Some(equations.completed(weight, old, ridge))
}

/// The equations of a group's regression, drawn towards the map that it has: `gram` · weight = `cross`.
pub(crate) struct Normal {
    pub(crate) gram: Matrix,
    pub(crate) cross: Matrix,
    x: Vec<f64>,
    y: Vec<f64>,
    /// λ.
    lift: f64,
}

impl Normal {
    /// (A + λI) W = C + λ W₀.
    pub(crate) fn of(total: &Sums, old: &Map, ridge: Ridge) -> Self {
        let (mut gram, mut cross, x, y) = total.moments(ridge.biased);
        // No weight is to be made of inputs that do not vary: what the sums have of them are errors.
        let square = x.iter().map(|m| m * m).sum::<f64>() / x.len().max(1) as f64;
        let lift = ridge.lambda * gram.mean_diagonal() + ROUNDING * square + f64::MIN_POSITIVE;
        for i in 0..gram.rows() {
            gram.set(i, i, gram.get(i, i) + lift);
        }
        cross.add_scaled(&old.weight, lift);
        Self { gram, cross, x, y, lift }
    }
    /// Other targets for the same inputs: what `map` gives, moved. `misses` are the mean products of inputs and moves, and
    /// the mean moves.
    pub(crate) fn aim(&mut self, map: &Map, misses: (Matrix, Vec<f64>), old: &Map, ridge: Ridge) {
        let (mut cross, mean) = misses;
        if ridge.biased {
            for r in 0..cross.rows() {
                for (c, m) in mean.iter().enumerate() {
                    cross.set(r, c, cross.get(r, c) - self.x[r] * m);
                }
            }
            let given = product(&Matrix::new(1, self.x.len(), self.x.clone()), &map.weight);
            self.y = given.row(0).iter().zip(&map.bias).zip(&mean).map(|((g, b), m)| g + b + m).collect();
        }
        // gram · weight has λ weight in it, in place of which the old weight's belongs.
        cross.add_scaled(&product(&self.gram, &map.weight), 1.0);
        cross.add_scaled(&map.weight, -self.lift);
        cross.add_scaled(&old.weight, self.lift);
        self.cross = cross;
    }
    /// A weight with the bias that gives the mean of the targets, or with the old one where none is fitted.
    pub(crate) fn completed(&self, weight: Matrix, old: &Map, ridge: Ridge) -> Map {
        let mut bias = old.bias.clone();
        if ridge.biased {
            let mean = product(&Matrix::new(1, self.x.len(), self.x.clone()), &weight);
            bias = self.y.iter().zip(mean.row(0)).map(|(y, m)| y - m).collect();
            // One bias serves all positions that a scattering window writes.
            for o in bias.chunks_mut(ridge.spread) {
                let mean = o.iter().sum::<f64>() / o.len() as f64;
                o.fill(mean);
            }
        }
        Map { weight, bias }
    }
}

/// A map beside the old one, judged on the rows `held` as results are read.
pub(crate) fn judged(map: Map, held: &Rows, old: &Map, bend: Option<&Bend>) -> Solution {
    let ((before, signal), (after, _)) = (squared_error(held, old, bend), squared_error(held, &map, bend));
    Solution { map, before, after, signal }
}

/// Σ (f(y) − f(x w + b))² over the rows, and Σ (f(y) − mean f(y))².
fn squared_error(rows: &Rows, map: &Map, bend: Option<&Bend>) -> (f64, f64) {
    let (width, targets) = (rows.width.max(1), rows.targets.max(1));
    // What is added to results before they are read only counts where they are bent.
    let read = |at: usize, value: f64| match bend {
        Some(bend) => bend.at(value as f32 + rows.shift.get(at).copied().unwrap_or(0.0)).into(),
        None => value,
    };
    let mut mean = vec![0.0; targets];
    for (at, y) in rows.y.iter().enumerate() {
        mean[at % targets] += read(at, f64::from(*y)) / rows.count.max(1) as f64;
    }
    let (mut error, mut signal, mut at) = (0.0, 0.0, 0);
    for (x, y) in rows.x.chunks(CHUNK * width).zip(rows.y.chunks(CHUNK * targets)) {
        let x = Matrix::new(x.len() / width, rows.width, x.iter().map(|v| f64::from(*v)).collect());
        let fit = product(&x, &map.weight);
        for (row, y) in y.chunks(targets).enumerate() {
            for (((y, fit), bias), mean) in y.iter().zip(fit.row(row)).zip(&map.bias).zip(&mean) {
                let wanted = read(at, f64::from(*y));
                signal += (wanted - mean).powi(2);
                error += (wanted - read(at, fit + bias)).powi(2);
                at += 1;
            }
        }
    }
    (error, signal)
}
