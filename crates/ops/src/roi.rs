//! A window of fixed size for each region of interest. Spec: ai.onnx `RoiAlign` (10, 16, 22), `MaxRoiPool` (1, 22).
//!  R1  y has a slot for each region: axis 0 of y, of the regions and of their batch numbers.
//!  R2  Axis 1 of y is that of x: channels pass.
//!  R3  The batch axis of x is addressed by data; the numbers of a region are read whole.
//!  R4  Spatial axes are frozen: a window mixes them. Their sizes in y are attributes.

use crate::form::{freeze, mismatch, tie, unnamed};
use sparsec_ir::{
    Affine, Dim, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize, ShapeRule,
    Work, WorkRule,
};

const ROI_ALIGN: OpDef = OpDef {
    name: "RoiAlign",
    domain: ONNX,
    since: &[10, 16, 22],
    shape: ShapeRule::By(|n| shape(n, vec![n.int_or("output_height", 1)?, n.int_or("output_width", 1)?])),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "MaxRoiPool",
        since: &[1, 22],
        shape: ShapeRule::By(|n| shape(n, n.ints("pooled_shape")?.unwrap_or_default())),
        ..ROI_ALIGN
    },
    ROI_ALIGN,
];

/// y of the pooled sizes that the attributes give.
fn shape(node: &NodeRef, pooled: Vec<i64>) -> Result<Vec<Fact>, OpError> {
    // What computes regions is often not known; the result has four axes all the same.
    let size =
        |operand: usize, rank: usize, axis: usize, to: usize| match node.need_input(operand)?.fact.shape.as_deref() {
            Some(dims) if dims.len() == rank => Ok(dims[axis].clone()),
            Some(dims) => Err(mismatch("rank of an operand of regions of interest", dims.len(), rank)),
            None => Ok(unnamed(node, 0, to)),
        };
    let (regions, channels) = (size(1, 2, 0, 0)?, size(0, 4, 1, 1)?);
    if pooled.len() != 2 {
        return Err(mismatch("sizes of a pooled window", pooled.len(), 2));
    }
    let pooled: Vec<Dim> = pooled.iter().map(|&p| Dim::from(p)).collect();
    if let Some(wrong) = pooled.iter().find(|p| p.as_const().is_some_and(|p| p < 1)) {
        return Err(mismatch("a window needs a positive size", wrong, 1));
    }
    let out = [&[regions, channels], pooled.as_slice()].concat(); // R1, R2, R4
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(out), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, regions, y) = (node.need_input(0)?, node.need_input(1)?, node.need_output(0)?);
    tie(r, (&regions, 0), (&y, 0), "R1");
    if let Some(batch) = node.input(2) {
        tie(r, (&batch, 0), (&y, 0), "R1");
    }
    tie(r, (&x, 1), (&y, 1), "R2");
    freeze(r, &x, [0], &Reason::Indexed); // R3
    freeze(r, &regions, [1], &Reason::Rule("corners of a region"));
    for o in [&x, &y] {
        freeze(r, o, 2..4, &Reason::Window); // R4
    }
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_r3_r4_channels_pass_and_regions_are_batches() {
        let text = "g (float[1,8,16,16] x, float[n,4] b, int64[n] i) => (y)
            { y = RoiAlign <output_height=7, output_width=5> (x, b, i) }";
        check_shape(text, "float[n,8,7,5]");
        check_relation(
            text,
            "R2 x:1 = y:1
             freeze x:0: indexed by data
             freeze b:1: corners of a region
             freeze x:2: a window mixes neighbouring slots
             freeze x:3: a window mixes neighbouring slots
             freeze y:2: a window mixes neighbouring slots
             freeze y:3: a window mixes neighbouring slots",
        );
    }

    #[test]
    fn r4_sizes_are_attributes() {
        check_shape(
            "g (float[1,8,16,16] x, float[3,5] b) => (y) { y = MaxRoiPool <pooled_shape=[2,3]> (x, b) }",
            "float[3,8,2,3]",
        );
        check_shape(
            "g (float[1,8,16,16] x, float[3,5] b) => (y) { y = MaxRoiPool <pooled_shape=[0,3]> (x, b) }",
            "error: a window needs a positive size: 0 against 1",
        );
    }
}
