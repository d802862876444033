//! sparsec: an ahead-of-time compiler that makes trained ONNX models smaller and faster.
//!
//! [`drive`] holds the flow from a model to a smaller one, step by step; the command line is built on it. Nothing else
//! is public.
//!
//! ```no_run
//! use sparsec::drive::{Concessions, Quiet, prepare};
//! let loaded = sparsec_onnx::load("model.onnx".as_ref())?;
//! let dense = prepare(&loaded.model, sparsec_ops::table(), None, &Concessions::default(), &Quiet)?;
//! println!("{} groups of channels can be cut", dense.channels.groups.len());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod drive;
