//! Models cut out of models, and samples in batches.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "common/wave.rs"]
mod wave;

use sparsec_ir::{Dim, ElemType, Fact, Facts, Model, Tensor, ValueId};
use sparsec_runtime::{RuntimeError, batches, default_runtime, extract, run_batches, run_each, tap};
use sparsec_testkit::model;
use wave::wave;

fn run(model: &Model, inputs: &[Tensor]) -> Vec<Tensor> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    default_runtime().unwrap().load(model, &shapes, 1).unwrap().run(inputs).unwrap()
}

fn chain() -> Model {
    model(
        "g (float[n,4] x) => (float[n,2] y)
         <float[4,3] w1 = [\"location\": \"random:1\"], float[3,2] w2 = [\"location\": \"random:2\"]>
         { [a] h = MatMul (x, w1) [b] r = Relu (h) [c] s = Neg (r) [d] y = MatMul (s, w2) }",
    )
}

fn id(m: &Model, name: &str) -> ValueId {
    m.graph.find(name).unwrap()
}

/// Facts that know the rank-2 floats of `chain`.
fn facts(m: &Model, widths: &[(&str, i64)]) -> Facts {
    let mut facts = Facts::default();
    for (name, width) in widths {
        facts.set(id(m, name), Fact::new(ElemType::F32, vec![Dim::sym("n"), Dim::from(*width)]));
    }
    facts
}

#[test]
fn tapping_gives_inner_values_and_drops_what_they_do_not_need() {
    let m = chain();
    let tapped = tap(&m, &facts(&m, &[("r", 3), ("h", 3)]), &[id(&m, "r"), id(&m, "h"), id(&m, "r")]);
    assert_eq!(tapped.graph.nodes().count(), 2);
    assert!(tapped.graph.find("w2").is_none() && tapped.graph.find("y").is_none());
    assert_eq!(tapped.graph.value(id(&tapped, "r")).ty.as_ref().unwrap().to_string(), "float[n,3]");
    let x = wave(&[2, 4], 7, 3, 4.0);
    let got = run(&tapped, &[x]);
    let relu: Vec<f32> = got[1].to_f32().unwrap().iter().map(|v| v.max(0.0)).collect();
    assert_eq!((got.len(), got[0].to_f32().unwrap()), (2, relu));
}

#[test]
fn a_segment_computes_what_the_whole_does() {
    let m = chain();
    let known = facts(&m, &[("h", 3), ("s", 3), ("y", 2)]);
    let x = wave(&[2, 4], 7, 3, 4.0);
    let inner = run(&tap(&m, &known, &[id(&m, "h"), id(&m, "s")]), std::slice::from_ref(&x));
    let middle = extract(&m, &known, &[id(&m, "h")], &[id(&m, "s")]).unwrap();
    assert_eq!((middle.graph.nodes().count(), middle.graph.values().count()), (2, 3));
    assert_eq!(run(&middle, &inner[..1])[0].data, inner[1].data);
    let tail = extract(&m, &known, &[id(&m, "s")], &[id(&m, "y")]).unwrap();
    assert!(tail.graph.find("w1").is_none());
    let shared =
        std::sync::Arc::ptr_eq(tail.graph.constant(id(&tail, "w2")).unwrap(), m.graph.constant(id(&m, "w2")).unwrap());
    assert!(shared);
    assert_eq!(run(&tail, &inner[1..])[0], run(&m, &[x])[0]);
}

#[test]
fn a_segment_takes_its_inputs_in_the_given_order_even_unused_and_constant_ones() {
    let m = chain();
    let known = facts(&m, &[("h", 3), ("s", 3), ("w2", 2)]);
    let cut = extract(&m, &known, &[id(&m, "w2"), id(&m, "h"), id(&m, "s")], &[id(&m, "y")]).unwrap();
    let names: Vec<&str> = cut.graph.inputs().map(|v| cut.graph.value(v).name.as_str()).collect();
    assert_eq!(names, ["w2", "h", "s"]);
    assert_eq!(cut.graph.nodes().count(), 1);
}

#[test]
fn a_segment_that_needs_more_than_its_inputs_is_refused() {
    let m = chain();
    let result = extract(&m, &facts(&m, &[("s", 3)]), &[id(&m, "s")], &[id(&m, "r")]);
    match result {
        Err(RuntimeError::Open { output, on }) => assert_eq!((output.as_str(), on.as_str()), ("r", "x")),
        other => panic!("{other:?}"),
    }
    let untyped = extract(&m, &Facts::default(), &[id(&m, "s")], &[id(&m, "y")]);
    assert!(matches!(untyped, Err(RuntimeError::Untyped { name }) if name == "s"));
}

#[test]
fn a_segment_brings_along_what_subgraphs_capture() {
    let m = model(
        "g (float[2] x, bool c) => (float[2] y)
         <float[2] k = {10.0, 20.0}>
         { h = Neg (x)
           y = If (c) <then_branch = a () => (float[2] t) { t = Add (h, k) },
                       else_branch = b () => (float[2] e) { e = Neg (h) }> }",
    );
    let cut = extract(&m, &Facts::default(), &[id(&m, "x"), id(&m, "c")], &[id(&m, "y")]).unwrap();
    let yes = Tensor::raw(ElemType::Bool, vec![], vec![1].into()).unwrap();
    assert_eq!(run(&cut, &[Tensor::f32(&[2], &[1., 2.]), yes])[0].to_f32().unwrap(), [9., 18.]);
}

#[test]
fn batches_and_threads_do_not_change_results() {
    let runtime = default_runtime().unwrap();
    let m = chain();
    let x = wave(&[7, 4], 11, 5, 4.0);
    let whole = run(&m, std::slice::from_ref(&x));
    for batch in [1, 2, 3, 7, 100] {
        let alone = run_batches(runtime.as_ref(), &m, std::slice::from_ref(&x), batch, 1).unwrap();
        let together = run_batches(runtime.as_ref(), &m, std::slice::from_ref(&x), batch, 3).unwrap();
        assert_eq!(alone, together);
        assert_eq!(alone[0].dims, whole[0].dims);
        let close = |(a, b): (&f32, &f32)| (a - b).abs() < 1e-5;
        assert!(alone[0].to_f32().unwrap().iter().zip(&whole[0].to_f32().unwrap()).all(close));
    }
}

#[test]
fn outputs_with_samples_along_another_axis_come_batch_by_batch() {
    let runtime = default_runtime().unwrap();
    let m = model("g (float[n,3] x) => (float[3,n] y) { y = Transpose <perm = [1, 0]> (x) }");
    let x = wave(&[5, 3], 100, 0, 1.0);
    let fed = batches(&m, std::slice::from_ref(&x), 2).unwrap();
    let alone = run_each(runtime.as_ref(), &m, &fed, 1).unwrap();
    let shapes: Vec<&[u64]> = alone.iter().map(|o| o[0].dims.as_slice()).collect();
    assert_eq!(shapes, [[3, 2], [3, 2], [3, 1]]);
    assert_eq!(alone[1][0].to_f32().unwrap(), [6., 9., 7., 10., 8., 11.]);
    assert_eq!(run_each(runtime.as_ref(), &m, &fed, 3).unwrap(), alone);
    assert!(run_batches(runtime.as_ref(), &m, &[x], 2, 1).is_err());
}

#[test]
fn a_batch_fixed_at_export_is_kept_and_the_last_one_filled() {
    let runtime = default_runtime().unwrap();
    let m = model(
        "g (float[2,4] x) => (float[4,2] y)
         <int64[2] s = {4, 2}> { h = Neg (x) y = Reshape (h, s) }",
    );
    let x = wave(&[5, 4], 100, 0, 1.0);
    let y = run_batches(runtime.as_ref(), &m, &[x], 64, 2).unwrap();
    assert_eq!(y[0].dims, [10, 2]);
    assert_eq!(y[0].to_f32().unwrap(), (0..20).map(|i| -(i as f32)).collect::<Vec<_>>());
}

#[test]
fn inputs_that_are_no_samples_are_refused() {
    let runtime = default_runtime().unwrap();
    let m = model("g (float[n] x, float[k] z) => (float[n] y) { y = Neg (x) }");
    let refused = |inputs: &[Tensor]| run_batches(runtime.as_ref(), &m, inputs, 2, 1).unwrap_err().to_string();
    let (two, three) = (Tensor::f32(&[2], &[1., 2.]), Tensor::f32(&[3], &[1., 2., 3.]));
    assert!(refused(&[two.clone(), three]).ends_with("their first sizes differ"));
    assert!(refused(&[]).ends_with("there are none"));
    assert!(refused(&[Tensor::f32(&[0], &[]), two]).ends_with("there are no samples"));
    let mixed = model("g (float[n,2] x) => (float y) { y = ReduceSum <keepdims = 0> (x) }");
    let e = run_batches(runtime.as_ref(), &mixed, &[wave(&[3, 2], 7, 3, 4.0)], 2, 1).unwrap_err();
    assert!(matches!(e, RuntimeError::Batch { .. }), "{e}");
}
