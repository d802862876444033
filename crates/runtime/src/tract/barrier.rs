//! Keeps tract's rewrites from changing what a model computes: an identity that no rewrite looks through stands behind
//!
//! - each broadcast: tract takes one in front of a contraction away, also where it stretches the axis that is summed over,
//!   and a sum of n terms becomes one of one term;
//! - each cast of doubles: tract joins it with the product in front of it, and then a sum behind it, whose singles the
//!   product's kernel reads as doubles.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Tile};
use tract_onnx::tract_core::ops::cast::Cast;

/// The identity, opaque to rewrites.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Barrier;

impl Op for Barrier {
    fn name(&self) -> StaticName {
        "Barrier".into()
    }

    op_as_typed_op!();
}

impl EvalOp for Barrier {
    op_out_of_plan!();

    fn eval(&self, _ctx: &EvalContext, inputs: TVec<TValue>) -> TractResult<TVec<TValue>> {
        Ok(inputs)
    }
}

impl TypedOp for Barrier {
    fn output_facts(&self, inputs: &[&TypedFact]) -> TractResult<TVec<TypedFact>> {
        Ok(tvec!(inputs[0].without_value()))
    }

    as_op!();
}

/// Puts an opaque identity behind broadcasts and casts of doubles. A `Tile` counts as a broadcast: it becomes one where it
/// repeats axes of length 1.
pub(super) fn shield(model: &mut TypedModel) -> TractResult<()> {
    let mut shielded = Vec::new();
    for node in model.nodes() {
        let broadcasts = node.op_is::<MultiBroadcastTo>() || node.op_is::<Tile>();
        if broadcasts || node.op_is::<Cast>() && model.outlet_fact(node.inputs[0])?.datum_type == f64::datum_type() {
            shielded.push(node.id);
        }
    }
    for id in shielded {
        let (name, fact) = (format!("{}.barrier", model.node(id).name), model.outlet_fact(id.into())?);
        TypedModelPatch::intercept(model, id.into(), name, Barrier, fact.without_value())?.apply(model)?;
    }
    Ok(())
}
