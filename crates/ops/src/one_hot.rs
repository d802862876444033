//! `OneHot`: an axis of classes marked by index. Spec: ai.onnx `OneHot`, versions 9, 11, 28.
//!  R1  The new axis is addressed by data: it is frozen.
//!  R2  Every other axis of y is an axis of the indices.
//!  R3  Depth and the two values are read whole.

use crate::content::freeze_sizes;
use crate::form::{tie, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "OneHot",
    domain: ONNX,
    since: &[9, 11, 28],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn axis(node: &NodeRef) -> Result<usize, OpError> {
    node.axis(node.int_or("axis", -1)?, node.rank(0)? + 1)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let elem = node.need_input(2)?.fact.elem;
    let Some(mut shape) = node.need_input(0)?.fact.shape.clone() else { return Ok(vec![Fact::unranked(elem)]) };
    let axis = axis(node)?;
    let depth = crate::content::of(&node.need_input(1)?).and_then(|c| c.first().cloned());
    shape.insert(axis, depth.unwrap_or_else(|| unnamed(node, 0, axis)));
    Ok(vec![Fact { elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    (1..3).for_each(|i| freeze_sizes(node, i, r)); // R3
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let classes = axis(node)?;
    r.freeze(y.axis(classes), Reason::Indexed); // R1
    for axis in 0..node.rank(0)? {
        tie(r, (&x, axis), (&y, if axis < classes { axis } else { axis + 1 }), "R2");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn classes_are_addressed_by_data() {
        let text = "g (int64[n,5] x) => (float[] y) <int64 d = {9}, float[2] v = {0, 1}> { y = OneHot (x, d, v) }";
        check_fact(text, "float[n,5,9]");
        check_relation(text, &["v.0 frozen: holds sizes", "y.2 frozen: indexed by data", "R2 x.1 = y.1 x5"]);
    }
}
