//! Sampling at positions that are data. Spec: ai.onnx `GridSample` (16, 20, 22), `AffineGrid` (20).
//!  R1  `GridSample`: axis 1 of y is that of x: channels pass.
//!  R2  `GridSample`: the batch axes of x, grid and y are the same; so are the spatial axes of grid and y.
//!  R3  `GridSample`: spatial axes of x are frozen: any of their slots may be read. The last axis of the grid holds
//!      coordinates.
//!  R4  `AffineGrid` fills a grid from the numbers of its slots: all is frozen.

use crate::content::of;
use crate::form::{dims, freeze, mismatch, tie, tie_same, unnamed};
use crate::work::light;
use sparsec_ir::{
    Affine, Dim, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule,
    Work, WorkRule,
};

const GRID_SAMPLE: OpDef = OpDef {
    name: "GridSample",
    domain: ONNX,
    since: &[16, 20, 22],
    shape: ShapeRule::By(sample_shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "AffineGrid",
        since: &[20],
        shape: ShapeRule::By(grid_shape),
        relate: Relate::Opaque("its coordinates depend on how many slots an axis has"),
        work: WorkRule::By(light),
        ..GRID_SAMPLE
    },
    GRID_SAMPLE,
];

fn sample_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (x, grid) = (dims(node, 0)?, dims(node, 1)?);
    if x.len() < 3 || x.len() != grid.len() {
        return Err(mismatch("ranks of x and the grid", x.len(), grid.len()));
    }
    let out = [&x[..2], &grid[1..grid.len() - 1]].concat(); // R1, R2
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, grid, y, rank) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?, node.rank(0)?);
    tie_same(r, &x, &y, [0, 1], "R1");
    tie(r, (&grid, 0), (&y, 0), "R2");
    for axis in 2..rank {
        tie(r, (&grid, axis - 1), (&y, axis), "R2");
    }
    freeze(r, &x, 2..rank, &Reason::Window); // R3
    freeze(r, &grid, [rank - 1], &Reason::Rule("coordinates of a position"));
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

fn grid_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (theta, size) = (dims(node, 0)?, node.need_input(1)?);
    let [batch, space, _] = theta else { return Err(mismatch("rank of theta", theta.len(), 3)) };
    // [n, c, spatial…] gives [n, spatial…, one coordinate for each].
    let spatial = match (of(&size), size.size(0)) {
        (Some(sizes), _) if sizes.len() >= 3 => sizes[2..].to_vec(),
        (None, Some(len)) if (3..=64).contains(&len) => (1..len as usize - 1).map(|a| unnamed(node, 0, a)).collect(),
        (Some(_), _) | (None, Some(_)) => return Err(mismatch("sizes of a grid", "rank", "3 or more")),
        (None, None) => return Ok(vec![Fact::unranked(node.need_input(0)?.fact.elem)]),
    };
    let coordinates = Dim::from(spatial.len() as i64);
    if space.as_const().is_some_and(|s| Dim::from(s) != coordinates) {
        return Err(mismatch("spatial axes of theta and size", space, coordinates));
    }
    let out = [std::slice::from_ref(batch), spatial.as_slice(), &[coordinates]].concat();
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_r3_channels_pass_and_positions_are_those_of_the_grid() {
        let text = "g (float[2,8,5,6] x, float[2,7,9,2] grid) => (y) { y = GridSample (x, grid) }";
        check_shape(text, "float[2,8,7,9]");
        check_relation(
            text,
            "R1 x:0 = y:0
             R1 x:1 = y:1
             R2 grid:0 = y:0
             R2 grid:1 = y:2
             R2 grid:2 = y:3
             freeze x:2: a window mixes neighbouring slots
             freeze x:3: a window mixes neighbouring slots
             freeze grid:3: coordinates of a position",
        );
    }

    #[test]
    fn r4_grids_have_a_coordinate_for_each_spatial_axis() {
        let text = "g (float[2,2,3] t) => (y) <int64[4] s = {2, 8, 5, 6}> { y = AffineGrid (t, s) }";
        check_shape(text, "float[2,5,6,2]");
        let unknown = "g (float[n,3,4] t, int64[5] s) => (y) { y = AffineGrid (t, s) }";
        check_shape(unknown, "float[n,?y.1,?y.2,?y.3,3]");
        let wrong = "g (float[2,3,4] t) => (y) <int64[4] s = {2, 8, 5, 6}> { y = AffineGrid (t, s) }";
        check_shape(wrong, "error: spatial axes of theta and size: 3 against 2");
    }
}
