//! Files from strangers: broken, odd or made to do harm. Each gets the kind of answer that it deserves, within ten
//! seconds and little memory, and leaves nothing behind. Files are written by `testdata/onnx/make.py`.

use super::{sparsec, text};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// What a file deserves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It works, without a word.
    Accept,
    /// It works, and a warning of this code says what is odd.
    Warn(&'static str),
    /// Exit status 3 with this code.
    Error(&'static str),
}
use Answer::{Accept, Error, Warn};

const FILES: &[(&str, Answer)] = &[
    ("attribute_twice", Error("S0106")),
    ("attribute_type", Error("S0106")),
    ("attribute_value", Error("S0106")),
    ("cycle", Error("S0105")),
    ("cycle_by_capture", Error("S0105")),
    ("deep_if", Accept),
    ("dims_lie", Error("S0103")),
    ("dims_negative", Error("S0103")),
    ("dims_overflow", Error("S0103")),
    ("domain_not_imported", Error("S0108")),
    ("element_range", Error("S0103")),
    ("element_type", Error("S0103")),
    ("empty_file", Error("S0102")),
    ("empty_graph", Accept),
    ("empty_optionals", Accept),
    ("external_absolute", Error("S0104")),
    ("external_length", Error("S0103")),
    ("external_missing", Error("S0104")),
    ("external_nowhere", Error("S0104")),
    ("external_number", Error("S0104")),
    ("external_outside", Error("S0104")),
    ("external_range", Error("S0104")),
    ("float8_weights", Accept),
    ("future_opset", Accept),
    ("huge_constant", Accept),
    ("initialiser_is_input", Accept),
    ("initializer_twice", Error("S0105")),
    ("initializer_unnamed", Error("S0105")),
    ("input_twice", Error("S0105")),
    ("int4_weights", Accept),
    ("lying_shape", Warn("S0321")),
    ("mixed_types", Error("S0305")),
    ("nan_weights", Warn("S0322")),
    ("no_graph", Error("S0102")),
    ("no_ir_version", Error("S0102")),
    ("no_opset_import", Error("S0102")),
    ("nodes_of_one_name", Accept),
    ("not_protobuf", Error("S0102")),
    ("output_twice", Accept),
    ("recursive_function", Error("S0302")),
    ("result_is_input", Error("S0105")),
    ("result_twice", Error("S0105")),
    ("segment", Error("S0103")),
    ("sixths_lie", Error("S0103")),
    ("sizes_of_many_terms", Accept),
    ("sizes_overflow", Accept),
    ("sizes_squared", Accept),
    ("sparse_initialiser", Accept),
    ("sparse_outside", Error("S0103")),
    ("strides_is_float", Error("S0305")),
    ("strings", Accept),
    ("strings_lie", Error("S0103")),
    ("truncated", Error("S0102")),
    ("truncated_varint", Error("S0102")),
    ("two_storages", Error("S0103")),
    ("undefined", Error("S0105")),
    ("undefined_output", Error("S0105")),
    ("unknown_operator", Accept),
    ("wrong_wire_type", Error("S0102")),
    ("zero_sized", Accept),
];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/onnx/hostile")
}

/// Bytes of memory that a command may take besides twice the file.
const MEMORY: u64 = 256 << 20;
const SECONDS: Duration = Duration::from_secs(10);

/// Runs sparsec on a file, with memory for its data bounded where the system can do that.
fn bounded(file: &Path, args: &[&str]) -> Output {
    if !cfg!(target_os = "linux") {
        return sparsec(args);
    }
    let kib = (2 * std::fs::metadata(file).unwrap().len() + MEMORY) / 1024;
    let script = format!("ulimit -d {kib} && exec \"$0\" \"$@\"");
    Command::new("sh").args(["-c", &script, env!("CARGO_BIN_EXE_sparsec")]).args(args).output().expect("sh is there")
}

#[track_caller]
fn check(file: &Path, args: &[&str], answer: Answer) {
    let started = Instant::now();
    let out = bounded(file, args);
    let took = started.elapsed();
    let said = String::from_utf8(out.stderr).expect("text");
    let (status, code) = match answer {
        Accept => (0, None),
        Warn(code) => (0, Some(format!("warning[{code}]"))),
        Error(code) => (3, Some(format!("error[{code}]"))),
    };
    assert_eq!(out.status.code(), Some(status), "{args:?}: {said}");
    match code {
        Some(code) => assert!(said.starts_with(&code), "{args:?}: {said}"),
        None => assert!(!said.contains("warning[") && !said.contains("error["), "{args:?}: {said}"),
    }
    assert!(took < SECONDS, "{args:?} took {took:?}");
}

#[test]
fn every_hostile_file_gets_the_answer_that_it_deserves_from_every_command() {
    let mut files: Vec<String> = std::fs::read_dir(folder())
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "onnx"))
        .map(|p| p.file_stem().unwrap().to_string_lossy().into_owned())
        .collect();
    files.sort();
    assert_eq!(files, FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), "the table names every file");
    for (name, answer) in FILES {
        let dir = TempDir::new().unwrap();
        let file = folder().join(format!("{name}.onnx"));
        let (path, out, model) = (text(&file), dir.path().join("out"), dir.path().join("m.onnx"));
        check(&file, &["inspect", path, "--groups"], *answer);
        check(&file, &["compile", path, "-o", text(&out), "--random-plan", "1", "--keep", "0.7"], *answer);
        // Functions are inlined by passes; `opt` runs them, too.
        check(&file, &["opt", path, "-o", text(&model)], *answer);
        let written = out.join("model.onnx").exists();
        assert_eq!(written, !matches!(answer, Error(_)), "{name}");
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, if written { 2 } else { 0 }, "{name}: nothing half written");
    }
}

#[test]
fn what_cannot_be_run_is_cut_all_the_same_and_the_report_says_why_nothing_was_compared() {
    let dir = TempDir::new().unwrap();
    for (name, why) in [
        ("huge_constant", "activations would take"),
        ("int4_weights", "Int4"),
        ("unknown_operator", "not implemented"),
        ("strings", "tract"),
    ] {
        let file = folder().join(format!("{name}.onnx"));
        let out = dir.path().join(name);
        let done = sparsec(&["compile", text(&file), "-o", text(&out), "--random-plan", "1", "--keep", "0.7"]);
        let said = String::from_utf8(done.stdout).unwrap();
        let warning = said.lines().find(|l| l.starts_with("warning: the model was not compared")).unwrap_or("");
        assert!(warning.contains(why), "{name}: {said}");
        assert!(std::fs::read_to_string(out.join("report.json")).unwrap().contains("not compared"), "{name}");
    }
}

#[test]
fn a_model_without_a_finite_output_is_not_called_equal() {
    let dir = TempDir::new().unwrap();
    let (file, out) = (dir.path().join("nan.onnxtxt"), dir.path().join("out"));
    let model = r#"<ir_version: 8, opset_import: ["" : 18]> g (float[n,4] x) => (float[n,3] y)
        <float[4,8] w = ["location": "random:1"], float[8,3] v = ["location": "random:2"], float[1] m = {-1.0}>
        { h = MatMul (x, w) r = Relu (h) k = MatMul (r, v) a = Abs (k) c = Sub (m, a) y = Log (c) }"#;
    std::fs::write(&file, model).unwrap();
    let said = |bytes| String::from_utf8(bytes).expect("text");
    let cut = sparsec(&["compile", text(&file), "-o", text(&out), "--random-plan", "1", "--keep", "0.5"]);
    let why = "no output has a finite element on these inputs";
    let warning = format!("warning: the model was not compared with the masked one: {why}");
    let cut = said(cut.stdout);
    assert!(cut.contains(&warning), "{cut}");
    let (pruned, plan) = (out.join("model.onnx"), out.join("plan.yaml"));
    let done = sparsec(&["verify", text(&file), text(&pruned), "--plan", text(&plan)]);
    assert_eq!(done.status.code(), Some(5));
    assert!(said(done.stdout).starts_with(&format!("not compared: {why}")));
    let error = said(done.stderr);
    assert!(error.contains(&format!("error[S0406]: nothing was compared: {why}")), "{error}");
}

#[test]
fn a_sparse_weight_is_cut_as_one_and_equals_the_masked_one() {
    let dir = TempDir::new().unwrap();
    let file = folder().join("sparse_initialiser.onnx");
    let out = dir.path().join("out");
    let args = ["compile", text(&file), "-o", text(&out), "--random-plan", "1", "--keep", "0.7", "--json"];
    let done = super::json(&args);
    assert_eq!(done["verify"]["equal"], true, "{done}");
    let cut = sparsec_onnx::load(&out.join("model.onnx")).unwrap().model;
    let w = cut.graph.value(cut.graph.find("w").unwrap());
    match &w.def {
        sparsec_ir::Def::Sparse(s) => assert_eq!(s.dims, [6, 6]),
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[test]
fn a_link_that_leads_out_of_the_folder_is_not_followed() {
    let (inside, outside) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/onnx");
    std::fs::copy(root.join("external.bin"), outside.path().join("secret")).unwrap();
    let file = inside.path().join("m.onnx");
    std::fs::copy(root.join("external.onnx"), &file).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), inside.path().join("external.bin")).unwrap();
    check(&file, &["inspect", text(&file)], Error("S0104"));
}
