//! Deterministic values.

use sparsec_ir::Tensor;

/// `((i mod period) − shift) / scale` for each index: values that are exact in half precision.
pub(crate) fn wave(dims: &[u64], period: i32, shift: i32, scale: f32) -> Tensor {
    let count: u64 = dims.iter().product();
    let values: Vec<f32> = (0..count as i32).map(|i| (i % period - shift) as f32 / scale).collect();
    Tensor::f32(dims, &values)
}
