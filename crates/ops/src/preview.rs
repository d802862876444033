//! Operators that ONNX tries out. Spec: ai.onnx.preview `FlexAttention` (1); ai.onnx.preview.training `Adagrad`,
//! `Adam`, `Gradient`, `Momentum` (1).
//!  R1  `FlexAttention`: y is (batch, query head, position of q, value of v). Its subgraphs read scores of all heads and
//!      positions; the head dimension of v is that of y, that of q and k is contracted.
//!  R2  Optimisers and gradients belong to training: every axis is frozen.
//!  R3  An optimiser gives the new tensors, then their new states: results in the order of operands, gradients left out.
//!  R4  A gradient has the shape of the tensor that it is taken for.

use crate::form::{dims, freeze, like, mismatch, normalised, product, sizes, tie};
use crate::heads::keep_scale;
use crate::work::light;
use sparsec_ir::{
    Affine, Edit, Fact, Kernel, LinearRule, NodeRef, OpDef, OpError, Relate, Relations, Resize, Resized, ShapeRule,
    Work, WorkRule,
};

const FLEX_ATTENTION: OpDef = OpDef {
    name: "FlexAttention",
    domain: "ai.onnx.preview",
    since: &[1],
    shape: ShapeRule::By(flex_shape),
    relate: Relate::By(flex_relate),
    work: WorkRule::By(flex_work),
    resize: Resize::By(flex_resize),
    linear: LinearRule::Never,
    affine: Affine::Never,
};

const fn training(name: &'static str, shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> OpDef {
    OpDef {
        name,
        domain: "ai.onnx.preview.training",
        shape: ShapeRule::By(shape),
        relate: Relate::Opaque("a step of training"), // R2
        work: WorkRule::By(light),
        resize: Resize::Nothing,
        ..FLEX_ATTENTION
    }
}

pub(crate) const OPS: &[OpDef] = &[
    FLEX_ATTENTION,
    training("Adagrad", |n| optimised(n, 1)),
    training("Adam", |n| optimised(n, 2)),
    OpDef {
        work: WorkRule::Unknown("the cost of a gradient is that of the graph it is taken of"),
        ..training("Gradient", gradient)
    },
    training("Momentum", |n| optimised(n, 1)),
];

fn flex_shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let (q, v) = (dims(node, 0)?, dims(node, 2)?);
    let ([b, h, s, _], [_, _, _, d]) = (q, v) else { return Err(mismatch("ranks of q and v", q.len(), v.len())) };
    let shape = [b, h, s, d].map(Clone::clone).to_vec();
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn flex_relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    let (q, k, v, y) = (node.need_input(0)?, node.need_input(1)?, node.need_input(2)?, node.need_output(0)?);
    let size = q.size(3).ok_or(OpError::UnboundSize { index: 0 })?;
    r.contract(q.axis(3), k.axis(3), size, "R1");
    tie(r, (&v, 3), (&y, 3), "R1");
    for o in [&q, &k, &v, &y] {
        freeze(r, o, [1, 2], &normalised(node));
    }
    for o in [&q, &k, &v] {
        tie(r, (o, 0), (&y, 0), "R1");
    }
    Ok(())
}

fn flex_work(node: &NodeRef) -> Result<Work, OpError> {
    let (q, k, v) = (sizes(node, 0)?, sizes(node, 1)?, sizes(node, 2)?);
    let (&[b, h, m, keys], &[_, _, n, _], &[_, _, _, values]) = (q.as_slice(), k.as_slice(), v.as_slice()) else {
        return Err(mismatch("ranks of q and v", q.len(), v.len()));
    };
    let (batch, k) = (product(&[b, h])?, keys.checked_add(values).ok_or(OpError::Overflow)?);
    Ok(Work { kernel: Kernel::BatchedMatMul { batch, m, n, k }, macs: product(&[batch, m, n, k])? })
}

fn flex_resize(cut: &Resized) -> Result<Vec<Edit>, OpError> {
    let q = cut.before.need_input(0)?;
    let Some(old) = q.size(3).filter(|_| (cut.kept)(q.value, 3).is_some()) else { return Ok(Vec::new()) };
    keep_scale(&cut.before, old)
}

/// Operands are the rate, the step, then as many tensors, gradients and states of each of `states` kinds.
fn optimised(node: &NodeRef, states: usize) -> Result<Vec<Fact>, OpError> {
    let given = node.input_count().saturating_sub(2);
    if !given.is_multiple_of(2 + states) {
        return Err(mismatch("operands of an optimiser", given, 2 + states));
    }
    let tensors = given / (2 + states);
    (0..tensors).chain(2 * tensors..given).map(|i| like(node, 2 + i)).collect() // R3
}

fn gradient(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    (0..node.output_count()).map(|i| like(node, i)).collect() // R4
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{check_relation, check_resize, check_shape, check_work};

    const FLEX: &str = r#"<ir_version: 10, opset_import: ["ai.onnx.preview" : 1]>
        g (float[1,4,5,8] q, float[1,2,7,8] k, float[1,2,7,6] v) => (y) { y = ai.onnx.preview.FlexAttention (q, k, v) }"#;

    #[test]
    fn r1_values_of_a_head_pass() {
        check_shape(FLEX, "float[1,4,5,6]");
        let frozen = ["q", "k", "v", "y"].map(|v| {
            [1, 2]
                .map(|a| format!("freeze {v}:{a}: ai.onnx.preview.FlexAttention works over the whole axis"))
                .join("\n")
        });
        let batches = ["q", "k", "v"].map(|v| format!("R1 {v}:0 = y:0"));
        check_relation(FLEX, &format!("R1 q:3 * k:3\nR1 v:3 = y:3\n{}\n{}", frozen.join("\n"), batches.join("\n")));
        check_resize(FLEX, &[("q", 3, &[0, 1]), ("k", 3, &[0, 1])], "scale=Float(0.35355338)");
        check_work(FLEX, &[], Kernel::BatchedMatMul { batch: 4, m: 5, n: 7, k: 14 }, 4 * 5 * 7 * 14);
    }

    #[test]
    fn r3_optimisers_leave_out_the_gradients() {
        let text = r#"<ir_version: 10, opset_import: ["ai.onnx.preview.training" : 1]>
            g (float r, int64 t, float[2] a, float[3] b, float[2] ga, float[3] gb, float[2] sa, float[3] sb) => (y)
            { y, z, u, w = ai.onnx.preview.training.Adagrad (r, t, a, b, ga, gb, sa, sb) }"#;
        check_shape(text, "float[2]; float[3]; float[2]; float[3]");
    }
}
