//! The options by which users give sizes that a model leaves open.

use crate::error::CliError;
use crate::values;
use clap::Args;
use sparsec::drive::Prepared;
use sparsec_ir::Facts;

/// Sizes of the inputs.
#[derive(Clone, Debug, Args)]
pub(crate) struct SizeArgs {
    /// Size of the inputs' first axis, where the model leaves it open.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    batch: u64,
    /// Size of another axis that the model leaves open, by the name it has there; may be given several times.
    #[arg(long, value_name = "NAME=N", value_parser = values::dim)]
    dim: Vec<(String, u64)>,
}

impl SizeArgs {
    /// Facts of a model with inputs of these sizes.
    pub(crate) fn facts(&self, dense: &Prepared) -> Result<Facts, CliError> {
        let sizes = dense.sizes(self.batch, &self.dim.iter().cloned().collect()).map_err(CliError::from)?;
        Ok(dense.bind(&sizes))
    }
}
