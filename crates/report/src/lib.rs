//! Reports: what a run did to a model, for programs (`report.json`) and for people (`report.html`).
//!
//! A [`Report`] is plain data that the caller fills in; [`Side`] can be made from an estimate. [`page`] renders it as
//! one file without scripts and without anything to load.
//!
//! ```
//! use sparsec_report::Report;
//! assert!(Report::from_json(r#"{"schema": "sparsec/report@7"}"#).is_err());
//! ```

mod chart;
mod convert;
mod error;
mod evaluation;
mod html;
mod report;
mod text;

pub use error::ReportError;
pub use evaluation::{ClassCompared, Compared, Ends, Evaluation, Part};
pub use html::page;
pub use report::{
    Better, Branch, Frozen, Group, Input, Interval, Limit, Mask, Memory, Metric, Moment, Node, NonzeroMacs, Prunable,
    Report, RuntimeUse, SCHEMA, Side, TargetInfo, Tool,
};
