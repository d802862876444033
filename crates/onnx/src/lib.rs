//! ONNX files to and from the IR. The only crate that knows protobuf.
//!
//! [`load`] maps the file: weights are slices of the map and are never copied. What the IR does not model (denotations,
//! sharding, training information, …) is kept beside it and written back, so that decoding and encoding loses nothing
//! that the standard knows; fields that the standard does not have are named in [`Loaded::notes`].
//!
//! ```
//! use sparsec_ir::{Dim, ElemType, Graph, Model, Node, Type};
//!
//! let mut g = Graph::new("g");
//! let x = g.add_input("x", Type::tensor(ElemType::F32, [Dim::sym("batch"), Dim::from(3)]));
//! let relu = g.add_node(Node::new("Relu").input(x), &["y"]);
//! let y = g.node(relu).outputs[0].expect("it was named");
//! g.set_type(y, g.value(x).ty.clone());
//! g.set_outputs(&[y]);
//!
//! let bytes = sparsec_onnx::encode(&Model::new(g, 10, 21))?;
//! let loaded = sparsec_onnx::decode(bytes.clone().into(), None)?;
//! assert!(loaded.notes.is_empty());
//! assert_eq!(loaded.model.graph.nodes().next().map(|(_, n)| n.op.as_str()), Some("Relu"));
//! assert_eq!(sparsec_onnx::encode(&loaded.model)?, bytes);
//! # Ok::<(), sparsec_onnx::OnnxError>(())
//! ```

mod attr;
mod error;
mod export;
mod external;
mod extra;
mod import;
mod meta;
mod save;
mod stream;
mod tensor;
mod ty;
mod wire;

#[allow(missing_docs, unreachable_pub, clippy::all)]
mod proto {
    include!(concat!(env!("OUT_DIR"), "/onnx.rs"));
}

pub use error::{NotOnnx, Note, OnnxError};
pub use save::{Weights, save, save_unchanged};

use bytes::Bytes;
use external::Files;
use import::{Cx, Place};
use prost::Message;
use sparsec_ir::{Model, Tensor};
use std::path::Path;

/// A model with the file that it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The model. Its weights point into [`source`](Self::source) and the mapped data files.
    pub model: Model,
    /// The encoded model file.
    pub source: Bytes,
    /// What was found and may surprise.
    pub notes: Vec<Note>,
}

/// Reads a model file with its external data, all mapped into memory.
///
/// The files must not be truncated by others while the model lives (as with every mapped file).
///
/// # Errors
/// Files that cannot be read, are no ONNX models, or contradict themselves: each of [`OnnxError`]'s variants but those
/// about writing.
pub fn load(path: &Path) -> Result<Loaded, OnnxError> {
    let bytes = external::map(path)?;
    // A bare file name has the empty path as its parent.
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    decode_as(bytes, Some(folder), &path.display().to_string()).map_err(|e| match e {
        named @ OnnxError::NotOnnx { .. } => named,
        source => OnnxError::In { path: path.to_path_buf(), source: Box::new(source) },
    })
}

/// Reads a model from bytes. Its external data is looked for in `folder`.
///
/// # Errors
/// As [`load`]; external data without a `folder` is an error too.
pub fn decode(bytes: Bytes, folder: Option<&Path>) -> Result<Loaded, OnnxError> {
    decode_as(bytes, folder, "input")
}

fn decode_as(bytes: Bytes, folder: Option<&Path>, file: &str) -> Result<Loaded, OnnxError> {
    let message: proto::ModelProto = decode_message(bytes.clone(), file)?;
    let mut cx =
        Cx { files: Files::new(folder), unnamed: ty::Unnamed::default(), notes: Vec::new(), imports: Vec::new() };
    cx.notes = wire::unknown_fields("ModelProto", &bytes);
    let model = import::model(message, file, &mut cx)?;
    Ok(Loaded { model, source: bytes, notes: cx.notes })
}

fn decode_message<M: Message + Default>(bytes: Bytes, file: &str) -> Result<M, OnnxError> {
    let not_onnx = |why| OnnxError::NotOnnx { file: file.to_string(), why };
    if bytes.is_empty() {
        return Err(not_onnx(NotOnnx::Empty));
    }
    // prost keeps the kind of an error to itself: its text is the only way to tell this one.
    M::decode(bytes).map_err(|e| match e.to_string().contains("recursion limit") {
        true => not_onnx(NotOnnx::TooDeep),
        false => not_onnx(NotOnnx::Encoding(e)),
    })
}

/// The model as the bytes of one file, external data pulled in.
///
/// # Errors
/// Sizes beyond 2^63, which no tensor that was read has.
pub fn encode(model: &Model) -> Result<Vec<u8>, OnnxError> {
    let message = export::model(model)?;
    let mut out = Vec::with_capacity(message.encoded_len());
    stream::write(&message, &mut out).expect("writing to memory does not fail");
    Ok(out)
}

/// Reads one tensor with its name, as the `.pb` files of ONNX's test data hold it.
///
/// # Errors
/// Bytes that are no tensor, or sizes and data that disagree; external data is refused.
pub fn decode_tensor(bytes: &[u8]) -> Result<(String, Tensor), OnnxError> {
    let message: proto::TensorProto = decode_message(Bytes::copy_from_slice(bytes), "tensor")?;
    let name = message.name().to_string();
    let (tensor, _) = tensor::import(message, &Place::Tensor(&name), &mut Files::new(None))?;
    Ok((name, tensor))
}
