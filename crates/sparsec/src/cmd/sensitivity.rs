//! `sparsec sensitivity`: what it takes.

use crate::cmd::samples::SampleArgs;
use clap::Args;
use std::path::PathBuf;

/// Measure how the output degrades as each group of channels shrinks.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec sensitivity model.onnx --data calib.npz --scale 1/255 -o curves.json")]
pub(crate) struct SensitivityArgs {
    /// Model to analyse.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Samples to measure on.
    #[arg(long, value_name = "SAMPLES")]
    pub(crate) data: PathBuf,
    /// File for the curves.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) samples: SampleArgs,
}
