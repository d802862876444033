//! `Where`: one of two operands, element by element. Spec: ai.onnx `Where`, versions 9, 16.
//!  R1  The three operands are broadcast together by the rules of `broadcast.rs`.
//!  R2  y has the element type of the second operand.
//!  R3  Contents pass where the condition is known, or both choices are the same.

use crate::broadcast;
use crate::content::zip;
use crate::work::light;
use sparsec_ir::{
    Affine, Dim, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Relate, Relations, Resize, ShapeRule,
    WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Where",
    domain: ONNX,
    since: &[9, 16],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(light),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn operands<'g>(node: &NodeRef<'g>) -> Result<[Operand<'g>; 3], OpError> {
    Ok([node.need_input(0)?, node.need_input(1)?, node.need_input(2)?])
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let all = operands(node)?;
    let [condition, yes, no] = &all;
    let content = choose(&condition.fact.content, &yes.fact.content, &no.fact.content);
    Ok(vec![Fact { elem: yes.fact.elem, shape: broadcast::shape_of(node, &all)?, content }])
}

fn choose(condition: &Option<Vec<Dim>>, yes: &Option<Vec<Dim>>, no: &Option<Vec<Dim>>) -> Option<Vec<Dim>> {
    let (yes, no) = (yes.as_ref()?, no.as_ref()?);
    let same = || zip(yes, no, |a, b| (a == b).then(|| a.clone()));
    let Some(condition) = condition else { return same() };
    // Each side is stretched to the common length by pairing it with the other two.
    let first = |a: &Dim, _: &Dim| Some(a.clone());
    let stretch = |a: &[Dim], b: &[Dim], c: &[Dim]| zip(&zip(a, b, first)?, c, first);
    let (c, y, n) = (stretch(condition, yes, no)?, stretch(yes, condition, no)?, stretch(no, condition, yes)?);
    let one = |((c, y), n): ((&Dim, &Dim), &Dim)| match c.as_const() {
        Some(c) => Some(if c != 0 { y.clone() } else { n.clone() }),
        None => (y == n).then(|| y.clone()),
    };
    c.iter().zip(&y).zip(&n).map(one).collect() // R3
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    broadcast::relate(node, &operands(node)?, r) // R1
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn a_known_condition_chooses_contents() {
        check_fact(
            "g (float[n,6] x) => (int64[] y) <int64[1] k = {-1}, int64[2] one = {1, 1}> {
                s = Shape (x) c = Equal (s, k) y = Where (c, one, s) }",
            "int64[2] = {n,6}",
        );
    }
    #[test]
    fn three_operands_are_broadcast_together() {
        check_relation(
            "g (bool[4] c, float[3,4] a, float[3,1] b) => (float[] y) { y = Where (c, a, b) }",
            &["B2 a.0 = y.0 x3", "B2 b.0 = y.0 x3", "B2 c.0 = y.1 x4", "B2 a.1 = y.1 x4"],
        );
    }
}
