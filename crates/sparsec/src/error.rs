//! Everything that ends a command early, with its code, exit status and advice.

use crate::exit::Exit;
use crate::interrupt::Interrupted;
use sparsec_calib::data::DataError;
use sparsec_calib::metric::{Metric, MetricError};
use sparsec_cost::TargetError;
use sparsec_onnx::OnnxError;
use sparsec_runtime::RuntimeError;
use std::path::PathBuf;
use thiserror::Error;

/// Why a command ended early.
#[derive(Debug, Error)]
pub(crate) enum CliError {
    /// The model file.
    #[error(transparent)]
    Model(#[from] OnnxError),
    /// The samples.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The metric.
    #[error(transparent)]
    Metric(#[from] MetricError),
    /// Loading or running.
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    /// The target file.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// Ctrl-C.
    #[error(transparent)]
    Interrupted(#[from] Interrupted),
    /// A file cannot be written.
    #[error("cannot write `{}`", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// Standard output cannot be written.
    #[error("cannot write to standard output")]
    Stdout(#[source] std::io::Error),
    /// A metric that compares with labels, and none are there.
    #[error("`{metric}` compares outputs with labels, and `{}` has none", data.display())]
    NoLabels {
        /// The metric.
        metric: Metric,
        /// The samples.
        data: PathBuf,
    },
    /// A metric that compares with a dense model, and none is named.
    #[error("`{metric}` compares outputs with those of a dense model, and none is named")]
    NoDense {
        /// The metric.
        metric: Metric,
    },
    /// A model without outputs.
    #[error("the model has no outputs")]
    NoOutputs,
    /// An output that does not hold its samples along the first axis.
    #[error("output `{output}` has sizes {dims:?}: {samples} samples along its first axis are expected")]
    OutputAxis {
        /// Name of the output.
        output: String,
        /// Its sizes.
        dims: Vec<u64>,
        /// Samples that were fed.
        samples: u64,
    },
    /// A size that neither the model nor the user fixes.
    #[error("axis {axis} of input `{input}` has no fixed size")]
    OpenSize {
        /// Name of the input.
        input: String,
        /// The axis.
        axis: usize,
    },
    /// An input that cannot be filled with made-up values.
    #[error("input `{input}` is of type `{ty}`, for which no values can be made up")]
    OpenInput {
        /// Name of the input.
        input: String,
        /// Its type.
        ty: String,
    },
    /// A code that explains nothing.
    #[error("there is no error or remark `{code}`")]
    UnknownCode {
        /// What was asked for.
        code: String,
    },
}

impl CliError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Interrupted(_) => Exit::Interrupted,
            Self::UnknownCode { .. } | Self::NoDense { .. } | Self::OpenSize { .. } => Exit::Usage,
            Self::Runtime(RuntimeError::UnknownRuntime { .. } | RuntimeError::NoLibrary) => Exit::Usage,
            Self::Target(TargetError::Unknown { .. }) => Exit::Usage,
            Self::Data(DataError::ScaleName { .. } | DataError::ScaleUnnamed { .. } | DataError::ScaleTwice { .. }) => {
                Exit::Usage
            }
            _ => Exit::Input,
        }
    }
    /// The code that `sparsec explain` knows.
    pub(crate) fn code(&self) -> &'static str {
        match self {
            Self::Interrupted(_) => "S0004",
            Self::Write { .. } | Self::Stdout(_) => "S0003",
            Self::UnknownCode { .. } => "S0005",
            Self::Model(e) => model_code(e),
            Self::Data(e) => data_code(e),
            Self::Metric(e) => match e {
                MetricError::Labels { .. } | MetricError::LabelRange { .. } | MetricError::LabelFraction { .. } => {
                    "S0221"
                }
                MetricError::Shape { .. } | MetricError::Outputs { .. } => "S0222",
                MetricError::NonFinite { .. } | MetricError::Undefined { .. } => "S0223",
            },
            Self::NoLabels { .. } | Self::NoDense { .. } => "S0224",
            Self::NoOutputs | Self::OutputAxis { .. } => "S0225",
            Self::OpenSize { .. } | Self::OpenInput { .. } => "S0226",
            Self::Runtime(e) => runtime_code(e),
            Self::Target(e) => match e {
                TargetError::Unknown { .. } => "S0601",
                TargetError::Read { .. } | TargetError::TooLarge { .. } | TargetError::Invalid { .. } | TargetError::Write { .. } => "S0602",
            },
        }
    }
    /// What to do about it, where that is known for this very case.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::NoLabels { .. } => Some("store an array `label` beside the inputs, or choose `mse`, `cosine`, `agree` or `kl`".into()),
            Self::NoDense { .. } => Some("pass `--dense MODEL`".into()),
            Self::OpenSize { .. } => Some("`estimate` takes `--dim NAME=N`, `bench` takes sizes from `--data SAMPLES`".into()),
            Self::OpenInput { .. } => Some("pass `--data SAMPLES`".into()),
            Self::UnknownCode { .. } => Some("`sparsec explain` without a code lists all".into()),
            Self::Data(DataError::NoPreprocessing { .. }) => {
                Some("pass `--image resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225`, or as the model was trained".into())
            }
            Self::Data(DataError::TooLarge { .. }) => Some("pass `--max-samples N`".into()),
            Self::Data(DataError::ImageSize { .. } | DataError::CropTooLarge { .. }) => {
                Some("state `resize` (the shorter side) and `crop` in `--image`".into())
            }
            Self::Target(TargetError::Unknown { .. }) => Some("`sparsec target list` lists the built-in ones".into()),
            _ => None,
        }
    }
}

fn model_code(e: &OnnxError) -> &'static str {
    match e {
        OnnxError::In { source, .. } => model_code(source),
        OnnxError::Read { .. } | OnnxError::NotAFile { .. } => "S0101",
        OnnxError::NotOnnx { .. } => "S0102",
        OnnxError::Tensor { .. }
        | OnnxError::NegativeSize { .. }
        | OnnxError::ElemType { .. }
        | OnnxError::TwoStorages { .. }
        | OnnxError::Segment { .. }
        | OnnxError::ElementCount { .. }
        | OnnxError::ElementRange { .. } => "S0103",
        OnnxError::NoFolder { .. }
        | OnnxError::ExternalEntry { .. }
        | OnnxError::ExternalOutside { .. }
        | OnnxError::ExternalFile { .. }
        | OnnxError::ExternalRange { .. } => "S0104",
        OnnxError::DefinedTwice { .. }
        | OnnxError::Undefined { .. }
        | OnnxError::Unnamed { .. }
        | OnnxError::Cycle { .. } => "S0105",
        OnnxError::DuplicateAttribute { .. } | OnnxError::AttributeType { .. } | OnnxError::AttributeValue { .. } => {
            "S0106"
        }
        OnnxError::Write { .. } | OnnxError::FileName { .. } => "S0003",
    }
}

fn data_code(e: &DataError) -> &'static str {
    match e {
        DataError::Io { .. } | DataError::Array { .. } | DataError::Archive { .. } | DataError::Tensor { .. } => {
            "S0201"
        }
        DataError::Format { .. } | DataError::MixedFolder { .. } | DataError::Empty { .. } => "S0202",
        DataError::Names { .. }
        | DataError::Duplicate { .. }
        | DataError::Unnamed { .. }
        | DataError::NoInputs
        | DataError::InputType { .. } => "S0203",
        DataError::Types { .. } | DataError::ScaledIntegers { .. } | DataError::Range { .. } => "S0204",
        DataError::NoSampleAxis { .. } | DataError::Rank { .. } | DataError::Size { .. } => "S0205",
        DataError::Join { .. } | DataError::SomeLabels { .. } | DataError::Samples { .. } => "S0206",
        DataError::NonFinite { .. } => "S0207",
        DataError::NoPreprocessing { .. }
        | DataError::NoImageInput { .. }
        | DataError::Image { .. }
        | DataError::ImageSize { .. }
        | DataError::CropTooLarge { .. }
        | DataError::ChannelOptions { .. }
        | DataError::ImageOption { .. }
        | DataError::PixelsNotWhole { .. } => "S0208",
        DataError::TooLarge { .. } => "S0209",
        DataError::BatchConflict { .. } | DataError::BatchTooLarge { .. } => "S0210",
        DataError::ScaleName { .. }
        | DataError::ScaleUnnamed { .. }
        | DataError::ScaleTwice { .. }
        | DataError::ScaleValue { .. }
        | DataError::ScaleOfImages => "S0211",
    }
}

fn runtime_code(e: &RuntimeError) -> &'static str {
    match e {
        RuntimeError::Unsupported { .. } | RuntimeError::LocalFunction { .. } | RuntimeError::ElemType { .. } => {
            "S0501"
        }
        RuntimeError::Run { .. } | RuntimeError::Panicked { .. } => "S0503",
        RuntimeError::UnknownRuntime { .. }
        | RuntimeError::NoTract
        | RuntimeError::NoLibrary
        | RuntimeError::LibraryNotFound { .. }
        | RuntimeError::NotOnnxRuntime { .. }
        | RuntimeError::LibraryLoaded { .. } => "S0504",
        RuntimeError::InputCount { .. } | RuntimeError::Input { .. } | RuntimeError::Batch { .. } => "S0505",
        _ => "S0502",
    }
}
