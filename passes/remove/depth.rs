//! Drops branches: a sum loses a term, and what only the term needed goes.
//!
//! ```onnx before
//! g (float[n,2] x) => (float[n,2] y)
//! <float[2,3] w1 = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, float[3,2] w2 = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}>
//! { a = Relu (x)  h = MatMul (a, w1)  t = MatMul (h, w2)  s = Add (a, t)  y = Neg (s) }
//! ```
//! ```onnx after
//! g (float[n,2] x) => (float[n,2] y)
//! { a = Relu (x)  y = Neg (a) }
//! ```
//! (the plan drops branch `t`)
//!
//! Needs: channels. Keeps: ids and names of what is left; a term that takes the place of an output takes its name.
//! Numerics: exact; the result equals the model with zeros in place of the term, but −0 + 0 stays −0.

use crate::canonicalise::replaceable;
use sparsec_analysis::{Channels, Removal};
use sparsec_ir::{Attrs, Graph, Model, Node, NodeId, Replacement, Sum, Sweep, Use, ValueId};
use std::borrow::Cow;

/// The operator that passes its operand on: where a name cannot be taken by what is left of a sum.
const IDENTITY: &str = "Identity";
/// The operator that adds what is left inside a node.
const ADD: &str = "Add";

/// The model without the branches that `removal` drops. `channels` are those of `model`.
pub fn drop_branches<'m>(model: &'m Model, channels: &Channels, removal: &Removal) -> Cow<'m, Model> {
    let mut out = Cow::Borrowed(model);
    for &branch in removal.dropped() {
        let term = channels.branches[branch].term;
        // It may have gone with a branch that it lies in; the sum may have become part of another.
        let Some([Use::Operand(sum, operand)]) = out.graph.live_value(term).map(|v| v.uses.as_slice()) else {
            continue;
        };
        let (sum, operand) = (*sum, *operand);
        let graph = &mut out.to_mut().graph;
        match channels.fused_sums.get(&sum) {
            Some(Sum::Inside(terms)) => {
                let found = terms.iter().find(|(place, _)| *place == operand);
                found.into_iter().for_each(|(_, node)| replace(graph, sum, node));
            }
            _ => take_out(graph, sum, operand),
        }
        Sweep::of(graph, [term]).run(graph);
    }
    out
}

/// Makes a node what it is without one of the terms that it adds up.
fn replace(graph: &mut Graph, id: NodeId, by: &Replacement) {
    let old = graph.node(id).clone();
    let at = |place: &usize| old.inputs.get(*place).copied().flatten();
    let mut new = Node { domain: by.domain.to_string(), attrs: by.attrs.clone(), ..Node::new(by.op) };
    for places in &by.operands {
        let operand = places.iter().filter_map(at).reduce(|a, b| {
            let name = format!("{}_left", graph.value(a).name);
            let add = graph.add_node(Node::new(ADD).input(a).input(b), &[&name]);
            graph.node(add).outputs[0].expect("the result was named")
        });
        new.inputs.push(operand);
    }
    if let Some((result, operand)) = by.passed
        && let (Some(Some(sum)), Some(Some(left))) = (old.outputs.get(result), new.inputs.get(operand))
    {
        graph.replace_value(*sum, *left);
    }
    graph.become_node(id, new);
}

/// Takes an operand out of a sum. What is left of a sum with one operand is that operand.
fn take_out(graph: &mut Graph, sum: NodeId, operand: usize) {
    let node = graph.node(sum);
    let left: Vec<ValueId> =
        node.inputs.iter().enumerate().filter(|(i, _)| *i != operand).filter_map(|(_, v)| *v).collect();
    if let (&[one], &[Some(y)]) = (left.as_slice(), node.outputs.as_slice())
        && replaceable(graph, one, y).is_ok()
    {
        graph.replace_value(y, one);
        graph.remove_node(sum);
        return;
    }
    for (i, v) in left.iter().enumerate() {
        graph.set_operand(sum, i, Some(*v));
    }
    graph.truncate_operands(sum, left.len());
    if left.len() == 1 {
        graph.set_op(sum, IDENTITY, Attrs::default());
    }
}
