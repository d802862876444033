//! What people call nodes and groups: by the layers of the source, where the exporter left their names.

use crate::table::count;
use sparsec::drive::Prepared;
use sparsec_analysis::{AxisOwner, Branch, Group, Removal};
use sparsec_cost::Estimate;
use sparsec_ir::{Graph, NodeId, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// Names of a graph's nodes.
pub(crate) struct Names {
    /// Those that are called after a layer.
    layers: BTreeMap<NodeId, String>,
}

impl Names {
    /// Names of the nodes of `graph`: a node with weights is called after the layer that they belong to.
    pub(crate) fn of(graph: &Graph) -> Self {
        let mut layers: BTreeMap<NodeId, String> =
            graph.nodes().filter_map(|(id, _)| Some((id, layer(graph, id)?))).collect();
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        layers.values().for_each(|l| *seen.entry(l.clone()).or_default() += 1);
        // One layer can become several nodes.
        for (id, name) in &mut layers {
            if seen.get(name).is_some_and(|n| *n > 1) {
                *name = format!("{name} ({})", graph.label(*id));
            }
        }
        Self { layers }
    }
    /// What the node is called.
    pub(crate) fn node(&self, graph: &Graph, id: NodeId) -> String {
        self.layers.get(&id).cloned().unwrap_or_else(|| graph.label(id))
    }
    /// What the node is called, with its operator.
    pub(crate) fn named(&self, graph: &Graph, id: NodeId) -> String {
        let op = graph.node(id).op_name();
        match self.node(graph, id) {
            label if label.starts_with(&op) => label,
            label => format!("{label} ({op})"),
        }
    }
    /// Gives the nodes of an estimate of `graph` their names.
    pub(crate) fn relabel(&self, graph: &Graph, e: &mut Estimate) {
        let names: BTreeMap<String, &String> = self.layers.iter().map(|(id, n)| (graph.label(*id), n)).collect();
        let rename = |label: &mut String| {
            if let Some(name) = names.get(label) {
                label.clone_from(name);
            }
        };
        for node in &mut e.nodes {
            rename(&mut node.label);
            node.fused_into.iter_mut().for_each(rename);
        }
        e.memory.steps.iter_mut().for_each(rename);
    }
    /// What a node is called whose label is known.
    pub(crate) fn label(&self, graph: &Graph, label: &str) -> String {
        let found = self.layers.iter().find(|(id, _)| graph.label(**id) == label);
        found.map_or_else(|| label.to_string(), |(_, name)| name.clone())
    }
    /// What the group is called: the layers that make its units.
    pub(crate) fn title(&self, dense: &Prepared, group: &Group) -> String {
        let (makers, _) = layers_on(dense, group);
        if makers.is_empty() { group.id.clone() } else { self.list(&dense.model.graph, &makers) }
    }
    /// The layers that read the units of the group.
    pub(crate) fn readers(&self, dense: &Prepared, group: &Group) -> String {
        self.list(&dense.model.graph, &layers_on(dense, group).1)
    }
    /// The layers that go with a branch.
    pub(crate) fn layers(&self, graph: &Graph, branch: &Branch) -> Vec<String> {
        let weighs = |n: &NodeId| graph.node(*n).inputs.iter().flatten().any(|v| is_weight(graph, *v));
        branch.nodes.iter().copied().filter(weighs).map(|n| self.node(graph, n)).collect()
    }
    /// What a branch is called: the layers that go with it.
    pub(crate) fn branch(&self, graph: &Graph, branch: &Branch) -> String {
        let layers = self.layers(graph, branch);
        if layers.is_empty() { branch.id.clone() } else { some(&layers) }
    }
    /// What a removal drops whole, a line for each branch.
    pub(crate) fn dropped(&self, dense: &Prepared, removal: &Removal) -> Vec<String> {
        let graph = &dense.model.graph;
        let line = |b: &Branch| {
            let (layers, params) = (self.branch(graph, b), count(b.params));
            format!("dropped whole: {layers} (branch `{}`, {params} parameters)", b.id)
        };
        removal.dropped().iter().map(|b| line(&dense.channels.branches[*b])).collect()
    }
    fn list(&self, graph: &Graph, nodes: &[NodeId]) -> String {
        some(&nodes.iter().map(|n| self.node(graph, *n)).collect::<Vec<_>>())
    }
}

/// The first two, and how many there are besides.
fn some(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [a] => a.clone(),
        [a, b] => format!("{a}, {b}"),
        [a, b, ..] => format!("{a}, {b} and {} more", names.len() - 2),
    }
}

/// Nodes with weights on a group: those that make its units, and those that read them. A node with results on it that
/// already reads them makes none, unless no other does.
fn layers_on(dense: &Prepared, group: &Group) -> (Vec<NodeId>, Vec<NodeId>) {
    let graph = &dense.model.graph;
    let value = |axis| match dense.channels.axes.owner(axis) {
        AxisOwner::Value(v, _) => Some(v),
        AxisOwner::Virtual(_) | AxisOwner::Digit => None,
    };
    let values: Vec<ValueId> = group.axes.iter().filter_map(|(axis, _)| value(*axis)).collect();
    let on: BTreeSet<ValueId> = values.iter().copied().collect();
    let (mut first, mut passing, mut last, mut seen) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
    for w in values.into_iter().filter(|v| is_weight(graph, *v)) {
        for n in graph.consumers(w).into_iter().filter(|n| seen.insert(*n)) {
            let node = graph.node(n);
            let makes = node.outputs.iter().flatten().any(|v| on.contains(v));
            let reads = node.inputs.iter().flatten().any(|v| graph.constant(*v).is_none() && on.contains(v));
            match (makes, reads) {
                (true, false) => first.push(n),
                (true, true) => passing.push(n),
                (false, _) => last.push(n),
            }
        }
    }
    if first.is_empty() { (passing, last) } else { (first, last) }
}

/// Whether the value is a matrix or more of parameters: vectors scale and shift what others made.
fn is_weight(graph: &Graph, v: ValueId) -> bool {
    graph.constant(v).is_some_and(|t| t.elem.is_float() && t.dims.len() > 1)
}

/// The layer that a node stands for: by the name of its weights, else by the scope that PyTorch's exporter noted.
fn layer(graph: &Graph, id: NodeId) -> Option<String> {
    const SCOPES: &str = "pkg.torch.onnx.name_scopes";
    let node = graph.node(id);
    let operands = || node.inputs.iter().flatten().copied().filter(|v| graph.constant(*v).is_some());
    let named = |v: ValueId| graph.value(v).name.strip_suffix(".weight").filter(|l| !l.is_empty());
    if let Some(layer) = operands().find_map(named) {
        return Some(layer.to_string());
    }
    operands().find(|v| is_weight(graph, *v))?;
    let (_, scopes) = node.meta.iter().find(|(key, _)| key == SCOPES)?;
    // Modules from the outermost to the innermost, then the operator: `['', 'blocks.0', 'blocks.0.fc', 'linear']`.
    let module = scopes.trim_matches(['[', ']']).split(',').rev().nth(1)?.trim().trim_matches('\'');
    (!module.is_empty()).then(|| module.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec::drive::{Concessions, Quiet, prepare};
    use sparsec_testkit::model;

    #[test]
    fn nodes_are_called_after_their_layers_and_groups_after_the_nodes_that_make_them() {
        let m = model(
            r#"g (float[n,4] x) => (float[n,2] y)
               <float[4,8] "a.weight" = ["location": "random:1"], float[8,8] fold = ["location": "random:2"],
                float[8,2] "c.weight" = ["location": "random:3"]>
               { h = MatMul (x, "a.weight") k = MatMul (h, fold) y = MatMul (k, "c.weight") }"#,
        );
        let mut dense = prepare(&m, sparsec_ops::table(), None, &Concessions::default(), &Quiet).unwrap();
        let k = dense.model.graph.find("fold").unwrap();
        let k = dense.model.graph.consumers(k)[0];
        let scopes = "['', 'blocks', 'blocks.0.fc', 'linear']";
        dense.model.graph.set_node_meta(k, "pkg.torch.onnx.name_scopes", scopes);
        let names = Names::of(&dense.model.graph);
        let titles: Vec<String> = dense.channels.groups.iter().map(|g| names.title(&dense, g)).collect();
        assert_eq!(titles, ["a", "blocks.0.fc"]);
        assert_eq!(names.readers(&dense, &dense.channels.groups[0]), "blocks.0.fc");
    }
}
