//! What can go wrong with a file, and what is worth telling though nothing went wrong.

use sparsec_ir::{ElemType, TensorError};
use std::fmt;
use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Why bytes are not an ONNX model at all.
#[derive(Debug, Error)]
pub enum NotOnnx {
    /// There are no bytes.
    #[error("it is empty")]
    Empty,
    /// The bytes are not an encoded message: another format, or a truncated file.
    #[error("{0}")]
    Encoding(#[from] prost::DecodeError),
    /// Messages are nested deeper than any ONNX implementation reads (about 32 subgraphs).
    #[error("messages are nested too deep (at most 100 levels, which are 32 subgraphs)")]
    TooDeep,
    /// `ModelProto.ir_version` is missing or not positive.
    #[error("it states no `ir_version`")]
    NoIrVersion,
    /// `ModelProto.graph` is missing.
    #[error("it has no graph")]
    NoGraph,
    /// `ModelProto.opset_import` is missing, or an entry has no version.
    #[error("it imports no operator set (`opset_import`)")]
    NoOpset,
}

/// Why a model cannot be read or written. `place` names a tensor: initialiser or attribute.
#[derive(Debug, Error)]
pub enum OnnxError {
    /// The file cannot be opened or mapped.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path leads to a directory or device.
    #[error("`{}` is not a regular file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// The bytes are no ONNX model.
    #[error("`{file}` is not an ONNX file: {why}")]
    NotOnnx {
        /// The file's path, or what was decoded.
        file: String,
        /// The reason.
        why: NotOnnx,
    },
    /// Something in the named file is wrong.
    #[error("`{}`: {source}", path.display())]
    In {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<OnnxError>,
    },
    /// Sizes and data of a tensor disagree.
    #[error("{place}: {source}")]
    Tensor {
        /// The tensor.
        place: String,
        /// How they disagree.
        source: TensorError,
    },
    /// A tensor has a negative size.
    #[error("{place}: size {size} is negative")]
    NegativeSize {
        /// The tensor.
        place: String,
        /// The size.
        size: i64,
    },
    /// A tensor's element type is missing or not in the standard.
    #[error("{place}: {code} is not an element type of the standard")]
    ElemType {
        /// The tensor.
        place: String,
        /// The code found.
        code: i32,
    },
    /// A tensor of strings or of 6-bit elements, which are stored one by one, has the wrong number of them.
    #[error("{place}: sizes {dims:?} ask for another number of elements than the {found} there are")]
    ElementCount {
        /// The tensor.
        place: String,
        /// Its sizes.
        dims: Vec<u64>,
        /// Elements found.
        found: usize,
    },
    /// A tensor keeps data in more than one field.
    #[error("{place}: data is stored in more than one field")]
    TwoStorages {
        /// The tensor.
        place: String,
    },
    /// A tensor is stored in segments, which the standard reserves and nobody reads.
    #[error("{place}: tensors stored in segments are not supported")]
    Segment {
        /// The tensor.
        place: String,
    },
    /// An element of `int32_data` or `uint64_data` does not fit the element type.
    #[error("{place}: {value} does not fit {elem}")]
    ElementRange {
        /// The tensor.
        place: String,
        /// The element.
        value: i128,
        /// The element type.
        elem: ElemType,
    },
    /// A tensor's data is in another file, but the model was decoded from bytes without a folder.
    #[error("{place}: data is in the file `{location}`, but the model's folder is not known")]
    NoFolder {
        /// The tensor.
        place: String,
        /// The file.
        location: String,
    },
    /// An entry of `external_data` is missing or cannot be read as a number.
    #[error("{place}: external data entry `{key}` = `{value}` is not usable")]
    ExternalEntry {
        /// The tensor.
        place: String,
        /// `location`, `offset` or `length`.
        key: &'static str,
        /// What the file says.
        value: String,
    },
    /// The data file is outside the model's folder.
    #[error("{place}: external data file `{location}` is outside the model's folder")]
    ExternalOutside {
        /// The tensor.
        place: String,
        /// The file as the model names it.
        location: String,
    },
    /// The data file is missing or cannot be mapped.
    #[error("{place}: cannot read external data file `{}`: {source}", path.display())]
    ExternalFile {
        /// The tensor.
        place: String,
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Offset and length lead out of the data file.
    #[error("{place}: bytes {offset}..+{length} are not in external data file `{location}` of {size} bytes")]
    ExternalRange {
        /// The tensor.
        place: String,
        /// The file as the model names it.
        location: String,
        /// First byte.
        offset: u64,
        /// Number of bytes.
        length: u64,
        /// Size of the file in bytes.
        size: u64,
    },
    /// Two definitions of one name.
    #[error("graph `{graph}`: value `{name}` is defined twice")]
    DefinedTwice {
        /// The graph or function.
        graph: String,
        /// The value.
        name: String,
    },
    /// A name that nothing defines.
    #[error("graph `{graph}`: {user} uses `{name}`, which nothing defines")]
    Undefined {
        /// The graph or function.
        graph: String,
        /// The node, or "the output list".
        user: String,
        /// The name.
        name: String,
    },
    /// A node of an operator set that the model, or the function around it, does not import.
    #[error("graph `{graph}`: node `{node}` is of operator set `{domain}`, which is not imported")]
    NotImported {
        /// The graph or function.
        graph: String,
        /// The node.
        node: String,
        /// The operator set's domain.
        domain: String,
    },
    /// An input, output or initialiser without a name.
    #[error("graph `{graph}`: an {what} has no name")]
    Unnamed {
        /// The graph or function.
        graph: String,
        /// What it is.
        what: &'static str,
    },
    /// Nodes that depend on each other in a circle.
    #[error("graph `{graph}` is cyclic: {}", listed(nodes))]
    Cycle {
        /// The graph or function.
        graph: String,
        /// Labels of the nodes of one cycle.
        nodes: Vec<String>,
    },
    /// An attribute given twice.
    #[error("{place} is given twice")]
    DuplicateAttribute {
        /// The attribute.
        place: String,
    },
    /// An attribute whose type is not in the standard or cannot be told from its value.
    #[error("{place}: {code} is not an attribute type of the standard")]
    AttributeType {
        /// The attribute.
        place: String,
        /// The code found; 0 where there is none.
        code: i32,
    },
    /// An attribute without the value that its type announces.
    #[error("{place} has no value")]
    AttributeValue {
        /// The attribute.
        place: String,
    },
    /// A file cannot be written.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The path has no file name that a model could mention (external data needs UTF-8).
    #[error("`{}` has no file name in UTF-8", path.display())]
    FileName {
        /// The path.
        path: PathBuf,
    },
}

/// Long cycles are cut off: a message is read by people.
fn listed(nodes: &[String]) -> String {
    const MOST: usize = 12;
    let shown: Vec<String> = nodes.iter().take(MOST).map(|n| format!("`{n}`")).collect();
    match nodes.len().saturating_sub(MOST) {
        0 => shown.join(", "),
        more => format!("{} and {more} more nodes", shown.join(", ")),
    }
}

/// Something found while reading that does not stop the work but may surprise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Note {
    /// A field that the standard does not have.
    UnknownField {
        /// Path of the message, e.g. `ModelProto.graph.node[3]`.
        message: String,
        /// Field number.
        number: u32,
        /// Size of its payload in bytes.
        bytes: u64,
    },
    /// Unknown fields beyond those that are named.
    MoreUnknownFields {
        /// How many.
        count: u64,
    },
    /// An attribute that has a type but no value; it is read as zero or empty.
    MissingValue {
        /// The attribute.
        place: String,
    },
    /// The file is of an IR version before 3 and imports no operator set: version 1 is implied.
    ImpliedOpset,
    /// The file's IR version is newer than the standard that this crate was built from.
    NewerIrVersion {
        /// The file's version.
        found: i64,
        /// The newest one known.
        known: i64,
    },
    /// An attribute without a type, as IR version 1 allowed; the type was told from the value.
    UntypedAttribute {
        /// The attribute.
        place: String,
    },
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownField { message, number, bytes } => write!(
                f,
                "{message}: field {number} ({bytes} bytes) is not in the standard's onnx-ml.proto and will be dropped \
                 if the model is changed"
            ),
            Self::MoreUnknownFields { count } => write!(f, "{count} more unknown fields are not listed"),
            Self::MissingValue { place } => write!(f, "{place} has a type but no value: read as zero or empty"),
            Self::ImpliedOpset => f.write_str("no operator set is imported: version 1 is implied before IR version 3"),
            Self::NewerIrVersion { found, known } => {
                write!(f, "IR version {found} is newer than version {known}, the newest known")
            }
            Self::UntypedAttribute { place } => write!(f, "{place} has no type: told from its value"),
        }
    }
}
