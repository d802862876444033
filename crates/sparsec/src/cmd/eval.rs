//! `sparsec eval`: what a model is worth on a labelled set.

use crate::cli::Global;
use crate::cmd::model::{load, runtime};
use crate::cmd::samples::SampleArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::infer::{RunOptions, first_output};
use crate::talk::Talk;
use clap::Args;
use serde::Serialize;
use sparsec_calib::metric::{Metric, Reference, evaluate};
use std::path::PathBuf;

/// Measure a model's accuracy on samples.
#[derive(Debug, Args)]
#[command(after_help = "\
Metrics: top1, top5, accuracy (per element, ignoring label -100), miou, auc: percent, against `label`
         agree (same top class), kl, cosine: against the outputs of --dense
         mse: against `label` where there is one, else against --dense

Examples:
  sparsec eval model.onnx --data val.npz --metric top1 --scale 1/255
  sparsec eval pruned.onnx --data val.npz --metric agree --dense model.onnx
  sparsec eval model.onnx --data imagenet/val --metric top5 --image resize=256,crop=224")]
pub(crate) struct EvalArgs {
    /// Model to evaluate; its first output counts.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Samples: an `.npz` whose arrays are named as the inputs (and `label`), an `.npy`, or a folder of such or of images.
    #[arg(long, value_name = "SAMPLES")]
    data: PathBuf,
    /// What to measure.
    #[arg(long, value_name = "METRIC")]
    metric: Metric,
    /// Model to compare with.
    #[arg(long, value_name = "MODEL")]
    dense: Option<PathBuf>,
    /// Samples a run, where the model leaves that open.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u64).range(1..))]
    batch: u64,
    #[command(flatten)]
    samples: SampleArgs,
}

#[derive(Serialize)]
struct Evaluation {
    metric: &'static str,
    value: f64,
    unit: Option<&'static str>,
    samples: u64,
    runtime: String,
}

/// Runs the command.
pub(crate) fn run(args: &EvalArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let runtime = runtime(global)?;
    let options = RunOptions { batch: args.batch, threads: global.threads() };
    let model = load(&args.model, talk)?.model;
    let data = args.samples.load(&args.data, &model, talk)?;
    let metric = args.metric;
    let dense = |path: &PathBuf| {
        let dense = load(path, talk)?.model;
        let data = args.samples.load(&args.data, &dense, talk)?;
        first_output(runtime.as_ref(), &dense, &data, options, talk)
    };
    let reference = match (metric.reference(), data.label(), &args.dense) {
        (Reference::Label | Reference::Either, Some(label), _) => label.clone(),
        (Reference::Dense | Reference::Either, _, Some(path)) => dense(path)?,
        (Reference::Dense | Reference::Either, _, None) => return Err(CliError::NoDense { metric }),
        (Reference::Label, None, _) => return Err(CliError::NoLabels { metric, data: args.data.clone() }),
    };
    let outputs = first_output(runtime.as_ref(), &model, &data, options, talk)?;
    let score = evaluate(metric, &outputs, &reference)?;
    let unit = if metric.is_percentage() { Some("percent") } else { None };
    let result =
        Evaluation { metric: metric.name(), value: score.value, unit, samples: score.samples, runtime: runtime.name() };
    let sign = if metric.is_percentage() { " %" } else { "" };
    let value = if metric.is_percentage() { format!("{:.2}", score.value) } else { format!("{:.6}", score.value) };
    let text = format!("{metric}  {value}{sign}  ({} samples, {})\n", score.samples, result.runtime);
    talk.result("eval", &result, &text).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}
