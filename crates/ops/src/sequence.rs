//! Sequences and optional values. Spec: ai.onnx, the operators listed below.
//!  R1  Tensors in a sequence or behind an optional are not told apart: what goes in or comes out is frozen.
//!  R2  A length is an int64 scalar, a question a boolean one; an optional that is a tensor is the tensor itself. Nothing
//!      else has a shape that is known.

use crate::work::moves;
use sparsec_ir::{
    Affine, ElemType, Fact, LinearRule, NodeRef, ONNX, OpDef, OpError, Relate, Resize, ShapeRule, WorkRule,
};

const fn row(name: &'static str, since: &'static [i64], shape: fn(&NodeRef) -> Result<Vec<Fact>, OpError>) -> OpDef {
    OpDef {
        name,
        domain: ONNX,
        since,
        shape: ShapeRule::By(shape),
        relate: Relate::Opaque("tensors of a sequence or an optional are not told apart"), // R1
        work: WorkRule::By(moves),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

pub(crate) const OPS: &[OpDef] = &[
    row("ConcatFromSequence", &[11], unknown),
    row("Optional", &[15, 28], unknown),
    row("OptionalGetElement", &[15, 18, 28], element),
    row("OptionalHasElement", &[15, 18, 28], |_| scalar(ElemType::Bool)),
    row("SequenceAt", &[11], unknown),
    row("SequenceConstruct", &[11], unknown),
    row("SequenceEmpty", &[11], unknown),
    row("SequenceErase", &[11], unknown),
    row("SequenceInsert", &[11], unknown),
    row("SequenceLength", &[11], |_| scalar(ElemType::I64)),
    OpDef { work: WorkRule::Unknown("how often a subgraph runs is not known"), ..row("SequenceMap", &[17], unknown) },
    row("SplitToSequence", &[11, 24], unknown),
];

fn unknown(_: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact::default()])
}

fn scalar(elem: ElemType) -> Result<Vec<Fact>, OpError> {
    Ok(vec![Fact::new(elem, Vec::new())])
}

fn element(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    Ok(vec![node.need_input(0)?.fact.clone()])
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    #[test]
    fn r2_lengths_and_questions_are_scalars() {
        check_shape("g (float[n,4] x) => (y) { s = SequenceConstruct (x, x)  y = SequenceLength (s) }", "int64[]");
        check_shape("g (float[n,4] x) => (y) { y = OptionalHasElement (x) }", "bool[]");
        check_shape("g (float[n,4] x) => (y) { y = OptionalGetElement (x) }", "float[n,4]");
        check_shape("g (float[n,4] x) => (y) { s = SplitToSequence (x)  y = SequenceAt (s, s) }", "?[?]");
    }
}
