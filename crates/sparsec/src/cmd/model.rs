//! Model files as the commands read them.

use crate::cli::{Global, PassArgs};
use crate::error::CliError;
use crate::table::count;
use crate::talk::{Talk, complaint};
use crate::watch::Watch;
use sha2::{Digest, Sha256};
use sparsec::drive::{Bounded, Concessions, DriveError, Oddity, Prepared, RESOLVED, check, prepare, prepare_with};
use sparsec_cost::params;
use sparsec_ir::{Graph, Model, OpTable, OpsetImport, TensorError, verify};
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::{ALL, Event, Manager, PassError, PrintAfter, Remark, Verify};
use sparsec_runtime::{Runtime, RuntimeError};
use std::collections::BTreeSet;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

/// A model with what identifies its file.
pub(crate) struct Source {
    pub(crate) model: Model,
    /// Size of the file, without external data.
    pub(crate) bytes: u64,
}

impl Source {
    /// Bytes of the model as it is stored, external data included.
    pub(crate) fn stored_bytes(&self) -> u64 {
        let constants = self.model.graph.values().filter_map(|(v, _)| self.model.graph.constant(v));
        self.bytes + constants.filter(|t| t.external.is_some()).map(|t| t.byte_len()).sum::<u64>()
    }
}

/// Key of a model's metadata: SHA-256 of the plan that it was cut by.
pub(crate) const PLAN: &str = "sparsec.plan_sha256";

/// Says in a model where it comes from.
pub(crate) fn stamp(model: &mut Model, concessions: &Concessions, plan_sha256: &str) {
    model.meta.retain(|(k, _)| !k.starts_with("sparsec.") || k == RESOLVED);
    let given_up = concessions.given_up();
    let own = [("sparsec.version", Some(env!("CARGO_PKG_VERSION"))), (PLAN, Some(plan_sha256))];
    let own = own.into_iter().chain([("sparsec.given_up", given_up.as_deref())]);
    model.meta.extend(own.filter_map(|(key, value)| Some((key.to_string(), value?.to_string()))));
}

/// Ending of files with a graph in text syntax.
const TEXT: &str = "onnxtxt";

/// Whether the path is of a graph in text syntax.
pub(crate) fn is_text(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == TEXT)
}

/// Reads a model, ONNX or text, and tells what is worth telling.
pub(crate) fn load(path: &Path, talk: Talk) -> Result<Source, CliError> {
    let source = load_unchecked(path, talk)?;
    let node = |e| CliError::Node { path: path.to_path_buf(), source: Box::new(e) };
    let odd = check(&source.model, &sparsec_ops::table()).map_err(node)?;
    for oddity in odd.iter().take(MAX_ODDITIES) {
        talk.warn(oddity_code(oddity), &oddity.to_string());
    }
    if let Some(more) = odd.len().checked_sub(MAX_ODDITIES).filter(|n| *n > 0) {
        talk.note(&format!("{more} more such warnings are not shown"));
    }
    Ok(source)
}

/// Warnings about one model that are shown.
const MAX_ODDITIES: usize = 8;

fn oddity_code(oddity: &Oddity) -> &'static str {
    match oddity {
        Oddity::Stated { .. } => "S0321",
        Oddity::NotFinite { .. } => "S0322",
    }
}

/// [`load`] for commands that are about models with something wrong in them.
pub(crate) fn load_unchecked(path: &Path, talk: Talk) -> Result<Source, CliError> {
    if is_text(path) {
        return load_text(path, talk);
    }
    let loaded = sparsec_onnx::load(path)?;
    for note in &loaded.notes {
        talk.note(&note.to_string());
    }
    Ok(Source { bytes: loaded.source.len() as u64, model: loaded.model })
}

/// Operator set that a text without a header imports: the one that PyTorch's exporter writes.
const OPSET: i64 = 18;

fn load_text(path: &Path, talk: Talk) -> Result<Source, CliError> {
    let text = read(path)?;
    let model = sparsec_ir::text::parse_model(&text);
    let mut model = model.map_err(|source| CliError::Text { path: path.to_path_buf(), source })?;
    if model.opsets.is_empty() {
        model.opsets = vec![OpsetImport { domain: String::new(), version: OPSET }];
        talk.note(&format!("the text names no operator set, ONNX's version {OPSET} is taken"));
    }
    // The parser reads what is written; files of the other form are checked as they are read.
    verify(&model).map_err(|violations| DriveError::from(PassError::BrokenInput { violations }))?;
    Ok(Source { bytes: text.len() as u64, model })
}

/// Reads a text file.
pub(crate) fn read(path: &Path) -> Result<String, CliError> {
    std::fs::read_to_string(path).map_err(|source| CliError::Read { path: path.to_path_buf(), source })
}

/// SHA-256 in hexadecimal, as `sha256sum` prints it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hexadecimal(Sha256::digest(bytes).as_slice())
}

/// SHA-256 of a file. Read in pieces rather than through the model's memory map, which would make all of a large model
/// resident; only commands that record the hash ask for it.
pub(crate) fn sha256_of(path: &Path) -> Result<String, CliError> {
    let error = |source| CliError::Read { path: path.to_path_buf(), source };
    let mut file = std::fs::File::open(path).map_err(error)?;
    let (mut hash, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece).map_err(error)? {
            0 => return Ok(hexadecimal(hash.finalize().as_slice())),
            n => hash.update(&piece[..n]),
        }
    }
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The runtime that the user chose.
pub(crate) fn runtime(global: &Global) -> Result<Arc<dyn Runtime>, CliError> {
    Ok(Arc::new(Bounded::new(Arc::from(sparsec_runtime::open(&global.runtime)?))))
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

/// No file that teaches operators is longer.
const MAX_OPS: u64 = 1 << 20;

/// The operators that are known, those of the user's file among them.
pub(crate) fn table(global: &Global) -> Result<OpTable, CliError> {
    let known = sparsec_ops::table();
    let Some(path) = &global.ops else { return Ok(known) };
    let error = |source| CliError::Read { path: path.clone(), source };
    let mut text = String::new();
    // What a path names may have no end.
    let file = std::fs::File::open(path).map_err(error)?;
    file.take(MAX_OPS + 1).read_to_string(&mut text).map_err(error)?;
    if text.len() as u64 > MAX_OPS {
        return Err(CliError::LongOps { path: path.clone(), limit: MAX_OPS });
    }
    Ok(sparsec_ops::given::teach(&known, &text, &path.display().to_string())?)
}

/// Tells of which rules in the user's file the model has no node.
fn tell_unused(model: &Model, table: &OpTable, talk: Talk) {
    fn collect<'g>(graph: &'g Graph, out: &mut BTreeSet<(&'g str, &'g str)>) {
        for (_, node) in graph.nodes() {
            out.insert((&node.domain, &node.op));
            node.subgraphs().for_each(|g| collect(g, out));
        }
    }
    let mut used = BTreeSet::new();
    collect(&model.graph, &mut used);
    model.functions.iter().for_each(|f| collect(&f.body, &mut used));
    let known = sparsec_ops::table();
    let taught = table.iter().filter(|d| known.get(d.domain, d.name).is_none());
    for d in taught.filter(|d| !used.contains(&(d.domain, d.name))) {
        talk.note(&format!("`--ops` teaches `{}.{}`, and the model has no such node", d.domain, d.name));
    }
}

/// Reads a model, makes it canonical, and takes out what the user gives up.
pub(crate) fn open(
    path: &Path,
    concessions: &Concessions,
    global: &Global,
    watch: &Watch,
) -> Result<(Source, Prepared), CliError> {
    let source = load(path, watch.talk())?;
    let table = table(global)?;
    tell_unused(&source.model, &table, watch.talk());
    let dense = prepare(&source.model, table, folding(global)?, concessions, watch)?;
    watch.clear();
    Ok((source, dense))
}

/// [`open`] under the user's options for passes.
pub(crate) fn open_with(
    path: &Path,
    (passes, concessions): (&PassArgs, &Concessions),
    global: &Global,
    watch: &Watch,
) -> Result<(Source, Prepared), CliError> {
    let source = load(path, watch.talk())?;
    let table = table(global)?;
    tell_unused(&source.model, &table, watch.talk());
    let mut manager = manager(passes, &table, watch)?;
    let dense = prepare_with(&source.model, folding(global)?, &mut manager, (table.clone(), concessions), watch)?;
    watch.clear();
    show_remarks(passes, &dense.remarks);
    Ok((source, dense))
}

/// What of the parameters in a file is gone before anything is cut.
pub(crate) fn folded(source: &Model, dense: &Prepared) -> Option<String> {
    let canonical = dense.original.as_ref().map_or(&dense.model, |o| &o.model);
    let gone = params(source).checked_sub(params(canonical)).filter(|n| *n > 0)?;
    let all = count(params(source));
    Some(format!("{} of the {all} parameters in the file leave by folding and merging alone", count(gone)))
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

/// The error of a first output whose numbers cannot be read.
pub(crate) fn unreadable(source: &Source) -> impl Fn(TensorError) -> CliError + '_ {
    move |e| {
        let graph = &source.model.graph;
        let value = graph.outputs().first().map_or(String::new(), |v| graph.value(*v).name.clone());
        CliError::from(DriveError::Output { value, source: e })
    }
}
