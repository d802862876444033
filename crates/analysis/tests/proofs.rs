//! Proofs: the path of nodes and rules that ties two slots.

use sparsec_analysis::{Channels, channels, infer, path};
use sparsec_ir::Model;
use sparsec_testkit::{fixture, workspace};

fn load(name: &str) -> (Model, Channels) {
    let model = fixture(&workspace().join(format!("testdata/analysis/{name}.onnxtxt"))).model();
    let table = sparsec_ops::table();
    let facts = infer(&model, &table).facts;
    let solved = channels(&model, &facts, &table);
    (model, solved)
}

fn slot(model: &Model, channels: &Channels, value: &str, axis: usize, index: u32) -> u32 {
    let value = model.graph.find(value).expect("the value exists");
    channels.axes.slot(channels.axes.find(value, axis).expect("the axis is static"), index)
}

/// Steps as `node rule`, from one slot to another.
fn proof(name: &str, from: (&str, usize, u32), to: (&str, usize, u32)) -> Option<Vec<String>> {
    let (model, channels) = load(name);
    let goal = slot(&model, &channels, to.0, to.1, to.2);
    let steps = path(&channels, slot(&model, &channels, from.0, from.1, from.2), |s| s == goal, |_| true)?;
    let mut at = slot(&model, &channels, from.0, from.1, from.2);
    for step in &steps {
        assert_eq!(step.from, at, "a chain has no gaps");
        at = step.to;
    }
    assert_eq!(at, goal);
    let label = |n: Option<_>| n.map_or("-".to_string(), |n| model.graph.label(n));
    Some(steps.iter().map(|s| format!("{}: {}", label(s.node), s.rule)).collect())
}

#[test]
fn a_residual_sum_is_part_of_the_proof_that_ties_its_branches() {
    let steps = proof("residual", ("w0", 0, 2), ("w2", 0, 2)).expect("they are tied");
    assert!(steps.iter().any(|s| s.starts_with("Add")), "{steps:?}");
}

#[test]
fn channels_of_different_number_are_not_tied() {
    assert_eq!(proof("residual", ("w0", 0, 2), ("w2", 0, 3)), None);
    assert_eq!(proof("concat", ("w1", 1, 0), ("w2", 1, 0)), None);
}

#[test]
fn a_proof_walks_through_products() {
    // Row 13 of the fused matrix is (1, 1, 1): keys, second head, second dimension.
    let steps = proof("heads_fused_qkv", ("wqkv", 1, 13), ("wo", 0, 5)).expect("they share head and dimension");
    assert!(steps.iter().any(|s| s.starts_with("Reshape")), "{steps:?}");
}
