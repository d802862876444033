//! `LRN`: every element over a norm of its neighbours along the channel axis. Spec: ai.onnx `LRN`, versions 1, 13.
//!  R1  The channel axis is frozen: a window mixes it.
//!  R2  The other axes of y are those of x.

use crate::form::{freeze, like, tie_same};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "LRN",
    domain: ONNX,
    since: &[1, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(reduces),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![like(node, 0)?])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    for o in [&x, &y] {
        freeze(r, o, (1..rank).take(1), &Reason::Window); // R1
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| *a != 1), "R2");
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_only_channels_are_frozen() {
        let text = "g (float[2,6,8] x) => (y) { y = LRN <size=3> (x) }";
        check_relation(
            text,
            "freeze x:1: a window mixes neighbouring slots
             freeze y:1: a window mixes neighbouring slots
             R2 x:0 = y:0
             R2 x:2 = y:2",
        );
        check_shape(text, "float[2,6,8]");
    }
}
