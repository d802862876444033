//! Why a report cannot be written or read.

use crate::SCHEMA;
use thiserror::Error;

/// Why a report cannot be written or read.
#[derive(Debug, Error)]
pub enum ReportError {
    /// A number is infinite or not a number.
    #[error("`{path}` of the report is not a finite number")]
    NotFinite {
        /// Where it stands, e.g. `.after.energy_mj`.
        path: String,
    },
    /// The text is not the JSON that it should be.
    #[error("the report is not valid: {0}")]
    Json(#[source] serde_json::Error),
    /// The text is of another form.
    #[error("expected schema `{SCHEMA}`, found `{found}`")]
    Schema {
        /// What the text says.
        found: String,
    },
    /// The page cannot be rendered.
    #[error("cannot render the page: {0}")]
    Page(#[source] askama::Error),
}
