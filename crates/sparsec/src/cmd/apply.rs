//! `sparsec apply`: carry out a plan.

use crate::cli::{Global, PassArgs};
use crate::cmd::model::{open_with, read, runtime, sha256, sha256_of, stamp};
use crate::cmd::samples::SampleArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::output;
use crate::table::{bytes, count, plural};
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{DriveError, cut, cut_and_recover};
use sparsec_cost::params;
use sparsec_plan::Plan;
use std::path::{Path, PathBuf};

/// Carry out a plan: remove channels and, where samples are given, re-solve the weights that are left.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  sparsec apply model.onnx --plan out/plan.yaml -o pruned.onnx
  sparsec apply model.onnx --plan out/plan.yaml -o pruned.onnx --data calib.npz --scale 1/255")]
pub(crate) struct ApplyArgs {
    /// Model that the plan was made for.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Plan.
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// File for the smaller model.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Samples to re-solve weights with.
    #[arg(long, value_name = "SAMPLES")]
    data: Option<PathBuf>,
    #[command(flatten)]
    samples: SampleArgs,
    #[command(flatten)]
    passes: PassArgs,
}

#[derive(Serialize)]
struct Applied {
    output: String,
    plan_sha256: String,
    groups: usize,
    /// Weights that were masked.
    masks: usize,
    /// Branches that were dropped, in words.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dropped: Vec<String>,
    params_before: u64,
    params_after: u64,
    file_bytes: u64,
    /// Samples that were used.
    samples: u64,
    /// Nodes whose weights were re-solved.
    recovered: usize,
}

/// Runs the command.
pub(crate) fn run(args: &ApplyArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    output::expect_file(&args.output)?;
    let watch = Watch::new(talk);
    let (plan, plan_sha256) = read_plan(&args.plan, &args.model)?;
    let (source, dense) = open_with(&args.model, (&args.passes, &plan.concessions), global, &watch)?;
    let removal = plan.removal(&dense.channels).map_err(DriveError::from)?;
    let mut used = 0;
    let mut out = match &args.data {
        None => cut(&dense, &removal, &plan.masks)?,
        Some(path) => {
            let runtime = runtime(global)?;
            let samples = args.samples.calibration(path, &dense.model, (runtime.as_ref(), global.threads()), talk)?;
            used = samples.used();
            cut_and_recover(&dense, &removal, &plan.masks, runtime.as_ref(), &samples, &watch)?
        }
    };
    watch.clear();
    if args.data.is_none() && !plan.masks.is_empty() {
        talk.note("masked weights lose most where the others are not re-solved: pass `--data`");
    }
    for r in &out.recovered {
        if let Err(why) = &r.outcome {
            talk.note(&format!("the weights of `{}` were not re-solved: {why}", r.node));
        }
    }
    stamp(&mut out.model, &plan.concessions, &plan_sha256);
    sparsec_onnx::save(&out.model, &args.output, sparsec_onnx::Weights::AsLoaded)?;
    let metadata = std::fs::metadata(&args.output);
    let file_bytes = metadata.map_err(|source| CliError::Read { path: args.output.clone(), source })?.len();
    let applied = Applied {
        output: args.output.display().to_string(),
        plan_sha256,
        groups: plan.groups.len(),
        masks: out.masks.len(),
        dropped: Names::of(&dense.model.graph).dropped(&dense, &removal),
        params_before: params(&source.model),
        params_after: params(&out.model),
        file_bytes,
        samples: used,
        recovered: out.recovered.iter().filter(|r| r.outcome.is_ok()).count(),
    };
    let mut text = format!(
        "{}: {} cut, {} of {} parameters left, {}, weights of {} re-solved\n",
        applied.output,
        plural(applied.groups, "group", "groups"),
        count(applied.params_after),
        count(applied.params_before),
        bytes(file_bytes),
        plural(applied.recovered, "node", "nodes")
    );
    if applied.masks > 0 {
        text += &format!("{} masked\n", plural(applied.masks, "weight", "weights"));
    }
    applied.dropped.iter().for_each(|line| text += &format!("{line}\n"));
    talk.result("apply", &applied, &text).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// Reads a plan and its SHA-256; refuses one that names another model.
pub(crate) fn read_plan(path: &Path, model: &Path) -> Result<(Plan, String), CliError> {
    let text = read(path)?;
    let plan = Plan::parse(&text).map_err(DriveError::from)?;
    let Some(planned) = &plan.model_sha256 else { return Ok((plan, sha256(text.as_bytes()))) };
    match sha256_of(model)? {
        found if *planned != found => Err(CliError::OtherModel {
            plan: path.to_path_buf(),
            planned: planned.clone(),
            model: model.to_path_buf(),
            found,
        }),
        _ => Ok((plan, sha256(text.as_bytes()))),
    }
}
