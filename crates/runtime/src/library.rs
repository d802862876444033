//! Finds ONNX Runtime's shared library.

use crate::RuntimeError;
use std::path::{Path, PathBuf};

/// The library that `path` means: itself if it is a file; else the newest one in it, in its folder `capi`, `lib` or
/// `onnxruntime/capi`, in that order (an installed package, a release archive, a `site-packages`).
pub(crate) fn find(path: &Path) -> Result<PathBuf, RuntimeError> {
    if path.is_file() {
        return Ok(path.to_path_buf());
    }
    let mut looked_at = Vec::new();
    for folder in ["", "capi", "lib", "onnxruntime/capi"] {
        let folder = if folder.is_empty() { path.to_path_buf() } else { path.join(folder) };
        // A folder that cannot be read holds no library for us; it is named among those that were looked at.
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut found: Vec<(Vec<u64>, PathBuf)> = entries
            .filter_map(|e| Some((version(e.file_name().to_str()?)?, e.path())))
            .filter(|(_, path)| path.is_file())
            .collect();
        found.sort();
        looked_at.push(folder);
        if let Some((_, newest)) = found.pop() {
            return Ok(newest);
        }
    }
    Err(RuntimeError::LibraryNotFound { path: path.to_path_buf(), looked_at })
}

/// Version numbers in a file name, if it is that of ONNX Runtime's library: `libonnxruntime.so.1.32.0`,
/// `libonnxruntime.1.32.0.dylib`, `onnxruntime.dll`.
pub(crate) fn version(name: &str) -> Option<Vec<u64>> {
    let rest = match name.strip_prefix("libonnxruntime") {
        Some(rest) => match rest.strip_prefix(".so") {
            Some(version) => version,
            None => rest.strip_suffix(".dylib")?,
        },
        None => name.strip_prefix("onnxruntime")?.strip_suffix(".dll")?,
    };
    if rest.is_empty() {
        return Some(Vec::new());
    }
    // `libonnxruntime_providers_shared.so` is no version of the library.
    rest.strip_prefix('.')?.split('.').map(|n| n.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_library_give_its_version() {
        assert_eq!(version("libonnxruntime.so.1.32.0"), Some(vec![1, 32, 0]));
        assert_eq!(version("libonnxruntime.1.9.1.dylib"), Some(vec![1, 9, 1]));
        assert_eq!(version("onnxruntime.dll"), Some(vec![]));
        assert_eq!(version("libonnxruntime.so"), Some(vec![]));
        assert_eq!(version("libonnxruntime_providers_shared.so"), None);
        assert_eq!(version("libonnxruntime.so.1.x"), None);
    }
}
