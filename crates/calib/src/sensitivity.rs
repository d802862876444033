//! How the model's output degrades as each group shrinks alone.
//!
//! The ranking prices every keep-count of a group at once, in units of its consumers' signal. What that is worth at the
//! output is measured at a few counts: the group is masked, its consumers compensated in closed form, and the outputs
//! compared with the dense model's. Between the probes the curve is the ranking's residual, scaled.

use crate::bias::{bias_of, read_bias, set_own_constant, write_bias};
use crate::{CalibError, Consumer, Gram, Other, Ranking, Weight, compensate};
use rayon::prelude::*;
use sparsec_analysis::{Channels, Removal, node_ref};
use sparsec_ir::{Facts, LinearRule, Model, OpTable, Tensor, ValueId};
use sparsec_runtime::{Runtime, run_batches};
use std::collections::BTreeMap;

/// What is known of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct Sensitivity {
    /// Units by worth.
    pub ranking: Ranking,
    /// Measured points: units kept, divergence of the output.
    pub probes: Vec<(u32, f64)>,
}

impl Sensitivity {
    /// Divergence of the output with `keep` units kept, between and beyond the probes.
    pub fn error_at(&self, keep: u32) -> f64 {
        if keep as usize >= self.ranking.order.len() {
            return 0.0;
        }
        // Never nothing: what was measured at a probe stays, whatever the statistics say of it.
        let residual = |k: u32| self.ranking.residual[k as usize].max(1e-9);
        // Scale of each probe, at its count; interpolated linearly between counts, constant beyond the ends.
        let mut scales: Vec<(u32, f64)> = self.probes.iter().map(|(k, e)| (*k, e / residual(*k))).collect();
        scales.sort_by_key(|s| s.0);
        let scale = match scales.iter().position(|s| s.0 >= keep) {
            None => scales.last().map_or(1.0, |s| s.1),
            Some(0) => scales[0].1,
            Some(i) => {
                let ((k0, s0), (k1, s1)) = (scales[i - 1], scales[i]);
                s0 + (s1 - s0) * f64::from(keep - k0) / f64::from((k1 - k0).max(1))
            }
        };
        scale * residual(keep)
    }
}

/// Everything that a probe needs.
pub struct Probe<'a> {
    /// Runs the masked models.
    pub runtime: &'a dyn Runtime,
    /// The dense model.
    pub model: &'a Model,
    /// Its facts.
    pub facts: &'a Facts,
    /// The operators.
    pub table: &'a OpTable,
    /// Its channels.
    pub channels: &'a Channels,
    /// Consumers of each group.
    pub consumers: &'a [Vec<Consumer>],
    /// Statistics of the consumers' inputs.
    pub grams: &'a BTreeMap<(ValueId, usize), Gram>,
    /// Samples to compare outputs on (first axis: samples).
    pub inputs: &'a [Tensor],
    /// The dense model's outputs on them.
    pub dense: &'a [Tensor],
    /// Makes the masked model of a removal.
    pub mask: &'a (dyn Fn(&Removal) -> Result<Model, String> + Sync),
    /// Ridge of the compensation, relative to the mean variance.
    pub ridge: f64,
}

/// Samples in one run.
const BATCH: usize = 32;

/// Measures every group at the counts given for it. Groups are independent, so they run side by side; `step` is told of
/// each that is done and says whether to stop.
pub fn sensitivity(
    probe: &Probe,
    rankings: &[Ranking],
    counts: &[Vec<u32>],
    step: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<Sensitivity>, CalibError> {
    let work: Vec<(usize, u32)> =
        counts.iter().enumerate().flat_map(|(g, ks)| ks.iter().map(move |k| (g, *k))).collect();
    let measured: Vec<Result<f64, CalibError>> = work
        .par_iter()
        .map(|&(g, keep)| if step() { Err(CalibError::Interrupted) } else { probe.measure(g, &rankings[g], keep) })
        .collect();
    let mut out: Vec<Sensitivity> =
        rankings.iter().map(|r| Sensitivity { ranking: r.clone(), probes: Vec::new() }).collect();
    for ((g, keep), error) in work.into_iter().zip(measured) {
        out[g].probes.push((keep, error?));
    }
    Ok(out)
}

impl Probe<'_> {
    /// Divergence of the output with only the best `keep` units of a group.
    fn measure(&self, group: usize, ranking: &Ranking, keep: u32) -> Result<f64, CalibError> {
        let g = &self.channels.groups[group];
        let mut removal = Removal::none(self.channels);
        for u in &ranking.order[keep as usize..] {
            removal.set(g.units[*u as usize], true);
        }
        let mut model = (self.mask)(&removal).map_err(|why| CalibError::Mask { group: g.id.clone(), why })?;
        let mut kept: Vec<u32> = ranking.order[..keep as usize].to_vec();
        kept.sort_unstable();
        for consumer in &self.consumers[group] {
            self.stand_in(&mut model, consumer, &kept)?;
        }
        let outputs = run_batches(self.runtime, &model, self.inputs, BATCH, 1)?;
        divergence(self.dense, &outputs)
            .map_err(|source| CalibError::Activation { value: "output".to_string(), source })
    }

    /// Re-solves one consumer in the masked model: its kept inputs stand in for those that leave.
    fn stand_in(&self, model: &mut Model, consumer: &Consumer, kept: &[u32]) -> Result<(), CalibError> {
        let Other::Constant(w, _) = consumer.other else { return Ok(()) };
        let node = self.model.graph.node(consumer.node);
        let Some(LinearRule::By(rule)) = self.table.get(&node.domain, &node.op).map(|d| d.linear) else {
            return Ok(());
        };
        let Some(form) = rule(&node_ref(self.model, self.facts, consumer.node)).ok().flatten() else {
            return Ok(());
        };
        if form.groups != 1 {
            return Ok(());
        }
        // Channels of the axis that other groups own, or nobody, all stay.
        let gone: Vec<usize> = (0..consumer.units.len() as u32)
            .filter(|u| !kept.contains(u))
            .flat_map(|u| consumer.units[u as usize].iter().copied())
            .collect();
        let gram = &self.grams[&(consumer.x, consumer.axis)];
        let keep: Vec<usize> = (0..gram.mean.len()).filter(|c| !gone.contains(c)).collect();
        let tensor = self.model.graph.constant(w).expect("chosen for being constant").clone();
        let weight = |source| CalibError::Weight { value: self.model.graph.value(w).name.clone(), source };
        let mut view = Weight::of(&tensor, &form).map_err(weight)?;
        let Some(shift) = compensate(&mut view, gram, &keep, self.ridge) else { return Ok(()) };
        set_own_constant(model, consumer.node, w, view.to_tensor(&tensor).map_err(weight)?);
        if let Some(bias) = bias_of(model, consumer.node, &form) {
            let mut values = read_bias(model, bias, shift.len())?;
            values.iter_mut().zip(&shift).for_each(|(b, s)| *b += s);
            write_bias(model, consumer.node, bias, &values)?;
        }
        Ok(())
    }
}

/// How far `outputs` are from the dense model's, summed over the outputs; 0 where they agree.
///
/// An output of rank 2 or 3 whose last axis has 2 to 2¹⁷ entries is taken for logits, or for probabilities where the
/// dense rows are non-negative and sum to 1: KL(dense ‖ pruned) in nats, mean over rows. Any other floating output:
/// Σ (a − b)² / Σ (a − mean a)².
pub fn divergence(dense: &[Tensor], outputs: &[Tensor]) -> Result<f64, sparsec_ir::TensorError> {
    let mut total = 0.0;
    for (a, b) in dense.iter().zip(outputs) {
        if !a.elem.is_float() {
            continue;
        }
        let classes = a.dims.last().copied().unwrap_or(1) as usize;
        let (x, y) = (a.to_f32()?, b.to_f32()?);
        if (2..=3).contains(&a.dims.len()) && (2..=1 << 17).contains(&classes) {
            let first = &x[..classes.min(x.len())];
            let sum: f32 = first.iter().sum();
            let probabilities = first.iter().all(|v| *v >= 0.0) && (sum - 1.0).abs() < 1e-3;
            let rows = x.len() / classes;
            let kl = |(p, q): (&[f32], &[f32])| if probabilities { kl_of(p, q) } else { kl_of_logits(p, q) };
            total += x.chunks(classes).zip(y.chunks(classes)).map(kl).sum::<f64>() / rows.max(1) as f64;
        } else {
            let mean = x.iter().map(|v| f64::from(*v)).sum::<f64>() / x.len().max(1) as f64;
            let signal: f64 = x.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum();
            let error: f64 = x.iter().zip(&y).map(|(a, b)| f64::from(a - b).powi(2)).sum();
            total += error / signal.max(f64::MIN_POSITIVE);
        }
    }
    Ok(total)
}

fn kl_of(p: &[f32], q: &[f32]) -> f64 {
    let term = |(p, q): (&f32, &f32)| f64::from(*p) * (f64::from(*p).max(1e-12) / f64::from(*q).max(1e-12)).ln();
    p.iter().zip(q).map(term).sum()
}

fn kl_of_logits(p: &[f32], q: &[f32]) -> f64 {
    let log_sum = |x: &[f32]| {
        let top = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        f64::from(top) + x.iter().map(|v| f64::from(v - top).exp()).sum::<f64>().ln()
    };
    let (lp, lq) = (log_sum(p), log_sum(q));
    let term = |(a, b): (&f32, &f32)| {
        let (a, b) = (f64::from(*a) - lp, f64::from(*b) - lq);
        a.exp() * (a - b)
    };
    p.iter().zip(q).map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logits_diverge_by_kl_and_images_by_relative_error() {
        let a = Tensor::f32(&[1, 2], &[0.0, 0.0]);
        let b = Tensor::f32(&[1, 2], &[0.0, 3f32.ln()]);
        let kl = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((divergence(&[a], &[b]).unwrap() - kl).abs() < 1e-6);
        let a = Tensor::f32(&[1, 1, 1, 2], &[1.0, 3.0]);
        let b = Tensor::f32(&[1, 1, 1, 2], &[1.0, 2.0]);
        assert!((divergence(&[a], &[b]).unwrap() - 0.5).abs() < 1e-6);
    }

    #[test]
    fn an_error_that_was_measured_stays_where_the_statistics_see_none() {
        let ranking = Ranking { order: vec![0, 1, 2, 3], residual: vec![1.0, 0.0, 0.0, 0.0, 0.0], informed: 1 };
        let s = Sensitivity { ranking, probes: vec![(2, 0.5)] };
        assert!((s.error_at(2) - 0.5).abs() < 1e-12 && (s.error_at(1) - 0.5).abs() < 1e-12);
        assert_eq!(s.error_at(4), 0.0);
    }
}
