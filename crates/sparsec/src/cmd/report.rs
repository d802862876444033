//! `sparsec report`: what it takes.

use clap::Args;
use std::path::PathBuf;

/// Print the report of a compilation.
#[derive(Debug, Args)]
#[command(after_help = "\
Example:
  sparsec report out")]
pub(crate) struct ReportArgs {
    /// Folder that `sparsec compile` wrote.
    #[arg(value_name = "OUT")]
    pub(crate) folder: PathBuf,
}
