//! Why a target cannot be had.

use serde_saphyr::{DefaultMessageFormatter, MessageFormatter};
use thiserror::Error;

/// Why a target cannot be had.
#[derive(Debug, Error)]
pub enum TargetError {
    /// Neither a built-in name nor a file.
    #[error("no target or file is called `{name}`; built-in targets are {known}")]
    Unknown {
        /// What was asked for.
        name: String,
        /// Names that exist, quoted and separated by commas.
        known: String,
    },
    /// The file cannot be read.
    #[error("cannot read target file `{path}`")]
    Read {
        /// Path of the file.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The file is too large to be a target file.
    #[error("`{path}` is longer than {limit} bytes, which no target file is")]
    TooLarge {
        /// Path of the file.
        path: String,
        /// Bytes a target file may have.
        limit: u64,
    },
    /// The file is not a valid target file.
    #[error("`{file}`, line {line}, column {column}: {message}")]
    Invalid {
        /// Path of the file, or name of the built-in target.
        file: String,
        /// Line, from 1; 0 where it is not known.
        line: u64,
        /// Column, from 1; 0 where it is not known.
        column: u64,
        /// What is wrong.
        message: String,
    },
    /// The target cannot be written as YAML.
    #[error("cannot write the target as YAML: {message}")]
    Write {
        /// What is wrong.
        message: String,
    },
}

impl TargetError {
    pub(crate) fn yaml(file: &str, error: &serde_saphyr::Error) -> Self {
        let error = error.without_snippet();
        let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
        // The text of a hostile file may reach the message: control characters must not reach a terminal.
        let message = DefaultMessageFormatter.format_message(error);
        let message = message.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] });
        Self::Invalid { file: file.to_string(), line, column, message: message.collect() }
    }
}
