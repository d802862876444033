//! Samples in batches over threads.

use crate::{Runtime, RuntimeError};
use sparsec_ir::{Model, Tensor};
/// x
pub fn run_batches(
    _runtime: &dyn Runtime,
    _model: &Model,
    _inputs: &[Tensor],
    _batch: usize,
    _threads: usize,
) -> Result<Vec<Tensor>, RuntimeError> {
    Ok(vec![])
}
