//! What tests of several crates share: models from text, fixtures with directives, snapshots in one folder.
//!
//! Test code: everything here panics where a caller would only unwrap.
//!
//! ```
//! let m = sparsec_testkit::model("g (float[n,3] x) => (float[n,3] y) { y = Relu (x) }");
//! assert_eq!(m.opset(""), Some(sparsec_testkit::OPSET));
//! ```

mod fixture;
mod random;
mod snapshot;
mod snippet;

pub use fixture::{Fixture, fixture, fixtures, workspace};
pub use random::{Random, model_of, random_inputs, random_model};
pub use snapshot::snapshot;
pub use snippet::{Snippet, snippets};

use sparsec_ir::Model;
use sparsec_ir::text::{PrintOptions, TextError, Weights, parse_model, print_model};

/// Version of ONNX's operator set that a text without a header imports.
pub const OPSET: i64 = 18;

/// The model of a text in ONNX's syntax; one without a header imports ONNX's own operators at [`OPSET`].
///
/// Panics with the guilty line where the text is no model.
#[track_caller]
pub fn model(text: &str) -> Model {
    let code = text.lines().map(str::trim).find(|l| !l.is_empty() && !l.starts_with('#')).unwrap_or("");
    let header = format!("<ir_version: 10, opset_import: [\"\" : {OPSET}]>\n");
    let (whole, added) = if code.starts_with('<') { (text.to_string(), 0) } else { (header + text, 1) };
    match parse_model(&whole) {
        Ok(m) => m,
        Err(e) => panic!("{}", render(&whole, &e, added)),
    }
}

/// The error with its line and a caret below it; `added` lines in front are not the author's.
fn render(text: &str, e: &TextError, added: u32) -> String {
    let line = text.lines().nth(e.line as usize - 1).unwrap_or("");
    let help = e.help.map(|h| format!("\n  help: {h}")).unwrap_or_default();
    let caret = " ".repeat(e.column as usize - 1) + "^";
    format!("line {}: {}\n  {line}\n  {caret}{help}", e.line.saturating_sub(added), e.what)
}

/// The model's text with every weight.
pub fn full(model: &Model) -> String {
    print_model(model, &PrintOptions::weights(Weights::Full))
}

/// The model's text with weights summed up, as snapshots want it.
pub fn summary(model: &Model) -> String {
    print_model(model, &PrintOptions::weights(Weights::Summary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_show_the_line() {
        let e = parse_model("g () => ()\n{ y = A (z) }").unwrap_err();
        let shown = render("g () => ()\n{ y = A (z) }", &e, 0);
        assert!(shown.starts_with("line 2: `z` is not defined\n  { y = A (z) }\n           ^"), "{shown}");
    }
}
