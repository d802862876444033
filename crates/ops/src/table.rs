//! The operator table: one line a file, sorted by hand.

use crate::unary;
use sparsec_ir::OpTable;

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    let families = [unary::OPS];
    OpTable::new(families.into_iter().flatten().copied())
}
