//! `Shape`, `Size`: the sizes of a value as data. Spec: ai.onnx `Shape`, versions 1, 13, 15, 19, 21, 23, 24, 25; `Size`,
//! versions 1, 13, 19, 21, 23, 24, 25.
//!  R1  The contents of y are the sizes of x from `start` to `end`, or their product.
//!  R2  No element of x is read: its axes are free.
//!  R3  y holds sizes: it is frozen. Operators that read it state what they need after a cut.

use crate::content::free_all;
use crate::form::freeze_all;
use crate::work::nothing;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule,
};

const SHAPE: OpDef = OpDef {
    name: "Shape",
    domain: ONNX,
    since: &[1, 13, 15, 19, 21, 23, 24, 25],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(nothing),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
};

pub(crate) const OPS: &[OpDef] =
    &[SHAPE, OpDef { name: "Size", since: &[1, 13, 19, 21, 23, 24, 25], shape: ShapeRule::By(size), ..SHAPE }];

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let Some(dims) = &node.need_input(0)?.fact.shape else {
        let len = crate::form::unnamed(node, 0, 0);
        return Ok(vec![Fact::new(ElemType::I64, vec![len])]);
    };
    let rank = dims.len() as i64;
    let place = |p: i64| if p < 0 { p.saturating_add(rank) } else { p }.clamp(0, rank) as usize;
    let (start, end) = (place(node.int_or("start", 0)?), place(node.int_or("end", rank)?));
    let part = dims.get(start..end).unwrap_or_default().to_vec();
    Ok(vec![Fact::new(ElemType::I64, vec![Dim::from(part.len() as i64)]).with_content(Some(part))]) // R1
}

fn size(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let product = node.need_input(0)?.fact.shape.as_ref().and_then(Dim::product);
    Ok(vec![Fact::new(ElemType::I64, Vec::new()).with_content(product.map(|p| vec![p]))]) // R1
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    free_all(&node.need_input(0)?, r); // R2
    freeze_all(r, &node.need_output(0)?, &Reason::Rule("holds sizes")); // R3
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn sizes_are_contents() {
        check_fact("g (float[n,3,h] x) => (int64[] y) { y = Shape (x) }", "int64[3] = {n,3,h}");
        check_fact("g (float[n,3,h] x) => (int64[] y) { y = Shape <start = -2, end = 2> (x) }", "int64[1] = {3}");
        check_fact("g (float[n,3,h] x) => (int64 y) { y = Size (x) }", "int64[] = {3*h*n}");
    }
    #[test]
    fn what_is_only_measured_is_free() {
        check_relation(
            "g (float[n,3] x) => (int64[] y) { y = Shape (x) }",
            &["x.0 free", "x.1 free", "y.0 frozen: holds sizes"],
        );
    }
}
