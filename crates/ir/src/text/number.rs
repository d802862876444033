//! Elements of tensors as the text writes them, and back into bytes.

use super::error::TextProblem;
use crate::ElemType;
use std::fmt::Write;

/// Collects elements of one type into little-endian bytes, sub-byte types packed low bits first.
pub(super) struct Packer {
    elem: ElemType,
    bytes: Vec<u8>,
    count: u64,
}

impl Packer {
    pub(super) fn new(elem: ElemType) -> Self {
        Self { elem, bytes: Vec::new(), count: 0 }
    }
    /// Numbers read so far; a complex element takes two.
    pub(super) fn count(&self) -> u64 {
        self.count
    }
    pub(super) fn finish(self) -> Vec<u8> {
        self.bytes
    }
    /// Appends one number.
    pub(super) fn push(&mut self, text: &str) -> Result<(), TextProblem> {
        let wanted = self.elem.name();
        let bad = || TextProblem::BadNumber { text: text.to_string(), wanted };
        match self.elem {
            ElemType::F32 | ElemType::Complex64 => self.bytes.extend(float32(text).ok_or_else(bad)?.to_le_bytes()),
            ElemType::F64 | ElemType::Complex128 => self.bytes.extend(float64(text).ok_or_else(bad)?.to_le_bytes()),
            ElemType::U64 => self.bytes.extend(text.parse::<u64>().map_err(|_| bad())?.to_le_bytes()),
            elem => {
                let bits = elem.bits();
                let value: i64 = text.parse().map_err(|_| bad())?;
                let (low, high) = range(elem);
                if !(low..=high).contains(&value) {
                    return Err(bad());
                }
                if bits < 8 {
                    let per = u64::from(8 / bits);
                    let mask = (1u8 << bits) - 1;
                    let shift = (self.count % per) as u32 * bits;
                    if shift == 0 {
                        self.bytes.push(0);
                    }
                    if let Some(last) = self.bytes.last_mut() {
                        *last |= (value as u8 & mask) << shift;
                    }
                } else {
                    self.bytes.extend(&value.to_le_bytes()[..bits as usize / 8]);
                }
            }
        }
        self.count += 1;
        Ok(())
    }
}

/// Whether elements are written as signed numbers.
fn signed(elem: ElemType) -> bool {
    matches!(elem, ElemType::I2 | ElemType::I4 | ElemType::I8 | ElemType::I16 | ElemType::I32 | ElemType::I64)
}

/// Smallest and largest number of a type that is written as whole numbers of at most 64 bits.
fn range(elem: ElemType) -> (i64, i64) {
    match (elem.bits(), signed(elem)) {
        (64, _) => (i64::MIN, i64::MAX),
        _ if elem == ElemType::Bool => (0, 1),
        (bits, true) => (-(1 << (bits - 1)), (1 << (bits - 1)) - 1),
        (bits, false) => (0, (1 << bits) - 1),
    }
}

pub(super) fn float32(text: &str) -> Option<f32> {
    text.parse().ok()
}
pub(super) fn float64(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// A float so that it reads as one and reads back exactly.
pub(super) fn write_f32(out: &mut String, v: f32) {
    match v.is_nan() {
        true => out.push_str(if v.is_sign_negative() { "-nan" } else { "nan" }),
        false => write!(out, "{v:?}").expect("strings take writes"),
    }
}
/// A double so that it reads as one and reads back exactly.
pub(super) fn write_f64(out: &mut String, v: f64) {
    match v.is_nan() {
        true => out.push_str(if v.is_sign_negative() { "-nan" } else { "nan" }),
        false => write!(out, "{v:?}").expect("strings take writes"),
    }
}

/// The numbers of a raw tensor of `count` elements, separated by commas.
pub(super) fn write_elements(out: &mut String, elem: ElemType, count: u64, bytes: &[u8]) {
    let mut first = true;
    let mut separate = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push_str(", ");
        }
    };
    let bits = elem.bits() as usize;
    match elem {
        ElemType::F32 | ElemType::Complex64 => {
            for c in bytes.as_chunks::<4>().0 {
                separate(out);
                write_f32(out, f32::from_le_bytes(*c));
            }
        }
        ElemType::F64 | ElemType::Complex128 => {
            for c in bytes.as_chunks::<8>().0 {
                separate(out);
                write_f64(out, f64::from_le_bytes(*c));
            }
        }
        _ => {
            for i in 0..count as usize {
                separate(out);
                let mut raw = [0u8; 8];
                if bits < 8 {
                    let per = 8 / bits;
                    raw[0] = (bytes[i / per] >> (i % per * bits)) & ((1 << bits) - 1);
                } else {
                    raw[..bits / 8].copy_from_slice(&bytes[i * bits / 8..(i + 1) * bits / 8]);
                }
                let value = u64::from_le_bytes(raw);
                match signed(elem) {
                    // Shifting up and down again extends the sign.
                    true => write!(out, "{}", ((value << (64 - bits)) as i64) >> (64 - bits)),
                    false => write!(out, "{value}"),
                }
                .expect("strings take writes");
            }
        }
    }
}
