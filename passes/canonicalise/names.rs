//! Names that are free in a whole model, subgraphs included, and renaming inside subgraphs.

use sparsec_ir::{Attr, Def, Graph, Model, NodeId};
use std::collections::{BTreeMap, BTreeSet};

/// Every name of a model, so that a new one cannot hide another.
pub(super) struct Names {
    taken: BTreeSet<String>,
}

impl Names {
    pub(super) fn of(model: &Model) -> Self {
        let mut taken = BTreeSet::new();
        collect(&model.graph, &mut taken);
        for f in &model.functions {
            collect(&f.body, &mut taken);
        }
        Self { taken }
    }
    /// `base`, or `base_1`, `base_2`, … where that is taken; taken from now on.
    pub(super) fn fresh(&mut self, base: &str) -> String {
        let mut name = base.to_string();
        let mut count = 0u64;
        while name.is_empty() || !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{base}_{count}");
        }
        name
    }
}

fn collect(graph: &Graph, taken: &mut BTreeSet<String>) {
    taken.extend(graph.values().map(|(_, v)| v.name.clone()));
    for (_, n) in graph.nodes() {
        for g in n.subgraphs() {
            collect(g, taken);
        }
    }
}

/// Changes an attribute's subgraphs, if it has any.
pub(super) fn each_subgraph(attr: &mut Attr, change: &mut dyn FnMut(&mut Graph)) {
    match attr {
        Attr::Graph(g) => change(g),
        Attr::Graphs(gs) => gs.iter_mut().for_each(change),
        _ => {}
    }
}

/// Changes attributes of a node of `graph`. `change` returns the new value, or nothing for one that goes.
pub(super) fn change_attributes(graph: &mut Graph, node: NodeId, change: &mut dyn FnMut(&str, Attr) -> Option<Attr>) {
    for (name, attr) in graph.node(node).attrs.clone() {
        match change(&name, attr) {
            Some(attr) => graph.set_attr(node, &name, attr),
            None => graph.remove_attr(node, &name),
        }
    }
    graph.refresh_captures(node);
}

/// Gives names that a subgraph takes from outside, however deep, the new names of `to`. New names must be free in the
/// whole model.
pub(super) fn rename_outer(graph: &mut Graph, to: &BTreeMap<String, String>) {
    let own = |g: &Graph, name: &str| g.find(name).is_some_and(|v| !matches!(g.value(v).def, Def::Outer));
    let here: BTreeMap<String, String> =
        to.iter().filter(|(old, _)| !own(graph, old)).map(|(a, b)| (a.clone(), b.clone())).collect();
    for (old, new) in &here {
        if let Some(v) = graph.find(old) {
            graph.rename_value(v, new);
        }
    }
    let nodes: Vec<NodeId> = graph.nodes().filter(|(_, n)| n.subgraphs().next().is_some()).map(|(id, _)| id).collect();
    for node in nodes {
        change_attributes(graph, node, &mut |_, mut attr| {
            each_subgraph(&mut attr, &mut |g| rename_outer(g, &here));
            Some(attr)
        });
    }
}
