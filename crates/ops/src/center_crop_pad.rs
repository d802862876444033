//! `CenterCropPad`: the middle of an axis, or the axis amid zeros. Spec: ai.onnx `CenterCropPad`, version 18.
//!  R1  A named axis of y has the stated size; an axis that `axes` leaves out, or that keeps its size, is that of x.
//!  R2  Every other axis is frozen: which slots stay depends on how many there are.
//!  R3  Stated sizes follow a cut.

use crate::content::freeze_sizes;
use crate::form::{dims, freeze, mismatch, tie, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, Dim, Edit, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, Resized,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "CenterCropPad",
    domain: ONNX,
    since: &[18],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::By(resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Named axes with the stated sizes, `None` where they are computed at run time.
fn stated(node: &NodeRef) -> Result<(Vec<usize>, Option<Vec<Dim>>), OpError> {
    let rank = node.rank(0)?;
    let axes = match node.ints("axes")? {
        Some(axes) => node.axes(&axes, rank)?,
        None => (0..rank).collect(),
    };
    let sizes = node.need_input(1)?.fact.content.clone();
    match sizes {
        Some(s) if s.len() != axes.len() => Err(mismatch("sizes against axes", s.len(), axes.len())),
        sizes => Ok((axes, sizes)),
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let ((axes, sizes), mut out) = (stated(node)?, dims(node, 0)?.to_vec());
    for (i, &axis) in axes.iter().enumerate() {
        out[axis] = sizes.as_ref().map_or_else(|| unnamed(node, 0, axis), |s| s[i].clone()); // R1
    }
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let ((axes, sizes), x, y) = (stated(node)?, node.need_input(0)?, node.need_output(0)?);
    freeze_sizes(node, 1, r);
    for (axis, old) in dims(node, 0)?.iter().enumerate() {
        let new = axes.iter().position(|a| *a == axis).map(|i| sizes.as_ref().map(|s| &s[i]));
        if new.is_none_or(|new| new == Some(old)) {
            tie(r, (&x, axis), (&y, axis), "R1");
        } else {
            for o in [&x, &y] {
                freeze(r, o, [axis], &Reason::Rule("cropped or padded around its middle")); // R2
            }
        }
    }
    Ok(())
}

fn resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let y = cut.before.need_output(0)?;
    let (axes, Some(mut sizes)) = stated(&cut.before)? else { return Ok(Vec::new()) };
    let mut changed = false;
    for (size, &axis) in sizes.iter_mut().zip(&axes) {
        if let Some(kept) = (cut.kept)(y.value, axis) {
            *size = Dim::from(kept.len() as i64);
            changed = true;
        }
    }
    Ok(if changed { vec![Edit::Content { operand: 1, dims: sizes }] } else { Vec::new() }) // R3
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_resize, check_shape};

    const ALL: &str = "g (float[2,4,9] x) => (y) <int64[3] s = {2, 4, 6}> { y = CenterCropPad (x, s) }";

    #[test]
    fn r1_r2_axes_that_keep_their_size_pass() {
        check_shape(ALL, "float[2,4,6]");
        check_relation(
            ALL,
            "freeze s:0: holds sizes
             R1 x:0 = y:0
             R1 x:1 = y:1
             freeze x:2: cropped or padded around its middle
             freeze y:2: cropped or padded around its middle",
        );
        let some = "g (float[n,4,9] x, int64[1] s) => (y) { y = CenterCropPad <axes=[-1]> (x, s) }";
        check_shape(some, "float[n,4,?y.2]");
    }

    #[test]
    fn r3_stated_sizes_follow() {
        check_resize(ALL, &[("x", 1, &[0, 3]), ("y", 1, &[0, 3])], "#1=[2,2,6]");
    }
}
