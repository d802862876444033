//! What a cut leaves to solve, in order.

use super::Recovery;
use sparsec_analysis::node_ref;
use sparsec_calib::Linear;
use sparsec_ir::{
    Affine, AxisRef, Facts, Id, LinkKind, Model, NodeId, Normalised, OpTable, Relate, Relation, Relations, Tensor, Use,
    ValueId, topological,
};
use std::collections::BTreeSet;
use std::sync::Arc;

/// What is solved at a node.
pub(crate) enum Step {
    Linear(Box<Linear>),
    Statistics {
        mean: usize,
        variance: usize,
        epsilon: f64,
        axis: usize,
    },
    /// A normalisation over channels of which some left: its scale and shift.
    Scale(Normalised),
}

/// Steps in topological order, and nodes whose weights were cut without a step to re-solve them.
#[derive(Default)]
pub(crate) struct Steps {
    pub(crate) all: Vec<(NodeId, Step)>,
    pub(crate) none: Vec<NodeId>,
}

/// Nodes to solve, in order: those whose input the cut or a mask has changed, and those with a mask.
pub(crate) fn steps((dense, dense_facts): (&Model, &Facts), (pruned, facts): (&Model, &Facts), cx: &Recovery) -> Steps {
    let (graph, table, kept) = (&pruned.graph, cx.table, cx.kept);
    let mut perturbed = vec![false; graph.value_bound()];
    let mut out = Steps::default();
    for id in topological(graph).unwrap_or_default() {
        let node = graph.node(id);
        // Behind a branch that was dropped a node reads another value than it did, or one less.
        let was = (id.index() < dense.graph.node_bound()).then(|| dense.graph.node(id).inputs.as_slice());
        let moved = |operand: usize| was.is_some_and(|w| w.get(operand) != node.inputs.get(operand));
        let fewer = was.is_some_and(|w| w.len() > node.inputs.len());
        let cut = |v: &ValueId| match (graph.constant(*v), v.index() < dense.graph.value_bound()) {
            (Some(now), true) => dense.graph.constant(*v).is_some_and(|t| t.dims != now.dims && t.elem.is_float()),
            _ => perturbed[v.index()],
        };
        let masked = node.inputs.iter().flatten().any(|v| cx.masks.contains_key(v));
        let changed = masked || fewer || node.inputs.iter().flatten().any(cut) || (0..node.inputs.len()).any(moved);
        let x_changed = |operand: usize| {
            let x = node.inputs.get(operand).copied().flatten();
            x.is_some_and(|x| perturbed[x.index()] || moved(operand))
        };
        let whole = node.outputs.first().copied().flatten().is_some();
        let linear = Linear::of(pruned, facts, table, id).filter(|l| whole || l.inner.is_some());
        match linear {
            Some(linear) if masked || x_changed(linear.form.x) => out.all.push((id, Step::Linear(Box::new(linear)))),
            None if changed && id.index() < dense.graph.node_bound() && sums(dense, dense_facts, table, id, kept) => {
                out.none.push(id);
            }
            _ => {}
        }
        let affine = table.get(&node.domain, &node.op).and_then(|d| d.affine.rule()).filter(|_| whole && x_changed(0));
        // A rule fails where shapes are not known: such a node is left alone.
        let affine = affine.and_then(|rule| rule(&node_ref(pruned, facts, id)).ok().flatten());
        if let Some((mean, variance, epsilon, axis)) = affine.and_then(|a| {
            let (mean, variance, epsilon) = a.statistics?;
            Some((mean, variance, epsilon, a.axis))
        }) {
            out.all.push((id, Step::Statistics { mean, variance, epsilon, axis }));
        }
        let normalised = match table.get(&node.domain, &node.op).map(|d| d.affine) {
            Some(Affine::Normalised(rule)) => rule(&node_ref(pruned, facts, id)).ok().flatten(),
            _ => None,
        };
        let scale = |n: &Normalised| node.inputs.get(n.scale).copied().flatten();
        if let Some(n) = normalised.filter(|n| whole && scale(n).is_some_and(|v| cut(&v))) {
            out.all.push((id, Step::Scale(n)));
        }
        if changed {
            node.outputs.iter().flatten().for_each(|v| perturbed[v.index()] = true);
        }
    }
    out
}

/// Whether a node sums over an axis of a weight that the cut has shortened.
fn sums(
    dense: &Model,
    facts: &Facts,
    table: &OpTable,
    id: NodeId,
    kept: &dyn Fn(ValueId, usize) -> Option<Vec<u32>>,
) -> bool {
    let node = dense.graph.node(id);
    let Some(Relate::By(rule)) = table.get(&node.domain, &node.op).map(|d| d.relate) else { return false };
    let mut relations = Relations::default();
    if rule(&node_ref(dense, facts, id), &mut relations).is_err() {
        return false;
    }
    let short = |axis: &AxisRef| match axis {
        AxisRef::Value(v, a) => {
            let weight = dense.graph.constant(*v).is_some_and(|t| t.elem.is_float());
            weight && kept(*v, *a as usize).is_some()
        }
        AxisRef::Virtual(_) => false,
    };
    relations.all.iter().any(|r| match r {
        Relation::Link { a, b, kind: LinkKind::Contract, .. } => short(&a.axis) || short(&b.axis),
        _ => false,
    })
}

/// Values that a step may read in either model: input, result, and both sides of a sum that the result goes into.
pub(crate) fn reads(model: &Model, table: &OpTable, (node, step): (NodeId, &Step)) -> Vec<ValueId> {
    let mut out = vec![input(model, node, step)];
    let inner = matches!(step, Step::Linear(l) if l.inner.is_some());
    if let Some(y) = result(model, node).filter(|_| !inner) {
        out.push(y);
        let read = reading(model, table, y);
        out.extend(std::iter::once(read.value).chain(read.other));
    }
    out
}

/// The activation that a step's node reads.
pub(crate) fn input(model: &Model, node: NodeId, step: &Step) -> ValueId {
    let operand = if let Step::Linear(linear) = step { linear.form.x } else { 0 };
    model.graph.node(node).inputs[operand].expect("steps are made for nodes with an input")
}

/// The first result of a node.
pub(crate) fn result(model: &Model, node: NodeId) -> Option<ValueId> {
    model.graph.node(node).outputs.first().copied().flatten()
}

/// Where a result goes by additions alone.
pub(crate) struct Reading {
    /// The value that is read at last.
    pub(crate) value: ValueId,
    /// A constant that is added to the result, such as a bias that has a node of its own.
    pub(crate) constant: Option<Arc<Tensor>>,
    /// An activation that is added then.
    pub(crate) other: Option<ValueId>,
}

/// How `y` is read: as it is, or in a sum that is its only reader.
pub(crate) fn reading(model: &Model, table: &OpTable, y: ValueId) -> Reading {
    let mut out = Reading { value: y, constant: None, other: None };
    while let Some((sum, other)) = added(model, table, out.value).filter(|_| out.other.is_none()) {
        match model.graph.constant(other) {
            Some(_) if out.constant.is_some() => break,
            Some(tensor) => out.constant = Some(tensor.clone()),
            None => out.other = Some(other),
        }
        out.value = sum;
    }
    out
}

/// The sum of `y` and another value, if that is its only reader.
fn added(model: &Model, table: &OpTable, y: ValueId) -> Option<(ValueId, ValueId)> {
    let graph = &model.graph;
    let [Use::Operand(add, _)] = graph.value(y).uses[..] else { return None };
    let node = graph.node(add);
    if !table.is_sum(node) || graph.is_output(y) {
        return None;
    }
    let other = node.inputs.iter().copied().flatten().find(|v| *v != y)?;
    Some((node.outputs.first().copied().flatten()?, other))
}

/// Whether `value` is computed from a node that is still to be solved.
pub(crate) fn behind(model: &Model, value: ValueId, unsolved: &BTreeSet<NodeId>) -> bool {
    let graph = &model.graph;
    let mut seen = vec![false; graph.node_bound()];
    let mut todo = vec![value];
    while let Some(v) = todo.pop() {
        let Some(n) = graph.producer(v) else { continue };
        if std::mem::replace(&mut seen[n.index()], true) {
            continue;
        }
        if unsolved.contains(&n) {
            return true;
        }
        todo.extend(graph.node(n).inputs.iter().flatten());
    }
    false
}
