//! Work rules that many operators share. None of them counts multiply-accumulates.

use sparsec_ir::{Kernel, NodeRef, OpError, Work};

/// Cheap arithmetic on each element.
pub(crate) fn light(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Elementwise { heavy: false }, macs: 0 })
}

/// A transcendental function of each element.
pub(crate) fn heavy(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Elementwise { heavy: true }, macs: 0 })
}

/// Several reads for each result: reductions, normalisations, pooling, sampling.
pub(crate) fn reduces(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

/// Movement of data.
pub(crate) fn moves(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Move, macs: 0 })
}

/// Nothing at run time.
pub(crate) fn nothing(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Free, macs: 0 })
}
