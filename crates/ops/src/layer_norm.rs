//! Normalisation over the last axes. Spec: ai.onnx `LayerNormalization` (17), `RMSNormalization` (23), and
//! `SimplifiedLayerNormalization`, ONNX Runtime's name for the latter in ai.onnx (1) and com.microsoft (1).
//!  R1  Axes before `axis` of every result are those of x; the results after the first have length 1 from `axis` on.
//!  R2  Axes from `axis` on are frozen: the statistics are taken over them.
//!  R3  Scale and bias are broadcast to those axes and frozen with them.

use crate::form::{dims, freeze, freeze_all, like, normalised, tie_same};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

const fn norm(domain: &'static str, name: &'static str, since: &'static [i64]) -> OpDef {
    OpDef {
        name,
        domain,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(reduces),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    norm(ONNX, "LayerNormalization", &[17]),
    norm(ONNX, "RMSNormalization", &[23]),
    norm(ONNX, "SimplifiedLayerNormalization", &[1]),
    norm("com.microsoft", "SimplifiedLayerNormalization", &[1]),
];

/// First normalised axis.
fn first(node: &NodeRef) -> Result<usize, OpError> {
    node.axis(node.int_or("axis", -1)?, node.rank(0)?)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let first = first(node)?;
    let y = like(node, 0)?;
    let mut kept = dims(node, 0)?.to_vec();
    kept[first..].fill(Dim::from(1)); // R1
    let stash = i32::try_from(node.int_or("stash_type", 1)?).ok().and_then(ElemType::from_code);
    let statistic = Fact { elem: stash, shape: Some(kept), content: None };
    let count = node.output_count().max(1);
    Ok(std::iter::once(y).chain(std::iter::repeat_n(statistic, count - 1)).collect())
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (first, rank, reason) = (first(node)?, node.rank(0)?, normalised(node));
    let x = node.need_input(0)?;
    freeze(r, &x, first..rank, &reason); // R2
    for y in (0..node.output_count()).filter_map(|i| node.output(i)) {
        tie_same(r, &x, &y, 0..first, "R1");
        freeze(r, &y, first..rank, &reason);
    }
    for parameter in [1, 2].into_iter().filter_map(|i| node.input(i)) {
        freeze_all(r, &parameter, &reason); // R3
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_r3_axes_from_axis_on_are_frozen() {
        let text = "g (float[2,5,8] x, float[8] s, float[8] b) => (y) { y, mean = LayerNormalization (x, s, b) }";
        let frozen = "LayerNormalization works over the whole axis";
        check_relation(
            text,
            &format!(
                "freeze x:2: {frozen}
                 R1 x:0 = y:0
                 R1 x:1 = y:1
                 freeze y:2: {frozen}
                 R1 x:0 = mean:0
                 R1 x:1 = mean:1
                 freeze mean:2: {frozen}
                 freeze s:0: {frozen}
                 freeze b:0: {frozen}"
            ),
        );
        check_shape(text, "float[2,5,8]; float[2,5,1]");
    }

    #[test]
    fn r1_statistics_are_of_the_stash_type() {
        let text = "g (float16[n,5,8] x, float16[5,8] s) => (y) { y, m, i = LayerNormalization <axis=-2> (x, s) }";
        check_shape(text, "float16[n,5,8]; float[n,1,1]; float[n,1,1]");
        let rms = r#"<ir_version: 8, opset_import: ["" : 23]> g (float[n,8] x, float[8] s) => (y) { y = RMSNormalization (x, s) }"#;
        check_shape(rms, "float[n,8]");
    }
}
