//! What sparsec knows of operators: one file a rule, one line a file in [`table`].
//!
//! Every file holds, in this order: numbered rules, table entries, a typed view, the facets in the order of the entry,
//! tests. A facet is a pure function of a [`NodeRef`](sparsec_ir::NodeRef) that returns data.
//!
//! ```
//! let table = sparsec_ops::table();
//! assert!(table.get("", "Relu").is_some());
//! ```

mod table;
mod unary;

pub use table::table;
