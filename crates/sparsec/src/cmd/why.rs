//! `sparsec why`: proofs, from the rules of the nodes on the way.

use crate::cli::{ConcessionArgs, Global};
use crate::cmd::model::open;
use crate::cmd::slot::{Place, resolve};
use crate::cmd::why_term::{self, Term};
use crate::error::CliError;
use crate::exit::Exit;
use crate::names::Names;
use crate::talk::Talk;
use crate::watch::Watch;
use clap::Args;
use serde::Serialize;
use sparsec::drive::Prepared;
use sparsec_analysis::{AxisId, AxisOwner, Channels, Slot, UnitId, path};
use sparsec_ir::Graph;
use sparsec_plan::Indices;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Say why channels leave together, or why one stays: the chain of nodes and rules; or what goes with a term of a sum.
#[derive(Debug, Args)]
#[command(after_help = "\
In place of a value, a node stands for its first result. Names are those of the canonical graph (`sparsec opt MODEL`).
Rules are numbered in the file of the operator.

Examples:
  sparsec why model.onnx conv1.weight:0        # what the channels of this axis belong to, or why they stay
  sparsec why model.onnx conv1.weight:0:17     # what leaves with one of them
  sparsec why model.onnx conv1.weight:0:17 layer4.weight:1:17
  sparsec why model.onnx add_3                 # what goes with this term of a sum, or why it cannot be dropped")]
pub(crate) struct WhyArgs {
    /// Model to ask about.
    #[arg(value_name = "MODEL")]
    model: PathBuf,
    /// An axis of a value, or one index of it; or a term of a sum, as `sparsec inspect --groups` names branches.
    #[arg(value_name = "VALUE[:AXIS[:INDEX]]")]
    slot: String,
    /// Another, to ask why both leave together.
    #[arg(value_name = "OTHER")]
    other: Option<String>,
    #[command(flatten)]
    concessions: ConcessionArgs,
}

/// What is said of one axis or index: one answer for all indices that fare alike.
#[derive(Serialize)]
struct Slots {
    slot: String,
    answers: Vec<Answer>,
}

#[derive(Serialize)]
struct Answer {
    /// Indices that it is true of.
    indices: Indices,
    /// The index that the rest speaks of.
    example: u32,
    /// Units that take it along, each by itself; empty where it stays.
    units: Vec<Unit>,
    /// Why it stays, where it does.
    frozen: Option<Frozen>,
}

/// What leaves together.
#[derive(Serialize)]
struct Unit {
    group: String,
    /// Its number in the group.
    unit: usize,
    units_in_group: usize,
    members: Vec<Member>,
}

#[derive(Serialize)]
struct Member {
    axis: String,
    indices: Indices,
    /// Nodes that make the value or, of a constant, read it.
    nodes: Vec<String>,
}

#[derive(Serialize)]
struct Frozen {
    reason: String,
    /// Slot that it is stated of.
    at: String,
    /// Node that states it.
    node: Option<String>,
    /// From the slot to that place.
    steps: Vec<Step>,
}

#[derive(Serialize)]
struct Step {
    from: String,
    to: String,
    node: Option<String>,
    op: Option<String>,
    rule: String,
}

/// What ties two slots.
#[derive(Serialize)]
struct Pair {
    from: String,
    to: String,
    /// `together`, `share`, `frozen` or `independent`.
    tie: &'static str,
    /// Those of the two that can never leave.
    stays: Vec<String>,
    /// Those that can leave without the other.
    alone: Vec<String>,
    steps: Vec<Step>,
}

/// Runs the command.
pub(crate) fn run(args: &WhyArgs, global: &Global, talk: Talk) -> Result<Exit, CliError> {
    let (source, dense) = open(&args.model, &args.concessions.concessions(), global, &Watch::new(talk))?;
    let find = |text: &str| resolve(text, &dense, &source.model.graph);
    let names = Names::of(&dense.model.graph);
    let one = find(&args.slot);
    // Names may look like slots. Of a term that can leave there is more to say than of a slot, of another there is less.
    match why_term::term(&dense, &args.slot).filter(|_| args.other.is_none()) {
        Some(term) if one.is_err() || matches!(term, Term::Branch(_)) => {
            let answer = why_term::answer(&dense, &names, term);
            talk.result("why-term", &answer, &why_term::text(&answer)).map_err(CliError::Stdout)?;
            return Ok(Exit::Done);
        }
        _ => {}
    }
    let one = one?;
    match &args.other {
        None => {
            let slots = explain(&dense, &names, &one);
            talk.result("why", &slots, &text(&slots))
        }
        Some(other) => {
            let pair = compare(&dense, &names, &one, &find(other)?);
            talk.result("why-pair", &pair, &pair_text(&pair))
        }
    }
    .map_err(CliError::Stdout)?;
    Ok(Exit::Done)
}

/// Answers for all indices of a place, those that fare alike together.
fn explain(dense: &Prepared, names: &Names, place: &Place) -> Slots {
    let (channels, graph) = (&dense.channels, &dense.model.graph);
    // By the groups that an index belongs to, or the reason why it stays.
    let mut alike: BTreeMap<(Vec<usize>, Option<String>), Vec<u32>> = BTreeMap::new();
    for i in place.indices.clone() {
        let groups = channels.cut(place.axis, i).iter().map(|u| channels.units[*u as usize].group).collect();
        let reason = channels.why_frozen(place.axis, i).map(|f| f.reason.to_string());
        alike.entry((groups, reason)).or_default().push(i);
    }
    let answer = |indices: Vec<u32>| {
        let example = indices[0];
        Answer {
            units: channels.cut(place.axis, example).iter().map(|u| unit(dense, names, *u)).collect(),
            frozen: frozen(dense, names, place.axis, example),
            indices: Indices::new(indices),
            example,
        }
    };
    let mut answers: Vec<Answer> = alike.into_values().map(answer).collect();
    answers.sort_by_key(|a| a.example);
    let slot = match place.indices.len() {
        1 => label(channels, graph, channels.axes.slot(place.axis, place.indices.start)),
        _ => channels.axes.label(graph, place.axis),
    };
    Slots { slot, answers }
}

fn unit(dense: &Prepared, names: &Names, id: UnitId) -> Unit {
    let (channels, graph) = (&dense.channels, &dense.model.graph);
    let unit = &channels.units[id as usize];
    let group = &channels.groups[unit.group];
    let mut by_axis: BTreeMap<AxisId, Vec<u32>> = BTreeMap::new();
    for s in &unit.slots {
        let (axis, i) = channels.axes.locate(*s);
        by_axis.entry(axis).or_default().push(i);
    }
    let member = |(axis, indices): (AxisId, Vec<u32>)| match channels.axes.owner(axis) {
        AxisOwner::Value(v, _) => {
            let nodes = match graph.producer(v) {
                Some(n) => vec![n],
                None => graph.consumers(v),
            };
            let nodes = nodes.into_iter().map(|n| names.named(graph, n)).collect();
            Some(Member { axis: channels.axes.label(graph, axis), indices: Indices::new(indices), nodes })
        }
        AxisOwner::Virtual(_) | AxisOwner::Digit => None,
    };
    Unit {
        group: group.id.clone(),
        unit: group.units.iter().position(|u| *u == id).unwrap_or(0),
        units_in_group: group.units.len(),
        members: by_axis.into_iter().filter_map(member).collect(),
    }
}

fn frozen(dense: &Prepared, names: &Names, axis: AxisId, index: u32) -> Option<Frozen> {
    let (channels, graph) = (&dense.channels, &dense.model.graph);
    let freeze = channels.why_frozen(axis, index)?;
    let steps = path(channels, channels.axes.slot(axis, index), |s| s == freeze.at, |_| true).unwrap_or_default();
    Some(Frozen {
        reason: freeze.reason.to_string(),
        at: label(channels, graph, freeze.at),
        node: freeze.node.map(|n| names.named(graph, n)),
        steps: steps.iter().map(|s| step(channels, graph, names, s)).collect(),
    })
}

fn compare(dense: &Prepared, names: &Names, a: &Place, b: &Place) -> Pair {
    let (channels, graph) = (&dense.channels, &dense.model.graph);
    let name = |p: &Place| match p.first(dense) {
        Some(s) => label(channels, graph, s),
        None => channels.axes.label(graph, p.axis),
    };
    let (from, to) = (name(a), name(b));
    let (Some(x), Some(y)) = (a.first(dense), b.first(dense)) else {
        return Pair { from, to, tie: "independent", stays: Vec::new(), alone: Vec::new(), steps: Vec::new() };
    };
    let (left, right) = (channels.cut(a.axis, a.indices.start), channels.cut(b.axis, b.indices.start));
    // Rules can lead from one slot to another that does not leave with it, by way of a factor that the two do not share:
    // a proof stays within the unit that it is about.
    let shared = left.iter().find(|u| right.contains(u)).map(|u| &channels.units[*u as usize].slots);
    let tied = path(channels, x, |s| s == y, |s| shared.is_none_or(|slots| slots.binary_search(&s).is_ok()));
    let tie = match (left.is_empty(), right.is_empty()) {
        (true, true) if tied.is_some() => "frozen",
        (false, false) if left == right => "together",
        (false, false) if shared.is_some() => "share",
        _ => "independent",
    };
    let steps = if tie == "independent" { Vec::new() } else { tied.unwrap_or_default() };
    let stays = [(&from, left.is_empty()), (&to, right.is_empty())];
    let stays = stays.into_iter().filter(|(_, stays)| *stays).map(|(name, _)| name.clone()).collect();
    let beside = |a: &[UnitId], b: &[UnitId]| a.iter().any(|u| !b.contains(u));
    let alone = [(&from, beside(left, right)), (&to, beside(right, left))];
    let alone = alone.into_iter().filter(|(_, alone)| *alone).map(|(name, _)| name.clone()).collect();
    Pair { from, to, tie, stays, alone, steps: steps.iter().map(|s| step(channels, graph, names, s)).collect() }
}

fn step(channels: &Channels, graph: &Graph, names: &Names, s: &sparsec_analysis::Step) -> Step {
    Step {
        from: label(channels, graph, s.from),
        to: label(channels, graph, s.to),
        node: s.node.map(|n| names.node(graph, n)),
        op: s.node.map(|n| graph.node(n).op_name()),
        rule: s.rule.to_string(),
    }
}

/// `value:axis:index`.
fn label(channels: &Channels, graph: &Graph, slot: Slot) -> String {
    let (axis, index) = channels.axes.locate(slot);
    format!("{}:{index}", channels.axes.label(graph, axis))
}

fn text(s: &Slots) -> String {
    let mut out = String::new();
    for a in &s.answers {
        let many = a.indices.indices().len() > 1;
        let which = if many { format!("{}, indices {}", s.slot, a.indices) } else { s.slot.clone() };
        if let Some(f) = &a.frozen {
            let stated = f.node.as_ref().map_or(String::new(), |n| format!(", stated by {n}"));
            out += &format!("{which}: can never leave: {} (of {}{stated})\n", f.reason, f.at);
            out += &chain(&f.steps);
        }
        let alone = if a.units.len() > 1 { "leaves with any one of" } else { "leaves with" };
        if !a.units.is_empty() {
            out += &format!("{which}: {alone}\n");
        }
        for u in &a.units {
            let example = if many { format!(" (index {})", a.example) } else { String::new() };
            out += &format!("  unit {} of the {} of group `{}`{example}:\n", u.unit, u.units_in_group, u.group);
            for m in &u.members {
                let nodes = if m.nodes.is_empty() { String::new() } else { format!("  of {}", m.nodes.join(", ")) };
                out += &format!("    {} [{}]{nodes}\n", m.axis, m.indices);
            }
        }
    }
    if out.is_empty() { format!("{}: is empty\n", s.slot) } else { out }
}

fn pair_text(p: &Pair) -> String {
    let (from, to) = (&p.from, &p.to);
    let stay = match p.stays.as_slice() {
        [] => "each can leave without the other".to_string(),
        [one] => format!("{one} can never leave, the other can; `sparsec why MODEL {one}` says why"),
        _ => format!("neither can ever leave; `sparsec why MODEL {from}` says why"),
    };
    let head = match p.tie {
        "together" => format!("{from} and {to} leave together:\n"),
        "share" => {
            let alone = match p.alone.as_slice() {
                [one] => one,
                _ => "each",
            };
            format!(
                "{from} and {to} leave together with a unit that both sit on; {alone} can also leave without the other:\n"
            )
        }
        "frozen" => format!("{from} and {to} are tied: {stay}:\n"),
        _ => format!("{from} and {to} are not tied: {stay}\n"),
    };
    head + &chain(&p.steps)
}

fn chain(steps: &[Step]) -> String {
    let line = |s: &Step| {
        let by = match (&s.node, &s.op) {
            (Some(node), Some(op)) if !node.starts_with(op.as_str()) => format!("{node} ({op}), rule {}", s.rule),
            (Some(node), _) => format!("{node}, rule {}", s.rule),
            (None, _) => format!("two factorisations of one axis, {}", s.rule),
        };
        format!("  {} ↔ {}  by {by}\n", s.from, s.to)
    };
    steps.iter().map(line).collect()
}
