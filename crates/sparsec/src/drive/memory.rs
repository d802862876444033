//! How much of the samples is held at a time.

use super::Prepared;
use sparsec_calib::Passes;
use sparsec_ir::{Facts, Tensor, ValueId};

/// Bytes that measuring and recovering may hold at a time beside the model: samples, activations and statistics.
pub const MEMORY: u64 = 1 << 30;

/// Samples in one run, where memory allows.
const BATCH: u64 = 32;
/// Samples that are used whatever they take: fewer say nothing.
const LEAST_SAMPLES: u64 = 32;

/// Samples that the measurements run on, and what they may take.
pub struct Samples {
    /// Inputs in the order of the graph's (first axis: samples).
    pub inputs: Vec<Tensor>,
    /// Samples that there were.
    pub given: u64,
    /// Threads to work with; results do not depend on them.
    pub threads: usize,
    /// Bytes to hold at a time. Results depend on it.
    pub memory: u64,
}

impl Samples {
    /// The first of the samples, as many as fit into a quarter of `memory` bytes; the rest is for activations and
    /// statistics, which are streamed.
    pub fn fit(inputs: Vec<Tensor>, threads: usize, memory: u64) -> Self {
        let given = inputs.first().and_then(|t| t.dims.first()).copied().unwrap_or(0);
        let bytes: u64 = inputs.iter().map(Tensor::byte_len).sum();
        let fit = (memory / 4 / (bytes / given.max(1)).max(1)).max(LEAST_SAMPLES);
        let inputs = if fit < given { first(&inputs, fit) } else { inputs };
        Self { inputs, given, threads, memory }
    }
    /// Samples that are used.
    pub fn used(&self) -> u64 {
        self.inputs.first().and_then(|t| t.dims.first()).copied().unwrap_or(0)
    }
    /// What a user should know, where not all samples are used.
    pub fn remark(&self) -> Option<String> {
        let (used, given, memory) = (self.used(), self.given, self.memory >> 20);
        (used < given).then(|| format!("{used} of {given} samples were used: no more fit into {memory} MiB"))
    }
    /// Runs of `model` that hold the `values` of a few samples at a time. `facts` are bound to one sample.
    pub(super) fn passes(&self, facts: &Facts, values: impl IntoIterator<Item = ValueId>) -> Passes {
        let sample: u64 = values.into_iter().map(|v| bytes_of(facts, v)).sum();
        let batch = (self.memory / 8 / sample.max(1)).clamp(1, BATCH);
        let held = (self.memory / 4 / (batch * sample).max(1)).clamp(1, 2 * self.threads.max(1) as u64);
        Passes { batch: batch as usize, held: held as usize, threads: self.threads }
    }
}

/// Facts of the model for one sample of `inputs`.
pub(super) fn bound(dense: &Prepared, inputs: &[Tensor]) -> Result<Facts, super::DriveError> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    Ok(dense.bind(&dense.sizes(1, &dense.sizes_of(&shapes))?))
}

/// Bytes of a value, 0 where its size is not known.
pub(super) fn bytes_of(facts: &Facts, value: ValueId) -> u64 {
    let fact = facts.get(value);
    let bits = u64::from(fact.elem.map_or(32, sparsec_ir::ElemType::bits));
    let count = fact.sizes().map_or(0, |s| s.iter().fold(1u64, |n, d| n.saturating_mul(*d)));
    count.saturating_mul(bits) / 8
}

/// At most `n` samples, the first ones, copied.
pub(super) fn first(inputs: &[Tensor], n: u64) -> Vec<Tensor> {
    let part = |t: &Tensor| {
        let keep: Vec<u32> = (0..t.dims[0].min(n) as u32).collect();
        t.gather(0, &keep).unwrap_or_else(|_| t.clone())
    };
    inputs.iter().map(part).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_do_not_fit_are_left_out_and_said() {
        let inputs = || vec![Tensor::f32(&[100, 4], &[0.5; 400])];
        let all = Samples::fit(inputs(), 1, 100 * 16 * 4);
        assert_eq!((all.used(), all.remark()), (100, None));
        let part = Samples::fit(inputs(), 1, 50 * 16 * 4);
        assert_eq!(part.used(), 50);
        assert!(part.remark().is_some_and(|r| r.starts_with("50 of 100 samples")));
        assert_eq!(Samples::fit(inputs(), 1, 0).used(), LEAST_SAMPLES);
    }
}
