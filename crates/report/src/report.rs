//! The form of `report.json`: plain data, its own types, no clock in it.

use crate::{Evaluation, ReportError};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The form of reports that this crate reads and writes.
pub const SCHEMA: &str = "sparsec/report@1";

/// What a run did to a model, and what that is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Form of the file: [`SCHEMA`].
    pub schema: String,
    /// Name of the model.
    pub model: String,
    /// The tool.
    pub tool: Tool,
    /// Device that the figures are about.
    pub target: TargetInfo,
    /// Which runtime gave which figures.
    pub runtimes: Vec<RuntimeUse>,
    /// The model as it came in.
    pub before: Side,
    /// The model as it went out.
    pub after: Side,
    /// What was asked for.
    pub limits: Vec<Limit>,
    /// How well the model does on each evaluation set.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub evaluations: Vec<Evaluation>,
    /// Groups of channels, cut or not.
    pub groups: Vec<Group>,
    /// Terms of sums that can be dropped whole, dropped or not.
    #[serde(default)]
    pub branches: Vec<Branch>,
    /// Weights that were looked at for masks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub masks: Vec<Mask>,
    /// Multiply-accumulates that are not by zero, where weights are masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nonzero_macs: Option<NonzeroMacs>,
    /// How much of the model any plan could cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prunable: Option<Prunable>,
    /// Axes that can never shrink.
    pub frozen: Vec<Frozen>,
    /// Files that the run read.
    pub inputs: Vec<Input>,
    /// Things to know.
    pub notes: Vec<String>,
    /// Things to worry about.
    pub warnings: Vec<String>,
}

/// The tool that wrote a report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
}

/// The device that a report's figures are about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TargetInfo {
    /// Name.
    pub name: String,
    /// Whether its figures were fitted to measurements.
    pub calibrated: bool,
    /// Where its figures come from.
    pub source: String,
}

/// A runtime and the figures that it gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RuntimeUse {
    /// Name and version.
    pub name: String,
    /// Which figures.
    pub used_for: String,
}

/// A model and what it costs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Side {
    /// Time of one inference.
    pub latency_ms: Interval,
    /// Memory of one inference.
    pub memory_bytes: Memory,
    /// Energy of one inference in mJ.
    pub energy_mj: f64,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Parameters.
    pub params: u64,
    /// Bytes of the model file.
    pub file_bytes: u64,
    /// How well the model does, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<Metric>,
    /// Nodes in the order of execution.
    pub nodes: Vec<Node>,
    /// Live activations, kernel by kernel.
    pub timeline: Vec<Moment>,
}

/// A time in ms with its error bar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Best guess.
    pub total: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// Memory of one inference, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// What the runtime holds at the worst moment.
    pub peak: u64,
    /// For weights.
    pub weights: u64,
    /// For activations, as the runtime plans its buffers.
    pub activations: u64,
    /// Largest set of activations that live at once: no runtime can hold less.
    pub lower_bound: u64,
}

/// A measured metric.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metric {
    /// Name.
    pub name: String,
    /// Value.
    pub value: f64,
    /// Unit of the value: `%`, or nothing.
    #[serde(default)]
    pub unit: String,
    /// Samples that it was measured on.
    pub samples: u64,
    /// Which way is better.
    pub better: Better,
}

/// Which way a metric is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// A larger value is better.
    Higher,
    /// A smaller value is better.
    Lower,
}

/// What one node costs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Node {
    /// How a person finds the node.
    pub label: String,
    /// Operator.
    pub op: String,
    /// Kernel, with the sizes that decide.
    pub kernel: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of activations read.
    pub read_bytes: u64,
    /// Bytes of activations written.
    pub write_bytes: u64,
    /// Bytes of constants read.
    pub weight_bytes: u64,
    /// Time.
    pub latency_ms: Interval,
    /// Label of the node in whose kernel this one runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fused_into: Option<String>,
    /// What the figures leave out or assume.
    pub notes: Vec<String>,
}

/// Live activations while one kernel runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Label of the kernel's node.
    pub label: String,
    /// Bytes.
    pub bytes: u64,
}

/// A limit, in the unit that it names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Limit {
    /// What is limited.
    pub name: String,
    /// At most this.
    pub asked: f64,
    /// What was reached.
    pub reached: f64,
    /// Unit of both: `ms`, `B`, `mJ`, `MAC`, `points`, `nats`, the name of a metric, or nothing.
    pub unit: String,
    /// Whether it holds.
    pub met: bool,
}

/// A group of units that leave together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Group {
    /// Name, as the plan file has it.
    pub id: String,
    /// The layers that produce it, as their author named them.
    pub title: String,
    /// Units before.
    pub units: u64,
    /// Units after.
    pub kept: u64,
    /// Axes that carry it, as `value:axis`.
    pub axes: Vec<String>,
    /// Parameters that hang on it, before.
    pub params: u64,
    /// Multiply-accumulates that hang on it, as a share of the model's, before; absent where sizes are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs_share: Option<f64>,
    /// Error at the output by units kept: `[kept, error]`, ascending in `kept`.
    pub curve: Vec<(u64, f64)>,
    /// Why it was not cut further.
    pub why_not_more: String,
}

/// A term of a sum that can be dropped whole.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Branch {
    /// Name, as the plan file has it.
    pub id: String,
    /// The layers that go with it, as their author named them.
    pub layers: Vec<String>,
    /// The node that adds it.
    pub sum: String,
    /// Parameters that only it has.
    pub params: u64,
    /// Multiply-accumulates that only it takes, before.
    pub macs: u64,
    /// Error at the output without it, all else whole; absent where it was not measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Whether it was dropped.
    pub dropped: bool,
    /// Why, or why not.
    pub why: String,
}

/// A weight of which a part may be zero. Zeros count for nothing in any figure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mask {
    /// Name of the weight.
    pub weight: String,
    /// The layer that reads it, as its author named it.
    pub title: String,
    /// Where zeros may lie.
    pub pattern: String,
    /// Share that is not zero; 1 where the weight stayed dense.
    pub density: f64,
    /// Multiply-accumulates with it, zeros included.
    pub macs: u64,
    /// Error of the layer's result on samples that it was not solved on, relative to its variance, where it was masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<f64>,
    /// Why this much.
    pub why: String,
}

/// Multiply-accumulates that a kernel would do that skips the zeros of masks. No other figure counts these as a saving.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NonzeroMacs {
    /// Of the model as it came in.
    pub before: u64,
    /// Of the model as it went out.
    pub after: u64,
}

/// Shares of the canonical model that sit in channels that can leave, from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prunable {
    /// Of the parameters.
    pub params: f64,
    /// Of the multiply-accumulates; absent where sizes are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<f64>,
}

/// An axis that can never shrink.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Frozen {
    /// Value.
    pub value: String,
    /// The layer that it belongs to, where its name does not say so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layer: Option<String>,
    /// Axis of it, from 0.
    pub axis: u32,
    /// Why.
    pub reason: String,
    /// Parameters that this keeps.
    pub params: u64,
    /// Multiply-accumulates that they take part in; absent where sizes are open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub macs: Option<u64>,
    /// What may free it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// A file that the run read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Input {
    /// What it was for.
    pub role: String,
    /// Name of the file.
    pub name: String,
    /// SHA-256 of its bytes in hexadecimal.
    pub sha256: String,
}

impl Report {
    /// The text of `report.json`, with a line break at its end.
    ///
    /// # Errors
    /// A number is not finite: JSON has no way to say so.
    pub fn to_json(&self) -> Result<String, ReportError> {
        let value = serde_json::to_value(self).map_err(ReportError::Json)?;
        // Absent options are left out, so a null can only be a number that JSON does not have.
        if let Some(path) = null(&value) {
            return Err(ReportError::NotFinite { path });
        }
        let mut text = serde_json::to_string_pretty(self).map_err(ReportError::Json)?;
        text.push('\n');
        Ok(text)
    }

    /// Reads the text of a `report.json`.
    ///
    /// # Errors
    /// The text is no JSON, lacks a key, or is of another schema.
    pub fn from_json(text: &str) -> Result<Self, ReportError> {
        #[derive(Deserialize)]
        struct Head {
            schema: String,
        }
        let head: Head = serde_json::from_str(text).map_err(ReportError::Json)?;
        if head.schema != SCHEMA {
            return Err(ReportError::Schema { found: head.schema });
        }
        serde_json::from_str(text).map_err(ReportError::Json)
    }
}

/// Where the first null stands.
fn null(value: &Value) -> Option<String> {
    match value {
        Value::Null => Some(String::new()),
        Value::Array(a) => a.iter().enumerate().find_map(|(i, v)| null(v).map(|p| format!("[{i}]{p}"))),
        Value::Object(o) => o.iter().find_map(|(k, v)| null(v).map(|p| format!(".{k}{p}"))),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}
