//! Names the type of a cast that takes it from another value.
//!
//! ```onnx before
//! g (float[n,3] x, float16[3] w) => (float[n,3] y)
//! { c = CastLike (w, x)  y = Mul (x, c) }
//! ```
//! ```onnx after
//! g (float[n,3] x, float16[3] w) => (float[n,3] y)
//! { c = Cast <to = 1> (w)  y = Mul (x, c) }
//! ```
//! Exporters that do not optimise write biases and scales this way. The cast no longer waits for an activation of which
//! it reads no element, and is constant where what it casts is.
//!
//! Needs: element types.  Keeps: all names.  Numerics: none.
//! Leaves alone, with a remark: a cast to a type that is not known.

use crate::{Changed, PassCx, PassDef, PassError, Refusal, Stage};
use sparsec_ir::{Attr, Model, NodeId, ONNX};

/// The pass.
pub const RESOLVE_CASTS: PassDef = PassDef {
    name: "resolve-casts",
    stage: Stage::Canonicalise,
    summary: "name the type of casts that take it from another value",
    run,
};

/// What the pass reads, and what it writes: the second names its type in an attribute, and takes all of the first's.
const CAST_LIKE: &str = "CastLike";
const CAST: &str = "Cast";
const TO: &str = "to";

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let facts = cx.infer(model).facts;
    let graph = &mut model.graph;
    let ours = |d: &str| cx.table.get(d, CAST_LIKE).is_some_and(|def| def.domain == ONNX);
    let casts: Vec<NodeId> =
        graph.nodes().filter(|(_, n)| n.op == CAST_LIKE && ours(&n.domain)).map(|(id, _)| id).collect();
    let mut changed = Changed::No;
    for node in casts {
        let Some(like) = graph.node(node).inputs.get(1).copied().flatten() else { continue };
        let Some(elem) = facts.get(like).elem else {
            cx.remark(graph.label(node), Refusal::Shape { what: "the type to cast to is not known" });
            continue;
        };
        let done = cx.rewrite(|| {
            let mut attrs = graph.node(node).attrs.clone();
            attrs.insert(TO.to_string(), Attr::Int(i64::from(elem.code())));
            graph.set_op(node, CAST, attrs);
            graph.truncate_operands(node, 1);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}
