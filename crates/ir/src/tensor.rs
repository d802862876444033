//! Constant tensors. Bytes are shared and usually point into the mapped model file.

use crate::ElemType;
use bytes::Bytes;
use half::{bf16, f16};
use std::collections::{BTreeMap, BTreeSet};
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
    /// A sparse tensor's indices do not fit its values or sizes.
    #[error("indices of a sparse tensor of sizes {dims:?} do not fit its values or sizes")]
    Indices {
        /// Sizes.
        dims: Vec<u64>,
    },
    /// A sparse tensor is too large to be written out.
    #[error("a sparse tensor of sizes {dims:?} takes more than {limit} bytes when zeros are written out")]
    TooLarge {
        /// Sizes.
        dims: Vec<u64>,
        /// Bytes that are allowed.
        limit: u64,
    },
    /// The elements are not of a type that the caller can use.
    #[error("elements of type {elem} cannot be read as {wanted}")]
    Elem {
        /// Element type.
        elem: ElemType,
        /// What was asked for.
        wanted: &'static str,
    },
    /// A finite number that the element type has none near.
    #[error("a number is beyond what {elem} holds")]
    Range {
        /// Element type.
        elem: ElemType,
    },
}

impl SparseTensor {
    /// Calls `visit` with the coordinates of each value, in their order.
    ///
    /// # Errors
    /// [`TensorError::Indices`] where indices, values and sizes do not fit each other.
    pub fn each(&self, mut visit: impl FnMut(&[u64])) -> Result<(), TensorError> {
        let wrong = || TensorError::Indices { dims: self.dims.clone() };
        let all = element_count(&self.dims)?;
        let (at, rank) = (self.indices.to_i64()?, self.dims.len());
        let inside = |i: i64, len: u64| u64::try_from(i).ok().filter(|i| *i < len).ok_or_else(wrong);
        let count = match self.indices.dims[..] {
            [n] => n,
            [n, width] if width == rank as u64 && rank > 0 => n,
            _ => return Err(wrong()),
        };
        if self.values.dims != [count] {
            return Err(wrong());
        }
        let mut row = vec![0; rank];
        if self.indices.dims.len() == 1 {
            for &i in &at {
                self.split(inside(i, all)?, &mut row);
                visit(&row);
            }
            return Ok(());
        }
        for given in at.chunks_exact(rank) {
            for ((to, &i), &len) in row.iter_mut().zip(given).zip(&self.dims) {
                *to = inside(i, len)?;
            }
            visit(&row);
        }
        Ok(())
    }
    /// Coordinates of the element `flat` in row-major order.
    fn split(&self, mut flat: u64, out: &mut [u64]) {
        for (i, len) in out.iter_mut().zip(&self.dims).rev() {
            (*i, flat) = (flat % len, flat / len);
        }
    }
    /// The tensor with only the indices `keep` of `axis`, in the form (linear or by coordinates) that it has.
    ///
    /// # Errors
    /// As [`SparseTensor::each`].
    pub fn gather(&self, axis: usize, keep: &[u32]) -> Result<SparseTensor, TensorError> {
        let mut dims = self.dims.clone();
        dims[axis] = keep.len() as u64;
        let to: BTreeMap<u64, u64> = keep.iter().zip(0..).map(|(&from, to)| (u64::from(from), to)).collect();
        self.moved(axis, dims, |i| to.get(&i).copied())
    }
    /// The tensor with zeros at the indices `gone` of `axis`.
    ///
    /// # Errors
    /// As [`SparseTensor::each`].
    pub fn without(&self, axis: usize, gone: &BTreeSet<u32>) -> Result<SparseTensor, TensorError> {
        let stays = |i: u64| !u32::try_from(i).is_ok_and(|i| gone.contains(&i));
        self.moved(axis, self.dims.clone(), |i| stays(i).then_some(i))
    }
    /// The values whose index along `axis` leads to another one, there, in a tensor of sizes `dims`.
    fn moved(&self, axis: usize, dims: Vec<u64>, to: impl Fn(u64) -> Option<u64>) -> Result<SparseTensor, TensorError> {
        let mut left: Vec<(Vec<u64>, u32)> = Vec::new();
        let mut value = 0;
        self.each(|at| {
            if let Some(new) = to(at[axis]) {
                let mut at = at.to_vec();
                at[axis] = new;
                left.push((at, value));
            }
            value += 1;
        })?;
        left.sort(); // The standard wants ascending indices.
        let picks: Vec<u32> = left.iter().map(|l| l.1).collect();
        let values = self.values.gather(0, &picks)?;
        let count = left.len() as u64;
        let linear = |at: &[u64]| at.iter().zip(&dims).fold(0, |flat, (i, len)| flat * len + i) as i64;
        let indices = match self.indices.dims[..] {
            [_] => Tensor::i64(&[count], &left.iter().map(|(at, _)| linear(at)).collect::<Vec<_>>()),
            _ => {
                let all: Vec<i64> = left.iter().flat_map(|(at, _)| at.iter().map(|i| *i as i64)).collect();
                Tensor::i64(&[count, dims.len() as u64], &all)
            }
        };
        Ok(SparseTensor { values, indices, dims })
    }
    /// The same elements, zeros written out, if that takes at most `limit` bytes.
    ///
    /// # Errors
    /// As [`SparseTensor::each`]; [`TensorError::TooLarge`] beyond `limit`; types below 8 bits are not written out.
    pub fn dense(&self, limit: u64) -> Result<Tensor, TensorError> {
        let count = element_count(&self.dims)?;
        let width = u64::from(self.values.elem.bits() / 8);
        let bytes = count.checked_mul(width).filter(|b| *b <= limit && width > 0);
        let bytes = bytes.ok_or_else(|| TensorError::TooLarge { dims: self.dims.clone(), limit })?;
        let (mut out, width) = (vec![0u8; bytes as usize], width as usize);
        let values = self.values.bytes()?;
        let mut values = values.chunks_exact(width);
        self.each(|at| {
            let flat = at.iter().zip(&self.dims).fold(0, |flat, (i, len)| flat * len + i) as usize;
            out[flat * width..][..width].copy_from_slice(values.next().unwrap_or_default());
        })?;
        Tensor::raw(self.values.elem, self.dims.clone(), out.into())
    }
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
    ///
    /// # Errors
    /// [`TensorError::Range`] for a finite number that would become infinite, [`TensorError::Elem`] for a type that is not
    /// floating, and another count than that of `dims`.
    pub fn from_f64(elem: ElemType, dims: &[u64], values: &[f64]) -> Result<Self, TensorError> {
        let out = Self::narrowed(elem, dims, values)?;
        let lost = |(value, stored): (&f64, f64)| value.is_finite() && !stored.is_finite();
        if values.iter().zip(out.to_f64()?).any(lost) { Err(TensorError::Range { elem }) } else { Ok(out) }
    }
    /// As [`Tensor::from_f64`], but numbers beyond the type's become infinite, as a cast makes them.
    pub fn narrowed(elem: ElemType, dims: &[u64], values: &[f64]) -> Result<Self, TensorError> {
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

/// Elements that `dims` ask for.
///
/// # Errors
/// [`TensorError::Overflow`] where those of any part of the axes are beyond 2^63: a size of 0 hides no other.
pub fn element_count(dims: &[u64]) -> Result<u64, TensorError> {
    let most = dims.iter().try_fold(1u64, |n, d| n.checked_mul((*d).max(1))).filter(|n| *n <= i64::MAX as u64);
    let most = most.ok_or_else(|| TensorError::Overflow { dims: dims.to_vec() })?;
    Ok(if dims.contains(&0) { 0 } else { most })
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
    fn sparse_tensors_are_gathered_in_either_form_and_written_out() {
        let values = Tensor::f32(&[3], &[1., 2., 3.]);
        let linear = SparseTensor { values: values.clone(), indices: Tensor::i64(&[3], &[1, 3, 5]), dims: vec![2, 3] };
        let indices = Tensor::i64(&[3, 2], &[0, 1, 1, 0, 1, 2]);
        let by_axes = SparseTensor { values, indices, dims: vec![2, 3] };
        for s in [linear, by_axes] {
            assert_eq!(s.dense(24).unwrap().to_f32().unwrap(), [0., 1., 0., 2., 0., 3.]);
            let cut = s.gather(1, &[1, 2]).unwrap();
            assert_eq!((cut.dims.as_slice(), cut.indices.dims.len()), (&[2, 2][..], s.indices.dims.len()));
            let masked = s.without(1, &BTreeSet::from([1])).unwrap();
            assert_eq!(masked.dense(24).unwrap().to_f32().unwrap(), [0., 0., 0., 2., 0., 3.]);
            assert_eq!(cut.dense(16).unwrap().to_f32().unwrap(), [1., 0., 0., 3.]);
            assert!(matches!(s.dense(23), Err(TensorError::TooLarge { .. })));
        }
    }

    #[test]
    fn sparse_indices_that_lie_are_errors() {
        let lying = |dims: &[u64], at: &[i64], sizes: &[u64]| {
            let values = Tensor::f32(&[2], &[1., 2.]);
            SparseTensor { values, indices: Tensor::i64(dims, at), dims: sizes.to_vec() }.each(|_| {})
        };
        assert!(lying(&[2], &[0, 1], &[2]).is_ok());
        assert!(matches!(lying(&[2], &[0, 2], &[2]), Err(TensorError::Indices { .. })));
        assert!(matches!(lying(&[2], &[-1, 1], &[2]), Err(TensorError::Indices { .. })));
        assert!(matches!(lying(&[1], &[1], &[2]), Err(TensorError::Indices { .. })));
        assert!(matches!(lying(&[2, 1], &[0, 1], &[2, 2]), Err(TensorError::Indices { .. })));
        assert!(matches!(lying(&[2], &[0, 1], &[1 << 40, 1 << 40]), Err(TensorError::Overflow { .. })));
    }

    #[test]
    fn a_size_of_0_hides_no_overflow() {
        let hidden = Tensor::raw(ElemType::F32, vec![0, 1 << 40, 1 << 40], Bytes::new());
        assert!(matches!(hidden, Err(TensorError::Overflow { .. })));
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
