//! What sparsec knows of operators: one file a rule, one line a file in [`table`].
//!
//! Every file holds, in this order: numbered rules, table entries, a typed view, the facets in the order of the entry,
//! tests. A facet is a pure function of a [`NodeRef`](sparsec_ir::NodeRef) that returns data.
//!
//! ```
//! let table = sparsec_ops::table();
//! assert!(table.get("", "Relu").is_some());
//! ```

mod batch_norm;
mod conv;
mod conv_transpose;
mod cumsum;
mod einsum;
mod form;
mod gemm;
mod group_norm;
mod layer_norm;
mod lrn;
mod matmul;
mod pool;
mod recurrent;
mod reduce;
mod resize;
mod softmax;
mod table;
#[cfg(test)]
mod testing;
mod topk;
mod unary;
mod window;

pub use table::table;
