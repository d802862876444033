//! Limits against what is really written, and samples that say little.

use super::{fails, onnx, sparsec, text};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::write::FileOptions;
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A model of two layers with 24 hidden units.
fn mlp(dir: &TempDir) -> PathBuf {
    let m = sparsec_testkit::model(
        "<ir_version: 9, opset_import: [\"\" : 18]>
         g (float[N,8] x) => (float[N,4] y)
         <float[8,24] v = [\"location\": \"random:1\"], float[24,4] w = [\"location\": \"random:2\"]> {
           h = MatMul (x, v) r = Relu (h) y = MatMul (r, w) }",
    );
    let path = dir.path().join("mlp.onnx");
    sparsec_onnx::save(&m, &path, sparsec_onnx::Weights::Inline).unwrap();
    path
}

/// Samples of input `x` with `width` features.
fn samples(dir: &TempDir, count: u64, width: u64, value: impl Fn(u64) -> f32) -> PathBuf {
    let path = dir.path().join(format!("{count}.npz"));
    let mut z = NpzWriter::create(&path).unwrap();
    let shape = [count, width];
    let mut w = z.array("x", FileOptions::default()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
    w.extend((0..count * width).map(value)).unwrap();
    w.finish().unwrap();
    drop(z);
    path
}

fn noise(i: u64) -> f32 {
    (i.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407) >> 40) as f32 / 8_388_608.0 - 1.0
}

fn compile(model: &str, data: &str, out: &str, limit: [&str; 2]) -> (i32, Value) {
    let run = sparsec(&["compile", model, "-o", out, "--data", data, limit[0], limit[1], "--json"]);
    let code = run.status.code().unwrap();
    assert!(code == 0 || code == 4, "{}", String::from_utf8_lossy(&run.stderr));
    (code, serde_json::from_slice(&run.stdout).unwrap())
}

#[test]
fn size_and_parameters_are_those_of_the_file_that_is_written() {
    let dir = TempDir::new().unwrap();
    let (m, data, out) = (mlp(&dir), samples(&dir, 200, 8, noise), dir.path().join("out"));
    let bytes = || std::fs::metadata(out.join("model.onnx")).unwrap().len();
    let (_, whole) = compile(text(&m), text(&data), text(&out), ["--max-macs", "60%"]);
    assert_eq!(whole["after"]["file_bytes"], bytes());
    let mut met = 0;
    for limit in (700..1400).step_by(50) {
        let (code, done) = compile(text(&m), text(&data), text(&out), ["--max-size", &limit.to_string()]);
        assert_eq!(code == 0, bytes() <= limit, "{limit}: {done}");
        assert_eq!(done["limits"][0]["reached"], bytes() as f64);
        met += u32::from(code == 0);
    }
    assert!(met > 5, "{met}");
    for share in ["40%", "50%", "60%"] {
        let (code, done) = compile(text(&m), text(&data), text(&out), ["--max-params", share]);
        let limit = &done["limits"][0];
        assert_eq!((code, &limit["reached"]), (0, &done["after"]["params"].as_f64().unwrap().into()), "{done}");
        assert!(limit["reached"].as_f64() <= limit["asked"].as_f64());
    }
}

#[test]
fn a_model_with_nothing_to_cut_says_what_is_frozen_and_ends_with_4() {
    let dir = TempDir::new().unwrap();
    let (m, data, out) = (onnx(&dir), samples(&dir, 64, 2, noise), dir.path().join("out"));
    let (code, done) = compile(text(&m), text(&data), text(&out), ["--max-macs", "50%"]);
    assert_eq!(code, 4);
    let said = done["warnings"].to_string();
    assert!(said.contains("nothing can be cut: every channel is frozen: `w:"), "{said}");
}

#[test]
fn samples_that_say_nothing_are_refused_and_few_are_warned_of() {
    let dir = TempDir::new().unwrap();
    let (m, out) = (mlp(&dir), dir.path().join("out"));
    let run = |data: &PathBuf| {
        let args = ["compile", text(&m), "-o", text(&out), "--data", text(data), "--max-macs", "50%"];
        args.map(String::from)
    };
    for data in [samples(&dir, 100, 8, |_| 0.25), samples(&dir, 1, 8, noise), samples(&dir, 3, 8, |i| noise(i % 8))] {
        let args = run(&data);
        fails(&args.each_ref().map(String::as_str), 3, "error[S0416]");
        assert!(!out.exists());
    }
    let few = samples(&dir, 5, 8, noise);
    let (code, done) = compile(text(&m), text(&few), text(&out), ["--max-macs", "50%"]);
    assert_eq!(code, 0);
    let said = done["warnings"][0].as_str().unwrap();
    assert!(said.contains("calibrated on 5 samples: at least 32 are wanted") && said.contains("S0414"), "{said}");
}

#[test]
fn a_loss_is_in_the_unit_of_its_metric_and_its_samples_are_named() {
    let dir = TempDir::new().unwrap();
    let (m, data, out) = (mlp(&dir), samples(&dir, 200, 8, noise), dir.path().join("out"));
    let eval = ["--eval", text(&data), "--metric", "kl", "--max-drop", "0.00001"];
    let args = [vec!["compile", text(&m), "-o", text(&out), "--data", text(&data)], eval.to_vec()].concat();
    let run = sparsec(&args);
    let said = String::from_utf8(run.stdout).unwrap();
    assert!(said.contains("limit drop: asked 0.0000100 nats, reached "), "{said}");
    assert!(said.contains("the drop is that on the 200 samples of `200.npz`, by which the plan was chosen"), "{said}");
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    assert!(report.contains("by which the plan was chosen"));
}

#[test]
fn a_size_for_an_axis_that_no_input_has_is_refused_with_those_there_are() {
    let dir = TempDir::new().unwrap();
    let m = mlp(&dir);
    let args = ["estimate", text(&m), "--target", "generic-x86", "--dim", "M=3"];
    fails(&args, 2, "error[S0226]: no input has an open axis `M`; there is `N`");
}

/// Samples with labels of four classes, and a column that is 0 for every third sample.
fn labelled(dir: &TempDir, name: &str, count: u64) -> PathBuf {
    let path = dir.path().join(name);
    let mut z = NpzWriter::create(&path).unwrap();
    let mut put = |name: &str, shape: &[u64], values: &mut dyn Iterator<Item = f32>| {
        let mut w = z.array(name, FileOptions::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
        w.extend(values).unwrap();
        w.finish().unwrap();
    };
    put("x", &[count, 8], &mut (0..count * 8).map(noise));
    put("label", &[count], &mut (0..count).map(|i| (i % 4) as f32));
    put("third", &[count], &mut (0..count).map(|i| (i % 3).min(1) as f32));
    drop(z);
    path
}

#[test]
fn a_limit_on_the_loss_holds_for_each_set_and_slice() {
    let dir = TempDir::new().unwrap();
    let (m, data, out) = (mlp(&dir), samples(&dir, 200, 8, noise), dir.path().join("out"));
    let (day, night) = (labelled(&dir, "day.npz", 240), labelled(&dir, "night.npz", 60));
    let sets = [format!("day:3={}", text(&day)), format!("night={}", text(&night))];
    let run = sparsec(&[
        "compile",
        text(&m),
        "-o",
        text(&out),
        "--data",
        text(&data),
        "--max-macs",
        "50%",
        "--eval",
        &sets[0],
        "--eval",
        &sets[1],
        "--metric",
        "top1",
        "--slice",
        "third",
        "--max-drop",
        "0",
        "--json",
    ]);
    let done: Value = serde_json::from_slice(&run.stdout).unwrap();
    let names: Vec<&str> = done["limits"].as_array().unwrap().iter().map(|l| l["name"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "macs",
            "drop on day",
            "drop on day at third=0",
            "drop on day at third=1",
            "drop on night",
            "drop on night at third=0",
            "drop on night at third=1"
        ]
    );
    let sets = done["evaluations"].as_array().unwrap();
    let number = |v: &Value| v.as_f64().unwrap();
    for e in sets {
        let (total, slices) = (&e["total"], e["slices"].as_array().unwrap());
        let all: f64 = slices.iter().map(|s| number(&s["after"]) * number(&s["samples"])).sum();
        assert!((all / number(&total["samples"]) - number(&total["after"])).abs() < 1e-9, "{e}");
        assert!(number(&total["interval"]["low"]) <= number(&total["drop"]));
        assert!(number(&total["interval"]["high"]) >= number(&total["drop"]));
        assert_eq!(e["classes"].as_array().unwrap().len(), 4);
    }
    // The headline is the mean by weight.
    let mean = (3.0 * number(&sets[0]["total"]["after"]) + number(&sets[1]["total"]["after"])) / 4.0;
    assert!((mean - number(&done["after"]["metric"]["value"])).abs() < 1e-9);
    // Some drop is above 0, and one limit that does not hold fails the whole.
    let held = done["limits"].as_array().unwrap().iter().all(|l| l["met"] == true);
    assert_eq!(run.status.code(), Some(if held { 0 } else { 4 }));
}

#[test]
fn eval_tells_slices_and_the_drop_from_the_dense_model() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (mlp(&dir), labelled(&dir, "day.npz", 240));
    let arguments =
        ["eval", text(&m), "--data", text(&data), "--metric", "top1", "--slice", "third", "--dense", text(&m)];
    let run = sparsec(&arguments);
    let said = String::from_utf8_lossy(&run.stdout).into_owned();
    assert!(said.contains("nothing lost, which 240 samples cannot tell from nothing"), "{said}");
    assert!(said.contains("third=0") && said.contains("third=1"), "{said}");
    fails(&["eval", text(&m), "--data", text(&data), "--metric", "top1", "--slice", "fourth"], 3, "S0203");
}
