//! Mapped files: the model itself, and the data files that its tensors refer to.

use crate::error::OnnxError;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Maps a file. Bytes stay valid while any slice of them lives.
pub(crate) fn map(path: &Path) -> Result<Bytes, OnnxError> {
    let read = |source| OnnxError::Read { path: path.to_path_buf(), source };
    // Asked before opening: opening a pipe would wait for a writer.
    if !std::fs::metadata(path).map_err(read)?.is_file() {
        return Err(OnnxError::NotAFile { path: path.to_path_buf() });
    }
    map_file(&File::open(path).map_err(read)?).map_err(read)
}

#[allow(unsafe_code)]
fn map_file(file: &File) -> io::Result<Bytes> {
    if file.metadata()?.len() == 0 {
        return Ok(Bytes::new());
    }
    // SAFETY: the map is private to this process and only ever read. What cannot be ruled out is another process that
    // writes to or truncates the file meanwhile; that is the caller's to avoid, as with every mapped file. This crate
    // itself never writes in place: it renames a new file over the old one, whose mapped contents stay whole.
    let map = unsafe { memmap2::Mmap::map(file)? };
    Ok(Bytes::from_owner(map))
}

/// The data files of one model, each mapped once.
pub(crate) struct Files<'a> {
    folder: Option<&'a Path>,
    /// Location as the model names it, contents.
    pub(crate) mapped: BTreeMap<String, Bytes>,
}

impl<'a> Files<'a> {
    pub(crate) fn new(folder: Option<&'a Path>) -> Self {
        Self { folder, mapped: BTreeMap::new() }
    }

    /// The bytes that `external_data` entries point at; `expected` bytes where they state no length.
    pub(crate) fn slice(
        &mut self,
        entries: &[(String, String)],
        expected: u64,
        place: &dyn Display,
    ) -> Result<Bytes, OnnxError> {
        let find = |key: &str| entries.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str());
        let number = |key: &'static str, absent: u64| match find(key) {
            None => Ok(absent),
            Some(v) => v.parse::<u64>().map_err(|_| OnnxError::ExternalEntry {
                place: place.to_string(),
                key,
                value: v.to_string(),
            }),
        };
        let location = find("location").filter(|l| !l.is_empty());
        let location = location.ok_or_else(|| OnnxError::ExternalEntry {
            place: place.to_string(),
            key: "location",
            value: String::new(),
        })?;
        let (offset, length) = (number("offset", 0)?, number("length", expected)?);
        let file = self.file(location, place)?;
        let size = file.len() as u64;
        match offset.checked_add(length) {
            // Both fit `usize`, as they are within a mapped file.
            Some(end) if end <= size => Ok(file.slice(offset as usize..end as usize)),
            _ => {
                let (place, location) = (place.to_string(), location.to_string());
                Err(OnnxError::ExternalRange { place, location, offset, length, size })
            }
        }
    }

    fn file(&mut self, location: &str, place: &dyn Display) -> Result<Bytes, OnnxError> {
        if let Some(file) = self.mapped.get(location) {
            return Ok(file.clone());
        }
        let Some(folder) = self.folder else {
            return Err(OnnxError::NoFolder { place: place.to_string(), location: location.to_string() });
        };
        let outside = || OnnxError::ExternalOutside { place: place.to_string(), location: location.to_string() };
        let relative = relative(location).ok_or_else(outside)?;
        let path = folder.join(relative);
        let unreadable = |source| OnnxError::ExternalFile { place: place.to_string(), path: path.clone(), source };
        let root = folder.canonicalize().map_err(unreadable)?;
        let real = path.canonicalize().map_err(unreadable)?;
        if !real.starts_with(&root) {
            return Err(outside());
        }
        let file = match map(&real) {
            Ok(file) => file,
            Err(OnnxError::Read { source, .. }) => return Err(unreadable(source)),
            Err(_) => return Err(unreadable(io::Error::from(io::ErrorKind::InvalidInput))),
        };
        self.mapped.insert(location.to_string(), file.clone());
        Ok(file)
    }
}

/// `location` as a path that goes down only.
pub(crate) fn relative(location: &str) -> Option<PathBuf> {
    let path = PathBuf::from(location);
    path.components().all(|c| matches!(c, Component::Normal(_) | Component::CurDir)).then_some(path)
}
