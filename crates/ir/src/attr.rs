//! Node attributes.

use crate::{Data, ElemType, Graph, SparseTensor, Tensor, Type};
use bytes::Bytes;
use std::sync::Arc;

/// An attribute's value, one variant for each `AttributeProto.AttributeType`.
#[derive(Clone, Debug)]
pub enum Attr {
    /// A single.
    Float(f32),
    /// A whole number.
    Int(i64),
    /// A string, not necessarily UTF-8.
    String(Bytes),
    /// A constant tensor.
    Tensor(Arc<Tensor>),
    /// A sparse constant.
    SparseTensor(Arc<SparseTensor>),
    /// A subgraph; names of the enclosing graph that it uses are [`Def::Outer`](crate::Def::Outer) values in it.
    Graph(Box<Graph>),
    /// A type.
    Type(Type),
    /// Singles.
    Floats(Vec<f32>),
    /// Whole numbers.
    Ints(Vec<i64>),
    /// Strings.
    Strings(Vec<Bytes>),
    /// Tensors.
    Tensors(Vec<Arc<Tensor>>),
    /// Sparse tensors.
    SparseTensors(Vec<Arc<SparseTensor>>),
    /// Subgraphs.
    Graphs(Vec<Graph>),
    /// Types.
    Types(Vec<Type>),
    /// A reference to an attribute of the enclosing function, with the `AttributeType` code it must have.
    Ref {
        /// Attribute of the function.
        name: String,
        /// `AttributeProto.AttributeType` code.
        kind: i32,
    },
}

impl Attr {
    /// What it is, for messages: `an integer`, `floats`.
    pub fn kind(&self) -> &'static str {
        match self {
            Attr::Float(_) => "a float",
            Attr::Int(_) => "an integer",
            Attr::String(_) => "a string",
            Attr::Tensor(_) => "a tensor",
            Attr::SparseTensor(_) => "a sparse tensor",
            Attr::Graph(_) => "a graph",
            Attr::Type(_) => "a type",
            Attr::Floats(_) => "floats",
            Attr::Ints(_) => "integers",
            Attr::Strings(_) => "strings",
            Attr::Tensors(_) => "tensors",
            Attr::SparseTensors(_) => "sparse tensors",
            Attr::Graphs(_) => "graphs",
            Attr::Types(_) => "types",
            Attr::Ref { .. } => "an attribute of the function",
        }
    }
    /// The dense constant that the attribute spells: a tensor as it is, numbers and strings as a scalar, lists of them
    /// as a vector; `None` for everything else.
    pub fn as_tensor(&self) -> Option<Arc<Tensor>> {
        let strings = |dims: &[u64], all: &[Bytes]| Tensor {
            data: Data::Strings(all.to_vec()),
            dims: dims.to_vec(),
            elem: ElemType::String,
            external: None,
            doc: String::new(),
            meta: Vec::new(),
        };
        let tensor = match self {
            Attr::Tensor(t) => return Some(t.clone()),
            Attr::Float(v) => Tensor::f32(&[], &[*v]),
            Attr::Floats(v) => Tensor::f32(&[v.len() as u64], v),
            Attr::Int(v) => Tensor::i64(&[], &[*v]),
            Attr::Ints(v) => Tensor::i64(&[v.len() as u64], v),
            Attr::String(v) => strings(&[], std::slice::from_ref(v)),
            Attr::Strings(v) => strings(&[v.len() as u64], v),
            _ => return None,
        };
        Some(Arc::new(tensor))
    }
}

/// Attributes of a node in file order.
pub type Attrs = indexmap::IndexMap<String, Attr>;
