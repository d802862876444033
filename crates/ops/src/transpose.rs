//! `Transpose`: axes in another order. Spec: ai.onnx `Transpose`, versions 1, 13, 21, 23, 24, 25.
//!  R1  Axis i of y is axis `perm[i]` of x; without `perm`, axes are reversed.

use crate::work::moves;
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Transpose",
    domain: ONNX,
    since: &[1, 13, 21, 23, 24, 25],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(moves),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn perm(node: &NodeRef, rank: usize) -> Result<Vec<usize>, OpError> {
    let Some(perm) = node.ints("perm")? else { return Ok((0..rank).rev().collect()) };
    let perm = node.axes(&perm, rank)?;
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if sorted.iter().copied().eq(0..rank) {
        Ok(perm)
    } else {
        Err(OpError::BadAttribute { name: "perm".to_string(), expected: "a permutation of the axes" })
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut fact = node.need_input(0)?.fact.clone();
    if let Some(dims) = &fact.shape {
        fact.shape = Some(perm(node, dims.len())?.into_iter().map(|a| dims[a].clone()).collect());
    }
    Ok(vec![fact])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    for (to, from) in perm(node, node.rank(0)?)?.into_iter().enumerate() {
        if let Some(len) = x.size(from) {
            r.tie(x.axis(from), y.axis(to), len, "R1");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn axes_are_permuted() {
        check_relation(
            "g (float[n,3,5] x) => (float[] y) { y = Transpose <perm = [0, 2, 1]> (x) }",
            &["R1 x.2 = y.1 x5", "R1 x.1 = y.2 x3"],
        );
        check_fact("g (float[n,3,5] x) => (float[] y) { y = Transpose (x) }", "float[5,3,n]");
    }
}
