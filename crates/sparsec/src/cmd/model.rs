//! Model files as the commands read them.

use crate::cli::{Global, PassArgs};
use crate::error::CliError;
use crate::talk::{Talk, complaint};
use crate::watch::Watch;
use sha2::{Digest, Sha256};
use sparsec::drive::{DriveError, Prepared, prepare, prepare_with};
use sparsec_ir::{Model, OpTable, verify};
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::{ALL, Event, Manager, PassError, PrintAfter, Remark, Verify};
use sparsec_runtime::{Runtime, RuntimeError};
use std::path::Path;
use std::sync::Arc;

/// A model with what identifies its file.
pub(crate) struct Source {
    pub(crate) model: Model,
    /// SHA-256 of the file, in hexadecimal.
    pub(crate) sha256: String,
    /// Size of the file, without external data.
    pub(crate) bytes: u64,
}

/// Ending of files with a graph in text syntax.
const TEXT: &str = "onnxtxt";

/// Whether the path is of a graph in text syntax.
pub(crate) fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == TEXT)
}

/// Reads a model, ONNX or text, and tells what is worth telling.
pub(crate) fn load(path: &Path, talk: Talk) -> Result<Source, CliError> {
    if is_text(path) {
        return load_text(path);
    }
    let loaded = sparsec_onnx::load(path)?;
    for note in &loaded.notes {
        talk.note(&note.to_string());
    }
    Ok(Source { sha256: sha256(&loaded.source), bytes: loaded.source.len() as u64, model: loaded.model })
}

fn load_text(path: &Path) -> Result<Source, CliError> {
    let text = read(path)?;
    let model = sparsec_ir::text::parse_model(&text);
    let model = model.map_err(|source| CliError::Text { path: path.to_path_buf(), source })?;
    // The parser reads what is written; files of the other form are checked as they are read.
    verify(&model).map_err(|violations| DriveError::from(PassError::BrokenInput { violations }))?;
    Ok(Source { sha256: sha256(text.as_bytes()), bytes: text.len() as u64, model })
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_path_buf(), source })
}

/// SHA-256 in hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// The runtime that the user chose.
pub(crate) fn runtime(global: &Global) -> Result<Arc<dyn Runtime>, CliError> {
    Ok(Arc::from(sparsec_runtime::open(&global.runtime)?))
}

/// What folds constants in passes; a build without a runtime does without.
pub(crate) fn evaluator(global: &Global) -> Result<Option<Evaluator>, CliError> {
    Ok(folding(global)?.map(Evaluator))
}

/// The runtime to fold constants with.
fn folding(global: &Global) -> Result<Option<Arc<dyn Runtime>>, CliError> {
    match runtime(global) {
        Err(CliError::Runtime(RuntimeError::NoTract)) => Ok(None),
        other => other.map(Some),
    }
}

/// Reads a model and makes it canonical.
pub(crate) fn open(path: &Path, global: &Global, watch: &Watch) -> Result<(Source, Prepared), CliError> {
    let source = load(path, watch.talk())?;
    let dense = prepare(&source.model, folding(global)?, watch)?;
    watch.clear();
    Ok((source, dense))
}

/// [`open`] under the user's options for passes.
pub(crate) fn open_with(
    path: &Path,
    passes: &PassArgs,
    global: &Global,
    watch: &Watch,
) -> Result<(Source, Prepared), CliError> {
    let source = load(path, watch.talk())?;
    let table = sparsec_ops::table();
    let mut manager = manager(passes, &table, watch)?;
    let dense = prepare_with(&source.model, folding(global)?, &mut manager, table.clone(), watch)?;
    watch.clear();
    show_remarks(passes, &dense.remarks);
    Ok((source, dense))
}

/// A manager with the user's options.
pub(crate) fn manager<'m>(passes: &PassArgs, table: &'m OpTable, watch: &'m Watch) -> Result<Manager<'m>, CliError> {
    let mut manager = Manager::new(table);
    if passes.verify_each {
        manager = manager.verify(Verify::Each);
    }
    if let Some(limit) = passes.rewrite_limit {
        manager = manager.rewrite_limit(limit);
    }
    for name in &passes.print_after {
        if !ALL.iter().any(|p| p.name == name) {
            return Err(DriveError::from(PassError::UnknownPass { name: name.clone() }).into());
        }
        manager = manager.print_after(PrintAfter::Pass(name.clone()));
    }
    Ok(manager.observe(|event| match event {
        Event::Printed { pass, text } => watch.print(&format!("after {pass}:\n{text}")),
        Event::Ran { .. } => {}
    }))
}

/// Prints what the passes left alone, where the user asked.
pub(crate) fn show_remarks(passes: &PassArgs, remarks: &[Remark]) {
    for r in remarks.iter().filter(|_| passes.remarks) {
        complaint(&format!("remark: {}: `{}` was left alone: {}\n", r.pass, r.place, r.reason));
    }
}
