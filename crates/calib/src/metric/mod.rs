//! What a model is worth: metrics of its outputs against labels, or against the dense model's outputs.

mod case;
mod classes;
mod interval;
mod scored;

pub use interval::{Interval, drop_interval};
pub use scored::{ClassScore, Scored};

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
    Scored::of(metric, outputs, reference)?.score()
}

#[cfg(test)]
mod tests;
