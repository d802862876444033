//! `Col2Im`: columns of blocks summed back into an image. Spec: ai.onnx `Col2Im`, version 18.
//!  R1  Axis 1 of x is (channel, place in a block); the channel is axis 1 of y, places are frozen.
//!  R2  Batch axes are the same; columns and spatial axes are frozen: blocks overlap.
//!  R3  The spatial sizes of y are operand 1, those of a block operand 2.

use crate::content::{freeze_sizes, of};
use crate::form::{dims, freeze, mismatch, tie, unnamed};
use crate::work::moves;
use sparsec_ir::{
    Affine, Dim, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Col2Im",
    domain: ONNX,
    since: &[18],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Number of places in a block, where it is known.
fn places(node: &NodeRef) -> Result<Option<Dim>, OpError> {
    let block = of(&node.need_input(2)?);
    block.map(|b| Dim::product(&b).ok_or(OpError::Overflow)).transpose()
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let x = dims(node, 0)?;
    let [batch, rows, _] = x else { return Err(mismatch("rank of columns", x.len(), 3)) };
    let (image, elem) = (node.need_input(1)?, node.need_input(0)?.fact.elem);
    let rank = match (of(&image), image.size(0)) {
        (Some(sizes), _) => sizes.len(),
        (None, Some(len)) if len <= 64 => len as usize,
        _ => return Ok(vec![Fact::unranked(elem)]),
    };
    let spatial = of(&image).unwrap_or_else(|| (0..rank).map(|a| unnamed(node, 0, a + 2)).collect()); // R3
    let channels = match places(node)? {
        Some(places) if places.as_const() == Some(0) => return Err(mismatch("places in a block", places, 1)),
        Some(places) => match (rows.div_exact(&places), rows.as_const()) {
            (Some(channels), _) => channels,
            (None, Some(_)) => return Err(mismatch("rows against places in a block", rows, places)),
            (None, None) => unnamed(node, 0, 1),
        },
        None => unnamed(node, 0, 1),
    };
    let out = [&[batch.clone(), channels], spatial.as_slice()].concat();
    Ok(vec![Fact { elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    [1, 2].into_iter().for_each(|i| freeze_sizes(node, i, r));
    tie(r, (&x, 0), (&y, 0), "R2");
    freeze(r, &x, [2], &Reason::Window);
    freeze(r, &y, 2..y.rank().unwrap_or(2), &Reason::Window); // R2
    let places = places(node)?.and_then(|p| p.as_size()).filter(|&p| p > 0);
    match (places, y.size(1)) {
        (Some(1), _) => tie(r, (&x, 1), (&y, 1), "R1"),
        (Some(places), Some(_)) => {
            let place = r.virtual_axis(places);
            r.freeze(place, Reason::Window);
            r.product(x.axis(1), &[y.axis(1), place], "R1");
        }
        _ => return Err(OpError::NotConstant { index: 2 }),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_r3_a_channel_is_a_block_of_rows() {
        let text = "g (float[n,12,9] x) => (y) <int64[2] i = {4, 4}, int64[2] b = {2, 2}> { y = Col2Im (x, i, b) }";
        check_shape(text, "float[n,3,4,4]");
        check_relation(
            text,
            "freeze i:0: holds sizes
             freeze b:0: holds sizes
             freeze x:2: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             freeze y:3: a window mixes neighbouring slots
             freeze $0(4): a window mixes neighbouring slots
             R1 x:1 = y:1 x $0(4)",
        );
    }

    #[test]
    fn r3_sizes_may_be_computed() {
        check_shape(
            "g (float[n,12,9] x, int64[2] i, int64[2] b) => (y) { y = Col2Im (x, i, b) }",
            "float[n,?y.1,?y.2,?y.3]",
        );
        let uneven = "g (float[n,13,9] x) => (y) <int64[2] i = {4, 4}, int64[2] b = {2, 2}> { y = Col2Im (x, i, b) }";
        check_shape(uneven, "error: rows against places in a block: 13 against 4");
    }
}
