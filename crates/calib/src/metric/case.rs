//! Outputs held against what they should be, sample by sample.

use super::classes::ClassAxis;
use super::scored::{Parts, Tally};
use super::{IGNORED, Metric, MetricError};
use sparsec_ir::Tensor;
use std::collections::BTreeMap;

/// Operands of one evaluation.
pub(super) struct Case<'a> {
    pub(super) metric: Metric,
    pub(super) values: &'a [f64],
    pub(super) dims: &'a [u64],
    pub(super) reference: &'a Tensor,
}

impl Case<'_> {
    /// What each sample adds to the metric.
    pub(super) fn parts(&self) -> Result<Parts, MetricError> {
        let samples = self.dims[0] as usize;
        match self.metric {
            Metric::Top1 | Metric::Top5 => {
                let (classes, labels) = self.classes_and_labels()?;
                if classes.elements() != samples {
                    return Err(self.shape("one label a sample"));
                }
                let k = if self.metric == Metric::Top1 { 1 } else { 5 };
                Ok(Parts::Classes(self.hits(classes, &labels, k)))
            }
            Metric::Accuracy => {
                let (classes, labels) = self.classes_and_labels()?;
                Ok(Parts::Classes(self.hits(classes, &labels, 1)))
            }
            Metric::Miou => {
                let (classes, labels) = self.classes_and_labels()?;
                Ok(Parts::Classes(self.overlaps(classes, &labels)))
            }
            Metric::Auc => self.ranked(samples),
            Metric::Mse | Metric::Cosine => {
                let target = self.numbers()?;
                self.refuse_non_finite(&target)?;
                let row = self.values.len() / samples;
                let of = if self.metric == Metric::Mse { squares } else { cosine };
                Ok(Parts::Mean(self.values.chunks_exact(row).zip(target.chunks_exact(row)).map(of).collect()))
            }
            Metric::Agree | Metric::Kl => {
                let target = self.numbers()?;
                let classes = ClassAxis::unlabelled(self.dims);
                let of = if self.metric == Metric::Kl { kl } else { agree };
                let each = classes.elements() / samples;
                let sum = |s: usize| (s * each..(s + 1) * each).map(|e| of(classes, self.values, &target, e)).sum();
                Ok(Parts::Mean((0..samples).map(|s| (sum(s), each as f64)).collect()))
            }
        }
    }
    /// Refuses NaN, and infinities where they have no meaning: a score of −∞ rules a class out, but has no distance.
    pub(super) fn refuse_non_finite(&self, values: &[f64]) -> Result<(), MetricError> {
        let ranks_only = !matches!(self.metric, Metric::Mse | Metric::Cosine | Metric::Kl);
        let spoilt = |v: &f64| if ranks_only { v.is_nan() } else { !v.is_finite() };
        match values.iter().position(spoilt) {
            Some(index) => Err(MetricError::NonFinite { metric: self.metric, index, value: values[index] }),
            None => Ok(()),
        }
    }
    fn shape(&self, wanted: &'static str) -> MetricError {
        let (outputs, reference) = (self.dims.to_vec(), self.reference.dims.clone());
        MetricError::Shape { metric: self.metric, outputs, reference, wanted }
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
    /// Counts, for each sample and class of its labels, elements and those whose label is among the `k` highest scores.
    fn hits(&self, c: ClassAxis, labels: &[i64], k: usize) -> Vec<Vec<Tally>> {
        let hit = |e: usize, label: usize| {
            if c.classes == 1 || k == 1 {
                return c.choice(self.values, e) == label;
            }
            let scores = c.scores(self.values, e);
            let own = scores.clone().nth(label).unwrap_or(f64::NEG_INFINITY);
            // Of equal scores, those of lower classes come first.
            let before = |(i, s): &(usize, f64)| *s > own || *s == own && *i < label;
            scores.enumerate().filter(before).count() < k
        };
        self.tallies(labels, |e, label, count| count(label, hit(e, label)))
    }
    /// Counts, for each sample and class, the elements that label or prediction say to be of it, and those that both do.
    fn overlaps(&self, c: ClassAxis, labels: &[i64]) -> Vec<Vec<Tally>> {
        // With one class, the background does not count.
        let counts = |class: usize| c.classes > 1 || class == 1;
        self.tallies(labels, |e, label, count| {
            let choice = c.choice(self.values, e);
            if counts(label) {
                count(label, choice == label);
            }
            if choice != label && counts(choice) {
                count(choice, false);
            }
        })
    }
    /// Adds up what `of` counts of the elements of each sample: a class, and whether it was hit.
    fn tallies(&self, labels: &[i64], of: impl Fn(usize, usize, &mut dyn FnMut(usize, bool))) -> Vec<Vec<Tally>> {
        let each = labels.len() / self.dims[0] as usize;
        let one = |(sample, labels): (usize, &[i64])| {
            let mut by_class: BTreeMap<usize, Tally> = BTreeMap::new();
            for (i, &label) in labels.iter().enumerate().filter(|(_, l)| **l != IGNORED) {
                of(sample * each + i, label as usize, &mut |class, hit| {
                    let tally = by_class.entry(class).or_insert(Tally { class: class as u32, hits: 0, of: 0 });
                    tally.of += 1;
                    tally.hits += u64::from(hit);
                });
            }
            by_class.into_values().collect()
        };
        labels.chunks(each.max(1)).enumerate().map(one).collect()
    }
    /// Score and label of each sample.
    fn ranked(&self, samples: usize) -> Result<Parts, MetricError> {
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
        Ok(Parts::ranked(score.into_iter().zip(labels.into_iter().map(|l| l == 1)).collect()))
    }
}

/// Squared distance of a sample's outputs, and their number.
fn squares((a, b): (&[f64], &[f64])) -> (f64, f64) {
    (a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum(), a.len() as f64)
}

/// Cosine of the angle between a sample's outputs, which count as one.
fn cosine((a, b): (&[f64], &[f64])) -> (f64, f64) {
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    let (ab, aa, bb) = (dot(a, b), dot(a, a), dot(b, b));
    // Two zero vectors agree; one alone has no direction to agree with.
    (if aa == 0.0 && bb == 0.0 { 1.0 } else { ab / (aa.sqrt() * bb.sqrt()).max(f64::MIN_POSITIVE) }, 1.0)
}

/// 1 where the same class is chosen for an element.
fn agree(c: ClassAxis, a: &[f64], b: &[f64], element: usize) -> f64 {
    f64::from(u8::from(c.choice(a, element) == c.choice(b, element)))
}

/// Divergence of an element's distribution from the dense model's.
fn kl(c: ClassAxis, values: &[f64], dense: &[f64], element: usize) -> f64 {
    // ln(1 + eˣ) without overflow.
    let softplus = |x: f64| x.max(0.0) + (-x.abs()).exp().ln_1p();
    let log_sum =
        |scores: &mut dyn Iterator<Item = f64>, max: f64| max + scores.map(|s| (s - max).exp()).sum::<f64>().ln();
    let (q, p) = (c.scores(values, element), c.scores(dense, element));
    if c.classes == 1 {
        let (q, p) = (q.sum::<f64>(), p.sum::<f64>());
        let yes = 1.0 / (1.0 + (-p).exp());
        return yes * (softplus(-q) - softplus(-p)) + (1.0 - yes) * (softplus(q) - softplus(p));
    }
    let top = |s: &mut dyn Iterator<Item = f64>| s.fold(f64::NEG_INFINITY, f64::max);
    let zq = log_sum(&mut q.clone(), top(&mut q.clone()));
    let zp = log_sum(&mut p.clone(), top(&mut p.clone()));
    p.zip(q).map(|(p, q)| (p - zp).exp() * ((p - zp) - (q - zq))).sum::<f64>()
}
