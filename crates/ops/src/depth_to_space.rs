//! `DepthToSpace`, `SpaceToDepth`: blocks of positions against channels.
//! Spec: ai.onnx `DepthToSpace`, versions 1, 11, 13, 28; `SpaceToDepth`, versions 1, 13, 28.
//!  R1  The deep channel axis is the product of a block's rows and columns and the flat channel axis: in this order
//!      (mode `DCR`, and always for `SpaceToDepth`), or with the flat channels outermost (mode `CRD`).
//!  R2  A wide spatial axis is the product of the narrow one and the block.
//!  R3  The block is an attribute: its rows and columns never leave.

use crate::form::{mismatch, tie, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, AxisRef, Dim, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule,
};

const DEPTH_TO_SPACE: OpDef = OpDef {
    name: "DepthToSpace",
    domain: ONNX,
    since: &[1, 11, 13, 28],
    shape: ShapeRule::By(to_space_shape),
    relate: Relate::By(to_space),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    DEPTH_TO_SPACE,
    OpDef {
        name: "SpaceToDepth",
        since: &[1, 13, 28],
        shape: ShapeRule::By(to_depth_shape),
        relate: Relate::By(to_depth),
        ..DEPTH_TO_SPACE
    },
];

fn block(node: &NodeRef) -> Result<i64, OpError> {
    let bad = OpError::BadAttribute { name: "blocksize".to_string(), expected: "a positive size" };
    node.int("blocksize")?.filter(|b| (1..=1 << 15).contains(b)).ok_or(bad)
}

/// x with channels multiplied and spatial axes divided, or the other way round.
fn shape(
    node: &NodeRef,
    deeper: fn(&Dim, &Dim) -> Option<Dim>,
    narrower: fn(&Dim, &Dim) -> Option<Dim>,
) -> Result<Vec<Fact>, OpError> {
    let x = node.need_input(0)?.fact;
    let Some(dims) = &x.shape else { return Ok(vec![Fact::unranked(x.elem)]) };
    let [n, c, h, w] = dims.as_slice() else { return Err(mismatch("rank", dims.len(), 4)) };
    let b = block(node)?;
    let (line, area) = (Dim::from(b), Dim::from(b * b));
    let sized = |dim: &Dim, by: &Dim, f: fn(&Dim, &Dim) -> Option<Dim>, axis| match f(dim, by) {
        Some(d) => Ok(d),
        None if dim.as_const().is_some() => Err(mismatch("size and block", dim, by)),
        None => Ok(unnamed(node, 0, axis)),
    };
    let shape =
        vec![n.clone(), sized(c, &area, deeper, 1)?, sized(h, &line, narrower, 2)?, sized(w, &line, narrower, 3)?];
    Ok(vec![Fact { elem: x.elem, shape: Some(shape), content: None }])
}

fn to_space_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape(node, Dim::div_exact, Dim::mul)
}

fn to_depth_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape(node, Dim::mul, Dim::div_exact)
}

fn to_space(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (deep, wide) = (node.need_input(0)?, node.need_output(0)?);
    match node.string("mode")?.as_deref() {
        None | Some("DCR") => relate(node, &deep, &wide, |rows, columns, flat| [rows, columns, flat], r),
        Some("CRD") => relate(node, &deep, &wide, |rows, columns, flat| [flat, rows, columns], r),
        Some(_) => Err(OpError::BadAttribute { name: "mode".to_string(), expected: "`DCR` or `CRD`" }),
    }
}

fn to_depth(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (wide, deep) = (node.need_input(0)?, node.need_output(0)?);
    relate(node, &deep, &wide, |rows, columns, flat| [rows, columns, flat], r)
}

/// `order` gives the factors of the deep channel axis from block rows, block columns and flat channels.
fn relate(
    node: &NodeRef,
    deep: &Operand,
    wide: &Operand,
    order: fn(AxisRef, AxisRef, AxisRef) -> [AxisRef; 3],
    r: &mut Relations,
) -> Result<(), OpError> {
    if node.rank(0)? != 4 {
        return Err(mismatch("rank", node.rank(0)?, 4));
    }
    tie(r, (deep, 0), (wide, 0), "R2");
    let len = block(node)?.unsigned_abs();
    let (rows, columns) = (r.virtual_axis(len), r.virtual_axis(len));
    for axis in [rows, columns] {
        r.freeze(axis, Reason::Rule("a block of fixed size")); // R3
    }
    if deep.size(1).is_some() {
        r.product(deep.axis(1), &order(rows, columns, wide.axis(1)), "R1");
    }
    for (axis, lines) in [(2, rows), (3, columns)] {
        if deep.size(axis).is_some() {
            r.product(wide.axis(axis), &[deep.axis(axis), lines], "R2");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_error, check_fact, check_relation};

    const BLOCK: [&str; 2] = ["#0 frozen: a block of fixed size", "#1 frozen: a block of fixed size"];

    #[test]
    fn deep_channels_are_products() {
        let text = "g (float[n,12,5,w] x) => (float[] y) { y = DepthToSpace <blocksize = 2, mode = \"M\"> (x) }";
        check_fact(&text.replace('M', "DCR"), "float[n,3,10,2*w]");
        let spatial = "R2 y.2 = x.2*#0";
        check_relation(&text.replace('M', "DCR"), &[BLOCK[0], BLOCK[1], "R1 x.1 = #0*#1*y.1", spatial]);
        check_relation(&text.replace('M', "CRD"), &[BLOCK[0], BLOCK[1], "R1 x.1 = y.1*#0*#1", spatial]);
    }
    #[test]
    fn space_to_depth_is_the_inverse() {
        let text = "g (float[n,3,10,w] x) => (float[] y) { y = SpaceToDepth <blocksize = 2> (x) }";
        check_relation(text, &[BLOCK[0], BLOCK[1], "R1 y.1 = #0*#1*x.1", "R2 x.2 = y.2*#0"]);
    }
    #[test]
    fn channels_must_fill_blocks() {
        check_error(
            "g (float[n,6,5,5] x) => (float[] y) { y = DepthToSpace <blocksize = 2> (x) }",
            "size and block: 6 against 4",
        );
    }
}
