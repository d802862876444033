//! `ReverseSequence`: the first slots of an axis in reverse, as many as each slot of the batch axis has.
//! Spec: ai.onnx `ReverseSequence`, versions 10, 28.
//!  R1  The axis of time is frozen in x and y.
//!  R2  Every other axis of y is that of x; the batch axis is also that of the lengths.

use crate::form::{freeze, like, tie, tie_same};
use crate::work::moves;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "ReverseSequence",
    domain: ONNX,
    since: &[10, 28],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    let time = node.axis(node.int_or("time_axis", 0)?, rank)?;
    let batch = node.axis(node.int_or("batch_axis", 1)?, rank)?;
    for o in [&x, &y] {
        freeze(r, o, [time], &Reason::Rule("reversed up to a length that is data")); // R1
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| *a != time), "R2");
    tie(r, (&y, batch), (&node.need_input(1)?, 0), "R2");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_all_axes_but_time_pass() {
        let text = "g (float[5,2,4] x, int64[2] l) => (y) { y = ReverseSequence (x, l) }";
        check_shape(text, "float[5,2,4]");
        check_relation(
            text,
            "freeze x:0: reversed up to a length that is data
             freeze y:0: reversed up to a length that is data
             R2 x:1 = y:1
             R2 x:2 = y:2
             R2 y:1 = l:0",
        );
    }
}
