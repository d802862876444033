//! Matrix products of quantised tensors. Spec: ai.onnx `QLinearMatMul` (10, 21), `MatMulInteger` (10); com.microsoft
//! `MatMulIntegerToFloat`, `DynamicQuantizeMatMul`, `QGemm` (1).
//!  R1  Rows, columns and batches: rules R1 to R3 of `MatMul`, for `QGemm` those of `Gemm`.
//!  R2  Scale and zero point of a have one number, or one for each row; those of b one, or one for each column; those of
//!      y one, or both. A bias runs along the columns.
//!  R3  A contracted slot is worth nothing where a or b equals its zero point.
//!  R4  `DynamicQuantizeMatMul` measures the range of a over all of it, with zero inside: each axis of a absorbs.

use crate::form::tie;
use crate::gemm::{self, Gemm};
use crate::matmul::{Form, MatMul, relate_of, shape_of, work_of};
use crate::quantised::{follow, typed, zero_point};
use sparsec_ir::{
    Affine, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule, WorkRule,
};

const INTEGER: OpDef = OpDef {
    name: "MatMulInteger",
    domain: ONNX,
    since: &[10],
    shape: ShapeRule::By(|n| of_type(n, Form::plain(0, 1), ElemType::I32)),
    relate: Relate::By(|n, r| relate(n, &INTEGER_PARTS, r)),
    work: WorkRule::By(|n| work_of(n, Form::plain(0, 1))),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        name: "DynamicQuantizeMatMul",
        domain: "com.microsoft",
        since: &[1],
        shape: ShapeRule::By(|n| of_type(n, Form::plain(0, 1), ElemType::F32)),
        relate: Relate::By(relate_measured),
        ..INTEGER
    },
    INTEGER,
    OpDef {
        name: "MatMulIntegerToFloat",
        domain: "com.microsoft",
        since: &[1],
        shape: ShapeRule::By(|n| typed(n, shape_of(n, Form::plain(0, 1)), 2)),
        relate: Relate::By(|n, r| relate(n, &TO_FLOAT, r)),
        ..INTEGER
    },
    OpDef {
        name: "QGemm",
        domain: "com.microsoft",
        since: &[1],
        shape: ShapeRule::By(gemm_shape),
        relate: Relate::By(relate_gemm),
        work: WorkRule::By(|n| gemm::work_of(n, GEMM)),
        ..INTEGER
    },
    OpDef {
        name: "QLinearMatMul",
        since: &[10, 21],
        shape: ShapeRule::By(|n| typed(n, shape_of(n, Form::plain(0, 3)), 7)),
        relate: Relate::By(|n, r| relate(n, &LINEAR, r)),
        work: WorkRule::By(|n| work_of(n, Form::plain(0, 3))),
        ..INTEGER
    },
];

/// Places of operands.
struct Parts {
    b: usize,
    /// Scales and zero points of a, b and y.
    of_a: &'static [usize],
    of_b: &'static [usize],
    of_y: &'static [usize],
    /// Zero points of a and b, past the last operand where there are none.
    zeros: [usize; 2],
    bias: usize,
}

const NONE: usize = usize::MAX;
const INTEGER_PARTS: Parts = Parts { b: 1, of_a: &[2], of_b: &[3], of_y: &[], zeros: [2, 3], bias: NONE };
const TO_FLOAT: Parts = Parts { b: 1, of_a: &[2, 4], of_b: &[3, 5], of_y: &[], zeros: [4, 5], bias: 6 };
const MEASURED: Parts = Parts { b: 1, of_a: &[], of_b: &[2, 3], of_y: &[], zeros: [NONE, 3], bias: 4 };
const LINEAR: Parts = Parts { b: 3, of_a: &[1, 2], of_b: &[4, 5], of_y: &[6, 7], zeros: [2, 5], bias: NONE };

/// A, B and C of `QGemm`.
const GEMM: gemm::Places = [0, 3, 6];

fn of_type(node: &NodeRef, form: Form, elem: ElemType) -> Result<Vec<Fact>, OpError> {
    let mut facts = shape_of(node, form)?;
    facts[0].elem = Some(elem);
    Ok(facts)
}

fn relate(node: &NodeRef, parts: &Parts, r: &mut Relations) -> Result<(), OpError> {
    let form = Form::plain(0, parts.b);
    relate_of(node, form, r)?; // R1
    let v = MatMul::view(node, form)?;
    let (a, b, y) = (node.need_input(0)?, node.need_input(parts.b)?, node.need_output(0)?);
    follow(node, parts.of_a, (&a, v.m.unwrap_or(v.a_k)), r); // R2
    follow(node, parts.of_b, (&b, v.n.unwrap_or(v.b_k)), r);
    follow(node, parts.of_y, (&y, v.y_batch), r);
    zero_point(node, &a, parts.zeros[0], v.m, v.a_k, r); // R3
    zero_point(node, &b, parts.zeros[1], v.n, v.b_k, r);
    if let (Some(bias), true) = (node.input(parts.bias), v.n.is_some()) {
        tie(r, (&y, v.y_n()), (&bias, 0), "R2");
    }
    Ok(())
}

fn relate_measured(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate(node, &MEASURED, r)?;
    let a = node.need_input(0)?;
    for axis in 0..node.rank(0)? {
        if let Some(len) = a.size(axis).filter(|n| *n > 1) {
            r.absorb(a.axis(axis), len, "R4");
        }
    }
    Ok(())
}

fn gemm_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = gemm::shape_of(node, GEMM)?;
    // Without a scale of y the result is not quantised.
    facts[0].elem = match node.input(8) {
        Some(zero) => zero.fact.elem,
        None => Some(ElemType::F32),
    };
    Ok(facts)
}

fn relate_gemm(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    gemm::relate_of(node, GEMM, r)?;
    let (g, y) = (Gemm::view(node, GEMM)?, node.need_output(0)?);
    follow(node, &[1, 2], (&g.a, g.m), r);
    follow(node, &[4, 5], (&g.b, g.n), r);
    follow(node, &[7, 8], (&y, 1), r);
    zero_point(node, &g.a, 2, Some(g.m), g.a_k, r);
    zero_point(node, &g.b, 5, Some(g.n), g.b_k, r);
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape, check_work};
    use sparsec_ir::Kernel;

    const LINEAR: &str = r#"g (uint8[n,3] a) => (y) <float as = {0.5}, uint8 az = {3}, int8[3,5] b = ["location": "random:1"],
        float[5] bs = {1, 2, 3, 4, 5}, int8[5] bz = {0, 1, 0, 2, 3}, float ys = {0.1}, uint8 yz = {7}>
        { y = QLinearMatMul (a, as, az, b, bs, bz, ys, yz) }"#;
    const MICROSOFT: &str = r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> "#;

    #[test]
    fn r1_r2_r3_parameters_of_columns_are_cut_along() {
        let expect = "R1 a:1 * b:0
            R2 y:1 = b:1
            Q2 b:1 = bs:0
            Q2 b:1 = bz:0
            zero a = az
            zero b = bz along 1";
        check_relation(LINEAR, expect);
        check_shape(LINEAR, "uint8[n,5]");
        check_work(LINEAR, &[("n", 2)], Kernel::Gemm { m: 2, n: 5, k: 3 }, 30);
    }

    #[test]
    fn r3_zero_points_of_columns_computed_at_run_time_freeze_what_is_summed() {
        let text = "g (uint8[n,3] a, int8[3,5] b, int8[5] z) => (y) { y = MatMulInteger (a, b, , z) }";
        check_relation(
            text,
            "R1 a:1 * b:0
             R2 y:1 = b:1
             Q2 b:1 = z:0
             freeze b:0: what stands for zero in each channel is computed at run time",
        );
        check_shape(text, "int32[n,5]");
    }

    #[test]
    fn r4_a_measured_range_absorbs_zeros() {
        let text = format!(
            r#"{MICROSOFT} g (float[2,3] a) => (y) <int8[3,5] b = ["location": "random:1"], float s = {{1}}, float[5] c = {{1,2,3,4,5}}>
            {{ y = com.microsoft.DynamicQuantizeMatMul (a, b, s, , c) }}"#
        );
        check_relation(
            &text,
            "R1 a:1 * b:0
             R2 y:0 = a:0
             R2 y:1 = b:1
             R2 y:1 = c:0
             R4 a:0 * a:0
             R4 a:1 * a:1",
        );
        check_shape(&text, "float[2,5]");
    }

    #[test]
    fn a_product_without_a_scale_of_y_gives_floats() {
        let text = |results: &str| {
            format!(
                r#"{MICROSOFT} g (uint8[n,3] a, float s, uint8 z, int8 bz) => (y) <int8[5,3] b = ["location": "random:1"], int32[5] c = {{1,2,3,4,5}}>
                {{ y = com.microsoft.QGemm <transB=1> (a, s, z, b, s, bz, c{results}) }}"#
            )
        };
        check_shape(&text(""), "float[n,5]");
        check_shape(&text(", s, z"), "uint8[n,5]");
        check_relation(&text(""), "R1 a:1 * b:1\nR2 y:1 = b:0\nR3 y:1 = c:0\nzero a = z\nzero b = bz");
    }
}
