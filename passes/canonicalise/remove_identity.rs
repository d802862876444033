//! Removes nodes whose result is provably their first operand.
//!
//! ```onnx before
//! g (float[2,3] x) => (float[2,3] y) <int64[2] s = {2, -1}>
//! { h = Reshape (x, s)  k = Identity (h)  y = Relu (k) }
//! ```
//! ```onnx after
//! g (float[2,3] x) => (float[2,3] y) <int64[2] s = {2, -1}>
//! { y = Relu (x) }
//! ```
//! Two proofs are known. A node that does nothing at run time (kernel `Free`: the elements stay as they are, in their
//! order) is an identity if element type and shape stay too and the result does not speak of shapes. A scale and shift
//! of channels is one if every scale is 1 and every shift 0, and the shape stays.
//!
//! Needs: shapes.  Keeps: names of outputs.  Numerics: exact, but −0 + 0 stays −0.
//! Leaves alone, with a remark: a result that a subgraph uses; an output computed from an input, a constant, another
//! output or a captured value, whose name is needed too.

use super::{bound, does_nothing, replaceable};
use crate::{Changed, PassCx, PassDef, PassError, Stage};
use sparsec_analysis::node_ref;
use sparsec_ir::{Facts, Model, NodeId, OpTable, ValueId, topological};

/// The pass.
pub const REMOVE_IDENTITY: PassDef = PassDef {
    name: "remove-identity",
    stage: Stage::Canonicalise,
    summary: "remove nodes whose result is their operand",
    run,
};

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let facts = cx.infer(model).facts;
    let bound = bound(&facts);
    let mut changed = Changed::No;
    for node in topological(&model.graph).unwrap_or_default() {
        let Some((x, y)) = identity(model, (&facts, &bound), cx.table, node) else { continue };
        if let Err(reason) = replaceable(&model.graph, x, y) {
            cx.remark(model.graph.label(node), reason);
            continue;
        }
        let graph = &mut model.graph;
        let done = cx.rewrite(|| {
            graph.replace_value(y, x);
            graph.remove_node(node);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}

/// Operand and result of a node that are provably equal. `facts` come as inferred, and with sizes bound.
fn identity(
    model: &Model,
    (facts, bound): (&Facts, &Facts),
    table: &OpTable,
    node: NodeId,
) -> Option<(ValueId, ValueId)> {
    let n = model.graph.node(node);
    let (x, y) = (n.inputs.first().copied().flatten()?, n.outputs.first().copied().flatten()?);
    let unread = |v: &ValueId| model.graph.value(*v).uses.is_empty() && !model.graph.is_output(*v);
    if !n.outputs[1..].iter().flatten().all(unread) {
        return None;
    }
    let (fx, fy) = (facts.get(x), facts.get(y));
    let same = fx.elem.is_some() && fx.elem == fy.elem && fx.shape.is_some() && fx.shape == fy.shape;
    if !same {
        return None;
    }
    let speaks_of_shapes = fy.content.is_some() && fy.content != fx.content;
    if does_nothing(model, bound, table, node) && !speaks_of_shapes {
        return Some((x, y));
    }
    let affine = table.get(&n.domain, &n.op)?.affine.rule()?;
    let map = affine(&node_ref(model, facts, node)).ok().flatten()?;
    let plain = map.scale.iter().all(|&s| s == 1.0) && map.shift.iter().all(|&s| s == 0.0);
    plain.then_some((x, y))
}
