//! Ascending indices, written as ranges: `0-3, 6`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
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

impl fmt::Display for Indices {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_slice();
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
}

impl FromStr for Indices {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
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
            if out.last().is_some_and(|last| from <= *last) {
                return Err(format!("`{part}` repeats an index or is out of order"));
            }
            out.extend(from..=to);
        }
        Ok(Self(out))
    }
}

impl Serialize for Indices {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Indices {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        // One index alone reads as a number in YAML.
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            One(u32),
            Text(String),
        }
        match Form::deserialize(d)? {
            Form::One(i) => Ok(Self(vec![i])),
            Form::Text(t) => t.parse().map_err(serde::de::Error::custom),
        }
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
    }
}
