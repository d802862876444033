//! Indices, written as ranges: `0-3, 6`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// Ascending, distinct indices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Indices(Vec<u32>);

/// More indices than any axis has slots: a range this long is a mistake, and must not cost memory.
const MAX: u64 = 1 << 22;

impl Indices {
    /// Sorts and removes repetitions.
    pub fn new(mut indices: Vec<u32>) -> Self {
        indices.sort_unstable();
        indices.dedup();
        Self(indices)
    }
    /// The indices, ascending.
    pub fn indices(&self) -> &[u32] {
        &self.0
    }
}

/// Distinct indices in an order that means something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ordered(Vec<u32>);

impl Ordered {
    /// The indices without repetitions.
    pub fn new(mut indices: Vec<u32>) -> Self {
        let mut seen = BTreeSet::new();
        indices.retain(|i| seen.insert(*i));
        Self(indices)
    }
    /// The indices.
    pub fn indices(&self) -> &[u32] {
        &self.0
    }
    /// Whether they ascend.
    pub fn ascend(&self) -> bool {
        self.0.is_sorted()
    }
}

/// Writes indices, those in a row as a range.
fn ranges(mut rest: &[u32], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut first = true;
    while let Some(&start) = rest.first() {
        let run = rest.iter().zip(start..).take_while(|(a, b)| *a == b).count();
        if !first {
            f.write_str(", ")?;
        }
        first = false;
        match run {
            1 => write!(f, "{start}")?,
            _ => write!(f, "{start}-{}", start + run as u32 - 1)?,
        }
        rest = &rest[run..];
    }
    Ok(())
}

/// The indices of a text, each one or range of which `fits` behind those before it.
fn parse(text: &str, mut fits: impl FnMut(&[u32], u32, u32) -> Result<(), &'static str>) -> Result<Vec<u32>, String> {
    let mut out: Vec<u32> = Vec::new();
    for part in text.split(',').map(str::trim).filter(|p| !p.is_empty()) {
        let number = |s: &str| s.trim().parse::<u32>().map_err(|_| format!("`{part}` is not an index or a range"));
        let (from, to) = match part.split_once('-') {
            Some((a, b)) => (number(a)?, number(b)?),
            None => (number(part)?, number(part)?),
        };
        if from > to {
            return Err(format!("range `{part}` runs backwards"));
        }
        if u64::from(to - from) + out.len() as u64 > MAX {
            return Err(format!("range `{part}` is longer than any axis"));
        }
        fits(&out, from, to).map_err(|why| format!("`{part}` {why}"))?;
        out.extend(from..=to);
    }
    Ok(out)
}

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ranges(&self.0, f)
    }
}

impl fmt::Display for Ordered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        ranges(&self.0, f)
    }
}

impl FromStr for Indices {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let ascends = |before: &[u32], from: u32, _| match before.last() {
            Some(last) if from <= *last => Err("repeats an index or is out of order"),
            _ => Ok(()),
        };
        parse(text, ascends).map(Self)
    }
}

impl FromStr for Ordered {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let mut seen = BTreeSet::new();
        let once = |_: &[u32], from: u32, to: u32| match (from..=to).all(|i| seen.insert(i)) {
            true => Ok(()),
            false => Err("repeats an index"),
        };
        parse(text, once).map(Self)
    }
}

impl Serialize for Indices {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl Serialize for Ordered {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

/// One index alone reads as a number in YAML.
#[derive(Deserialize)]
#[serde(untagged)]
enum Form {
    One(u32),
    Text(String),
}

impl Form {
    fn read<T: FromStr<Err = String>, E: serde::de::Error>(self) -> Result<T, E> {
        match self {
            Self::One(i) => i.to_string().parse(),
            Self::Text(text) => text.parse(),
        }
        .map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Indices {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Form::deserialize(d)?.read()
    }
}

impl<'de> Deserialize<'de> for Ordered {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Form::deserialize(d)?.read()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_read_back_as_written() {
        for text in ["", "0", "0-3, 6", "1, 3, 5-9"] {
            assert_eq!(text.parse::<Indices>().unwrap().to_string(), text);
        }
        for bad in ["3-1", "1, 1", "2, 1", "x", "0-4294967295"] {
            assert!(bad.parse::<Indices>().is_err(), "{bad}");
        }
        for text in ["2, 1", "4-6, 0, 2-3"] {
            assert_eq!(text.parse::<Ordered>().unwrap().to_string(), text);
        }
        for bad in ["3-1", "1, 1", "2, 0-3", "x", "0-4294967295"] {
            assert!(bad.parse::<Ordered>().is_err(), "{bad}");
        }
    }
}
