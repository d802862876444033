//! What a model is worth beside the dense one: the metric on each evaluation set, over all samples, by slice and by class.

use crate::cmd::compile::Job;
use crate::cmd::model::unreadable;
use crate::error::CliError;
use crate::infer::{RunOptions, first_output};
use crate::values::EvalSet;
use rayon::prelude::*;
use sparsec_calib::data::Dataset;
use sparsec_calib::metric::{ClassScore, Metric, Reference, Score, Scored, drop_interval};
use sparsec_ir::{Model, Tensor};
use sparsec_report::{ClassCompared, Compared, Ends, Evaluation, Part};

/// The metric, with what it is measured on.
pub(super) struct Yardstick {
    pub(super) metric: Metric,
    sets: Vec<Measured>,
}

/// An evaluation set, with the dense model's score.
struct Measured {
    name: String,
    weight: f64,
    data: Dataset,
    slices: Vec<Slice>,
    /// Whether the reference are labels.
    labelled: bool,
    reference: Tensor,
    dense: Scored,
}

/// Samples that have one value of a column.
pub(super) struct Slice {
    /// `COLUMN=VALUE`.
    pub(super) name: String,
    pub(super) samples: Vec<usize>,
}

/// The slices of samples by each of their columns, in the order of columns and values.
pub(super) fn slices(data: &Dataset) -> Vec<Slice> {
    let mut out: Vec<Slice> = Vec::new();
    for (column, values) in data.columns() {
        let mut found: Vec<&String> = values.iter().collect();
        found.sort();
        found.dedup();
        for value in found {
            let samples = (0..values.len()).filter(|s| values[*s] == *value).collect();
            out.push(Slice { name: format!("{column}={value}"), samples });
        }
    }
    out
}

/// Two scores of the same samples; `None` where either has no value.
pub(super) fn compared(before: &Scored, after: &Scored) -> Option<Compared> {
    let interval = drop_interval(before, after).map(|i| Ends { low: i.low, high: i.high });
    Some(Compared { interval, ..without_interval(before, after)? })
}

/// [`compared`], but for the interval, which takes longest.
fn without_interval(before: &Scored, after: &Scored) -> Option<Compared> {
    let (a, b) = (before.score().ok()?, after.score().ok()?);
    let drop = before.metric().drop(a.value, b.value);
    Some(Compared { samples: a.samples, before: a.value, after: b.value, drop, interval: None })
}

impl Yardstick {
    /// What the metric is measured with, if it is.
    pub(super) fn open(job: &Job) -> Result<Option<Self>, CliError> {
        let Some(metric) = job.args.metric else { return Ok(None) };
        let sets = job.args.eval.iter().map(|set| Measured::open(job, metric, set)).collect::<Result<_, _>>()?;
        Ok(Some(Self { metric, sets }))
    }
    /// The scores of a model on each set.
    pub(super) fn score(&self, job: &Job, model: &Model) -> Result<Vec<Scored>, CliError> {
        self.sets.iter().map(|s| s.score(job, self.metric, model)).collect()
    }
    /// The scores beside the dense model's, by set, slice and class.
    pub(super) fn evaluations(&self, scores: &[Scored]) -> Vec<Evaluation> {
        self.sets.iter().zip(scores).filter_map(|(set, after)| set.evaluation(self.metric, after)).collect()
    }
    /// Means over the sets by their weights, before and after.
    pub(super) fn mean(&self, scores: &[Scored]) -> Result<(Score, Score), CliError> {
        let whole: f64 = self.sets.iter().map(|s| s.weight).sum();
        let of = |scored: &mut dyn Iterator<Item = &Scored>| -> Result<Score, CliError> {
            let mut total = Score { value: 0.0, samples: 0 };
            for (set, scored) in self.sets.iter().zip(scored) {
                let s = scored.score()?;
                total.value += s.value * set.weight / whole;
                total.samples += s.samples;
            }
            Ok(total)
        };
        Ok((of(&mut self.sets.iter().map(|s| &s.dense))?, of(&mut scores.iter())?))
    }
    /// What a limit on the loss holds for: every set and every slice, with the drop there.
    pub(super) fn drops(&self, evaluations: &[Evaluation]) -> Vec<(String, f64)> {
        let several = self.sets.len() > 1;
        let place = |set: &str, part: Option<&str>| match (several, part) {
            (false, None) => "drop".to_string(),
            (true, None) => format!("drop on {set}"),
            (false, Some(part)) => format!("drop at {part}"),
            (true, Some(part)) => format!("drop on {set} at {part}"),
        };
        let of = |e: &Evaluation| {
            let parts = e.slices.iter().map(|p| (place(&e.set, Some(&p.name)), p.compared.drop));
            std::iter::once((place(&e.set, None), e.total.drop)).chain(parts).collect::<Vec<_>>()
        };
        evaluations.iter().flat_map(of).collect()
    }
    /// The largest drop that a limit on the loss holds for.
    pub(super) fn worst_drop(&self, scores: &[Scored]) -> f64 {
        let of = |(set, after): (&Measured, &Scored)| {
            let parts = set.slices.iter().map(|s| (set.dense.only(&s.samples), after.only(&s.samples)));
            let parts = parts.filter_map(|(a, b)| without_interval(&a, &b));
            parts.chain(without_interval(&set.dense, after)).map(|c| c.drop).fold(f64::NEG_INFINITY, f64::max)
        };
        self.sets.iter().zip(scores).map(of).fold(f64::NEG_INFINITY, f64::max)
    }
}

impl Measured {
    fn open(job: &Job, metric: Metric, set: &EvalSet) -> Result<Self, CliError> {
        let data = job.args.samples.load(&set.path, &job.source.model, &job.args.slice, job.talk)?;
        let options = RunOptions { batch: 32, threads: job.global.threads() };
        let outputs = first_output(job.runtime.as_ref(), &job.source.model, &data, options, job.talk)?;
        // Labels name classes by their old numbers; without them, only what stays can be compared.
        let labelled = data.label().is_some() && !matches!(metric.reference(), Reference::Dense);
        let outputs = match &job.dense.original {
            Some(original) if !labelled => original.narrow_output(&outputs).map_err(unreadable(job.source))?,
            _ => outputs,
        };
        let reference = match (metric.reference(), data.label()) {
            (Reference::Label | Reference::Either, Some(label)) => label.clone(),
            (Reference::Dense | Reference::Either, _) => outputs.clone(),
            (Reference::Label, None) => return Err(CliError::NoLabels { metric, data: set.path.clone() }),
        };
        let dense = Scored::of(metric, &outputs, &reference)?;
        dense.score()?;
        let slices = slices(&data);
        Ok(Self { name: set.name.clone(), weight: set.weight, data, slices, labelled, reference, dense })
    }
    fn score(&self, job: &Job, metric: Metric, model: &Model) -> Result<Scored, CliError> {
        let options = RunOptions { batch: 32, threads: job.global.threads() };
        let mut outputs = first_output(job.runtime.as_ref(), model, &self.data, options, job.talk)?;
        if let (Some(original), true) = (&job.dense.original, self.labelled) {
            outputs = original.widen_output(&outputs).map_err(unreadable(job.source))?;
        }
        let scored = Scored::of(metric, &outputs, &self.reference)?;
        scored.score()?;
        Ok(scored)
    }
    fn evaluation(&self, metric: Metric, after: &Scored) -> Option<Evaluation> {
        let part = |s: &Slice| {
            let compared = compared(&self.dense.only(&s.samples), &after.only(&s.samples))?;
            Some(Part { name: s.name.clone(), compared })
        };
        let slices: Vec<Option<Part>> = self.slices.par_iter().map(part).collect();
        let class = |(a, b): (ClassScore, ClassScore)| ClassCompared {
            class: a.class.into(),
            elements: a.elements,
            before: a.value,
            after: b.value,
        };
        Some(Evaluation {
            set: self.name.clone(),
            weight: self.weight,
            metric: metric.name().to_string(),
            unit: drop_unit(metric).to_string(),
            total: compared(&self.dense, after)?,
            slices: slices.into_iter().flatten().collect(),
            classes: in_both(&self.dense, after).into_iter().map(class).collect(),
        })
    }
}

/// Scores of the classes that have one before and after.
pub(super) fn in_both(before: &Scored, after: &Scored) -> Vec<(ClassScore, ClassScore)> {
    let found = after.by_class();
    let other = |class: u32| found.binary_search_by_key(&class, |c| c.class).ok().map(|i| found[i]);
    before.by_class().into_iter().filter_map(|c| Some((c, other(c.class)?))).collect()
}

/// What a difference of the metric is in.
pub(super) fn drop_unit(metric: Metric) -> &'static str {
    match metric {
        Metric::Kl => "nats",
        _ if metric.is_percentage() => "points",
        _ => metric.name(),
    }
}

/// A comparison in words: what is lost, and whether these samples can tell it from nothing.
pub(super) fn in_words(unit: &str, c: &Compared) -> String {
    let figure = |v: f64| crate::record::figure(unit, v);
    let span = |i: Ends| format!("{} to {}", figure(i.low).trim_end_matches(unit).trim_end(), figure(i.high));
    let said = match c.drop {
        d if d > 0.0 => format!("lost {}", figure(d)),
        d if d < 0.0 => format!("gained {}", figure(-d)),
        _ => "nothing lost".to_string(),
    };
    match c.interval {
        None => said,
        Some(i) if c.is_noise() => {
            format!("{said}, which {} samples cannot tell from nothing (95 %: {})", c.samples, span(i))
        }
        Some(i) => format!("{said} (95 %: {})", span(i)),
    }
}
