//! `sparsec inspect`: what a model is made of and what can be cut.

use crate::cli::{ConcessionArgs, Global};
use crate::cmd::model::open;
use crate::cmd::sizes::SizeArgs;
use crate::error::CliError;
use crate::exit::Exit;
use crate::held_back::{HeldBack, held_back, nothing_to_cut};
use crate::names::Names;
use crate::remedy::Remedies;
use crate::table::Column::{Number, Text};
use crate::table::{count, fitted, lines, plural, screen};
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::{Original, Prepared, macs, macs_of_branch, macs_on};
use sparsec_analysis::{AxisOwner, Channels, infer};
use sparsec_cost::params;
use sparsec_ir::{Facts, Graph, Type};
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
    /// List every group with the layers that make its units and those that read them, and every branch that can be dropped whole; --json has all axes.
    #[arg(long)]
    groups: bool,
    /// Do the analysis once more and tell how long it takes.
    #[arg(long)]
    times: bool,
    #[command(flatten)]
    sizes: SizeArgs,
    #[command(flatten)]
    concessions: ConcessionArgs,
}

#[derive(Serialize)]
struct Inspection {
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Of the canonical graph, as all that follows.
    operators: BTreeMap<String, u64>,
    nodes_in_file: u64,
    params_in_file: u64,
    /// What was given up of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    given_up: Vec<String>,
    params: u64,
    params_prunable: u64,
    /// Of one batch; null where sizes are open.
    macs: Option<u64>,
    /// Those of which a factor or the sum can leave.
    macs_prunable: Option<u64>,
    /// What they leave out.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    uncounted: Vec<String>,
    /// Why nothing can be cut, where that is so.
    #[serde(skip_serializing_if = "Option::is_none")]
    nothing: Option<String>,
    /// Indices of axes that the analysis speaks of.
    slots: u64,
    /// Time of shapes and channels, where it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    analysis_ms: Option<f64>,
    groups: Vec<Group>,
    /// Terms of sums that can be dropped whole.
    branches: Vec<Branch>,
    /// Axes of constants with slots that can never leave.
    frozen: Vec<Frozen>,
    /// The same by reason and node, the dearest first.
    held_back: Vec<HeldBack>,
    /// The same for people, who need not read of every layer of a kind.
    #[serde(skip)]
    held_back_text: Vec<HeldBack>,
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
    /// The layers that make its units.
    title: String,
    units: u64,
    axes: Vec<String>,
    /// The layers that read them.
    readers: String,
    /// Weight elements that sit in a slot of the group.
    params: u64,
    /// Multiply-accumulates that go through a slot of the group; null where sizes are open.
    macs: Option<u64>,
}

#[derive(Serialize)]
struct Branch {
    id: String,
    /// What it is called: the first layers in it.
    title: String,
    /// The layers that go with it.
    layers: Vec<String>,
    /// The node that adds it.
    sum: String,
    nodes: u64,
    /// Weight elements that only it reads.
    params: u64,
    /// Multiply-accumulates that go with it; null where sizes are open.
    macs: Option<u64>,
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
}

/// Runs the command.
pub(crate) fn run(args: &InspectArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let (source, dense) = open(&args.model, &args.concessions.concessions(), global, &Watch::new(talk))?;
    let (graph, channels) = (&dense.model.graph, &dense.channels);
    let names = Names::of(graph);
    let mut bound = args.sizes.facts(&dense).ok();
    let macs = bound.as_ref().map(|facts| macs(&dense, facts));
    let remedies = Remedies::of(&dense);
    let held = |most| held_back(&dense, (&names, &remedies), bound.as_ref(), most);
    let (held_back, held_back_text) = (held(usize::MAX), held(MANY));
    let analysis_ms = args.times.then(|| {
        let start = Instant::now();
        let facts = infer(&dense.model, &dense.table).facts;
        let _ = sparsec_analysis::channels_allowing(&dense.model, &facts, &dense.table, channels.allowed.clone());
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
        given_up: dense.original.iter().flat_map(Original::says).collect(),
        nodes_in_file: source.model.graph.nodes().count() as u64,
        params_in_file: params(&source.model),
        params: params(&dense.model),
        params_prunable: channels.params.1,
        macs: macs.map(|m| m.0),
        macs_prunable: macs.map(|m| m.1),
        uncounted: bound.as_ref().map(|facts| names.uncounted(&dense, facts)).unwrap_or_default(),
        nothing: nothing_to_cut(&dense),
        slots: u64::from(channels.axes.slot_count()),
        analysis_ms,
        branches: channels.branches.iter().map(|b| branch(&dense, &names, b, bound.as_ref())).collect(),
        groups: channels.groups.iter().map(|g| group(&dense, &names, g, bound.as_mut())).collect(),
        frozen: frozen(channels, graph, &names),
        held_back,
        held_back_text,
    };
    talk.result("inspect", &inspection, &text(&inspection, args.groups)).map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

fn group(dense: &Prepared, names: &Names, g: &sparsec_analysis::Group, bound: Option<&mut Facts>) -> Group {
    let (graph, axes) = (&dense.model.graph, &dense.channels.axes);
    Group {
        id: g.id.clone(),
        title: names.title(dense, g),
        units: g.units.len() as u64,
        axes: g.axes.iter().map(|(axis, _)| axes.label(graph, *axis)).collect(),
        readers: names.readers(dense, g),
        params: g.params,
        macs: bound.map(|facts| macs_on(dense, facts, g)),
    }
}

fn branch(dense: &Prepared, names: &Names, b: &sparsec_analysis::Branch, bound: Option<&Facts>) -> Branch {
    let graph = &dense.model.graph;
    Branch {
        id: b.id.clone(),
        title: names.branch(graph, b),
        layers: names.layers(graph, b),
        sum: names.node(graph, b.sum),
        nodes: b.nodes.len() as u64,
        params: b.params,
        macs: bound.map(|facts| macs_of_branch(dense, facts, b)),
    }
}

fn frozen(channels: &Channels, graph: &Graph, names: &Names) -> Vec<Frozen> {
    let one = |f: &sparsec_analysis::FrozenAxis| match channels.axes.owner(f.axis) {
        AxisOwner::Value(v, axis) => Some(Frozen {
            value: graph.value(v).name.clone(),
            axis,
            slots: f.slots,
            params: f.params,
            reason: f.freeze.reason.to_string(),
            node: f.freeze.node.map(|n| names.node(graph, n)),
        }),
        AxisOwner::Virtual(_) | AxisOwner::Digit => None,
    };
    channels.frozen.iter().filter_map(one).collect()
}

/// Nodes that state one reason, of which each has a row of its own.
const MANY: usize = 3;

/// What lines go on with below the first.
const INDENT: &str = "            ";

fn text(i: &Inspection, all: bool) -> String {
    let mut out = String::new();
    for (what, ports) in [("input", &i.inputs), ("output", &i.outputs)] {
        for p in ports {
            out += &format!("{what:<12}{}  {}\n", p.name, p.ty);
        }
    }
    let operators: Vec<String> = i.operators.iter().map(|(op, n)| format!("{n} {op}")).collect();
    let percent = 100.0 * i.params_prunable as f64 / i.params.max(1) as f64;
    let operators = lines(&operators.join(", "), screen() - INDENT.len());
    out += &format!("operators   {}\n", operators.join(&format!("\n{INDENT}")));
    let (nodes, params) = (i.nodes_in_file, count(i.params_in_file));
    out += &format!("{INDENT}(of the canonical graph; the file has {nodes} nodes, {params} parameters)\n");
    out +=
        &format!("parameters  {}, of which {} ({percent:.1} %) can leave\n", count(i.params), count(i.params_prunable));
    for line in &i.given_up {
        out += &format!("given up    {}\n", lines(line, screen() - INDENT.len()).join(&format!("\n{INDENT}")));
    }
    let macs = match (i.macs, i.macs_prunable) {
        (Some(all), Some(can)) => {
            let percent = 100.0 * can as f64 / all.max(1) as f64;
            format!("{}, of which {} ({percent:.1} %) can leave", count(all), count(can))
        }
        _ => "sizes are open".to_string(),
    };
    out += &format!("MACs        {macs}\n");
    for line in &i.uncounted {
        out += &format!("{INDENT}{}\n", lines(line, screen() - INDENT.len()).join(&format!("\n{INDENT}")));
    }
    if let Some(ms) = i.analysis_ms {
        out += &format!("analysis    {} slots in {ms:.1} ms\n", count(i.slots));
    }
    out += &format!("groups      {}\n", i.groups.len());
    if let Some(most) = i.branches.iter().map(|b| b.params).max() {
        let most = count(most);
        out += &format!("branches    {} can be dropped whole, the largest with {most} parameters\n", i.branches.len());
    }
    if let (Some(why), true) = (&i.nothing, i.held_back.is_empty()) {
        out += &format!("\n{why}\n");
    }
    if all && !i.groups.is_empty() {
        out += &format!("\n{}", groups_text(&i.groups));
    }
    if all && !i.branches.is_empty() {
        out += &format!("\n{}", branches_text(&i.branches));
    }
    if !i.held_back.is_empty() {
        out += &format!("\n{}", held_back_text(i));
    }
    out
}

/// The first few, and how many there are besides.
fn some(all: &[String], most: usize) -> String {
    let shown = all.iter().take(most).cloned().collect::<Vec<_>>().join(" ");
    if all.len() > most { format!("{shown} and {} more", all.len() - most) } else { shown }
}

fn groups_text(groups: &[Group]) -> String {
    let row = |g: &Group| {
        let macs = g.macs.map_or(String::new(), count);
        vec![g.title.clone(), g.readers.clone(), g.id.clone(), g.units.to_string(), count(g.params), macs]
    };
    let rows: Vec<Vec<String>> = groups.iter().map(row).collect();
    let columns =
        [Text("made by"), Text("read by"), Text("group"), Number("units"), Number("parameters"), Number("MACs")];
    fitted(&columns, &rows, screen())
}

fn branches_text(branches: &[Branch]) -> String {
    let row = |b: &Branch| {
        let macs = b.macs.map_or(String::new(), count);
        vec![b.title.clone(), b.sum.clone(), b.id.clone(), b.nodes.to_string(), count(b.params), macs]
    };
    let rows: Vec<Vec<String>> = branches.iter().map(row).collect();
    let columns = [
        Text("can be dropped"),
        Text("added by"),
        Text("branch"),
        Number("nodes"),
        Number("parameters"),
        Number("MACs"),
    ];
    fitted(&columns, &rows, screen())
}

fn held_back_text(i: &Inspection) -> String {
    const AXES: usize = 3;
    /// Rows that hold back less than this part of the model are said in one line.
    const PART: u64 = 1000;
    let (windows, others): (Vec<&HeldBack>, Vec<&HeldBack>) = i.held_back_text.iter().partition(|r| r.window);
    let counts = |r: &&HeldBack| {
        r.params * PART >= i.params || r.macs.zip(i.macs).is_some_and(|(m, all)| m > 0 && m * PART >= all)
    };
    let (others, small): (Vec<&HeldBack>, Vec<&HeldBack>) = others.into_iter().partition(counts);
    let mut out = String::new();
    let row = |r: &&HeldBack| {
        let why = r.node.as_ref().map_or(r.reason.clone(), |n| format!("{}: {n}", r.reason));
        let why = r.remedy.as_ref().map_or(why.clone(), |remedy| format!("{why}; {remedy}"));
        let macs = r.macs.map_or(String::new(), count);
        vec![why, r.slots.to_string(), count(r.params), macs, some(&r.shown, AXES)]
    };
    let cells: Vec<Vec<String>> = others.iter().map(row).collect();
    let columns = [Text("frozen because"), Number("slots"), Number("parameters"), Number("MACs"), Text("axes")];
    if !cells.is_empty() {
        out += &fitted(&columns, &cells, screen());
    }
    if !small.is_empty() {
        let (n, params) = (plural(small.len(), "reason", "reasons"), small.iter().map(|r| r.params).sum());
        out += &format!(
            "\n{n} more, each for less than 0.1 % of the model: {} parameters; --json lists them\n",
            count(params)
        );
    }
    for r in windows {
        out += &format!("\n{}: {}\n", plural(r.axes.len(), "kernel axis", "kernel axes"), r.reason);
    }
    out
}
