//! `sparsec verify`: what it takes.

use clap::Args;
use std::path::PathBuf;

/// Check a removal: the smaller model must equal the dense one with the removed channels masked.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec verify model.onnx pruned.onnx --plan out/plan.yaml")]
pub(crate) struct VerifyArgs {
    /// Dense model.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Smaller model.
    #[arg(value_name = "PRUNED")]
    pub(crate) pruned: PathBuf,
    /// Plan that leads from one to the other.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
}
