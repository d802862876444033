//! Normalisation along an axis that keeps the shape. Spec: ai.onnx `Softmax`, `LogSoftmax`, `Hardmax` (1, 11, 13),
//! `LpNormalization` (1, 22).
//!  R1  The normalised axes are frozen: one axis, or before version 13 of the softmaxes every axis from `axis` on,
//!      since they flattened x to a matrix.
//!  R2  The other axes of y are those of x.

use crate::form::{freeze, normalised, tie_same};
use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, Work,
    WorkRule,
};
use std::ops::Range;

const fn along(
    name: &'static str,
    since: &'static [i64],
    relate: fn(&NodeRef, &mut Relations) -> Result<(), OpError>,
) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    along("Hardmax", &[1, 11, 13], relate_softmax),
    along("LogSoftmax", &[1, 11, 13], relate_softmax),
    along("LpNormalization", &[1, 22], relate_one_axis),
    along("Softmax", &[1, 11, 13], relate_softmax),
];

/// Normalised axes of a softmax.
fn softmax_axes(node: &NodeRef) -> Result<Range<usize>, OpError> {
    let rank = node.rank(0)?;
    if node.opset >= 13 {
        return one_axis(node);
    }
    let axis = node.int_or("axis", 1)?;
    // The matrix may have no columns axis: `axis` may equal the rank.
    Ok(if usize::try_from(axis) == Ok(rank) { rank..rank } else { node.axis(axis, rank)?..rank })
}

fn one_axis(node: &NodeRef) -> Result<Range<usize>, OpError> {
    let axis = node.axis(node.int_or("axis", -1)?, node.rank(0)?)?;
    Ok(axis..axis + 1)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut y = node.need_input(0)?.fact.clone();
    y.content = None;
    Ok(vec![y])
}

fn relate_softmax(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, softmax_axes(node)?, r)
}

fn relate_one_axis(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, one_axis(node)?, r)
}

/// Relations of a normalisation over `axes` of operand 0.
pub(crate) fn relate(node: &NodeRef, axes: Range<usize>, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    for o in [&x, &y] {
        freeze(r, o, axes.clone(), &normalised(node)); // R1
    }
    tie_same(r, &x, &y, (0..rank).filter(|a| !axes.contains(a)), "R2");
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    fn text(opset: i64, op: &str) -> String {
        format!(r#"<ir_version: 8, opset_import: ["" : {opset}]> g (float[2,3,4] x) => (y) {{ y = {op} (x) }}"#)
    }

    #[test]
    fn r1_one_axis_from_version_13_on() {
        let last = "freeze x:2: Softmax works over the whole axis
            freeze y:2: Softmax works over the whole axis
            R2 x:0 = y:0
            R2 x:1 = y:1";
        check_relation(&text(13, "Softmax"), last);
        check_relation(&text(11, "LpNormalization"), &last.replace("Softmax", "LpNormalization"));
    }

    #[test]
    fn r1_every_axis_from_axis_on_before_version_13() {
        check_relation(
            &text(11, "Softmax"),
            "freeze x:1: Softmax works over the whole axis
             freeze x:2: Softmax works over the whole axis
             freeze y:1: Softmax works over the whole axis
             freeze y:2: Softmax works over the whole axis
             R2 x:0 = y:0",
        );
        check_relation(&text(11, "Softmax <axis=3>"), "R2 x:0 = y:0\nR2 x:1 = y:1\nR2 x:2 = y:2");
    }

    #[test]
    fn the_shape_is_that_of_x() {
        check_shape(&text(13, "Hardmax"), "float[2,3,4]");
    }
}
