//! Quantised forms of other operators, whose numbers are scaled on the way in and out. Spec: com.microsoft, the
//! operators listed below (1).
//!  R1  Scales and zero points have one number: they relate to nothing.
//!  R2  `QLinearAdd`, `QLinearMul`, `QLinearWhere`: rules B1 to B4 of `broadcast.rs`.
//!  R3  `QLinearLeakyRelu`, `QLinearSigmoid`: every axis of y is the same axis of x.
//!  R4  `QLinearConcat`: rules R1 to R3 of `Concat`, over every third operand from operand 2 on.
//!  R5  `QLinearAveragePool`, `QLinearGlobalAveragePool`: rules of the pools, where the channels come first.
//!  R6  `QLinearSoftmax`: rules of `Softmax`, where its attribute `opset` says from which version.
//!  R7  y has the type of its zero point, or of x where there is none.

use crate::quantised::whole;
use crate::work::{heavy, light, moves};
use crate::{broadcast, concat, pool, softmax, unary};
use sparsec_ir::{
    Affine, Fact, LinearRule, NodeRef, OpDef, OpError, Operand, Relate, Relations, Resize, ShapeRule, Work, WorkRule,
};

const fn row(
    name: &'static str,
    shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>,
    relate: fn(&NodeRef, &mut Relations) -> Result<(), OpError>,
    work: fn(&NodeRef) -> Result<Work, OpError>,
) -> OpDef {
    OpDef {
        name,
        domain: "com.microsoft",
        since: &[1],
        shape: ShapeRule::By(shape),
        relate: Relate::By(relate),
        work: WorkRule::By(work),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("QLinearAdd", |n| joined(n, &[0, 3], 7), |n, r| relate_joined(n, &[0, 3], r), light),
    row("QLinearAveragePool", |n| pooled(n, pool::window_shape), relate_pooled, pool::work),
    row("QLinearConcat", concat_shape, relate_concat, moves),
    row("QLinearGlobalAveragePool", |n| pooled(n, pool::global_shape), relate_pooled, pool::work),
    row("QLinearLeakyRelu", |n| like(n, 4), unary::relate, light),
    row("QLinearMul", |n| joined(n, &[0, 3], 7), |n, r| relate_joined(n, &[0, 3], r), light),
    row("QLinearSigmoid", |n| like(n, 4), unary::relate, heavy),
    row("QLinearSoftmax", |n| like(n, 4), relate_softmax, heavy),
    row("QLinearWhere", |n| joined(n, &[0, 1, 4], 8), |n, r| relate_joined(n, &[0, 1, 4], r), light),
];

/// The type of y, whose zero point is operand `zero`. The last of `from` is an operand that y is made of.
fn elem(node: &NodeRef, zero: usize, from: usize) -> Result<Option<sparsec_ir::ElemType>, OpError> {
    let point = node.input(zero).and_then(|z| z.fact.elem);
    Ok(point.or(node.need_input(from)?.fact.elem)) // R7
}

fn operands<'g>(node: &NodeRef<'g>, which: &[usize]) -> Result<Vec<Operand<'g>>, OpError> {
    which.iter().map(|i| node.need_input(*i)).collect()
}

/// Frees every operand but `which`.
fn free_rest(node: &NodeRef, which: &[usize], r: &mut Relations) {
    let rest: Vec<usize> = (0..node.input_count()).filter(|i| !which.contains(i)).collect();
    whole(node, &rest, r); // R1
}

fn joined(node: &NodeRef, which: &[usize], zero: usize) -> Result<Vec<Fact>, OpError> {
    let shape = broadcast::shape_of(node, &operands(node, which)?)?;
    Ok(vec![Fact { elem: elem(node, zero, which[which.len() - 1])?, shape, content: None }])
}

fn relate_joined(node: &NodeRef, which: &[usize], r: &mut Relations) -> Result<(), OpError> {
    free_rest(node, which, r);
    broadcast::relate(node, &operands(node, which)?, r) // R2
}

fn like(node: &NodeRef, zero: usize) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact { elem: elem(node, zero, 0)?, shape: node.need_input(0)?.fact.shape.clone(), content: None }])
}

fn channels_first(node: &NodeRef) -> Result<(), OpError> {
    match node.int_or("channels_last", 0)? {
        0 => Ok(()),
        _ => Err(OpError::Unsupported("a quantised pool with its channels last")),
    }
}

fn pooled(node: &NodeRef, shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> Result<Vec<Fact>, OpError> {
    channels_first(node)?;
    let mut facts = shape(node)?;
    facts[0].elem = elem(node, 4, 0)?;
    Ok(facts)
}

fn relate_pooled(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    channels_first(node)?;
    free_rest(node, &[0], r);
    pool::relate(node, r) // R5
}

/// What `QLinearConcat` joins.
fn parts<'g>(node: &NodeRef<'g>) -> Result<Vec<Operand<'g>>, OpError> {
    (2..node.input_count().max(3)).step_by(3).map(|i| node.need_input(i)).collect()
}

fn concat_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let mut facts = concat::shape_of(node, &parts(node)?)?;
    facts[0].elem = elem(node, 1, 2)?;
    Ok(facts)
}

fn relate_concat(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let joined: Vec<usize> = (2..node.input_count()).step_by(3).collect();
    free_rest(node, &joined, r);
    concat::relate_of(node, &parts(node)?, r) // R4
}

fn relate_softmax(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    free_rest(node, &[0], r);
    let rank = node.rank(0)?;
    let axis = node.axis(node.int_or("axis", -1)?, rank)?;
    let last = if node.int_or("opset", 13)? >= 13 { axis + 1 } else { rank };
    softmax::relate(node, axis..last, r) // R6
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    fn text(op: &str, inputs: &str, operands: &str) -> String {
        format!(
            r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g ({inputs}) => (y)
            <float s = {{0.5}}, uint8 z = {{3}}, int8 w = {{1}}> {{ y = com.microsoft.{op} ({operands}) }}"#
        )
    }

    #[test]
    fn r1_r2_r7_sums_broadcast_and_have_the_type_of_their_zero_point() {
        let sum = text("QLinearAdd", "uint8[2,6] a, uint8[6] b", "a, s, z, b, s, z, s, w");
        check_relation(&sum, "B2 a:0 = y:0\nB2 a:1 = y:1\nB2 b:0 = y:1");
        check_shape(&sum, "int8[2,6]");
    }

    #[test]
    fn r3_functions_keep_axes() {
        check_relation(&text("QLinearSigmoid", "uint8[2,6] a", "a, s, z, s, z"), "R2 a:0 = y:0\nR2 a:1 = y:1");
    }

    #[test]
    fn r4_parts_are_every_third_operand() {
        let parts = text("QLinearConcat <axis=1>", "uint8[n,6] a, uint8[n,2] b", "s, z, a, s, z, b, s, z");
        check_relation(&parts, "R1 y:1[0+1]#6 = a:1\nR1 y:1[6+1]#2 = b:1");
        check_shape(&parts, "uint8[n,8]");
    }

    #[test]
    fn r5_pools_keep_channels_that_come_first() {
        let pool =
            |attrs: &str| text(&format!("QLinearGlobalAveragePool <{attrs}>"), "uint8[n,6,8,8] a", "a, s, z, s, w");
        check_shape(&pool(""), "int8[n,6,1,1]");
        check_relation(&pool("channels_last=1"), "error: a quantised pool with its channels last");
    }

    #[test]
    fn r6_the_version_of_a_softmax_is_an_attribute() {
        let frozen = "freeze a:1: com.microsoft.QLinearSoftmax works over the whole axis
            freeze a:2: com.microsoft.QLinearSoftmax works over the whole axis
            freeze y:1: com.microsoft.QLinearSoftmax works over the whole axis
            freeze y:2: com.microsoft.QLinearSoftmax works over the whole axis
            R2 a:0 = y:0";
        check_relation(&text("QLinearSoftmax <axis=1, opset=12>", "uint8[2,6,3] a", "a, s, z, s, z"), frozen);
    }
}
