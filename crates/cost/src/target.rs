//! Target files: what a device and its runtime cost, and where each figure comes from.
//!
//! Figures hold for the target as a whole, with the threads that it states; nothing is scaled behind the file's back.

use crate::TargetError;
use serde::{Deserialize, Deserializer, Serialize};
use std::io::Read;

/// The form of target files that this crate reads and writes.
const SCHEMA: &str = "sparsec/target@1";

/// No target file is longer.
const MAX_BYTES: u64 = 1 << 20;

const BUILTIN: &[(&str, &str)] = &[
    ("generic-arm", include_str!("../targets/generic-arm.yaml")),
    ("generic-x86", include_str!("../targets/generic-x86.yaml")),
];

/// Names and texts of the target files that belong to the tool, sorted by name.
pub fn builtin() -> &'static [(&'static str, &'static str)] {
    BUILTIN
}

/// A device with a runtime on it. The file form, the form in memory and the documentation are one.
///
/// Every `source` says where the figures beside it come from: measured (where), a data sheet, or assumed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// Form of the file: `sparsec/target@1`.
    #[serde(deserialize_with = "schema")]
    pub schema: String,
    /// Name, as `--target` takes it.
    pub name: String,
    /// Whether the figures were fitted to measurements of this very device and runtime.
    pub calibrated: bool,
    /// Runtime that the figures speak of.
    pub runtime: String,
    /// Instruction set or accelerator.
    pub isa: String,
    /// Threads of one inference.
    #[serde(deserialize_with = "at_least_one")]
    pub threads: u64,
    /// Where the figures come from, as a whole.
    pub source: String,
    /// Memory hierarchy.
    pub levels: Levels,
    /// Speed of each kernel class.
    pub kernels: Kernels,
    /// Which channel counts are good.
    pub channels: Channels,
    /// What the runtime merges into one kernel.
    pub fusion: Fusion,
    /// Cost of running anything at all.
    pub overhead: Overhead,
    /// Cost of weights that are not in the cache when their kernel starts.
    pub weights: Weights,
    /// Energy.
    pub energy: Energy,
    /// What the runtime holds in memory.
    pub memory: MemoryModel,
    /// Sparsity patterns that the runtime executes (zeros in dense tensors buy nothing).
    pub sparse: Vec<String>,
}

/// Memory hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Levels {
    /// Where the figures come from.
    pub source: String,
    /// Levels, the fastest first; all but the last have a size.
    #[serde(deserialize_with = "levels")]
    pub list: Vec<Level>,
}

/// One level of the memory hierarchy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Level {
    /// What people call it.
    pub name: String,
    /// Size in KiB as one inference sees it; left out for the last level.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kib: Option<u64>,
    /// Rate in GB/s.
    #[serde(deserialize_with = "positive")]
    pub gb_s: f64,
}

/// Speed of each kernel class.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kernels {
    /// Convolution with a window, in one group.
    pub conv: ComputeClass,
    /// Convolution of one tap, in one group.
    pub pointwise: ComputeClass,
    /// Convolution of each channel by itself.
    pub depthwise: ComputeClass,
    /// Convolution in groups.
    pub grouped: ComputeClass,
    /// Transposed convolution.
    pub transposed: ComputeClass,
    /// Matrix product with constant weights.
    pub gemm: ComputeClass,
    /// Product of two activations.
    pub matmul: ComputeClass,
    /// Recurrence.
    pub recurrent: ComputeClass,
    /// Cheap function of each element.
    pub elementwise: ByteClass,
    /// Transcendental function of each element.
    pub transcendental: ByteClass,
    /// Reduction, normalisation, softmax, pooling.
    pub reduce: ByteClass,
    /// Movement of data.
    pub movement: ByteClass,
}

/// A kernel class that multiplies and accumulates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ComputeClass {
    /// Peak rate in 10⁹ multiply-accumulates a second.
    #[serde(deserialize_with = "positive")]
    pub gmac_s: f64,
    /// Constant cost of a call in µs, beyond the runtime's own.
    #[serde(deserialize_with = "not_negative")]
    pub start_us: f64,
    /// Error bar: the true time lies between t / (1 + error) and t · (1 + error).
    #[serde(deserialize_with = "not_negative")]
    pub error: f64,
    /// Where the figures come from.
    pub source: String,
}

/// A kernel class that is bound by the bytes it reads and writes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByteClass {
    /// Rate of the kernel itself in GB/s; the memory hierarchy may be slower.
    #[serde(deserialize_with = "positive")]
    pub gb_s: f64,
    /// Constant cost of a call in µs, beyond the runtime's own.
    #[serde(deserialize_with = "not_negative")]
    pub start_us: f64,
    /// Error bar: the true time lies between t / (1 + error) and t · (1 + error).
    #[serde(deserialize_with = "not_negative")]
    pub error: f64,
    /// Where the figures come from.
    pub source: String,
}

/// Which channel counts are good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Channels {
    /// Input channels of a convolution that are no multiple of this fall off the fast path.
    #[serde(deserialize_with = "at_least_one")]
    pub legal: u64,
    /// Counts worth cutting to are multiples of this.
    #[serde(deserialize_with = "at_least_one")]
    pub preferred: u64,
    /// Output channels of a convolution, and channels of a depthwise one, cost what the next multiple of this costs.
    #[serde(deserialize_with = "at_least_one")]
    pub block: u64,
    /// Below this many input channels a convolution in one group is on the fast path whatever they are.
    pub input_free_below: u64,
    /// A convolution in groups is on the fast path if channels per group are a multiple of this on both sides.
    #[serde(deserialize_with = "at_least_one")]
    pub grouped: u64,
    /// Columns of a matrix product cost what the next multiple of this costs.
    #[serde(deserialize_with = "at_least_one")]
    pub gemm_block: u64,
    /// A concatenation of channels stays in the blocked layout if every part is a multiple of this; 1 where there is none.
    #[serde(deserialize_with = "at_least_one")]
    pub join: u64,
    /// Time of one change of layout in µs.
    #[serde(deserialize_with = "not_negative")]
    pub reorder_us: f64,
    /// How many times longer a kernel takes off the fast path.
    pub off_path: OffPath,
    /// Where the figures come from.
    pub source: String,
}

/// How many times longer a convolution takes off the fast path; 1 where there is no such path.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OffPath {
    /// With a window, in one group.
    #[serde(deserialize_with = "positive")]
    pub conv: f64,
    /// Of one tap, in one group.
    #[serde(deserialize_with = "positive")]
    pub pointwise: f64,
    /// Of each channel by itself.
    #[serde(deserialize_with = "positive")]
    pub depthwise: f64,
    /// In groups.
    #[serde(deserialize_with = "positive")]
    pub grouped: f64,
}

/// What the runtime merges into one kernel.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fusion {
    /// A function of each element runs inside the contraction whose result only it uses.
    pub elementwise: bool,
    /// So does one that also reads a second activation of the same shape (a residual addition).
    pub residual: bool,
    /// Where this is known from.
    pub source: String,
}

/// Cost of running anything at all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Overhead {
    /// µs of one inference.
    #[serde(deserialize_with = "not_negative")]
    pub run_us: f64,
    /// µs of each kernel.
    #[serde(deserialize_with = "not_negative")]
    pub node_us: f64,
    /// Where the figures come from.
    pub source: String,
}

/// Cost of weights that are not in the cache when their kernel starts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Weights {
    /// µs for each 1000 bytes of cold weights.
    #[serde(deserialize_with = "not_negative")]
    pub cold_us_per_kb: f64,
    /// Weights of the whole model stay warm up to this many KiB and are all cold from twice as many on.
    pub cache_kib: u64,
    /// Where the figures come from.
    pub source: String,
}

/// Energy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Energy {
    /// Picojoules of one multiply-accumulate, with what the core spends around it.
    #[serde(deserialize_with = "not_negative")]
    pub pj_per_mac: f64,
    /// Picojoules of one byte read or written.
    #[serde(deserialize_with = "not_negative")]
    pub pj_per_byte: f64,
    /// Where the figures come from.
    pub source: String,
}

/// What the runtime holds in memory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryModel {
    /// Bytes held for each byte of weights (the file's and the prepacked copy).
    #[serde(deserialize_with = "positive")]
    pub weight_copies: f64,
    /// Bytes held for each byte of the largest live set.
    #[serde(deserialize_with = "positive")]
    pub activation_factor: f64,
    /// Where the figures come from.
    pub source: String,
}

impl Target {
    /// The built-in target of that name, or the target file at that path. Names go first; a path to a file of the
    /// same name is spelled `./name`.
    ///
    /// # Errors
    /// The name is not known and no such file exists, the file cannot be read, or it is no valid target file.
    pub fn named_or_file(name_or_path: &str) -> Result<Self, TargetError> {
        if let Some((name, text)) = BUILTIN.iter().find(|(name, _)| *name == name_or_path) {
            return Self::from_yaml(text, name);
        }
        let text = read(name_or_path).map_err(|source| match source.kind() {
            std::io::ErrorKind::NotFound => TargetError::Unknown {
                name: name_or_path.to_string(),
                known: BUILTIN.iter().map(|(name, _)| format!("`{name}`")).collect::<Vec<_>>().join(", "),
            },
            _ => TargetError::Read { path: name_or_path.to_string(), source },
        })?;
        if text.len() as u64 > MAX_BYTES {
            return Err(TargetError::TooLarge { path: name_or_path.to_string(), limit: MAX_BYTES });
        }
        Self::from_yaml(&text, name_or_path)
    }

    /// Reads the text of a target file; `file` is what errors call it.
    ///
    /// # Errors
    /// The text is no YAML, has a key that is not known or lacks one, or a figure is out of range.
    pub fn from_yaml(text: &str, file: &str) -> Result<Self, TargetError> {
        serde_saphyr::from_str(text).map_err(|error| TargetError::yaml(file, &error))
    }

    /// The text of a target file; reading it gives the same target again.
    ///
    /// # Errors
    /// A figure cannot be written, which no target that was read from a file can have.
    pub fn to_yaml(&self) -> Result<String, TargetError> {
        serde_saphyr::to_string(self).map_err(|error| TargetError::Write { message: error.to_string() })
    }
}

/// The text of a file, at most one byte more than [`MAX_BYTES`] of it: what a path names may have no end.
fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(MAX_BYTES + 1).read_to_string(&mut text)?;
    Ok(text)
}

fn invalid<E: serde::de::Error>(message: impl std::fmt::Display) -> E {
    E::custom(message)
}

fn schema<'de, D: Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    let found = String::deserialize(from)?;
    if found == SCHEMA { Ok(found) } else { Err(invalid(format!("expected schema `{SCHEMA}`, found `{found}`"))) }
}

fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let v = f64::deserialize(from)?;
    if v.is_finite() && v > 0.0 { Ok(v) } else { Err(invalid(format!("{v} is not a finite number above 0"))) }
}

fn not_negative<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    let v = f64::deserialize(from)?;
    if v.is_finite() && v >= 0.0 { Ok(v) } else { Err(invalid(format!("{v} is not a finite number from 0 up"))) }
}

fn at_least_one<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let v = u64::deserialize(from)?;
    if v > 0 { Ok(v) } else { Err(invalid("0 is not a whole number from 1 up")) }
}

fn levels<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Level>, D::Error> {
    let list = Vec::<Level>::deserialize(from)?;
    let Some((last, sized)) = list.split_last() else { return Err(invalid("no levels: at least one is needed")) };
    if last.kib.is_some() {
        return Err(invalid(format!("the last level, `{}`, has a size: it must hold everything", last.name)));
    }
    if let Some(level) = sized.iter().find(|l| l.kib.is_none()) {
        return Err(invalid(format!("level `{}` has no size, and it is not the last", level.name)));
    }
    if let Some(pair) = sized.windows(2).find(|pair| pair[0].kib >= pair[1].kib) {
        return Err(invalid(format!("level `{}` is not larger than `{}`", pair[1].name, pair[0].name)));
    }
    Ok(list)
}
