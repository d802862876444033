//! Seeded fills: weights for tests that need not be written out.
//!
//! `random:SEED` draws z ~ N(0, 1) by Box and Muller from splitmix64 seeded with SEED, one element after the other in
//! row-major order, and scales it: by 1/√(elements / first size) for three axes or more (a convolution's fan-in), by
//! 1/√(first size) for a matrix, and by 1/2 for vectors and scalars (biases). Activations so keep their magnitude
//! through layers. `positive:SEED` draws uniformly from [0.5, 1.5). Whole-number types get the value times 8, rounded,
//! and the narrow ones its lowest bits. The numbers are part of the format: tests rely on them.

use crate::{Draw, ElemType, Tensor};
use bytes::Bytes;

/// Elements of the largest fill.
const MAX_ELEMENTS: u64 = 1 << 26;

/// Why a fill is refused.
pub(super) enum FillError {
    /// The location is no fill.
    NotAFill,
    /// More than [`MAX_ELEMENTS`].
    TooLarge,
}

/// A tensor filled as `location` says.
pub(super) fn fill(location: &str, elem: ElemType, dims: &[u64]) -> Result<Tensor, FillError> {
    let (kind, seed) = location.split_once(':').ok_or(FillError::NotAFill)?;
    let mut stream = Draw::new(seed.parse().map_err(|_| FillError::NotAFill)?);
    let count = dims.iter().try_fold(1u64, |n, d| n.checked_mul(*d)).filter(|n| *n <= MAX_ELEMENTS);
    let count = count.ok_or(FillError::TooLarge)?;
    let scale = match dims {
        [] | [_] => 0.5,
        [rows, _] => 1.0 / (*rows as f64).max(1.0).sqrt(),
        [out, rest @ ..] if *out > 0 => 1.0 / (rest.iter().product::<u64>() as f64).max(1.0).sqrt(),
        _ => 1.0,
    };
    let mut draw = || match kind {
        "random" => Some(normal(&mut stream) * scale),
        "positive" => Some(0.5 + stream.unit()),
        _ => None,
    };
    let values: Option<Vec<f64>> = (0..count).map(|_| draw()).collect();
    let values = values.filter(|_| matches!(kind, "random" | "positive")).ok_or(FillError::NotAFill)?;
    if elem.is_float() {
        return Tensor::from_f64(elem, dims, &values).map_err(|_| FillError::TooLarge);
    }
    let whole = values.iter().map(|v| (v * 8.0).round() as i64);
    let bytes: Vec<u8> = match elem.bits() {
        2 | 4 if !matches!(elem, ElemType::F4E2M1) => packed(whole, elem.bits() as usize),
        8 if elem == ElemType::Bool => whole.map(|v| u8::from(v > 0)).collect(),
        8 if elem.is_int() => whole.map(|v| v as u8).collect(),
        16 if elem.is_int() => whole.flat_map(|v| (v as u16).to_le_bytes()).collect(),
        32 if elem.is_int() => whole.flat_map(|v| (v as u32).to_le_bytes()).collect(),
        64 if elem.is_int() => whole.flat_map(|v| v.to_le_bytes()).collect(),
        _ => return Err(FillError::NotAFill),
    };
    Tensor::raw(elem, dims.to_vec(), Bytes::from(bytes)).map_err(|_| FillError::TooLarge)
}

/// The lowest `bits` of each number, lowest first.
fn packed(numbers: impl Iterator<Item = i64>, bits: usize) -> Vec<u8> {
    let mut out = Vec::new();
    for (i, v) in numbers.enumerate() {
        let at = i * bits;
        out.resize(at / 8 + 1, 0);
        out[at / 8] |= ((v as u8) & ((1 << bits) - 1)) << (at % 8);
    }
    out
}

fn normal(draw: &mut Draw) -> f64 {
    let radius = (-2.0 * (1.0 - draw.unit()).ln()).sqrt();
    radius * (std::f64::consts::TAU * draw.unit()).cos()
}
