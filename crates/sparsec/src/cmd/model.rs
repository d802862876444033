//! Model files as the static commands read them.

use crate::error::CliError;
use crate::talk::Talk;
use sparsec_analysis::infer;
use sparsec_ir::{Facts, Model, Type};
use std::collections::BTreeMap;
use std::path::Path;

/// A model with its inferred shapes.
pub(crate) struct Opened {
    pub(crate) model: Model,
    /// Symbolic where the inputs are.
    pub(crate) facts: Facts,
}

/// Reads a model, infers its shapes and tells what is worth telling.
pub(crate) fn open(path: &Path, talk: Talk) -> Result<Opened, CliError> {
    let loaded = sparsec_onnx::load(path)?;
    for note in &loaded.notes {
        talk.note(&note.to_string());
    }
    let facts = infer(&loaded.model, &sparsec_ops::table()).facts;
    Ok(Opened { model: loaded.model, facts })
}

impl Opened {
    /// Shapes with the open first sizes of the inputs bound to `batch`, every other open size of them to its entry in
    /// `sizes`, by name.
    pub(crate) fn bind(&self, batch: u64, sizes: &BTreeMap<String, u64>) -> Result<Facts, CliError> {
        let mut known = sizes.clone();
        let graph = &self.model.graph;
        for v in graph.inputs() {
            let value = graph.value(v);
            let Some(Type::Tensor { shape: Some(shape), .. }) = &value.ty else { continue };
            for (axis, dim) in shape.iter().enumerate() {
                for s in dim.syms() {
                    if axis == 0 {
                        known.entry(s.to_string()).or_insert(batch);
                    } else if !known.contains_key(s.as_ref()) {
                        return Err(CliError::OpenSize { input: value.name.clone(), axis });
                    }
                }
            }
        }
        Ok(self.facts.bind(&|s| known.get(s).copied()))
    }
}
