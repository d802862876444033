//! The program as a whole: what it prints, how it ends.

#![allow(clippy::unwrap_used, reason = "helpers of tests may panic as tests do")]

mod concessions;
mod damage;
mod depth;
mod flow;
mod hostile;
mod inspect;
mod limits;
mod masks;
mod reduce;

use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::write::FileOptions;
use sparsec_testkit::{model, snapshot};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

fn sparsec(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_sparsec")).args(args).output().expect("the binary was built")
}

#[track_caller]
fn json(args: &[&str]) -> serde_json::Value {
    let out = sparsec(args);
    assert_eq!(out.status.code(), Some(0), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("one JSON object")
}

#[track_caller]
fn fails(args: &[&str], status: i32, text: &str) {
    let out = sparsec(args);
    let said = String::from_utf8(out.stderr).expect("text");
    assert_eq!(out.status.code(), Some(status), "{said}");
    assert!(said.contains(text), "{said}");
    assert!(out.stdout.is_empty());
}

/// Two inputs' worth of classes: y = x · w, w turns the two features round.
fn onnx(dir: &TempDir) -> PathBuf {
    let m = model(
        "<ir_version: 9, opset_import: [\"\" : 18]>
         g (float[N,2] x) => (float[N,2] y) <float[2,2] w = {0.0, 1.0, 1.0, 0.0}> { y = MatMul (x, w) }",
    );
    let path = dir.path().join("m.onnx");
    sparsec_onnx::save(&m, &path, sparsec_onnx::Weights::Inline).unwrap();
    path
}

fn npz(dir: &TempDir, label: &[i64]) -> PathBuf {
    let path = dir.path().join("d.npz");
    let mut z = NpzWriter::create(&path).unwrap();
    let mut w = z.array("x", FileOptions::default()).unwrap().default_dtype().shape(&[3, 2]).begin_nd().unwrap();
    w.extend([1.0f32, 0.0, 0.0, 1.0, 3.0, 2.0]).unwrap();
    w.finish().unwrap();
    if !label.is_empty() {
        let shape = [label.len() as u64];
        let mut w = z.array("label", FileOptions::default()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
        w.extend(label.iter().copied()).unwrap();
        w.finish().unwrap();
    }
    drop(z);
    path
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

#[test]
fn every_command_teaches_by_examples() {
    let help = |args: &[&str]| String::from_utf8(sparsec(args).stdout).unwrap();
    snapshot("cli/help", &help(&["--help"]));
    for command in [
        "inspect",
        "why",
        "estimate",
        "compile",
        "sensitivity",
        "plan",
        "apply",
        "verify",
        "report",
        "opt",
        "reduce",
        "eval",
        "bench",
        "target",
        "explain",
        "completions",
    ] {
        let page = help(&[command, "--help"]);
        assert!(page.contains("Example"), "{command}");
        snapshot(&format!("cli/help_{command}"), &page);
    }
}

#[test]
fn eval_measures_against_labels_and_against_the_dense_model() {
    let dir = TempDir::new().unwrap();
    let (m, d) = (onnx(&dir), npz(&dir, &[1, 0, 0]));
    let top1 = json(&["eval", text(&m), "--data", text(&d), "--metric", "top1", "--json", "--batch", "2"]);
    assert_eq!((&top1["schema"], &top1["metric"]), (&"sparsec/eval@1".into(), &"top1".into()));
    assert_eq!((top1["samples"].as_u64(), top1["value"].as_f64()), (Some(3), Some(200.0 / 3.0)));
    let agree = json(&["eval", text(&m), "--data", text(&d), "--metric", "agree", "--dense", text(&m), "--json"]);
    assert_eq!(agree["value"].as_f64(), Some(100.0));
}

#[test]
fn eval_says_what_is_missing() {
    let dir = TempDir::new().unwrap();
    let (m, d) = (onnx(&dir), npz(&dir, &[]));
    fails(&["eval", text(&m), "--data", text(&d), "--metric", "top1"], 3, "error[S0224]");
    fails(&["eval", text(&m), "--data", text(&d), "--metric", "kl"], 2, "--dense");
    fails(&["eval", text(&m), "--data", text(&d), "--metric", "top9"], 2, "top1, top5");
    fails(&["eval", text(&m), "--data", text(&m), "--metric", "top1"], 3, "error[S0202]");
    fails(&["eval", text(&d), "--data", text(&d), "--metric", "top1"], 3, "error[S0102]");
    fails(&["eval", text(&m), "--data", text(&d), "--metric", "top1", "--scale", "z=1/2"], 2, "error[S0211]");
    fails(&["eval", text(&m), "--data", text(&d), "--metric", "top1", "--runtime", "x"], 2, "error[S0504]");
}

#[test]
fn bench_times_each_model() {
    let dir = TempDir::new().unwrap();
    let m = onnx(&dir);
    let b = json(&["bench", text(&m), text(&m), "--repeats", "2", "--seconds", "0.5", "--json"]);
    let runs = b["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["ratio"].as_f64(), Some(1.0));
    assert!(runs.iter().all(|r| r["p50_ms"].as_f64().unwrap() > 0.0 && r["p99_ms"].as_f64() >= r["p50_ms"].as_f64()));
}

#[test]
fn inspect_and_estimate_print_what_checks_read() {
    let dir = TempDir::new().unwrap();
    let m = onnx(&dir);
    let i = json(&["inspect", text(&m), "--json"]);
    assert_eq!((i["params"].as_u64(), i["macs"].as_u64()), (Some(4), Some(4)));
    assert!(i["groups"].is_array() && i["frozen"][0]["reason"].is_string(), "{i}");
    assert_eq!((i["params_prunable"].as_u64(), i["macs_prunable"].as_u64()), (Some(0), Some(0)));
    let held = &i["held_back"][0];
    assert_eq!(
        (held["params"].as_u64(), held["macs"].as_u64(), held["axes"].as_array().unwrap().len()),
        (Some(4), Some(4), 1)
    );
    let e = json(&["estimate", text(&m), "--batch", "3", "--json"]);
    assert_eq!(e["macs"].as_u64(), Some(12));
    assert!(e["latency_ms"]["low"].as_f64() <= e["latency_ms"]["total"].as_f64());
    assert!(e["memory_bytes"]["peak"].as_u64() >= e["memory_bytes"]["weights"].as_u64());
    assert!(e["nodes"].is_array());
    fails(&["estimate", text(&m), "--target", "toaster"], 2, "error[S0601]");
}

#[test]
fn targets_are_listed_and_shown_as_files_to_start_from() {
    let dir = TempDir::new().unwrap();
    let list = json(&["target", "list", "--json"]);
    assert!(list["targets"].as_array().unwrap().len() >= 2);
    let shown = sparsec(&["target", "show", "generic-arm"]).stdout;
    let path = dir.path().join("board.yaml");
    std::fs::write(&path, &shown).unwrap();
    assert_eq!(sparsec(&["target", "show", text(&path)]).stdout, shown);
    std::fs::write(&path, "name: [").unwrap();
    fails(&["target", "show", text(&path)], 3, "error[S0602]");
}

#[test]
fn codes_are_explained_in_any_case() {
    let out = String::from_utf8(sparsec(&["explain", "s0203"]).stdout).unwrap();
    assert!(out.starts_with("S0203: arrays do not match the inputs"), "{out}");
    fails(&["explain", "S9999"], 2, "error[S0005]");
}

#[test]
fn wrong_use_ends_with_2_and_help_with_0() {
    assert_eq!(sparsec(&["frobnicate"]).status.code(), Some(2));
    assert_eq!(sparsec(&[]).status.code(), Some(2));
    assert_eq!(sparsec(&["--version"]).status.code(), Some(0));
    let script = String::from_utf8(sparsec(&["completions", "bash"]).stdout).unwrap();
    assert!(!script.is_empty());
    assert_eq!(json(&["completions", "bash", "--json"])["script"], script.as_str());
    assert_eq!(sparsec(&["bench", "m.onnx", "--repeats", "0"]).status.code(), Some(2));
}
