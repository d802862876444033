//! Everything that ends a command early, with its code, exit status and advice.

use crate::exit::Exit;
use crate::interrupt::Interrupted;
use sparsec::drive::{DriveError, NarrowError, near};
use sparsec_calib::CalibError;
use sparsec_calib::data::DataError;
use sparsec_calib::metric::{Metric, MetricError};
use sparsec_cost::TargetError;
use sparsec_ir::text::TextError;
use sparsec_onnx::OnnxError;
use sparsec_ops::given::GivenError;
use sparsec_passes::PassError;
use sparsec_passes::mask::MaskError;
use sparsec_passes::recover::RecoverError;
use sparsec_plan::PlanError;
use sparsec_report::ReportError;
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
    /// The file of operators.
    #[error(transparent)]
    Ops(#[from] GivenError),
    /// A file of operators without an end in sight.
    #[error("`{}` is longer than {limit} bytes, which no file of operators is", path.display())]
    LongOps {
        /// The file.
        path: PathBuf,
        /// Bytes that it may have.
        limit: u64,
    },
    /// A step of the flow.
    #[error(transparent)]
    Drive(Box<DriveError>),
    /// A report.
    #[error("`{}`", path.display())]
    Report {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: ReportError,
    },
    /// A node that is wrong beyond doubt.
    #[error("`{}`: {source}", path.display())]
    Node {
        /// The model file.
        path: PathBuf,
        /// Node and problem.
        source: Box<DriveError>,
    },
    /// A graph in text syntax.
    #[error("`{}`, {source}", path.display())]
    Text {
        /// The file.
        path: PathBuf,
        /// Place and problem.
        source: TextError,
    },
    /// A file that cannot be read.
    #[error("cannot read `{}`", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A file of curves that is none.
    #[error("`{}` holds no curves", path.display())]
    NoCurves {
        /// The file.
        path: PathBuf,
        /// What the parser says.
        #[source]
        source: serde_json::Error,
    },
    /// Curves of another form.
    #[error("`{}` has curves of form `{found}`", path.display())]
    CurveForm {
        /// The file.
        path: PathBuf,
        /// Form that it states.
        found: String,
    },
    /// Curves without those of masks under a pattern.
    #[error("`{}` has no curves of masks {pattern}", path.display())]
    NoMaskCurves {
        /// The file.
        path: PathBuf,
        /// The pattern.
        pattern: sparsec_plan::Pattern,
    },
    /// A plan for another model.
    #[error("the plan `{}` is for a model file with SHA-256 `{planned}`, and `{}` has `{found}`", plan.display(), model.display())]
    OtherModel {
        /// The plan.
        plan: PathBuf,
        /// Model that the plan names.
        planned: String,
        /// The model.
        model: PathBuf,
        /// What it is.
        found: String,
    },
    /// Limits that no plan holds.
    #[error("limits cannot be met: {}", kinds.join(", "))]
    Unmet {
        /// What is limited.
        kinds: Vec<&'static str>,
    },
    /// A smaller model that does not compute what it should.
    #[error("the smaller model differs from the masked one: by {max_abs_error:.3e}, relative {max_rel_error:.3e}")]
    Unequal {
        /// Largest difference.
        max_abs_error: f64,
        /// Largest difference relative to the output.
        max_rel_error: f64,
    },
    /// A smaller model of which the comparison says nothing.
    #[error("nothing was compared: {}", sparsec::drive::NOT_FINITE)]
    NotCompared,
    /// A smaller model whose weights are not zero where they should be.
    #[error("weights are not zero where the plan says: `{}`", weights.join("`, `"))]
    NotMasked {
        /// Their names.
        weights: Vec<String>,
    },
    /// A smaller model with weights that are not the dense model's.
    #[error("{weights} of the smaller model's weights are not the dense model's at the channels kept, `{first}` first")]
    Foreign {
        /// How many.
        weights: usize,
        /// One of them.
        first: String,
    },
    /// Text that names no slot.
    #[error("`{text}` is not of the form VALUE:AXIS or VALUE:AXIS:INDEX")]
    SlotForm {
        /// The text.
        text: String,
    },
    /// A value that the canonical graph does not have.
    #[error("the {} `{name}`", if *folded { "canonical graph no longer has" } else { "model has no value or node" })]
    NoValue {
        /// The name.
        name: String,
        /// Whether the model had it before it was made canonical.
        folded: bool,
        /// The node that it went into, where that is known.
        into: Option<String>,
        /// Names that are close.
        near: Vec<String>,
    },
    /// An axis or index that a value does not have.
    #[error("`{value}` has no {what}: it is {ty}")]
    NoSlot {
        /// The value.
        value: String,
        /// What it lacks.
        what: String,
        /// Its type.
        ty: String,
    },
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
    /// A folder where a file is to be written.
    #[error("cannot write the file `{}`: it is a folder", path.display())]
    IsFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A device, pipe or socket where a file is to be written.
    #[error("cannot write the file `{}`: it is a device, a pipe or a socket, which a file would replace", path.display())]
    IsDevice {
        /// The device.
        path: PathBuf,
    },
    /// A file where a folder is to be written.
    #[error("cannot write into the folder `{}`: it is a file", path.display())]
    IsFile {
        /// The file.
        path: PathBuf,
    },
    /// A model that cannot come from another, whatever was cut.
    #[error("`{}` is not made from `{}`: its {what} {found}, the other's {wanted}", pruned.display(), model.display())]
    OtherFamily {
        /// Model that should come from the other.
        pruned: PathBuf,
        /// The other.
        model: PathBuf,
        /// `inputs are` or `outputs are`.
        what: &'static str,
        /// What it has.
        found: String,
        /// What the other has.
        wanted: String,
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
    /// A compilation without anything to reach.
    #[error("no limit is given, so there is nothing to compile for")]
    NoLimit,
    /// A command that does not fail, so that there is nothing to reduce.
    #[error("`{command}` does not fail in a way to look for")]
    NoFailure {
        /// The command.
        command: String,
    },
    /// A command that does not start.
    #[error("cannot start `{command}`")]
    Start {
        /// The command.
        command: String,
        /// The system's reason.
        #[source]
        source: std::io::Error,
    },
    /// A code that explains nothing.
    #[error("there is no error or remark `{code}`")]
    UnknownCode {
        /// What was asked for.
        code: String,
    },
}

impl From<DriveError> for CliError {
    fn from(e: DriveError) -> Self {
        Self::Drive(Box::new(e))
    }
}

impl CliError {
    /// How the process ends.
    pub(crate) fn exit(&self) -> Exit {
        match self {
            Self::Interrupted(_) => Exit::Interrupted,
            Self::Drive(e) => drive_exit(e),
            Self::Unmet { .. } => Exit::Limits,
            Self::Unequal { .. } | Self::NotCompared | Self::NotMasked { .. } | Self::Foreign { .. } => Exit::Gate,
            Self::SlotForm { .. } | Self::NoValue { .. } | Self::NoSlot { .. } => Exit::Usage,
            Self::NoFailure { .. } | Self::Start { .. } => Exit::Usage,
            Self::IsFile { .. } | Self::IsFolder { .. } | Self::IsDevice { .. } => Exit::Usage,
            Self::NoLimit | Self::UnknownCode { .. } | Self::NoDense { .. } | Self::OpenSize { .. } => Exit::Usage,
            Self::Runtime(e) => runtime_exit(e),
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
            Self::Drive(e) | Self::Node { source: e, .. } => drive_code(e),
            Self::Ops(_) | Self::LongOps { .. } => "S0109",
            Self::Read { .. } => "S0101",
            Self::Text { .. } => "S0107",
            Self::SlotForm { .. } | Self::NoValue { .. } | Self::NoSlot { .. } => "S0304",
            Self::OtherModel { .. } => "S0403",
            Self::NoCurves { .. } | Self::CurveForm { .. } | Self::NoMaskCurves { .. } => "S0404",
            Self::Unmet { .. } => "S0405",
            Self::Unequal { .. } | Self::NotCompared | Self::NotMasked { .. } | Self::Foreign { .. } => "S0406",
            Self::Report { .. } => "S0701",
            Self::Write { .. }
            | Self::Stdout(_)
            | Self::IsFile { .. }
            | Self::IsFolder { .. }
            | Self::IsDevice { .. } => "S0003",
            Self::OtherFamily { .. } => "S0407",
            Self::UnknownCode { .. } => "S0005",
            Self::NoLimit => "S0006",
            Self::NoFailure { .. } | Self::Start { .. } => "S0007",
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
                TargetError::Read { .. }
                | TargetError::TooLarge { .. }
                | TargetError::Invalid { .. }
                | TargetError::Write { .. } => "S0602",
            },
        }
    }
    /// What to do about it, where that is known for this very case.
    pub(crate) fn help(&self) -> Option<String> {
        match self {
            Self::Drive(e) => drive_help(e),
            Self::Text { source, .. } => source.help.map(str::to_string),
            Self::OtherModel { .. } => Some("make a plan for this model; drop `model_sha256` from the plan if the two differ in name only".into()),
            Self::IsFile { .. } => Some("name another folder with `-o`, or move the file away".into()),
            Self::IsFolder { .. } => Some("name a file in it".into()),
            Self::IsDevice { .. } => Some("name a file that may be replaced".into()),
            Self::OtherFamily { .. } => Some("the order is MODEL PRUNED: the dense model first".into()),
            Self::NoMaskCurves { pattern, .. } => {
                Some(format!("measure them with `sparsec sensitivity --mask {pattern}`"))
            }
            Self::CurveForm { .. } => Some("measure them again with `sparsec sensitivity`".into()),
            Self::Unmet { .. } => Some("the plan is the cheapest there is; relax the limits, or see `sparsec inspect` for what is frozen".into()),
            Self::NoValue { into: Some(node), .. } => Some(format!("it was merged into `{node}`")),
            Self::NoValue { near, .. } if !near.is_empty() => like(near),
            Self::NoValue { .. } | Self::SlotForm { .. } => {
                Some("`sparsec inspect --groups` and `sparsec opt MODEL` show names of values".into())
            }
            Self::NoLabels { .. } => Some("store an array `label` beside the inputs, or choose `mse`, `cosine`, `agree` or `kl`".into()),
            Self::NotCompared => Some("pass inputs that the model is made for with `--data SAMPLES`".into()),
            Self::NoLimit => Some("pass a limit such as `--max-macs 50%`, `--max-latency 60%` or `--max-drop 1.0`, or masks such as `--mask 4x1`".into()),
            Self::NoFailure { .. } => {
                Some("run the command by itself: of sparsec's own, failures are looked for; of others, the exit status 0".into())
            }
            Self::NoDense { .. } => Some("pass `--dense MODEL`".into()),
            Self::OpenSize { .. } => Some("`estimate` takes `--dim NAME=N`, `bench` takes sizes from `--data SAMPLES`".into()),
            Self::OpenInput { .. } => Some("pass `--data SAMPLES`".into()),
            Self::UnknownCode { .. } => Some("`sparsec explain` without a code lists all".into()),
            Self::Data(DataError::NoPreprocessing { .. }) => {
                Some("pass `--image resize=256,crop=224,mean=0.485:0.456:0.406,std=0.229:0.224:0.225`, or as the model was trained".into())
            }
            Self::Data(DataError::NoColumn { column, .. }) => {
                Some(format!("store an array `{column}` in the `.npz`, a number or a text for each sample"))
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

/// Names that the user may have meant.
fn like(near: &[String]) -> Option<String> {
    (!near.is_empty()).then(|| format!("near names: {}", near.join(", ")))
}

fn runtime_exit(e: &RuntimeError) -> Exit {
    match e {
        RuntimeError::UnknownRuntime { .. } | RuntimeError::NoLibrary => Exit::Usage,
        _ => Exit::Input,
    }
}

fn drive_exit(e: &DriveError) -> Exit {
    match e {
        _ if e.is_interruption() => Exit::Interrupted,
        DriveError::Narrow(e) => match **e {
            NarrowError::Remove(_) | NarrowError::Output { .. } => Exit::Input,
            NarrowError::NoValue { .. }
            | NarrowError::Whole { .. }
            | NarrowError::NoAxis { .. }
            | NarrowError::NoIndex { .. }
            | NarrowError::Stays { .. } => Exit::Usage,
        },
        DriveError::OpenSize { .. }
        | DriveError::NoSuchSize { .. }
        | DriveError::Pass(PassError::UnknownPass { .. }) => Exit::Usage,
        // What only a defect of a pass can bring about.
        DriveError::Pass(
            PassError::MissingArtifact { .. }
            | PassError::Unreported { .. }
            | PassError::Broken { .. }
            | PassError::NoFixpoint { .. },
        ) => Exit::Internal,
        DriveError::Runtime(e) => runtime_exit(e),
        DriveError::Unequal { .. } | DriveError::Canonical { .. } => Exit::Gate,
        _ => Exit::Input,
    }
}

fn drive_code(e: &DriveError) -> &'static str {
    match e {
        DriveError::Interrupted => "S0004",
        DriveError::Attribute { .. } | DriveError::Types { .. } => "S0305",
        DriveError::OpenInput { .. } => "S0226",
        DriveError::Pass(e) => match e {
            PassError::UnknownPass { .. } => "S0301",
            PassError::Constant { .. }
            | PassError::RecursiveFunction { .. }
            | PassError::BrokenInput { .. }
            | PassError::TooManyNodes { .. } => "S0302",
            PassError::MissingArtifact { .. }
            | PassError::Unreported { .. }
            | PassError::Broken { .. }
            | PassError::NoFixpoint { .. } => "S0303",
        },
        DriveError::Plan(PlanError::Syntax { .. } | PlanError::Schema { .. }) => "S0401",
        DriveError::Plan(PlanError::Write { .. }) => "S0003",
        DriveError::Plan(_) => "S0402",
        DriveError::Remove(_) | DriveError::Order { .. } => "S0411",
        DriveError::Mask(e) if matches!(**e, MaskError::Open { .. }) => "S0418",
        DriveError::Mask(_) => "S0402",
        DriveError::Calib(e) => calib_code(e),
        DriveError::Recover(e) => match &**e {
            RecoverError::Runtime(e) => runtime_code(e),
            RecoverError::Calib(e) => calib_code(e),
            RecoverError::Interrupted => "S0004",
            RecoverError::Activation { .. } => "S0413",
        },
        DriveError::Runtime(e) => runtime_code(e),
        DriveError::Output { .. } => "S0225",
        DriveError::OpenSize { .. } | DriveError::NoSuchSize { .. } => "S0226",
        DriveError::NoInformation { .. } => "S0416",
        DriveError::NoSampleAxis { .. } => "S0205",
        DriveError::Unequal { .. } | DriveError::Canonical { .. } => "S0406",
        DriveError::Curves { .. } => "S0404",
        DriveError::Narrow(e) => match **e {
            NarrowError::Remove(_) => "S0411",
            NarrowError::Output { .. } => "S0225",
            NarrowError::NoValue { .. }
            | NarrowError::Whole { .. }
            | NarrowError::NoAxis { .. }
            | NarrowError::NoIndex { .. }
            | NarrowError::Stays { .. } => "S0417",
        },
    }
}

fn calib_code(e: &CalibError) -> &'static str {
    match e {
        CalibError::Runtime(e) => runtime_code(e),
        CalibError::Interrupted => "S0004",
        CalibError::NotFinite { .. } => "S0412",
        CalibError::Weight { .. }
        | CalibError::Sizes { .. }
        | CalibError::Activation { .. }
        | CalibError::Mask { .. } => "S0413",
    }
}

fn drive_help(e: &DriveError) -> Option<String> {
    if let DriveError::Pass(PassError::UnknownPass { name }) = e {
        let near = like(&near(name, sparsec_passes::ALL.iter().map(|p| p.name)));
        return Some(format!("{}`sparsec opt --help` lists the passes", near.map_or(String::new(), |n| n + "; ")));
    }
    let help = match e {
        DriveError::Narrow(e) => match &**e {
            NarrowError::NoValue { near, .. } => return like(near),
            _ => return None,
        },
        DriveError::OpenSize { .. } => "`inspect`, `estimate`, `plan` and `compile --random-plan` take `--dim NAME=N`",
        DriveError::NoInformation { .. } => {
            "look at the samples and their `--scale`; `--random-plan` cuts without samples"
        }
        DriveError::NoSampleAxis { .. } => "export the model with a batch axis in front of every input",
        DriveError::Unequal { .. } => {
            "a rule of an operator is wrong: please report it, with the model if you may share it"
        }
        DriveError::Canonical { .. } => {
            "a pass is wrong: `--rewrite-limit` finds the change that does it; please report it, with the model if you may share it"
        }
        DriveError::Curves { .. } => "measure this model's curves with `sparsec sensitivity`",
        DriveError::Plan(PlanError::Syntax { .. } | PlanError::Schema { .. }) => {
            "a plan starts with `schema: sparsec/plan@1`, then `groups:`, each with `id`, `units` and `keep`"
        }
        DriveError::Plan(PlanError::NoSuchGroup { .. }) => "`sparsec inspect --groups` lists the groups",
        DriveError::Plan(PlanError::NoSuchBranch { .. }) => "`sparsec inspect --groups` lists the branches",
        DriveError::Pass(
            PassError::MissingArtifact { .. }
            | PassError::Unreported { .. }
            | PassError::Broken { .. }
            | PassError::NoFixpoint { .. },
        ) => "please report it; `--rewrite-limit N` finds the rewrite by bisection",
        _ => return None,
    };
    Some(help.to_string())
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
        OnnxError::NotImported { .. } => "S0108",
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
        | DataError::NoColumn { .. }
        | DataError::InputType { .. } => "S0203",
        DataError::Types { .. } | DataError::ScaledIntegers { .. } | DataError::Range { .. } => "S0204",
        DataError::NoSampleAxis { .. } | DataError::Rank { .. } | DataError::Size { .. } => "S0205",
        DataError::Join { .. }
        | DataError::SomeLabels { .. }
        | DataError::Samples { .. }
        | DataError::Shapes { .. } => "S0206",
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
        RuntimeError::Memory { .. } => "S0506",
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
