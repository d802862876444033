//! Types of values as a model file states them.

use crate::{Dim, ElemType};
use std::fmt;

/// The type of a value: what the file says, which may be less than what shape inference finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Type {
    /// A dense tensor; `shape` is `None` where not even the rank is known.
    Tensor {
        /// Element type.
        elem: ElemType,
        /// Sizes, symbolic where the file names them.
        shape: Option<Vec<Dim>>,
    },
    /// A sparse tensor.
    Sparse {
        /// Element type.
        elem: ElemType,
        /// Sizes of the dense tensor it stands for.
        shape: Option<Vec<Dim>>,
    },
    /// A sequence.
    Sequence(Box<Type>),
    /// A value that may be absent.
    Optional(Box<Type>),
    /// A map from keys of an element type.
    Map(ElemType, Box<Type>),
    /// A type of a domain of its own.
    Opaque {
        /// Domain.
        domain: String,
        /// Name.
        name: String,
    },
}

impl Type {
    /// A dense tensor of known rank.
    pub fn tensor(elem: ElemType, shape: impl IntoIterator<Item = Dim>) -> Self {
        Self::Tensor { elem, shape: Some(shape.into_iter().collect()) }
    }
}

/// ONNX's text syntax, e.g. `float[batch,3]`, `seq(int64[])`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        crate::text::write_type(&mut out, self);
        f.write_str(&out)
    }
}
