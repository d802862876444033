//! A metric with what each sample adds to it.

use super::case::Case;
use super::{Metric, MetricError, Score};
use sparsec_ir::Tensor;
use std::collections::BTreeMap;

/// A metric with what each sample adds to it: enough to compute it over any of the samples, over each class, or over
/// samples drawn anew.
#[derive(Clone, Debug)]
pub struct Scored {
    metric: Metric,
    parts: Parts,
}

/// What each sample adds.
#[derive(Clone, Debug)]
pub(super) enum Parts {
    /// Sum over its elements, and their number.
    Mean(Vec<(f64, f64)>),
    /// Counts of each class that occurs in it.
    Classes(Vec<Vec<Tally>>),
    /// Its score, and whether it is positive; with the samples in the order of their scores.
    Ranked(Vec<(f64, bool)>, Vec<usize>),
}

impl Parts {
    /// Scores of samples, and whether each is positive.
    pub(super) fn ranked(samples: Vec<(f64, bool)>) -> Self {
        let mut order: Vec<usize> = (0..samples.len()).collect();
        order.sort_by(|&a, &b| samples[a].0.total_cmp(&samples[b].0));
        Self::Ranked(samples, order)
    }
}

/// Elements of one class.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    pub(super) class: u32,
    pub(super) hits: u64,
    /// Elements that could have been hits.
    pub(super) of: u64,
}

/// The value of a metric over one class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassScore {
    /// Number of the class.
    pub class: u32,
    /// For `miou` intersection over union, else the share of the elements labelled so that are right; in percent.
    pub value: f64,
    /// Elements that it was computed from.
    pub elements: u64,
}

impl Scored {
    /// Holds `outputs`, `[samples, …]`, against `reference`: labels or the dense model's outputs, as
    /// [`Metric::reference`] says.
    pub fn of(metric: Metric, outputs: &Tensor, reference: &Tensor) -> Result<Self, MetricError> {
        let values = outputs.to_f64().map_err(|source| MetricError::Outputs { metric, source })?;
        if outputs.dims.is_empty() || values.is_empty() {
            return Err(MetricError::Undefined { metric, why: "there are no outputs" });
        }
        let case = Case { metric, values: &values, dims: &outputs.dims, reference };
        case.refuse_non_finite(&values)?;
        Ok(Self { metric, parts: case.parts()? })
    }
    /// The metric.
    pub fn metric(&self) -> Metric {
        self.metric
    }
    /// Number of samples.
    pub fn samples(&self) -> usize {
        match &self.parts {
            Parts::Mean(p) => p.len(),
            Parts::Classes(p) => p.len(),
            Parts::Ranked(p, _) => p.len(),
        }
    }
    /// The value over all samples.
    pub fn score(&self) -> Result<Score, MetricError> {
        let why = match self.metric {
            Metric::Miou => "no class occurs in label or prediction",
            Metric::Auc => "all labels are of one class",
            _ => "every label is −100, which means to ignore it",
        };
        let value = self.value(&vec![1; self.samples()]);
        let value = value.ok_or(MetricError::Undefined { metric: self.metric, why })?;
        Ok(Score { value, samples: self.samples() as u64 })
    }
    /// The same of some samples only.
    ///
    /// Panics if there is no such sample.
    pub fn only(&self, samples: &[usize]) -> Self {
        fn pick<T: Clone>(of: &[T], samples: &[usize]) -> Vec<T> {
            samples.iter().map(|s| of[*s].clone()).collect()
        }
        let parts = match &self.parts {
            Parts::Mean(p) => Parts::Mean(pick(p, samples)),
            Parts::Classes(p) => Parts::Classes(pick(p, samples)),
            Parts::Ranked(p, _) => Parts::ranked(pick(p, samples)),
        };
        Self { metric: self.metric, parts }
    }
    /// The value over each class that occurs, ascending; empty for metrics that do not count classes.
    pub fn by_class(&self) -> Vec<ClassScore> {
        let Parts::Classes(samples) = &self.parts else { return Vec::new() };
        let score =
            |(class, (hits, of)): (u32, (u64, u64))| ClassScore { class, value: percent(hits, of), elements: of };
        totals(samples, &vec![1; samples.len()]).into_iter().map(score).collect()
    }
    /// The value where sample `s` counts `times[s]` times; `None` where it has none.
    pub(super) fn value(&self, times: &[u32]) -> Option<f64> {
        match &self.parts {
            Parts::Mean(samples) => {
                let (sum, count) = samples
                    .iter()
                    .zip(times)
                    .fold((0.0, 0.0), |(sum, count), ((s, c), t)| (sum + s * f64::from(*t), count + c * f64::from(*t)));
                let whole = if self.metric.is_percentage() { 100.0 } else { 1.0 };
                (count > 0.0).then(|| whole * sum / count)
            }
            Parts::Classes(samples) if self.metric == Metric::Miou => {
                let classes = totals(samples, times);
                let ratios = classes.values().map(|(hits, of)| *hits as f64 / *of as f64);
                (!classes.is_empty()).then(|| 100.0 * ratios.sum::<f64>() / classes.len() as f64)
            }
            Parts::Classes(samples) => {
                let all =
                    samples.iter().zip(times).flat_map(|(tallies, t)| tallies.iter().map(move |y| (y, u64::from(*t))));
                let (hits, of) = all.fold((0, 0), |(hits, of), (y, t)| (hits + t * y.hits, of + t * y.of));
                (of > 0).then(|| percent(hits, of))
            }
            Parts::Ranked(samples, order) => area(samples, order, times),
        }
    }
}

fn percent(hits: u64, of: u64) -> f64 {
    100.0 * hits as f64 / of as f64
}

/// Hits and elements of each class.
fn totals(samples: &[Vec<Tally>], times: &[u32]) -> BTreeMap<u32, (u64, u64)> {
    let mut out: BTreeMap<u32, (u64, u64)> = BTreeMap::new();
    for (tallies, &t) in samples.iter().zip(times).filter(|(_, t)| **t > 0) {
        for y in tallies {
            let (hits, of) = out.entry(y.class).or_default();
            *hits += u64::from(t) * y.hits;
            *of += u64::from(t) * y.of;
        }
    }
    out
}

/// Area under the curve of true against false positives, in percent: the share of pairs of a positive and a negative
/// sample that are in the right order; ties count half.
fn area(samples: &[(f64, bool)], order: &[usize], times: &[u32]) -> Option<f64> {
    let (mut pairs, mut positives, mut below) = (0.0, 0u64, 0u64);
    for equal in order.chunk_by(|a, b| samples[*a].0 == samples[*b].0) {
        let of = |positive: bool| -> u64 {
            equal.iter().filter(|s| samples[**s].1 == positive).map(|s| u64::from(times[*s])).sum()
        };
        let (p, n) = (of(true), of(false));
        pairs += p as f64 * (below as f64 + n as f64 / 2.0);
        positives += p;
        below += n;
    }
    (positives > 0 && below > 0).then(|| 100.0 * pairs / (positives as f64 * below as f64))
}
