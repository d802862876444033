//! Replaces calls of model-local functions by their bodies, nested calls and calls inside subgraphs included.
//!
//! ```onnx before
//! <ir_version: 10, opset_import: ["" : 18, "l" : 1]>
//! g (float[2] x) => (float[2] y) { [call] y = l.Twice <slope = 0.5> (x) }
//! <domain: "l", opset_import: ["" : 18]> Twice <slope> (a) => (b) { m = LeakyRelu <alpha: float = @slope> (a)  b = Add (m, m) }
//! ```
//! ```onnx after
//! <ir_version: 10, opset_import: ["" : 18, "l" : 1]>
//! g (float[2] x) => (float[2] y) { "call/m" = LeakyRelu <alpha = 0.5> (x)  y = Add ("call/m", "call/m") }
//! ```
//! References to attributes become the call's attributes or the function's defaults; one that has neither is left out.
//! Names of the body get the call's label in front, and a number where that is taken. A function that nobody calls any
//! more is removed.
//!
//! Needs: nothing.  Keeps: names of results.  Numerics: none.
//! Leaves alone, with a remark: a function whose body means another version of an operator set than the model.

use super::names::{Names, change_attributes, each_subgraph, rename_outer};
use crate::{Changed, PassCx, PassDef, PassError, Refusal, Stage};
use sparsec_ir::{
    Attr, Def, Function, Graph, Invariant, Model, Node, NodeId, OpsetImport, ValueId, same_domain, topological, verify,
};
use std::collections::BTreeMap;

/// The pass.
pub const INLINE_FUNCTIONS: PassDef = PassDef {
    name: "inline-functions",
    stage: Stage::Canonicalise,
    summary: "replace calls of model-local functions by their bodies",
    run,
};

/// Nodes that inlining may make, ten times those of large models: functions that call others twice grow without bound.
const MAX_NODES: usize = 1 << 17;

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    if model.functions.is_empty() {
        return Ok(Changed::No);
    }
    // Recursion would not end, and a broken body cannot be copied.
    if let Err(violations) = verify(model) {
        let recursive = violations.iter().find(|v| v.invariant == Invariant::Functions);
        return Err(match recursive {
            Some(v) => PassError::RecursiveFunction { name: v.place.clone() },
            None => PassError::BrokenInput { violations },
        });
    }
    let mut inliner = Inliner {
        names: Names::of(model),
        functions: std::mem::take(&mut model.functions),
        opsets: std::mem::take(&mut model.opsets),
        nodes: 0,
    };
    let result = inliner.graph(&mut model.graph, cx);
    model.opsets = inliner.opsets;
    model.functions = inliner.functions;
    let mut changed = result?;
    let unused: Vec<usize> = unused(model);
    for at in unused.into_iter().rev() {
        let functions = &mut model.functions;
        changed = changed.or(cx.rewrite(|| {
            functions.remove(at);
            Ok(())
        })?);
    }
    Ok(changed)
}

/// Functions that neither the graph nor a function that it reaches calls.
fn unused(model: &Model) -> Vec<usize> {
    let mut reached = vec![false; model.functions.len()];
    let mut graphs = vec![&model.graph];
    while let Some(g) = graphs.pop() {
        for (_, n) in g.nodes() {
            graphs.extend(n.subgraphs());
            if let Some(at) = model.functions.iter().position(|f| calls(n, f)).filter(|&at| !reached[at]) {
                reached[at] = true;
                graphs.push(&model.functions[at].body);
            }
        }
    }
    (0..reached.len()).filter(|&at| !reached[at]).collect()
}

fn calls(node: &Node, f: &Function) -> bool {
    same_domain(&node.domain, &f.domain) && node.op == f.name && node.overload == f.overload
}

struct Inliner {
    names: Names,
    functions: Vec<Function>,
    opsets: Vec<OpsetImport>,
    /// Nodes made so far.
    nodes: usize,
}

impl Inliner {
    /// Inlines every call in a graph and its subgraphs.
    fn graph(&mut self, graph: &mut Graph, cx: &mut PassCx) -> Result<Changed, PassError> {
        let mut changed = Changed::No;
        let mut waiting: Vec<NodeId> = topological(graph).unwrap_or_default();
        waiting.reverse();
        while let Some(node) = waiting.pop() {
            changed = changed.or(self.subgraphs(graph, node, cx)?);
            let Some(at) = self.functions.iter().position(|f| calls(graph.node(node), f)) else { continue };
            let name = self.functions[at].name.clone();
            let refusal = self.differing_opset(at).map(|domain| Refusal::OpsetDiffers { domain });
            if let Some(reason) = refusal.or_else(|| missing_result(graph, node, &self.functions[at])) {
                cx.remark(graph.label(node), reason);
                continue;
            }
            if self.nodes > MAX_NODES {
                return Err(PassError::TooManyNodes { name, limit: MAX_NODES });
            }
            let mut made = Vec::new();
            changed = changed.or(cx.rewrite(|| {
                made = self.inline(graph, node, at);
                Ok(())
            })?);
            waiting.extend(made.into_iter().rev());
        }
        Ok(changed)
    }
    /// Inlines calls inside a node's subgraphs.
    fn subgraphs(&mut self, graph: &mut Graph, node: NodeId, cx: &mut PassCx) -> Result<Changed, PassError> {
        let mut changed = Changed::No;
        for (name, mut attr) in graph.node(node).attrs.clone() {
            let mut here = Ok(Changed::No);
            each_subgraph(&mut attr, &mut |g| {
                if let Ok(before) = here {
                    here = self.graph(g, cx).map(|c| c.or(before));
                }
            });
            if here? == Changed::Yes {
                graph.set_attr(node, &name, attr);
                graph.refresh_captures(node);
                changed = Changed::Yes;
            }
        }
        Ok(changed)
    }
    /// A domain of which the function's body uses another version than the model. Domains that the model does not
    /// import yet are no obstacle.
    fn differing_opset(&self, function: usize) -> Option<String> {
        let f = &self.functions[function];
        let used = |o: &&OpsetImport| f.body.nodes().any(|(_, n)| same_domain(&n.domain, &o.domain));
        let differs =
            |o: &&OpsetImport| self.opsets.iter().any(|m| same_domain(&m.domain, &o.domain) && m.version != o.version);
        f.opsets.iter().filter(used).find(differs).map(|o| o.domain.clone())
    }

    /// Puts a function's body in place of a call; returns the nodes it made.
    fn inline(&mut self, graph: &mut Graph, call: NodeId, function: usize) -> Vec<NodeId> {
        let f = self.functions[function].clone();
        for o in &f.opsets {
            if !self.opsets.iter().any(|m| same_domain(&m.domain, &o.domain)) {
                self.opsets.push(o.clone());
            }
        }
        let label = graph.label(call).replace(" → ", "/");
        let caller = graph.node(call).clone();
        let attribute = |name: &str| -> Option<Attr> {
            let default = || f.defaults.iter().find(|(n, _)| n == name).map(|(_, a)| a.clone());
            caller.attrs.get(name).cloned().or_else(default)
        };
        // What stands for each value of the body: nothing for an operand that the call leaves out.
        let mut map: BTreeMap<ValueId, Option<ValueId>> = BTreeMap::new();
        for (index, &input) in f.body.listed_inputs().iter().enumerate() {
            map.insert(input, caller.inputs.get(index).copied().flatten());
        }
        let mut renamed: BTreeMap<String, String> = BTreeMap::new();
        for (id, v) in f.body.values() {
            let new = match (&v.def, map.get(&id)) {
                (_, Some(Some(outer))) => graph.value(*outer).name.clone(),
                (_, Some(None)) => continue,
                _ => self.names.fresh(&format!("{label}/{}", v.name)),
            };
            match &v.def {
                Def::Constant(t) => {
                    map.insert(id, Some(graph.add_constant(&new, t.clone())));
                }
                Def::Sparse(s) => {
                    map.insert(id, Some(graph.add_sparse(&new, s.as_ref().clone())));
                }
                _ => {}
            }
            renamed.insert(v.name.clone(), new);
        }
        let mut made = Vec::new();
        for id in topological(&f.body).unwrap_or_default() {
            let n = f.body.node(id);
            let mut node = n.clone();
            node.name = if n.name.is_empty() { String::new() } else { format!("{label}/{}", n.name) };
            node.inputs = n.inputs.iter().map(|v| v.and_then(|v| map.get(&v).copied().flatten())).collect();
            node.attrs = n.attrs.iter().filter_map(|(k, a)| Some((k.clone(), resolve(a, &attribute)?))).collect();
            for attr in node.attrs.values_mut() {
                each_subgraph(attr, &mut |g| {
                    resolve_graph(g, &attribute);
                    rename_outer(g, &renamed);
                });
            }
            let name = |v: &Option<ValueId>| v.map_or("", |v| renamed[&f.body.value(v).name].as_str());
            let results: Vec<&str> = n.outputs.iter().map(name).collect();
            let new = graph.add_node(node, &results);
            for (old, new) in n.outputs.iter().zip(graph.node(new).outputs.clone()) {
                if let Some(old) = *old {
                    map.insert(old, new);
                }
            }
            made.push(new);
        }
        self.nodes += made.len();
        self.hand_over(graph, &f, &caller, &map, &mut made);
        graph.remove_node(call);
        made
    }
    /// Lets the body's results take the place of the call's.
    fn hand_over(
        &mut self,
        graph: &mut Graph,
        f: &Function,
        caller: &Node,
        map: &BTreeMap<ValueId, Option<ValueId>>,
        made: &mut Vec<NodeId>,
    ) {
        let mut given: Vec<ValueId> = Vec::new();
        for (index, result) in caller.outputs.iter().enumerate() {
            let Some(result) = *result else { continue };
            let Some(&inner) = f.body.outputs().get(index) else { continue };
            let Some(new) = map.get(&inner).copied().flatten() else { continue };
            // A result that is an operand of the call, a constant, or two results in one, needs a node of its own.
            let own = matches!(f.body.value(inner).def, Def::Node { .. });
            let new = if own && !given.contains(&new) && !super::captured(graph, new) {
                new
            } else {
                let name = self.names.fresh(&format!("{}_copy", graph.value(new).name));
                let copy = graph.add_node(Node::new("Identity").input(new), &[&name]);
                made.push(copy);
                graph.node(copy).outputs[0].unwrap_or(new)
            };
            graph.take_over(result, new);
            given.push(new);
        }
    }
}

/// A result that the call uses and the function cannot give.
fn missing_result(graph: &Graph, call: NodeId, f: &Function) -> Option<Refusal> {
    let n = graph.node(call);
    let given = |index: usize| {
        let Some(&inner) = f.body.outputs().get(index) else { return false };
        match f.body.listed_inputs().iter().position(|&v| v == inner) {
            Some(operand) => n.inputs.get(operand).copied().flatten().is_some(),
            None => true,
        }
    };
    let missing = (0..n.outputs.len()).any(|i| n.outputs[i].is_some() && !given(i));
    missing.then_some(Refusal::Shape { what: "the call asks for a result that the function does not give" })
}

/// An attribute of the body as the call means it; nothing where it refers to one that is not given.
fn resolve(attr: &Attr, attribute: &dyn Fn(&str) -> Option<Attr>) -> Option<Attr> {
    match attr {
        Attr::Ref { name, .. } => attribute(name),
        other => Some(other.clone()),
    }
}

fn resolve_graph(graph: &mut Graph, attribute: &dyn Fn(&str) -> Option<Attr>) {
    let nodes: Vec<NodeId> = graph.nodes().filter(|(_, n)| !n.attrs.is_empty()).map(|(id, _)| id).collect();
    for node in nodes {
        change_attributes(graph, node, &mut |_, attr| {
            let mut attr = resolve(&attr, attribute)?;
            each_subgraph(&mut attr, &mut |g| resolve_graph(g, attribute));
            Some(attr)
        });
    }
}
