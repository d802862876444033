//! `Pad`: slots added around each axis. Spec: ai.onnx `Pad`, versions 1, 2, 11, 13, 18, 19, 21, 23, 24, 25; pads are an
//! operand from 11 on, axes exist from 18 on.
//!  R1  An axis without pads is the same axis in x and y.
//!  R2  With a constant value, the slots of x stand between the added ones, which are frozen.
//!  R3  Other modes read neighbouring slots, and negative pads cut positions: the axis is frozen.

use crate::content::freeze_sizes;
use crate::form::{followed, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, Dim, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Pad",
    domain: ONNX,
    since: &[1, 2, 11, 13, 18, 19, 21, 23, 24, 25],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Pads before and after each axis of x; `None` where they are known only at run time.
fn pads(node: &NodeRef, rank: usize) -> Result<Option<Vec<(Dim, Dim)>>, OpError> {
    let list = match node.input(1) {
        Some(o) => o.fact.content.clone(),
        None => {
            let name = if node.opset < 2 { "paddings" } else { "pads" };
            let given = node.ints(name)?.ok_or(OpError::MissingOperand { index: 1 })?;
            Some(given.into_iter().map(Dim::from).collect())
        }
    };
    let axes = match node.input(3) {
        None => Some((0..rank).collect()),
        Some(o) => o.fact.ints().map(|axes| node.axes(&axes, rank)).transpose()?,
    };
    let (Some(list), Some(axes)) = (list, axes) else { return Ok(None) };
    if list.len() != 2 * axes.len() {
        return Err(crate::form::mismatch("pads and padded axes", list.len(), axes.len()));
    }
    let mut out = vec![(Dim::from(0), Dim::from(0)); rank];
    for (i, &axis) in axes.iter().enumerate() {
        out[axis] = (list[i].clone(), list[i + axes.len()].clone());
    }
    Ok(Some(out))
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    let Some(dims) = &x.shape else { return Ok(vec![Fact::unranked(x.elem)]) };
    let pads = pads(node, dims.len())?;
    let padded = |axis: usize| match &pads {
        Some(p) => followed(node, 0, axis, dims[axis].add(&p[axis].0).and_then(|d| d.add(&p[axis].1))),
        None => unnamed(node, 0, axis),
    };
    Ok(vec![Fact { elem: x.elem, shape: Some((0..dims.len()).map(padded).collect()), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    (1..node.input_count()).for_each(|i| freeze_sizes(node, i, r));
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    let rank = node.rank(0)?;
    let pads = pads(node, rank)?;
    let constant = node.string("mode")?.is_none_or(|m| m == "constant");
    for axis in 0..rank {
        let Some(len) = x.size(axis) else { continue };
        let pad = pads.as_ref().and_then(|p| Some((p[axis].0.as_size()?, p[axis].1.as_size()?)));
        match pad {
            Some((0, 0)) => r.tie(x.axis(axis), y.axis(axis), len, "R1"),
            Some((before, after)) if constant => {
                r.segment(y.axis(axis), before, x.axis(axis), len, "R2");
                for (start, count) in [(0, before), (before.saturating_add(len), after)] {
                    if count > 0 {
                        r.freeze_slots(y.axis(axis), start, count, Reason::Rule("padding"));
                    }
                }
            }
            _ => {
                r.freeze(x.axis(axis), Reason::Window); // R3
                r.freeze(y.axis(axis), Reason::Window);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    const PAD: &str =
        "g (float[n,3,5] x) => (float[] y) <int64[6] p = {0, 1, 0, 0, 2, 0}> { y = Pad <mode = \"M\"> (x, p) }";

    #[test]
    fn padding_surrounds_the_slots() {
        check_fact(&PAD.replace('M', "constant"), "float[n,6,5]");
        check_relation(
            &PAD.replace('M', "constant"),
            &[
                "p.0 frozen: holds sizes",
                "R2 y.1@1 = x.1 x3",
                "y.1@0 x1 frozen: padding",
                "y.1@4 x2 frozen: padding",
                "R1 x.2 = y.2 x5",
            ],
        );
    }
    #[test]
    fn modes_that_read_neighbours_freeze_the_axis() {
        let why = "frozen: a window mixes neighbouring slots";
        check_relation(
            &PAD.replace('M', "reflect"),
            &["p.0 frozen: holds sizes", &format!("x.1 {why}"), &format!("y.1 {why}"), "R1 x.2 = y.2 x5"],
        );
    }
}
