//! How much of the samples is held at a time.

use super::Prepared;
use super::sampling::LEAST_SAMPLES;
use sparsec_calib::Passes;
use sparsec_ir::{ElemType, Fact, Facts, Model, Tensor, ValueId};
use sparsec_runtime::Runtime;

/// Bytes that measuring and recovering may hold at a time beside the model: samples, activations and statistics.
pub const MEMORY: u64 = 1 << 30;

/// Samples in one run, where memory allows.
const BATCH: u64 = 32;

/// Shapes of samples that are used with a runtime that plans for concrete sizes: each is planned anew for every model that
/// is tried.
const MOST_SHAPES: usize = 4;

/// Samples that the measurements run on, and what they may take.
pub struct Samples {
    /// Samples of one shape each, those that take most first: inputs in the order of the graph's (first axis: samples).
    pub parts: Vec<Vec<Tensor>>,
    /// Samples that there were.
    pub given: u64,
    /// Shapes that there were.
    pub shapes: usize,
    /// Threads to work with; results do not depend on them.
    pub threads: usize,
    /// Bytes to hold at a time. Results depend on it.
    pub memory: u64,
}

impl Samples {
    /// The first of the samples of each shape (`parts`), as many as fit into a quarter of `memory` bytes; the rest is for
    /// activations and statistics, which are streamed; but no fewer than say something. Of many shapes, `runtime` may be given those with most elements only.
    pub fn fit(mut parts: Vec<Vec<Tensor>>, runtime: &dyn Runtime, threads: usize, memory: u64) -> Self {
        let (given, shapes) = (count(&parts), parts.len());
        if runtime.any_size().is_none() && shapes > MOST_SHAPES {
            parts.sort_by_key(|p| std::cmp::Reverse(bytes(p)));
            parts.truncate(MOST_SHAPES);
        }
        parts.sort_by_key(|p| std::cmp::Reverse(bytes(p) / samples(p).max(1)));
        let (total, of_all) = (count(&parts), parts.iter().map(|p| bytes(p)).sum::<u64>());
        let fit = (memory / 4 / (of_all / total.max(1)).max(1)).max(LEAST_SAMPLES);
        if fit < total {
            parts = first(&parts, fit);
        }
        Self { parts, given, shapes, threads, memory }
    }
    /// Samples that are used.
    pub fn used(&self) -> u64 {
        count(&self.parts)
    }
    /// Shapes of the inputs of the largest samples (first axis: samples).
    pub fn shapes(&self) -> Vec<Vec<u64>> {
        self.parts.first().into_iter().flatten().map(|t| t.dims.clone()).collect()
    }
    /// What a user should know, where not all samples are used.
    pub fn remark(&self) -> Option<String> {
        let (used, given, memory) = (self.used(), self.given, self.memory >> 20);
        let (shapes, of) = (self.parts.len(), self.shapes);
        let why = match shapes < of {
            true => format!("those of {shapes} of their {of} shapes, each of which the runtime plans for"),
            false => format!("no more fit into {memory} MiB"),
        };
        (used < given).then(|| format!("{used} of {given} samples were used: {why}"))
    }
    /// Runs of `model` that hold the `values` of a few samples at a time. `facts` are bound to one sample.
    pub(super) fn passes(&self, facts: &Facts, values: impl IntoIterator<Item = ValueId>) -> Passes {
        let sample: u64 = values.into_iter().map(|v| bytes_of(facts.get(v))).sum();
        let batch = (self.memory / 8 / sample.max(1)).clamp(1, BATCH);
        let held = (self.memory / 4 / (batch * sample).max(1)).clamp(1, 2 * self.threads.max(1) as u64);
        Passes { batch: batch as usize, held: held as usize, threads: self.threads }
    }
    /// Samples in one run of `model`, whose largest activation is held for them.
    pub(super) fn batch(&self, model: &Model, facts: &Facts) -> usize {
        let activations = model.graph.values().map(|v| v.0).filter(|v| model.graph.constant(*v).is_none());
        self.passes(facts, activations.max_by_key(|v| bytes_of(facts.get(*v)))).batch
    }
}

/// Facts of the model for one sample, the largest.
pub(super) fn bound(dense: &Prepared, samples: &Samples) -> Result<Facts, super::DriveError> {
    Ok(dense.bind(&dense.sizes(1, &dense.sizes_of(&samples.shapes()))?))
}

/// Samples of a part.
pub(super) fn samples(inputs: &[Tensor]) -> u64 {
    inputs.first().and_then(|t| t.dims.first()).copied().unwrap_or(0)
}

/// Samples of all parts.
pub(super) fn count(parts: &[Vec<Tensor>]) -> u64 {
    parts.iter().map(|p| samples(p)).sum()
}

fn bytes(inputs: &[Tensor]) -> u64 {
    inputs.iter().map(Tensor::byte_len).sum()
}

/// Bytes of a value: 0 where its size is not known, the most there is where they do not fit 64 bits.
pub(super) fn bytes_of(fact: &Fact) -> u64 {
    let count = fact.sizes().map_or(0, |s| s.iter().fold(1u64, |n, d| n.saturating_mul(*d)));
    count.saturating_mul(u64::from(fact.elem.map_or(32, ElemType::bits))).div_ceil(8)
}

/// Samples for statistics, and samples to judge these by: a quarter of all, but at least as many as tell something or, of
/// few, half. They are spread over all samples; a single one is in both.
pub(super) fn apart(parts: &[Vec<Tensor>]) -> (Vec<Vec<Tensor>>, Vec<Vec<Tensor>>) {
    let all = count(parts);
    if all < 2 {
        return (parts.to_vec(), parts.to_vec());
    }
    let unseen = (all / 4).max(LEAST_SAMPLES.min(all / 2));
    let (mut fitted, mut judged, mut at) = (Vec::new(), Vec::new(), 0u64);
    for inputs in parts {
        let own = samples(inputs);
        // As a line is drawn on a grid: sample i is one of the `unseen` where i · unseen / all steps up.
        let is_unseen = |i: &u32| (at + u64::from(*i) + 1) * unseen / all > (at + u64::from(*i)) * unseen / all;
        let (judge, fit): (Vec<u32>, Vec<u32>) = (0..own as u32).partition(is_unseen);
        at += own;
        for (keep, to) in [(fit, &mut fitted), (judge, &mut judged)] {
            if !keep.is_empty() {
                to.push(inputs.iter().map(|t| t.gather(0, &keep).unwrap_or_else(|_| t.clone())).collect());
            }
        }
    }
    (fitted, judged)
}

/// At most `n` samples, the first ones, copied.
pub(super) fn first(parts: &[Vec<Tensor>], n: u64) -> Vec<Vec<Tensor>> {
    let mut left = n;
    let mut out = Vec::new();
    for inputs in parts.iter().filter(|p| samples(p) > 0) {
        let keep: Vec<u32> = (0..samples(inputs).min(left) as u32).collect();
        if keep.is_empty() {
            break;
        }
        left -= keep.len() as u64;
        out.push(inputs.iter().map(|t| t.gather(0, &keep).unwrap_or_else(|_| t.clone())).collect());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_runtime::{AnySize, RuntimeError, Session};

    #[test]
    fn samples_that_do_not_fit_are_left_out_and_said() {
        let fit = |memory| Samples::fit(vec![vec![Tensor::f32(&[100, 4], &[0.5; 400])]], &Planner, 1, memory);
        let all = fit(100 * 16 * 4);
        assert_eq!((all.used(), all.remark()), (100, None));
        let part = fit(50 * 16 * 4);
        assert_eq!(part.used(), 50);
        assert!(part.remark().is_some_and(|r| r.starts_with("50 of 100 samples") && r.ends_with("MiB")));
        assert_eq!(fit(0).used(), LEAST_SAMPLES);
    }

    #[test]
    fn of_many_shapes_those_with_most_elements_are_used_the_largest_first() {
        let part =
            |(samples, len): (u64, u64)| vec![Tensor::f32(&[samples, len], &vec![0.5; (samples * len) as usize])];
        let parts = [(9, 1), (1, 2), (2, 9), (3, 5), (1, 12)].map(part).to_vec();
        let fitted = Samples::fit(parts, &Planner, 1, MEMORY);
        assert_eq!(fitted.parts.iter().map(|p| p[0].dims[1]).collect::<Vec<_>>(), [12, 9, 5, 1]);
        assert!(
            fitted.remark().is_some_and(|r| r.starts_with("15 of 16 samples") && r.contains("4 of their 5 shapes"))
        );
        assert_eq!(fitted.shapes(), [[1, 12]]);
        assert_eq!(first(&fitted.parts, 4).iter().map(|p| p[0].dims[0]).collect::<Vec<_>>(), [1, 2, 1]);
    }

    #[test]
    fn samples_that_judge_are_no_samples_of_the_statistics() {
        let values = |n: u64| vec![Tensor::f32(&[n, 1], &(0..n).map(|i| i as f32).collect::<Vec<_>>())];
        let sizes = |n: u64| {
            let (fitted, judged) = apart(&[values(n)]);
            let mut all: Vec<f32> = [&fitted, &judged].into_iter().flat_map(|p| p[0][0].to_f32().unwrap()).collect();
            all.sort_by(f32::total_cmp);
            assert_eq!(all, values(n)[0].to_f32().unwrap());
            (count(&fitted), count(&judged))
        };
        assert_eq!([2, 64, 100, 400].map(sizes), [(1, 1), (32, 32), (68, 32), (300, 100)]);
        let (fitted, judged) = apart(&[values(1), values(3)]);
        assert_eq!((count(&fitted), count(&judged)), (2, 2));
        assert_eq!(apart(&[values(1)]), (vec![values(1)], vec![values(1)]));
    }

    /// Plans for concrete sizes.
    struct Planner;

    impl Runtime for Planner {
        fn name(&self) -> String {
            "planner".into()
        }
        fn any_size(&self) -> Option<&dyn AnySize> {
            None
        }
        fn load(&self, _: &Model, _: &[Vec<u64>], _: usize) -> Result<Box<dyn Session>, RuntimeError> {
            Err(RuntimeError::NoTract)
        }
    }
}
