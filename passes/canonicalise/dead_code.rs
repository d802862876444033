//! Removes nodes whose results nobody reads, and constants that nobody reads.
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
use sparsec_ir::{Model, Sweep};

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
    let mut sweep = Sweep::all(graph);
    while let Some(unread) = sweep.next(graph) {
        let done = cx.rewrite(|| {
            unread.remove(graph);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}
