//! The intermediate representation of sparsec and the vocabulary in which operators are described.
//!
//! A [`Model`] owns a [`Graph`] of nodes and values in single-assignment form. Nodes keep their operator as
//! (domain, type, attributes), so an operator nobody has heard of passes through intact. What is *known* of an
//! operator is an [`OpDef`]: a struct of plain function pointers that return data (shapes, axis relations, work).
//!
//! This crate names no operator, reads no file and runs no model.
//!
//! ```
//! use sparsec_ir::{Dim, ElemType, Graph, Node, Type};
//! let mut g = Graph::new("g");
//! let x = g.add_input("x", Type::tensor(ElemType::F32, [Dim::from(1), Dim::from(3)]));
//! let n = g.add_node(Node::new("Relu").input(x), &["y"]);
//! let y = g.node(n).outputs[0];
//! g.set_outputs(&[y.unwrap()]);
//! assert_eq!(g.value(x).uses.len(), 1);
//! ```

mod attr;
mod dim;
mod draw;
mod elem;
mod fact;
pub mod given;
mod graph;
mod id;
mod model;
mod node_ref;
mod op;
mod order;
mod policy;
mod reason;
mod relation;
mod resize;
mod sweep;
mod tensor;
pub mod text;
mod ty;
mod verify;

pub use attr::{Attr, Attrs};
pub use dim::{Dim, Sym};
pub use draw::Draw;
pub use elem::ElemType;
pub use fact::{Fact, Facts};
pub use graph::{Def, Graph, Node, Use, Value};
pub use id::{Id, IdMap, NodeId, ValueId};
pub use model::{Extra, Function, Model, OpsetImport, same_domain};
pub use node_ref::{NodeRef, Operand};
pub use op::{
    Affine, Alike, ChannelAffine, Contraction, InnerMap, Kernel, LinearRule, Normalised, ONNX, OpDef, OpError, OpTable,
    Relate, Resize, ShapeRule, Window, Work, WorkRule,
};
pub use order::{cycle, topological};
pub use policy::Policy;
pub use reason::Reason;
pub use relation::{AxisRef, LinkKind, Relation, Relations, Replacement, Row, Sum, ZeroPoint};
pub use resize::{Edit, Resized};
pub use sweep::{Sweep, Unread};
pub use tensor::{Data, ExternalRef, SparseTensor, Tensor, TensorError, element_count};
pub use ty::Type;
pub use verify::{Invariant, Violation, verify};
