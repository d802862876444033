//! Random graphs, random plans: removing equals masking.
//!
//! `PROPTEST_CASES` asks for more cases and `SPARSEC_SEED` (0 to 255) for others; `SPARSEC_ORT` adds ONNX Runtime to tract.
//! A graph that fails shrinks by its number of steps, then by reduction.

mod cases;
mod common;

use common::{Keep, Subject, close, runtimes, same_outputs};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sparsec_analysis::{audit, channels};
use sparsec_ir::{Model, Policy, Tensor, Type};
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::reduce::{Judgement, reduce};
use sparsec_passes::{CANONICALISE, Manager, Step, find};
use sparsec_plan::Plan;
use sparsec_runtime::Runtime;
use sparsec_testkit::{Random, Snippet, full, random_inputs, random_model, snippets};
use std::cell::Cell;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Cases of a normal run.
const CASES: u32 = 300;

/// A runner whose cases are the same in every run; one in `share` of the number asked for.
fn runner(share: u32) -> TestRunner {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let config =
        Config { cases: (cases / share).max(1), failure_persistence: None, max_shrink_iters: 200, ..Config::default() };
    let seed = std::env::var("SPARSEC_SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(1u8);
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]))
}

/// The model of a seed. Every other one may have operators that only ONNX Runtime has, where that is at hand.
fn graph(seed: u64, steps: usize, pieces: &[Snippet], runtimes: &[Box<dyn Runtime>]) -> Model {
    let (first, last) = (runtimes.first(), runtimes.last());
    let name = if seed.is_multiple_of(2) { last } else { first }.map_or_else(String::new, |r| r.name());
    let run = |p: &&Snippet| p.only.as_deref().is_none_or(|only| name.starts_with(only));
    random_model(seed, steps, &pieces.iter().filter(run).collect::<Vec<_>>())
}

/// Seed of a graph, and its number of steps, by which it shrinks.
fn graphs() -> impl Strategy<Value = (u64, usize)> {
    (any::<u64>().no_shrink(), 1usize..14)
}

/// What the oracle says of a model with the random plan of a seed, if anything.
fn oracle(
    model: &Model,
    policies: &BTreeSet<Policy>,
    plan: u64,
    keep: Keep,
    runtimes: &[Box<dyn Runtime>],
) -> Option<String> {
    let typed = |v| matches!(&model.graph.value(v).ty, Some(Type::Tensor { shape: Some(_), .. }));
    if !model.graph.inputs().all(typed) {
        return None;
    }
    let subject = Subject::allowing(model.clone(), policies.clone());
    let removal = subject.removal(&mut Random::new(plan), keep);
    subject.check(&removal, runtimes, &random_inputs(model, plan, 2)).err()
}

/// A failure told with the smallest model that shows it, its plan, and the file that holds both.
fn told(
    why: &str,
    subject: &Subject,
    (seed, steps): (u64, usize),
    plan: u64,
    keep: Keep,
    runtimes: &[Box<dyn Runtime>],
) -> TestCaseError {
    let policies = &subject.channels.allowed.policies;
    let small = smallest(&subject.model, why, &|model| oracle(model, policies, plan, keep, runtimes));
    let subject = Subject::allowing(small, policies.clone());
    let removal = subject.removal(&mut Random::new(plan), keep);
    let plan = Plan::of(&subject.channels, &removal).to_yaml().unwrap_or_default();
    let head: String =
        format!("seed {seed}, {steps} steps: {why}\n{plan}").lines().map(|l| format!("# {l}\n")).collect();
    let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle.onnxtxt");
    let text = head + &full(&subject.model);
    let kept = std::fs::write(&file, &text).is_ok();
    let at = if kept { format!(" (in {})", file.display()) } else { String::new() };
    TestCaseError::fail(format!("{why}{at}\n{}", if kept { sparsec_testkit::summary(&subject.model) } else { text }))
}

/// What is wrong without names and numbers: what stays the same when a model shrinks.
fn kind(why: &str) -> String {
    why.split('`')
        .step_by(2)
        .collect::<String>()
        .chars()
        .filter(|c| !c.is_ascii_digit() && !"-.e".contains(*c))
        .collect()
}

/// The smallest model found of which the same is said.
fn smallest(model: &Model, why: &str, said: &dyn Fn(&Model) -> Option<String>) -> Model {
    const MOST: u32 = 2000;
    let mut tried = 0;
    let mut judge = |m: &Model| {
        tried += 1;
        match said(m) {
            _ if tried > MOST => Judgement::Stop,
            Some(now) if kind(&now) == kind(why) => Judgement::Keep,
            _ => Judgement::Reject,
        }
    };
    reduce(model, &sparsec_ops::table(), &mut judge).model
}

#[test]
fn a_failing_case_shrinks_to_the_nodes_that_matter() {
    // A made-up defect: a sigmoid and a convolution in one graph.
    let said = |m: &Model| {
        let subject = Subject::of(m.clone());
        let has = |op: &str| subject.model.graph.nodes().any(|(_, n)| n.op == op);
        (has("Sigmoid") && has("Conv")).then(|| format!("`{}` is wrong in {} places", "any", m.graph.nodes().count()))
    };
    let mut cases = 0;
    for seed in 0..40 {
        let model = random_model(seed, 10, &[]);
        if let Some(why) = said(&model) {
            let small = smallest(&model, &why, &said);
            assert!(small.graph.nodes().count() <= 2, "seed {seed}: {}", sparsec_testkit::full(&small));
            cases += 1;
        }
    }
    assert!(cases >= 5, "only {cases} cases");
}

#[test]
fn infinite_elements_do_not_hide_that_others_differ() {
    let row = |all: [f32; 3]| Tensor::f32(&[3], &all);
    let wanted = row([1.0, f32::INFINITY, f32::NAN]);
    assert_eq!(close(&[&wanted], &wanted), Ok(()));
    for other in [[2.0, f32::INFINITY, f32::NAN], [1.0, f32::NEG_INFINITY, f32::NAN], [1.0, f32::INFINITY, 1.0]] {
        assert!(close(&[&wanted], &row(other)).is_err(), "{other:?}");
    }
}

#[test]
fn the_pruned_model_equals_the_masked_one() {
    let (runtimes, pieces) = (runtimes(), snippets());
    let counts = [const { Cell::new(0u32) }; 3];
    let keep = prop_oneof![3 => Just(Keep::Some), 1 => Just(Keep::One)];
    let outcome = runner(1).run(&(graphs(), keep, any::<u64>().no_shrink()), |((seed, steps), keep, plan)| {
        let subject = Subject::of(graph(seed, steps, &pieces, &runtimes));
        let removal = subject.removal(&mut Random::new(plan), keep);
        let inputs = random_inputs(&subject.model, plan, 2);
        let verdict = subject.check(&removal, &runtimes, &inputs);
        let verdict = verdict.map_err(|why| told(&why, &subject, (seed, steps), plan, keep, &runtimes))?;
        let count = &counts[verdict as usize];
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    // A generator whose graphs cannot be cut, or not run, would prove nothing.
    let [equal, whole, unrun] = counts.map(|c| c.get());
    let all = equal + whole + unrun;
    assert!(equal * 10 >= all * 6 && unrun * 50 <= all, "equal {equal}, whole {whole}, not run {unrun}");
}

#[test]
fn the_canonical_model_equals_its_file() {
    let (runtimes, pieces) = (runtimes(), snippets());
    let compared = Cell::new(0);
    let outcome = runner(3).run(&(graphs(), any::<u64>().no_shrink()), |((seed, steps), data)| {
        let file = graph(seed, steps, &pieces, &runtimes);
        let table = sparsec_ops::table();
        let mut manager = Manager::new(&table);
        let mut cx = manager.context();
        cx.put(Evaluator(Arc::from(sparsec_runtime::default_runtime().expect("tract is built in"))));
        let mut canonical = file.clone();
        prop_assert!(manager.run(&mut canonical, CANONICALISE, &mut cx).is_ok());
        let inputs = random_inputs(&file, data, 2);
        for runtime in &runtimes {
            let same = same_outputs(runtime.as_ref(), &file, &canonical, &inputs);
            let same = same.map_err(|why| TestCaseError::fail(format!("seed {seed}, {steps} steps: {why}")))?;
            compared.set(compared.get() + u32::from(same));
        }
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    assert!(compared.get() > 0, "no runtime runs the graphs");
}

#[test]
fn where_policies_allow_more_the_pruned_model_equals_the_masked_one_of_their_definition() {
    let (runtimes, pieces) = (runtimes(), snippets());
    let inexact = Cell::new(0);
    let outcome = runner(3).run(&(graphs(), any::<u64>().no_shrink()), |((seed, steps), plan)| {
        let subject = Subject::allowing(graph(seed, steps, &pieces, &runtimes), Policy::ALL.iter().copied().collect());
        let removal = subject.removal(&mut Random::new(plan), Keep::Some);
        inexact.set(inexact.get() + subject.channels.inexact_cuts(&removal).count());
        let inputs = random_inputs(&subject.model, plan, 2);
        let found = subject.check(&removal, &runtimes, &inputs);
        found.map(drop).map_err(|why| told(&why, &subject, (seed, steps), plan, Keep::Some, &runtimes))
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    assert!(inexact.get() > 0, "no graph has a cut that only a policy allows");
}

#[test]
fn the_recovered_model_equals_the_masked_one_with_its_weights() {
    let runtime = sparsec_runtime::default_runtime().expect("tract is built in");
    let pieces = snippets();
    let counts = [const { Cell::new(0u32) }; 3];
    let outcome = runner(4).run(&(graphs(), any::<u64>().no_shrink()), |((seed, steps), plan)| {
        let mut model = graph(seed, steps, &pieces, &[]);
        let table = sparsec_ops::table();
        let mut manager = Manager::new(&table);
        let mut cx = manager.context();
        let unshared = manager.run(&mut model, &[Step::Once(find("unshare-constants").expect("it exists"))], &mut cx);
        prop_assert!(unshared.is_ok());
        let subject = Subject::of(model);
        let removal = subject.removal(&mut Random::new(plan), Keep::Some);
        let samples = random_inputs(&subject.model, plan, 70);
        let verdict = subject.check_recovered(&removal, runtime.as_ref(), &samples);
        let verdict = verdict.map_err(|why| {
            TestCaseError::fail(format!(
                "seed {seed}, {steps} steps: {why}\n{}",
                sparsec_testkit::summary(&subject.model)
            ))
        })?;
        let count = &counts[verdict as usize];
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    let [equal, whole, unrun] = counts.map(|c| c.get());
    let all = equal + whole + unrun;
    assert!(equal * 10 >= all * 2, "equal {equal}, whole {whole}, not run {unrun}");
}

#[test]
fn solutions_satisfy_every_statement_and_are_the_same_each_time() {
    let pieces = snippets();
    let pieces: Vec<&Snippet> = pieces.iter().collect();
    let outcome = runner(1).run(&graphs(), |(seed, steps)| {
        let subject = Subject::of(random_model(seed, steps, &pieces));
        let again = channels(&subject.model, &subject.facts, &subject.table);
        prop_assert_eq!(&again.units, &subject.channels.units);
        prop_assert_eq!(&again.groups, &subject.channels.groups);
        let breaches = audit(&subject.model, &subject.facts, &subject.table, &subject.channels);
        prop_assert!(breaches.is_empty(), "{:?}\n{}", breaches, sparsec_testkit::summary(&subject.model));
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
}
