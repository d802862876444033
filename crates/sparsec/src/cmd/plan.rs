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
use sparsec::drive::{Curves, Decision, DriveError, Pricing, decide};
use sparsec_cost::Target;
use sparsec_plan::{Evaluate, LimitKind, Price};
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
    let curves = read_curves(&args.curves)?;
    let (source, dense) = open(&args.model, &curves.concessions, global, &watch)?;
    curves.check(&dense)?;
    curves.warnings().iter().for_each(|w| talk.note(w));
    let facts = args.sizes.facts(&dense)?;
    let pricing = Pricing::new(&dense, facts, &target, curves.orders(), source.stored_bytes(), &watch);
    let full = dense.whole();
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
    };
    talk.result("plan", &planned, &text(&decision, (&full, dense.channels.groups.len()))).map_err(CliError::Stdout)?;
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

fn text(d: &Decision, (full, groups): (&[u32], usize)) -> String {
    let figure = |kind: LimitKind, v: f64| match kind {
        LimitKind::Latency => ms(v),
        LimitKind::Memory | LimitKind::Size => bytes(v.round() as u64),
        LimitKind::Macs | LimitKind::Params => count(v.round() as u64),
    };
    let row = |kind: LimitKind| {
        let (before, after) = (kind.of(&d.before), kind.of(&d.after));
        let share = format!("{:.1} %", 100.0 * after / before.max(f64::MIN_POSITIVE));
        vec![kind.name().to_string(), figure(kind, before), figure(kind, after), share]
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
    if full.len() > groups {
        let branches = plural(full.len() - groups, "branch", "branches");
        out += &format!("{} of {branches} dropped\n", d.removal.dropped().len());
    }
    out
}
