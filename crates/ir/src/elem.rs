//! Element types, with the codes that ONNX's `TensorProto.DataType` gives them.

use std::fmt;
use std::ops::RangeInclusive;

macro_rules! elem_types {
    ($($(#[$doc:meta])* $variant:ident = $code:literal, $text:literal, $bits:literal;)*) => {
        /// Element type of a tensor. Codes and names are those of the ONNX specification (`onnx-ml.proto`, IR.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum ElemType { $($(#[$doc])* $variant,)* }
        impl ElemType {
            /// Every element type, in code order.
            pub const ALL: &[ElemType] = &[$(ElemType::$variant),*];
            /// The code in `TensorProto.DataType`.
            pub fn code(self) -> i32 { match self { $(Self::$variant => $code),* } }
            /// The type of a code, if the standard has it.
            pub fn from_code(code: i32) -> Option<Self> { match code { $($code => Some(Self::$variant),)* _ => None } }
            /// The name in ONNX's text syntax.
            pub fn name(self) -> &'static str { match self { $(Self::$variant => $text),* } }
            /// The type of a name in ONNX's text syntax.
            pub fn from_name(name: &str) -> Option<Self> { match name { $($text => Some(Self::$variant),)* _ => None } }
            /// Bits an element takes in `raw_data`; 0 for strings, which have no raw form.
            pub fn bits(self) -> u32 { match self { $(Self::$variant => $bits),* } }
        }
    };
}

elem_types! {
    /// IEEE single precision.
    F32 = 1, "float", 32;
    /// Unsigned 8 bits.
    U8 = 2, "uint8", 8;
    /// Signed 8 bits.
    I8 = 3, "int8", 8;
    /// Unsigned 16 bits.
    U16 = 4, "uint16", 16;
    /// Signed 16 bits.
    I16 = 5, "int16", 16;
    /// Signed 32 bits.
    I32 = 6, "int32", 32;
    /// Signed 64 bits.
    I64 = 7, "int64", 64;
    /// UTF-8 strings.
    String = 8, "string", 0;
    /// One byte, 0 or 1.
    Bool = 9, "bool", 8;
    /// IEEE half precision.
    F16 = 10, "float16", 16;
    /// IEEE double precision.
    F64 = 11, "double", 64;
    /// Unsigned 32 bits.
    U32 = 12, "uint32", 32;
    /// Unsigned 64 bits.
    U64 = 13, "uint64", 64;
    /// Two floats.
    Complex64 = 14, "complex64", 64;
    /// Two doubles.
    Complex128 = 15, "complex128", 128;
    /// bfloat16.
    BF16 = 16, "bfloat16", 16;
    /// 4 exponent bits, finite.
    F8E4M3FN = 17, "float8e4m3fn", 8;
    /// 4 exponent bits, finite, no negative zero.
    F8E4M3FNUZ = 18, "float8e4m3fnuz", 8;
    /// 5 exponent bits.
    F8E5M2 = 19, "float8e5m2", 8;
    /// 5 exponent bits, finite, no negative zero.
    F8E5M2FNUZ = 20, "float8e5m2fnuz", 8;
    /// Unsigned 4 bits, two in a byte.
    U4 = 21, "uint4", 4;
    /// Signed 4 bits, two in a byte.
    I4 = 22, "int4", 4;
    /// 2 exponent bits, 1 mantissa bit, two in a byte.
    F4E2M1 = 23, "float4e2m1", 4;
    /// 8 exponent bits only (a scale).
    F8E8M0 = 24, "float8e8m0", 8;
    /// Unsigned 2 bits, four in a byte.
    U2 = 25, "uint2", 2;
    /// Signed 2 bits, four in a byte.
    I2 = 26, "int2", 2;
    /// 2 exponent bits, 3 mantissa bits, four in three bytes.
    F6E2M3 = 27, "float6e2m3", 6;
    /// 3 exponent bits, 2 mantissa bits, four in three bytes.
    F6E3M2 = 28, "float6e3m2", 6;
}

impl ElemType {
    /// Bytes that `count` elements take in `raw_data`, or `None` where that overflows or there is no raw form.
    pub fn raw_len(self, count: u64) -> Option<u64> {
        match self.bits() {
            0 => None,
            bits => count.checked_mul(u64::from(bits)).map(|b| b.div_ceil(8)),
        }
    }
    /// Whether arithmetic on weights of this type is done in floating point.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::BF16 | Self::F64)
    }
    /// Whether tensors of this type hold weights: what is trained, or a quantised form of it. Whole numbers of 16 bits
    /// and more are indices, sizes and accumulators.
    pub fn holds_weights(self) -> bool {
        self.is_float() || (self.bits() <= 8 && !matches!(self, Self::Bool | Self::String))
    }
    /// Whether values are whole numbers that fit 64 bits.
    pub fn is_int(self) -> bool {
        matches!(
            self,
            Self::U8 | Self::I8 | Self::U16 | Self::I16 | Self::I32 | Self::I64 | Self::U32 | Self::U64 | Self::Bool
        )
    }
    /// Whole numbers of 64 bits that the type holds exactly, with all between them; of a floating type those of its
    /// significand. `None` for types that nothing is counted in.
    pub fn whole_numbers(self) -> Option<RangeInclusive<i64>> {
        let significand = |bits: u32| Some(-(1 << bits)..=1 << bits);
        match self {
            Self::Bool => Some(0..=1),
            Self::U8 | Self::U16 | Self::U32 => Some(0..=(1 << self.bits()) - 1),
            Self::U64 => Some(0..=i64::MAX),
            Self::I8 | Self::I16 | Self::I32 | Self::I64 => {
                let most = i64::MAX >> (64 - self.bits());
                Some(!most..=most)
            }
            Self::BF16 => significand(8),
            Self::F16 => significand(11),
            Self::F32 => significand(24),
            Self::F64 => significand(53),
            _ => None,
        }
    }
}

impl fmt::Display for ElemType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
