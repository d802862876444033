//! Takes constants off the list of inputs.
//!
//! ```onnx before
//! <ir_version: 8, opset_import: ["" : 18]>
//! g (float[n,2] x, float[2] w = {1.0, 2.0}) => (float[n,2] y) { y = Mul (x, w) }
//! ```
//! ```onnx after
//! <ir_version: 8, opset_import: ["" : 18]>
//! g (float[n,2] x) => (float[n,2] y) <float[2] w = {1.0, 2.0}> { y = Mul (x, w) }
//! ```
//! From version 4 of the format on, a constant that is listed as an input too is a default value, which callers may
//! override (ONNX, IR.md, "Graphs"); before, every constant had to be listed. Exporters list all weights without meaning
//! that. They are taken as the constants that they are: a weight that is folded or cut has no meaning that a caller knows.
//!
//! Needs: nothing.  Keeps: inputs without a value, outputs.  Numerics: none.
//! Leaves alone: files of versions before 4.

use crate::{Changed, PassCx, PassDef, PassError, Stage};
use sparsec_ir::{Def, Model, ValueId};

/// The pass.
pub const UNLIST_CONSTANTS: PassDef = PassDef {
    name: "unlist-constants",
    stage: Stage::Canonicalise,
    summary: "take constants that callers could override as constants",
    run,
};

/// Version of the format from which on a listed constant is a default value.
const DEFAULTS_SINCE: i64 = 4;

/// Constants that callers of the model may override.
pub fn overridable(model: &Model) -> Vec<ValueId> {
    let graph = &model.graph;
    let listed = graph.listed_inputs().iter().copied().filter(|_| model.ir_version >= DEFAULTS_SINCE);
    listed.filter(|v| !matches!(graph.value(*v).def, Def::Input)).collect()
}

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let mut changed = Changed::No;
    for value in overridable(model) {
        let graph = &mut model.graph;
        let done = cx.rewrite(|| {
            graph.unlist(value);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    Ok(changed)
}
