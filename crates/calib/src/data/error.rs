//! What can be wrong with samples.

use super::npy::ArrayError;
use sparsec_ir::{ElemType, TensorError};
use std::fmt;
use std::path::PathBuf;
use thiserror::Error;

/// Why samples cannot be used.
#[derive(Debug, Error)]
pub enum DataError {
    /// The operating system refused.
    #[error("cannot read `{}`", path.display())]
    Io {
        /// File or folder.
        path: PathBuf,
        /// What it said.
        #[source]
        source: std::io::Error,
    },
    /// Neither a known file nor a folder of such.
    #[error("`{}` is neither an `.npz` or `.npy` file nor a folder of such files or of images", path.display())]
    Format {
        /// The file.
        path: PathBuf,
    },
    /// A folder that mixes kinds.
    #[error("`{}` mixes kinds of files: a folder holds `.npz` files, or `.npy` files, or images, or one folder of images a class", path.display())]
    MixedFolder {
        /// The folder.
        path: PathBuf,
    },
    /// A column that samples do not have.
    #[error("`{}` has no column `{column}` with one value a sample", path.display())]
    NoColumn {
        /// File or folder.
        path: PathBuf,
        /// Column asked for.
        column: String,
    },
    /// Nothing to read.
    #[error("`{}` holds no samples", path.display())]
    Empty {
        /// File or folder.
        path: PathBuf,
    },
    /// An array cannot be read.
    #[error("array `{array}` of `{}` cannot be read", path.display())]
    Array {
        /// File.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Why.
        #[source]
        source: ArrayError,
    },
    /// An archive cannot be opened.
    #[error("`{}` is no readable `.npz` archive", path.display())]
    Archive {
        /// File.
        path: PathBuf,
        /// Why.
        #[source]
        source: ArrayError,
    },
    /// Arrays do not match the model's inputs.
    #[error("the arrays of `{}` do not match the model's inputs: expected {}, found {}", path.display(), names(expected), names(found))]
    Names {
        /// File.
        path: PathBuf,
        /// Names of the model's inputs.
        expected: Vec<String>,
        /// Names of the arrays, `label` left out.
        found: Vec<String>,
    },
    /// Samples of several shapes where one is wanted.
    #[error("the samples of `{}` have {shapes} different shapes, and here all must have one", path.display())]
    Shapes {
        /// File.
        path: PathBuf,
        /// How many.
        shapes: usize,
    },
    /// Two arrays of one name.
    #[error("`{}` holds two arrays named `{array}`", path.display())]
    Duplicate {
        /// File.
        path: PathBuf,
        /// Name of the array.
        array: String,
    },
    /// One array for a model with several inputs.
    #[error("`{}` holds one unnamed array, but the model has {} inputs: {}", path.display(), inputs.len(), names(inputs))]
    Unnamed {
        /// File.
        path: PathBuf,
        /// Names of the model's inputs.
        inputs: Vec<String>,
    },
    /// A model without inputs.
    #[error("the model has no inputs")]
    NoInputs,
    /// An input that no array can feed.
    #[error("input `{input}` is of type `{ty}`, which sample arrays cannot feed")]
    InputType {
        /// Name of the input.
        input: String,
        /// Its type.
        ty: String,
    },
    /// A factor for something that is no input.
    #[error("a scale is given for `{name}`, but the inputs are {}", names(inputs))]
    ScaleName {
        /// Name with the factor.
        name: String,
        /// Names of the model's inputs.
        inputs: Vec<String>,
    },
    /// A factor without a name for a model with several inputs.
    #[error("a scale without a name is for models with one input, and this one has {}: {}", inputs.len(), names(inputs))]
    ScaleUnnamed {
        /// Names of the model's inputs.
        inputs: Vec<String>,
    },
    /// Two factors for one input.
    #[error("two scales are given for input `{input}`")]
    ScaleTwice {
        /// Name of the input.
        input: String,
    },
    /// A factor that is no usable number.
    #[error("the scale {value} of input `{input}` is no finite number other than zero")]
    ScaleValue {
        /// Name of the input.
        input: String,
        /// The factor.
        value: f64,
    },
    /// Factors on images.
    #[error("images are scaled by their preprocessing; leave the scale of the input out")]
    ScaleOfImages,
    /// Elements that do not become the input's.
    #[error("array `{array}` of `{}` holds {from}, and input `{array}` takes {to}: such elements are not converted", path.display())]
    Types {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// What is stored.
        from: ElemType,
        /// What the input takes.
        to: ElemType,
    },
    /// A factor on whole numbers.
    #[error("input `{array}` takes {to}: whole numbers cannot be scaled")]
    ScaledIntegers {
        /// Name of the array.
        array: String,
        /// What the input takes.
        to: ElemType,
    },
    /// A number that the input's type cannot hold.
    #[error("element {index:?} of array `{array}` of `{}` is {value}, which {to} cannot hold", path.display())]
    Range {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Which element.
        index: Vec<u64>,
        /// The number.
        value: String,
        /// What the input takes.
        to: ElemType,
    },
    /// NaN or infinity.
    #[error("element {index:?} of array `{array}` of `{}` is {value}", path.display())]
    NonFinite {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// The first such element.
        index: Vec<u64>,
        /// What it is.
        value: f64,
    },
    /// A single number instead of one a sample.
    #[error("array `{array}` of `{}` is a single number: its first axis must be that of the samples", path.display())]
    NoSampleAxis {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
    },
    /// The wrong number of axes.
    #[error("array `{array}` of `{}` has sizes {found:?}, and the input is `{ty}`: its axes, or one more for the samples, are expected", path.display())]
    Rank {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Its sizes.
        found: Vec<u64>,
        /// Type of the input.
        ty: String,
    },
    /// A wrong size.
    #[error("axis {axis} of array `{array}` of `{}` has size {found}, and the input, `{ty}`, takes {wanted}", path.display())]
    Size {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Axis of the array.
        axis: usize,
        /// Its size.
        found: u64,
        /// What the input takes.
        wanted: u64,
        /// Type of the input.
        ty: String,
    },
    /// Files of a folder that do not fit one another.
    #[error("array `{array}` of `{}` is {found}, and that of the files before it {expected}: they cannot be joined", path.display())]
    Join {
        /// The file.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Type of one sample in the file.
        found: String,
        /// Type of one sample in the files before it.
        expected: String,
    },
    /// Some files of a folder have labels, others do not.
    #[error("`{}` {}, unlike the files before it", path.display(), if *labelled { "has labels" } else { "has no labels" })]
    SomeLabels {
        /// The file.
        path: PathBuf,
        /// Whether this one has.
        labelled: bool,
    },
    /// Different numbers of samples.
    #[error("array `{array}` of `{}` has {found} samples and `{with}` has {expected}", path.display())]
    Samples {
        /// File or folder.
        path: PathBuf,
        /// Name of the array.
        array: String,
        /// Its samples.
        found: u64,
        /// Another array.
        with: String,
        /// The samples of that.
        expected: u64,
    },
    /// Inputs that fix different batch sizes.
    #[error(
        "input `{input}` fixes its first axis to {size} and `{with}` to {other}, so these are no batches: give the arrays an axis more, in front, for the samples"
    )]
    BatchConflict {
        /// Name of an input.
        input: String,
        /// Its size.
        size: u64,
        /// Name of another input.
        with: String,
        /// The size of that.
        other: u64,
    },
    /// Not one whole batch.
    #[error("`{}` holds {samples} samples, and the model takes batches of exactly {batch}", path.display())]
    BatchTooLarge {
        /// File or folder.
        path: PathBuf,
        /// The model's batch size.
        batch: u64,
        /// Samples there are.
        samples: u64,
    },
    /// More than is read into memory.
    #[error("the samples of `{}` take {bytes} bytes for one input, and at most {limit} are read: pass fewer samples", path.display())]
    TooLarge {
        /// File or folder.
        path: PathBuf,
        /// What they take.
        bytes: u64,
        /// What is allowed.
        limit: u64,
    },
    /// Images without a stated preprocessing.
    #[error("`{}` holds images, and nothing says how they become the model's input", path.display())]
    NoPreprocessing {
        /// The folder.
        path: PathBuf,
    },
    /// An input that no image fits.
    #[error(
        "input `{input}` is `{ty}`: images feed inputs of four axes, with 1 or 3 channels on axis 1 or on the last one"
    )]
    NoImageInput {
        /// Name of the input.
        input: String,
        /// Its type.
        ty: String,
    },
    /// An image that cannot be decoded.
    #[error("image `{}` cannot be decoded", file.display())]
    Image {
        /// The file.
        file: PathBuf,
        /// Why.
        #[source]
        source: image::ImageError,
    },
    /// An image of the wrong size.
    #[error("image `{}` is {height} high and {width} wide after preprocessing, and {} is wanted", file.display(), size(wanted))]
    ImageSize {
        /// The file.
        file: PathBuf,
        /// Its height.
        height: u32,
        /// Its width.
        width: u32,
        /// Height and width that the model, or the first image, fixes.
        wanted: [Option<u64>; 2],
    },
    /// A crop beyond the image.
    #[error("a square of {crop} cannot be cut out of image `{}`, which is {height} high and {width} wide", file.display())]
    CropTooLarge {
        /// The file.
        file: PathBuf,
        /// Side of the square.
        crop: u32,
        /// Width of the resized image.
        width: u64,
        /// Height of the resized image.
        height: u64,
    },
    /// A list of the wrong length.
    #[error("{given} values are given for the {what} of {channels} channels")]
    ChannelOptions {
        /// `mean` or `std`.
        what: &'static str,
        /// How many there are.
        given: usize,
        /// Channels of the input.
        channels: usize,
    },
    /// A number out of range.
    #[error("the {what} of the images cannot be {value}")]
    ImageOption {
        /// Which option.
        what: &'static str,
        /// The number.
        value: f64,
    },
    /// Pixels that an input of bytes cannot hold.
    #[error(
        "input `{input}` takes bytes, and the preprocessing makes a pixel {value}: state a scale of 1 and neither mean nor std"
    )]
    PixelsNotWhole {
        /// Name of the input.
        input: String,
        /// A pixel.
        value: f64,
    },
    /// Elements that cannot be written in the input's type.
    #[error("samples of input `{input}` cannot be stored")]
    Tensor {
        /// Name of the input.
        input: String,
        /// Why.
        #[source]
        source: TensorError,
    },
}

/// What a user should know about how samples were read.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Note {
    /// Bytes feed a floating input without a factor.
    Unscaled {
        /// Name of the input.
        input: String,
        /// Its type.
        to: ElemType,
    },
    /// The last samples do not fill a batch.
    Tail {
        /// How many there are.
        left_out: u64,
        /// The model's batch size.
        batch: u64,
    },
    /// Files that are no images.
    Skipped {
        /// How many there are.
        files: u64,
        /// Where.
        folder: PathBuf,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unscaled { input, to } => {
                write!(f, "input `{input}` takes {to} and is fed bytes 0 to 255 as they are; ")?;
                write!(f, "if the model was trained on [0, 1], pass `--scale {input}=1/255`")
            }
            Self::Tail { left_out, batch } => {
                write!(f, "the model takes batches of exactly {batch}; the last {left_out} samples are left out")
            }
            Self::Skipped { files, folder } => {
                write!(f, "{files} files of `{}` are no images and were passed over", folder.display())
            }
        }
    }
}

fn names(list: &[String]) -> String {
    if list.is_empty() {
        return "none".to_string();
    }
    const SHOWN: usize = 12;
    let shown = list.iter().take(SHOWN).map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", ");
    match list.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn size(wanted: &[Option<u64>; 2]) -> String {
    let text = |s: Option<u64>| s.map_or("any".to_string(), |s| s.to_string());
    format!("{}×{}", text(wanted[0]), text(wanted[1]))
}
