//! Gives each reader of a floating vector (a bias, statistics of a normalisation) a constant of its own.
//!
//! ```onnx before
//! g (float[n,2] x) => (float[n,2] y) <float[2] b = {1.0, 2.0}>
//! { h = Add (x, b)  y = Mul (h, b) }
//! ```
//! ```onnx after
//! g (float[n,2] x) => (float[n,2] y) <float[2] b = {1.0, 2.0}, float[2] b_1 = {1.0, 2.0}>
//! { h = Add (x, b)  y = Mul (h, b_1) }
//! ```
//! Exporters store equal vectors once. Later steps change those of one node; constants of one reader let them do so
//! under the name that the model has. The first reader, in order of the graph, keeps the constant.
//!
//! Needs: nothing.  Keeps: all other constants, so that tied weights stay tied.  Numerics: exact.
//! Leaves alone: a constant that is an output or that a subgraph uses.

use super::captured;
use super::names::Names;
use crate::{Changed, PassCx, PassDef, PassError, Stage};
use sparsec_ir::{Graph, Model, NodeId, ValueId, topological};
use std::collections::BTreeSet;

/// The pass.
pub const UNSHARE_CONSTANTS: PassDef = PassDef {
    name: "unshare-constants",
    stage: Stage::Canonicalise,
    summary: "give each reader of a vector of weights its own copy",
    run,
};

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let mut names = Names::of(model);
    let mut changed = Changed::No;
    let mut seen: BTreeSet<ValueId> = BTreeSet::new();
    for node in topological(&model.graph).unwrap_or_default() {
        let vectors = model.graph.node(node).inputs.iter().flatten().filter(|v| own(&model.graph, **v));
        for value in vectors.copied().collect::<BTreeSet<_>>() {
            if seen.insert(value) {
                continue;
            }
            let graph = &mut model.graph;
            let done = cx.rewrite(|| {
                let name = names.fresh(&graph.value(value).name);
                copy(graph, node, value, &name);
                Ok(())
            })?;
            changed = changed.or(done);
        }
    }
    Ok(changed)
}

/// Whether `value` is a constant that readers may have copies of.
fn own(graph: &Graph, value: ValueId) -> bool {
    let vector = graph.constant(value).is_some_and(|t| t.elem.is_float() && t.dims.len() == 1);
    vector && !graph.is_output(value) && !captured(graph, value)
}

/// Makes `reader` read a copy of the constant `value`, called `name`.
fn copy(graph: &mut Graph, reader: NodeId, value: ValueId, name: &str) {
    let Some(tensor) = graph.constant(value).cloned() else { return };
    let new = graph.add_constant(name, tensor);
    for i in 0..graph.node(reader).inputs.len() {
        if graph.node(reader).inputs[i] == Some(value) {
            graph.set_operand(reader, i, Some(new));
        }
    }
}
