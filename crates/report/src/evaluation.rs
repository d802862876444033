//! How well a model does beside the dense one: over whole sets of samples, by slice and by class.

use crate::text;
use serde::{Deserialize, Serialize};

/// A metric on one set of samples, before and after.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// Name of the set.
    pub set: String,
    /// Weight in the mean over the sets.
    pub weight: f64,
    /// Name of the metric.
    pub metric: String,
    /// Unit of drops: `points`, `nats`, or the name of the metric.
    pub unit: String,
    /// Over all samples.
    pub total: Compared,
    /// Over the samples of each slice that has a value.
    pub slices: Vec<Part>,
    /// Over each class, where the metric counts classes.
    pub classes: Vec<ClassCompared>,
}

/// A metric of the same samples before and after.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Compared {
    /// Samples.
    pub samples: u64,
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// How much worse it got; negative where it got better.
    pub drop: f64,
    /// Where the drop lies with 95 % confidence; none where there are too few samples.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Ends>,
}

/// Ends of an interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ends {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// A slice of a set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// `COLUMN=VALUE`.
    pub name: String,
    /// Its figures.
    #[serde(flatten)]
    pub compared: Compared,
}

/// One class before and after: for `miou` its intersection over union, else the share of its elements that are right.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ClassCompared {
    /// Number of the class.
    pub class: u64,
    /// Elements of it.
    pub elements: u64,
    /// Before, in percent.
    pub before: f64,
    /// After, in percent.
    pub after: f64,
}

impl Compared {
    /// Whether the samples cannot tell the drop from none.
    pub fn is_noise(&self) -> bool {
        self.interval.is_some_and(|i| i.low <= 0.0 && i.high >= 0.0)
    }
}

/// Classes that a page lists: those that lose most.
const WORST: usize = 10;

/// A row of the table of scores.
pub(crate) struct ScoreRow {
    pub(crate) part: String,
    pub(crate) of: u64,
    pub(crate) before: String,
    pub(crate) after: String,
    pub(crate) drop: String,
    pub(crate) interval: String,
    pub(crate) noise: bool,
}

/// The rows of all sets: each with its slices, and the classes that lose most.
pub(crate) fn rows(all: &[Evaluation]) -> Vec<ScoreRow> {
    all.iter().flat_map(of_set).collect()
}

fn of_set(e: &Evaluation) -> Vec<ScoreRow> {
    let figure = |v: f64| if v.abs() >= 10.0 { format!("{v:.2}") } else { text::significant(v) };
    let row = |part: String, c: &Compared| ScoreRow {
        part,
        of: c.samples,
        before: figure(c.before),
        after: figure(c.after),
        drop: text::in_unit(c.drop, &e.unit),
        interval: c.interval.map_or(String::new(), |i| format!("{} to {}", figure(i.low), figure(i.high))),
        noise: c.is_noise(),
    };
    let mut out = vec![row(format!("{} on {}", text::clean(&e.metric), text::clean(&e.set)), &e.total)];
    out.extend(e.slices.iter().map(|p| row(text::clean(&p.name), &p.compared)));
    let mut classes = e.classes.clone();
    classes.sort_by(|a, b| (b.before - b.after).total_cmp(&(a.before - a.after)).then(a.class.cmp(&b.class)));
    out.extend(classes.iter().take(WORST).filter(|c| c.before > c.after).map(|c| ScoreRow {
        part: format!("class {}", c.class),
        of: c.elements,
        before: figure(c.before),
        after: figure(c.after),
        drop: text::in_unit(c.before - c.after, "points"),
        interval: String::new(),
        noise: false,
    }));
    out
}
