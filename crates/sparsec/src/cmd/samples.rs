//! The options by which commands are given samples.

use crate::error::CliError;
use crate::talk::Talk;
use crate::values::{self, Scale};
use clap::Args;
use sparsec::drive::{DriveError, MEMORY, MOST_SAMPLES, Samples};
use sparsec_calib::data::{DataOptions, Dataset, ImageOptions};
use sparsec_ir::Model;
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
    /// Reads the samples at `path` and tells what is worth telling.
    pub(crate) fn load(&self, path: &Path, model: &Model, talk: Talk) -> Result<Dataset, CliError> {
        self.read(path, model, talk, self.max_samples)
    }
    /// The samples at `path` to calibrate with: the first ones, no more than are read into memory. What is left out for
    /// the memory is told; so is how the samples were read.
    pub(crate) fn calibration(
        &self,
        path: &Path,
        model: &Model,
        talk: Talk,
        threads: usize,
    ) -> Result<Samples, CliError> {
        let most = self.max_samples.unwrap_or(MOST_SAMPLES).min(MOST_SAMPLES);
        let data = self.read(path, model, talk, Some(most))?;
        if let (true, Some((input, t))) = (data.is_stacked(), data.inputs().first()) {
            let size = t.dims.get(1).copied().unwrap_or(1);
            return Err(DriveError::NoSampleAxis { input: input.clone(), size }.into());
        }
        let inputs = data.inputs().iter().map(|(_, t)| t.clone()).collect();
        let samples = Samples::fit(inputs, threads, MEMORY);
        if let Some(remark) = samples.remark() {
            talk.note(&remark);
        }
        Ok(samples)
    }
    fn read(&self, path: &Path, model: &Model, talk: Talk, most: Option<u64>) -> Result<Dataset, CliError> {
        let mut options = DataOptions::default();
        options.scales = self.scale.iter().map(|s| (s.input.clone(), s.factor)).collect();
        options.max_samples = most;
        options.image = self.image.clone();
        let data = Dataset::load(path, model, &options)?;
        for note in data.notes() {
            talk.note(&note.to_string());
        }
        Ok(data)
    }
}
