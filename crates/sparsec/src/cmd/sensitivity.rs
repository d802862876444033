//! `sparsec sensitivity`: what the samples say of each group.

use crate::cli::Global;
use crate::cmd::model::{open, runtime};
use crate::cmd::samples::{SampleArgs, calibration};
use crate::error::CliError;
use crate::exit::Exit;
use crate::output;
use crate::table::Column::{Number, Text};
use crate::table::table;
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{Curves, GroupCurve, Samples, measure};
use sparsec_cost::Target;
use std::path::PathBuf;

/// Measure how the output degrades as each group of channels shrinks.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec sensitivity model.onnx --data calib.npz --scale 1/255 -o curves.json")]
pub(crate) struct SensitivityArgs {
    /// Model to analyse.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Samples to measure on.
    #[arg(long, value_name = "SAMPLES")]
    data: PathBuf,
    /// Built-in target or target file: it says which channel counts are worth a look.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    target: String,
    /// File for the curves.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    samples: SampleArgs,
}

#[derive(Serialize)]
struct Measured<'a> {
    output: String,
    groups: &'a [GroupCurve],
}

/// Runs the command.
pub(crate) fn run(args: &SensitivityArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let watch = Watch::new(talk);
    let target = Target::named_or_file(&args.target)?;
    let runtime = runtime(global)?;
    let (_, dense) = open(&args.model, global, &watch)?;
    let inputs = calibration(&args.samples.load(&args.data, &dense.model, talk)?)?;
    let samples = Samples { inputs: &inputs, threads: global.threads() };
    let curves = measure(&dense, runtime.as_ref(), &samples, &target, &watch)?;
    watch.clear();
    curves.warnings().iter().for_each(|w| talk.note(w));
    let mut json = serde_json::to_vec_pretty(&curves).map_err(|e| CliError::Stdout(e.into()))?;
    json.push(b'\n');
    output::file(&args.output, &json)?;
    let measured = Measured { output: args.output.display().to_string(), groups: &curves.groups };
    talk.result("sensitivity", &measured, &text(&curves)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// Error of every group at three shares, as far as the grid has them.
fn text(curves: &Curves) -> String {
    let row = |g: &GroupCurve| {
        let units = g.counts.last().copied().unwrap_or(0);
        let at = |share: f64| {
            let wanted = share * f64::from(units);
            let points = g.counts.iter().zip(&g.error);
            let near =
                points.min_by(|a, b| (f64::from(*a.0) - wanted).abs().total_cmp(&(f64::from(*b.0) - wanted).abs()));
            near.map_or(String::new(), |(k, e)| format!("{e:.2e} at {k}"))
        };
        vec![g.id.clone(), units.to_string(), at(0.75), at(0.5), at(0.25)]
    };
    let rows: Vec<Vec<String>> = curves.groups.iter().map(row).collect();
    table(&[Text("group"), Number("units"), Number("error at ¾"), Number("at ½"), Number("at ¼")], &rows)
}
