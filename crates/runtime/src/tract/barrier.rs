//! Keeps tract from losing the terms of a sum over an axis that a broadcast has stretched.
//!
//! tract takes a broadcast in front of a contraction away, also where it stretches the axis that is summed over: a sum
//! of n terms becomes one of one term. An identity behind each broadcast that no rewrite looks through prevents it.

use tract_onnx::tract_core::internal::*;
use tract_onnx::tract_core::ops::array::{MultiBroadcastTo, Tile};

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

/// Puts an opaque identity behind each broadcast of `model`. A `Tile` counts as one: it becomes one where it repeats axes
/// of length 1.
pub(super) fn shield(model: &mut TypedModel) -> TractResult<()> {
    let broadcasts = model.nodes().iter().filter(|n| n.op_is::<MultiBroadcastTo>() || n.op_is::<Tile>());
    for node in broadcasts.map(|n| n.id).collect::<Vec<_>>() {
        let (name, fact) = (format!("{}.barrier", model.node(node).name), model.outlet_fact(node.into())?);
        TypedModelPatch::intercept(model, node.into(), name, Barrier, fact.without_value())?.apply(model)?;
    }
    Ok(())
}
