//! `sparsec plan`: what it takes.

use crate::cmd::limits::LimitArgs;
use clap::Args;
use std::path::PathBuf;

/// Decide how many channels each group keeps.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec plan model.onnx --curves curves.json --target generic-x86 --max-latency 60% -o plan.yaml")]
pub(crate) struct PlanArgs {
    /// Model to plan for.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Curves, as `sparsec sensitivity` writes them.
    #[arg(long, value_name = "FILE")]
    pub(crate) curves: PathBuf,
    /// Built-in target or target file.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    pub(crate) target: String,
    /// Policy file: what may be cut, and how far.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// File for the plan.
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}
