//! Pieces of graphs, each around one operator or a few: `testdata/operators`, a file a rule, several pieces a file.
//!
//! A piece begins with its name, `# piece: NAME`, and says in further directives what its checks need: `# only: onnxruntime`
//! where the other runtimes lack an operator, `# only: none` where all do. Float inputs and results have the batch `n`
//! first; whoever builds a model puts layers in front of the inputs and behind the results. A piece for operator set
//! [`OPSET`] means the same in every later one; one for another set is for that set only.

use crate::{Fixture, OPSET, fixture, fixtures};
use sparsec_ir::Model;

/// A piece of a graph.
pub struct Snippet {
    /// `RULE/NAME`.
    pub name: String,
    /// The piece itself.
    pub model: Model,
    /// The one runtime that has its operators, if not all have.
    pub only: Option<String>,
}

impl Snippet {
    /// Version of ONNX's operator set that it is written for.
    pub fn version(&self) -> i64 {
        self.model.opset("").unwrap_or(OPSET)
    }
    /// Whether it can be part of a graph of this version.
    pub(crate) fn fits(&self, version: i64) -> bool {
        self.version() == version || self.version() == OPSET && version > OPSET
    }
}

const HEAD: &str = "# piece: ";

/// Every piece of `testdata/operators`, in the order of the files.
pub fn snippets() -> Vec<Snippet> {
    let mut all = Vec::new();
    for (rule, path) in fixtures("operators") {
        let text = fixture(&path).text;
        let starts: Vec<usize> = text.match_indices(HEAD).map(|(at, _)| at).collect();
        for (i, &start) in starts.iter().enumerate() {
            let piece = Fixture::of(&text[start..starts.get(i + 1).copied().unwrap_or(text.len())]);
            let name = format!("{rule}/{}", piece.get("piece").expect("it begins so"));
            all.push(Snippet { name, model: piece.model(), only: piece.get("only").map(str::to_string) });
        }
    }
    all
}
