//! `Concat`: operands one after another along an axis. Spec: ai.onnx `Concat`, versions 1, 4, 11, 13.
//!  R1  Along the axis, the slots of y are those of the operands in order.
//!  R2  Every other axis of y is the same axis of each operand.
//!  R3  With an operand of dynamic length along the axis, where the others stand is not known: they are frozen.
//!  R4  Contents are joined.
//!  R5  Images joined along their channels are a kernel of their own: runtimes with blocked layouts care for the parts.

use crate::content::MAX;
use crate::form::{followed, mismatch};
use sparsec_ir::{
    Affine, Dim, Fact, Kernel, LinearRule, NodeRef, ONNX, OpDef, OpError, Operand, Reason, Relate, Relations, Resize,
    ShapeRule, Work, WorkRule,
};

pub(crate) const OPS: &[OpDef] = &[OpDef {
    name: "Concat",
    domain: ONNX,
    since: &[1, 4, 11, 13],
    shape: ShapeRule::By(shape),
    relate: Relate::By(relate),
    work: WorkRule::By(work),
    resize: Resize::Nothing,
    linear: LinearRule::Never,
    affine: Affine::Never,
}];

fn operands<'g>(node: &NodeRef<'g>) -> Result<Vec<Operand<'g>>, OpError> {
    (0..node.input_count().max(1)).map(|i| node.need_input(i)).collect()
}

fn axis(node: &NodeRef, rank: usize) -> Result<usize, OpError> {
    // Version 1 had a default.
    let missing = || OpError::BadAttribute { name: "axis".to_string(), expected: "given" };
    let axis = node.int("axis")?.or((node.opset < 4).then_some(1)).ok_or_else(missing)?;
    node.axis(axis, rank)
}

fn shape(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    shape_of(node, &operands(node)?)
}

/// Shape of `all` joined along the node's axis; the element type is that of the first.
pub(crate) fn shape_of(node: &NodeRef, all: &[Operand]) -> Result<Vec<Fact>, OpError> {
    let elem = all[0].fact.elem;
    let Some(shapes) = all.iter().map(|o| o.fact.shape.as_ref()).collect::<Option<Vec<_>>>() else {
        return Ok(vec![Fact::unranked(elem)]);
    };
    let mut out = shapes[0].clone();
    let axis = axis(node, out.len())?;
    for s in &shapes[1..] {
        if s.len() != out.len() {
            return Err(mismatch("ranks of joined operands", s.len(), out.len()));
        }
        for (a, dim) in s.iter().enumerate() {
            if a == axis {
                out[a] = followed(node, 0, a, out[a].add(dim));
                continue;
            }
            match (out[a].as_const(), dim.as_const()) {
                (Some(x), Some(y)) if x != y => return Err(mismatch("sizes of joined operands", x, y)),
                (None, Some(_)) => out[a] = dim.clone(),
                _ => {}
            }
        }
    }
    let contents: Option<Vec<Vec<Dim>>> = all.iter().map(|o| o.fact.content.clone()).collect();
    let content = contents.map(|c| c.concat()).filter(|c| c.len() <= MAX); // R4
    Ok(vec![Fact { elem, shape: Some(out), content }])
}

fn work(node: &NodeRef) -> Result<Work, OpError> {
    let all = operands(node)?;
    let rank = node.rank(0)?;
    let parts: Option<Vec<u64>> = all.iter().map(|o| o.size(1)).collect();
    let kernel = match parts {
        Some(parts) if rank == 4 && axis(node, rank)? == 1 => Kernel::Join { parts }, // R5
        _ => Kernel::Move,
    };
    Ok(Work { kernel, macs: 0 })
}

const MEETS_DYNAMIC: Reason = Reason::Rule("meets an axis of dynamic length");

fn relate(node: &NodeRef, r: &mut Relations) -> Result<(), OpError> {
    relate_of(node, &operands(node)?, r)
}

/// Relations of `all`, of which there is at least one, joined along the node's axis.
pub(crate) fn relate_of(node: &NodeRef, all: &[Operand], r: &mut Relations) -> Result<(), OpError> {
    let y = node.need_output(0)?;
    let rank = all[0].rank().ok_or(OpError::UnknownRank { index: 0 })?;
    let joined = axis(node, rank)?;
    for axis in (0..rank).filter(|&a| a != joined) {
        for x in all {
            match (x.size(axis), y.size(axis)) {
                (Some(len), Some(_)) => r.tie(x.axis(axis), y.axis(axis), len, "R2"),
                (Some(_), None) => r.freeze(x.axis(axis), MEETS_DYNAMIC),
                (None, Some(_)) => r.freeze(y.axis(axis), MEETS_DYNAMIC),
                (None, None) => {}
            }
        }
    }
    let Some(lens) = all.iter().map(|o| o.size(joined)).collect::<Option<Vec<u64>>>() else {
        for x in all {
            r.freeze(x.axis(joined), Reason::Rule("joined with an axis of dynamic length")); // R3
        }
        return Ok(());
    };
    let mut start = 0u64;
    for (x, len) in all.iter().zip(lens) {
        r.segment(y.axis(joined), start, x.axis(joined), len, "R1");
        start = start.checked_add(len).ok_or(OpError::Overflow)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing_data::{check_fact, check_relation};

    #[test]
    fn rows_are_joined_in_operand_order() {
        check_relation(
            "g (float[n,3,2] a, float[n,5,2] b) => (float[] y) { y = Concat <axis = 1> (a, b) }",
            &["R2 a.2 = y.2 x2", "R2 b.2 = y.2 x2", "R1 y.1 = a.1 x3", "R1 y.1@3 = b.1 x5"],
        );
    }
    #[test]
    fn rows_beside_a_dynamic_operand_are_frozen() {
        let why = "frozen: joined with an axis of dynamic length";
        check_relation(
            "g (float[n] a, float[5] b) => (float[] y) { y = Concat <axis = 0> (a, b) }",
            &[&format!("a.0 {why}"), &format!("b.0 {why}")],
        );
    }
    #[test]
    fn lengths_beyond_64_bits_are_an_error() {
        let len = i64::MAX;
        let text =
            format!("g (float[{len}] a, float[{len}] b, float[{len}] c) => (y) {{ y = Concat <axis = 0> (a, b, c) }}");
        crate::testing::check_relation(&text, "error: sizes overflow");
    }
    #[test]
    fn contents_are_joined() {
        check_fact(
            "g (float[n,4] x) => (int64[] y) <int64[1] m = {-1}> { s = Shape (x) y = Concat <axis = 0> (s, m) }",
            "int64[3] = {n,4,-1}",
        );
    }
}
