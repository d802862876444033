//! What sparsec knows of operators: one file a rule, one line a file in [`table`].
//!
//! Every file holds, in this order: numbered rules, table entries, a typed view, the facets in the order of the entry,
//! tests. A facet is a pure function of a [`NodeRef`](sparsec_ir::NodeRef) that returns data.
//!
//! ```
//! let table = sparsec_ops::table();
//! assert!(table.get("", "Relu").is_some());
//! ```

mod binary;
mod broadcast;
mod concat;
mod constant;
mod content;
mod depth_to_space;
mod expand;
mod gather;
mod gather_nd;
mod one_hot;
mod pad;
mod reshape;
mod shape;
mod slice;
mod split;
mod squeeze;
mod table;
#[cfg(test)]
mod testing_data;
mod transpose;
mod trilu;
mod unary;
mod where_;
mod work;

pub use table::table;
