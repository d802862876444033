//! `sparsec compile`: what it takes.

use crate::cli::PassArgs;
use crate::cmd::limits::LimitArgs;
use crate::cmd::samples::SampleArgs;
use crate::values;
use clap::Args;
use sparsec_calib::metric::Metric;
use std::path::PathBuf;

/// Make a model smaller and faster within limits.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec compile model.onnx -o out --target generic-x86 --data calib.npz --scale 1/255 --max-latency 60%
  sparsec compile model.onnx -o out --target my-board.yaml --data calib.npz --eval val.npz --metric top1 \\
      --max-memory 64MiB --max-drop 1.0
  sparsec compile model.onnx -o out --random-plan 7 --keep 0.7      # no data: does removal work on this model?")]
pub(crate) struct CompileArgs {
    /// Model to compile.
    #[arg(value_name = "MODEL")]
    pub(crate) model: PathBuf,
    /// Folder for the model, plan, lock and report.
    #[arg(short, long, value_name = "OUT")]
    pub(crate) output: PathBuf,
    /// Built-in target or target file.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    pub(crate) target: String,
    /// Samples to calibrate with.
    #[arg(long, value_name = "SAMPLES", required_unless_present = "random_plan")]
    pub(crate) data: Option<PathBuf>,
    /// Labelled samples to measure the metric on.
    #[arg(long, value_name = "SAMPLES", requires = "metric")]
    pub(crate) eval: Option<PathBuf>,
    /// What to measure.
    #[arg(long, value_name = "METRIC")]
    pub(crate) metric: Option<Metric>,
    /// Policy file: what may be cut, and how far.
    #[arg(long, value_name = "FILE")]
    pub(crate) policy: Option<PathBuf>,
    /// Remove units drawn at random from this seed, without data.
    #[arg(long, value_name = "SEED", conflicts_with_all = ["data", "eval"])]
    pub(crate) random_plan: Option<u64>,
    /// Share of every group's units that a random plan keeps, e.g. `0.7`.
    #[arg(long, value_name = "SHARE", requires = "random_plan", value_parser = values::keep)]
    pub(crate) keep: Option<f64>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
    #[command(flatten)]
    pub(crate) samples: SampleArgs,
    #[command(flatten)]
    pub(crate) passes: PassArgs,
}
