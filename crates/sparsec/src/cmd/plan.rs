//! `sparsec plan`: how many units each group keeps.

use crate::cli::Global;
use crate::cmd::limits::{LimitArgs, resolve};
use crate::cmd::model::{open, read, sha256_of};
use crate::cmd::sizes::SizeArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::output;
use crate::table::Column::{Number, Text};
use crate::table::{bytes, count, ms, plural, table};
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{Curves, Decision, DriveError, MaskCurves, Prepared, Pricing, decide};
use sparsec_cost::Target;
use sparsec_plan::{Evaluate, LimitKind, MaskPlan, Pattern, Price};
use std::path::{Path, PathBuf};

/// Decide how many channels each group keeps.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec plan model.onnx --curves curves.json --target generic-x86 --max-latency 60% -o plan.yaml")]
pub(crate) struct PlanArgs {
    /// Model to plan for.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Curves, as `sparsec sensitivity` writes them.
    #[arg(long, value_name = "FILE")]
    curves: PathBuf,
    /// Built-in target or target file.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    target: String,
    /// Plan masks together with channels: the curves must have been measured with the same `--mask`. A limit on
    /// multiply-accumulates then counts those that are not by zero.
    #[arg(long, value_name = "PATTERN")]
    mask: Option<Pattern>,
    #[command(flatten)]
    sizes: SizeArgs,
    /// File for the plan.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    #[command(flatten)]
    limits: LimitArgs,
}

#[derive(Serialize)]
struct Planned {
    output: String,
    before: Figures,
    after: Figures,
    /// Limits that do not hold.
    unmet: Vec<&'static str>,
    /// Weights that are to be partly zero. With curves of masks, multiply-accumulates are those that are not by zero.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    masks: Vec<MaskPlan>,
}

#[derive(Serialize)]
struct Figures {
    latency_ms: f64,
    memory_bytes: f64,
    macs: f64,
    params: f64,
    file_bytes: f64,
}

impl From<&Price> for Figures {
    fn from(p: &Price) -> Self {
        Self { latency_ms: p.latency_ms, memory_bytes: p.memory, macs: p.macs, params: p.params, file_bytes: p.size }
    }
}

/// Runs the command.
pub(crate) fn run(args: &PlanArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    output::expect_file(&args.output)?;
    let watch = Watch::new(talk);
    let target = Target::named_or_file(&args.target)?;
    let mut curves = read_curves(&args.curves)?;
    curves.masks = masks_of(curves.masks.take(), args)?;
    let (source, dense) = open(&args.model, &curves.concessions, global, &watch)?;
    curves.check(&dense)?;
    curves.warnings().iter().for_each(|w| talk.note(w));
    let facts = args.sizes.facts(&dense)?;
    let mut pricing = Pricing::new(&dense, facts, &target, curves.orders(), source.stored_bytes(), &watch);
    if let Some(masks) = &curves.masks {
        pricing = pricing.with_masks(masks);
    }
    let full = pricing.whole();
    let limits = resolve(&args.limits, &pricing.price(&full));
    if limits.is_empty() {
        return Err(CliError::NoLimit);
    }
    let mut decision = decide(&dense, &curves, &pricing, &limits)?;
    decision.plan.model_sha256 = Some(sha256_of(&args.model)?);
    Names::of(&dense.model.graph).annotate(&dense, &mut decision.plan);
    decision.plan.target = Some(target.name.clone());
    output::file(&args.output, decision.plan.to_yaml().map_err(DriveError::from)?.as_bytes())?;
    let planned = Planned {
        output: args.output.display().to_string(),
        before: (&decision.before).into(),
        after: (&decision.after).into(),
        unmet: decision.unmet.iter().map(|k| k.name()).collect(),
        masks: decision.plan.masks.clone(),
    };
    talk.result("plan", &planned, &text(&decision, &full, &dense, &curves)).map_err(CliError::Stdout)?;
    if planned.unmet.is_empty() { Ok(Exit::Done) } else { Err(CliError::Unmet { kinds: planned.unmet }) }
}

/// Reads a file of curves.
fn read_curves(path: &Path) -> Result<Curves, CliError> {
    let broken = |source| CliError::NoCurves { path: path.to_path_buf(), source };
    let curves: Curves = serde_json::from_str(&read(path)?).map_err(broken)?;
    if curves.schema != Curves::SCHEMA {
        return Err(CliError::CurveForm { path: path.to_path_buf(), found: curves.schema });
    }
    Ok(curves)
}

/// The curves of masks that are asked for.
fn masks_of(found: Option<MaskCurves>, args: &PlanArgs) -> Result<Option<MaskCurves>, CliError> {
    let Some(pattern) = args.mask else { return Ok(None) };
    let fits = found.filter(|m| m.pattern == pattern);
    fits.map(Some).ok_or_else(|| CliError::NoMaskCurves { path: args.curves.clone(), pattern })
}

fn text(d: &Decision, full: &[u32], dense: &Prepared, curves: &Curves) -> String {
    let (groups, branches) = (dense.channels.groups.len(), dense.channels.branches.len());
    let figure = |kind: LimitKind, v: f64| match kind {
        LimitKind::Latency => ms(v),
        LimitKind::Memory | LimitKind::Size => bytes(v.round() as u64),
        LimitKind::Macs | LimitKind::Params => count(v.round() as u64),
    };
    let row = |kind: LimitKind| {
        let (before, after) = (kind.of(&d.before), kind.of(&d.after));
        let share = format!("{:.1} %", 100.0 * after / before.max(f64::MIN_POSITIVE));
        let name = match kind {
            LimitKind::Macs if curves.masks.is_some() => "macs, not by zero",
            _ => kind.name(),
        };
        vec![name.to_string(), figure(kind, before), figure(kind, after), share]
    };
    let kinds = [LimitKind::Latency, LimitKind::Memory, LimitKind::Macs, LimitKind::Params, LimitKind::Size];
    let rows: Vec<Vec<String>> = kinds.into_iter().map(row).collect();
    let kept: u32 = d.keep.iter().take(groups).sum();
    let cut = d.keep.iter().zip(full).take(groups).filter(|(a, b)| a < b).count();
    let mut out = format!(
        "{}\n{cut} of {} cut, {kept} of {} kept\n",
        table(&[Text(""), Number("before"), Number("after"), Number("share")], &rows),
        plural(groups, "group", "groups"),
        plural(full.iter().take(groups).sum::<u32>() as usize, "unit", "units")
    );
    if branches > 0 {
        out += &format!("{} of {} dropped\n", d.removal.dropped().len(), plural(branches, "branch", "branches"));
    }
    if let Some(masks) = &curves.masks {
        let weights = plural(masks.weights.len(), "weight", "weights");
        out += &format!("{} of {weights} masked {}; zeros save no time or memory\n", d.plan.masks.len(), masks.pattern);
    }
    out
}
