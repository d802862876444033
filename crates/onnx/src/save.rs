//! Writing files, each whole or not at all: a temporary file in the same folder is renamed over the target.

use crate::error::OnnxError;
use crate::extra::ModelExtra;
use crate::proto::{ModelProto, StringStringEntryProto, TensorProto, tensor_proto};
use crate::{Loaded, export, external, stream};
use prost::Message;
use sparsec_ir::{Def, Model};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// Where weights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weights {
    /// Beside the model if some were there when it was loaded (those, and others of 1 KiB or more); else inline.
    AsLoaded,
    /// Into the model file.
    Inline,
    /// Initialisers of the main graph that take at least this many bytes go into `<name>.onnx.data` beside the model.
    External {
        /// Size in bytes from which on a tensor is external.
        threshold_bytes: u64,
    },
}

/// Sizes from which on weights go to a data file where nobody chose: smaller ones are shapes and scalars.
const THRESHOLD: u64 = 1024;
/// Protobuf implementations of most runtimes refuse more.
const MOST_INLINE: u64 = i32::MAX as u64;
/// Tensors start where a runtime can map them, if they are large, and at a cache line, if not.
const PAGE: u64 = 4096;
const LINE: u64 = 64;

/// Writes the model to `path`. A model that would exceed 2 GB inline gets a data file, whatever `weights` says.
///
/// The data file replaces its predecessor first, then the model does: of two files no system can replace both at once.
///
/// # Errors
/// Files that cannot be written; nothing is left behind then but, where only the model failed, a new data file.
pub fn save(model: &Model, path: &Path, weights: Weights) -> Result<(), OnnxError> {
    let mut message = export::model(model)?;
    let was_external: Vec<bool> = model
        .graph
        .values()
        .filter_map(|(_, v)| match &v.def {
            Def::Constant(t) => Some(t.external.is_some()),
            _ => None,
        })
        .collect();
    let threshold = match weights {
        Weights::External { threshold_bytes } => Some(threshold_bytes),
        Weights::AsLoaded if was_external.contains(&true) => Some(THRESHOLD),
        Weights::AsLoaded | Weights::Inline => (message.encoded_len() as u64 > MOST_INLINE).then_some(THRESHOLD),
    };
    if let Some(threshold) = threshold {
        let data = data_file(path)?;
        // The export keeps the order of the constants.
        let keep = |i: usize| weights == Weights::AsLoaded && was_external.get(i) == Some(&true);
        let moved = move_out(&mut message, &data.1, |i, len| len >= threshold || keep(i));
        if !moved.is_empty() {
            replace(&data.0, |to| write_data(&moved, to))?;
        }
    }
    replace(path, |to| stream::write(&message, to))
}

/// Writes the loaded file to `path` byte for byte, and its external data files beside it under the names that the model
/// has for them. Only right while the model is unchanged.
///
/// # Errors
/// Files that cannot be written.
pub fn save_unchanged(loaded: &Loaded, path: &Path) -> Result<(), OnnxError> {
    let folder = folder(path);
    if let Some(extra) = loaded.model.extra.get::<ModelExtra>() {
        for (location, bytes) in &extra.files {
            let outside = || OnnxError::ExternalOutside { place: "the copy".to_string(), location: location.clone() };
            let target = folder.join(external::relative(location).ok_or_else(outside)?);
            let into = self::folder(&target);
            let write = |source| OnnxError::Write { path: target.clone(), source };
            std::fs::create_dir_all(into).map_err(write)?;
            // A link in the target's folder must not lead the copy elsewhere.
            let (root, real) = (folder.canonicalize().map_err(write)?, into.canonicalize().map_err(write)?);
            if !real.starts_with(root) {
                return Err(outside());
            }
            replace(&target, |to| to.write_all(bytes))?;
        }
    }
    replace(path, |to| to.write_all(&loaded.source))
}

/// The data file of a model file, and what the model calls it.
fn data_file(path: &Path) -> Result<(PathBuf, String), OnnxError> {
    let name = path.file_name().and_then(|n| n.to_str());
    let name = name.ok_or_else(|| OnnxError::FileName { path: path.to_path_buf() })?;
    // `model.onnx` has `model.onnx.data`, whatever else the extension is.
    let location = format!("{name}.data");
    Ok((path.with_file_name(&location), location))
}

/// Contents of the data file: where each starts, and its bytes.
type Moved = Vec<(u64, bytes::Bytes)>;

/// Turns initialisers for which `choose(index, bytes)` into references to the data file.
fn move_out(m: &mut ModelProto, location: &str, choose: impl Fn(usize, u64) -> bool) -> Moved {
    let mut moved = Moved::new();
    let mut end = 0u64;
    for (i, t) in m.graph.iter_mut().flat_map(|g| &mut g.initializer).enumerate() {
        let Some(bytes) = t.raw_data.take_if(|b| choose(i, b.len() as u64)) else { continue };
        let len = bytes.len() as u64;
        let offset = end.next_multiple_of(if len >= PAGE { PAGE } else { LINE });
        refer(t, location, offset, len);
        end = offset + len;
        moved.push((offset, bytes));
    }
    moved
}

fn refer(t: &mut TensorProto, location: &str, offset: u64, length: u64) {
    let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_string()), value: Some(value) };
    t.external_data = vec![
        entry("location", location.to_string()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
    t.data_location = Some(tensor_proto::DataLocation::External as i32);
}

fn write_data(moved: &Moved, to: &mut dyn Write) -> io::Result<()> {
    let mut at = 0u64;
    for (offset, bytes) in moved {
        // Gaps are below a page.
        to.write_all(&vec![0u8; (offset - at) as usize])?;
        to.write_all(bytes)?;
        at = offset + bytes.len() as u64;
    }
    Ok(())
}

fn folder(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// Writes a file whole or not at all.
fn replace(path: &Path, contents: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<(), OnnxError> {
    let write = |source| OnnxError::Write { path: path.to_path_buf(), source };
    let attempt = || -> io::Result<()> {
        let mut builder = tempfile::Builder::new();
        #[cfg(unix)]
        {
            // Temporary files are private by default; the result is an ordinary file, under the user's umask.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let mut file = builder.prefix(".sparsec-").tempfile_in(folder(path))?;
        let mut to = BufWriter::with_capacity(1 << 20, file.as_file_mut());
        contents(&mut to)?;
        to.flush()?;
        drop(to);
        file.as_file().sync_all()?;
        file.persist(path).map_err(|e| e.error)?;
        // The rename itself is durable only once the folder is.
        #[cfg(unix)]
        std::fs::File::open(folder(path))?.sync_all()?;
        Ok(())
    };
    attempt().map_err(write)
}
