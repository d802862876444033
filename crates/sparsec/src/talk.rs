//! The only module that writes to the terminal.

use crate::cli::Global;
use serde::Serialize;
use std::io::{ErrorKind, IsTerminal, Write};

/// How results and remarks reach whoever started the process.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Talk {
    json: bool,
    quiet: bool,
}

impl Talk {
    pub(crate) fn new(global: &Global) -> Self {
        Self { json: global.json, quiet: global.quiet }
    }
    /// Whether results are JSON.
    pub(crate) fn is_json(self) -> bool {
        self.json
    }
    /// Whether a bar on standard error would be seen and is wanted.
    pub(crate) fn shows_progress(self) -> bool {
        !self.json && !self.quiet && std::io::stderr().is_terminal()
    }
    /// The result of a command, for people on standard output, or as one JSON object with `"schema": "sparsec/COMMAND@1"`.
    pub(crate) fn result(self, command: &str, value: &impl Serialize, text: &str) -> std::io::Result<()> {
        if !self.json {
            return data(text);
        }
        let object = Versioned { schema: format!("sparsec/{command}@1"), value };
        let mut line = serde_json::to_string_pretty(&object)?;
        line.push('\n');
        data(&line)
    }
    /// Something odd that does not stop the work, on standard error, with the code that explains it.
    pub(crate) fn warn(self, code: &str, text: &str) {
        if !self.quiet {
            complaint(&format!("warning[{code}]: {text}\n"));
        }
    }
    /// A remark on the way, on standard error.
    pub(crate) fn note(self, text: &str) {
        if !self.quiet {
            complaint(&format!("note: {text}\n"));
        }
    }
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    schema: String,
    #[serde(flatten)]
    value: &'a T,
}

/// Writes to standard output. A reader that went away, as `head` does, is no error.
pub(crate) fn data(text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(e) if e.kind() == ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Writes to standard error. When that fails too there is nobody left to tell.
pub(crate) fn complaint(text: &str) {
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
