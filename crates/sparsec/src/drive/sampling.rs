//! How much samples can tell.

use super::memory::{count, samples};
use serde::{Deserialize, Serialize};
use sparsec_calib::Gram;
use sparsec_ir::{Data, Tensor};
use std::collections::BTreeSet;
use std::fmt;

/// Samples that measurements use at most: more cost time and change nothing.
pub const MOST_SAMPLES: u64 = 1024;
/// Samples below which the output's error is no more than an anecdote: as many are used whatever they take.
pub(super) const LEAST_SAMPLES: u64 = 32;

/// Samples that there were, and those that would have been wanted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sampling {
    /// Samples.
    pub given: u64,
    /// Samples that differ from one another.
    pub distinct: u64,
    /// Samples that differ from one another that should at least be there: as many observations of each activation as it
    /// has channels, or regression on them fits anything.
    pub wanted: u64,
    /// The activation that wants most, and its channels.
    pub most: Option<(String, u64)>,
    /// Whether every element of every input is the same.
    #[serde(skip)]
    pub(super) constant: bool,
}

impl Sampling {
    /// Whether there are fewer than wanted.
    pub fn few(&self) -> bool {
        self.distinct < self.wanted
    }
    /// Takes into account the statistics of an activation, which are of so many samples.
    pub(super) fn want(&mut self, activation: &str, gram: &Gram, samples: u64) {
        let channels = gram.mean.len() as u64;
        let needed = needed(channels, gram.count / samples.max(1));
        if needed > self.wanted {
            (self.wanted, self.most) = (needed, Some((activation.to_string(), channels)));
        }
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "calibrated on {} sample{}", self.given, if self.given == 1 { "" } else { "s" })?;
        match self.distinct {
            n if n == self.given => {}
            1 => f.write_str(", all the same")?,
            n => write!(f, ", of which {n} differ")?,
        }
        write!(f, ": at least {} are wanted", self.wanted)?;
        if let Some((value, channels)) = &self.most {
            write!(f, ", since `{value}` has {channels} channels")?;
        }
        f.write_str("; what fits so few need not hold for others")
    }
}

/// Samples that must differ for an activation to have as many observations as channels, of which a sample gives so many.
pub(super) fn needed(channels: u64, observations: u64) -> u64 {
    channels.div_ceil(observations.max(1)).min(MOST_SAMPLES)
}

/// What there is.
pub(super) fn sampling(parts: &[Vec<Tensor>]) -> Sampling {
    let given = count(parts);
    let distinct = parts.iter().map(|p| distinct(p, samples(p))).sum();
    let constant = parts.iter().flatten().all(constant);
    Sampling { given, distinct, wanted: LEAST_SAMPLES, most: None, constant }
}

/// Samples that differ from one another in some input.
fn distinct(inputs: &[Tensor], given: u64) -> u64 {
    let sample = |i: usize| -> Option<Vec<&[u8]>> { inputs.iter().map(|t| part(t, i, given as usize)).collect() };
    let parts: Option<BTreeSet<Vec<&[u8]>>> = (0..given as usize).map(sample).collect();
    parts.map_or(given, |p| p.len() as u64)
}

/// Bytes of one sample, where samples are whole bytes.
fn part(tensor: &Tensor, at: usize, of: usize) -> Option<&[u8]> {
    let Data::Raw(bytes) = &tensor.data else { return None };
    let size = bytes.len() / of.max(1);
    if size * of == bytes.len() { bytes.get(at * size..(at + 1) * size) } else { None }
}

/// Whether all elements are the same.
fn constant(tensor: &Tensor) -> bool {
    let Data::Raw(bytes) = &tensor.data else { return false };
    let width = (tensor.elem.bits() / 8).max(1) as usize;
    bytes.chunks(width).all(|c| Some(c) == bytes.get(..width))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_a_sample_count_once_and_constants_are_seen() {
        let a = Tensor::f32(&[3, 2], &[1.0, 2.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!((distinct(std::slice::from_ref(&a), 3), constant(&a)), (2, false));
        let flags = Tensor::f32(&[3, 1], &[0.0, 1.0, 1.0]);
        assert_eq!(distinct(&[a, flags], 3), 3);
        assert!(constant(&Tensor::f32(&[2, 2], &[0.5; 4])));
    }
}
