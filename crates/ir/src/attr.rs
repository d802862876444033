//! Node attributes.

use crate::{Graph, SparseTensor, Tensor, Type};
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

/// Attributes of a node in file order.
pub type Attrs = indexmap::IndexMap<String, Attr>;
