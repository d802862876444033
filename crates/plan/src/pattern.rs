//! Where the zeros of a masked weight may lie, and where they do.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

/// Where the zeros of a weight may lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Pattern {
    /// `4x1`: so many outputs in a row have their zeros at the same inputs; `1x1` is any zeros.
    Block(u32),
    /// `2:4`: of every `of` inputs in a row, at the same tap, `stay` are not zero.
    Of {
        /// Inputs that stay.
        stay: u32,
        /// Inputs in a row.
        of: u32,
    },
}

impl Pattern {
    /// Outputs that have their zeros at the same inputs.
    pub fn outputs(self) -> usize {
        match self {
            Self::Block(outputs) => outputs as usize,
            Self::Of { .. } => 1,
        }
    }
    /// The share that stays, where the pattern fixes it.
    pub fn share(self) -> Option<f64> {
        match self {
            Self::Block(_) => None,
            Self::Of { stay, of } => Some(f64::from(stay) / f64::from(of)),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Block(outputs) => write!(f, "{outputs}x1"),
            Self::Of { stay, of } => write!(f, "{stay}:{of}"),
        }
    }
}

/// What a pattern looks like.
const PATTERNS: &str = "a pattern is `1x1`, `4x1` or `8x1` (outputs in a row that share their inputs, at most 64), or `2:4` (inputs that stay, \
                        of so many in a row, at most 64)";
/// The largest block or run.
const MOST: u32 = 64;

impl FromStr for Pattern {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let number = |s: &str| s.parse::<u32>().ok().filter(|n| (1..=MOST).contains(n));
        let block = text.strip_suffix("x1").and_then(number).map(Self::Block);
        let of = || {
            let (stay, of) = text.split_once(':')?;
            let (stay, of) = (number(stay)?, number(of)?);
            (stay < of).then_some(Self::Of { stay, of })
        };
        block.or_else(of).ok_or_else(|| PATTERNS.to_string())
    }
}

/// Which blocks of a weight stay, in the order in which the weight's pattern counts them; in files as base64, the first
/// block in the highest bit of the first byte.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bits(Vec<bool>);

impl Bits {
    /// Of a flag for each block.
    pub fn new(mut flags: Vec<bool>) -> Self {
        flags.resize(flags.len().next_multiple_of(WORD), false);
        Self(flags)
    }
    /// Flags; behind the last block up to 23 more, which are not set: 24 bits are four letters.
    pub fn flags(&self) -> &[bool] {
        &self.0
    }
}

/// Flags in four letters, so that no padding is ever needed.
const WORD: usize = 24;
/// RFC 4648, table 1.
const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

impl fmt::Display for Bits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chunks(6).try_for_each(|bits| {
            let value = bits.iter().fold(0, |n, bit| 2 * n + usize::from(*bit));
            write!(f, "{}", char::from(ALPHABET[value]))
        })
    }
}

impl FromStr for Bits {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        const WANTED: &str = "a mask is base64 in whole groups of four letters";
        let mut out = Vec::with_capacity(6 * text.len());
        for letter in text.bytes() {
            let value = ALPHABET.iter().position(|a| *a == letter).ok_or(WANTED)?;
            out.extend((0..6).rev().map(|bit| value >> bit & 1 == 1));
        }
        if out.len().is_multiple_of(WORD) { Ok(Self(out)) } else { Err(WANTED.to_string()) }
    }
}

macro_rules! as_text {
    ($($name:ty),*) => {$(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.collect_str(self)
            }
        }
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
as_text!(Pattern, Bits);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_written_as_they_are_read() {
        for text in ["1x1", "4x1", "8x1", "2:4", "1:16"] {
            assert_eq!(text.parse::<Pattern>().map(|p| p.to_string()), Ok(text.to_string()));
        }
        for text in ["", "x1", "0x1", "4x2", "65x1", "4:2", "4:4", "0:4", "-1x1", "2:4:8", " 4x1"] {
            assert!(text.parse::<Pattern>().is_err(), "{text}");
        }
    }

    #[test]
    fn bits_are_base64() {
        let bits = Bits::new(b"Mask".iter().flat_map(|b| (0..8).rev().map(move |i| b >> i & 1 == 1)).collect());
        assert_eq!(bits.to_string(), "TWFzawAA");
        let read: Bits = "TWFzawAA".parse().unwrap();
        assert_eq!(read, bits);
        assert!(read.flags().len() == 48 && read.flags()[32..].iter().all(|b| !b));
        assert!("TW=".parse::<Bits>().is_err());
    }
}
