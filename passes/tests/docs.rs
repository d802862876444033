//! Executes the `onnx before` and `onnx after` blocks on top of every pass file.

#[path = "common/recovered.rs"]
mod recovered;

#[path = "common/masked.rs"]
mod masked;

use masked::masked;
use recovered::recovered;
use sparsec_analysis::{Channels, Removal, channels, infer};
use sparsec_ir::{Facts, Model, OpTable, verify};
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::recover::RecoverOptions;
use sparsec_passes::remove::{drop_branches, remove};
use sparsec_passes::{ALL, Changed, Manager, PassDef, Stage};
use sparsec_plan::{MaskPlan, Pattern};
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

/// Checks the blocks of a file of `passes/remove`: what `cut` makes of the first is the second.
fn cut_as_documented(file: &str, cut: impl Fn(&Model, &Facts, &OpTable, &Channels) -> Model) {
    let source = fs::read_to_string(workspace().join("passes/remove").join(file)).expect("the file is there");
    let part = |kind| block(&source, kind).expect("the file has both blocks");
    let (before, after) = (model(&part("before")), model(&part("after")));
    let table = sparsec_ops::table();
    let facts = infer(&before, &table).facts;
    let cut = cut(&before, &facts, &table, &channels(&before, &facts, &table));
    assert_eq!(verify(&cut), Ok(()));
    assert_eq!(full(&cut), full(&after));
}

#[test]
fn documentation_of_removal_is_true() {
    cut_as_documented("cut.rs", |before, facts, table, channels| {
        let group = &channels.groups[channels.group("w1:0").expect("the group is there")];
        let mut removal = Removal::none(channels);
        removal.set(group.units[1], true);
        remove(before, facts, table, channels, &removal).expect("the plan fits")
    });
}

#[test]
fn documentation_of_dropping_is_true() {
    cut_as_documented("depth.rs", |before, _, _, channels| {
        let ids: Vec<&str> = channels.branches.iter().map(|b| b.id.as_str()).collect();
        assert_eq!(ids, ["t"]);
        let mut removal = Removal::none(channels);
        removal.set_branch(0, true);
        drop_branches(before, channels, &removal).into_owned()
    });
}

#[test]
fn documentation_of_recovery_is_true() {
    let file = workspace().join("passes/recover/least_squares.rs");
    let source = fs::read_to_string(&file).expect("the file is there");
    let part = |kind| model(&block(&source, kind).expect("the file has both blocks"));
    let dense = model(
        "g (float[n,2] x) => (float[n,1] y)
        <float[2,3] w = {1.0, 0.0, 1.0, 0.0, 1.0, 1.0}, float[3,1] v = {1.0, 1.0, 1.0}>
        { h = MatMul (x, w) y = MatMul (h, v) }",
    );
    let (mut cut, done) = recovered(&dense, RecoverOptions { ridge: 0.0, ..RecoverOptions::default() });
    assert!(done.iter().all(|r| r.outcome.is_ok()), "{done:?}");
    let v = cut.graph.find("v").expect("the weight is there");
    let exact = cut.graph.constant(v).expect("a weight").to_f64().expect("numbers");
    let shown: Vec<f32> = exact.iter().map(|w| (w * 1e4).round() as f32 / 1e4).collect();
    cut.graph.set_constant(v, sparsec_ir::Tensor::f32(&[2, 1], &shown));
    assert_eq!(full(&cut), full(&part("after")));
    // What comes before is the cut alone.
    let mut before = part("before");
    for name in ["w", "v"] {
        let (old, new) = (dense.graph.find(name), before.graph.find(name));
        let (old, new) = (old.expect("the name is there"), new.expect("the name is there"));
        let axis = usize::from(name == "w");
        let kept = dense.graph.constant(old).expect("a weight").gather(axis, &[0, 1]).expect("numbers");
        assert_eq!(**before.graph.constant(new).expect("a weight"), kept, "{name}");
        before.graph.set_constant(new, kept);
    }
}

#[test]
fn documentation_of_masking_is_true() {
    let file = workspace().join("passes/mask/obs.rs");
    let source = fs::read_to_string(&file).expect("the file is there");
    let part = |kind| model(&block(&source, kind).expect("the file has both blocks"));
    let (dense, after) = (part("before"), part("after"));
    let mask = MaskPlan { weight: "v".into(), pattern: Pattern::Block(1), density: 1.0 / 3.0, kept: None, why: None };
    let (mut masked, done) = masked(&dense, &[mask], RecoverOptions { ridge: 1e-9, ..RecoverOptions::default() });
    assert!(done.iter().all(|r| r.outcome.is_ok()), "{done:?}");
    let v = masked.graph.find("v").expect("the weight is there");
    let exact = masked.graph.constant(v).expect("a weight").to_f64().expect("numbers");
    let shown: Vec<f32> = exact.iter().map(|w| (w * 1e4).round() as f32 / 1e4).collect();
    masked.graph.set_constant(v, sparsec_ir::Tensor::f32(&[3, 1], &shown));
    assert_eq!(full(&masked), full(&after));
}

#[test]
fn passes_are_sorted_by_name_and_found_by_it() {
    assert!(ALL.is_sorted_by_key(|p| p.name));
    assert!(ALL.iter().all(|p| sparsec_passes::find(p.name).is_ok_and(|f| f.name == p.name)));
    assert!(sparsec_passes::parse("dead-code, nothing").is_err());
}
