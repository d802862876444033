//! Which weights are re-solved, and with how much memory.

#[path = "common/recovered.rs"]
mod recovered;

use recovered::recovered;
use sparsec_ir::Model;
use sparsec_passes::Manager;
use sparsec_passes::canonicalise::Evaluator;
use sparsec_passes::recover::{RecoverOptions, Skipped};
use sparsec_testkit::{full, model, random_inputs};
use std::sync::Arc;

/// No ridge, so that what can be made up for is.
const EXACT: RecoverOptions = RecoverOptions { ridge: 0.0, work: 6e9, batch: 8, memory: 1 << 30 };

#[test]
fn weights_on_the_left_factors_and_inner_maps_are_solved() {
    let random = |seed: u32| format!("[\"location\": \"random:{seed}\"]");
    // The last two units are sums of the first two, whatever reads them.
    let w = "float[4,3] w = {1.0, 0.5, -1.0, 0.25, 2.0, 1.0, 1.25, 2.5, 0.0, -0.75, 1.5, 2.0}";
    let cases = [
        format!(
            "g (float[n,3,5] x) => (y) <{w}, float[2,4] v = {}> {{ h = MatMul (w, x) y = MatMul (v, h) }}",
            random(1)
        ),
        format!(
            "g (float[n,3] x) => (y) <{w}, float[4,2] v = {}, float[2] c = {}>
            {{ h = Gemm <transB = 1> (x, w) y = Gemm <alpha = 0.5, beta = 3.0> (h, v, c) }}",
            random(1),
            random(2)
        ),
        format!(
            "g (float[n,4,3] x) => (y) <{w}, float[1,6,4] v = {}, float[1,6,2] r = {}, float[1,12] c = {}>
            {{ a = Transpose <perm = [1, 0, 2]> (x) t = Transpose <perm = [1, 0]> (w) h = MatMul (a, t)
              z = GRU <hidden_size = 2> (h, v, r, c) y = Transpose <perm = [2, 0, 1, 3]> (z) }}",
            random(1),
            random(2),
            random(3)
        ),
    ];
    for text in cases {
        let mut dense = model(&text);
        let table = sparsec_ops::table();
        let mut manager = Manager::new(&table);
        let mut cx = manager.context();
        cx.put(Evaluator(Arc::from(sparsec_runtime::default_runtime().expect("tests are built with tract"))));
        let _ = manager.run(&mut dense, sparsec_passes::CANONICALISE, &mut cx).expect("a sound model");
        let (cut, done) = recovered(&dense, EXACT);
        let errors: Vec<_> = done.iter().map(|r| r.outcome.as_ref().map_or(1.0, |o| o.1)).collect();
        assert!(errors.len() == 1 && errors[0] < 1e-6, "{done:?}\n{}", full(&cut));
        let inputs = random_inputs(&dense, 2, 3);
        let run = |m: &Model| {
            let runtime = sparsec_runtime::default_runtime().expect("tests are built with tract");
            let session = runtime.load(m, &[inputs[0].dims.clone()], 1).expect("the model loads");
            session.run(&inputs).expect("the model runs")[0].to_f32().expect("numbers")
        };
        let far = run(&dense).iter().zip(&run(&cut)).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 1e-3, "{far}\n{}", full(&cut));
    }
}

#[test]
fn a_form_that_is_not_solved_is_said() {
    let dense = model(
        "g (float[n,3] x) => (y) <float[3,4] w = [\"location\": \"random:1\"], float[4,2] v = [\"location\": \"random:2\"]>
        { h = MatMul (x, w) y = Einsum <equation = \"ni,ij->nj\"> (h, v) }",
    );
    let (_, done) = recovered(&dense, EXACT);
    let outcomes: Vec<_> = done.iter().map(|r| r.outcome.clone()).collect();
    assert_eq!(outcomes, [Err(Skipped::NotLinear)]);
}

#[test]
fn no_weight_is_made_of_inputs_that_do_not_vary() {
    let dense = model(
        "g (float[n,3] x) => (float[n,2] y)
        <float[3,4] w = [\"location\": \"random:1\"], float zero = {0.0}, float[4] k = {3.0, 1.0, 2.0, 5.0},
         float[4,2] v = [\"location\": \"random:2\"], float[2] b = {0.5, -1.0}>
        { h = MatMul (x, w) z = Mul (h, zero) c = Add (z, k) p = MatMul (c, v) y = Add (p, b) }",
    );
    let (cut, done) = recovered(&dense, RecoverOptions { ridge: 1e-3, ..EXACT });
    assert!(done.iter().all(|r| r.outcome.is_ok()) && done.len() == 1, "{done:?}");
    let weights = |m: &Model| m.graph.constant(m.graph.find("v").expect("it stays")).expect("constant").to_f64();
    let (was, is) = (weights(&dense).expect("numbers"), weights(&cut).expect("numbers"));
    assert!(was.iter().zip(&is).all(|(a, b)| (a - b).abs() < 0.1), "{was:?} {is:?}");
}

#[test]
fn what_is_computed_again_for_want_of_memory_gives_the_same_weights() {
    let dense = model(
        "g (float[n,3] x) => (y)
        <float[3,4] u = [\"location\": \"random:1\"], float[4,4] v = [\"location\": \"random:2\"],
         float[4] c = [\"location\": \"random:3\"], float[4,4] w = [\"location\": \"random:4\"], float[4,2] z = [\"location\": \"random:5\"]>
        { a = MatMul (x, u) b = Sigmoid (a) d = Gemm (b, v, c) k = MatMul (b, w) e = Add (d, k) f = Sigmoid (e)
          y = MatMul (f, z) }",
    );
    let with = |memory: u64| recovered(&dense, RecoverOptions { memory, ..EXACT });
    let ((plenty, done), (little, again)) = (with(1 << 30), with(3 << 10));
    assert!(done.len() >= 3 && done.iter().any(|r| r.outcome.is_ok()), "{done:?}");
    assert_eq!(done, again);
    assert_eq!(full(&plenty), full(&little));
    let (_, none) = with(256);
    assert!(none.iter().all(|r| matches!(r.outcome, Err(Skipped::TooLarge { .. }))), "{none:?}");
}

/// A hidden layer that is cut to two of four units, and one behind it whose result is read through `read`.
fn hidden(read: &str) -> Model {
    model(&format!(
        "g (float[n,3] x) => (y)
        <float[3,4] u = [\"location\": \"random:1\"], float[4,6] v = [\"location\": \"random:2\"],
         float[6] b = [\"location\": \"random:3\"], float[6,2] w = [\"location\": \"random:4\"], float half = {{0.5}}>
        {{ a = MatMul (x, u) h = Relu (a) p = MatMul (h, v) t = Add (p, b) {read} y = MatMul (z, w) }}"
    ))
}

/// Mean square of what `value` of the cut model lacks of the dense one's, on inputs that recovery has not seen.
fn far(dense: &Model, cut: &Model, value: &str) -> f64 {
    let inputs = random_inputs(dense, 9, 512);
    let run = |m: &Model| {
        let facts = sparsec_analysis::infer(m, &sparsec_ops::table()).facts;
        let (inner, inputs_of) = (m.graph.find(value).expect("it stays"), m.graph.inputs().collect::<Vec<_>>());
        let part = sparsec_runtime::extract(m, &facts, &inputs_of, &[inner]).expect("a segment");
        let runtime = sparsec_runtime::default_runtime().expect("tests are built with tract");
        let session = runtime.load(&part, &[inputs[0].dims.clone()], 1).expect("the model loads");
        session.run(&inputs).expect("the model runs")[0].to_f32().expect("numbers")
    };
    let (a, b) = (run(dense), run(cut));
    a.iter().zip(&b).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>() / a.len() as f64
}

#[test]
fn errors_that_an_activation_hides_are_let_be() {
    // A maximum of itself reads as the number itself does, and hides nothing.
    let plain = recovered(&hidden("z = Max (t, t)"), EXACT).0;
    for (read, least) in [
        ("z = Relu (t)", 0.95),
        ("s = HardSigmoid <alpha = 0.16666667, beta = 0.5> (t) z = Mul (t, s)", 0.995),
        ("k = Mul (t, half) z = Relu (k)", 0.95),
    ] {
        let dense = hidden(read);
        let cut = recovered(&dense, EXACT).0;
        // The same weights as least squares to the result itself would give, read in the same way.
        let mut blind = cut.clone();
        for name in ["v", "b"] {
            let tensor = plain.graph.constant(plain.graph.find(name).expect("it stays")).expect("constant");
            let own = blind.graph.find(name).expect("it stays");
            blind.graph.set_constant(own, tensor.as_ref().clone());
        }
        let (aimed, blind) = (far(&dense, &cut, "z"), far(&dense, &blind, "z"));
        assert!(aimed < least * blind && aimed > 0.0, "{read}: {aimed} {blind}");
    }
}

#[test]
fn what_mixes_numbers_is_no_function_of_one() {
    let weights = |m: &Model| m.graph.constant(m.graph.find("v").expect("it stays")).expect("constant").to_f32();
    let plain = recovered(&hidden("z = Max (t, t)"), EXACT).0;
    for read in ["z = Softmax (t)", "z = Sigmoid (t)", "q = Relu (t) z = Add (q, t)"] {
        let cut = recovered(&hidden(read), EXACT).0;
        let (a, b) = (weights(&plain).expect("numbers"), weights(&cut).expect("numbers"));
        assert_eq!(a, b, "{read}");
    }
}
