//! An order of outputs in which those that can share their zeros lie in one block.
//!
//! ```text
//! least Σ_blocks Σ_unknowns min(S, τ)     S = Σ_{o in block} s_o
//! ```
//!
//! s_o of an unknown is what its zero adds to the error of output o by itself, in the order in which `sparsec_linalg::trace`
//! takes the unknowns of o out, with all others following; τ is the sum that parts the blocks which stay from those that
//! go. What lies below τ is lost, and what lies above costs a place. Greedy at first, then by swaps; the work is bounded.

use super::curves::each_weight;
use super::units::Units;
use crate::recover::{Observed, RecoverError, Recovery, Skipped, Subject};
use rayon::prelude::*;
use sparsec_ir::{Model, ValueId};
use sparsec_linalg::{Inverse, trace};
use sparsec_plan::Pattern;

/// Unknowns of a weight that are compared, at most; of more, some at equal distances.
const UNKNOWNS: usize = 128;
/// Multiplications that the traces of one weight may cost; where they cost more, they are as if nothing followed.
const WORK: f64 = 2e10;
/// Rounds of swaps, at most.
const ROUNDS: usize = 8;

/// Outputs of a weight, with what each of its zeros adds, relative to what the weight explains.
pub struct Rows {
    /// The weight.
    pub weight: ValueId,
    /// Its axis of outputs.
    pub axis: usize,
    /// For each output, one number for each unknown.
    pub rises: Vec<Vec<f64>>,
}

/// Outputs of all weights of `model` that a block pattern fits and that read the same inputs.
///
/// # Errors
/// As for recovery.
pub fn rows(cx: &Recovery, model: &Model, pattern: Pattern) -> Result<Vec<Rows>, RecoverError> {
    let mut one = |subject: &Subject, units: &Units, observed: &Observed| {
        let layout = &subject.layout;
        Ok(match layout.groups == 1 && layout.spread == 1 {
            true => rises(subject, units, observed, cx.options.ridge).ok_or(Skipped::Singular),
            false => Ok(Vec::new()),
        })
    };
    let found = each_weight(cx, model, pattern, &mut one)?;
    let rows = |(subject, rises): (Subject, Result<Vec<Vec<f64>>, _>)| {
        let rises = rises.ok().filter(|r| !r.is_empty())?;
        Some(Rows { weight: subject.value, axis: subject.linear.form.w_out, rises })
    };
    Ok(found.into_iter().filter_map(rows).collect())
}

fn rises(subject: &Subject, units: &Units, observed: &Observed, ridge: f64) -> Option<Vec<Vec<f64>>> {
    let equations = observed.equations(subject, subject.ridge(ridge));
    let e = equations.first()?;
    let inverse = Inverse::of(&e.gram)?;
    let weight = inverse.times(&e.cross);
    let p = inverse.first(units.width);
    let explained: f64 = weight.data().iter().zip(e.cross.data()).map(|(w, c)| w * c).sum();
    let follow = weight.cols() as f64 * (units.width as f64).powi(3) / 3.0 <= WORK;
    let all: Vec<usize> = (0..units.width).collect();
    let one = |o: usize| {
        let mut out: Vec<f64> = all.iter().map(|r| weight.get(*r, o).powi(2) / p.get(*r, *r)).collect();
        if follow {
            let found = trace(p.clone(), &weight.select(&all, &[o]), None);
            let mut most = 0.0f64;
            for (row, rise) in found.order.iter().zip(&found.rise) {
                most = most.max(*rise);
                out[*row] = most;
            }
        }
        let step = units.width.div_ceil(UNKNOWNS).max(1);
        out.into_iter().step_by(step).map(|s| s / explained.max(f64::MIN_POSITIVE)).collect()
    };
    Some((0..weight.cols()).into_par_iter().map(one).collect())
}

/// Outputs in an order in which blocks of `block` in a row lose little at a share. Each of `weights` has the same outputs.
pub fn arranged(weights: &[&[Vec<f64>]], block: usize, density: f64) -> Vec<usize> {
    let count = weights.first().map_or(0, |w| w.len());
    let mut best: Vec<usize> = (0..count).collect();
    for _ in 0..2 {
        let blocks = Blocks::of(weights, block, density, &best);
        let mut tried = blocks.greedy();
        blocks.swap(&mut tried);
        let mut own = best.clone();
        blocks.swap(&mut own);
        let least = [&tried, &own].into_iter().min_by(|a, b| blocks.lost(a).total_cmp(&blocks.lost(b)));
        best = least.cloned().unwrap_or_default();
    }
    best
}

/// Outputs with their numbers of all weights in a row, and the sum at which each number's weight is parted.
struct Blocks {
    rises: Vec<Vec<f64>>,
    most: Vec<f64>,
    block: usize,
}

impl Blocks {
    fn of(weights: &[&[Vec<f64>]], block: usize, density: f64, order: &[usize]) -> Self {
        let rises = (0..order.len()).map(|o| weights.iter().flat_map(|w| w[o].iter().copied()).collect()).collect();
        let mut out = Self { rises, most: Vec::new(), block };
        for weight in weights {
            let width = weight.first().map_or(0, Vec::len);
            let sum = |own: &[usize], k: usize| own.iter().map(|o| weight[*o][k]).sum::<f64>();
            let mut sums: Vec<f64> = order.chunks(block).flat_map(|own| (0..width).map(move |k| sum(own, k))).collect();
            sums.sort_by(f64::total_cmp);
            let at = ((1.0 - density) * sums.len() as f64) as usize;
            out.most.extend(std::iter::repeat_n(sums.get(at).copied().unwrap_or(f64::INFINITY), width));
        }
        out
    }
    fn sum(&self, own: &[usize]) -> Vec<f64> {
        (0..self.most.len()).map(|k| own.iter().map(|o| self.rises[*o][k]).sum()).collect()
    }
    /// Σ min(sum − out + in, τ).
    fn cost(&self, sum: &[f64], out: Option<usize>, into: Option<usize>) -> f64 {
        let of = |o: Option<usize>, k: usize| o.map_or(0.0, |o| self.rises[o][k]);
        self.most.iter().zip(sum).enumerate().map(|(k, (t, s))| (s - of(out, k) + of(into, k)).min(*t)).sum()
    }
    fn lost(&self, order: &[usize]) -> f64 {
        order.chunks(self.block).map(|own| self.cost(&self.sum(own), None, None)).sum()
    }
    /// Blocks begun with the output that weighs most, and filled with those that add least.
    fn greedy(&self) -> Vec<usize> {
        let weigh = |o: &usize| self.rises[*o].iter().sum::<f64>();
        let mut left: Vec<usize> = (0..self.rises.len()).collect();
        left.sort_by(|a, b| weigh(b).total_cmp(&weigh(a)).then(a.cmp(b)));
        let alone: Vec<f64> = (0..self.rises.len()).map(|o| self.cost(&self.rises[o], None, None)).collect();
        let mut out = Vec::new();
        while !left.is_empty() {
            let mut own = vec![left.remove(0)];
            while own.len() < self.block && !left.is_empty() {
                let sum = self.sum(&own);
                let adds: Vec<f64> = left.par_iter().map(|o| self.cost(&sum, None, Some(*o)) - alone[*o]).collect();
                let least = (0..left.len()).min_by(|a, b| adds[*a].total_cmp(&adds[*b])).unwrap_or(0);
                own.push(left.remove(least));
            }
            out.extend(own);
        }
        out
    }
    /// Swaps outputs of different blocks while less is lost by it.
    fn swap(&self, order: &mut [usize]) {
        let mut sums: Vec<Vec<f64>> = order.chunks(self.block).map(|own| self.sum(own)).collect();
        let mut costs: Vec<f64> = sums.iter().map(|s| self.cost(s, None, None)).collect();
        for _ in 0..ROUNDS {
            let mut changed = false;
            for i in 0..order.len() {
                let mine = i / self.block;
                let gain = |j: usize| {
                    let other = j / self.block;
                    if other == mine {
                        return 0.0;
                    }
                    let (a, b) = (order[i], order[j]);
                    let now = self.cost(&sums[mine], Some(a), Some(b)) + self.cost(&sums[other], Some(b), Some(a));
                    now - costs[mine] - costs[other]
                };
                let gains: Vec<f64> = (0..order.len()).into_par_iter().map(gain).collect();
                let best = (0..order.len()).min_by(|a, b| gains[*a].total_cmp(&gains[*b])).unwrap_or(i);
                if gains[best] < -1e-9 * (costs[mine] + costs[best / self.block]) {
                    order.swap(i, best);
                    for (at, own) in
                        order.chunks(self.block).enumerate().filter(|(b, _)| [mine, best / self.block].contains(b))
                    {
                        sums[at] = self.sum(own);
                        costs[at] = self.cost(&sums[at], None, None);
                    }
                    changed = true;
                }
            }
            if !changed {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Eight outputs, of which every other one needs the first half of the unknowns and the rest the other half.
    fn two_kinds() -> Vec<Vec<f64>> {
        (0..8)
            .map(|o| (0..12).map(|k| if (k < 6) == (o % 2 == 0) { 1.0 + 0.1 * o as f64 } else { 0.01 }).collect())
            .collect()
    }

    #[test]
    fn outputs_that_need_the_same_inputs_lie_in_one_block() {
        let rises = two_kinds();
        let order = arranged(&[&rises], 4, 0.5);
        let kinds: Vec<Vec<usize>> = order.chunks(4).map(|own| own.iter().map(|o| o % 2).collect()).collect();
        assert!(kinds.iter().all(|k| k.iter().all(|o| *o == k[0])), "{order:?}");
        let mut sorted = order.clone();
        sorted.sort_unstable();
        assert_eq!(sorted, (0..8).collect::<Vec<_>>());
    }

    #[test]
    fn a_weight_of_more_counts_where_weights_disagree() {
        // The second weight would have pairs of neighbours together, and loses a hundred times less by it.
        let (rises, other) =
            (two_kinds(), (0..8).map(|o| vec![if o / 4 == 0 { 0.01 } else { 1e-4 }]).collect::<Vec<_>>());
        assert_eq!(arranged(&[&rises, &other], 4, 0.5), arranged(&[&rises], 4, 0.5));
        assert!(arranged(&[&[][..]], 4, 0.5).is_empty());
    }
}
