//! How the model's output degrades as each group shrinks alone, and each branch is dropped alone.
//!
//! The ranking prices every keep-count of a group at once, in units of its consumers' signal. What that is worth at the
//! output is measured at a few counts: the group is masked, its consumers compensated in closed form, and the outputs
//! compared with the dense model's. Between the probes the curve is the ranking's residual, scaled.

use crate::bias::{read_bias, set_own_constant, write_bias};
use crate::normalised::rescale;
use crate::{CalibError, Consumer, Gram, Linear, Other, Prefix, Ranking, compensate};
use rayon::prelude::*;
use sparsec_analysis::{BranchId, Channels, Removal};
use sparsec_ir::{Facts, Model, OpTable, Tensor, TensorError, ValueId};
use sparsec_runtime::{Runtime, Sessions};
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
    /// Statistics of the consumers' inputs, of the groups that are measured.
    pub grams: &'a BTreeMap<(ValueId, usize), Gram>,
    /// Inputs to compare outputs on, one entry a run.
    pub inputs: &'a [Vec<Tensor>],
    /// The dense model's outputs on them.
    pub dense: &'a Reference,
    /// Makes the masked model of a removal.
    pub mask: &'a (dyn Fn(&Removal) -> Result<Model, String> + Sync),
    /// Ridge of the compensation, relative to the mean variance.
    pub ridge: f64,
}

/// What earlier runs measured. Whoever keeps it answers for the model, the samples and all else being the same.
pub trait Known: Sync {
    /// Error of a group at a count, where it is known; of a branch, at none.
    fn error(&self, id: &str, keep: u32) -> Option<f64>;
    /// Is told of one that was measured.
    fn found(&self, id: &str, keep: u32, error: f64);
}

/// What is taken from the model to see how the output degrades.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Trial<'a> {
    /// All but the best so many units of a group.
    Units(usize, &'a Ranking, u32),
    /// A branch.
    Branch(BranchId),
}

/// Divergence of the output for each trial of `work`, but for what is `known`. Trials are independent, so they run side by
/// side; `step` is told of each that is done and says whether to stop.
pub fn sensitivity(
    probe: &Probe,
    work: &[Trial],
    known: &dyn Known,
    step: &(dyn Fn() -> bool + Sync),
) -> Result<Vec<f64>, CalibError> {
    let one = |trial: &Trial| -> Result<f64, CalibError> {
        if step() {
            return Err(CalibError::Interrupted);
        }
        let (id, keep) = match *trial {
            Trial::Units(group, _, keep) => (&probe.channels.groups[group].id, keep),
            Trial::Branch(branch) => (&probe.channels.branches[branch].id, 0),
        };
        if let Some(error) = known.error(id, keep) {
            return Ok(error);
        }
        let model = match *trial {
            Trial::Units(group, ranking, keep) => probe.without_units(group, ranking, keep)?,
            Trial::Branch(branch) => probe.without_branch(branch)?,
        };
        let error = probe.dense.divergence_of(probe.runtime, &model, probe.inputs)?;
        known.found(id, keep, error);
        Ok(error)
    };
    // Collected before errors are looked at, so that the error reported is the first in order.
    let measured: Vec<Result<f64, CalibError>> = work.par_iter().map(one).collect();
    measured.into_iter().collect()
}

impl Probe<'_> {
    /// The model with only the best `keep` units of a group, and its consumers compensated.
    fn without_units(&self, group: usize, ranking: &Ranking, keep: u32) -> Result<Model, CalibError> {
        let g = &self.channels.groups[group];
        let mut removal = Removal::none(self.channels);
        for u in &ranking.order[keep as usize..] {
            removal.set(g.units[*u as usize], true);
        }
        let mut model = self.masked(&removal, &g.id)?;
        rescale(&mut model, (self.model, self.facts, self.table), (self.channels, &removal), self.grams)?;
        let mut kept: Vec<u32> = ranking.order[..keep as usize].to_vec();
        kept.sort_unstable();
        for consumer in &self.consumers[group] {
            self.stand_in(&mut model, consumer, &kept)?;
        }
        Ok(model)
    }

    /// The masked model of a removal, of what is called `id`.
    pub(crate) fn masked(&self, removal: &Removal, id: &str) -> Result<Model, CalibError> {
        (self.mask)(removal).map_err(|why| CalibError::Mask { what: id.to_string(), why })
    }

    /// Re-solves one consumer in the masked model: its kept inputs stand in for those that leave.
    fn stand_in(&self, model: &mut Model, consumer: &Consumer, kept: &[u32]) -> Result<(), CalibError> {
        let Other::Constant(w, _) = consumer.other else { return Ok(()) };
        let linear = Linear::of(self.model, self.facts, self.table, consumer.node).filter(|l| l.form.groups == 1);
        let Some(linear) = linear else { return Ok(()) };
        // Channels of the axis that other groups own, or nobody, all stay.
        let gone: Vec<usize> = (0..consumer.units.len() as u32)
            .filter(|u| !kept.contains(u))
            .flat_map(|u| consumer.units[u as usize].iter().copied())
            .collect();
        let gram = &self.grams[&(consumer.x, consumer.axis)];
        let keep: Vec<usize> = (0..gram.mean.len()).filter(|c| !gone.contains(c)).collect();
        let tensor = self.model.graph.constant(w).expect("chosen for being constant").clone();
        let weight = |source| CalibError::Weight { value: self.model.graph.value(w).name.clone(), source };
        let mut view = linear.weight(&tensor).map_err(weight)?;
        let Some(shift) = compensate(&mut view, gram, &keep, self.ridge) else { return Ok(()) };
        set_own_constant(model, consumer.node, w, view.to_tensor(&tensor).map_err(weight)?);
        if let Some(bias) = linear.bias(model, self.facts, self.table, consumer.node) {
            let mut values = read_bias(model, &bias, shift.len())?;
            values.iter_mut().zip(&shift).for_each(|(b, s)| *b += s);
            write_bias(model, consumer.node, &bias, &values)?;
        }
        Ok(())
    }
}

/// The dense model's outputs, to measure others against.
///
/// An output of rank 2 or 3 whose last axis has 2 to 2¹⁷ entries is taken for logits, or for probabilities where the
/// dense rows are non-negative and sum to 1: KL(dense ‖ pruned) in nats, mean over rows. Any other floating output:
/// Σ (a − b)² / Σ (a − mean a)². The divergence is the sum over outputs; 0 where they agree.
pub struct Reference {
    /// Outputs of each run.
    runs: Vec<Vec<Tensor>>,
    outputs: Vec<Output>,
    /// What changed models need not compute again.
    prefix: Option<Prefix>,
}

/// How one output is compared.
enum Output {
    /// Rows of so many logits, and how many rows.
    Logits(usize, f64),
    /// Rows of so many probabilities, and how many rows.
    Probabilities(usize, f64),
    /// Signal of the dense output.
    Signal(f64),
    /// Not a floating output.
    Ignored,
}

impl Reference {
    /// Keeps the outputs of each run.
    ///
    /// # Errors
    /// An output cannot be read as numbers.
    pub fn new(runs: Vec<Vec<Tensor>>) -> Result<Self, TensorError> {
        let outputs =
            (0..runs.first().map_or(0, Vec::len)).map(|at| Output::of(&runs, at)).collect::<Result<_, _>>()?;
        Ok(Self { runs, outputs, prefix: None })
    }
    /// The same, for models that are edited copies of the dense one: they are run from where they differ.
    pub fn with_prefix(self, prefix: Prefix) -> Self {
        Self { prefix: Some(prefix), ..self }
    }
    /// Divergence of the outputs of `model` on the `inputs` of the runs.
    pub fn divergence_of(
        &self,
        runtime: &dyn Runtime,
        model: &Model,
        inputs: &[Vec<Tensor>],
    ) -> Result<f64, CalibError> {
        let part = self.prefix.as_ref().map(|p| p.suffix(model)).transpose()?.flatten();
        let (model, inputs) = part.as_ref().map_or((model, inputs), |(part, fed)| (part, fed.as_slice()));
        let sessions = Sessions::load(runtime, model, inputs)?;
        let mut far = vec![0.0; self.outputs.len()];
        for (run, inputs) in inputs.iter().enumerate() {
            let outputs = sessions.run(std::slice::from_ref(inputs), 1)?.pop().unwrap_or_default();
            self.add(run, &outputs, &mut far).map_err(|(output, source)| {
                let value = model.graph.outputs().get(output).map(|v| model.graph.value(*v).name.clone());
                CalibError::Activation { value: value.unwrap_or_default(), source }
            })?;
        }
        Ok(self.divergence(&far))
    }
    /// Adds the distance of a run's `outputs` to that of the runs before, output by output. An error comes with the
    /// number of its output.
    fn add(&self, run: usize, outputs: &[Tensor], far: &mut [f64]) -> Result<(), (usize, TensorError)> {
        let pairs = self.runs[run].iter().zip(outputs).zip(self.outputs.iter().zip(far));
        for (at, ((a, b), (output, far))) in pairs.enumerate() {
            if let Output::Ignored = output {
                continue;
            }
            let (x, y) = a.to_f32().and_then(|x| Ok((x, b.to_f32()?))).map_err(|e| (at, e))?;
            let rows = |n: usize| x.chunks(n).zip(y.chunks(n));
            *far = match output {
                Output::Logits(n, _) => rows(*n).map(|(p, q)| kl_of_logits(p, q)).fold(*far, |a, b| a + b),
                Output::Probabilities(n, _) => rows(*n).map(|(p, q)| kl_of(p, q)).fold(*far, |a, b| a + b),
                Output::Signal(_) => x.iter().zip(&y).map(|(a, b)| f64::from(a - b).powi(2)).fold(*far, |a, b| a + b),
                Output::Ignored => 0.0,
            };
        }
        Ok(())
    }
    fn divergence(&self, far: &[f64]) -> f64 {
        let one = |(output, far): (&Output, &f64)| match output {
            Output::Logits(_, rows) | Output::Probabilities(_, rows) => far / rows.max(1.0),
            Output::Signal(signal) => far / signal.max(f64::MIN_POSITIVE),
            Output::Ignored => 0.0,
        };
        self.outputs.iter().zip(far).map(one).sum()
    }
}

impl Output {
    fn of(runs: &[Vec<Tensor>], at: usize) -> Result<Self, TensorError> {
        let all = || runs.iter().filter_map(|r| r.get(at));
        let Some(first) = all().next().filter(|t| t.elem.is_float()) else { return Ok(Self::Ignored) };
        let count: u64 = all().map(Tensor::count).sum();
        let classes = first.dims.last().copied().unwrap_or(1) as usize;
        if (2..=3).contains(&first.dims.len()) && (2..=1 << 17).contains(&classes) {
            let row = first.to_f32()?;
            let row = &row[..classes.min(row.len())];
            let probabilities = row.iter().all(|v| *v >= 0.0) && (row.iter().sum::<f32>() - 1.0).abs() < 1e-3;
            let rows = (count / classes as u64) as f64;
            return Ok(if probabilities { Self::Probabilities(classes, rows) } else { Self::Logits(classes, rows) });
        }
        let fold = |f: &dyn Fn(f64) -> f64| -> Result<f64, TensorError> {
            let sum = |sum: f64, t: &Tensor| Ok(t.to_f32()?.iter().map(|v| f(f64::from(*v))).fold(sum, |a, b| a + b));
            all().try_fold(0.0, sum)
        };
        let mean = fold(&|v| v)? / count.max(1) as f64;
        Ok(Self::Signal(fold(&|v| (v - mean).powi(2))?))
    }
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

    fn divergence(dense: &[Tensor], outputs: &[Tensor]) -> f64 {
        let reference = Reference::new(dense.iter().map(|t| vec![t.clone()]).collect()).unwrap();
        let mut far = vec![0.0];
        for (run, output) in outputs.iter().enumerate() {
            reference.add(run, std::slice::from_ref(output), &mut far).unwrap();
        }
        reference.divergence(&far)
    }

    #[test]
    fn logits_diverge_by_kl_and_images_by_relative_error() {
        let a = Tensor::f32(&[1, 2], &[0.0, 0.0]);
        let b = Tensor::f32(&[1, 2], &[0.0, 3f32.ln()]);
        let kl = 0.5 * (0.5f64 / 0.25).ln() + 0.5 * (0.5f64 / 0.75).ln();
        assert!((divergence(&[a], &[b]) - kl).abs() < 1e-6);
        let a = Tensor::f32(&[1, 1, 1, 2], &[1.0, 3.0]);
        let b = Tensor::f32(&[1, 1, 1, 2], &[1.0, 2.0]);
        assert!((divergence(&[a], &[b]) - 0.5).abs() < 1e-6);
    }

    #[test]
    fn runs_add_up_to_what_one_run_over_all_gives() {
        let parts = |values: [f32; 4]| values.map(|v| Tensor::f32(&[1, 1, 1, 1], &[v]));
        let whole = |values: [f32; 4]| [Tensor::f32(&[4, 1, 1, 1], &values)];
        let (a, b) = ([1.0, 3.0, -2.0, 0.5], [1.0, 2.0, -1.0, 0.0]);
        assert_eq!(divergence(&parts(a), &parts(b)), divergence(&whole(a), &whole(b)));
    }

    #[test]
    fn an_error_that_was_measured_stays_where_the_statistics_see_none() {
        let ranking = Ranking { order: vec![0, 1, 2, 3], residual: vec![1.0, 0.0, 0.0, 0.0, 0.0], informed: 1 };
        let s = Sensitivity { ranking, probes: vec![(2, 0.5)] };
        assert!((s.error_at(2) - 0.5).abs() < 1e-12 && (s.error_at(1) - 0.5).abs() < 1e-12);
        assert_eq!(s.error_at(4), 0.0);
    }
}
