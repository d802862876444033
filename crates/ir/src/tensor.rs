//! Constant tensors. Bytes are shared and usually point into the mapped model file.

use crate::ElemType;
use bytes::Bytes;
use half::{bf16, f16};
use thiserror::Error;

/// Where a tensor's bytes live outside the model file (`TensorProto.external_data`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalRef {
    /// All key-value entries in file order (`location`, `offset`, `length`, `checksum`, …).
    pub entries: Vec<(String, String)>,
}

/// Contents of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// Little-endian elements, sub-byte types packed low bits first (ONNX `raw_data`).
    Raw(Bytes),
    /// Strings, not necessarily UTF-8.
    Strings(Vec<Bytes>),
}

/// A dense constant: `dims.product()` elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Element type.
    pub elem: ElemType,
    /// Sizes.
    pub dims: Vec<u64>,
    /// Elements.
    pub data: Data,
    /// Set while the bytes are exactly those of an external file.
    pub external: Option<ExternalRef>,
    /// Documentation string of the file.
    pub doc: String,
    /// `metadata_props` of the file.
    pub meta: Vec<(String, String)>,
}

/// A sparse constant as ONNX stores it (`SparseTensorProto`).
#[derive(Clone, Debug, PartialEq)]
pub struct SparseTensor {
    /// Non-zero values, `[nnz]`.
    pub values: Tensor,
    /// Indices, `[nnz]` linear or `[nnz, rank]`.
    pub indices: Tensor,
    /// Sizes of the dense tensor.
    pub dims: Vec<u64>,
}

/// Why a tensor cannot be read or made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TensorError {
    /// Sizes multiply beyond 64 bits.
    #[error("sizes {dims:?} multiply to more than 2^63 elements")]
    Overflow {
        /// The sizes.
        dims: Vec<u64>,
    },
    /// Bytes and sizes disagree.
    #[error("{elem}{dims:?} takes {expected} bytes, but there are {found}")]
    Length {
        /// Element type.
        elem: ElemType,
        /// Sizes.
        dims: Vec<u64>,
        /// Bytes the sizes ask for.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The elements are not of a type that the caller can use.
    #[error("elements of type {elem} cannot be read as {wanted}")]
    Elem {
        /// Element type.
        elem: ElemType,
        /// What was asked for.
        wanted: &'static str,
    },
}

impl Tensor {
    /// A tensor over raw little-endian bytes.
    pub fn raw(elem: ElemType, dims: Vec<u64>, data: Bytes) -> Result<Self, TensorError> {
        let expected =
            element_count(&dims).and_then(|n| elem.raw_len(n).ok_or(TensorError::Overflow { dims: dims.clone() }))?;
        if expected != data.len() as u64 {
            return Err(TensorError::Length { elem, dims, expected, found: data.len() as u64 });
        }
        Ok(Self { elem, dims, data: Data::Raw(data), external: None, doc: String::new(), meta: Vec::new() })
    }
    /// A float tensor; panics if `values` does not fit `dims`, which is a mistake of the caller.
    pub fn f32(dims: &[u64], values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::raw(ElemType::F32, dims.to_vec(), bytes.into()).expect("values fit dims")
    }
    /// An int64 tensor; panics if `values` does not fit `dims`, which is a mistake of the caller.
    pub fn i64(dims: &[u64], values: &[i64]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        Self::raw(ElemType::I64, dims.to_vec(), bytes.into()).expect("values fit dims")
    }
    /// A floating tensor of type `elem` from doubles, rounded to nearest.
    pub fn from_f64(elem: ElemType, dims: &[u64], values: &[f64]) -> Result<Self, TensorError> {
        let bytes: Vec<u8> = match elem {
            ElemType::F32 => values.iter().flat_map(|v| (*v as f32).to_le_bytes()).collect(),
            ElemType::F64 => values.iter().flat_map(|v| v.to_le_bytes()).collect(),
            ElemType::F16 => values.iter().flat_map(|v| f16::from_f64(*v).to_le_bytes()).collect(),
            ElemType::BF16 => values.iter().flat_map(|v| bf16::from_f64(*v).to_le_bytes()).collect(),
            _ => return Err(TensorError::Elem { elem, wanted: "floating point" }),
        };
        Self::raw(elem, dims.to_vec(), bytes.into())
    }
    /// Number of elements.
    pub fn count(&self) -> u64 {
        self.dims.iter().product()
    }
    /// Bytes of the elements.
    pub fn byte_len(&self) -> u64 {
        match &self.data {
            Data::Raw(b) => b.len() as u64,
            Data::Strings(s) => s.iter().map(|b| b.len() as u64).sum(),
        }
    }
    /// The raw bytes, unless the elements are strings.
    pub fn bytes(&self) -> Result<&Bytes, TensorError> {
        match &self.data {
            Data::Raw(b) => Ok(b),
            Data::Strings(_) => Err(TensorError::Elem { elem: self.elem, wanted: "raw bytes" }),
        }
    }
    /// Elements as doubles, for any floating type of 16 bits or more.
    pub fn to_f64(&self) -> Result<Vec<f64>, TensorError> {
        let b = self.bytes()?;
        Ok(match self.elem {
            ElemType::F32 => chunks(b).map(|c| f64::from(f32::from_le_bytes(c))).collect(),
            ElemType::F64 => chunks(b).map(f64::from_le_bytes).collect(),
            ElemType::F16 => chunks(b).map(|c| f16::from_le_bytes(c).to_f64()).collect(),
            ElemType::BF16 => chunks(b).map(|c| bf16::from_le_bytes(c).to_f64()).collect(),
            elem => return Err(TensorError::Elem { elem, wanted: "floating point" }),
        })
    }
    /// Elements as singles, for any floating type of 16 bits or more.
    pub fn to_f32(&self) -> Result<Vec<f32>, TensorError> {
        match self.elem {
            ElemType::F32 => Ok(chunks(self.bytes()?).map(f32::from_le_bytes).collect()),
            _ => Ok(self.to_f64()?.into_iter().map(|v| v as f32).collect()),
        }
    }
    /// Elements as whole numbers, for any integer type or bool.
    pub fn to_i64(&self) -> Result<Vec<i64>, TensorError> {
        let b = self.bytes()?;
        Ok(match self.elem {
            ElemType::I64 => chunks(b).map(i64::from_le_bytes).collect(),
            ElemType::I32 => chunks(b).map(|c| i64::from(i32::from_le_bytes(c))).collect(),
            ElemType::U32 => chunks(b).map(|c| i64::from(u32::from_le_bytes(c))).collect(),
            ElemType::I16 => chunks(b).map(|c| i64::from(i16::from_le_bytes(c))).collect(),
            ElemType::U16 => chunks(b).map(|c| i64::from(u16::from_le_bytes(c))).collect(),
            ElemType::I8 => b.iter().map(|&c| i64::from(c as i8)).collect(),
            ElemType::U8 | ElemType::Bool => b.iter().map(|&c| i64::from(c)).collect(),
            ElemType::U64 => {
                let wanted = "int64: a value is too large";
                let all: Option<Vec<i64>> = chunks(b).map(|c| i64::try_from(u64::from_le_bytes(c)).ok()).collect();
                all.ok_or(TensorError::Elem { elem: self.elem, wanted })?
            }
            elem => return Err(TensorError::Elem { elem, wanted: "whole numbers" }),
        })
    }
    /// Elements as doubles, for any type whose numbers can be read.
    pub fn numbers(&self) -> Result<Vec<f64>, TensorError> {
        if self.elem.is_float() {
            return self.to_f64();
        }
        Ok(self.to_i64()?.into_iter().map(|v| v as f64).collect())
    }
    /// The tensor with only the indices `keep` (ascending or not) of `axis`; bytes are copied, sub-byte types included.
    ///
    /// Panics if `axis` or an index is out of range, which is a mistake of the caller.
    pub fn gather(&self, axis: usize, keep: &[u32]) -> Result<Tensor, TensorError> {
        let outer: u64 = self.dims[..axis].iter().product();
        let inner: u64 = self.dims[axis + 1..].iter().product();
        let len = self.dims[axis];
        assert!(keep.iter().all(|&k| u64::from(k) < len), "index out of range");
        let mut dims = self.dims.clone();
        dims[axis] = keep.len() as u64;
        let source = |o: u64, k: u32| (o * len + u64::from(k)) * inner;
        let data = match &self.data {
            Data::Strings(s) => Data::Strings(
                (0..outer)
                    .flat_map(|o| keep.iter().flat_map(move |&k| (0..inner).map(move |i| source(o, k) + i)))
                    .map(|at| s[at as usize].clone())
                    .collect(),
            ),
            Data::Raw(b) => {
                let bits = u64::from(self.elem.bits());
                let mut out = Vec::with_capacity((outer * keep.len() as u64 * inner * bits).div_ceil(8) as usize);
                if (bits * inner).is_multiple_of(8) {
                    let run = (inner * bits / 8) as usize;
                    for o in 0..outer {
                        for &k in keep {
                            let at = (source(o, k) * bits / 8) as usize;
                            out.extend_from_slice(&b[at..at + run]);
                        }
                    }
                } else {
                    // Elements are a bit stream, lowest bits first; one of up to 8 bits spans at most two bytes.
                    let mask = (1u16 << bits) - 1;
                    let mut n = 0u64;
                    for o in 0..outer {
                        for &k in keep {
                            for i in 0..inner {
                                let from = (source(o, k) + i) * bits;
                                let at = (from / 8) as usize;
                                let pair = u16::from_le_bytes([b[at], b.get(at + 1).copied().unwrap_or(0)]);
                                let v = ((pair >> (from % 8)) & mask) << (n % 8);
                                let to = (n / 8) as usize;
                                n += bits;
                                out.resize(n.div_ceil(8) as usize, 0);
                                out[to] |= v as u8;
                                if v > 0xff {
                                    out[to + 1] |= (v >> 8) as u8;
                                }
                            }
                        }
                    }
                }
                Data::Raw(out.into())
            }
        };
        Ok(Tensor { elem: self.elem, dims, data, external: None, doc: self.doc.clone(), meta: self.meta.clone() })
    }
}

/// Elements that `dims` ask for, refused beyond 2^63.
fn element_count(dims: &[u64]) -> Result<u64, TensorError> {
    let n = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n <= i64::MAX as u64);
    n.ok_or_else(|| TensorError::Overflow { dims: dims.to_vec() })
}

fn chunks<const N: usize>(b: &Bytes) -> impl Iterator<Item = [u8; N]> + '_ {
    b.chunks_exact(N).map(|c| c.try_into().expect("chunks have N bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gather_keeps_rows_of_any_axis_and_width() {
        let t = Tensor::f32(&[2, 3], &[0., 1., 2., 3., 4., 5.]);
        assert_eq!(t.gather(1, &[0, 2]).unwrap().to_f32().unwrap(), [0., 2., 3., 5.]);
        assert_eq!(t.gather(0, &[1]).unwrap().to_f32().unwrap(), [3., 4., 5.]);
        let nibbles =
            Tensor::raw(ElemType::U4, vec![3, 3], Bytes::from_static(&[0x10, 0x32, 0x54, 0x76, 0x08])).unwrap();
        let g = nibbles.gather(1, &[2, 0]).unwrap();
        assert_eq!(g.bytes().unwrap()[..], [0x02, 0x35, 0x68]);
        // 6-bit elements 1, 2, 3, 4, 5: four in three bytes.
        let sixes = Tensor::raw(ElemType::F6E2M3, vec![5], Bytes::from_static(&[0x81, 0x30, 0x10, 0x05])).unwrap();
        assert_eq!(sixes.gather(0, &[4, 2, 1]).unwrap().bytes().unwrap()[..], [0xc5, 0x20, 0x00]);
    }

    #[test]
    fn raw_refuses_wrong_lengths_and_overflow() {
        assert!(matches!(Tensor::raw(ElemType::F32, vec![2], Bytes::new()), Err(TensorError::Length { .. })));
        assert!(matches!(
            Tensor::raw(ElemType::F32, vec![1 << 62, 8], Bytes::new()),
            Err(TensorError::Overflow { .. })
        ));
    }
}
