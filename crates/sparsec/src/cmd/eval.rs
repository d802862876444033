//! `sparsec eval`: what a model is worth on a labelled set.

use crate::cli::Global;
use crate::cmd::model::{load, runtime};
use crate::cmd::samples::SampleArgs;
use crate::cmd::scores::{Slice, compared, drop_unit, in_both, in_words, slices};
use crate::error::CliError;
use crate::exit::Exit;
use crate::infer::{RunOptions, first_output};
use crate::table::Column::{Number, Text};
use crate::table::{fitted, screen};
use crate::talk::Talk;
use clap::Args;
use serde::Serialize;
use sparsec_calib::metric::{ClassScore, Metric, Reference, Scored};
use sparsec_ir::Tensor;
use sparsec_report::Compared;
use std::path::PathBuf;

/// Measure a model's accuracy on samples.
#[derive(Debug, Args)]
#[command(after_help = "\
Metrics: top1, top5, accuracy (per element, ignoring label -100), miou, auc: percent, against `label`
         agree (same top class), kl, cosine: against the outputs of --dense
         mse: against `label` where there is one, else against --dense

With --dense and labels, the drop from the dense model is given with the interval that holds it with 95 % confidence
(paired bootstrap over the samples).

Examples:
  sparsec eval model.onnx --data val.npz --metric top1 --scale 1/255
  sparsec eval pruned.onnx --data val.npz --metric agree --dense model.onnx
  sparsec eval pruned.onnx --data val.npz --metric top1 --dense model.onnx --slice lighting --by-class
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
    /// Also measure by slice: the samples of each value of an array of the samples, which holds a number or a text for each.
    /// May be given several times.
    #[arg(long, value_name = "COLUMN")]
    slice: Vec<String>,
    /// Also measure by class.
    #[arg(long)]
    by_class: bool,
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
    /// Beside the dense model, where labels judge both.
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<Compared>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    slices: Vec<PartJson>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    classes: Vec<ClassJson>,
}

/// A slice, without a value where its samples give none.
#[derive(Serialize)]
struct PartJson {
    name: String,
    samples: u64,
    value: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<Compared>,
}

#[derive(Serialize)]
struct ClassJson {
    class: u32,
    elements: u64,
    value: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    dense: Option<f64>,
}

/// Runs the command.
pub(crate) fn run(args: &EvalArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let runtime = runtime(global)?;
    let options = RunOptions { batch: args.batch, threads: global.threads() };
    let model = load(&args.model, talk)?.model;
    let data = args.samples.load(&args.data, &model, &args.slice, talk)?;
    let metric = args.metric;
    let dense = |path: &PathBuf| -> Result<Tensor, CliError> {
        let dense = load(path, talk)?.model;
        let data = args.samples.load(&args.data, &dense, &args.slice, talk)?;
        first_output(runtime.as_ref(), &dense, &data, options, talk)
    };
    let dense = args.dense.as_ref().map(dense).transpose()?;
    let labelled = data.label().filter(|_| !matches!(metric.reference(), Reference::Dense));
    let reference = match (metric.reference(), labelled, &dense) {
        (_, Some(label), _) => label,
        (Reference::Dense | Reference::Either, None, Some(dense)) => dense,
        (Reference::Dense | Reference::Either, None, None) => return Err(CliError::NoDense { metric }),
        (Reference::Label, None, _) => return Err(CliError::NoLabels { metric, data: args.data.clone() }),
    };
    let outputs = first_output(runtime.as_ref(), &model, &data, options, talk)?;
    let scored = Scored::of(metric, &outputs, reference)?;
    let score = scored.score()?;
    // Against its own outputs the dense model would score nothing but the best.
    let before = dense.as_ref().filter(|_| labelled.is_some());
    let before = before.map(|dense| Scored::of(metric, dense, reference)).transpose()?;

    let slice = |s: Slice| {
        let own = scored.only(&s.samples);
        let dense = before.as_ref().and_then(|b| compared(&b.only(&s.samples), &own));
        let value = own.score().ok().map(|s| s.value);
        PartJson { name: s.name, samples: s.samples.len() as u64, value, dense }
    };
    let class = |c: &ClassScore, dense| ClassJson { class: c.class, elements: c.elements, value: c.value, dense };
    let classes = match &before {
        _ if !args.by_class => Vec::new(),
        None => scored.by_class().iter().map(|c| class(c, None)).collect(),
        Some(before) => in_both(before, &scored).iter().map(|(b, c)| class(c, Some(b.value))).collect(),
    };
    let result = Evaluation {
        metric: metric.name(),
        value: score.value,
        unit: metric.is_percentage().then_some("percent"),
        samples: score.samples,
        runtime: runtime.name(),
        dense: before.as_ref().and_then(|b| compared(b, &scored)),
        slices: slices(&data).into_iter().map(slice).collect(),
        classes,
    };
    talk.result("eval", &result, &text(metric, &result)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

fn text(metric: Metric, e: &Evaluation) -> String {
    let figure = |v: f64| if metric.is_percentage() { format!("{v:.2} %") } else { format!("{v:.6}") };
    let mut out = format!("{metric}  {}  ({} samples, {})\n", figure(e.value), e.samples, e.runtime);
    let beside = |c: &Compared| format!("dense {}: {}", figure(c.before), in_words(drop_unit(metric), c));
    out += &e.dense.as_ref().map_or(String::new(), |c| format!("{}\n", beside(c)));
    if !e.slices.is_empty() {
        let row = |p: &PartJson| {
            let value = p.value.map_or("no value".to_string(), figure);
            vec![p.name.clone(), p.samples.to_string(), value, p.dense.as_ref().map_or(String::new(), beside)]
        };
        let rows: Vec<Vec<String>> = e.slices.iter().map(row).collect();
        let columns = [Text("slice"), Number("samples"), Number(metric.name()), Text("")];
        out += &format!("\n{}", fitted(&columns, &rows, screen()));
    }
    if !e.classes.is_empty() {
        let change = |c: &ClassJson| c.dense.map_or(String::new(), |d| format!("{:+.2}", c.value - d));
        let row =
            |c: &ClassJson| vec![c.class.to_string(), c.elements.to_string(), format!("{:.2} %", c.value), change(c)];
        let rows: Vec<Vec<String>> = e.classes.iter().map(row).collect();
        let value = if metric == Metric::Miou { "IoU" } else { "right" };
        let beside = if e.classes.iter().any(|c| c.dense.is_some()) { "to dense" } else { "" };
        let columns = [Number("class"), Number("elements"), Number(value), Number(beside)];
        out += &format!("\n{}", fitted(&columns, &rows, screen()));
    }
    out
}
