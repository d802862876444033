//! Sample inputs and labels: read, checked against the model's inputs, cut into batches.

mod cast;
mod check;
mod error;
mod images;
mod load;
mod npy;
mod numbered;

pub use error::{DataError, Note};
pub use images::ImageOptions;
pub use npy::ArrayError;

use sparsec_ir::{Model, Tensor};
use std::ops::Range;
use std::path::Path;

/// How samples are read.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct DataOptions {
    /// Factors on inputs, by name; without a name for a model with a single input.
    pub scales: Vec<(Option<String>, f64)>,
    /// Read no more samples than this.
    pub max_samples: Option<u64>,
    /// Arrays of an `.npz` beside the inputs and labels, of one value a sample, which sort samples into slices.
    pub columns: Vec<String>,
    /// How a folder of images becomes samples.
    pub image: Option<ImageOptions>,
}

/// Samples in the types and shapes that a model's inputs take.
#[derive(Clone, Debug)]
pub struct Dataset {
    /// In the order of the graph's inputs; the first axis is that of the samples.
    inputs: Vec<(String, Tensor)>,
    /// For each input: whether the samples' axis is none of the model's, so that a run takes one sample without it.
    stacked: Vec<bool>,
    label: Option<Tensor>,
    /// Names and values of the columns that were asked for.
    columns: Vec<(String, Vec<String>)>,
    samples: u64,
    fixed_batch: Option<u64>,
    notes: Vec<Note>,
}

impl Dataset {
    /// Reads the samples at `path`, all of one shape, for the inputs of `model`; else as [`load_by_shape`](Self::load_by_shape).
    ///
    /// # Errors
    /// Also [`DataError::Shapes`] for samples of several shapes.
    pub fn load(path: &Path, model: &Model, opts: &DataOptions) -> Result<Self, DataError> {
        let mut all = Self::load_by_shape(path, model, opts)?;
        match (all.pop(), all.len()) {
            (Some(one), 0) => Ok(one),
            (_, more) => Err(DataError::Shapes { path: path.to_path_buf(), shapes: more + 1 }),
        }
    }

    /// Reads the samples at `path` for the inputs of `model`, at least one set; samples of one shape are together, the
    /// sets in the order in which their shapes come.
    ///
    /// `path` is one of: an `.npz` whose arrays are named as the inputs (and `label`), or `NUMBER/INPUT` where samples differ
    /// in shape, a number for each run; an `.npy` for a model with one input; a folder of such files, joined in the order of
    /// their names; a folder of images, or of one folder of images a class.
    ///
    /// # Errors
    /// What is unreadable, or does not fit the inputs, by file and array.
    pub fn load_by_shape(path: &Path, model: &Model, opts: &DataOptions) -> Result<Vec<Self>, DataError> {
        let slots = load::slots(model)?;
        let scales = load::scales(&slots, &opts.scales)?;
        let found = load::read(path, &slots, opts)?;
        found.into_iter().map(|f| check::check(path, &slots, (&scales, &opts.columns), f)).collect()
    }

    /// Names and samples of the inputs, in the order of the graph's; the first axis is that of the samples.
    pub fn inputs(&self) -> &[(String, Tensor)] {
        &self.inputs
    }
    /// Labels, first axis samples, if there are any.
    pub fn label(&self) -> Option<&Tensor> {
        self.label.as_ref()
    }
    /// The columns that were asked for: name, and the value of each sample as people write it.
    pub fn columns(&self) -> &[(String, Vec<String>)] {
        &self.columns
    }
    /// Number of samples, at least one.
    pub fn samples(&self) -> u64 {
        self.samples
    }
    /// The only batch size that the model takes, if it fixes one; the number of samples is a multiple of it.
    pub fn fixed_batch(&self) -> Option<u64> {
        self.fixed_batch
    }
    /// Whether a run takes one sample, without an axis for samples in some input; its outputs have none either.
    pub fn is_stacked(&self) -> bool {
        self.stacked.contains(&true)
    }
    /// What a user should know about how the samples were read.
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }
    /// The samples of `range`, ready for a run, in the order of the graph's inputs. Bytes are shared, not copied.
    ///
    /// Panics if the range is empty, reaches beyond the samples, or does not have the length of a fixed batch.
    pub fn batch(&self, range: Range<u64>) -> Vec<Tensor> {
        let len = range.end - range.start;
        assert!(self.fixed_batch.is_none_or(|b| b == len), "the model takes batches of one size only");
        self.inputs
            .iter()
            .zip(&self.stacked)
            .map(|((_, t), stacked)| {
                let mut part = rows(t, range.clone());
                if *stacked {
                    part.dims.remove(0);
                }
                part
            })
            .collect()
    }
    /// Ranges of at most `size` samples (of the fixed batch size, where the model has one) that cover all samples.
    pub fn batches(&self, size: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        let (size, samples) = (self.fixed_batch.unwrap_or(size).max(1), self.samples);
        (0..samples.div_ceil(size)).map(move |i| i * size..((i + 1) * size).min(samples))
    }
    /// The first `n` samples, or all; at least one batch.
    pub fn take(&self, n: u64) -> Self {
        let batch = self.fixed_batch.unwrap_or(1);
        self.rows(0..(n / batch * batch).clamp(batch, self.samples))
    }
    /// Two parts: every `k`-th batch of the fixed size (sample, where there is none) is held out, the others calibrate.
    /// `None` where one part would be empty.
    pub fn split(&self, k: u64) -> Option<(Self, Self)> {
        let batch = self.fixed_batch.unwrap_or(1);
        let (held, kept): (Vec<u32>, Vec<u32>) =
            (0..u32::try_from(self.samples).ok()?).partition(|i| (u64::from(*i) / batch) % k.max(1) == k.max(1) - 1);
        (!held.is_empty() && !kept.is_empty()).then(|| (self.pick(&kept), self.pick(&held)))
    }
    fn rows(&self, range: Range<u64>) -> Self {
        let words = |w: &[String]| w[range.start as usize..range.end as usize].to_vec();
        self.map(range.end - range.start, |t| rows(t, range.clone()), words)
    }
    fn pick(&self, keep: &[u32]) -> Self {
        let words = |w: &[String]| keep.iter().map(|k| w[*k as usize].clone()).collect();
        self.map(keep.len() as u64, |t| t.gather(0, keep).expect("samples are not strings"), words)
    }
    fn map(&self, samples: u64, f: impl Fn(&Tensor) -> Tensor, words: impl Fn(&[String]) -> Vec<String>) -> Self {
        Self {
            inputs: self.inputs.iter().map(|(n, t)| (n.clone(), f(t))).collect(),
            stacked: self.stacked.clone(),
            label: self.label.as_ref().map(&f),
            columns: self.columns.iter().map(|(n, w)| (n.clone(), words(w))).collect(),
            samples,
            fixed_batch: self.fixed_batch,
            notes: self.notes.clone(),
        }
    }
}

/// Indices `range` of the first axis; shares the bytes.
pub(crate) fn rows(t: &Tensor, range: Range<u64>) -> Tensor {
    assert!(range.start < range.end && range.end <= t.dims[0], "samples {range:?} of {}", t.dims[0]);
    let bytes = t.bytes().expect("samples are not strings");
    let row = bytes.len() as u64 / t.dims[0];
    let part = bytes.slice((range.start * row) as usize..(range.end * row) as usize);
    let mut dims = t.dims.clone();
    dims[0] = range.end - range.start;
    Tensor::raw(t.elem, dims, part).expect("rows are whole")
}

#[cfg(test)]
mod tests;
