//! What a user gives up leaves, and what stays does not change.

use crate::common::runtimes;
use sparsec_analysis::{Slots, Tie, give_up, infer};
use sparsec_ir::{Model, Reason, Tensor};
use sparsec_passes::remove::remove;
use sparsec_testkit::{fixture, fixtures, model, random_inputs, snapshot, summary};
use std::collections::BTreeSet;

/// What `VALUE:AXIS: INDEX INDEX …; VALUE:AXIS: …` gives up.
fn slots(model: &Model, text: &str) -> Slots {
    let one = |part: &str| {
        let (axis, indices) = part.rsplit_once(':').expect("an axis and its indices");
        let (value, axis) = axis.trim().rsplit_once(':').expect("a value and its axis");
        let value = model.graph.find(value).expect("the value exists");
        let indices: BTreeSet<u32> = indices.split_whitespace().map(|i| i.parse().expect("an index")).collect();
        ((value, axis.parse().expect("an axis")), indices)
    };
    text.split(';').map(one).collect()
}

/// Indices of an axis that stay.
fn kept(len: u64, given_up: &BTreeSet<u32>) -> Vec<u32> {
    (0..len as u32).filter(|i| !given_up.contains(i)).collect()
}

/// Every file of `testdata/passes/give_up`: the narrow model is as in its snapshot, and computes what the dense one does,
/// without the outputs that were given up, of data that names no entry that was.
#[test]
fn fixtures_of_giving_up_compute_the_same_for_what_stays() {
    let all = fixtures("passes/give_up");
    assert!(!all.is_empty());
    for (name, path) in all {
        let fixture = fixture(&path);
        let (dense, table) = (fixture.model(), sparsec_ops::table());
        let facts = infer(&dense, &table).facts;
        let given = slots(&dense, fixture.get("give-up").expect("a fixture says what to give up"));
        let (channels, removal) = give_up(&dense, &facts, &table, given.clone());
        let removal = removal.unwrap_or_else(|e| panic!("{name}: {e:?}"));
        let narrow = remove(&dense, &facts, &table, &channels, &removal).unwrap_or_else(|e| panic!("{name}: {e}"));
        snapshot(&format!("passes/give_up/{name}"), &summary(&narrow));

        let mut inputs = random_inputs(&dense, 1, 2);
        let table_of_ids = given.iter().find(|((v, _), _)| !dense.graph.is_output(*v));
        if let Some(((value, axis), gone)) = table_of_ids {
            let names = kept(facts.get(*value).size(*axis as usize).expect("a size"), gone);
            let ids: Vec<i64> = (0..inputs[0].count() as usize).map(|i| i64::from(names[i % names.len()])).collect();
            inputs[0] = Tensor::i64(&inputs[0].dims, &ids);
        }
        let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
        for runtime in runtimes() {
            let run = |m: &Model| runtime.load(m, &shapes, 1).and_then(|s| s.run(&inputs)).expect("it runs").remove(0);
            let mut wanted = run(&dense);
            for ((_, axis), gone) in given.iter().filter(|((v, _), _)| dense.graph.is_output(*v)) {
                wanted = wanted.gather(*axis as usize, &kept(wanted.dims[*axis as usize], gone)).expect("indices fit");
            }
            let found = run(&narrow);
            assert_eq!(found.dims, wanted.dims, "{name}");
            let (a, b) = (found.to_f64().expect("numbers"), wanted.to_f64().expect("numbers"));
            assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 1e-5), "{name}");
        }
    }
}

fn refused(text: &str, given: &str) -> Tie {
    let (model, table) = (model(text), sparsec_ops::table());
    let facts = infer(&model, &table).facts;
    let given = slots(&model, given);
    give_up(&model, &facts, &table, given).1.expect_err("it must be refused").why
}

#[test]
fn what_a_softmax_or_a_choice_of_the_largest_works_over_stays() {
    for op in ["Softmax", "ArgMax <axis = 1>"] {
        let text = format!(
            "g (float[n,3] x) => (float[n,5] h, y) <float[3,5] w = [\"location\": \"random:1\"]>
             {{ h = MatMul (x, w) y = {op} (h) }}"
        );
        assert!(matches!(refused(&text, "h:1: 2"), Tie::Frozen(f) if matches!(f.reason, Reason::Normalised { .. })));
    }
}

#[test]
fn what_is_summed_over_stays() {
    let text = "g (float[n,3] x) => (float[n,4] h, float[n,2] y)
        <float[3,4] w = [\"location\": \"random:1\"], float[4,2] v = [\"location\": \"random:2\"]>
        { h = MatMul (x, w) y = MatMul (h, v) }";
    assert!(matches!(refused(text, "h:1: 2"), Tie::Summed(_)));
}

#[test]
fn what_would_take_something_else_along_stays() {
    let text = "g (float[n,3] x) => (float[n,8] y) <float[3,4] w = [\"location\": \"random:1\"]>
        { h = MatMul (x, w) y = Concat <axis = 1> (h, h) }";
    assert!(matches!(refused(text, "y:1: 1"), Tie::Frozen(f) if f.reason == Reason::GraphOutput));
    let text = "g (float[n,3] x) => (float[n,2] y)
        <float[3,4] w = [\"location\": \"random:1\"], float[8,2] v = [\"location\": \"random:2\"]>
        { h = MatMul (x, w) c = Concat <axis = 1> (h, h) y = MatMul (c, v) }";
    assert!(matches!(refused(text, "c:1: 1"), Tie::With { index: 5, .. }));
}

#[test]
fn a_class_whose_row_of_a_tied_embedding_may_be_looked_up_stays() {
    let text = fixture(&fixtures("passes/give_up").pop().expect("there are fixtures").1).text;
    assert!(matches!(refused(&text, "y:2: 1"), Tie::Frozen(f) if f.reason == Reason::Lookup));
}
