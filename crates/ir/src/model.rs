//! A model: a graph with what surrounds it in the file.

use crate::{Attr, Graph};
use std::any::Any;
use std::sync::Arc;

/// What a front end keeps of the file and this crate does not interpret, so that nothing is lost on the way out.
#[derive(Clone, Default)]
pub struct Extra(Option<Arc<dyn Any + Send + Sync>>);

impl Extra {
    /// Wraps what a front end wants back.
    pub fn new(what: impl Any + Send + Sync) -> Self {
        Self(Some(Arc::new(what)))
    }
    /// What the front end put there, if it is of type `T`.
    pub fn get<T: Any + Send + Sync>(&self) -> Option<&T> {
        self.0.as_ref()?.downcast_ref()
    }
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Extra(…)" } else { "Extra" })
    }
}

/// One imported operator set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpsetImport {
    /// Domain; empty for ONNX's own.
    pub domain: String,
    /// Version.
    pub version: i64,
}

/// A model-local function: an operator defined by a body of nodes.
#[derive(Clone, Debug)]
pub struct Function {
    /// Domain of the operator it defines.
    pub domain: String,
    /// Type of the operator it defines.
    pub name: String,
    /// Overload; nearly always empty.
    pub overload: String,
    /// Attributes without a default.
    pub attributes: Vec<String>,
    /// Attributes with a default.
    pub defaults: Vec<(String, Attr)>,
    /// Operator sets of the body.
    pub opsets: Vec<OpsetImport>,
    /// Body; its inputs and outputs are the function's. Input types are unknown.
    pub body: Graph,
    /// Documentation string.
    pub doc: String,
    /// `metadata_props`.
    pub meta: Vec<(String, String)>,
    /// Parts of the file's function that this crate does not interpret.
    pub extra: Extra,
}

/// A model.
#[derive(Clone, Debug)]
pub struct Model {
    /// IR version of the file.
    pub ir_version: i64,
    /// Operator sets that the graph uses.
    pub opsets: Vec<OpsetImport>,
    /// Producer.
    pub producer: String,
    /// Producer's version.
    pub producer_version: String,
    /// Domain of the model.
    pub domain: String,
    /// Version of the model.
    pub model_version: Option<i64>,
    /// Documentation string.
    pub doc: String,
    /// `metadata_props`.
    pub meta: Vec<(String, String)>,
    /// Model-local functions.
    pub functions: Vec<Function>,
    /// The graph.
    pub graph: Graph,
    /// Parts of the file's model that this crate does not interpret.
    pub extra: Extra,
}

impl Model {
    /// A model around `graph` that imports ONNX's own operators at `opset`.
    pub fn new(graph: Graph, ir_version: i64, opset: i64) -> Self {
        Self {
            ir_version,
            opsets: vec![OpsetImport { domain: String::new(), version: opset }],
            producer: String::new(),
            producer_version: String::new(),
            domain: String::new(),
            model_version: None,
            doc: String::new(),
            meta: Vec::new(),
            functions: Vec::new(),
            graph,
            extra: Extra::default(),
        }
    }
    /// Imported version of `domain`; `ai.onnx` and the empty domain are the same.
    pub fn opset(&self, domain: &str) -> Option<i64> {
        self.opsets.iter().find(|o| same_domain(&o.domain, domain)).map(|o| o.version)
    }
}

/// Whether two domains are the same: ONNX's own may be spelled `ai.onnx` or left empty.
pub fn same_domain(a: &str, b: &str) -> bool {
    let own = |d: &str| d.is_empty() || d == "ai.onnx";
    a == b || own(a) && own(b)
}
