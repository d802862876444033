//! The options by which commands are given samples.

use crate::error::CliError;
use crate::talk::Talk;
use crate::values::{self, Scale};
use clap::Args;
use sparsec::drive::{DriveError, MEMORY, MOST_SAMPLES, Samples};
use sparsec_calib::data::{DataOptions, Dataset, ImageOptions};
use sparsec_ir::{Model, Tensor};
use sparsec_runtime::Runtime;
use std::path::Path;

/// How sample files become inputs.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Samples")]
pub(crate) struct SampleArgs {
    /// Multiply an input, e.g. `image=1/255`; without NAME for a model with one input. May be given several times.
    #[arg(long, value_name = "[NAME=]FACTOR")]
    pub(crate) scale: Vec<Scale>,
    /// Read no more samples than this.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) max_samples: Option<u64>,
    /// How images become inputs: `plain` (pixels in [0, 1]), or a list of `resize=N` (shorter side), `crop=N` (centre),
    /// `mean=A:B:C`, `std=A:B:C`, `scale=1/255`.
    #[arg(long, value_name = "KEY=VALUE,…", value_parser = values::image)]
    pub(crate) image: Option<ImageOptions>,
}

impl SampleArgs {
    /// Reads the samples at `path`, with columns that sort them into slices, and tells what is worth telling.
    pub(crate) fn load(&self, path: &Path, model: &Model, columns: &[String], talk: Talk) -> Result<Dataset, CliError> {
        let mut options = self.options(self.max_samples);
        options.columns = columns.to_vec();
        let data = Dataset::load(path, model, &options)?;
        tell(&data, talk);
        Ok(data)
    }
    /// The inputs of one run, of at most `batch` samples: the first of those at `path`.
    pub(crate) fn first(&self, path: &Path, model: &Model, batch: u64, talk: Talk) -> Result<Vec<Tensor>, CliError> {
        let all = Dataset::load_by_shape(path, model, &self.options(self.max_samples))?;
        let Some(data) = all.first() else { return Ok(Vec::new()) };
        tell(data, talk);
        Ok(data.batches(batch).next().map(|r| data.batch(r)).unwrap_or_default())
    }
    /// The samples at `path` to calibrate with: the first ones, no more than are read into memory. What is left out for
    /// the memory is told; so is how the samples were read.
    pub(crate) fn calibration(
        &self,
        path: &Path,
        model: &Model,
        (runtime, threads): (&dyn Runtime, usize),
        talk: Talk,
    ) -> Result<Samples, CliError> {
        let most = self.max_samples.unwrap_or(MOST_SAMPLES).min(MOST_SAMPLES);
        let all = Dataset::load_by_shape(path, model, &self.options(Some(most)))?;
        if let Some(data) = all.first() {
            tell(data, talk);
        }
        let stacked = all.iter().find(|d| d.is_stacked());
        if let Some((input, t)) = stacked.and_then(|d| d.inputs().first()) {
            let size = t.dims.get(1).copied().unwrap_or(1);
            return Err(DriveError::NoSampleAxis { input: input.clone(), size }.into());
        }
        let inputs = |d: &Dataset| d.inputs().iter().map(|(_, t)| t.clone()).collect();
        let samples = Samples::fit(all.iter().map(inputs).collect(), runtime, threads, MEMORY);
        if let Some(remark) = samples.remark() {
            talk.note(&remark);
        }
        Ok(samples)
    }
    fn options(&self, most: Option<u64>) -> DataOptions {
        let mut options = DataOptions::default();
        options.scales = self.scale.iter().map(|s| (s.input.clone(), s.factor)).collect();
        options.max_samples = most;
        options.image = self.image.clone();
        options
    }
}

/// Tells how samples were read.
fn tell(data: &Dataset, talk: Talk) {
    for note in data.notes() {
        talk.note(&note.to_string());
    }
}
