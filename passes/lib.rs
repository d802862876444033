//! Everything that changes a model: one folder a stage, one file a pass.

pub mod remove;
