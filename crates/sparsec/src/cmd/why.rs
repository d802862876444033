//! `sparsec why`: what it takes.

use clap::Args;
use std::path::PathBuf;

/// Say why channels leave together, or why one stays: the chain of nodes and rules.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec why model.onnx conv1.out:1           # why this axis is as it is
  sparsec why model.onnx conv1.out:1:17 layer4.w:1:17")]
pub(crate) struct WhyArgs {
    /// Model to ask about.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// An axis of a value, or one index of it.
    #[arg(value_name = "VALUE:AXIS[:INDEX]")]
    pub(crate) slot: String,
    /// Another, to ask why both leave together.
    #[arg(value_name = "OTHER")]
    pub(crate) other: Option<String>,
}
