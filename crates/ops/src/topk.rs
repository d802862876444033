//! `TopK`: the largest or smallest k elements along an axis, and their indices. Spec: ai.onnx `TopK`, versions 1, 10,
//! 11, 24.
//!  R1  Both results have k slots along `axis`, which is frozen in x and the results.
//!  R2  The other axes of both results are those of x.
//!  R3  k is operand 1 from version 10 on, an attribute before.

use crate::form::{dims, freeze, freeze_all, normalised, tie_same, unnamed};
use crate::work::reduces;
use sparsec_ir::{
    Affine, Dim, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Reason, Relate, Relations, Resize,
    ShapeRule, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "TopK",
    domain: ONNX,
    since: &[1, 10, 11, 24],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(reduces),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn axis(node: &NodeRef) -> Result<usize, OpError> {
    node.axis(node.int_or("axis", -1)?, node.rank(0)?)
}

/// k, where it is known; R3.
fn count(node: &NodeRef) -> Result<Option<Dim>, OpError> {
    let k = match node.input(1) {
        Some(k) => k.fact.content.as_deref().and_then(<[_]>::first).cloned(),
        None => Some(Dim::from(node.int("k")?.ok_or(OpError::MissingOperand { index: 1 })?)),
    };
    match k {
        Some(k) if k.as_const().is_some_and(|k| k < 0) => {
            Err(OpError::BadAttribute { name: "k".to_string(), expected: "a whole number from 0" })
        }
        k => Ok(k),
    }
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (axis, k, mut out) = (axis(node)?, count(node)?, dims(node, 0)?.to_vec());
    let values = Fact { elem: node.need_input(0)?.fact.elem, shape: None, content: None };
    let mut facts = Vec::new();
    for (index, fact) in [values, Fact::unranked(Some(ElemType::I64))].into_iter().enumerate() {
        out[axis] = k.clone().unwrap_or_else(|| unnamed(node, index, axis)); // R1
        facts.push(Fact { shape: Some(out.clone()), ..fact });
    }
    Ok(facts)
}

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (axis, rank, x) = (axis(node)?, node.rank(0)?, node.need_input(0)?);
    freeze(r, &x, [axis], &normalised(node)); // R1
    for y in [0, 1].into_iter().filter_map(|i| node.output(i)) {
        freeze(r, &y, [axis], &normalised(node));
        tie_same(r, &x, &y, (0..rank).filter(|a| *a != axis), "R2");
    }
    if let Some(k) = node.input(1) {
        freeze_all(r, &k, &Reason::Rule("a number of elements"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::{check_relation, check_shape};

    #[test]
    fn r1_r2_the_axis_shrinks_to_k_and_freezes() {
        let text = "g (float[2,9] x) => () <int64[1] k = {3}> { v, i = TopK (x, k) }";
        check_shape(text, "float[2,3]; int64[2,3]");
        check_relation(
            text,
            "freeze x:1: TopK works over the whole axis
             freeze v:1: TopK works over the whole axis
             R2 x:0 = v:0
             freeze i:1: TopK works over the whole axis
             R2 x:0 = i:0
             freeze k:0: a number of elements",
        );
    }

    #[test]
    fn r3_k_may_be_an_attribute_or_unknown() {
        let early =
            r#"<ir_version: 8, opset_import: ["" : 1]> g (float[2,9] x) => () { v, i = TopK <k=3, axis=0> (x) }"#;
        check_shape(early, "float[3,9]; int64[3,9]");
        check_shape("g (float[2,9] x, int64[1] k) => () { v, i = TopK (x, k) }", "float[2,?v.1]; int64[2,?i.1]");
    }
}
