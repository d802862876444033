//! `sparsec estimate`: what a model costs on a target.

use crate::cli::Global;
use crate::cmd::model::{folded, open};
use crate::cmd::sizes::SizeArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::table::Column::{Number, Text};
use crate::table::{bytes, count, fitted, ms, screen};
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::Concessions;
use sparsec_cost::{Estimate, NodeCost, Target, estimate};
use sparsec_report::Side;
use std::path::PathBuf;

/// Estimate latency, memory and energy on a target, kernel by kernel, without running the model.
#[derive(Debug, Args)]
#[command(after_help = "\
Estimated is the canonical graph: constants folded, normalisations merged into the layers before them.

Examples:
  sparsec estimate model.onnx
  sparsec estimate model.onnx --target my-board.yaml --batch 8 --json
  sparsec estimate decoder.onnx --target generic-arm --dim sequence=128")]
pub(crate) struct EstimateArgs {
    /// Model to estimate.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// Built-in target or target file.
    #[arg(long, value_name = "TARGET", default_value = "generic-x86")]
    target: String,
    #[command(flatten)]
    sizes: SizeArgs,
}

/// The JSON form of an estimate: a side of a report, and what it is an estimate of.
#[derive(Debug, Serialize)]
pub(crate) struct EstimateJson {
    pub(crate) target: String,
    pub(crate) calibrated: bool,
    #[serde(flatten)]
    pub(crate) side: Side,
    pub(crate) notes: Vec<String>,
}

impl From<&Estimate> for EstimateJson {
    fn from(e: &Estimate) -> Self {
        Self { target: e.target.clone(), calibrated: e.calibrated, side: e.into(), notes: e.notes.clone() }
    }
}

/// Runs the command.
pub(crate) fn run(args: &EstimateArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let target = Target::named_or_file(&args.target)?;
    let (source, dense) = open(&args.model, &Concessions::default(), global, &Watch::new(talk))?;
    let facts = args.sizes.facts(&dense)?;
    let mut e = estimate(&dense.model, &facts, &dense.table, &target);
    let names = Names::of(&dense.model.graph);
    names.relabel(&dense.model.graph, &mut e);
    e.notes.extend(names.uncounted(&dense, &facts));
    e.notes.extend(folded(&source.model, &dense));
    talk.result("estimate", &EstimateJson::from(&e), &text(&e)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

fn text(e: &Estimate) -> String {
    let kernels = e.nodes.iter().filter(|n| n.fused_into.is_none() && n.latency_ms.mid > 0.0);
    let share = |n: &NodeCost| format!("{:.1} %", 100.0 * n.latency_ms.mid / e.latency_ms.mid.max(f64::MIN_POSITIVE));
    let row = |n: &NodeCost| {
        let traffic = n.read_bytes.saturating_add(n.write_bytes).saturating_add(n.weight_bytes);
        vec![n.label.clone(), n.kernel.clone(), count(n.macs), bytes(traffic), ms(n.latency_ms.mid), share(n)]
    };
    let rows: Vec<Vec<String>> = kernels.map(row).collect();
    let (l, m) = (&e.latency_ms, &e.memory);
    let columns = [Text("node"), Text("kernel"), Number("MACs"), Number("bytes"), Number("time"), Number("share")];
    let mut out = fitted(&columns, &rows, screen());
    out += &format!("\n{}\n", e.target);
    out += &format!("  latency     {} ({} to {})\n", ms(l.mid), ms(l.low), ms(l.high));
    out += &format!(
        "  memory      {} = {} weights + {} activations (no less than {} live at once)\n",
        bytes(m.peak),
        bytes(m.weights),
        bytes(m.activations),
        bytes(m.lower_bound)
    );
    out += &format!("  energy      {:.3} mJ\n", e.energy_mj);
    out += &format!("  MACs        {}\n  parameters  {}\n", count(e.macs), count(e.params));
    for note in &e.notes {
        out += &format!("  note: {note}\n");
    }
    out
}
