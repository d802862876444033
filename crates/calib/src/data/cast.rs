//! From the element type in which samples are stored to the one that the model takes.

use sparsec_ir::{ElemType, Tensor, TensorError};

/// Why elements cannot be converted.
#[derive(Debug)]
pub(crate) enum CastError {
    /// No conversion between the two types.
    Types,
    /// A factor on an input of whole numbers.
    ScaledIntegers,
    /// Element `at` (row-major) does not fit.
    Range { at: usize, value: String },
    /// The elements cannot be read or written.
    Tensor(TensorError),
}

impl From<TensorError> for CastError {
    fn from(e: TensorError) -> Self {
        Self::Tensor(e)
    }
}

/// `tensor` with elements of type `to`, each multiplied by `scale` in double precision and rounded once.
///
/// Whole numbers become floats and other whole numbers, if every one fits; floats become other floats. Floats never become
/// whole numbers: which rounding is meant cannot be known.
pub(crate) fn cast(tensor: Tensor, to: ElemType, scale: Option<f64>) -> Result<Tensor, CastError> {
    let factor = scale.unwrap_or(1.0);
    if to.is_float() {
        if tensor.elem == to && factor == 1.0 {
            return Ok(tensor);
        }
        let mut values = doubles(&tensor)?;
        values.iter_mut().for_each(|v| *v *= factor);
        return Ok(Tensor::from_f64(to, &tensor.dims, &values)?);
    }
    if !to.is_int() || !tensor.elem.is_int() {
        return Err(CastError::Types);
    }
    if factor != 1.0 {
        return Err(CastError::ScaledIntegers);
    }
    if tensor.elem == to {
        return Ok(tensor);
    }
    let range = |at: usize, value: String| CastError::Range { at, value };
    // The only whole numbers beyond int64 are large uint64, which fit no other type.
    let values = tensor.to_i64().map_err(|_| range(first_beyond_i64(&tensor), "a number above 2^63".into()))?;
    let out = match to {
        ElemType::Bool => narrow(&values, |v: u8| [v]).and_then(|b| match b.iter().position(|&b| b > 1) {
            Some(at) => Err(range(at, b[at].to_string())),
            None => Ok(b),
        }),
        ElemType::U8 => narrow(&values, u8::to_le_bytes),
        ElemType::I8 => narrow(&values, i8::to_le_bytes),
        ElemType::U16 => narrow(&values, u16::to_le_bytes),
        ElemType::I16 => narrow(&values, i16::to_le_bytes),
        ElemType::U32 => narrow(&values, u32::to_le_bytes),
        ElemType::I32 => narrow(&values, i32::to_le_bytes),
        ElemType::U64 => narrow(&values, u64::to_le_bytes),
        _ => narrow(&values, i64::to_le_bytes),
    }?;
    Ok(Tensor::raw(to, tensor.dims, out.into())?)
}

fn narrow<T: TryFrom<i64>, const N: usize>(values: &[i64], bytes: fn(T) -> [u8; N]) -> Result<Vec<u8>, CastError> {
    let mut out = Vec::with_capacity(values.len() * N);
    for (at, &v) in values.iter().enumerate() {
        let fits = T::try_from(v).map_err(|_| CastError::Range { at, value: v.to_string() })?;
        out.extend(bytes(fits));
    }
    Ok(out)
}

/// Elements of any readable type as doubles. Whole numbers beyond 2^53 lose their last bits.
pub(crate) fn doubles(tensor: &Tensor) -> Result<Vec<f64>, CastError> {
    match tensor.elem {
        e if e.is_float() => Ok(tensor.to_f64()?),
        ElemType::U64 => Ok(words(tensor)?.map(|v| v as f64).collect()),
        e if e.is_int() => Ok(tensor.to_i64()?.into_iter().map(|v| v as f64).collect()),
        _ => Err(CastError::Types),
    }
}

fn words(tensor: &Tensor) -> Result<impl Iterator<Item = u64> + '_, TensorError> {
    Ok(tensor.bytes()?.chunks_exact(8).map(|c| u64::from_le_bytes(c.try_into().expect("chunks have 8 bytes"))))
}

fn first_beyond_i64(tensor: &Tensor) -> usize {
    words(tensor).ok().and_then(|mut w| w.position(|v| i64::try_from(v).is_err())).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(values: &[u8]) -> Tensor {
        Tensor::raw(ElemType::U8, vec![values.len() as u64], values.to_vec().into()).unwrap()
    }

    #[test]
    fn whole_numbers_become_scaled_floats() {
        let t = cast(bytes(&[0, 51, 255]), ElemType::F32, Some(1.0 / 255.0)).unwrap();
        assert_eq!(t.to_f32().unwrap(), [0.0, 0.2, 1.0]);
    }

    #[test]
    fn whole_numbers_must_fit() {
        assert_eq!(cast(bytes(&[7, 127]), ElemType::I8, None).unwrap().to_i64().unwrap(), [7, 127]);
        assert!(matches!(cast(bytes(&[7, 128]), ElemType::I8, None), Err(CastError::Range { at: 1, .. })));
        let huge = Tensor::raw(ElemType::U64, vec![2], [1u64, u64::MAX].map(u64::to_le_bytes).concat().into()).unwrap();
        assert!(matches!(cast(huge.clone(), ElemType::I64, None), Err(CastError::Range { at: 1, .. })));
        assert_eq!(cast(huge, ElemType::F64, None).unwrap().to_f64().unwrap(), [1.0, u64::MAX as f64]);
    }

    #[test]
    fn floats_never_become_whole_numbers() {
        assert!(matches!(cast(Tensor::f32(&[1], &[1.0]), ElemType::I64, None), Err(CastError::Types)));
        assert!(matches!(cast(bytes(&[1]), ElemType::I64, Some(0.5)), Err(CastError::ScaledIntegers)));
    }
}
