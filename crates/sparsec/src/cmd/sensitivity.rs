//! `sparsec sensitivity`: what the samples say of each group.

use crate::cli::{ConcessionArgs, Global};
use crate::cmd::curves::{Measurement, measured};
use crate::cmd::model::{open, runtime};
use crate::cmd::samples::SampleArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::output;
use crate::record::LockedFile;
use crate::table::Column::{Number, Text};
use crate::table::{fitted, screen};
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{BranchCurve, Curves, GroupCurve, MaskCurves, MaskErrors, Metered, Prepared};
use sparsec_cost::Target;
use sparsec_plan::Pattern;
use std::path::PathBuf;

/// Measure how the output degrades as each group of channels shrinks.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec sensitivity model.onnx --data calib.npz --scale 1/255 --mask 4x1 -o curves.json")]
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
    /// Also measure what zeros cost: curves of every weight that a pattern fits, such as `4x1` or `2:4`.
    #[arg(long, value_name = "PATTERN")]
    mask: Option<Pattern>,
    /// File for the curves.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    samples: SampleArgs,
    #[command(flatten)]
    concessions: ConcessionArgs,
}

#[derive(Serialize)]
struct Measured<'a> {
    output: String,
    /// Samples that were used.
    samples: u64,
    /// Forward passes over all samples that measuring took; runs of a part of the model count by their MACs.
    passes: f64,
    groups: &'a [GroupCurve],
    branches: &'a [BranchCurve],
    #[serde(skip_serializing_if = "Option::is_none")]
    masks: Option<&'a MaskCurves>,
}

/// Runs the command.
pub(crate) fn run(args: &SensitivityArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    output::expect_file(&args.output)?;
    let watch = Watch::new(talk);
    let target = Target::named_or_file(&args.target)?;
    let runtime = runtime(global)?;
    let (source, dense) = open(&args.model, &args.concessions.concessions(), global, &watch)?;
    let samples = args.samples.calibration(&args.data, &dense.model, (runtime.as_ref(), global.threads()), talk)?;
    let models = LockedFile::inputs(&args.model, &source.model, global)?;
    let metered = Metered::new(runtime.as_ref());
    let what = Measurement {
        dense: &dense,
        models: &models,
        rewrite_limit: None,
        runtime: &metered,
        samples: &samples,
        target: &target,
        masks: args.mask,
    };
    let partial = args.output.file_name().unwrap_or_default().to_string_lossy();
    let partial = args.output.with_file_name(format!(".{partial}.partial"));
    let curves = measured(&what, &partial, &watch)?;
    watch.clear();
    curves.warnings().iter().for_each(|w| talk.note(w));
    let mut json = serde_json::to_vec_pretty(&curves).map_err(|e| CliError::Stdout(e.into()))?;
    json.push(b'\n');
    output::file(&args.output, &json)?;
    // Its contents are in the output now. That it cannot be removed changes nothing.
    let _ = std::fs::remove_file(&partial);
    let measured = Measured {
        output: args.output.display().to_string(),
        samples: samples.used(),
        passes: metered.passes(&dense.model, &samples),
        groups: &curves.groups,
        branches: &curves.branches,
        masks: curves.masks.as_ref(),
    };
    talk.result("sensitivity", &measured, &text(&curves, &dense, &measured)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// Shares of a group's units that are shown.
const SHARES: [f64; 3] = [0.75, 0.5, 0.25];

/// Error of every group at three shares, as far as the grid has them: a count stands where it is nearest to, once.
fn text(curves: &Curves, dense: &Prepared, measured: &Measured) -> String {
    let names = Names::of(&dense.model.graph);
    let row = |(c, g): (&GroupCurve, &sparsec_analysis::Group)| {
        let units = f64::from(c.counts.last().copied().unwrap_or(1));
        let away = |share: f64, k: u32| (f64::from(k) / units - share).abs();
        let at = |share: f64| {
            let cut = c.counts.iter().zip(&c.error).filter(|(k, _)| f64::from(**k) < units);
            let near = cut.min_by(|a, b| away(share, *a.0).total_cmp(&away(share, *b.0)));
            let nearest = |k: u32| SHARES.into_iter().min_by(|a, b| away(*a, k).total_cmp(&away(*b, k)));
            let here = near.filter(|(k, _)| nearest(**k) == Some(share));
            here.map_or(String::new(), |(k, e)| format!("{e:.2e} at {k}"))
        };
        let mut cells = vec![names.title(dense, g), c.id.clone(), units.to_string()];
        cells.extend(SHARES.map(at));
        cells
    };
    let rows: Vec<Vec<String>> = curves.groups.iter().zip(&dense.channels.groups).map(row).collect();
    let columns =
        [Text("group"), Text("id"), Number("units"), Number("error at ¾"), Number("error at ½"), Number("error at ¼")];
    let mut out = fitted(&columns, &rows, screen());
    let row = |(c, b): (&BranchCurve, &sparsec_analysis::Branch)| {
        vec![names.branch(&dense.model.graph, b), c.id.clone(), format!("{:.2e}", c.error)]
    };
    let rows: Vec<Vec<String>> = curves.branches.iter().zip(&dense.channels.branches).map(row).collect();
    if !rows.is_empty() {
        out += &format!("\n{}", fitted(&[Text("branch"), Text("id"), Number("error without it")], &rows, screen()));
    }
    if let Some(masks) = &curves.masks {
        out += &format!("\n{}", weights(masks, dense, &names));
    }
    let Measured { passes, samples, output, .. } = measured;
    format!("{out}\nmeasuring took {passes:.1} forward passes over {samples} samples\n\n{output}\n")
}

/// Error of every weight at three shares that stay, or at that of the pattern; or why it cannot be masked.
fn weights(masks: &MaskCurves, dense: &Prepared, names: &Names) -> String {
    let graph = &dense.model.graph;
    // Under N of M there is one share.
    let (shares, heads) = match masks.pattern.share() {
        Some(share) => (vec![share], vec![Number("error")]),
        None => (SHARES.to_vec(), vec![Number("error at ¾"), Number("error at ½"), Number("error at ¼")]),
    };
    let row = |w: &MaskErrors| {
        let parts = f64::from(w.counts.last().copied().unwrap_or(1));
        let at = |share: &f64| {
            let found = w.counts.iter().position(|k| f64::from(*k) == (share * parts).round());
            found.map_or(String::new(), |at| format!("{:.2e}", w.error[at]))
        };
        let mut cells = vec![masks.reader(&dense.model, w).map_or(String::new(), |n| names.node(graph, n))];
        cells.push(w.weight.clone());
        cells.extend(shares.iter().map(at));
        cells.push(w.why.clone().unwrap_or_default());
        cells
    };
    let rows: Vec<Vec<String>> = masks.weights.iter().map(row).collect();
    let columns = [&[Text("layer"), Text("weight")][..], &heads, &[Text("stays whole because")]].concat();
    let footing = masks.footing;
    format!(
        "{}masks {}; after recovery, half of the MACs costs {:.2} of the sum of errors by channels, {:.2} by masks\n",
        fitted(&columns, &rows, screen()),
        masks.pattern,
        footing.channels,
        footing.masks
    )
}
