//! `Trilu`: one triangle of the last two axes is kept, the other becomes zero. Spec: ai.onnx `Trilu`, version 14.
//!  R1  The last two axes are frozen: which elements stay depends on their positions.
//!  R2  Every other axis of y is the same axis of x.

use crate::content::freeze_sizes;
use crate::form::like;
use crate::work::moves;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Trilu",
    domain: ONNX,
    since: &[14],
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
    freeze_sizes(node, 1, r);
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let rank = node.rank(0)?;
    for axis in 0..rank {
        match x.size(axis) {
            Some(len) if axis + 2 < rank => r.tie(x.axis(axis), y.axis(axis), len, "R2"),
            _ => {
                r.freeze(x.axis(axis), Reason::Rule("keeps a triangle")); // R1
                r.freeze(y.axis(axis), Reason::Rule("keeps a triangle"));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::check_relation;

    #[test]
    fn the_last_two_axes_are_frozen() {
        let why = "frozen: keeps a triangle";
        let frozen = ["x.1", "y.1", "x.2", "y.2"].map(|a| format!("{a} {why}"));
        let expect: Vec<&str> = std::iter::once("R2 x.0 = y.0 x3").chain(frozen.iter().map(String::as_str)).collect();
        check_relation("g (float[3,5,5] x) => (float[] y) { y = Trilu (x) }", &expect);
    }
}
