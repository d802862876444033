//! Tensors to and from tract.

use super::NAME;
use crate::RuntimeError;
use crate::signature::Port;
use bytes::Bytes;
use sparsec_ir::{Data, ElemType, Tensor};
use tract_onnx::prelude::tract_ndarray::ArrayD;
use tract_onnx::prelude::{Datum, DatumType, TDim, Tensor as Foreign, TractResult};

/// Half types and what they are computed in: tract lacks bfloat16 and is slow in half precision.
pub(super) fn widened(elem: ElemType) -> ElemType {
    match elem {
        ElemType::F16 | ElemType::BF16 => ElemType::F32,
        other => other,
    }
}

/// tract's name of an element type, after widening.
fn foreign(elem: ElemType) -> Option<DatumType> {
    Some(match widened(elem) {
        ElemType::F32 => f32::datum_type(),
        ElemType::F64 => f64::datum_type(),
        ElemType::U8 => u8::datum_type(),
        ElemType::U16 => u16::datum_type(),
        ElemType::U32 => u32::datum_type(),
        ElemType::U64 => u64::datum_type(),
        ElemType::I8 => i8::datum_type(),
        ElemType::I16 => i16::datum_type(),
        ElemType::I32 => i32::datum_type(),
        ElemType::I64 => i64::datum_type(),
        ElemType::Bool => bool::datum_type(),
        ElemType::String => String::datum_type(),
        _ => return None,
    })
}

/// Our name of an element type of tract's.
fn native(dt: DatumType) -> Option<ElemType> {
    let dt = dt.unquantized();
    ElemType::ALL.iter().copied().find(|e| widened(*e) == *e && foreign(*e) == Some(dt))
}

fn refuse(name: &str, elem: impl ToString) -> RuntimeError {
    RuntimeError::ElemType { runtime: NAME.to_string(), name: name.to_string(), elem: elem.to_string() }
}

/// The type that `port` has in tract.
pub(super) fn datum_type(port: &Port) -> Result<DatumType, RuntimeError> {
    foreign(port.elem).ok_or_else(|| refuse(&port.name, port.elem))
}

/// An input for tract.
pub(super) fn to_tract(tensor: &Tensor, port: &Port) -> Result<Foreign, RuntimeError> {
    let dt = datum_type(port)?;
    let shape: Vec<usize> = tensor.dims.iter().map(|&d| d as usize).collect();
    let wide;
    let tensor = if widened(tensor.elem) == tensor.elem {
        tensor
    } else {
        wide = Tensor::from_f64(widened(tensor.elem), &tensor.dims, &tensor.to_f64()?)?;
        &wide
    };
    let made: TractResult<Foreign> = match &tensor.data {
        Data::Raw(bytes) => Foreign::zero_dt(dt, &shape).map(|mut t| {
            match dt {
                // Any byte but 0 and 1 is an invalid `bool`.
                DatumType::Bool => {
                    t.as_bytes_mut().iter_mut().zip(bytes).for_each(|(to, from)| *to = (*from != 0).into())
                }
                _ => t.as_bytes_mut().copy_from_slice(bytes),
            }
            t
        }),
        Data::Strings(s) => {
            let text = s.iter().map(|b| String::from_utf8_lossy(b).into_owned()).collect();
            ArrayD::from_shape_vec(shape, text).map(Foreign::from).map_err(Into::into)
        }
    };
    made.map_err(|_| refuse(&port.name, tensor.elem))
}

/// An output of tract's as the graph states its type.
pub(super) fn from_tract(tensor: &Foreign, stated: Option<ElemType>, name: &str) -> Result<Tensor, RuntimeError> {
    let dims: Vec<u64> = tensor.shape().iter().map(|&d| d as u64).collect();
    let unreadable = |_| refuse(name, format!("{:?}", tensor.datum_type()));
    if tensor.datum_type() == String::datum_type() {
        let view = tensor.to_plain_array_view::<String>().map_err(unreadable)?;
        let strings = view.iter().map(|s| Bytes::copy_from_slice(s.as_bytes())).collect();
        let empty = Tensor { elem: ElemType::String, dims, data: Data::Strings(strings), ..Tensor::f32(&[0], &[]) };
        return Ok(empty);
    }
    // Sizes are symbolic in tract; with concrete inputs they are numbers.
    let plain = if tensor.datum_type() == TDim::datum_type() {
        tensor.cast_to::<i64>().map_err(unreadable)?
    } else {
        std::borrow::Cow::Borrowed(tensor)
    };
    if !plain.has_plain_ram_storage() {
        return Err(refuse(name, "packed inside the runtime"));
    }
    let elem = native(plain.datum_type()).ok_or_else(|| refuse(name, format!("{:?}", tensor.datum_type())))?;
    let mut out = Tensor::raw(elem, dims, Bytes::copy_from_slice(plain.as_bytes()))?;
    match stated {
        Some(s) if s != elem && widened(s) == elem => {
            out = Tensor::narrowed(s, &out.dims, &out.to_f64()?)?;
        }
        Some(s) if s != elem => return Err(refuse(name, format!("{elem}, stated as {s}"))),
        _ => {}
    }
    Ok(out)
}
