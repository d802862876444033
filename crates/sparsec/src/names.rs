//! What people call nodes and groups: by the layers of the source, where the exporter left their names.

use crate::origins::{origins, users};
use crate::table::{count, plural};
use crate::unit_kind::unit_kind;
use sparsec::drive::{Prepared, uncounted};
use sparsec_analysis::{AxisId, AxisOwner, Branch, Group, Removal};
use sparsec_cost::Estimate;
use sparsec_ir::{Facts, Graph, NodeId, ValueId};
use sparsec_passes::recover::Recovered;
use sparsec_plan::Plan;
use std::collections::{BTreeMap, BTreeSet};

/// Names of a graph's nodes.
pub(crate) struct Names {
    /// Those that are called after a layer.
    layers: BTreeMap<NodeId, String>,
    /// Matrices of weights by the values that are made of them.
    origins: BTreeMap<ValueId, ValueId>,
    /// Nodes that use each matrix.
    users: BTreeMap<ValueId, Vec<NodeId>>,
}

impl Names {
    /// Names of the nodes of `graph`: a node with weights is called after the layer that they belong to.
    pub(crate) fn of(graph: &Graph) -> Self {
        let origins = origins(graph);
        let users = users(graph, &origins);
        let mut layers: BTreeMap<NodeId, String> =
            graph.nodes().filter_map(|(id, _)| Some((id, layer(graph, &origins, id)?))).collect();
        let mut seen: BTreeMap<String, u32> = BTreeMap::new();
        layers.values().for_each(|l| *seen.entry(l.clone()).or_default() += 1);
        // One layer can become several nodes.
        for (id, name) in &mut layers {
            if seen.get(name).is_some_and(|n| *n > 1) {
                *name = format!("{name} ({})", graph.label(*id));
            }
        }
        Self { layers, origins, users }
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
    /// The node that is called so.
    pub(crate) fn find(&self, name: &str) -> Option<NodeId> {
        self.layers.iter().find(|(_, n)| *n == name).map(|(id, _)| *id)
    }
    /// Every name of a layer.
    pub(crate) fn all(&self) -> impl Iterator<Item = &str> {
        self.layers.values().map(String::as_str)
    }
    /// What the group is called: the layers that make its units, and what these are where they are no channels.
    pub(crate) fn title(&self, dense: &Prepared, group: &Group) -> String {
        let (makers, _) = self.layers_on(dense, group);
        let layers = if makers.is_empty() { group.id.clone() } else { self.list(&dense.model.graph, &makers) };
        match unit_kind(dense, group) {
            Some(kind) => format!("{layers}: {kind}"),
            None => layers,
        }
    }
    /// The layer that uses a constant, where the constant's name does not say so.
    pub(crate) fn layer_of(&self, graph: &Graph, v: ValueId) -> Option<&str> {
        let layer = self.users.get(&v)?.iter().find_map(|n| self.layers.get(n))?;
        // Without what tells nodes of one layer apart.
        layer.split(" (").next().filter(|l| !graph.value(v).name.starts_with(l))
    }
    /// An axis of a constant, with its layer.
    pub(crate) fn axis(&self, dense: &Prepared, axis: AxisId) -> String {
        let graph = &dense.model.graph;
        let label = dense.channels.axes.label(graph, axis);
        let layer = match dense.channels.axes.owner(axis) {
            AxisOwner::Value(v, _) => self.layer_of(graph, v),
            AxisOwner::Virtual(_) | AxisOwner::Digit => None,
        };
        layer.map_or_else(|| label.clone(), |layer| format!("{layer} ({label})"))
    }
    /// Says in a plan of which layers its groups are.
    pub(crate) fn annotate(&self, dense: &Prepared, plan: &mut Plan) {
        for p in &mut plan.groups {
            let group = dense.channels.group(&p.id).map(|g| &dense.channels.groups[g]);
            p.layers = group.map(|g| self.title(dense, g)).filter(|t| *t != p.id);
        }
    }
    /// The layers that read the units of the group.
    pub(crate) fn readers(&self, dense: &Prepared, group: &Group) -> String {
        self.list(&dense.model.graph, &self.layers_on(dense, group).1)
    }
    /// The layers that go with a branch.
    pub(crate) fn layers(&self, graph: &Graph, branch: &Branch) -> Vec<String> {
        let weighs = |n: &NodeId| graph.node(*n).inputs.iter().flatten().any(|v| self.origins.contains_key(v));
        branch.nodes.iter().copied().filter(weighs).map(|n| self.node(graph, n)).collect()
    }
    /// What a branch is called: the layers that go with it.
    pub(crate) fn branch(&self, graph: &Graph, branch: &Branch) -> String {
        let layers = self.layers(graph, branch);
        if layers.is_empty() { branch.id.clone() } else { few(&layers) }
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
    /// What the multiply-accumulates of a model under `facts` leave out, in words.
    pub(crate) fn uncounted(&self, dense: &Prepared, facts: &Facts) -> Vec<String> {
        let graph = &dense.model.graph;
        let left_out = uncounted(dense, facts);
        let line = |nodes: &[NodeId], one: &str, many: &str| {
            let (n, names) = (plural(nodes.len(), one, many), self.list(graph, nodes));
            (!nodes.is_empty()).then(|| format!("MACs and time leave out {n}: {names}"))
        };
        let open = line(&left_out.open, "node of which sizes are not known", "nodes of which sizes are not known");
        open.into_iter().chain(line(&left_out.bodies, "subgraph", "subgraphs")).collect()
    }
    /// Which nodes kept the weights that the cut left, and why, a line for each reason.
    pub(crate) fn not_solved(&self, graph: &Graph, all: &[Recovered]) -> Vec<String> {
        let mut alike: BTreeMap<&str, Vec<(String, String)>> = BTreeMap::new();
        for r in all {
            if let Err(why) = &r.outcome {
                alike.entry(why.about()).or_default().push((self.label(graph, &r.node), why.to_string()));
            }
        }
        let line = |(about, nodes): (&str, Vec<(String, String)>)| match nodes.as_slice() {
            [(node, why)] => format!("the weights of `{node}` were not re-solved: {why}"),
            _ => {
                let names: Vec<String> = nodes.iter().map(|(node, _)| node.clone()).collect();
                format!("the weights of {} nodes were not re-solved: {about}: {}", nodes.len(), few(&names))
            }
        };
        alike.into_iter().map(line).collect()
    }
    /// That quantised weights were cut and not re-solved, where a removal does so.
    pub(crate) fn quantised(&self, dense: &Prepared, removal: &Removal) -> Option<String> {
        let graph = &dense.model.graph;
        let whole = |v: ValueId| graph.constant(v).filter(|t| !t.elem.is_float()).map(|t| t.dims.len());
        let cut = |v: ValueId, rank: usize| (0..rank).any(|a| dense.channels.kept_of(v, a, removal).is_some());
        let layers = self.users.iter().filter(|(v, _)| whole(**v).is_some_and(|rank| cut(**v, rank)));
        let nodes: Vec<NodeId> = layers.flat_map(|(_, nodes)| nodes).copied().collect();
        let (n, names) = (plural(nodes.len(), "quantised layer", "quantised layers"), self.list(graph, &nodes));
        (!nodes.is_empty()).then(|| format!("the weights of {n} were cut and not re-solved: {names}"))
    }
    /// The first two nodes, and how many there are besides.
    pub(crate) fn list(&self, graph: &Graph, nodes: &[NodeId]) -> String {
        let names: Vec<String> = nodes.iter().map(|n| self.node(graph, *n)).collect();
        few(&names)
    }
    /// Nodes with weights on a group: those that make its units, and those that read them. A node with results on it that
    /// already reads them makes none, unless no other does.
    fn layers_on(&self, dense: &Prepared, group: &Group) -> (Vec<NodeId>, Vec<NodeId>) {
        let graph = &dense.model.graph;
        let value = |axis| match dense.channels.axes.owner(axis) {
            AxisOwner::Value(v, _) => Some(v),
            AxisOwner::Virtual(_) | AxisOwner::Digit => None,
        };
        let values: Vec<ValueId> = group.axes.iter().filter_map(|(axis, _)| value(*axis)).collect();
        let on: BTreeSet<ValueId> = values.iter().copied().collect();
        let (mut first, mut passing, mut last, mut seen) = (Vec::new(), Vec::new(), Vec::new(), BTreeSet::new());
        for w in values.into_iter() {
            for n in self.users.get(&w).into_iter().flatten().copied().filter(|n| seen.insert(*n)) {
                let node = graph.node(n);
                let makes = node.outputs.iter().flatten().any(|v| on.contains(v));
                let reads = node.inputs.iter().flatten().any(|v| !self.origins.contains_key(v) && on.contains(v));
                match (makes, reads) {
                    (true, false) => first.push(n),
                    (true, true) => passing.push(n),
                    (false, _) => last.push(n),
                }
            }
        }
        if first.is_empty() { (passing, last) } else { (first, last) }
    }
}

/// The first two, and how many there are besides.
fn few(names: &[String]) -> String {
    match names {
        [] => String::new(),
        [a] => a.clone(),
        [a, b] => format!("{a}, {b}"),
        [a, b, ..] => format!("{a}, {b} and {} more", names.len() - 2),
    }
}

/// The layer that a node stands for: by the name of its weights, else by the scope that PyTorch's exporters noted.
fn layer(graph: &Graph, origins: &BTreeMap<ValueId, ValueId>, id: NodeId) -> Option<String> {
    const SCOPES: &str = "pkg.torch.onnx.name_scopes";
    let node = graph.node(id);
    if node.outputs.iter().flatten().any(|v| origins.contains_key(v)) {
        return None;
    }
    let weight = |v: &ValueId| origins.get(v).copied().or(graph.constant(*v).is_some().then_some(*v));
    let operands = || node.inputs.iter().flatten().filter_map(weight);
    if let Some(layer) = operands().find_map(|v| of_weight(&graph.value(v).name)) {
        return Some(layer.to_string());
    }
    operands().find(|v| origins.contains_key(v))?;
    let noted = node.meta.iter().find(|(key, _)| key == SCOPES);
    noted.map_or_else(|| of_path(&node.name), |(_, scopes)| of_scopes(scopes))
}

/// `blocks.0.fc` of `blocks.0.fc.weight`, which a quantiser may have gone over.
fn of_weight(name: &str) -> Option<&str> {
    let name = name.strip_suffix("_quantized").unwrap_or(name);
    name.strip_suffix(".weight").filter(|l| !l.is_empty())
}

/// Modules from the outermost to the innermost, then the operator: `['', 'blocks.0', 'blocks.0.fc', 'linear']`.
fn of_scopes(scopes: &str) -> Option<String> {
    let module = scopes.trim_matches(['[', ']']).split(',').rev().nth(1)?.trim().trim_matches('\'');
    (!module.is_empty()).then(|| module.to_string())
}

/// Modules by their own names, those of a list with its name before, then the operator: `/blocks/blocks.0/fc/MatMul`.
fn of_path(name: &str) -> Option<String> {
    let (modules, _) = name.strip_prefix('/')?.rsplit_once('/')?;
    let modules: Vec<&str> = modules.split('/').collect();
    let list = |i: &usize| modules.get(i + 1).is_some_and(|next| next.starts_with(&format!("{}.", modules[*i])));
    let named: Vec<&str> = (0..modules.len()).filter(|i| !list(i)).map(|i| modules[i]).collect();
    Some(named.join("."))
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

    #[test]
    fn layers_are_named_by_weights_scopes_and_paths() {
        assert_eq!(of_weight("fc.weight_quantized"), Some("fc"));
        assert_eq!(of_scopes("['', 'blocks.0', 'blocks.0.fc', 'linear']").as_deref(), Some("blocks.0.fc"));
        assert_eq!(of_path("/blocks/blocks.3/mlp/fc1/MatMul").as_deref(), Some("blocks.3.mlp.fc1"));
        assert_eq!((of_path("/MatMul"), of_path("MatMul")), (None, None));
    }
}
