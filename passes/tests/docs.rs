//! Executes the `onnx before` and `onnx after` blocks on top of every pass file.

use sparsec_ir::Model;
use sparsec_ir::verify;
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::{ALL, Changed, Manager, PassDef, Stage};
use sparsec_testkit::{full, model, workspace};
use std::fs;
use std::sync::Arc;

/// Text of the block that opens with "```onnx `kind`" in a file's module documentation.
fn block(source: &str, kind: &str) -> Option<String> {
    let doc = source.lines().map_while(|l| l.strip_prefix("//!")).map(|l| l.strip_prefix(' ').unwrap_or(l));
    let mut inside = doc.skip_while(|l| l.trim() != format!("```onnx {kind}"));
    inside.next()?;
    Some(inside.take_while(|l| l.trim() != "```").collect::<Vec<_>>().join("\n"))
}

fn run(pass: &PassDef, model: &mut Model) -> Changed {
    let table = sparsec_ops::table();
    let mut manager = Manager::new(&table).verify(sparsec_passes::Verify::Each);
    let mut cx = manager.context();
    cx.put(Evaluator(Arc::from(sparsec_runtime::default_runtime().expect("tests are built with tract"))));
    manager.run_pass(model, pass, &mut cx).unwrap_or_else(|e| panic!("{}: {e}", pass.name))
}

#[test]
fn documentation_of_passes_is_true() {
    for pass in ALL.iter().filter(|p| p.stage == Stage::Canonicalise) {
        let file = workspace().join("passes").join(pass.stage.name()).join(pass.name.replace('-', "_") + ".rs");
        let source = fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let part = |kind| block(&source, kind).unwrap_or_else(|| panic!("{} has no `onnx {kind}` block", pass.name));
        let (mut before, after) = (model(&part("before")), model(&part("after")));
        assert_eq!(run(pass, &mut before), Changed::Yes, "{}", pass.name);
        assert_eq!(verify(&before), Ok(()), "{}", pass.name);
        assert_eq!(full(&before), full(&after), "{}", pass.name);
        assert_eq!(run(pass, &mut before), Changed::No, "{} is not idempotent", pass.name);
    }
}

#[test]
fn documentation_of_removal_is_true() {
    let file = workspace().join("passes/remove/cut.rs");
    let source = fs::read_to_string(&file).expect("the file is there");
    let part = |kind| block(&source, kind).expect("the file has both blocks");
    let (before, after) = (model(&part("before")), model(&part("after")));
    let table = sparsec_ops::table();
    let facts = sparsec_analysis::infer(&before, &table).facts;
    let channels = sparsec_analysis::channels(&before, &facts, &table);
    let group = &channels.groups[channels.group("w1:0").expect("the group is there")];
    let mut removal = sparsec_analysis::Removal::none(&channels);
    removal.set(group.units[1], true);
    let cut = sparsec_passes::remove::remove(&before, &facts, &table, &channels, &removal).expect("the plan fits");
    assert_eq!(verify(&cut), Ok(()));
    assert_eq!(full(&cut), full(&after));
}

#[test]
fn passes_are_sorted_by_name_and_found_by_it() {
    assert!(ALL.is_sorted_by_key(|p| p.name));
    assert!(ALL.iter().all(|p| sparsec_passes::find(p.name).is_ok_and(|f| f.name == p.name)));
    assert!(sparsec_passes::parse("dead-code, nothing").is_err());
}
