//! Sample data and what is computed from it.

pub mod data;
