//! Files appear whole or not at all: a run that fails or is killed leaves what was there before.

use crate::error::CliError;
use std::io::Write;
use std::path::{Path, PathBuf};
use tempfile::{NamedTempFile, TempDir};

fn parent(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn write_error(path: &Path) -> impl FnOnce(std::io::Error) -> CliError {
    let path = path.to_path_buf();
    move |source| CliError::Write { path, source }
}

/// Refuses a place for a file where something else is: what is written takes its place, and a device such as `/dev/null`
/// would be gone. Asked before the work is done, not after.
pub(crate) fn expect_file(path: &Path) -> Result<(), CliError> {
    let path = path.to_path_buf();
    match std::fs::metadata(&path) {
        Ok(found) if found.is_dir() => Err(CliError::IsFolder { path }),
        Ok(found) if !found.is_file() => Err(CliError::IsDevice { path }),
        _ => Ok(()),
    }
}

/// Refuses a place for a folder where a file is.
pub(crate) fn expect_folder(path: &Path) -> Result<(), CliError> {
    match path.ancestors().find(|p| p.exists()) {
        Some(found) if !found.is_dir() => Err(CliError::IsFile { path: found.to_path_buf() }),
        _ => Ok(()),
    }
}

/// Writes one file.
pub(crate) fn file(path: &Path, contents: &[u8]) -> Result<(), CliError> {
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    {
        // Temporary files are private by default; the result is an ordinary file, under the user's umask.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut temp: NamedTempFile = builder.prefix(".sparsec-").tempfile_in(parent(path)).map_err(write_error(path))?;
    temp.write_all(contents).and_then(|()| temp.as_file().sync_all()).map_err(write_error(path))?;
    temp.persist(path).map_err(|e| write_error(path)(e.error))?;
    Ok(())
}

/// A folder in the making, beside the one that it becomes. Dropped without [`Folder::finish`], it vanishes.
pub(crate) struct Folder {
    target: PathBuf,
    partial: TempDir,
}

impl Folder {
    /// Starts a folder that will be called `target`.
    pub(crate) fn begin(target: &Path) -> Result<Self, CliError> {
        let name = target.file_name().unwrap_or_default().to_string_lossy().into_owned();
        std::fs::create_dir_all(parent(target)).map_err(write_error(target))?;
        let prefix = format!(".{name}.partial-");
        let partial =
            tempfile::Builder::new().prefix(&prefix).tempdir_in(parent(target)).map_err(write_error(target))?;
        Ok(Self { target: target.to_path_buf(), partial })
    }
    /// Where files are written meanwhile.
    pub(crate) fn path(&self) -> &Path {
        self.partial.path()
    }
    /// Moves every file to the target, replacing those of the same name; others there stay. Each move is atomic; the file
    /// `last`, if there is one, goes last, so that it speaks of files that are already in place.
    pub(crate) fn finish(self, last: &str) -> Result<Vec<PathBuf>, CliError> {
        let error = || write_error(&self.target);
        std::fs::create_dir_all(&self.target).map_err(error())?;
        let mut names = Vec::new();
        for entry in std::fs::read_dir(self.partial.path()).map_err(error())? {
            names.push(entry.map_err(error())?.file_name());
        }
        names.sort_by_key(|n| (n.to_str() == Some(last), n.clone()));
        let mut out = Vec::new();
        for name in names {
            let (from, to) = (self.partial.path().join(&name), self.target.join(&name));
            std::fs::rename(&from, &to).map_err(write_error(&to))?;
            out.push(to);
        }
        Ok(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_folder_that_is_not_finished_leaves_the_old_one_whole() {
        let dir = TempDir::new().unwrap();
        let out = dir.path().join("out");
        let first = Folder::begin(&out).unwrap();
        std::fs::write(first.path().join("a"), "1").unwrap();
        first.finish("a").unwrap();
        let second = Folder::begin(&out).unwrap();
        std::fs::write(second.path().join("a"), "2").unwrap();
        assert_eq!(names(dir.path()).len(), 2);
        drop(second);
        assert_eq!(names(dir.path()), ["out"]);
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "1");
        let third = Folder::begin(&out).unwrap();
        std::fs::write(third.path().join("a"), "3").unwrap();
        std::fs::write(third.path().join("b"), "3").unwrap();
        assert_eq!(third.finish("a").unwrap(), [out.join("b"), out.join("a")]);
        assert_eq!(std::fs::read_to_string(out.join("a")).unwrap(), "3");
    }

    #[test]
    fn a_file_replaces_its_predecessor() {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("f");
        file(&path, b"1").unwrap();
        file(&path, b"2").unwrap();
        assert_eq!((std::fs::read_to_string(&path).unwrap().as_str(), names(dir.path()).len()), ("2", 1));
    }
}
