//! Normalisation over the last axes. Spec: ai.onnx `LayerNormalization` (17), `RMSNormalization` (23), and
//! `SimplifiedLayerNormalization`, ONNX Runtime's name for the latter in ai.onnx (1) and com.microsoft (1).
//!  R1  Axes before `axis` of every result are those of x; the results after the first have length 1 from `axis` on.
//!  R2  Axes from `axis` on are frozen: the statistics are taken over them. Where policy `normalised-width` is allowed
//!      they are those of x in the first result, and leave with it.
//!  R3  Scale and bias are broadcast to those axes: frozen with them, or the same.

use crate::form::{dims, freeze, like, normalised, tie, tie_same};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, Normalised, ONNX, OpDef, OpError, Operand, Policy, Relate,
    Relations, Resize, ShapeRule, WorkRule,
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
        affine: Affine::Normalised(normalised_axis),
    }
}

pub(crate) const OPS: &[OpDef] = &[
    norm(ONNX, LAYER, &[17]),
    norm(ONNX, "RMSNormalization", &[23]),
    norm(ONNX, "SimplifiedLayerNormalization", &[1]),
    norm("com.microsoft", "SimplifiedLayerNormalization", &[1]),
];

/// The one that takes the mean away.
const LAYER: &str = "LayerNormalization";

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
    let (x, y) = (node.need_input(0)?, node.need_output(0)?);
    for y in (0..node.output_count()).filter_map(|i| node.output(i)) {
        tie_same(r, &x, &y, 0..first, "R1");
    }
    for statistic in (1..node.output_count()).filter_map(|i| node.output(i)) {
        freeze(r, &statistic, first..rank, &reason);
    }
    // Each operand with its axes that are broadcast to the normalised ones.
    let parameters: Vec<_> = [1, 2].into_iter().filter_map(|i| node.input(i)).collect();
    let broadcast = |p: &Operand| p.rank().unwrap_or(0).min(rank);
    let mut axes: Vec<_> = [&x, &y].into_iter().flat_map(|o| (first..rank).map(|a| o.axis(a))).collect();
    axes.extend(parameters.iter().flat_map(|p| (0..p.rank().unwrap_or(0)).map(|a| p.axis(a))));
    r.unless(Policy::NormalisedWidth, axes, &reason, |r| {
        tie_same(r, &x, &y, first..rank, "R2");
        for p in &parameters {
            let rank_of = broadcast(p);
            (0..rank_of).for_each(|a| tie(r, (&x, rank - rank_of + a), (p, a), "R3"));
        }
    });
    Ok(())
}

/// The one normalised axis with its parameters.
fn normalised_axis(node: &NodeRef) -> Result<Option<Normalised>, OpError> {
    let axis = first(node)?;
    let len = node.need_input(0)?.size(axis);
    let vector =
        |i: usize| node.input(i).is_some_and(|p| p.tensor.is_some() && p.rank() == Some(1) && p.size(0) == len);
    let shift = node.input(2).map(|_| 2);
    let plain = axis + 1 == node.rank(0)? && len.is_some() && vector(1) && shift.is_none_or(vector);
    let centred = node.node().op == LAYER;
    Ok(plain.then_some(Normalised { axis, scale: 1, shift, centred }))
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_r3_axes_from_axis_on_are_frozen_unless_the_policy_allows() {
        let text = "g (float[2,5,8] x, float[8] s, float[8] b) => (y) { y, mean = LayerNormalization (x, s, b) }";
        check_relation(
            text,
            "R1 x:0 = y:0
             R1 x:1 = y:1
             R1 x:0 = mean:0
             R1 x:1 = mean:1
             freeze mean:2: LayerNormalization works over the whole axis
             freeze x:2, y:2, s:0, b:0: LayerNormalization works over the whole axis, unless normalised-width:
             R2 x:2 = y:2
             R3 x:2 = s:0
             R3 x:2 = b:0",
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
