//! From samples to a smaller model, one command after another, and what goes wrong on the way.

use super::{fails, json, sparsec, text};
use npyz::WriterBuilder;
use npyz::npz::NpzWriter;
use npyz::zip::write::FileOptions;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub(crate) fn model(name: &str) -> String {
    format!("{}/testdata/models/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Samples for `tiny_cnn`: numbers of no meaning, the same ones in every run.
pub(crate) fn samples(dir: &TempDir) -> PathBuf {
    drawn(dir, "image", &[96, 3, 8, 8])
}

/// Samples of one input, numbers of no meaning from −0.5 to 0.5.
pub(super) fn drawn(dir: &TempDir, input: &str, shape: &[u64]) -> PathBuf {
    let path = dir.path().join("calib.npz");
    let mut z = NpzWriter::create(&path).unwrap();
    let mut w = z.array(input, FileOptions::default()).unwrap().default_dtype().shape(shape).begin_nd().unwrap();
    let mut state = 1u32;
    w.extend((0..shape.iter().product::<u64>()).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 24) as f32 - 0.5
    }))
    .unwrap();
    w.finish().unwrap();
    drop(z);
    path
}

/// A file in `dir` with this text.
pub(crate) fn file(dir: &TempDir, name: &str, contents: &str) -> PathBuf {
    let path = dir.path().join(name);
    std::fs::write(&path, contents).unwrap();
    path
}

/// A plan that keeps the first half of the inner channels of `tiny_cnn`.
const PLAN: &str = "schema: sparsec/plan@1\ngroups:\n- id: branch_weight:0\n  units: 16\n  keep: 0-7\n";

fn apply(dir: &TempDir, model: &str, plan: &Path) -> PathBuf {
    let out = dir.path().join("pruned.onnx");
    json(&["apply", model, "--plan", text(plan), "-o", text(&out), "--json"]);
    out
}

#[test]
fn curves_lead_to_a_plan_and_the_plan_to_a_model_that_equals_the_masked_one() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let at = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    let (curves, plan) = (at("curves.json"), at("plan.yaml"));
    let measured = json(&["sensitivity", &m, "--data", text(&data), "-o", &curves, "--json"]);
    assert_eq!(measured["groups"].as_array().unwrap().len(), 2);
    let planned = json(&["plan", &m, "--curves", &curves, "--max-macs", "60%", "-o", &plan, "--json"]);
    let macs = |side: &str| planned[side]["macs"].as_f64().unwrap();
    assert!(macs("after") <= 0.6 * macs("before") && planned["unmet"].as_array().unwrap().is_empty(), "{planned}");
    for (out, extra) in [("cut.onnx", vec![]), ("recovered.onnx", vec!["--data", text(&data)])] {
        let pruned = at(out);
        let args = [vec!["apply", &m, "--plan", &plan, "-o", &pruned, "--json"], extra.clone()].concat();
        let applied = json(&args);
        assert_eq!(applied["recovered"].as_u64() > Some(0), !extra.is_empty(), "{applied}");
        for inputs in [vec!["--seed", "3"], vec!["--data", text(&data)]] {
            let args = [vec!["verify", &m, &pruned, "--plan", &plan, "--json"], inputs].concat();
            let verified = json(&args);
            assert_eq!(verified["equal"], true, "{verified}");
            assert!(verified["max_rel_error"].as_f64().unwrap() < 1e-4 && verified["max_abs_error"].is_number());
        }
    }
    let saved = sparsec_onnx::load(Path::new(&at("cut.onnx"))).unwrap().model;
    let keys: Vec<&str> = saved.meta.iter().map(|(k, _)| k.as_str()).collect();
    assert_eq!(keys, ["sparsec.version", "sparsec.plan_sha256"]);
}

#[test]
fn results_do_not_depend_on_the_number_of_threads() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let curves = |threads: &str| {
        let out = dir.path().join(threads);
        json(&["sensitivity", &m, "--data", text(&data), "-o", text(&out), "--json", "--threads", threads]);
        std::fs::read(out).unwrap()
    };
    assert_eq!(curves("1"), curves("3"));
}

#[test]
fn limits_that_cannot_be_met_end_with_4_and_the_nearest_plan() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let (curves, plan) = (dir.path().join("curves.json"), dir.path().join("plan.yaml"));
    json(&["sensitivity", &m, "--data", text(&data), "-o", text(&curves), "--json"]);
    let out = sparsec(&["plan", &m, "--curves", text(&curves), "--max-params", "1", "-o", text(&plan)]);
    assert_eq!(out.status.code(), Some(4));
    assert!(String::from_utf8_lossy(&out.stderr).contains("error[S0405]: limits cannot be met: params"));
    apply(&dir, &m, &plan);
    let other = model("unknown_operator.onnxtxt");
    fails(&["plan", &other, "--curves", text(&curves), "--max-macs", "50%", "-o", text(&plan)], 3, "error[S0404]");
    let broken = file(&dir, "broken.json", "{}");
    fails(&["plan", &m, "--curves", text(&broken), "--max-macs", "50%", "-o", text(&plan)], 3, "error[S0404]");
}

#[test]
fn a_model_that_is_not_the_pruned_one_fails_verification_with_5() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let plan = file(&dir, "plan.yaml", PLAN);
    let pruned = apply(&dir, &m, &plan);
    json(&["verify", &m, text(&pruned), "--plan", text(&plan), "--json"]);
    let out = sparsec(&["verify", &m, &m, "--plan", text(&plan), "--json"]);
    assert_eq!(out.status.code(), Some(5));
    let verified: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(verified["equal"], false);
    assert!(String::from_utf8_lossy(&out.stderr).contains("error[S0406]"));
}

#[test]
fn a_model_that_keeps_other_channels_than_the_plan_fails_verification() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let pruned = apply(&dir, &m, &file(&dir, "plan.yaml", PLAN));
    let other = file(&dir, "other.yaml", &PLAN.replace("0-7", "8-15"));
    let out = sparsec(&["verify", &m, text(&pruned), "--plan", text(&other)]);
    assert_eq!(out.status.code(), Some(5));
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(said.contains("are not the dense model's at the channels kept, `branch_weight` first"), "{said}");
}

#[test]
fn weights_that_callers_could_override_are_taken_as_constants_and_that_is_said() {
    let dir = TempDir::new().unwrap();
    let listed = "<ir_version: 8, opset_import: [\"\" : 18]>
        g (float[n,3] x, float[3,8] w = [\"location\": \"random:1\"]) => (float[n,2] y)
        <float[8,2] v = [\"location\": \"random:2\"]> { h = MatMul (x, w) y = MatMul (h, v) }";
    let (m, out) = (file(&dir, "listed.onnxtxt", listed), dir.path().join("out"));
    let compiled = json(&["compile", text(&m), "-o", text(&out), "--random-plan", "1", "--keep", "0.5", "--json"]);
    assert!(compiled["notes"].to_string().contains("`w` is listed as an input too"), "{compiled}");
    let saved = sparsec_onnx::load(&out.join("model.onnx")).unwrap().model;
    let listed = saved.graph.listed_inputs().iter().map(|v| saved.graph.value(*v).name.as_str());
    assert_eq!(listed.collect::<Vec<_>>(), ["x"]);
}

#[test]
fn a_model_of_other_inputs_is_no_smaller_form_of_this_one() {
    let dir = TempDir::new().unwrap();
    let plan = file(&dir, "plan.yaml", PLAN);
    let other = file(&dir, "other.onnxtxt", "g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }");
    let m = model("tiny_cnn.onnxtxt");
    fails(&["verify", &m, text(&other), "--plan", text(&plan)], 3, "its inputs are `x` float[·,·]");
}

#[test]
fn a_place_that_is_taken_is_refused_before_the_work() {
    let dir = TempDir::new().unwrap();
    let (m, taken) = (model("tiny_cnn.onnxtxt"), file(&dir, "taken", ""));
    let inside = taken.join("out");
    for out in [&taken, &inside] {
        fails(&["compile", &m, "-o", text(out), "--random-plan", "1", "--keep", "0.5"], 2, "it is a file");
    }
    let plan = file(&dir, "plan.yaml", PLAN);
    fails(&["apply", &m, "--plan", text(&plan), "-o", text(dir.path())], 2, "it is a folder");
    #[cfg(unix)]
    {
        // A socket stands for all that is there and no file.
        let socket = dir.path().join("socket");
        let _open = std::os::unix::net::UnixListener::bind(&socket).expect("a socket");
        fails(&["apply", &m, "--plan", text(&plan), "-o", text(&socket)], 2, "which a file would replace");
        fails(&["opt", &m, "-o", text(&socket)], 2, "which a file would replace");
        assert!(!socket.metadata().expect("it is still there").is_file());
    }
}

#[test]
fn what_was_measured_is_not_measured_again_and_leads_to_the_same_bytes() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (dir.path().join("m.onnx"), samples(&dir));
    json(&["opt", &model("tiny_cnn.onnxtxt"), "-o", text(&m), "--json"]);
    let compile = |out: &Path, limit: &str| {
        let done = sparsec(&["compile", text(&m), "-o", text(out), "--data", text(&data), "--max-macs", limit]);
        assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stderr).unwrap().contains("an earlier run measured")
    };
    let (a, b) = (dir.path().join("a"), dir.path().join("b"));
    assert!(!compile(&a, "80%"));
    assert!(compile(&a, "60%"));
    assert!(!compile(&b, "60%"));
    for name in ["model.onnx", "plan.yaml", "report.json", "sparsec.lock"] {
        assert!(std::fs::read(a.join(name)).unwrap() == std::fs::read(b.join(name)).unwrap(), "{name}");
    }
    let lock: serde_json::Value = serde_json::from_slice(&std::fs::read(a.join("sparsec.lock")).unwrap()).unwrap();
    assert_eq!(lock["options"], serde_json::json!({"max_macs": ["60%"]}));
}

#[test]
fn a_text_without_a_header_is_read_with_a_remark() {
    let dir = TempDir::new().unwrap();
    let bare = file(&dir, "bare.onnxtxt", "g (float[n,2] x) => (float[n,2] y) { y = Relu (x) }");
    let out = sparsec(&["inspect", text(&bare), "--json"]);
    assert_eq!(out.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&out.stderr).contains("names no operator set"));
}

#[test]
fn plans_that_do_not_fit_are_refused() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let out = dir.path().join("out.onnx");
    let refused = |plan: &str, error: &str| {
        let plan = file(&dir, "plan.yaml", plan);
        fails(&["apply", &m, "--plan", text(&plan), "-o", text(&out)], 3, error);
        assert!(!out.exists());
    };
    refused(&PLAN.replace("branch_weight", "trunk_weight"), "error[S0402]: group `trunk_weight:0` is not in the model");
    refused(&PLAN.replace("units: 16", "units: 17"), "error[S0402]");
    refused(&PLAN.replace("keep: 0-7", "keep: 0-16"), "error[S0402]");
    refused(&PLAN.replace("plan@1", "plan@7"), "error[S0401]: the plan is of form `sparsec/plan@7`");
    refused("groups: [", "error[S0401]: not a plan: line 1, column 9: unclosed bracket");
    refused(&format!("model_sha256: {}\n{PLAN}", "0".repeat(64)), "error[S0403]");
    let missing = dir.path().join("none.yaml");
    fails(&["apply", &m, "--plan", text(&missing), "-o", text(&out)], 3, "error[S0101]");
}

#[test]
fn an_unknown_operator_passes_through_intact_and_is_named_as_the_reason() {
    let dir = TempDir::new().unwrap();
    let m = model("unknown_operator.onnxtxt");
    let inspected = json(&["inspect", &m, "--json"]);
    let frozen = inspected["frozen"].as_array().unwrap();
    let before = frozen.iter().find(|f| f["value"] == "before_weight" && f["axis"] == 0).unwrap();
    assert!(before["reason"].as_str().unwrap().contains("com.example.Mystery"), "{before}");
    let why = json(&["why", &m, "before_weight:0:1", "--json"]);
    assert_eq!(why["answers"][0]["frozen"]["node"], "Mystery → odd (com.example.Mystery)", "{why}");
    let plan = "schema: sparsec/plan@1\ngroups:\n- id: after_weight:0\n  units: 8\n  keep: 0, 5\n";
    let plan = file(&dir, "plan.yaml", plan);
    let pruned = sparsec_onnx::load(&apply(&dir, &m, &plan)).unwrap().model;
    let odd = pruned.graph.nodes().find(|(_, n)| n.op == "Mystery").unwrap().1;
    assert_eq!((odd.domain.as_str(), odd.attrs.len()), ("com.example", 2));
    let of = |name: &str| pruned.graph.constant(pruned.graph.find(name).unwrap()).unwrap().dims.clone();
    assert_eq!((of("after_weight"), of("last_weight")), (vec![2, 8, 1, 1], vec![5, 2, 1, 1]));
}

#[test]
fn an_operator_that_the_user_teaches_is_cut_through() {
    let (m, ops) = (model("unknown_operator.onnxtxt"), model("unknown_operator.ops.yaml"));
    let inspected = json(&["inspect", &m, "--ops", &ops, "--json"]);
    let groups: Vec<&str> = inspected["groups"].as_array().unwrap().iter().map(|g| g["id"].as_str().unwrap()).collect();
    assert_eq!(groups, ["before_weight:0", "after_weight:0"]);
    let dir = TempDir::new().unwrap();
    let wrong = file(&dir, "ops.yaml", "- domain: com.example\n  name: Mystery\n  relate: [twist]\n");
    fails(&["inspect", &m, "--ops", text(&wrong)], 3, "error[S0109]");
    fails(&["inspect", &m, "--ops", text(&wrong)], 3, "line 3, column");
    fails(&["inspect", &m, "--ops", text(&dir.path().join("none.yaml"))], 3, "error[S0101]");
}

#[test]
fn broken_model_files_are_refused_with_the_place() {
    let dir = TempDir::new().unwrap();
    let whole = dir.path().join("whole.onnx");
    json(&["opt", &model("tiny_cnn.onnxtxt"), "-o", text(&whole), "--json"]);
    json(&["inspect", text(&whole), "--json"]);
    let bytes = std::fs::read(&whole).unwrap();
    let cut = dir.path().join("cut.onnx");
    std::fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    fails(&["inspect", text(&cut)], 3, "error[S0102]");
    fails(&["estimate", text(dir.path()), "--target", "generic-x86"], 3, "error[S0101]");
    fails(&["why", text(&dir.path().join("none.onnx")), "x:0"], 3, "error[S0101]");
    let torn = file(&dir, "torn.onnxtxt", "g (float[2] x) => (float[2] y) {\n  y = Relu (z) }");
    fails(&["opt", text(&torn)], 3, "line 2, column");
    let circle = file(
        &dir,
        "circle.onnxtxt",
        "<ir_version: 9, opset_import: [\"\" : 18]>\ng (float[2] x) => (float[2] y) { y = Add (x, z) z = Relu (y) }",
    );
    assert_eq!(sparsec(&["inspect", text(&circle)]).status.code(), Some(3));
}

#[test]
fn why_gives_the_chain_of_nodes_and_rules() {
    let m = model("tiny_cnn.onnxtxt");
    let pair = |a: &str, b: &str| json(&["why", &m, a, b, "--json"]);
    let tied = pair("stem_weight:0:2", "head_weight:1:2");
    assert_eq!(tied["tie"], "together");
    let steps = tied["steps"].as_array().unwrap();
    assert_eq!((&steps[0]["from"], &steps[0]["op"]), (&"stem_weight:0:2".into(), &"Conv".into()));
    assert_eq!(steps.last().unwrap()["to"], "head_weight:1:2");
    assert!(steps.windows(2).all(|w| w[0]["to"] == w[1]["from"] && w[0]["rule"].is_string()), "{tied}");
    assert_eq!(pair("stem_weight:0:2", "stem_weight:0:3")["tie"], "independent");
    assert_eq!(pair("stem_weight:0:2", "inner:1:2")["tie"], "independent");
    // A normalisation was folded into the convolution before it; a node stands for its result.
    fails(&["why", &m, "stem_scale:0"], 2, "the canonical graph no longer has `stem_scale`");
    fails(&["why", &m, "stem_wieght:0"], 2, "near names: `stem_weight`");
    fails(&["why", &m, "stem_weight:4"], 2, "has no axis 4: it is [16, 3, 3, 3]");
    fails(&["why", &m, "stem_weight:0:16"], 2, "has no index 16 along axis 0");
    fails(&["why", &m, "stem_weight"], 2, "error[S0304]");
    let text = String::from_utf8(sparsec(&["why", &m, "head_weight:0"]).stdout).unwrap();
    assert_eq!(
        text,
        "head_weight:0, indices 0-4: can never leave: graph output (of logits:1:0)\n  \
         head_weight:0:0 ↔ logits:1:0  by Gemm → logits, rule R2\n"
    );
}

#[test]
fn names_with_colons_are_read_from_the_right() {
    let dir = TempDir::new().unwrap();
    let m = sparsec_testkit::model("g (float[2,3] x) => (float[2,3] \"y:0\") { \"y:0\" = Relu (x) }");
    let path = dir.path().join("m.onnx");
    sparsec_onnx::save(&m, &path, sparsec_onnx::Weights::Inline).unwrap();
    for (given, slot) in [("y:0:1", "y:0:1"), ("y:0:1:2", "y:0:1:2"), ("x:1", "x:1")] {
        assert_eq!(json(&["why", text(&path), given, "--json"])["slot"], slot);
    }
}

#[test]
fn opt_runs_the_passes_that_are_named() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let graph = |args: &[&str]| String::from_utf8(sparsec(args).stdout).unwrap();
    assert!(graph(&["opt", &m, "--passes", "dead-code"]).contains("BatchNormalization"));
    assert!(!graph(&["opt", &m]).contains("BatchNormalization"));
    let limited = json(&["opt", &m, "--rewrite-limit", "0", "--json"]);
    assert_eq!((&limited["changed"], &limited["rewrites"]), (&false.into(), &0.into()));
    let out = sparsec(&["opt", &m, "--print-after", "fold-batchnorm", "--verify-each", "--remarks"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("after fold-batchnorm:"));
    fails(&["opt", &m, "--passes", "fold-everything"], 2, "error[S0301]: there is no pass `fold-everything`");
    fails(&["opt", &m, "--print-after", "fold-everything"], 2, "error[S0301]");
    // What is written as text can be read back, weights and all.
    let copy = dir.path().join("copy.onnxtxt");
    json(&["opt", &m, "-o", text(&copy), "--json"]);
    let full = |path: &str| graph(&["opt", path, "--weights", "full"]);
    assert_eq!(full(text(&copy)), full(&m));
}

#[test]
fn reports_are_printed_passed_on_and_rendered_anew() {
    let dir = TempDir::new().unwrap();
    let (m, out) = (dir.path().join("m.onnx"), dir.path().join("out"));
    json(&["opt", &model("tiny_cnn.onnxtxt"), "-o", text(&m), "--json"]);
    let done = sparsec(&["compile", text(&m), "-o", text(&out), "--random-plan", "7", "--keep", "0.5"]);
    assert_eq!(done.status.code(), Some(0), "{}", String::from_utf8_lossy(&done.stderr));
    let page = dir.path().join("page.html");
    let shown = String::from_utf8(sparsec(&["report", text(&out), "--html", text(&page)]).stdout).unwrap();
    assert!(shown.contains("MACs") && shown.contains("branch_weight:0"), "{shown}");
    assert!(std::fs::read_to_string(&page).unwrap().contains("<html"));
    let report = sparsec(&["report", text(&out), "--json"]).stdout;
    assert_eq!(report, std::fs::read(out.join("report.json")).unwrap());
    assert_eq!(report, sparsec(&["report", text(&out.join("report.json")), "--json"]).stdout);
    fails(&["report", text(dir.path())], 3, "error[S0101]");
    std::fs::write(out.join("report.json"), "{}").unwrap();
    fails(&["report", text(&out)], 3, "error[S0701]");
}

#[test]
fn sentences_of_any_length_calibrate_and_the_shapes_that_are_left_out_are_said() {
    let dir = TempDir::new().unwrap();
    let graph = "<ir_version: 8, opset_import: [\"\" : 17]>
        g (float[n,len,4] x) => (float[n,len,2] y)
        <float[4,8] w = {1.0, 0.5, -1.0, 0.3, 2.0, -0.5, 0.1, 0.9, -0.2, 1.5, 0.4, -1.1, 0.6, 0.8, -0.7, 0.2, 0.3, -0.9, 1.2, 0.5,
          -1.4, 0.7, 0.6, -0.1, 0.8, 0.2, -0.3, 1.1, 0.4, -0.6, 0.9, 1.3},
         float[8,2] v = {0.5, 1.0, -0.5, 0.2, 0.9, -1.0, 0.3, 0.4, 1.1, -0.2, 0.6, 0.7, -0.8, 0.1, 0.2, 0.5}>
        { h = MatMul (x, w)  r = Relu (h)  y = MatMul (r, v) }";
    let m = file(&dir, "m.onnxtxt", graph);
    let data = dir.path().join("runs.npz");
    let mut z = NpzWriter::create(&data).unwrap();
    let mut state = 1u32;
    for run in 0..60u64 {
        let shape = [1, 1 + run % 6, 4];
        let name = format!("{run}/x");
        let mut w = z.array(&name, FileOptions::default()).unwrap().default_dtype().shape(&shape).begin_nd().unwrap();
        w.extend((0..shape[1] * 4).map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 24) as f32 - 0.5
        }))
        .unwrap();
        w.finish().unwrap();
    }
    drop(z);
    let out = dir.path().join("out");
    let args = ["compile", text(&m), "-o", text(&out), "--data", text(&data), "--max-macs", "75%", "--json"];
    let said = json(&args);
    assert!(said["after"]["macs"].as_f64().unwrap() <= 0.75 * said["before"]["macs"].as_f64().unwrap(), "{said}");
    assert!(said.to_string().contains("40 of 60 samples were used: those of 4 of their 6 shapes"), "{said}");
    let score = ["eval", text(&m), "--data", text(&data), "--metric", "agree", "--dense", text(&m)];
    fails(&score, 3, "have 6 different shapes");
}
