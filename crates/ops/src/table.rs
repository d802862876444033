//! The operator table: one line a file, sorted by hand.

use sparsec_ir::OpTable;

/// Every operator that sparsec knows.
pub fn table() -> OpTable {
    let families = [
        crate::attention::OPS,
        crate::batch_norm::OPS,
        crate::binary::OPS,
        crate::causal_conv::OPS,
        crate::center_crop_pad::OPS,
        crate::col2im::OPS,
        crate::concat::OPS,
        crate::constant::OPS,
        crate::conv::OPS,
        crate::conv_transpose::OPS,
        crate::cumsum::OPS,
        crate::data_sized::OPS,
        crate::deform_conv::OPS,
        crate::depth_to_space::OPS,
        crate::det::OPS,
        crate::einsum::OPS,
        crate::expand::OPS,
        crate::gather::OPS,
        crate::gather_nd::OPS,
        crate::gemm::OPS,
        crate::grid_sample::OPS,
        crate::group_norm::OPS,
        crate::layer_norm::OPS,
        crate::linear_attention::OPS,
        crate::loss::OPS,
        crate::lrn::OPS,
        crate::matmul::OPS,
        crate::one_hot::OPS,
        crate::pad::OPS,
        crate::pool::OPS,
        crate::preview::OPS,
        crate::random::OPS,
        crate::recurrent::OPS,
        crate::reduce::OPS,
        crate::reshape::OPS,
        crate::resize::OPS,
        crate::reverse_sequence::OPS,
        crate::roi::OPS,
        crate::rotary::OPS,
        crate::shape::OPS,
        crate::signal::OPS,
        crate::slice::OPS,
        crate::softmax::OPS,
        crate::split::OPS,
        crate::squeeze::OPS,
        crate::swiglu::OPS,
        crate::text::OPS,
        crate::topk::OPS,
        crate::transpose::OPS,
        crate::trilu::OPS,
        crate::unary::OPS,
        crate::where_::OPS,
    ];
    OpTable::new(families.into_iter().flatten().copied())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_ir::ONNX;

    const NOT_YET: &[&str] = &[
        "ai.onnx.ml",
        "ConcatFromSequence",
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "If",
        "Loop",
        "MatMulInteger",
        "Optional",
        "OptionalGetElement",
        "OptionalHasElement",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
        "Scan",
        "SequenceAt",
        "SequenceConstruct",
        "SequenceEmpty",
        "SequenceErase",
        "SequenceInsert",
        "SequenceLength",
        "SequenceMap",
        "SplitToSequence",
    ];

    /// Operators of the onnx package: domain, name, versions.
    fn listed() -> impl Iterator<Item = (&'static str, &'static str, Vec<i64>)> {
        let text = include_str!("../../../testdata/ops/operators.txt");
        text.lines().filter(|l| !l.starts_with('#')).map(|line| {
            let mut words = line.split(' ');
            let (domain, name) = (words.next().unwrap(), words.next().unwrap());
            let domain = if domain == "ai.onnx" { ONNX } else { domain };
            (domain, name, words.map(|w| w.parse().unwrap()).collect())
        })
    }

    #[test]
    fn every_operator_of_the_onnx_package_is_known_with_its_versions() {
        let table = table();
        let mut wrong = Vec::new();
        for (domain, name, versions) in listed() {
            match table.get(domain, name) {
                None => wrong.push(format!("{domain} {name}: not in the table")),
                Some(def) if def.since != versions => {
                    wrong.push(format!("{domain} {name}: versions {:?}, truly {versions:?}", def.since));
                }
                Some(_) => {}
            }
        }
        wrong.retain(|w| !NOT_YET.iter().any(|n| w.split([' ', ':']).any(|word| word == *n)));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
}
