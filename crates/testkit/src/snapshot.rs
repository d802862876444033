//! Snapshots: all below the workspace's `snapshots/`, without module paths in names or expressions in headers.

use super::workspace;

/// Compares `content` with `snapshots/<path>.snap`; `path` is relative, with `/` between folders.
///
/// Panics where they differ, after leaving the new content for `cargo insta review`.
#[track_caller]
pub fn snapshot(path: &str, content: &str) {
    let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(workspace().join("snapshots").join(folder));
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, content));
}
