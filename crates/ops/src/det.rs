//! `Det`: determinants of square matrices. Spec: ai.onnx `Det`, versions 11, 22.
//!  R1  The last two axes of x are frozen: every element counts in the result.
//!  R2  The axes of y are the others of x.

use crate::form::{dims, freeze, mismatch, normalised, tie_same};
use sparsec_ir::{
    Affine, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, Work,
    WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Det",
    domain: ONNX,
    since: &[11, 22],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

/// Number of axes before the matrices.
fn batches(node: &NodeRef) -> Result<usize, OpError> {
    let rank = node.rank(0)?;
    rank.checked_sub(2).ok_or_else(|| mismatch("rank of a matrix", rank, "2 or more"))
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let shape = dims(node, 0)?[..batches(node)?].to_vec(); // R2
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, batches) = (node.need_input(0)?, node.need_output(0)?, batches(node)?);
    tie_same(r, &x, &y, 0..batches, "R2");
    freeze(r, &x, batches..batches + 2, &normalised(node)); // R1
    Ok(())
}

fn work(_: &NodeRef) -> Result<Work, OpError> {
    Ok(Work { kernel: Kernel::Reduce, macs: 0 })
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_matrices_are_read_whole() {
        let text = "g (float[2,3,3] x) => (y) { y = Det (x) }";
        check_shape(text, "float[2]");
        check_relation(
            text,
            "R2 x:0 = y:0\nfreeze x:1: Det works over the whole axis\nfreeze x:2: Det works over the whole axis",
        );
        check_shape("g (float[3] x) => (y) { y = Det (x) }", "error: rank of a matrix: 1 against 2 or more");
    }
}
