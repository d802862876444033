//! What sparsec knows of operators: one file a rule, one line a file in [`table`].
//!
//! Every file holds, in this order: numbered rules, table entries, a typed view, the facets in the order of the entry,
//! tests. A facet is a pure function of a [`NodeRef`](sparsec_ir::NodeRef) that returns data.
//!
//! ```
//! let table = sparsec_ops::table();
//! assert!(table.get("", "Relu").is_some());
//! ```

mod alike;
mod batch_norm;
mod binary;
mod broadcast;
mod concat;
mod constant;
mod content;
mod conv;
mod conv_transpose;
mod cumsum;
mod depth_to_space;
mod einsum;
mod expand;
mod form;
mod gather;
mod gather_nd;
mod gemm;
mod group_norm;
mod layer_norm;
mod lrn;
mod matmul;
mod one_hot;
mod pad;
mod pool;
mod recurrent;
mod reduce;
mod reshape;
mod resize;
mod shape;
mod slice;
mod softmax;
mod split;
mod squeeze;
mod table;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod testing_data;
mod topk;
mod transpose;
mod trilu;
mod unary;
mod where_;
mod window;
mod work;

pub use table::table;
