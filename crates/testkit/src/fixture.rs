//! Files of `testdata/` and the directives at their top.

use sparsec_ir::Model;
use std::fs;
use std::path::{Path, PathBuf};

/// Root of the workspace.
pub fn workspace() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).expect("this crate lies two folders below the root").to_path_buf()
}

/// Every `.onnxtxt` file below `testdata/<dir>`, sorted: its path relative to `dir` without the ending, and the file.
/// Empty where there is no such folder.
pub fn fixtures(dir: &str) -> Vec<(String, PathBuf)> {
    let root = workspace().join("testdata").join(dir);
    let mut found = Vec::new();
    walk(&root, &mut found);
    let name = |p: &PathBuf| {
        let relative = p.strip_prefix(&root).expect("the walk stays below its root").with_extension("");
        relative.components().map(|c| c.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
    };
    let mut named: Vec<(String, PathBuf)> = found.into_iter().map(|p| (name(&p), p)).collect();
    named.sort();
    named
}

fn walk(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "onnxtxt") {
            found.push(path);
        }
    }
}

/// A file of `testdata/`: a model and what its first comments say of it.
pub struct Fixture {
    /// The whole text.
    pub text: String,
    /// `# key: value` comments in front of the model, in order. Several may share a line.
    pub directives: Vec<(String, String)>,
}

impl Fixture {
    /// Splits a text into directives and model.
    pub fn of(text: &str) -> Self {
        let head = text.lines().map(str::trim).take_while(|l| l.is_empty() || l.starts_with('#'));
        let directives = head.flat_map(|l| l.split('#')).filter_map(directive).collect();
        Self { text: text.to_string(), directives }
    }
    /// The model; panics with the guilty line where there is none.
    #[track_caller]
    pub fn model(&self) -> Model {
        super::model(&self.text)
    }
    /// Value of the first directive `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.all(key).next()
    }
    /// Values of every directive `key`.
    pub fn all(&self, key: &str) -> impl Iterator<Item = &str> {
        self.directives.iter().filter(move |(k, _)| k == key).map(|(_, v)| v.as_str())
    }
}

/// Keys are lower case without blanks, so that a sentence with a colon stays a comment.
fn directive(comment: &str) -> Option<(String, String)> {
    let (key, value) = comment.trim().split_once(": ")?;
    let plain = !key.is_empty() && key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
    plain.then(|| (key.to_string(), value.trim().to_string()))
}

/// Reads a fixture; panics where the file cannot be read.
#[track_caller]
pub fn fixture(path: &Path) -> Fixture {
    match fs::read_to_string(path) {
        Ok(text) => Fixture::of(&text),
        Err(e) => panic!("{}: {e}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directives_share_lines_and_end_with_the_comments() {
        let f = Fixture::of("# pass: remove   # plan: conv1 -{1, 3}\n# Why: prose\n\ng () => ()  # late: 1\n{}");
        assert_eq!(f.directives.len(), 2);
        assert_eq!((f.get("pass"), f.get("plan"), f.get("late")), (Some("remove"), Some("conv1 -{1, 3}"), None));
    }
}
