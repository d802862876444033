//! What can go wrong between a model and its results.

use sparsec_ir::{ElemType, TensorError};
use std::path::PathBuf;
use thiserror::Error;

/// Why a model did not load or run.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum RuntimeError {
    /// The runtime lacks an operator or a form of it, or is known to compute it wrongly.
    #[error(
        "{runtime} cannot run `{operator}` (node `{node}`): {why}\nhelp: run with --runtime ort=PATH, PATH being the \
         folder of an installed onnxruntime package"
    )]
    Unsupported {
        /// Runtime and version.
        runtime: String,
        /// Operator, with its domain where that is not ONNX's own.
        operator: String,
        /// Node, as [`Graph::label`](sparsec_ir::Graph::label) gives it.
        node: String,
        /// What is missing.
        why: String,
    },
    /// Activations would take more memory than they may.
    #[error(
        "{runtime} was not started: during `{operator}` (node `{node}`) activations would take {needed} bytes, more than the {allowed} that they may"
    )]
    Memory {
        /// Runtime and version.
        runtime: String,
        /// Operator.
        operator: String,
        /// Node.
        node: String,
        /// Bytes at once.
        needed: u64,
        /// Bytes that are allowed.
        allowed: u64,
    },
    /// The runtime refused the model for a reason that is not tied to one node.
    #[error("{runtime} cannot load the model ({stage}): {why}")]
    Load {
        /// Runtime and version.
        runtime: String,
        /// Which step of loading failed.
        stage: &'static str,
        /// The runtime's own words.
        why: String,
    },
    /// The model cannot be written for the runtime.
    #[error("the model cannot be written for {runtime}: {source}")]
    Encode {
        /// Runtime and version.
        runtime: String,
        /// Why.
        source: sparsec_onnx::OnnxError,
    },
    /// A model-local function is called: runtimes here get plain graphs.
    #[error("node `{node}` calls the local function `{operator}`\nhelp: inline functions first (pass `canonicalise`)")]
    LocalFunction {
        /// Function, with its domain.
        operator: String,
        /// Calling node.
        node: String,
    },
    /// A node failed while running.
    #[error("{runtime} failed in `{operator}` (node `{node}`): {why}")]
    Run {
        /// Runtime and version.
        runtime: String,
        /// Operator; empty where the runtime does not say.
        operator: String,
        /// Node; empty where the runtime does not say.
        node: String,
        /// The runtime's own words.
        why: String,
    },
    /// The runtime panicked.
    #[error("{runtime} panicked in `{operator}` (node `{node}`): {why}")]
    Panicked {
        /// Runtime and version.
        runtime: String,
        /// Operator, or the step of loading.
        operator: String,
        /// Node; empty where it is not known.
        node: String,
        /// Panic message.
        why: String,
    },
    /// Another number of inputs than the graph has.
    #[error("the graph has {expected} inputs, but {found} were given")]
    InputCount {
        /// Inputs of the graph.
        expected: usize,
        /// Inputs given.
        found: usize,
    },
    /// An input of another type or shape than the session was loaded for.
    #[error("input `{name}` must be {expected}, but is {found}")]
    Input {
        /// Graph input.
        name: String,
        /// Type it was loaded with.
        expected: String,
        /// Type given.
        found: String,
    },
    /// A value of a type that the runtime cannot take or give.
    #[error("{runtime} cannot exchange `{name}` of type {elem}")]
    ElemType {
        /// Runtime and version.
        runtime: String,
        /// Value.
        name: String,
        /// Its type.
        elem: String,
    },
    /// Bytes and sizes disagree.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A graph input whose element type the model does not state.
    #[error("the model does not state a tensor type for `{name}`")]
    Untyped {
        /// Value.
        name: String,
    },
    /// A segment's outputs depend on something that is not among its inputs.
    #[error("`{output}` cannot be computed from the given values: it depends on `{on}`")]
    Open {
        /// Output asked for.
        output: String,
        /// Input of the graph, or value of an enclosing graph, that it needs.
        on: String,
    },
    /// A segment contains a cycle.
    #[error("`{value}` depends on itself")]
    Cycle {
        /// A value on the cycle.
        value: String,
    },
    /// Inputs that cannot be split in batches.
    #[error("inputs cannot be split in batches: {why}")]
    Batch {
        /// Why.
        why: String,
    },
    /// The worker threads could not be started.
    #[error("cannot start {threads} worker threads: {why}")]
    Threads {
        /// Threads asked for.
        threads: usize,
        /// The system's words.
        why: String,
    },
    /// No runtime of this name.
    #[error("there is no runtime `{spec}`: write `tract`, `ort` or `ort=PATH`")]
    UnknownRuntime {
        /// What was asked for.
        spec: String,
    },
    /// This build has no tract.
    #[error(
        "this build does not contain tract\nhelp: name ONNX Runtime (`ort=PATH`), or build with the feature `tract`"
    )]
    NoTract,
    /// ONNX Runtime was asked for, but not where it is.
    #[error(
        "no ONNX Runtime is named\nhelp: write `ort=PATH` or set SPARSEC_ORT to the folder of an installed onnxruntime package"
    )]
    NoLibrary,
    /// No shared library at the given place.
    #[error("no ONNX Runtime library under `{}`; looked at: {}", .path.display(), list(.looked_at))]
    LibraryNotFound {
        /// Path given.
        path: PathBuf,
        /// Files and folders that were looked at.
        looked_at: Vec<PathBuf>,
    },
    /// The library opens, but is no ONNX Runtime that can be used.
    #[error("`{}` is not a usable ONNX Runtime: {why}", .path.display())]
    NotOnnxRuntime {
        /// Library.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// A process can open one ONNX Runtime only.
    #[error("this process already uses the ONNX Runtime `{}`; `{}` cannot be opened beside it", .loaded.display(), .asked.display())]
    LibraryLoaded {
        /// Library in use.
        loaded: PathBuf,
        /// Library asked for.
        asked: PathBuf,
    },
}

fn list(paths: &[PathBuf]) -> String {
    let shown: Vec<String> = paths.iter().map(|p| format!("`{}`", p.display())).collect();
    if shown.is_empty() { "nothing".to_string() } else { shown.join(", ") }
}

/// A tensor type as messages print it: `float[2,3]`.
pub(crate) fn type_text(elem: ElemType, dims: &[u64]) -> String {
    let dims: Vec<String> = dims.iter().map(u64::to_string).collect();
    format!("{elem}[{}]", dims.join(","))
}
