//! ONNX's own text syntax (`docs/Syntax.md` of the onnx repository): tests, dumps and messages read like graphs, and
//! the official parser reads what is printed.
//!
//! Printing is canonical: topological order, attributes sorted by name. `doc_string` and `metadata_props` of nodes,
//! values and graphs have no place in the syntax and are left out, as are external references (the data is printed).
//!
//! Half-precision and 8-bit floats are printed as bit patterns, as the official printer does.
//!
//! # Extensions
//!
//! What the official parser accepts is accepted and means the same, except for external data, which this crate never
//! opens. Beyond it:
//!
//! - `float[8,3] w = ["location": "random:7"]` is a fill by a seeded generator, see [`fill`](self): normal values for
//!   `random:SEED`, uniform values in [0.5, 1.5) for `positive:SEED` (variances, scales). It is never printed.
//! - Types below 8 bits are printed one element at a time and packed when read; `int4` and `int2` as signed numbers.
//! - `sparse_tensor(float[3,4]) s = {float[2] {1.0, 2.0}, int64[2] {0, 5}}` is a sparse constant.
//! - Lists of tensors, types and graphs are kept (`a: tensors = […]`); the official parser drops them.
//! - Names of domains, attributes, overloads and subgraphs may be quoted.
//! - A string that is not UTF-8 is `bytes {104, 255}`.
//! - A quoted size that is a polynomial in canonical form (`"2*n+1"`) is read as one.
//!
//! ```
//! let text = "<ir_version: 9, opset_import: [\"\" : 17]>\ng (float[n,3] x) => (float[n,3] y) { y = Relu (x) }";
//! let model = sparsec_ir::text::parse_model(text).unwrap();
//! assert_eq!(model.graph.node(model.graph.find_node("").unwrap()).op, "Relu");
//! ```

mod cursor;
mod error;
mod fill;
mod lexer;
mod literal;
mod number;
mod parser;
mod printer;

#[cfg(test)]
mod tests;

pub use error::{TextError, TextProblem};
pub use parser::parse_model;
pub(crate) use printer::write_type;
pub use printer::{PrintOptions, Weights, print_model};

/// Whether `text` can stand without quotes as a name.
fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
        && chars.all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Whether `word` begins a type.
fn is_type_word(word: &str) -> bool {
    crate::ElemType::from_name(word).is_some()
        || matches!(word, "seq" | "map" | "optional" | "sparse_tensor" | "opaque")
}

/// Names of attribute types, by `AttributeProto.AttributeType` code.
const ATTR_KINDS: &[(&str, i32)] = &[
    ("float", 1),
    ("int", 2),
    ("string", 3),
    ("tensor", 4),
    ("graph", 5),
    ("floats", 6),
    ("ints", 7),
    ("strings", 8),
    ("tensors", 9),
    ("graphs", 10),
    ("sparse_tensor", 11),
    ("sparse_tensors", 12),
    ("type_proto", 13),
    ("type_protos", 14),
];
