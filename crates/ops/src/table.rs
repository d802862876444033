//! The operator table: one line a file, sorted by hand.

use sparsec_ir::OpTable;

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    let families = [
        crate::batch_norm::OPS,
        crate::conv::OPS,
        crate::conv_transpose::OPS,
        crate::cumsum::OPS,
        crate::einsum::OPS,
        crate::gemm::OPS,
        crate::group_norm::OPS,
        crate::layer_norm::OPS,
        crate::lrn::OPS,
        crate::matmul::OPS,
        crate::pool::OPS,
        crate::recurrent::OPS,
        crate::reduce::OPS,
        crate::resize::OPS,
        crate::softmax::OPS,
        crate::topk::OPS,
        crate::unary::OPS,
    ];
    OpTable::new(families.into_iter().flatten().copied())
}
