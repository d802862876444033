//! The built-in runtime.
#![cfg(feature = "tract")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{halving, recurrence, wave};
use sparsec_ir::{ElemType, Model, Tensor};
use sparsec_runtime::time::{BenchOptions, interleaved};
use sparsec_runtime::{Runtime, RuntimeError, default_runtime};
use sparsec_testkit::model;

fn tract() -> Box<dyn Runtime> {
    default_runtime().unwrap()
}

fn run(model: &Model, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    tract().load(model, &shapes, 1)?.run(inputs)
}

/// The operator, node and reason of an `Unsupported`.
#[track_caller]
fn refusal(model: &Model, inputs: &[Tensor]) -> (String, String, String) {
    match run(model, inputs) {
        Err(e @ RuntimeError::Unsupported { .. }) => {
            assert!(e.to_string().contains("help: run with --runtime ort=PATH"), "{e}");
            let RuntimeError::Unsupported { operator, node, why, .. } = e else { unreachable!() };
            (operator, node, why)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn tract_gives_the_expected_results() {
    assert_eq!(tract().name(), "tract 0.23.9");
    common::check_all(tract().as_ref(), 2e-6);
}

#[test]
fn bfloat16_is_computed_in_single_precision_and_given_back_as_it_is() {
    let x = Tensor::from_f64(ElemType::BF16, &[2, 2], &[1.0, -2.0, 0.25, 3.0]).unwrap();
    assert_eq!(run(&halving("bfloat16", ElemType::BF16), std::slice::from_ref(&x)).unwrap(), [x]);
}

#[test]
fn a_lacking_operator_is_named_with_its_node() {
    let m = model("g (float[2] x) => (float[2] y) { h = Relu (x) [u1] y = Quux (h) }");
    let (operator, node, _) = refusal(&m, &[Tensor::f32(&[2], &[1., 2.])]);
    assert_eq!((operator.as_str(), node.as_str()), ("Quux", "u1"));
}

#[test]
fn a_node_that_fails_while_loading_is_named() {
    let m = model(
        "g (float[2,3] x) => (float[2,3] y)
         <float[4,5] w = [\"location\": \"random:1\"]> { [mm] y = MatMul (x, w) }",
    );
    let (operator, node, why) = refusal(&m, &[wave(&[2, 3], 7, 3, 4.0)]);
    assert_eq!((operator.as_str(), node.as_str()), ("MatMul", "mm"));
    assert!(!why.contains('@'), "{why}");
}

#[test]
fn operators_that_only_share_a_name_are_refused() {
    let m = model(
        "<ir_version: 10, opset_import: [\"\" : 18, \"com.acme\" : 1]>
         g (float[2] x) => (float[2] y) { y = com.acme.Relu (x) }",
    );
    assert_eq!(refusal(&m, &[Tensor::f32(&[2], &[1., 2.])]).0, "com.acme.Relu");
}

#[test]
fn recurrences_with_other_cells_are_refused() {
    let mut m = recurrence("RNN", 1, "forward");
    let node = m.graph.nodes().next().unwrap().0;
    let relu = sparsec_ir::Attr::Strings(vec!["Relu".into()]);
    m.graph.set_attr(node, "activations", relu);
    assert!(refusal(&m, &[wave(&[3, 1, 2], 7, 3, 4.0)]).2.contains("activations"));
}

#[test]
fn calls_of_local_functions_are_refused() {
    let m = model(
        "<ir_version: 10, opset_import: [\"\" : 18, \"local\" : 1]>
         g (float[2] x) => (float[2] y) { [call] y = local.f (x) }
         <domain: \"local\", opset_import: [\"\" : 18]>
         f (a) => (b) { b = Relu (a) }",
    );
    match run(&m, &[Tensor::f32(&[2], &[1., 2.])]) {
        Err(RuntimeError::LocalFunction { operator, node }) => {
            assert_eq!((operator.as_str(), node.as_str()), ("local.f", "call"));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn space_to_depth_in_column_row_order_is_rewritten() {
    let m = model(
        "<ir_version: 10, opset_import: [\"\" : 18]>
         g (float[n,2,2,4] x) => (float[n,8,1,2] y) { y = SpaceToDepth <blocksize = 2, mode = \"CRD\"> (x) }",
    );
    let x: Vec<f32> = (0..16).map(|i| i as f32).collect();
    let y = run(&m, &[Tensor::f32(&[1, 2, 2, 4], &x)]).unwrap();
    // Channel c·4 + 2·row + column.
    let expected = [0., 2., 1., 3., 4., 6., 5., 7., 8., 10., 9., 11., 12., 14., 13., 15.];
    assert_eq!(y[0].dims, [1, 8, 1, 2]);
    assert_eq!(y[0].to_f32().unwrap(), expected);
}

#[test]
fn inputs_of_another_type_shape_or_number_are_refused() {
    let m = model("g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }");
    let session = tract().load(&m, &[vec![1, 2]], 1).unwrap();
    let message = |t: &[Tensor]| session.run(t).unwrap_err().to_string();
    assert_eq!(message(&[Tensor::f32(&[2, 1], &[0., 0.])]), "input `x` must be float[1,2], but is float[2,1]");
    assert_eq!(message(&[Tensor::i64(&[1, 2], &[0, 0])]), "input `x` must be float[1,2], but is int64[1,2]");
    assert_eq!(message(&[]), "the graph has 1 inputs, but 0 were given");
    assert!(matches!(tract().load(&m, &[], 1), Err(RuntimeError::InputCount { .. })));
}

#[test]
fn a_batch_fixed_at_export_gives_way_to_the_shape_asked_for() {
    let m = model("g (float[1,2] x) => (float[1,2] y) { h = Relu (x) y = Neg (h) }");
    let y = run(&m, &[Tensor::f32(&[3, 2], &[1., -1., 2., -2., 3., -3.])]).unwrap();
    assert_eq!(y[0].to_f32().unwrap(), [-1., 0., -2., 0., -3., 0.]);
}

#[test]
fn element_types_that_tract_lacks_are_refused() {
    let nibbles = Tensor::raw(ElemType::U4, vec![2], vec![0x21].into()).unwrap();
    let m = model("g (uint4[2] x) => (uint4[2] y) { y = Identity (x) }");
    assert!(matches!(run(&m, &[nibbles]), Err(RuntimeError::ElemType { name, .. }) if name == "x"));
}

#[test]
fn values_that_are_not_numbers_come_back_as_they_are() {
    let m = model("g (float[3] x) => (float[3] y) { y = Neg (x) }");
    let y = run(&m, &[Tensor::f32(&[3], &[f32::NAN, f32::INFINITY, 1.])]).unwrap()[0].to_f32().unwrap();
    assert!(y[0].is_nan() && y[1] == f32::NEG_INFINITY && y[2] == -1.);
}

#[test]
fn timing_visits_every_session_equally_often() {
    let m = model("g (float[3] x) => (float[3] y) { y = Neg (x) }");
    let session = tract().load(&m, &[vec![3]], 1).unwrap();
    let inputs = [Tensor::f32(&[3], &[1., 2., 3.])];
    let options = BenchOptions { warmup: 1, repeats: 5, min_seconds: 0.0, max_seconds: 60.0 };
    let pair: (&dyn sparsec_runtime::Session, &[Tensor]) = (session.as_ref(), &inputs);
    let times = interleaved(&[pair, pair], options, &|| false).unwrap();
    assert_eq!(times.iter().map(|t| t.runs).collect::<Vec<_>>(), [5, 5]);
    assert!(times.iter().all(|t| t.min_ms <= t.p50_ms && t.p50_ms <= t.p99_ms));
    assert_eq!(interleaved(&[], options, &|| false).unwrap(), []);
}

#[test]
fn sums_over_a_stretched_axis_keep_all_their_terms() {
    for stretch in ["Tile (r, times)", "Expand (r, shape)"] {
        let m = model(&format!(
            "<ir_version: 10, opset_import: [\"\" : 18]> g (float[n,1] x) => (float[n,1] y)
             <int64[2] times = {{1, 3}}, int64[2] shape = {{1, 3}}, float[3,1] w = {{1.0, 2.0, 4.0}}>
             {{ r = Relu (x) t = {stretch} y = MatMul (t, w) }}"
        ));
        let y = run(&m, &[Tensor::f32(&[2, 1], &[1., 3.])]).unwrap();
        assert_eq!(y[0].to_f32().unwrap(), [7., 21.], "{stretch}");
    }
}

#[test]
fn a_gru_over_one_feature_runs_at_any_length() {
    // Four steps and more are run by another kernel of tract's than three.
    let m = model(
        "<ir_version: 10, opset_import: [\"\" : 18]> g (float[t,2,1] x) => (float[t,1,2,2] y)
         <float[1,6,1] w = {0.5, -1.0, 0.25, 2.0, 1.5, -0.75},
          float[1,6,2] r = {0.5, 1.0, -1.0, 0.25, 0.75, 0.5, -0.5, 1.0, 0.25, -0.25, 1.0, -1.0}>
         { y = GRU <hidden_size = 2, linear_before_reset = 1> (x, w, r) }",
    );
    let x = [0.5, -1.0, 0.25, 1.0, -0.5, 2.0, 1.0, 0.0];
    let short = run(&m, &[Tensor::f32(&[3, 2, 1], &x[..6])]).unwrap()[0].to_f32().unwrap();
    let long = run(&m, &[Tensor::f32(&[4, 2, 1], &x)]).unwrap()[0].to_f32().unwrap();
    assert!(short.iter().zip(&long).all(|(a, b)| (a - b).abs() < 1e-6), "{short:?} {long:?}");
    assert!(short.iter().any(|v| v.abs() > 0.1));
}

#[test]
fn rewrites_that_undo_each_other_come_to_an_end() {
    // tract moves the axes of the last state to and fro for ever, where another reader of `f` lies behind the recurrence.
    let with = |outputs: &str| {
        let text = format!(
            "g (float[n,6,6] x, float[n,1,1] s) => ({outputs})
             <int64[2] flat = {{0, 36}}, float[36,1] u = [\"location\": \"random:1\"], float[1,3] a = {{1.0, 2.0, 3.0}},
              float[1,12,1] w = [\"location\": \"random:2\"], float[1,12,3] r = [\"location\": \"random:3\"],
              float[1,9] p = [\"location\": \"random:4\"], int64[1] zero = {{0}}, int64[1] one = {{1}},
              float[39,1] b = [\"location\": \"random:5\"], float[3,1] c = {{1.0, 2.0, 3.0}}>
             {{ f = Reshape (x, flat) g = MatMul (f, u) h = MatMul (g, a) k = Unsqueeze (h, zero) t = Transpose (s)
               all, last, state = LSTM (t, w, r, \"\", \"\", k, \"\", p) m = Squeeze (all, one)
               o = Transpose <perm = [1, 0, 2]> (m) y = Einsum <equation = \"ntd,de->nte\"> (o, c)
               q = Squeeze (state, zero) v = Concat <axis = 1> (q, f) z = MatMul (v, b) }}"
        );
        run(&model(&text), &[wave(&[1, 6, 6], 7, 3, 4.0), wave(&[1, 1, 1], 5, 1, 4.0)]).unwrap()
    };
    let (y, z) = ("float[n,1,1] y", "float[n,1] z");
    for (both, alone) in with(&format!("{y}, {z}")).iter().zip([with(y), with(z)]) {
        let (both, alone) = (both.to_f32().unwrap()[0], alone[0].to_f32().unwrap()[0]);
        assert!((both - alone).abs() < 1e-5, "{both} {alone}");
    }
}

#[test]
fn a_sum_of_what_was_a_product_of_doubles_is_one_of_singles() {
    // From 16 rows on, another kernel of tract's is at work.
    let m = model(
        "g (float[n,2] x, float[n,3] r) => (float[n,3] y) <double[2,3] w = {1.0, -2.0, 3.0, 0.5, 0.25, 1.0}>
         { h = Cast <to = 11> (x) z = MatMul (h, w) c = Cast <to = 1> (z) y = Add (c, r) }",
    );
    let y = run(&m, &[Tensor::f32(&[16, 2], &[1.0; 32]), Tensor::f32(&[16, 3], &[10.0; 48])]).unwrap();
    assert_eq!(y[0].to_f32().unwrap(), [11.5, 8.25, 14.0].repeat(16));
}
