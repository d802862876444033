//! `SwiGLU`: a gate, a · sigmoid(α · a), times a value. Spec: ai.onnx `SwiGLU`, version 28.
//!  R1  Every axis of a, b and y is the same: nothing is broadcast.

use crate::form::{like, tie_same};
use crate::work::heavy;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "SwiGLU",
    domain: ONNX,
    since: &[28],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(heavy),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let y = node.need_output(0)?;
    for index in [0, 1] {
        tie_same(r, &node.need_input(index)?, &y, 0..node.rank(index)?, "R1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_gate_and_value_have_the_channels_of_y() {
        let text = "g (float[n,8] a, float[n,8] b) => (y) { y = SwiGLU (a, b) }";
        check_shape(text, "float[n,8]");
        check_relation(text, "R1 a:1 = y:1\nR1 b:1 = y:1");
    }
}
