//! What a model is worth: metrics of its outputs against labels, or against the dense model's outputs.

use sparsec_ir::{Tensor, TensorError};
use std::fmt;
use std::str::FromStr;
use thiserror::Error;

/// Label of elements that count in no metric.
pub const IGNORED: i64 = -100;

/// A metric of a whole set of samples.
///
/// The *class axis* of outputs that are compared with labels is the last one, if the label has the sizes of the others (an axis of
/// size 1 may stand in its place), else axis 1. Without labels (`agree`, `kl`) it is axis 1 for outputs of rank 2 and for images
/// and volumes (rank 4 and 5), else the last. Outputs with one class are logits of a yes-or-no question, yes above 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Metric {
    /// Share of samples whose label has the highest score, in percent. The first of equal scores wins.
    Top1,
    /// Share of samples whose label is among the five highest scores, in percent.
    Top5,
    /// Share of elements whose label has the highest score, in percent; one sample may hold many (tokens, pixels).
    Accuracy,
    /// Intersection over union in percent: the mean over the classes that occur in label or prediction. With one class:
    /// that of the yes class alone, so the background does not count.
    Miou,
    /// Area under the curve of true against false positives, in percent (Mann-Whitney, ties count half). Outputs hold one
    /// logit or two class scores a sample; labels are 0 and 1.
    Auc,
    /// Mean squared error over all elements.
    Mse,
    /// Cosine of the angle between outputs and those of the dense model, mean over the samples, at most 1.
    Cosine,
    /// Share of elements where the model and the dense model choose the same class, in percent.
    Agree,
    /// Kullback-Leibler divergence of the class distributions from the dense model's, Σ p·ln(p/q) with p of the dense model,
    /// mean over the elements, in nats.
    Kl,
}

/// What a metric compares outputs with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference {
    /// Labels.
    Label,
    /// Outputs of the dense model.
    Dense,
    /// Labels where there are any, else outputs of the dense model.
    Either,
}

/// Value of a metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Score {
    /// The value; percentages are from 0 to 100.
    pub value: f64,
    /// Samples that it was computed from.
    pub samples: u64,
}

/// Why a metric has no value.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum MetricError {
    /// Outputs that hold no numbers.
    #[error("`{metric}` needs floating-point outputs: {source}")]
    Outputs {
        /// The metric.
        metric: Metric,
        /// Why.
        #[source]
        source: TensorError,
    },
    /// Labels of a type that no metric reads.
    #[error("`{metric}` cannot read the labels: {source}")]
    Labels {
        /// The metric.
        metric: Metric,
        /// Why.
        #[source]
        source: TensorError,
    },
    /// Sizes that do not fit.
    #[error("`{metric}` cannot compare outputs of sizes {outputs:?} with {reference:?}: {wanted} expected")]
    Shape {
        /// The metric.
        metric: Metric,
        /// Sizes of the outputs.
        outputs: Vec<u64>,
        /// Sizes of the label or of the dense outputs.
        reference: Vec<u64>,
        /// What would fit.
        wanted: &'static str,
    },
    /// A label beyond the classes.
    #[error("label {index} is {value}, and there are {classes} classes, counted from 0")]
    LabelRange {
        /// Row-major position.
        index: usize,
        /// The label.
        value: i64,
        /// Number of classes.
        classes: usize,
    },
    /// A label that is no whole number.
    #[error("label {index} is {value}, which is no class number")]
    LabelFraction {
        /// Row-major position.
        index: usize,
        /// The label.
        value: f64,
    },
    /// NaN, or infinity where that has no meaning.
    #[error("output {index} is {value}, so `{metric}` has no value")]
    NonFinite {
        /// The metric.
        metric: Metric,
        /// Row-major position.
        index: usize,
        /// What is there.
        value: f64,
    },
    /// Nothing to average over.
    #[error("`{metric}` has no value: {why}")]
    Undefined {
        /// The metric.
        metric: Metric,
        /// Why.
        why: &'static str,
    },
}

/// A metric nobody knows.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` is no metric; there are top1, top5, accuracy, miou, auc, mse, cosine, agree and kl")]
pub struct UnknownMetric(pub String);

impl Metric {
    /// Every metric.
    pub const ALL: [Metric; 9] =
        [Self::Top1, Self::Top5, Self::Accuracy, Self::Miou, Self::Auc, Self::Mse, Self::Cosine, Self::Agree, Self::Kl];
    /// The name by which users ask for it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => "top1",
            Self::Top5 => "top5",
            Self::Accuracy => "accuracy",
            Self::Miou => "miou",
            Self::Auc => "auc",
            Self::Mse => "mse",
            Self::Cosine => "cosine",
            Self::Agree => "agree",
            Self::Kl => "kl",
        }
    }
    /// What outputs are compared with.
    pub fn reference(self) -> Reference {
        match self {
            Self::Top1 | Self::Top5 | Self::Accuracy | Self::Miou | Self::Auc => Reference::Label,
            Self::Cosine | Self::Agree | Self::Kl => Reference::Dense,
            Self::Mse => Reference::Either,
        }
    }
    /// Whether more is better.
    pub fn higher_is_better(self) -> bool {
        !matches!(self, Self::Mse | Self::Kl)
    }
    /// Whether values are percentages, so that a difference is in points.
    pub fn is_percentage(self) -> bool {
        !matches!(self, Self::Mse | Self::Kl | Self::Cosine)
    }
    /// How much worse `after` is than `before`; negative where it is better. Points, for percentages.
    pub fn drop(self, before: f64, after: f64) -> f64 {
        if self.higher_is_better() { before - after } else { after - before }
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = UnknownMetric;
    fn from_str(s: &str) -> Result<Self, UnknownMetric> {
        Self::ALL.into_iter().find(|m| m.name() == s).ok_or_else(|| UnknownMetric(s.to_string()))
    }
}

/// The value of `metric` for `outputs`, `[samples, …]`, against `reference`: labels or the dense model's outputs, as
/// [`Metric::reference`] says.
pub fn evaluate(metric: Metric, outputs: &Tensor, reference: &Tensor) -> Result<Score, MetricError> {
    let values = outputs.to_f64().map_err(|source| MetricError::Outputs { metric, source })?;
    let samples = outputs.dims.first().copied().unwrap_or(0);
    if samples == 0 || values.is_empty() {
        return Err(MetricError::Undefined { metric, why: "there are no outputs" });
    }
    // A score of −∞ rules a class out; distances to it have no meaning.
    let ranks_only = !matches!(metric, Metric::Mse | Metric::Cosine | Metric::Kl);
    let spoilt = |v: &f64| if ranks_only { v.is_nan() } else { !v.is_finite() };
    let refuse = |values: &[f64]| match values.iter().position(spoilt) {
        Some(index) => Err(MetricError::NonFinite { metric, index, value: values[index] }),
        None => Ok(()),
    };
    refuse(&values)?;
    let case = Case { metric, values: &values, dims: &outputs.dims, reference };
    let value = match metric {
        Metric::Top1 | Metric::Top5 => {
            let (classes, labels) = case.classes_and_labels()?;
            if classes.outer * classes.inner != samples as usize {
                return Err(case.shape("one label a sample"));
            }
            case.hits(classes, &labels, if metric == Metric::Top1 { 1 } else { 5 })?
        }
        Metric::Accuracy => {
            let (classes, labels) = case.classes_and_labels()?;
            case.hits(classes, &labels, 1)?
        }
        Metric::Miou => {
            let (classes, labels) = case.classes_and_labels()?;
            case.miou(classes, &labels)?
        }
        Metric::Auc => case.auc(samples as usize)?,
        Metric::Mse => {
            let target = case.numbers()?;
            refuse(&target)?;
            values.iter().zip(&target).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / values.len() as f64
        }
        Metric::Cosine => {
            let target = case.numbers()?;
            refuse(&target)?;
            cosine(&values, &target, samples as usize)
        }
        Metric::Agree | Metric::Kl => {
            let target = case.numbers()?;
            refuse(&target)?;
            let classes = ClassAxis::unlabelled(&outputs.dims);
            if metric == Metric::Kl { kl(classes, &values, &target) } else { agree(classes, &values, &target) }
        }
    };
    Ok(Score { value, samples })
}

/// Where the scores of one element lie: `outer × classes × inner` numbers.
#[derive(Clone, Copy)]
struct ClassAxis {
    outer: usize,
    classes: usize,
    inner: usize,
}

impl ClassAxis {
    fn new(dims: &[u64], axis: usize) -> Self {
        let product = |d: &[u64]| d.iter().product::<u64>() as usize;
        Self { outer: product(&dims[..axis]), classes: dims[axis] as usize, inner: product(&dims[axis + 1..]) }
    }
    fn unlabelled(dims: &[u64]) -> Self {
        match dims.len() {
            1 => Self { outer: dims[0] as usize, classes: 1, inner: 1 },
            2 | 4 | 5 => Self::new(dims, 1),
            rank => Self::new(dims, rank - 1),
        }
    }
    fn elements(self) -> usize {
        self.outer * self.inner
    }
    /// Scores of element `e`.
    fn scores(self, values: &[f64], e: usize) -> impl Iterator<Item = f64> + Clone + '_ {
        let at = e / self.inner * self.classes * self.inner + e % self.inner;
        values[at..].iter().step_by(self.inner).take(self.classes).copied()
    }
    /// The chosen class of element `e`: the first of the highest scores, or 1 for a single score above 0.
    fn choice(self, values: &[f64], e: usize) -> usize {
        let mut scores = self.scores(values, e);
        let first = scores.next().unwrap_or(f64::NEG_INFINITY);
        if self.classes == 1 {
            return usize::from(first > 0.0);
        }
        let best = |(at, top): (usize, f64), (i, s): (usize, f64)| if s > top { (i, s) } else { (at, top) };
        scores.enumerate().map(|(i, s)| (i + 1, s)).fold((0, first), best).0
    }
}

/// Operands of one evaluation.
struct Case<'a> {
    metric: Metric,
    values: &'a [f64],
    dims: &'a [u64],
    reference: &'a Tensor,
}

impl Case<'_> {
    fn shape(&self, wanted: &'static str) -> MetricError {
        let (outputs, reference) = (self.dims.to_vec(), self.reference.dims.clone());
        MetricError::Shape { metric: self.metric, outputs, reference, wanted }
    }
    fn undefined(&self, why: &'static str) -> MetricError {
        MetricError::Undefined { metric: self.metric, why }
    }
    /// The reference as numbers, one for each output; axes of size 1 do not count.
    fn numbers(&self) -> Result<Vec<f64>, MetricError> {
        let plain = |d: &[u64]| d.iter().copied().filter(|d| *d != 1).collect::<Vec<_>>();
        if plain(self.dims) != plain(&self.reference.dims) {
            return Err(self.shape("the same sizes"));
        }
        let labels = |source| MetricError::Labels { metric: self.metric, source };
        if self.reference.elem.is_float() {
            self.reference.to_f64().map_err(labels)
        } else {
            Ok(self.reference.to_i64().map_err(labels)?.into_iter().map(|v| v as f64).collect())
        }
    }
    /// Labels as whole numbers, which floats may hold too.
    fn labels(&self) -> Result<Vec<i64>, MetricError> {
        let labels = |source| MetricError::Labels { metric: self.metric, source };
        if !self.reference.elem.is_float() {
            return self.reference.to_i64().map_err(labels);
        }
        let whole = |(index, value): (usize, f64)| {
            let fits = value.fract() == 0.0 && value.abs() < 2f64.powi(53);
            if fits { Ok(value as i64) } else { Err(MetricError::LabelFraction { index, value }) }
        };
        self.reference.to_f64().map_err(labels)?.into_iter().enumerate().map(whole).collect()
    }
    /// The class axis that the label's sizes point to, and the labels, each a class or [`IGNORED`].
    fn classes_and_labels(&self) -> Result<(ClassAxis, Vec<i64>), MetricError> {
        let label = &self.reference.dims;
        let fits = |axis: usize| {
            let (mut without, mut one) = (self.dims.to_vec(), self.dims.to_vec());
            without.remove(axis);
            one[axis] = 1;
            without == *label || one == *label
        };
        let rank = self.dims.len();
        let axis = match rank {
            0 | 1 => None,
            _ => [rank - 1, 1].into_iter().find(|&axis| fits(axis)),
        };
        let classes = match axis {
            Some(axis) => ClassAxis::new(self.dims, axis),
            // One logit an element, with no axis for it.
            None if self.dims == label => ClassAxis { outer: self.values.len(), classes: 1, inner: 1 },
            None => return Err(self.shape("labels with the sizes of the outputs without their class axis")),
        };
        let labels = self.labels()?;
        let known = classes.classes.max(2);
        let wrong = |l: &i64| *l != IGNORED && !usize::try_from(*l).is_ok_and(|l| l < known);
        // Masks of one class are often stored as 0 and 255: all but 0 is yes.
        if classes.classes == 1 {
            let yes = |l: i64| if l == IGNORED { l } else { i64::from(l > 0) };
            return Ok((classes, labels.into_iter().map(yes).collect()));
        }
        match labels.iter().position(wrong) {
            Some(index) => Err(MetricError::LabelRange { index, value: labels[index], classes: known }),
            None => Ok((classes, labels)),
        }
    }
    /// Percentage of elements whose label is among the `k` highest scores.
    fn hits(&self, c: ClassAxis, labels: &[i64], k: usize) -> Result<f64, MetricError> {
        let (mut hits, mut counted) = (0u64, 0u64);
        for (e, &label) in labels.iter().enumerate().filter(|(_, l)| **l != IGNORED) {
            counted += 1;
            let hit = if c.classes == 1 || k == 1 {
                c.choice(self.values, e) == label as usize
            } else {
                let scores = c.scores(self.values, e);
                let own = scores.clone().nth(label as usize).unwrap_or(f64::NEG_INFINITY);
                // Of equal scores, those of lower classes come first.
                let before = |(i, s): &(usize, f64)| *s > own || *s == own && *i < label as usize;
                scores.enumerate().filter(before).count() < k
            };
            hits += u64::from(hit);
        }
        if counted == 0 {
            return Err(self.undefined("every label is −100, which means to ignore it"));
        }
        Ok(100.0 * hits as f64 / counted as f64)
    }
    fn miou(&self, c: ClassAxis, labels: &[i64]) -> Result<f64, MetricError> {
        let n = c.classes.max(2);
        let (mut both, mut either) = (vec![0u64; n], vec![0u64; n]);
        for (e, &label) in labels.iter().enumerate().filter(|(_, l)| **l != IGNORED) {
            let (label, choice) = (label as usize, c.choice(self.values, e));
            either[label] += 1;
            if label == choice {
                both[label] += 1;
            } else {
                either[choice] += 1;
            }
        }
        let counted = if c.classes == 1 { 1..2 } else { 0..n };
        let ratios: Vec<f64> = counted.filter(|&i| either[i] > 0).map(|i| both[i] as f64 / either[i] as f64).collect();
        if ratios.is_empty() {
            return Err(self.undefined("no class occurs in label or prediction"));
        }
        Ok(100.0 * ratios.iter().sum::<f64>() / ratios.len() as f64)
    }
    fn auc(&self, samples: usize) -> Result<f64, MetricError> {
        let labels = self.labels()?;
        let score: Vec<f64> = match self.values.len().checked_div(samples) {
            Some(1) => self.values.to_vec(),
            Some(2) => self.values.chunks_exact(2).map(|s| s[1] - s[0]).collect(),
            _ => return Err(self.shape("one logit or two scores a sample")),
        };
        if labels.len() != samples {
            return Err(self.shape("one label a sample"));
        }
        if let Some(index) = labels.iter().position(|l| !matches!(l, 0 | 1)) {
            return Err(MetricError::LabelRange { index, value: labels[index], classes: 2 });
        }
        let positives = labels.iter().filter(|l| **l == 1).count();
        if positives == 0 || positives == samples {
            return Err(self.undefined("all labels are of one class"));
        }
        let mut order: Vec<usize> = (0..samples).collect();
        order.sort_by(|&a, &b| score[a].total_cmp(&score[b]));
        // Sum of the positives' ranks, equal scores sharing the mean of theirs.
        let (mut sum, mut at) = (0.0, 0);
        while at < samples {
            let end = (at..samples).find(|&i| score[order[i]] != score[order[at]]).unwrap_or(samples);
            let rank = (at + 1 + end) as f64 / 2.0;
            sum += rank * order[at..end].iter().filter(|&&i| labels[i] == 1).count() as f64;
            at = end;
        }
        let (p, n) = (positives as f64, (samples - positives) as f64);
        Ok(100.0 * (sum - p * (p + 1.0) / 2.0) / (p * n))
    }
}

fn cosine(a: &[f64], b: &[f64], samples: usize) -> f64 {
    let row = a.len() / samples;
    let one = |(a, b): (&[f64], &[f64])| {
        let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
        let (ab, aa, bb) = (dot(a, b), dot(a, a), dot(b, b));
        // Two zero vectors agree; one alone has no direction to agree with.
        if aa == 0.0 && bb == 0.0 { 1.0 } else { ab / (aa.sqrt() * bb.sqrt()).max(f64::MIN_POSITIVE) }
    };
    a.chunks_exact(row).zip(b.chunks_exact(row)).map(one).sum::<f64>() / samples as f64
}

fn agree(c: ClassAxis, a: &[f64], b: &[f64]) -> f64 {
    let same = (0..c.elements()).filter(|&e| c.choice(a, e) == c.choice(b, e)).count();
    100.0 * same as f64 / c.elements() as f64
}

fn kl(c: ClassAxis, values: &[f64], dense: &[f64]) -> f64 {
    // ln(1 + eˣ) without overflow.
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let log_sum =
        |scores: &mut dyn Iterator<Item = f64>, max: f64| max + scores.map(|s| (s - max).exp()).sum::<f64>().ln();
    let one = |e: usize| {
        let (q, p) = (c.scores(values, e), c.scores(dense, e));
        if c.classes == 1 {
            let (q, p) = (q.sum::<f64>(), p.sum::<f64>());
            let yes = 1.0 / (1.0 + (-p).exp());
            return yes * (softplus(-q) - softplus(-p)) + (1.0 - yes) * (softplus(q) - softplus(p));
        }
        let top = |s: &mut dyn Iterator<Item = f64>| s.fold(f64::NEG_INFINITY, f64::max);
        let zq = log_sum(&mut q.clone(), top(&mut q.clone()));
        let zp = log_sum(&mut p.clone(), top(&mut p.clone()));
        p.zip(q).map(|(p, q)| (p - zp).exp() * ((p - zp) - (q - zq))).sum::<f64>()
    };
    (0..c.elements()).map(one).sum::<f64>() / c.elements() as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_ir::ElemType;

    #[track_caller]
    fn check(metric: Metric, outputs: &Tensor, reference: &Tensor, expect: f64) {
        let score = evaluate(metric, outputs, reference).unwrap();
        assert!((score.value - expect).abs() < 1e-9, "{metric}: {} instead of {expect}", score.value);
        assert_eq!(score.samples, outputs.dims[0]);
    }

    #[test]
    fn top_k_counts_labels_among_the_highest_scores_and_the_first_of_equals_wins() {
        let o = Tensor::f32(&[3, 6], &[6., 5., 4., 3., 2., 1., 0., 0., 0., 0., 0., 0., 1., 2., 3., 4., 5., 6.]);
        check(Metric::Top1, &o, &Tensor::i64(&[3], &[0, 0, 4]), 100.0 * 2.0 / 3.0);
        check(Metric::Top5, &o, &Tensor::i64(&[3], &[5, 4, 0]), 100.0 / 3.0);
        check(Metric::Top1, &o, &Tensor::i64(&[3, 1], &[1, 1, 5]), 100.0 / 3.0);
        check(Metric::Top1, &o, &Tensor::f32(&[3], &[0., 1., 5.]), 100.0 * 2.0 / 3.0);
    }

    #[test]
    fn accuracy_finds_the_class_axis_and_ignores_minus_100() {
        // Tokens: classes last. Pixels: classes on axis 1.
        let tokens = Tensor::f32(&[1, 3, 2], &[0., 1., 1., 0., 0., 1.]);
        check(Metric::Accuracy, &tokens, &Tensor::i64(&[1, 3], &[1, 1, -100]), 50.0);
        let pixels = Tensor::f32(&[1, 2, 1, 3], &[0., 1., 0., 1., 0., 1.]);
        check(Metric::Accuracy, &pixels, &Tensor::i64(&[1, 1, 3], &[1, 0, 0]), 100.0 * 2.0 / 3.0);
        let e = evaluate(Metric::Accuracy, &tokens, &Tensor::i64(&[1, 3], &[-100; 3])).unwrap_err();
        assert!(matches!(e, MetricError::Undefined { .. }));
    }

    #[test]
    fn miou_of_one_class_is_that_of_the_yes_class() {
        let o = Tensor::f32(&[1, 1, 2, 2], &[3., -1., 2., 0.]);
        let label = Tensor::raw(ElemType::U8, vec![1, 1, 2, 2], vec![255, 0, 0, 255].into()).unwrap();
        check(Metric::Miou, &o, &label, 100.0 / 3.0);
        check(Metric::Accuracy, &o, &label, 50.0);
    }

    #[test]
    fn miou_of_several_classes_is_the_mean_over_those_that_occur() {
        let o = Tensor::f32(&[3, 3], &[1., 0., 0., 1., 0., 0., 0., 1., 0.]);
        check(Metric::Miou, &o, &Tensor::i64(&[3], &[0, 1, 1]), 50.0);
    }

    #[test]
    fn auc_shares_ranks_of_ties() {
        let label = Tensor::i64(&[4], &[0, 0, 1, 1]);
        check(Metric::Auc, &Tensor::f32(&[4, 1], &[0.1, 0.4, 0.35, 0.8]), &label, 75.0);
        check(Metric::Auc, &Tensor::f32(&[4], &[1.; 4]), &label, 50.0);
        check(Metric::Auc, &Tensor::f32(&[4, 2], &[0., 1., 0., 2., 0., 3., 0., 4.]), &label, 100.0);
    }

    #[test]
    fn distances_are_zero_or_one_to_oneself_and_grow_with_difference() {
        let a = Tensor::f32(&[2, 2], &[1., 0., 0., 2.]);
        let b = Tensor::f32(&[2, 2], &[0., 1., 0., 4.]);
        check(Metric::Mse, &a, &a, 0.0);
        check(Metric::Mse, &a, &b, 6.0 / 4.0);
        check(Metric::Cosine, &a, &b, 0.5);
        check(Metric::Agree, &a, &b, 50.0);
        check(Metric::Kl, &a, &a, 0.0);
        // Both rows by hand: Σ p·(ln p − ln q) with softmax p of the dense model.
        let softmax = |x: f64, y: f64| (x.exp() / (x.exp() + y.exp()), y.exp() / (x.exp() + y.exp()));
        let row = |q: (f64, f64), p: (f64, f64)| p.0 * (p.0 / q.0).ln() + p.1 * (p.1 / q.1).ln();
        let expect = (row(softmax(1., 0.), softmax(0., 1.)) + row(softmax(0., 2.), softmax(0., 4.))) / 2.0;
        check(Metric::Kl, &a, &b, expect);
    }

    #[test]
    fn kl_of_one_logit_is_that_of_its_two_outcomes() {
        let two = |v: &[f32]| Tensor::f32(&[2, 2], &[0., v[0], 0., v[1]]);
        let expect = evaluate(Metric::Kl, &two(&[0.3, -2.]), &two(&[1.5, 40.])).unwrap().value;
        check(Metric::Kl, &Tensor::f32(&[2, 1], &[0.3, -2.]), &Tensor::f32(&[2, 1], &[1.5, 40.]), expect);
    }

    #[test]
    fn what_has_no_value_is_an_error() {
        let o = Tensor::f32(&[2, 3], &[0., 1., 2., 3., 4., 5.]);
        let label = |l: &[i64]| Tensor::i64(&[l.len() as u64], l);
        let error = |m, o: &Tensor, l: &Tensor| evaluate(m, o, l).unwrap_err();
        assert!(matches!(error(Metric::Top1, &o, &label(&[0, 3])), MetricError::LabelRange { index: 1, .. }));
        assert!(matches!(error(Metric::Top1, &o, &label(&[0, -1])), MetricError::LabelRange { value: -1, .. }));
        assert!(matches!(error(Metric::Top1, &o, &label(&[0, 1, 2])), MetricError::Shape { .. }));
        assert!(matches!(error(Metric::Auc, &o, &label(&[0, 1])), MetricError::Shape { .. }));
        assert!(matches!(error(Metric::Kl, &o, &label(&[0, 1])), MetricError::Shape { .. }));
        let nan = Tensor::f32(&[2, 1], &[0., f32::NAN]);
        assert!(matches!(error(Metric::Accuracy, &nan, &label(&[0, 1])), MetricError::NonFinite { index: 1, .. }));
        let half = Tensor::f32(&[2], &[0., 0.5]);
        assert!(matches!(error(Metric::Top1, &o, &half), MetricError::LabelFraction { index: 1, .. }));
    }

    #[test]
    fn names_round_trip_and_drops_are_positive_where_worse() {
        for m in Metric::ALL {
            assert_eq!(m.name().parse(), Ok(m));
        }
        assert!("top3".parse::<Metric>().is_err());
        assert_eq!(Metric::Top1.drop(90.0, 88.5), 1.5);
        assert_eq!(Metric::Kl.drop(0.0, 0.25), 0.25);
    }
}
