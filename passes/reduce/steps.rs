//! Steps that take something away from the graph.

use super::{Search, elaborate, pattern, refilled};
use sparsec_ir::{Def, Graph, Model, NodeId, Use, ValueId, topological};
use std::collections::BTreeSet;

/// Every step once, those that take away most first.
pub(super) fn all(search: &mut Search) {
    outputs(search);
    nodes(search);
    outputs(search);
    bypass(search);
    idle(search);
    operands(search);
    attributes(search);
    surroundings(search);
    numbers(search);
}

fn live_nodes(graph: &Graph) -> BTreeSet<NodeId> {
    graph.nodes().map(|(id, _)| id).collect()
}

/// Runs of nodes: what others read of their results is fed, what they alone read is given out.
fn nodes(search: &mut Search) {
    let order = topological(&search.best.graph).unwrap_or_default();
    search.chunks(&order, without);
}

fn without(search: &Search, gone: &[NodeId]) -> Option<Model> {
    let mut model = search.best.clone();
    let live = live_nodes(&model.graph);
    let gone: Vec<NodeId> = gone.iter().copied().filter(|n| live.contains(n)).collect();
    let set: BTreeSet<NodeId> = gone.iter().copied().collect();
    let graph = &mut model.graph;
    let stays = |u: &Use| match u {
        Use::Operand(n, _) | Use::Captured(n) => !set.contains(n),
    };
    let mut outputs: Vec<ValueId> = graph.outputs().to_vec();
    for &node in &gone {
        let results: Vec<ValueId> = graph.node(node).outputs.iter().flatten().copied().collect();
        let read: Vec<ValueId> =
            graph.node(node).inputs.iter().flatten().copied().chain(graph.captures(node)).collect();
        outputs.retain(|v| !results.contains(v));
        for v in read {
            let made = graph.producer(v).is_some_and(|n| !set.contains(&n));
            if made && !outputs.contains(&v) && !graph.value(v).uses.iter().any(stays) {
                outputs.push(v);
            }
        }
    }
    for &v in &outputs {
        if graph.value(v).ty.is_none() {
            graph.set_type(v, search.known_type(v));
        }
    }
    graph.set_outputs(&outputs);
    for &node in gone.iter().rev() {
        for v in graph.node(node).outputs.clone().into_iter().flatten() {
            if graph.value(v).uses.iter().any(stays) {
                graph.detach_as_input(v, search.known_type(v)?);
            }
        }
        graph.remove_node(node);
    }
    Some(model)
}

/// Outputs, and what only they needed.
fn outputs(search: &mut Search) {
    let all = search.best.graph.outputs().to_vec();
    search.chunks(&all, |search, gone| {
        let mut model = search.best.clone();
        let left: Vec<ValueId> = model.graph.outputs().iter().copied().filter(|v| !gone.contains(v)).collect();
        model.graph.set_outputs(&left);
        search.alive(model)
    });
}

/// Nodes one of whose operands is of the type of their result: it takes the result's place.
fn bypass(search: &mut Search) {
    for node in topological(&search.best.graph).unwrap_or_default() {
        let graph = &search.best.graph;
        if !live_nodes(graph).contains(&node) {
            continue;
        }
        let n = graph.node(node);
        let (Some(&Some(y)), 1) = (n.outputs.first(), n.outputs.iter().flatten().count()) else { continue };
        let captured = graph.value(y).uses.iter().any(|u| matches!(u, Use::Captured(_)));
        let fact = search.inferred.facts.get(y);
        let fits = |x: &ValueId| {
            let f = search.inferred.facts.get(*x);
            let computed = matches!(graph.value(*x).def, Def::Node { .. }) && !graph.is_output(*x);
            f.elem == fact.elem && f.shape == fact.shape && fact.shape.is_some() && (computed || !graph.is_output(y))
        };
        let Some(x) = n.inputs.iter().flatten().copied().find(fits).filter(|_| !captured) else { continue };
        let mut model = search.best.clone();
        model.graph.replace_value(y, x);
        model.graph.remove_node(node);
        search.attempt(Some(model));
    }
}

/// Nodes and inputs that nobody reads.
fn idle(search: &mut Search) {
    let alive = search.alive(search.best.clone());
    search.attempt(alive);
    let inputs: Vec<ValueId> = search.best.graph.inputs().collect();
    search.chunks(&inputs, |search, gone| {
        let mut model = search.best.clone();
        for &v in gone {
            if !model.graph.value(v).uses.is_empty() || model.graph.is_output(v) {
                return None;
            }
            model.graph.remove_value(v);
        }
        Some(model)
    });
}

/// Operands that a node may do without, the last ones first.
fn operands(search: &mut Search) {
    for node in live_nodes(&search.best.graph) {
        for i in (1..search.best.graph.node(node).inputs.len()).rev() {
            let mut model = search.best.clone();
            let operands = &model.graph.node(node).inputs;
            if operands.get(i).copied().flatten().is_none() {
                continue;
            }
            if i + 1 == operands.len() {
                model.graph.truncate_operands(node, i);
            } else {
                model.graph.set_operand(node, i, None);
            }
            search.attempt(Some(model));
        }
    }
}

fn attributes(search: &mut Search) {
    for node in live_nodes(&search.best.graph) {
        let names: Vec<String> = search.best.graph.node(node).attrs.keys().cloned().collect();
        search.chunks(&names, |search, gone| {
            let mut model = search.best.clone();
            gone.iter().for_each(|name| model.graph.remove_attr(node, name));
            model.graph.refresh_captures(node);
            Some(model)
        });
    }
}

/// What surrounds the graph: types of inner values, functions, operator sets, remarks of exporters.
fn surroundings(search: &mut Search) {
    let mut model = search.best.clone();
    let computed =
        model.graph.values().filter(|(id, v)| matches!(v.def, Def::Node { .. }) && !model.graph.is_output(*id));
    for v in computed.map(|(id, _)| id).collect::<Vec<_>>() {
        model.graph.set_type(v, None);
    }
    search.attempt(Some(model));
    let functions: Vec<usize> = (0..search.best.functions.len()).rev().collect();
    search.chunks(&functions, |search, gone| {
        let mut model = search.best.clone();
        gone.iter().all(|i| *i < model.functions.len()).then(|| {
            gone.iter().for_each(|i| drop(model.functions.remove(*i)));
            model
        })
    });
    let domains: Vec<String> = search.best.opsets.iter().map(|o| o.domain.clone()).collect();
    search.chunks(&domains, |search, gone| {
        let mut model = search.best.clone();
        model.opsets.retain(|o| !gone.contains(&o.domain));
        Some(model)
    });
    names(search);
}

/// Names of nodes and values, and what else only people read.
fn names(search: &mut Search) {
    let mut model = search.best.clone();
    model.meta.clear();
    model.producer.clear();
    model.producer_version.clear();
    let graph = &mut model.graph;
    for node in live_nodes(graph) {
        graph.strip_node(node);
    }
    let captured = |u: &Use| matches!(u, Use::Captured(_));
    let long = graph.values().filter(|(_, v)| v.name.len() > 4 && !v.uses.iter().any(captured));
    for v in long.map(|(id, _)| id).collect::<Vec<_>>() {
        let short = graph.fresh_name("v");
        graph.rename_value(v, &short);
    }
    search.attempt(Some(model));
}

/// Numbers of float constants: all at once, then one after the other.
fn numbers(search: &mut Search) {
    let one: &dyn Fn(u64) -> f64 = &|_| 1.0;
    for (level, value) in [(0, one), (1, &pattern)] {
        let more = |search: &Search, v: ValueId| search.best.graph.constant(v).is_some_and(|t| elaborate(t) > level);
        let all: Vec<ValueId> = search.best.graph.values().map(|(id, _)| id).filter(|v| more(search, *v)).collect();
        search.chunks(&all, |search, run| {
            let mut model = search.best.clone();
            for &v in run {
                let tensor = search.best.graph.constant(v).and_then(|t| refilled(t, value))?;
                model.graph.set_constant(v, tensor);
            }
            Some(model)
        });
    }
}
