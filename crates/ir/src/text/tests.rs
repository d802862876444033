use super::*;
use crate::Attr;

fn check_round_trip(text: &str) -> String {
    let model = parse_model(text).unwrap_or_else(|e| panic!("{e}\n{text}"));
    let once = print_model(&model, &PrintOptions::default());
    let again = parse_model(&once).unwrap_or_else(|e| panic!("{e}\n{once}"));
    assert_eq!(print_model(&again, &PrintOptions::default()), once);
    once
}

#[track_caller]
fn check_error(text: &str, line: u32, column: u32, message: &str) {
    let e = parse_model(text).expect_err("the text is wrong");
    assert_eq!((e.line, e.column, e.what.to_string().as_str()), (line, column, message));
}

const EVERYTHING: &str = r#"
# A comment.
<ir_version: 9, opset_import: ["" : 17, "com.my-x" : 1], producer_name: "p", producer_version: "1", domain: "d",
 model_version: 3, doc_string: "a \"quoted\" \\ word", metadata_props: ["k": "v", "k2": ""]>
"a graph" (float[N,3,"2*n+1",?] x, float[2] listed = {1, -2.5}, int64[] unranked, seq(float[N]) s, untyped,
  optional(seq(map(string, int64))) o, sparse_tensor(float[3,4]) sp, bool b)
  => (float16[N] y, "result/1", untyped)
<float[2,2] w = ["location": "random:7"], int4[3] nibbles = {1, -2, 3}, uint4[2] un = {15, 0}, float16[2] half = {15462, 0},
 bfloat16 bf = {16256}, string[2] words = {"a", "b\"c"}, double[2] d = {1e-300, -inf}, float[3] f = {nan, inf, 1e-38},
 complex64[1] z = {1.0, 2.0}, float[0] none = {}, bool[2] flags = {1, 0}, uint64 big = {18446744073709551615},
 sparse_tensor(float[3,4]) sc = {float[2] {1.0, 2.0}, int64[2] {0, 5}}, int2[5] pairs = {1, -2, 0, -1, 1},
 float[N] h, float8e4m3fn[2] e = {127, 255}>
{
  [conv1] h = Conv <pads = [1,1,1,1], a: ints = [], f: float = 1, n = nan, l = [nan, 1.0], s = "x", ss = ["p", "q"]> (x, w)
  "result/1", "" = "com.my-x".Op:over (h, "", b)
  = Sink (h)
  y = If (b) <then_branch = t () => (float[N] z2) { z2 = Relu (h) },
     else_branch: graph = "e f" () => (float[N] z3) { z3 = Loop (b) <body = inner () => (q) { q = Add (h, x) }> }>
  c = Foo <t = float[2] {1,2}, tt: tensor = int64 {3}, ty: type_proto = seq(float[N]), tys: type_protos = [float, int64[]],
           ts: tensors = [float[1] {1}], st: sparse_tensor = sparse_tensor(float[3]) {float[1] {1}, int64[1] {2}},
           raw = bytes {255, 1}, "odd name" = 1> ()
}
<domain: "com.my-x", opset_import: ["" : 17], doc_string: "f">
Op <alpha, beta: float = 1.5> (a, float[N] p) => (r) <float[N] m>
{ m = Relu (a)  r, k = LeakyRelu <alpha: float = @beta> (m) }
"#;

#[test]
fn everything_prints_and_reads_back() {
    let text = check_round_trip(EVERYTHING);
    let model = parse_model(EVERYTHING).unwrap();
    assert_eq!(model.meta[0], ("k".to_string(), "v".to_string()));
    let conv = model.graph.node(model.graph.find_node("conv1").unwrap());
    assert!(matches!(conv.attrs["f"], Attr::Float(1.0)), "{text}");
    assert!(matches!(&conv.attrs["a"], Attr::Ints(v) if v.is_empty()));
    let nibbles = model.graph.constant(model.graph.find("nibbles").unwrap()).unwrap();
    assert_eq!(nibbles.bytes().unwrap()[..], [0xe1, 0x03]);
    assert_eq!(model.functions[0].attributes, ["alpha"]);
}

#[test]
fn uses_by_subgraphs_are_recorded_however_deep() {
    let model = parse_model(EVERYTHING).unwrap();
    let g = &model.graph;
    let captured = |name: &str| {
        g.value(g.find(name).unwrap()).uses.iter().filter(|u| matches!(u, crate::Use::Captured(_))).count()
    };
    assert_eq!((captured("h"), captured("x"), captured("w")), (1, 1, 0));
}

#[test]
fn nodes_print_in_topological_order() {
    let text = check_round_trip("g (float x) => (float y) { y = B (h) h = A (x) }");
    assert!(text.find("A (x)").unwrap() < text.find("B (h)").unwrap(), "{text}");
}

#[test]
fn fills_repeat_and_keep_the_magnitude_of_activations() {
    let text =
        r#"g () => () <float[64,32,3,3] w = ["location": "random:7"], float[9] v = ["location": "positive:1"]> {}"#;
    let (a, b) = (parse_model(text).unwrap(), parse_model(text).unwrap());
    let read = |m: &crate::Model, n: &str| m.graph.constant(m.graph.find(n).unwrap()).unwrap().to_f64().unwrap();
    assert_eq!(read(&a, "w"), read(&b, "w"));
    let w = read(&a, "w");
    let variance = w.iter().map(|v| v * v).sum::<f64>() / w.len() as f64;
    assert!((variance * 288.0 - 1.0).abs() < 0.05, "{variance}");
    assert!(read(&a, "v").iter().all(|v| (0.5..1.5).contains(v)));
}

#[test]
fn summary_leaves_weights_out_and_keeps_shapes() {
    let text = "g (float[2] x) => (float[2] y) <float[2] w = {3, 4}, int64[2] s = {1, -1}> { y = Add (x, w) z = Reshape (y, s) }";
    let out = print_model(&parse_model(text).unwrap(), &PrintOptions::weights(Weights::Summary));
    assert!(out.contains("float[2] w,  # rms 3.54\n") && out.contains("s = {1, -1}"), "{out}");
}

#[test]
fn errors_say_where_and_what() {
    check_error("g (float[2 x) => (y) {}", 1, 12, "expected `]` after the sizes, found `x`");
    check_error("g () => (y) {}", 1, 10, "`y` is not defined");
    check_error("g (float x) => (x)\n{ x = A (x) }", 2, 3, "`x` is defined twice");
    check_error("g () => () { y = A (z) }", 1, 21, "`z` is not defined");
    check_error("g () => () { y = A () <b = s () => (k) { k = B (w) }> }", 1, 14, "`w` is not defined");
    check_error("g () => () <float[2] w = {1}> {}", 1, 13, "the sizes ask for 2 elements, there are 1");
    check_error("g () => () <int8 w = {128}> {}", 1, 23, "`128` is no int8");
    check_error(
        r#"g () => () <float w = ["location": "w.bin"]> {}"#,
        1,
        13,
        "the data lies outside the text, at `w.bin`",
    );
    check_error("g () => () { y = A <a = []> () }", 1, 21, "the value of `a` is no list of one type");
    check_error("<ir_version: 9> g \"", 1, 19, "the string does not end");
}

#[test]
fn hostile_texts_are_refused_without_harm() {
    let deep = format!("g ({}float x) => () {{}}", "seq(".repeat(100_000));
    assert!(matches!(parse_model(&deep).unwrap_err().what, TextProblem::TooDeep { .. }));
    let huge = r#"g () => () <float[1000000,1000000,1000000] w = ["location": "random:7"]> {}"#;
    assert!(matches!(parse_model(huge).unwrap_err().what, TextProblem::TooLarge { .. }));
    let lying = "g () => () <float[9223372036854775807,9223372036854775807] w = {1}> {}";
    assert!(matches!(parse_model(lying).unwrap_err().what, TextProblem::WrongCount { .. }));
    for cut in (0..EVERYTHING.len()).filter(|&i| EVERYTHING.is_char_boundary(i)) {
        let _ = parse_model(&EVERYTHING[..cut]);
    }
}
