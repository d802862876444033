//! `sparsec opt`: what it takes.

use crate::cli::PassArgs;
use clap::Args;
use std::path::PathBuf;

/// Run named passes and print the graph as text.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec opt model.onnx --passes fold-constants,fold-batchnorm --print-after fold-constants")]
pub(crate) struct OptArgs {
    /// An ONNX model, or a graph in ONNX's text syntax (`.onnxtxt`).
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Passes, in order.
    #[arg(long, value_name = "A,B,…", value_delimiter = ',', required = true)]
    pub(crate) passes: Vec<String>,
    #[command(flatten)]
    pub(crate) options: PassArgs,
}
