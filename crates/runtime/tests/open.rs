//! Which runtime a name means.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use sparsec_runtime::{RuntimeError, open};
use std::path::PathBuf;

/// A fresh folder for one test.
fn folder(name: &str) -> PathBuf {
    let folder = std::env::temp_dir().join(format!("sparsec-open-{}-{name}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[test]
fn unknown_names_are_refused_with_the_known_ones() {
    for spec in ["", "torch", "ort=", "tract=x"] {
        let e = open(spec).err().unwrap();
        assert!(e.to_string().contains("write `tract`, `ort` or `ort=PATH`"), "{e}");
    }
}

#[test]
fn a_missing_library_lists_what_was_looked_at() {
    let empty = folder("missing");
    let e = open(&format!("ort={}", empty.display())).err().unwrap();
    match &e {
        RuntimeError::LibraryNotFound { looked_at, .. } => assert!(looked_at.contains(&empty.join("capi"))),
        other => panic!("{other:?}"),
    }
    std::fs::remove_dir_all(empty).unwrap();
}

#[test]
fn the_newest_library_of_a_package_is_opened_and_a_file_that_is_none_refused() {
    let package = folder("package");
    std::fs::create_dir_all(package.join("capi")).unwrap();
    for name in ["libonnxruntime.so.1.9.0", "libonnxruntime.so.1.10.0", "libonnxruntime_providers_shared.so"] {
        std::fs::write(package.join("capi").join(name), "no library").unwrap();
    }
    match open(&format!("ort={}", package.display())) {
        Err(RuntimeError::NotOnnxRuntime { path, .. }) => assert!(path.ends_with("libonnxruntime.so.1.10.0")),
        other => panic!("{:?}", other.err()),
    }
    std::fs::remove_dir_all(package).unwrap();
}
