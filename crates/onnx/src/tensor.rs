//! Tensors: every storage that the standard allows is read into little-endian raw bytes.

use crate::error::OnnxError;
use crate::external::Files;
use crate::extra::{keep, text};
use crate::meta;
use crate::proto::{SparseTensorProto, TensorProto, tensor_proto};
use bytes::Bytes;
use sparsec_ir::{Data, ElemType, ExternalRef, SparseTensor, Tensor, TensorError, element_count};
use std::fmt::Display;

const EXTERNAL: i32 = tensor_proto::DataLocation::External as i32;

/// A tensor, and its message without sizes and data.
pub(crate) fn import(
    mut p: TensorProto,
    place: &dyn Display,
    files: &mut Files<'_>,
) -> Result<(Tensor, TensorProto), OnnxError> {
    let code = p.data_type.unwrap_or_default();
    let elem = ElemType::from_code(code).ok_or_else(|| OnnxError::ElemType { place: place.to_string(), code })?;
    if p.segment.is_some() {
        return Err(OnnxError::Segment { place: place.to_string() });
    }
    let dims = sizes(&p.dims, place)?;
    let wrong = |source| OnnxError::Tensor { place: place.to_string(), source };
    let mut tensor = if p.data_location == Some(EXTERNAL) {
        let entries = meta::import(&p.external_data);
        let expected = count(&dims).and_then(|n| elem.raw_len(n));
        let expected = expected.ok_or_else(|| wrong(TensorError::Overflow { dims: dims.clone() }))?;
        let bytes = files.slice(&entries, expected, place)?;
        let mut t = Tensor::raw(elem, dims, bytes).map_err(wrong)?;
        t.external = Some(ExternalRef { entries });
        t
    } else if elem == ElemType::String {
        let strings = std::mem::take(&mut p.string_data);
        if count(&dims) != Some(strings.len() as u64) {
            return Err(OnnxError::ElementCount { place: place.to_string(), dims, found: strings.len() });
        }
        Tensor { elem, dims, data: Data::Strings(strings), external: None, doc: String::new(), meta: Vec::new() }
    } else {
        // Packed, three and four 6-bit elements take as many bytes: the length alone would not tell.
        let sixths = p.int32_data.len();
        if elem.bits() == 6 && sixths > 0 && count(&dims) != Some(sixths as u64) {
            return Err(OnnxError::ElementCount { place: place.to_string(), dims, found: sixths });
        }
        let bytes = raw_bytes(&mut p, elem, place)?;
        Tensor::raw(elem, dims, bytes).map_err(wrong)?
    };
    tensor.doc = p.doc_string().to_string();
    tensor.meta = meta::import(&p.metadata_props);
    let skeleton = TensorProto {
        name: p.name,
        doc_string: p.doc_string.filter(String::is_empty),
        data_location: p.data_location.filter(|l| *l != EXTERNAL),
        ..TensorProto::default()
    };
    Ok((tensor, skeleton))
}

/// The message of a tensor, everything inline.
pub(crate) fn export(
    t: &Tensor,
    name: Option<&str>,
    skeleton: Option<&TensorProto>,
    place: &dyn Display,
) -> Result<TensorProto, OnnxError> {
    let (raw_data, string_data) = match &t.data {
        Data::Raw(b) => (Some(b.clone()), Vec::new()),
        Data::Strings(s) => (None, s.clone()),
    };
    Ok(TensorProto {
        dims: export_sizes(&t.dims, place)?,
        data_type: Some(t.elem.code()),
        name: name.map(str::to_string).or_else(|| skeleton.and_then(|s| s.name.clone())),
        doc_string: text(&t.doc, skeleton.map(|s| &s.doc_string)),
        raw_data,
        string_data,
        data_location: keep(skeleton.map(|s| &s.data_location), None, |_| None),
        metadata_props: meta::export(&t.meta),
        ..TensorProto::default()
    })
}

/// A sparse tensor, and the messages of its values and indices without sizes and data.
pub(crate) fn import_sparse(
    p: SparseTensorProto,
    place: &dyn Display,
    files: &mut Files<'_>,
) -> Result<(SparseTensor, SparseTensorProto), OnnxError> {
    let missing = || OnnxError::AttributeValue { place: place.to_string() };
    let dims = sizes(&p.dims, place)?;
    let (values, v) = import(p.values.ok_or_else(missing)?, place, files)?;
    let (indices, i) = import(p.indices.ok_or_else(missing)?, place, files)?;
    let tensor = SparseTensor { values, indices, dims };
    tensor.each(|_| {}).map_err(|source| OnnxError::Tensor { place: place.to_string(), source })?;
    Ok((tensor, SparseTensorProto { values: Some(v), indices: Some(i), dims: Vec::new() }))
}

/// The message of a sparse tensor; an initialiser's `name` is that of its values.
pub(crate) fn export_sparse(
    t: &SparseTensor,
    name: Option<&str>,
    values: Option<&TensorProto>,
    indices: Option<&TensorProto>,
    place: &dyn Display,
) -> Result<SparseTensorProto, OnnxError> {
    Ok(SparseTensorProto {
        values: Some(export(&t.values, name, values, place)?),
        indices: Some(export(&t.indices, None, indices, place)?),
        dims: export_sizes(&t.dims, place)?,
    })
}

fn sizes(dims: &[i64], place: &dyn Display) -> Result<Vec<u64>, OnnxError> {
    let size =
        |&size: &i64| u64::try_from(size).map_err(|_| OnnxError::NegativeSize { place: place.to_string(), size });
    dims.iter().map(size).collect()
}

fn export_sizes(dims: &[u64], place: &dyn Display) -> Result<Vec<i64>, OnnxError> {
    let size = |&d: &u64| {
        let source = TensorError::Overflow { dims: dims.to_vec() };
        i64::try_from(d).map_err(|_| OnnxError::Tensor { place: place.to_string(), source })
    };
    dims.iter().map(size).collect()
}

fn count(dims: &[u64]) -> Option<u64> {
    element_count(dims).ok()
}

/// The elements as `raw_data` would have them. Which typed field holds which type: comments of `TensorProto`.
fn raw_bytes(p: &mut TensorProto, elem: ElemType, place: &dyn Display) -> Result<Bytes, OnnxError> {
    let stores = [
        p.raw_data.as_ref().is_some_and(|b| !b.is_empty()),
        !p.float_data.is_empty(),
        !p.int32_data.is_empty(),
        !p.int64_data.is_empty(),
        !p.double_data.is_empty(),
        !p.uint64_data.is_empty(),
        !p.string_data.is_empty(),
    ];
    if stores.iter().filter(|s| **s).count() > 1 {
        return Err(OnnxError::TwoStorages { place: place.to_string() });
    }
    if stores[0] {
        return Ok(p.raw_data.take().unwrap_or_default());
    }
    let range = |value: i128| OnnxError::ElementRange { place: place.to_string(), value, elem };
    let bytes: Vec<u8> = match elem {
        ElemType::F32 | ElemType::Complex64 => p.float_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ElemType::F64 | ElemType::Complex128 => p.double_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ElemType::I64 => p.int64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ElemType::U64 => p.uint64_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ElemType::U32 => {
            let mut out = Vec::with_capacity(p.uint64_data.len() * 4);
            for &v in &p.uint64_data {
                out.extend(u32::try_from(v).map_err(|_| range(v.into()))?.to_le_bytes());
            }
            out
        }
        ElemType::I32 => p.int32_data.iter().flat_map(|v| v.to_le_bytes()).collect(),
        ElemType::F6E2M3 | ElemType::F6E3M2 => six_bits(&p.int32_data, range)?,
        // 16 bits: one element an entry. 8 bits and fewer: one byte an entry, which holds two or four packed elements
        // of the smaller types. Writers extend with zeros or with the sign.
        _ => {
            let width = if elem.bits() == 16 { 2 } else { 1 };
            let bits = width * 8;
            let fits = -(1i32 << (bits - 1))..(1i32 << bits);
            let mut out = Vec::with_capacity(p.int32_data.len() * width);
            for &v in &p.int32_data {
                if !fits.contains(&v) {
                    return Err(range(v.into()));
                }
                out.extend_from_slice(&v.to_le_bytes()[..width]);
            }
            out
        }
    };
    Ok(bytes.into())
}

/// Six-bit elements, one an entry, packed lowest bits first.
fn six_bits(entries: &[i32], range: impl Fn(i128) -> OnnxError) -> Result<Vec<u8>, OnnxError> {
    let mut out = vec![0u8; (entries.len() * 6).div_ceil(8)];
    for (i, &v) in entries.iter().enumerate() {
        if !(0..64).contains(&v) {
            return Err(range(v.into()));
        }
        let wide = (v as u16) << (i * 6 % 8);
        let at = i * 6 / 8;
        out[at] |= wide as u8;
        if wide > 0xff {
            out[at + 1] |= (wide >> 8) as u8;
        }
    }
    Ok(out)
}
