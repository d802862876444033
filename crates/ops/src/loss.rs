//! Losses of a classifier. Spec: ai.onnx `NegativeLogLikelihoodLoss` (12, 13, 22), `SoftmaxCrossEntropyLoss` (12, 13).
//!  R1  Targets name classes by number, and the loss is taken over all of them: every axis is frozen.
//!  R2  Without reduction the loss has the shape of the targets, else it is a scalar.
//!  R3  `SoftmaxCrossEntropyLoss`: result 1 has the shape of the scores.

use crate::form::like;
use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Resize, ShapeRule, Work, WorkRule,
};

const LOSS: OpDef = OpDef {
    name: "NegativeLogLikelihoodLoss",
    domain: ONNX,
    since: &[12, 13, 22],
    shape: ShapeRule::By(|n| Ok(vec![loss(n)?])),
    relate: Relate::Opaque("targets name classes by number"), // R1
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    LOSS,
    OpDef {
        name: "SoftmaxCrossEntropyLoss",
        since: &[12, 13],
        shape: ShapeRule::By(|n| Ok(vec![loss(n)?, like(n, 0)?])), // R3
        ..LOSS
    },
];

fn loss(node: &NodeRef) -> Result<Fact, OpError> {
    let shape = match node.string("reduction")?.as_deref() {
        Some("none") => node.need_input(1)?.fact.shape.clone(),
        _ => Some(Vec::new()),
    };
    Ok(Fact { elem: node.need_input(0)?.fact.elem, shape, content: None }) // R2
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    #[test]
    fn r2_r3_a_loss_is_a_scalar_unless_it_is_not_reduced() {
        let text = |attrs: &str| {
            format!("g (float[n,5,7] x, int64[n,7] t) => (y) {{ y, p = SoftmaxCrossEntropyLoss {attrs} (x, t) }}")
        };
        check_shape(&text(""), "float[]; float[n,5,7]");
        check_shape(&text("<reduction=\"none\">"), "float[n,7]; float[n,5,7]");
        let text = "g (float[n,5] x, int64[n] t) => (y) { y = NegativeLogLikelihoodLoss <reduction=\"none\"> (x, t) }";
        check_shape(text, "float[n]");
    }
}
