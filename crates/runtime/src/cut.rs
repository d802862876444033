//! Models cut out of models: other outputs, or a segment between values.

use crate::RuntimeError;
use sparsec_ir::{Def, Facts, Graph, Model, Node, NodeId, Sweep, ValueId};
use std::collections::{BTreeMap, BTreeSet};

/// `model` with `values` as its outputs (each once, in that order) and without the nodes and constants that they do not
/// need. Inputs stay, also unused ones, so that callers feed what they fed before.
///
/// The types of the new outputs come from `facts`, where these know them.
pub fn tap(model: &Model, facts: &Facts, values: &[ValueId]) -> Model {
    let mut out = model.clone();
    let graph = &mut out.graph;
    let mut outputs = Vec::with_capacity(values.len());
    for &v in values {
        if !outputs.contains(&v) {
            outputs.push(v);
        }
        if let Some(ty) = facts.get(v).ty() {
            graph.set_type(v, Some(ty));
        }
    }
    graph.set_outputs(&outputs);
    Sweep::all(graph).run(graph);
    out
}

/// The segment of `model` that computes `outputs` from `inputs`: these become graph inputs, in the given order, with the
/// types that `facts` (else the file) know; constants come along shared, names are kept.
///
/// Costs O(n log n) for a segment of n nodes, whatever the size of the model.
///
/// # Errors
/// [`RuntimeError::Open`] if an output needs a graph input that is not among `inputs`, [`RuntimeError::Untyped`] if the
/// element type of an input is not known, [`RuntimeError::Cycle`] if the segment has a cycle.
pub fn extract(model: &Model, facts: &Facts, inputs: &[ValueId], outputs: &[ValueId]) -> Result<Model, RuntimeError> {
    let source = &model.graph;
    let mut segment = Segment { source, graph: Graph::new(source.name()), map: BTreeMap::new() };
    for &v in inputs {
        let value = source.value(v);
        let ty = facts.get(v).ty().or_else(|| value.ty.clone());
        let ty = ty.ok_or_else(|| RuntimeError::Untyped { name: value.name.clone() })?;
        segment.map.entry(v).or_insert_with(|| segment.graph.add_input(&value.name, ty));
    }
    let mut mapped = Vec::with_capacity(outputs.len());
    for &v in outputs {
        let new = segment.compute(v)?;
        if !mapped.contains(&new) {
            mapped.push(new);
        }
        // A value that is also an input has its type already.
        if segment.graph.value(new).ty.is_none() {
            let ty = facts.get(v).ty().or_else(|| source.value(v).ty.clone());
            segment.graph.set_type(new, ty);
        }
    }
    segment.graph.set_outputs(&mapped);
    // IR versions below 4 want every initialiser listed as an input, which a segment does not do.
    let mut out = Model::new(segment.graph, model.ir_version.max(4), 1);
    out.opsets = model.opsets.clone();
    out.functions = model.functions.clone();
    Ok(out)
}

/// A graph under construction and where the values of its source are in it.
struct Segment<'g> {
    source: &'g Graph,
    graph: Graph,
    map: BTreeMap<ValueId, ValueId>,
}

impl Segment<'_> {
    /// Brings `output` and all it needs into the segment, operands first.
    fn compute(&mut self, output: ValueId) -> Result<ValueId, RuntimeError> {
        // An explicit stack: graphs are deeper than threads' stacks. A node is on it twice, to be opened and closed.
        let mut opened: BTreeSet<NodeId> = BTreeSet::new();
        let mut stack = vec![output];
        while let Some(&v) = stack.last() {
            if self.map.contains_key(&v) {
                stack.pop();
                continue;
            }
            let value = self.source.value(v);
            let new = match &value.def {
                Def::Constant(t) => self.graph.add_constant(&value.name, t.clone()),
                Def::Sparse(s) => self.graph.add_sparse(&value.name, s.as_ref().clone()),
                Def::Input | Def::Outer => {
                    let output = self.source.value(output).name.clone();
                    return Err(RuntimeError::Open { output, on: value.name.clone() });
                }
                Def::Node { node, .. } => {
                    let node = *node;
                    let needs = self.source.node(node).inputs.iter().flatten().copied();
                    let missing = needs.chain(self.source.captures(node)).filter(|o| !self.map.contains_key(o));
                    let missing: Vec<ValueId> = missing.collect();
                    if missing.is_empty() {
                        self.add(node);
                        continue;
                    }
                    if !opened.insert(node) {
                        return Err(RuntimeError::Cycle { value: value.name.clone() });
                    }
                    // Reversed, so that operands are computed in operand order.
                    stack.extend(missing.into_iter().rev());
                    continue;
                }
            };
            self.map.insert(v, new);
        }
        Ok(self.map[&output])
    }

    /// Adds `node`, whose operands are all there.
    fn add(&mut self, node: NodeId) {
        let old = self.source.node(node);
        let inputs = old.inputs.iter().map(|v| v.map(|v| self.map[&v])).collect();
        let new = Node { inputs, outputs: Vec::new(), ..old.clone() };
        // A result that is an input of the segment is fed, not computed: the node leaves it out.
        let names: Vec<&str> = old
            .outputs
            .iter()
            .map(|v| v.filter(|v| !self.map.contains_key(v)).map_or("", |v| &self.source.value(v).name))
            .collect();
        let id = self.graph.add_node(new, &names);
        for (old, new) in old.outputs.iter().zip(self.graph.node(id).outputs.clone()) {
            if let (Some(old), Some(new)) = (old, new) {
                self.map.insert(*old, new);
            }
        }
    }
}
