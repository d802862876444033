//! What the manager promises.

use sparsec_ir::{Attr, Model, OpTable};
use sparsec_passes::{
    CANONICALISE, Changed, Event, Manager, PassCx, PassDef, PassError, PrintAfter, Stage, Step, Verify, find,
};
use sparsec_testkit::model;

const CHAIN: &str = "g (float x) => (float y) { y = Relu (x) a = Neg (x) b = Neg (a) c = Neg (b) }";

fn flip(model: &mut Model, cx: &mut PassCx, op: &str, to: i64) -> Result<Changed, PassError> {
    let Some(id) = model.graph.nodes().map(|(id, _)| id).next() else { return Ok(Changed::No) };
    let graph = &mut model.graph;
    cx.rewrite(|| {
        graph.set_attr(id, op, Attr::Int(to));
        Ok(())
    })
}

const ON: PassDef = PassDef { name: "on", stage: Stage::Lower, summary: "", run: |m, cx| flip(m, cx, "flag", 1) };
const OFF: PassDef = PassDef { name: "off", stage: Stage::Lower, summary: "", run: |m, cx| flip(m, cx, "flag", 0) };
const LIAR: PassDef = PassDef {
    name: "liar",
    stage: Stage::Lower,
    summary: "",
    run: |m, cx| flip(m, cx, "flag", 0).map(|_| Changed::No),
};

#[test]
fn rewrite_limit_stops_all_passes() {
    let table = OpTable::default();
    for limit in 0..4 {
        let mut m = model(CHAIN);
        let mut manager = Manager::new(&table).rewrite_limit(limit).verify(Verify::Each);
        let mut cx = manager.context();
        let _ = manager.run(&mut m, CANONICALISE, &mut cx).unwrap();
        assert_eq!(m.graph.nodes().count() as u64, 4 - limit);
        assert_eq!(cx.rewrites(), limit);
    }
}

#[test]
fn passes_that_undo_each_other_are_named() {
    let table = OpTable::default();
    let mut manager = Manager::new(&table);
    let mut cx = manager.context();
    let e = manager.run(&mut model(CHAIN), &[Step::Fixpoint(&[&ON, &OFF])], &mut cx).unwrap_err();
    assert!(matches!(e, PassError::NoFixpoint { first: "on", second: "off", .. }), "{e}");
}

#[test]
fn a_change_that_is_not_reported_is_an_error() {
    let table = OpTable::default();
    let mut manager = Manager::new(&table);
    let mut cx = manager.context();
    let e = manager.run_pass(&mut model(CHAIN), &LIAR, &mut cx).unwrap_err();
    assert!(matches!(e, PassError::Unreported { pass: "liar" }), "{e}");
}

#[test]
fn observers_hear_of_runs_and_get_what_is_printed() {
    let table = OpTable::default();
    let (mut heard, mut m) = (Vec::new(), model(CHAIN));
    let mut manager = Manager::new(&table).print_after(PrintAfter::Pass("dead-code".into())).observe(|e| match e {
        Event::Ran { run, .. } => heard.push(format!("{} {}", run.pass, run.rewrites)),
        Event::Printed { text, .. } => heard.push(format!("{} lines", text.lines().count())),
    });
    let mut cx = manager.context();
    let _ = manager.run_pass(&mut m, find("dead-code").unwrap(), &mut cx).unwrap();
    drop(manager);
    assert_eq!(heard, ["dead-code 3", "5 lines"]);
}

#[test]
fn artifacts_are_found_by_type_and_missing_ones_named() {
    let table = OpTable::default();
    let mut cx = PassCx::new(&table);
    cx.put(7u64);
    assert_eq!(*cx.get::<u64>().unwrap(), 7);
    assert!(matches!(cx.get::<String>(), Err(PassError::MissingArtifact { .. })));
}

#[test]
fn hostile_functions_are_refused() {
    let table = OpTable::default();
    let f = |name: &str, body: &str| {
        format!("<domain: \"l\", opset_import: [\"\" : 18, \"l\" : 1]> {name} (a) => (b) {{ {body} }}\n")
    };
    let head = "<ir_version: 10, opset_import: [\"\" : 18, \"l\" : 1]> g (float x) => (float y) { y = l.F0 (x) }\n";
    let run = |text: &str| {
        let mut manager = Manager::new(&table);
        let mut cx = manager.context();
        manager.run_pass(&mut model(text), find("inline-functions").unwrap(), &mut cx)
    };
    let recursive = format!("{head}{}", f("F0", "b = l.F0 (a)"));
    assert!(matches!(run(&recursive), Err(PassError::RecursiveFunction { .. })));
    let doubling: String =
        (0..40).map(|i| f(&format!("F{i}"), &format!("m = l.F{0} (a) b = l.F{0} (m)", i + 1))).collect();
    let doubling = format!("{head}{doubling}{}", f("F40", "b = Relu (a)"));
    assert!(matches!(run(&doubling), Err(PassError::TooManyNodes { .. })));
}
