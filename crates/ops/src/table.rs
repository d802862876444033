//! The operator table: one line a file, sorted by hand.

use sparsec_ir::OpTable;

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    let families = [
        crate::batch_norm::OPS,
        crate::binary::OPS,
        crate::concat::OPS,
        crate::constant::OPS,
        crate::conv::OPS,
        crate::conv_transpose::OPS,
        crate::cumsum::OPS,
        crate::depth_to_space::OPS,
        crate::einsum::OPS,
        crate::expand::OPS,
        crate::gather::OPS,
        crate::gather_nd::OPS,
        crate::gemm::OPS,
        crate::group_norm::OPS,
        crate::layer_norm::OPS,
        crate::lrn::OPS,
        crate::matmul::OPS,
        crate::one_hot::OPS,
        crate::pad::OPS,
        crate::pool::OPS,
        crate::recurrent::OPS,
        crate::reduce::OPS,
        crate::reshape::OPS,
        crate::resize::OPS,
        crate::shape::OPS,
        crate::slice::OPS,
        crate::softmax::OPS,
        crate::split::OPS,
        crate::squeeze::OPS,
        crate::topk::OPS,
        crate::transpose::OPS,
        crate::trilu::OPS,
        crate::unary::OPS,
        crate::where_::OPS,
    ];
    OpTable::new(families.into_iter().flatten().copied()).with_alike(crate::alike::ALIKE)
}
