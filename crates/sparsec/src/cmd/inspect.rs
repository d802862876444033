//! `sparsec inspect`: what a model is made of and what can be cut.

use crate::cli::Global;
use crate::cmd::model::open;
use crate::error::CliError;
use crate::exit::Exit;
use crate::table::Column::{Number, Text};
use crate::table::{count, table};
use crate::talk::Talk;
use crate::values;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive;
use sparsec_analysis::{AxisOwner, Channels, infer};
use sparsec_ir::{Graph, Reason, Type};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Instant;

/// Show what a model is made of, which channels leave together, and what is frozen and why.
#[derive(Debug, Args)]
#[command(after_help = "\
Shown is the canonical graph: constants folded, normalisations merged into the layers before them.

Examples:
  sparsec inspect model.onnx
  sparsec inspect model.onnx --groups")]
pub(crate) struct InspectArgs {
    /// Model to look at.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// List every group with its axes.
    #[arg(long)]
    groups: bool,
    /// Do the analysis once more and tell how long it takes.
    #[arg(long)]
    times: bool,
    /// Size of the inputs' first axis, where the model leaves it open.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=1 << 16))]
    batch: u64,
    /// Size of another axis that the model leaves open, by the name it has there; may be given several times.
    #[arg(long, value_name = "NAME=N", value_parser = values::dim)]
    dim: Vec<(String, u64)>,
}

#[derive(Serialize)]
struct Inspection {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Of the canonical graph, as all that follows.
    operators: BTreeMap<String, u64>,
    nodes_in_file: u64,
    params: u64,
    params_prunable: u64,
    /// Of one batch; null where sizes are open.
    macs: Option<u64>,
    /// Those of which a factor or the sum can leave.
    macs_prunable: Option<u64>,
    /// Indices of axes that the analysis speaks of.
    slots: u64,
    /// Time of shapes and channels, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_ms: Option<f64>,
    groups: Vec<Group>,
    frozen: Vec<Frozen>,
}

#[derive(Serialize)]
struct Port {
    name: String,
    #[serde(rename = "type")]
    ty: String,
}

#[derive(Serialize)]
struct Group {
    id: String,
    units: u64,
    axes: Vec<String>,
    params: u64,
}

#[derive(Serialize)]
struct Frozen {
    value: String,
    axis: u32,
    slots: u32,
    params: u64,
    reason: String,
    /// The node that stated it.
    node: Option<String>,
    /// Whether it is an axis of a kernel, of which models have more than anyone reads.
    #[serde(skip)]
    window: bool,
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let (source, dense) = open(&args.model, global, &Watch::new(talk))?;
    let (graph, channels) = (&dense.model.graph, &dense.channels);
    let macs = dense.sizes(args.batch, &args.dim.iter().cloned().collect()).ok();
    let macs = macs.map(|sizes| drive::macs(&dense, &dense.bind(&sizes)));
    let analysis_ms = args.times.then(|| {
        let start = Instant::now();
        let facts = infer(&dense.model, &dense.table).facts;
        let _ = sparsec_analysis::channels(&dense.model, &facts, &dense.table);
        1e3 * start.elapsed().as_secs_f64()
    });
    let mut operators = BTreeMap::new();
    for (_, n) in graph.nodes() {
        *operators.entry(n.op_name()).or_default() += 1;
    }
    let port = |v| {
        let value = graph.value(v);
        Port { name: value.name.clone(), ty: value.ty.as_ref().map_or("unknown".to_string(), Type::to_string) }
    };
    let inspection = Inspection {
        inputs: graph.inputs().map(port).collect(),
        outputs: graph.outputs().iter().copied().map(port).collect(),
        operators,
        nodes_in_file: source.model.graph.nodes().count() as u64,
        params: channels.params.0,
        params_prunable: channels.params.1,
        macs: macs.map(|m| m.0),
        macs_prunable: macs.map(|m| m.1),
        slots: u64::from(channels.axes.slot_count()),
        analysis_ms,
        groups: groups(channels, graph),
        frozen: frozen(channels, graph),
    };
    talk.result("inspect", &inspection, &text(&inspection, args.groups)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

fn groups(channels: &Channels, graph: &Graph) -> Vec<Group> {
    let group = |g: &sparsec_analysis::Group| Group {
        id: g.id.clone(),
        units: g.units.len() as u64,
        axes: g.axes.iter().map(|(axis, _)| channels.axes.label(graph, *axis)).collect(),
        params: g.params,
    };
    channels.groups.iter().map(group).collect()
}

fn frozen(channels: &Channels, graph: &Graph) -> Vec<Frozen> {
    let one = |f: &sparsec_analysis::FrozenAxis| match channels.axes.owner(f.axis) {
        AxisOwner::Value(v, axis) => Some(Frozen {
            value: graph.value(v).name.clone(),
            axis,
            slots: f.slots,
            params: f.params,
            reason: f.freeze.reason.to_string(),
            node: f.freeze.node.map(|n| graph.label(n)),
            window: f.freeze.reason == Reason::Window,
        }),
        AxisOwner::Virtual(_) | AxisOwner::Digit => None,
    };
    channels.frozen.iter().filter_map(one).collect()
}

fn text(i: &Inspection, all: bool) -> String {
    let mut out = String::new();
    for (what, ports) in [("input", &i.inputs), ("output", &i.outputs)] {
        for p in ports {
            out += &format!("{what:<12}{}  {}\n", p.name, p.ty);
        }
    }
    let operators: Vec<String> = i.operators.iter().map(|(op, n)| format!("{n} {op}")).collect();
    let percent = 100.0 * i.params_prunable as f64 / i.params.max(1) as f64;
    out += &format!("operators   {}\n", operators.join(", "));
    out += &format!("            (of the canonical graph; the file has {} nodes)\n", i.nodes_in_file);
    out +=
        &format!("parameters  {}, of which {} ({percent:.1} %) can leave\n", count(i.params), count(i.params_prunable));
    let macs = match (i.macs, i.macs_prunable) {
        (Some(all), Some(can)) => {
            let percent = 100.0 * can as f64 / all.max(1) as f64;
            format!("{}, of which {} ({percent:.1} %) can leave", count(all), count(can))
        }
        _ => "sizes are open".to_string(),
    };
    out += &format!("MACs        {macs}\n");
    if let Some(ms) = i.analysis_ms {
        out += &format!("analysis    {} slots in {ms:.1} ms\n", count(i.slots));
    }
    out += &format!("groups      {}\n", i.groups.len());
    if all && !i.groups.is_empty() {
        let row = |g: &Group| vec![g.id.clone(), g.units.to_string(), count(g.params), g.axes.join(" ")];
        let rows: Vec<Vec<String>> = i.groups.iter().map(row).collect();
        out += &format!("\n{}", table(&[Text("group"), Number("units"), Number("parameters"), Text("axes")], &rows));
    }
    let (windows, mut others): (Vec<&Frozen>, Vec<&Frozen>) = i.frozen.iter().partition(|f| f.window);
    if !others.is_empty() {
        others.sort_by_key(|f| std::cmp::Reverse(f.params));
        let row = |f: &&Frozen| {
            let why = f.node.as_ref().map_or(f.reason.clone(), |n| format!("{} ({n})", f.reason));
            vec![format!("{}:{}", f.value, f.axis), f.slots.to_string(), count(f.params), why]
        };
        let rows: Vec<Vec<String>> = others.iter().map(row).collect();
        out += &format!(
            "\n{}",
            table(&[Text("frozen axis"), Number("slots"), Number("parameters"), Text("reason")], &rows)
        );
    }
    if !windows.is_empty() {
        let axes = if windows.len() == 1 { "axis" } else { "axes" };
        out += &format!("\n{} kernel {axes}: {}\n", windows.len(), Reason::Window);
    }
    out
}
