//! Further operators of com.microsoft (1), which runtimes write into models that they have optimised.
//!  R1  `BiasAdd`: y = x + bias + skip, element by element.
//!  R2  Others are not taken apart: every axis is frozen, and the shape is that of an operand where it always is.
//!  R3  `QAttention`: y has the columns of w that belong to the values, a third.

use crate::form::{dims, mismatch};
use crate::work::light;
use sparsec_ir::given::Word;
use sparsec_ir::{Affine, Dim, Fact, LinearRule, NodeRef, OpDef, OpError, Relate, Resize, ShapeRule, WorkRule};

const fn opaque(name: &'static str, shape: ShapeRule, why: &'static str) -> OpDef {
    OpDef {
        name,
        domain: "com.microsoft",
        since: &[1],
        shape,
        relate: Relate::Opaque(why),
        work: WorkRule::Unknown("a fused operator that is not taken apart"),
        resize: Resize::Nothing,
        linear: LinearRule::Never,
        affine: Affine::Never,
    }
}

const LIKE: ShapeRule = ShapeRule::Like(0);
const STATED: ShapeRule = ShapeRule::Unknown("the sizes of the result are not worked out");
const GROUPS: &str = "channels are normalised in groups, with the channels last";
const EXPERTS: &str = "a router picks experts by their position";
const PACKED: &str = "heads are packed with positions or in a layout of one device";
const BITS: &str = "weights are packed in a layout of one device";

pub(crate) const OPS: &[OpDef] = &[
    OpDef {
        relate: Relate::Given(&[Word::Elementwise]), // R1
        work: WorkRule::By(light),
        ..opaque("BiasAdd", LIKE, "")
    },
    opaque("BiasSplitGelu", STATED, "the halves of an axis gate each other"),
    opaque("DecoderMaskedMultiHeadAttention", STATED, PACKED),
    opaque("DecoderMaskedSelfAttention", STATED, PACKED),
    opaque("GatherBlockQuantized", STATED, BITS),
    opaque("GroupNorm", LIKE, GROUPS),
    opaque("LongformerAttention", LIKE, PACKED),
    opaque("MatMulBnb4", ShapeRule::By(columns), BITS),
    opaque("MatMulFpQ4", STATED, BITS),
    opaque("MoE", LIKE, EXPERTS),
    opaque("PackedAttention", STATED, PACKED),
    opaque("PackedMultiHeadAttention", STATED, PACKED),
    opaque("PagedAttention", STATED, PACKED),
    opaque("QAttention", ShapeRule::By(values), "quantised columns of queries, keys and values in one matrix"),
    opaque("QEmbedLayerNormalization", STATED, "statistics are taken over the whole hidden axis"),
    opaque("QLinearReduceMean", STATED, "sums of quantised numbers are divided by their count"),
    opaque("QMoE", LIKE, EXPERTS),
    opaque("SkipGroupNorm", LIKE, GROUPS),
    opaque("SparseAttention", STATED, PACKED),
];

/// The shape of operand 0 with another last size.
fn with_last(node: &NodeRef, last: Dim) -> Result<Vec<Fact>, OpError> {
    let mut shape = dims(node, 0)?.to_vec();
    *shape.last_mut().ok_or_else(|| mismatch("rank of an operand", 0, "1 or more"))? = last;
    Ok(vec![Fact { elem: node.need_input(0)?.fact.elem, shape: Some(shape), content: None }])
}

fn columns(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let bad = || OpError::BadAttribute { name: "N".to_string(), expected: "a positive whole number" };
    with_last(node, Dim::from(node.int("N")?.filter(|n| *n > 0).ok_or_else(bad)?))
}

fn values(node: &NodeRef) -> Result<Vec<Fact>, OpError> {
    let columns = dims(node, 1)?.get(1).and_then(Dim::as_const).filter(|c| *c > 0 && c % 3 == 0);
    let mut facts = with_last(node, Dim::from(columns.ok_or(OpError::UnboundSize { index: 1 })? / 3))?; // R3
    facts[0].elem = node.input(3).and_then(|scale| scale.fact.elem);
    Ok(facts)
}

#[cfg(test)]
mod tests {
    use crate::testing::check_shape;

    #[test]
    fn r3_values_are_a_third_of_the_columns() {
        let text = r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (uint8[n,5,6] x, float s) => (y)
            <int8[6,18] w = ["location": "random:1"], float[18] b = ["location": "random:2"]>
            { y = com.microsoft.QAttention <num_heads=2> (x, w, b, s, s) }"#;
        check_shape(text, "float[n,5,6]");
    }

    #[test]
    fn a_few_bits_give_the_columns_that_they_state() {
        let text = r#"<ir_version: 8, opset_import: ["" : 17, "com.microsoft" : 1]> g (float[n,5,6] x) => (y)
            <uint8[12] b = ["location": "random:1"], float[1] a = {1}>
            { y = com.microsoft.MatMulBnb4 <K=6, N=4, block_size=32, quant_type=1> (x, b, a) }"#;
        check_shape(text, "float[n,5,4]");
    }
}
