//! Operands that share a type variable in the standard, in every version of the operator: they must be of one element
//! type. Spec: the type constraints of each operator of ai.onnx. Operands behind which a version has another variable
//! are left out, and operators that have one operand of each variable.

use sparsec_ir::Alike;

const fn row(sets: &'static [&'static [usize]], names: &'static [&'static str]) -> Alike {
    Alike { names, sets }
}

pub(crate) const ALIKE: &[Alike] = &[
    row(
        &[&[0, 1]],
        &[
            "Add",
            "And",
            "BitShift",
            "BitwiseAnd",
            "BitwiseOr",
            "BitwiseXor",
            "Div",
            "Equal",
            "Greater",
            "GreaterOrEqual",
            "Less",
            "LessOrEqual",
            "MatMul",
            "MaxRoiPool",
            "Mod",
            "Mul",
            "Or",
            "PRelu",
            "RoiAlign",
            "Sub",
            "Xor",
        ],
    ),
    row(
        &[&[0, 1, 2]],
        &[
            "Clip",
            "Conv",
            "ConvTranspose",
            "Gemm",
            "GroupNormalization",
            "InstanceNormalization",
            "LayerNormalization",
            "Range",
        ],
    ),
    row(&[&[0, 1, 2, 3, 4]], &["DeformConv"]),
    row(&[&[0, 1, 2, 3, 5]], &["GRU", "RNN"]),
    row(&[&[0, 1, 2, 3, 5, 6, 7]], &["LSTM"]),
    row(&[&[0, 1, 4], &[2, 5]], &["Attention"]),
    row(&[&[0, 2]], &["DequantizeLinear", "Pad", "Scatter", "ScatterElements", "ScatterND"]),
    row(&[&[0, 2], &[1, 3]], &["ConvInteger", "MatMulInteger"]),
    row(&[&[0, 2], &[3, 5]], &["QLinearConv", "QLinearMatMul"]),
    row(&[&[1, 2]], &["Where"]),
    row(&[&[1, 2], &[3, 4]], &["BatchNormalization"]),
    row(&[&[1, 2, 3, 4]], &["Slice"]),
    row(&[], &["Concat", "Einsum", "Max", "Mean", "Min", "Sum"]),
];
