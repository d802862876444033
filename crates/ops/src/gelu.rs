//! Gelu with a bias. Spec: com.microsoft `BiasGelu`, `FastGelu` (1).
//!  R1  Every axis of y is the same axis of x, and the last one that of the bias, which `FastGelu` may lack.

use crate::form::{tie, tie_same};
use crate::work::heavy;
use sparsec_ir::{Affine, Fact, LinearRule, NodeRef, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule};

const BIASED: OpDef = OpDef {
    name: "BiasGelu",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(heavy),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[BIASED, OpDef { name: "FastGelu", ..BIASED }];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![node.need_input(0)?.fact.clone().with_content(None)])
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (x, y, rank) = (node.need_input(0)?, node.need_output(0)?, node.rank(0)?);
    tie_same(r, &x, &y, 0..rank, "R1");
    if let (Some(bias), Some(last)) = (node.input(1), rank.checked_sub(1)) {
        tie(r, (&y, last), (&bias, 0), "R1");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_the_bias_runs_along_the_last_axis() {
        let text = |operands: &str| {
            format!(
                r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[n,3,6] x, float[6] b) => (y)
                {{ y = com.microsoft.FastGelu ({operands}) }}"#
            )
        };
        check_relation(&text("x, b"), "R1 x:1 = y:1\nR1 x:2 = y:2\nR1 y:2 = b:0");
        check_relation(&text("x"), "R1 x:1 = y:1\nR1 x:2 = y:2");
        check_shape(&text("x, b"), "float[n,3,6]");
    }
}
