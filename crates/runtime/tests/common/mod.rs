//! One suite of small models with known results, run on every runtime with that runtime's tolerance.
//!
//! Expected numbers were computed with ONNX Runtime 1.32 and agree with ONNX's definition of each operator.

mod wave;

use sparsec_ir::{ElemType, Model, Tensor};
use sparsec_runtime::Runtime;
use sparsec_testkit::model;
pub(crate) use wave::wave;

/// A model, what it is fed and what it must give.
struct Case {
    name: &'static str,
    model: Model,
    inputs: Vec<Tensor>,
    outputs: Vec<Tensor>,
    /// Tolerance of a whole result where its type is coarser than single precision.
    coarse: f64,
}

/// Runs every case on `runtime`; `tolerance` bounds |got − expected| / (1 + |expected|).
pub(crate) fn check_all(runtime: &dyn Runtime, tolerance: f64) {
    for case in cases() {
        let shapes: Vec<Vec<u64>> = case.inputs.iter().map(|t| t.dims.clone()).collect();
        let session = runtime.load(&case.model, &shapes, 1).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        // Twice: a session must not remember.
        for _ in 0..2 {
            let got = session.run(&case.inputs).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            assert_eq!(got.len(), case.outputs.len(), "{}", case.name);
            for (got, expected) in got.iter().zip(&case.outputs) {
                check(case.name, got, expected, tolerance.max(case.coarse));
            }
        }
    }
}

fn check(name: &str, got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!((got.elem, &got.dims), (expected.elem, &expected.dims), "{name}");
    if !got.elem.is_float() {
        assert_eq!(got.data, expected.data, "{name}");
        return;
    }
    let (got, expected) = (got.to_f64().unwrap(), expected.to_f64().unwrap());
    let worst = got.iter().zip(&expected).map(|(g, e)| (g - e).abs() / (1.0 + e.abs())).fold(0.0, f64::max);
    assert!(worst <= tolerance, "{name}: off by {worst:e}\n got {got:?}\n not {expected:?}");
}

fn case(name: &'static str, model: Model, inputs: &[Tensor], outputs: &[Tensor]) -> Case {
    Case { name, model, inputs: inputs.to_vec(), outputs: outputs.to_vec(), coarse: 0.0 }
}

fn literal(t: &Tensor) -> String {
    let values: Vec<String> = t.to_f32().unwrap().iter().map(|v| format!("{v:?}")).collect();
    format!("{{{}}}", values.join(", "))
}

/// A recurrence over three steps with two inputs and two units; `gates` rows of weights for each unit.
pub(crate) fn recurrence(op: &str, gates: u64, direction: &str) -> Model {
    let n = if direction == "bidirectional" { 2 } else { 1 };
    let rows = gates * 2;
    let w = wave(&[n, rows, 2], 5, 2, 4.0);
    let r = wave(&[n, rows, 2], 3, 1, 2.0);
    let b = wave(&[n, 2 * rows], 4, 1, 8.0);
    let extra = if op == "GRU" { ", linear_before_reset = 1" } else { "" };
    let shape = |t: &Tensor| t.dims.iter().map(u64::to_string).collect::<Vec<_>>().join(",");
    model(&format!(
        "g (float[s,1,2] x) => (float[s,{n},1,2] y, float[{n},1,2] h)
         <float[{}] w = {}, float[{}] r = {}, float[{}] b = {}>
         {{ y, h = {op} <hidden_size = 2, direction = \"{direction}\"{extra}> (x, w, r, b) }}",
        shape(&w),
        literal(&w),
        shape(&r),
        literal(&r),
        shape(&b),
        literal(&b),
    ))
}

fn recurrences(out: &mut Vec<Case>) {
    let x = wave(&[3, 1, 2], 7, 3, 4.0);
    let mut add = |name, op, gates, direction: &str, y: &[f32], h: &[f32]| {
        let n = h.len() as u64 / 2;
        let outputs = [Tensor::f32(&[3, n, 1, 2], y), Tensor::f32(&[n, 1, 2], h)];
        out.push(case(name, recurrence(op, gates, direction), std::slice::from_ref(&x), &outputs));
    };
    let y = [0.037076, 0.110745, 0.072844, 0.155843, 0.102472, 0.164833];
    add("lstm forward", "LSTM", 4, "forward", &y, &[0.102472, 0.164833]);
    let y = [0.052769, 0.204098, 0.083083, 0.166787, 0.071434, 0.114299];
    add("lstm reverse", "LSTM", 4, "reverse", &y, &[0.052769, 0.204098]);
    let y = [
        0.037076, 0.110745, 0.019772, 0.259453, 0.072844, 0.155843, 0.112433, 0.19406, 0.102472, 0.164833, 0.106067,
        0.091518,
    ];
    add("lstm both ways", "LSTM", 4, "bidirectional", &y, &[0.102472, 0.164833, 0.019772, 0.259453]);
    let y = [-0.163294, 0.318852, 0.027324, 0.075843, 0.135624, -0.045961];
    add("gru reverse", "GRU", 3, "reverse", &y, &[-0.163294, 0.318852]);
    let y = [
        -0.175624, 0.268597, 0.152791, 0.08984, -0.200815, 0.304242, -0.076802, 0.152952, -0.02722, 0.151946,
        -0.142738, 0.12978,
    ];
    add("gru both ways", "GRU", 3, "bidirectional", &y, &[-0.02722, 0.151946, 0.152791, 0.08984]);
    let y = [0.361609, 0.265541, 0.242529, -0.051592, -0.244919, 0.358357];
    add("rnn reverse", "RNN", 1, "reverse", &y, &[0.361609, 0.265541]);
}

/// Halves and doubles, with a constant, a cast and types of `elem`, which is called `name`.
pub(crate) fn halving(name: &str, elem: ElemType) -> Model {
    let half = Tensor::from_f64(elem, &[1], &[0.5]).unwrap();
    let bits = half.bytes().unwrap().iter().rev().fold(0, |bits, b| bits * 256 + u32::from(*b));
    model(&format!(
        "g ({name}[n,2] x) => ({name}[n,2] y)
         {{ c = Constant <value = {name}[1] {{{bits}}}> () z = Cast <to = {}> (c) h = Mul (x, z) y = Add (h, h) }}",
        elem.code(),
    ))
}

fn cases() -> Vec<Case> {
    let mut out = Vec::new();
    let conv = model(
        "g (float[n,2,3,3] x) => (float[n,2,3,3] y)
         <float[2,1,3,3] w = {1.0, 0.0, -1.0, 2.0, 0.0, -2.0, 1.0, 0.0, -1.0, 0.5, 0.25, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, -0.5},
          float[2] b = {0.5, -1.0}>
         { y = Conv <group = 2, pads = [1,1,1,1]> (x, w, b) }",
    );
    let y = [
        1.25, -1.0, -0.25, 1.25, 0.25, -0.25, 1.75, 2.5, -0.75, -1.625, -0.625, -0.75, -0.4375, -0.375, -1.6875,
        -1.375, -0.8125, -0.8125,
    ];
    out.push(case("grouped conv", conv, &[wave(&[1, 2, 3, 3], 7, 3, 4.0)], &[Tensor::f32(&[1, 2, 3, 3], &y)]));
    let two = model(
        "g (float[n,3] x) => (float[n,3] y, int64[n] i, int64[2] s, bool[n,3] p)
         <float zero = {0.0}>
         { y = Softmax <axis = -1> (x)
           i = ArgMax <axis = 1, keepdims = 0> (x)
           s = Shape (x)
           p = Less (x, zero) }",
    );
    let probability = [0.254275, 0.326496, 0.419229];
    let flags = Tensor::raw(ElemType::Bool, vec![2, 3], vec![1, 1, 1, 0, 0, 0].into()).unwrap();
    let outputs = [
        Tensor::f32(&[2, 3], &[probability, probability].concat()),
        Tensor::i64(&[2], &[2, 2]),
        Tensor::i64(&[2], &[2, 3]),
        flags,
    ];
    out.push(case("outputs of several types", two, &[wave(&[2, 3], 7, 3, 4.0)], &outputs));
    let branches = model(
        "g (float[2] x, bool c) => (float[2] y)
         { y = If (c) <then_branch = a () => (float[2] t) { t = Add (x, x) },
                       else_branch = b () => (float[2] e) { e = Neg (x) }> }",
    );
    let yes = Tensor::raw(ElemType::Bool, vec![], vec![1].into()).unwrap();
    let inputs = [Tensor::f32(&[2], &[1., -3.]), yes];
    out.push(case("a branch that captures", branches, &inputs, &[Tensor::f32(&[2], &[2., -6.])]));
    let x = Tensor::from_f64(ElemType::F16, &[2, 2], &[1.0, -2.0, 0.25, 3.0]).unwrap();
    let same = halving("float16", ElemType::F16);
    out.push(Case { coarse: 1e-3, ..case("float16", same, std::slice::from_ref(&x), std::slice::from_ref(&x)) });
    recurrences(&mut out);
    out
}
