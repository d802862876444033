//! From paths to one array for each input.

use super::cast::CastError;
use super::check::index_of;
use super::error::{DataError, Note};
use super::npy::{self, Archive, MAX_BYTES};
use super::{DataOptions, images, numbered};
use sparsec_ir::{Dim, ElemType, Model, Tensor, TensorError, Type};
use std::path::{Path, PathBuf};

/// Name of the array that holds the labels.
const LABEL: &str = "label";

/// An input of the model.
pub(super) struct Slot<'m> {
    pub(super) name: &'m str,
    pub(super) elem: ElemType,
    pub(super) shape: Option<&'m [Dim]>,
    /// Its type as people write it.
    pub(super) ty: String,
}

impl Slot<'_> {
    pub(super) fn tensor(&self, source: TensorError) -> DataError {
        DataError::Tensor { input: self.name.to_string(), source }
    }
    pub(super) fn cast(&self, path: &Path, from: ElemType, dims: &[u64], e: CastError) -> DataError {
        let (path, array, to) = (path.to_path_buf(), self.name.to_string(), self.elem);
        match e {
            CastError::Types => DataError::Types { path, array, from, to },
            CastError::ScaledIntegers => DataError::ScaledIntegers { array, to },
            CastError::Range { at, value } => DataError::Range { path, array, index: index_of(at, dims), value, to },
            CastError::Tensor(source) => self.tensor(source),
        }
    }
}

/// The inputs that must be fed, each a dense tensor of numbers.
pub(super) fn slots(model: &Model) -> Result<Vec<Slot<'_>>, DataError> {
    let slots: Result<Vec<_>, _> = model
        .graph
        .inputs()
        .map(|v| {
            let value = model.graph.value(v);
            let ty = value.ty.as_ref().map_or("unknown".to_string(), Type::to_string);
            match &value.ty {
                Some(Type::Tensor { elem, shape }) if elem.is_float() || elem.is_int() => {
                    Ok(Slot { name: &value.name, elem: *elem, shape: shape.as_deref(), ty })
                }
                _ => Err(DataError::InputType { input: value.name.clone(), ty }),
            }
        })
        .collect();
    slots.and_then(|s| if s.is_empty() { Err(DataError::NoInputs) } else { Ok(s) })
}

/// The factor of each input.
pub(super) fn scales(slots: &[Slot<'_>], given: &[(Option<String>, f64)]) -> Result<Vec<Option<f64>>, DataError> {
    let mut out = vec![None; slots.len()];
    for (name, value) in given {
        let at = match (name, slots) {
            (None, [_]) => 0,
            (None, _) => return Err(DataError::ScaleUnnamed { inputs: names(slots) }),
            (Some(name), _) => slots
                .iter()
                .position(|s| s.name == name)
                .ok_or_else(|| DataError::ScaleName { name: name.clone(), inputs: names(slots) })?,
        };
        let input = || slots[at].name.to_string();
        if !value.is_finite() || *value == 0.0 {
            return Err(DataError::ScaleValue { input: input(), value: *value });
        }
        if out[at].replace(*value).is_some() {
            return Err(DataError::ScaleTwice { input: input() });
        }
    }
    Ok(out)
}

fn names(slots: &[Slot<'_>]) -> Vec<String> {
    slots.iter().map(|s| s.name.to_string()).collect()
}

/// What a path holds: one array for each slot, in their order, as stored.
pub(super) struct Found {
    pub(super) inputs: Vec<Tensor>,
    pub(super) label: Option<Tensor>,
    /// The columns that were asked for, in their order.
    pub(super) columns: Vec<Vec<String>>,
    pub(super) notes: Vec<Note>,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Npz,
    Npy,
    Image,
    Folder,
    Unknown,
}

fn kind(path: &Path) -> Kind {
    let is = |ext: &str| path.extension().is_some_and(|e| e.eq_ignore_ascii_case(ext));
    match () {
        () if path.is_dir() => Kind::Folder,
        () if is("npz") => Kind::Npz,
        () if is("npy") => Kind::Npy,
        () if images::is_image(path) => Kind::Image,
        () => Kind::Unknown,
    }
}

/// Entries of a folder in the order of their names, hidden ones left out.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let io = |source| DataError::Io { path: folder.to_path_buf(), source };
    let mut out = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            out.push(entry.path());
        }
    }
    out.sort();
    Ok(out)
}

/// Reads what `path` holds, apart by shape; at least one.
pub(super) fn read(path: &Path, slots: &[Slot<'_>], o: &DataOptions) -> Result<Vec<Found>, DataError> {
    if let Err(source) = std::fs::metadata(path) {
        return Err(DataError::Io { path: path.to_path_buf(), source });
    }
    match kind(path) {
        Kind::Npz => {
            let mut archive = open(path)?;
            match numbered::numbers(&archive, slots) {
                Some(numbers) => numbered::read(path, &mut archive, &numbers, slots, o.max_samples),
                None => Ok(vec![read_archive(path, archive, slots, (o, o.max_samples))?]),
            }
        }
        Kind::Npy => Ok(vec![read_file(path, slots, (o, o.max_samples))?]),
        Kind::Folder => Ok(vec![read_folder(path, slots, o)?]),
        Kind::Image | Kind::Unknown => Err(DataError::Format { path: path.to_path_buf() }),
    }
}

fn read_folder(folder: &Path, slots: &[Slot<'_>], o: &DataOptions) -> Result<Found, DataError> {
    let files = entries(folder)?;
    let arrays: Vec<&PathBuf> = files.iter().filter(|f| matches!(kind(f), Kind::Npz | Kind::Npy)).collect();
    let pictures = files.iter().any(|f| matches!(kind(f), Kind::Image | Kind::Folder));
    match (arrays.first(), pictures) {
        (Some(first), false) if arrays.iter().all(|f| kind(f) == kind(first)) => read_files(folder, &arrays, slots, o),
        (Some(_), _) => Err(DataError::MixedFolder { path: folder.to_path_buf() }),
        (None, false) => Err(DataError::Empty { path: folder.to_path_buf() }),
        (None, true) => {
            let image = o.image.as_ref().ok_or_else(|| DataError::NoPreprocessing { path: folder.to_path_buf() })?;
            if !o.scales.is_empty() {
                return Err(DataError::ScaleOfImages);
            }
            match slots {
                [slot] => images::read(folder, slot, image, o.max_samples),
                _ => Err(DataError::Unnamed { path: folder.to_path_buf(), inputs: names(slots) }),
            }
        }
    }
}

/// Reads files one after another until there are enough samples, and joins them.
fn read_files(folder: &Path, files: &[&PathBuf], slots: &[Slot<'_>], o: &DataOptions) -> Result<Found, DataError> {
    let mut parts: Vec<Vec<Tensor>> = vec![Vec::new(); slots.len()];
    let mut labels: Vec<Tensor> = Vec::new();
    let mut columns: Vec<Vec<String>> = vec![Vec::new(); o.columns.len()];
    let mut samples = 0u64;
    for (i, file) in files.iter().enumerate() {
        let left = o.max_samples.map(|m| m.saturating_sub(samples));
        if left == Some(0) && i > 0 {
            break;
        }
        let found = read_file(file, slots, (o, left))?;
        if i > 0 && found.label.is_some() != (labels.len() == i) {
            return Err(DataError::SomeLabels { path: file.to_path_buf(), labelled: found.label.is_some() });
        }
        let first = found.inputs.first().and_then(|t| t.dims.first()).copied().unwrap_or(0);
        let named = slots.iter().map(|s| s.name).zip(&found.inputs);
        for (name, tensor) in named.chain(found.label.iter().map(|t| (LABEL, t))) {
            let Some(&count) = tensor.dims.first() else {
                return Err(DataError::NoSampleAxis { path: file.to_path_buf(), array: name.to_string() });
            };
            if count != first {
                let (path, array, with) = (file.to_path_buf(), name.to_string(), slots[0].name.to_string());
                return Err(DataError::Samples { path, array, found: count, with, expected: first });
            }
        }
        samples += first;
        for (list, tensor) in parts.iter_mut().zip(found.inputs) {
            list.push(tensor);
        }
        labels.extend(found.label);
        columns.iter_mut().zip(found.columns).for_each(|(all, part)| all.extend(part));
    }
    let joined = |list: Vec<Tensor>, name: &str| join(folder, files, list, name);
    let inputs = slots.iter().zip(parts).map(|(s, p)| joined(p, s.name)).collect::<Result<_, _>>()?;
    let label = if labels.is_empty() { None } else { Some(joined(labels, LABEL)?) };
    Ok(Found { inputs, label, columns, notes: Vec::new() })
}

/// Joins the arrays of several files along the samples.
fn join(folder: &Path, files: &[&PathBuf], list: Vec<Tensor>, name: &str) -> Result<Tensor, DataError> {
    let shown = |t: &Tensor| format!("{}{:?}", t.elem, &t.dims[1..]);
    let bytes = list.iter().fold(0u64, |n, t| n.saturating_add(t.byte_len()));
    if bytes > MAX_BYTES {
        return Err(DataError::TooLarge { path: folder.to_path_buf(), bytes, limit: MAX_BYTES });
    }
    let first = &list[0];
    for (file, t) in files.iter().zip(&list) {
        if (t.elem, &t.dims[1..]) != (first.elem, &first.dims[1..]) {
            let (path, array) = (file.to_path_buf(), name.to_string());
            return Err(DataError::Join { path, array, found: shown(t), expected: shown(first) });
        }
    }
    one_after_another(&list).map_err(|source| DataError::Tensor { input: name.to_string(), source })
}

/// Arrays that differ at most in the first size, joined along it; at least one.
pub(super) fn one_after_another(list: &[Tensor]) -> Result<Tensor, TensorError> {
    let mut data = Vec::with_capacity(list.iter().map(Tensor::byte_len).sum::<u64>() as usize);
    for t in list {
        data.extend_from_slice(t.bytes()?);
    }
    let mut dims = list[0].dims.clone();
    dims[0] = list.iter().map(|t| t.dims[0]).sum();
    Tensor::raw(list[0].elem, dims, data.into())
}

fn open(path: &Path) -> Result<Archive, DataError> {
    let archive = Archive::open(path).map_err(|source| DataError::Archive { path: path.to_path_buf(), source })?;
    let mut found: Vec<&str> = archive.names().collect();
    found.sort_unstable();
    match found.windows(2).find(|w| w[0] == w[1]) {
        Some(two) => Err(DataError::Duplicate { path: path.to_path_buf(), array: two[0].to_string() }),
        None => Ok(archive),
    }
}

/// Reads what is asked for of a file, and no more samples than `max`.
fn read_file(path: &Path, slots: &[Slot<'_>], (o, max): (&DataOptions, Option<u64>)) -> Result<Found, DataError> {
    let array = |name: &str, source| DataError::Array { path: path.to_path_buf(), array: name.to_string(), source };
    if kind(path) == Kind::Npy {
        if let Some(column) = o.columns.first() {
            return Err(DataError::NoColumn { path: path.to_path_buf(), column: column.clone() });
        }
        let [slot] = slots else {
            return Err(DataError::Unnamed { path: path.to_path_buf(), inputs: names(slots) });
        };
        let tensor = npy::read_file(path, max).map_err(|e| array(slot.name, e))?;
        return Ok(Found { inputs: vec![tensor], label: None, columns: Vec::new(), notes: Vec::new() });
    }
    read_archive(path, open(path)?, slots, (o, max))
}

fn read_archive(
    path: &Path,
    mut archive: Archive,
    slots: &[Slot<'_>],
    (o, max): (&DataOptions, Option<u64>),
) -> Result<Found, DataError> {
    let array = |name: &str, source| DataError::Array { path: path.to_path_buf(), array: name.to_string(), source };
    let mut found: Vec<String> = archive.names().map(str::to_string).collect();
    found.sort();
    // An input may itself be called `label`; then there are no labels.
    let has_label = slots.iter().all(|s| s.name != LABEL) && found.iter().any(|n| n == LABEL);
    let is_column = |n: &String| o.columns.contains(n) && slots.iter().all(|s| s.name != n);
    found.retain(|n| (n != LABEL || !has_label) && !is_column(n));
    let mut expected = names(slots);
    expected.sort();
    if let Some(column) = o.columns.iter().find(|c| archive.names().all(|n| n != c.as_str())) {
        return Err(DataError::NoColumn { path: path.to_path_buf(), column: column.clone() });
    }
    if found != expected {
        return Err(DataError::Names { path: path.to_path_buf(), expected, found });
    }
    let mut read = |name: &str| {
        let missing = || DataError::Names { path: path.to_path_buf(), expected: names(slots), found: found.clone() };
        archive.read(name, max).map_err(|e| array(name, e))?.ok_or_else(missing)
    };
    let inputs = slots.iter().map(|s| read(s.name)).collect::<Result<_, _>>()?;
    let label = if has_label { Some(read(LABEL)?) } else { None };
    let column = |name: &String| {
        let none = || DataError::NoColumn { path: path.to_path_buf(), column: name.clone() };
        archive.words(name, max).map_err(|e| array(name, e))?.ok_or_else(none)
    };
    let columns = o.columns.iter().map(column).collect::<Result<_, _>>()?;
    Ok(Found { inputs, label, columns, notes: Vec::new() })
}
