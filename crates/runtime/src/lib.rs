//! Runs models: one trait over tract (built in, the default) and ONNX Runtime (a shared library opened at run time).
//!
//! [`open`] gives a [`Runtime`], which loads a [`Model`] for concrete input shapes into a [`Session`]; [`tap`] and
//! [`extract`] make the models that look inside another one; [`run_batches`] and [`run_each`] spread samples over threads with results
//! that do not depend on their number; [`time`] measures.
//!
//! Runtimes differ in the last digits. Where tract is known to compute something wrongly, the model is rewritten for it
//! or refused, never run as it is.
//!
//! ```
//! # #[cfg(feature = "tract")] {
//! use sparsec_ir::{Dim, ElemType, Graph, Model, Node, Tensor, Type};
//! let mut g = Graph::new("g");
//! let x = g.add_input("x", Type::tensor(ElemType::F32, [Dim::sym("batch"), Dim::from(2)]));
//! let n = g.add_node(Node::new("Relu").input(x), &["y"]);
//! let y = g.node(n).outputs[0].unwrap();
//! g.set_outputs(&[y]);
//! let session = sparsec_runtime::default_runtime()?.load(&Model::new(g, 8, 17), &[vec![1, 2]], 1)?;
//! let y = session.run(&[Tensor::f32(&[1, 2], &[-1., 3.])])?;
//! assert_eq!(y[0].to_f32()?, [0., 3.]);
//! # }
//! # Ok::<(), sparsec_runtime::RuntimeError>(())
//! ```
//!
//! This crate decides nothing about a model and knows no pass.

mod batch;
mod cut;
mod error;
mod guard;
mod library;
mod onnxruntime;
mod signature;
pub mod time;
#[cfg(feature = "tract")]
mod tract;

pub use batch::{Sessions, batches, batches_of_parts, run_batches, run_each};
pub use cut::{extract, tap};
pub use error::RuntimeError;

use sparsec_ir::{Model, Tensor};

/// Something that loads models.
pub trait Runtime: Send + Sync {
    /// Name and version, such as `tract 0.23.9`.
    fn name(&self) -> String;

    /// Prepares `model` for inputs of exactly these shapes, in the order of [`Graph::inputs`](sparsec_ir::Graph::inputs),
    /// with `threads` threads inside an operator. tract has one thread inside an operator, whatever is asked.
    ///
    /// # Errors
    /// [`RuntimeError::Unsupported`] names the operator that the runtime lacks.
    fn load(&self, model: &Model, inputs: &[Vec<u64>], threads: usize) -> Result<Box<dyn Session>, RuntimeError>;

    /// The loader for inputs of more than one shape; `None` where the runtime plans for concrete sizes, so that each shape
    /// takes a session of its own.
    fn any_size(&self) -> Option<&dyn AnySize>;
}

/// A runtime whose sessions need not know every size.
pub trait AnySize {
    /// Prepares `model` as [`Runtime::load`] does, for inputs of any of some shapes, which are alike in rank.
    ///
    /// # Errors
    /// As [`Runtime::load`].
    fn load_open(
        &self,
        model: &Model,
        shapes: &[Vec<Vec<u64>>],
        threads: usize,
    ) -> Result<Box<dyn Session>, RuntimeError>;
}

/// A loaded model. It may be shared by threads; a run leaves nothing behind for the next one.
pub trait Session: Send + Sync {
    /// The graph's outputs, in its order, for `inputs` of the types that the session was loaded for.
    ///
    /// Values are whatever the runtime computed: also infinities and NaN.
    ///
    /// # Errors
    /// [`RuntimeError::Input`] for another type or shape, [`RuntimeError::Run`] if an operator fails.
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError>;
}

/// The runtime that `spec` names: `tract`; `ort`, which takes its path from the variable `SPARSEC_ORT`; or `ort=PATH`, where
/// PATH is ONNX Runtime's shared library, a folder with it, or the folder of an installed `onnxruntime` package.
///
/// Opening a library runs its code: the path must come from the user.
///
/// # Errors
/// Says what was looked at where no library is found, and why a library cannot be used.
pub fn open(spec: &str) -> Result<Box<dyn Runtime>, RuntimeError> {
    match spec.split_once('=') {
        None if spec == "tract" => default_runtime(),
        None if spec == "ort" => {
            let path = std::env::var_os("SPARSEC_ORT").filter(|p| !p.is_empty()).ok_or(RuntimeError::NoLibrary)?;
            onnxruntime::open(path.as_ref())
        }
        Some(("ort", path)) if !path.is_empty() => onnxruntime::open(path.as_ref()),
        _ => Err(RuntimeError::UnknownRuntime { spec: spec.to_string() }),
    }
}

/// The built-in runtime.
///
/// # Errors
/// [`RuntimeError::NoTract`] in a build without the feature `tract`.
pub fn default_runtime() -> Result<Box<dyn Runtime>, RuntimeError> {
    #[cfg(feature = "tract")]
    return Ok(Box::new(tract::Tract));
    #[cfg(not(feature = "tract"))]
    return Err(RuntimeError::NoTract);
}
