//! `sparsec reduce`, from a model on which something fails to a small one.

use super::{fails, json, sparsec, text};
use std::path::PathBuf;
use tempfile::TempDir;

fn model(name: &str) -> String {
    format!("{}/testdata/models/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn nodes(path: &std::path::Path) -> Vec<String> {
    let small = sparsec_ir::text::parse_model(&std::fs::read_to_string(path).unwrap()).unwrap();
    small.graph.nodes().map(|(_, n)| n.op.clone()).collect()
}

fn out(dir: &TempDir) -> PathBuf {
    dir.path().join("small.onnxtxt")
}

#[test]
fn a_failing_command_of_sparsec_fails_in_the_same_way_on_a_handful_of_nodes() {
    let dir = TempDir::new().unwrap();
    let small = out(&dir);
    // Mystery has no shape rule, so the sizes of what follows it are open and nothing can be estimated.
    let net = sparsec_testkit::model(
        "<ir_version: 9, opset_import: [\"\" : 18]>
         g (float[N,3,8,8] x) => (float[N,4,8,8] y)
         <float[8,3,3,3] w = [\"location\": \"random:1\"], float[8,8,3,3] v = [\"location\": \"random:2\"],
          float[4,8,1,1] u = [\"location\": \"random:3\"]>
         { a = Conv <pads = [1, 1, 1, 1]> (x, w)  b = Relu (a)  c = Conv <pads = [1, 1, 1, 1]> (b, v)  d = Add (b, c)
           e = Sigmoid (d)  f = Mul (d, e)  y = Conv (f, u) }",
    );
    let path = dir.path().join("net.onnx");
    sparsec_onnx::save(&net, &path, sparsec_onnx::Weights::Inline).unwrap();
    let missing = dir.path().join("none.npz");
    let done = json(&[
        "reduce",
        text(&path),
        "-o",
        text(&small),
        "--json",
        "--",
        "eval",
        "--data",
        text(&missing),
        "--metric",
        "top1",
    ]);
    assert_eq!(done["failure"], "the command ends with 3, S0201", "{done}");
    assert_eq!((done["before"]["nodes"].as_u64(), done["after"]["nodes"].as_u64()), (Some(7), Some(1)), "{done}");
    assert_eq!(nodes(&small).len(), 1);
    fails(&["eval", text(&small), "--data", text(&missing), "--metric", "top1"], 3, "error[S0201]");
}

#[cfg(unix)]
#[test]
fn another_command_decides_by_its_exit_status() {
    let dir = TempDir::new().unwrap();
    let small = out(&dir);
    let command = "grep -q Mystery {}";
    let m = model("unknown_operator.onnxtxt");
    let args = ["reduce", &m, "-o", text(&small), "--json", "--command", command];
    let done = json(&args);
    assert_eq!(nodes(&small), ["Mystery"], "{done}");
    let first = std::fs::read(&small).unwrap();
    json(&args);
    assert_eq!(std::fs::read(&small).unwrap(), first);
}

#[test]
fn a_command_that_does_not_fail_leaves_nothing_to_reduce() {
    let dir = TempDir::new().unwrap();
    let small = out(&dir);
    let m = model("tiny_cnn.onnxtxt");
    fails(&["reduce", &m, "-o", text(&small), "--", "inspect"], 2, "error[S0007]: `sparsec inspect");
    assert!(!small.exists());
    assert_eq!(sparsec(&["reduce", &m, "-o", text(&small)]).status.code(), Some(2));
}

#[test]
fn a_rewrite_limit_stops_after_each_number_of_rewrites_and_leaves_a_model_that_works() {
    let dir = TempDir::new().unwrap();
    let out = dir.path().join("n.onnx");
    let m = model("char-gpt/model.onnx");
    let graph = |limit: &str| {
        let args = ["opt", &m, "-o", text(&out), "--rewrite-limit", limit, "--verify-each", "--json"];
        let rewrites = json(&args)["rewrites"].as_u64().unwrap();
        let model = sparsec_onnx::load(&out).unwrap().model;
        (rewrites, sparsec_testkit::summary(&model))
    };
    let (all, _) = graph("1000000");
    assert!(all > 20, "{all}");
    let mut before = graph("0");
    assert_eq!(before.0, 0);
    for limit in [1, 2, 3, all - 1, all] {
        let now = graph(&limit.to_string());
        assert_eq!(now.0, limit);
        assert_ne!(now.1, before.1);
        before = now;
    }
}
