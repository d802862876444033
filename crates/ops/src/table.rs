//! The operator table: one line a file, sorted by hand.

use sparsec_ir::OpTable;

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    let families = [
        crate::binary::OPS,
        crate::concat::OPS,
        crate::constant::OPS,
        crate::depth_to_space::OPS,
        crate::expand::OPS,
        crate::gather::OPS,
        crate::gather_nd::OPS,
        crate::one_hot::OPS,
        crate::pad::OPS,
        crate::reshape::OPS,
        crate::shape::OPS,
        crate::slice::OPS,
        crate::split::OPS,
        crate::squeeze::OPS,
        crate::transpose::OPS,
        crate::trilu::OPS,
        crate::unary::OPS,
        crate::where_::OPS,
    ];
    OpTable::new(families.into_iter().flatten().copied())
}
