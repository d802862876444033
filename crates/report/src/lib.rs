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
mod html;
mod report;
mod text;

pub use error::ReportError;
pub use html::page;
pub use report::{
    Better, Frozen, Group, Input, Interval, Limit, Memory, Metric, Moment, Node, Prunable, Report, RuntimeUse, SCHEMA,
    Side, TargetInfo, Tool,
};
