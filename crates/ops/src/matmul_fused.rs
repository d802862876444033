//! Matrix products with what runtimes fuse into them. Spec: com.microsoft `FusedMatMul`, `FusedGemm`,
//! `GemmFastGelu` (1).
//!  R1  Rows, columns and batches: rules R1 to R3 of `MatMul`, after `transA` and `transB` have swapped the last two
//!      axes; for `FusedGemm` those of `Gemm`. A scale and an activation function are elementwise.
//!  R2  `transBatchA` and `transBatchB` move a batch axis beside the contracted one, which the rules do not speak of.
//!  R3  The bias of `GemmFastGelu` runs along the columns.

use crate::form::tie;
use crate::gemm;
use crate::matmul::{Form, MatMul, relate_of, shape_of, work_of};
use sparsec_ir::{Affine, LinearRule, NodeRef, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule};

const FUSED: OpDef = OpDef {
    name: "FusedMatMul",
    domain: "com.microsoft",
    since: &[1],
    shape: ShapeRule::By(|n| shape_of(n, form(n)?)),
    relate: Relate::By(|n, r| relate_of(n, form(n)?, r)),
    work: WorkRule::By(|n| work_of(n, form(n)?)),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "FusedGemm",
        shape: ShapeRule::By(gemm::shape),
        relate: Relate::By(gemm::relate),
        work: WorkRule::By(gemm::work),
        ..FUSED
    },
    FUSED,
    OpDef { name: "GemmFastGelu", relate: Relate::By(relate_bias), ..FUSED },
];

fn form(node: &NodeRef) -> Result<Form, OpError> {
    let set = |name| node.int_or(name, 0).map(|v| v != 0);
    if set("transBatchA")? || set("transBatchB")? {
        return Err(OpError::Unsupported("a batch axis beside the contracted one")); // R2
    }
    Ok(Form { a: 0, b: 1, swap_a: set("transA")?, swap_b: set("transB")? })
}

fn relate_bias(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, form(node)?, r)?;
    if let Some(bias) = node.input(2) {
        tie(r, (&node.need_output(0)?, MatMul::view(node, form(node)?)?.y_n()), (&bias, 0), "R3");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    fn text(op: &str, operands: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[2,3,7] a, float[2,5,3] b, float[5] c) => (y)
            {{ y = com.microsoft.{op} ({operands}) }}"#
        )
    }

    #[test]
    fn r1_transposes_swap_the_last_two_axes() {
        let both = text("FusedMatMul <alpha=0.5, transA=1, transB=1>", "a, b");
        check_relation(&both, "R1 a:1 * b:2\nR2 y:1 = a:2\nR2 y:2 = b:1\nR3 y:0 = a:0\nR3 y:0 = b:0");
        check_shape(&both, "float[2,7,5]");
        check_shape(&text("FusedMatMul", "a, b"), "error: contracted sizes: 7 against 5");
    }

    #[test]
    fn r2_batches_beside_the_contracted_axis_are_refused() {
        check_relation(&text("FusedMatMul <transBatchA=1>", "a, b"), "error: a batch axis beside the contracted one");
    }

    #[test]
    fn r3_the_bias_runs_along_the_columns() {
        let expect = "R1 a:1 * b:2\nR2 y:1 = a:2\nR2 y:2 = b:1\nR3 y:0 = a:0\nR3 y:0 = b:0\nR3 y:2 = c:0";
        check_relation(&text("GemmFastGelu <transA=1, transB=1>", "a, b, c"), expect);
    }
}
