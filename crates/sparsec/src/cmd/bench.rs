//! `sparsec bench`: time of models on this machine.

use crate::cli::Global;
use crate::cmd::model::{load, runtime};
use crate::cmd::samples::SampleArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::interrupt;
use crate::table::Column::{Number, Text};
use crate::table::{bytes, ms, table};
use crate::talk::Talk;
use crate::values;
use clap::Args;
use serde::Serialize;
use sparsec_ir::{ElemType, Model, Tensor, Type};
use sparsec_runtime::Session;
use sparsec_runtime::time::{BenchOptions, interleaved, peak_rss_bytes};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Time models on this machine, turn by turn, so that all meet the same conditions.
#[derive(Debug, Args)]
#[command(after_help = "\
Times are of one run on --threads threads (here: 1 by default). tract has one thread inside an operator.
Inputs are zeros, unless --data names samples. `peak_rss_bytes` is of this process, all models loaded.

Examples:
  sparsec bench model.onnx pruned.onnx
  sparsec bench model.onnx pruned.onnx --runtime ort=/usr/lib/python3/dist-packages/onnxruntime --threads 4
  sparsec bench model.onnx --data calib.npz --batch 8 --seconds 5")]
pub(crate) struct BenchArgs {
    /// Models to time.
    #[arg(value_name = "MODEL", required = true)]
    models: Vec<PathBuf>,
    /// Take inputs from these samples.
    #[arg(long, value_name = "SAMPLES")]
    data: Option<PathBuf>,
    /// Samples a run, where the models leave that open.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    batch: u64,
    /// Runs of each model to count at least.
    #[arg(long, value_name = "N", default_value = "30")]
    repeats: NonZeroUsize,
    /// Seconds after which no further run starts.
    #[arg(long, value_name = "S", default_value = "10", value_parser = values::seconds)]
    seconds: f64,
    #[command(flatten)]
    samples: SampleArgs,
}

#[derive(Serialize)]
struct Bench {
    runtime: String,
    threads: usize,
    runs: Vec<Run>,
}

#[derive(Serialize)]
struct Run {
    model: String,
    p50_ms: f64,
    p95_ms: f64,
    p99_ms: f64,
    min_ms: f64,
    mean_ms: f64,
    count: usize,
    /// Median time relative to the first model's.
    ratio: f64,
    peak_rss_bytes: Option<u64>,
}

/// Runs the command.
pub(crate) fn run(args: &BenchArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let runtime = runtime(global)?;
    let threads = global.threads.map_or(1, NonZeroUsize::get);
    let mut loaded: Vec<(Box<dyn Session>, Vec<Tensor>)> = Vec::new();
    for path in &args.models {
        let model = load(path, talk)?.model;
        let inputs = match &args.data {
            Some(path) => args.samples.first(path, &model, args.batch, talk)?,
            None => zeros(&model, args.batch)?,
        };
        let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
        loaded.push((runtime.load(&model, &shapes, threads)?, inputs));
    }
    let sessions: Vec<(&dyn Session, &[Tensor])> = loaded.iter().map(|(s, i)| (s.as_ref(), i.as_slice())).collect();
    let options = BenchOptions {
        repeats: args.repeats.get(),
        max_seconds: args.seconds,
        min_seconds: BenchOptions::default().min_seconds.min(args.seconds),
        ..BenchOptions::default()
    };
    let timings = interleaved(&sessions, options, &interrupt::requested)?;
    interrupt::check()?;
    let peak = peak_rss_bytes();
    let first = timings.first().map_or(f64::NAN, |t| t.p50_ms);
    let runs = args.models.iter().zip(&timings).map(|(path, t)| Run {
        model: path.display().to_string(),
        p50_ms: t.p50_ms,
        p95_ms: t.p95_ms,
        p99_ms: t.p99_ms,
        min_ms: t.min_ms,
        mean_ms: t.mean_ms,
        count: t.runs,
        ratio: t.p50_ms / first,
        peak_rss_bytes: peak,
    });
    let bench = Bench { runtime: runtime.name(), threads, runs: runs.collect() };
    let cells = |r: &Run| {
        let times = [r.p50_ms, r.p95_ms, r.p99_ms, r.min_ms].map(ms);
        std::iter::once(r.model.clone())
            .chain(times)
            .chain([r.count.to_string(), format!("{:.3}", r.ratio)])
            .collect::<Vec<_>>()
    };
    let rows: Vec<Vec<String>> = bench.runs.iter().map(cells).collect();
    let memory = peak.map_or(String::new(), |p| format!(", peak memory {}", bytes(p)));
    let text = format!(
        "{}{}, threads {threads}{memory}\n",
        table(
            &[
                Text("model"),
                Number("p50"),
                Number("p95"),
                Number("p99"),
                Number("min"),
                Number("runs"),
                Number("ratio")
            ],
            &rows
        ),
        bench.runtime
    );
    talk.result("bench", &bench, &text).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// Inputs of zeros: `batch` samples where the first size is open.
fn zeros(model: &Model, batch: u64) -> Result<Vec<Tensor>, CliError> {
    let graph = &model.graph;
    let one = |v| {
        let value = graph.value(v);
        let open = |ty: String| CliError::OpenInput { input: value.name.clone(), ty };
        let (elem, shape) = match &value.ty {
            Some(Type::Tensor { elem, shape: Some(shape) }) if *elem != ElemType::String => (*elem, shape),
            ty => return Err(open(ty.as_ref().map_or("unknown".to_string(), Type::to_string))),
        };
        let size = |(axis, d): (usize, &sparsec_ir::Dim)| match d.as_size() {
            Some(size) => Ok(size),
            None if axis == 0 => Ok(batch),
            None => Err(CliError::OpenSize { input: value.name.clone(), axis }),
        };
        let dims: Vec<u64> = shape.iter().enumerate().map(size).collect::<Result<_, _>>()?;
        let count = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d));
        let len = count.and_then(|n| elem.raw_len(n)).filter(|b| *b <= 4 << 30);
        let len = len.ok_or_else(|| open(format!("{elem}{dims:?}")))?;
        Tensor::raw(elem, dims, vec![0u8; len as usize].into()).map_err(|_| open(elem.to_string()))
    };
    graph.inputs().map(one).collect()
}
