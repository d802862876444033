//! Removes nodes whose results nobody reads, then constants that nobody reads.
//!
//! ```onnx before
//! g (float[2] x) => (float[2] y) <float[2] w = {1.0, 2.0}>
//! { y = Relu (x)  h = Add (x, w)  z = Neg (h) }
//! ```
//! ```onnx after
//! g (float[2] x) => (float[2] y)
//! { y = Relu (x) }
//! ```
//! A constant that is listed among the inputs goes too: whoever gives it changes nothing.
//!
//! Needs: nothing.  Keeps: inputs, outputs.  Numerics: none.
//! Leaves alone: nodes without results, which are there for an effect; the insides of subgraphs.

use crate::{Changed, PassCx, PassDef, PassError, Stage};
use sparsec_ir::{Def, Graph, Model, NodeId, Value, ValueId, topological};

/// The pass.
pub const DEAD_CODE: PassDef = PassDef {
    name: "dead-code",
    stage: Stage::Canonicalise,
    summary: "remove nodes and constants that nobody reads",
    run,
};

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let mut changed = Changed::No;
    let graph = &mut model.graph;
    // Backwards, so that a reader goes before what it reads.
    for node in topological(graph).unwrap_or_default().into_iter().rev() {
        if dead(graph, node) {
            let done = cx.rewrite(|| {
                graph.remove_node(node);
                Ok(())
            })?;
            changed = changed.or(done);
        }
    }
    for value in unread_constants(graph) {
        let done = cx.rewrite(|| {
            graph.remove_value(value);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}

/// Constants that nothing reads.
pub(crate) fn unread_constants(graph: &Graph) -> Vec<ValueId> {
    let unread = |(id, v): (ValueId, &Value)| {
        let constant = matches!(v.def, Def::Constant(_) | Def::Sparse(_));
        (constant && v.uses.is_empty() && !graph.is_output(id)).then_some(id)
    };
    graph.values().filter_map(unread).collect()
}

fn dead(graph: &Graph, node: NodeId) -> bool {
    let results = &graph.node(node).outputs;
    let unread = |v: &ValueId| graph.value(*v).uses.is_empty() && !graph.is_output(*v);
    !results.is_empty() && results.iter().flatten().all(unread)
}
