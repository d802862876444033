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
