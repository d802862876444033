//! `sparsec apply`: what it takes.

use crate::cli::PassArgs;
use clap::Args;
use std::path::PathBuf;

/// Carry out a plan, to the bit as it was made.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec apply model.onnx --plan out/plan.yaml -o pruned.onnx")]
pub(crate) struct ApplyArgs {
    /// Model that the plan was made for.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Plan.
    #[arg(long, value_name = "FILE")]
    pub(crate) plan: PathBuf,
    /// File for the smaller model.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) passes: PassArgs,
}
