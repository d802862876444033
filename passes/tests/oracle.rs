//! Random graphs, random plans: removing equals masking.
//!
//! `PROPTEST_CASES` asks for more cases; `SPARSEC_ORT` adds ONNX Runtime to tract.

mod cases;
mod common;

use common::{Keep, Subject, runtimes};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestRng, TestRunner};
use sparsec_analysis::{audit, channels};
use sparsec_ir::Policy;
use sparsec_passes::{Manager, Step, find};
use sparsec_plan::Plan;
use sparsec_testkit::{Random, full, random_inputs, random_model};
use std::cell::Cell;

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

/// Seed of a graph, and its number of steps, by which it shrinks.
fn graphs() -> impl Strategy<Value = (u64, usize)> {
    (any::<u64>().no_shrink(), 1usize..14)
}

#[test]
fn the_pruned_model_equals_the_masked_one() {
    let runtimes = runtimes();
    let counts = [const { Cell::new(0u32) }; 4];
    let keep = prop_oneof![3 => Just(Keep::Some), 1 => Just(Keep::One)];
    let outcome = runner(1).run(&(graphs(), keep, any::<u64>().no_shrink()), |((seed, steps), keep, plan)| {
        let subject = Subject::of(random_model(seed, steps));
        let removal = subject.removal(&mut Random::new(plan), keep);
        let inputs = random_inputs(&subject.model, plan, 2);
        let verdict = subject.check(&removal, &runtimes, &inputs).map_err(|why| {
            let plan = Plan::of(&subject.channels, &removal).to_yaml().unwrap_or_default();
            let head: String =
                format!("seed {seed}, {steps} steps: {why}\n{plan}").lines().map(|l| format!("# {l}\n")).collect();
            let file = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("oracle.onnxtxt");
            let text = head + &full(&subject.model);
            let kept = std::fs::write(&file, &text).is_ok();
            let at = if kept { format!(" (in {})", file.display()) } else { String::new() };
            TestCaseError::fail(format!(
                "{why}{at}\n{}",
                if kept { sparsec_testkit::summary(&subject.model) } else { text }
            ))
        })?;
        let count = &counts[verdict as usize];
        count.set(count.get() + 1);
        Ok(())
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    // A generator whose graphs cannot be cut, or not run, would prove nothing.
    let [equal, whole, refused, unrun] = counts.map(|c| c.get());
    let all = equal + whole + refused + unrun;
    assert!(
        equal * 10 >= all * 6 && unrun * 50 <= all,
        "equal {equal}, whole {whole}, refused {refused}, not run {unrun}"
    );
}

#[test]
fn where_policies_allow_more_the_pruned_model_equals_the_masked_one_of_their_definition() {
    let runtimes = runtimes();
    let inexact = Cell::new(0);
    let outcome = runner(3).run(&(graphs(), any::<u64>().no_shrink()), |((seed, steps), plan)| {
        let subject = Subject::allowing(random_model(seed, steps), Policy::ALL.iter().copied().collect());
        let removal = subject.removal(&mut Random::new(plan), Keep::Some);
        inexact.set(inexact.get() + subject.channels.inexact_cuts(&removal).count());
        let inputs = random_inputs(&subject.model, plan, 2);
        let found = subject.check(&removal, &runtimes, &inputs);
        found.map(drop).map_err(|why| TestCaseError::fail(format!("seed {seed}, {steps} steps: {why}")))
    });
    if let Err(e) = outcome {
        panic!("{e}");
    }
    assert!(inexact.get() > 0, "no graph has a cut that only a policy allows");
}

#[test]
fn the_recovered_model_equals_the_masked_one_with_its_weights() {
    let runtime = sparsec_runtime::default_runtime().expect("tract is built in");
    let counts = [const { Cell::new(0u32) }; 4];
    let outcome = runner(4).run(&(graphs(), any::<u64>().no_shrink()), |((seed, steps), plan)| {
        let mut model = random_model(seed, steps);
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
    let [equal, whole, refused, unrun] = counts.map(|c| c.get());
    let all = equal + whole + refused + unrun;
    assert!(equal * 10 >= all * 2, "equal {equal}, whole {whole}, refused {refused}, not run {unrun}");
}

#[test]
fn solutions_satisfy_every_statement_and_are_the_same_each_time() {
    let outcome = runner(1).run(&graphs(), |(seed, steps)| {
        let subject = Subject::of(random_model(seed, steps));
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
