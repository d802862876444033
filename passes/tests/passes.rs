//! One test a file of `testdata/passes/<stage>/<pass>/`: the pass runs on it, and what comes out is compared with
//! `snapshots/passes/<stage>/<pass>/`. A second run must change nothing. A directive `changes: no` demands that the
//! first one does not either, `runtime: none` takes the runtime away. Where tract runs the graph, the pass must not change what it
//! computes.

// Of what the test binaries share, this one uses a part.
#[allow(dead_code)]
mod common;

use common::same_outputs;
use libtest_mimic::{Arguments, Failed, Trial};
use sparsec_ir::Type;
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::{Changed, Manager, Verify, find};
use sparsec_testkit::{Fixture, fixture, fixtures, random_inputs, snapshot, summary};
use std::fmt::Write;
use std::sync::Arc;

fn main() {
    let arguments = Arguments::from_args();
    let trials = fixtures("passes/canonicalise").into_iter().map(|(name, path)| {
        let name = format!("canonicalise/{name}");
        Trial::test(name.replace('/', "::"), move || check(&name, &fixture(&path)))
    });
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn check(name: &str, fixture: &Fixture) -> Result<(), Failed> {
    let pass = name.split('/').nth(1).ok_or("a fixture lies in the folder of its pass")?;
    let pass = find(pass)?;
    let table = sparsec_ops::table();
    let mut model = fixture.model();
    let before = model.clone();
    let mut manager = Manager::new(&table).verify(Verify::Each);
    let mut cx = manager.context();
    if fixture.get("runtime") != Some("none") {
        cx.put(Evaluator(Arc::from(sparsec_runtime::default_runtime()?)));
    }
    let changed = manager.run_pass(&mut model, pass, &mut cx)?;
    let expected = if fixture.get("changes") == Some("no") { Changed::No } else { Changed::Yes };
    if changed != expected {
        return Err(format!("expected {expected:?}, the pass reports {changed:?}").into());
    }
    let mut out = summary(&model);
    for r in &cx.remarks {
        writeln!(out, "# {}: {}", r.place, r.reason)?;
    }
    snapshot(&format!("passes/{name}"), &out);
    let typed = |v| matches!(&before.graph.value(v).ty, Some(Type::Tensor { shape: Some(_), .. }));
    if before.graph.inputs().all(typed) {
        // Nodes whose results are constant now are left to another pass; no runtime takes them.
        let mut after = model.clone();
        let _ = manager.run_pass(&mut after, find("dead-code")?, &mut cx)?;
        let (runtime, inputs) = (sparsec_runtime::default_runtime()?, random_inputs(&before, 1, 2));
        same_outputs(runtime.as_ref(), &before, &after, &inputs)?;
    }
    match manager.run_pass(&mut model, pass, &mut cx)? {
        Changed::No => Ok(()),
        Changed::Yes => Err("the second run changed something".into()),
    }
}
