//! Branches: what can be dropped whole, and what is said of it.

use super::flow::drawn;
use super::{json, sparsec, text};
use std::path::PathBuf;
use tempfile::TempDir;

/// A net of two residual branches: `c` adds a constant, since its weights are 0, and `p` what it computes.
fn residual(dir: &TempDir) -> PathBuf {
    let zeros = vec!["0.0"; 32 * 8].join(", ");
    let graph = format!(
        "<ir_version: 10, opset_import: [\"\" : 18]>
         g (float[n,4] x) => (float[n,3] y)
         <float[4,8] stem = [\"location\": \"random:1\"], float[8,32] up = [\"location\": \"random:2\"],
          float[32,8] down = {{{zeros}}}, float[8] shift = {{3.0, -2.0, 1.0, 4.0, 0.5, -1.0, 2.0, -3.0}},
          float[8,24] wide = [\"location\": \"random:3\"], float[24,8] back = [\"location\": \"random:4\"],
          float[8,3] head = [\"location\": \"random:5\"]>
         {{ a = MatMul (x, stem) h = MatMul (a, up) r = Relu (h) o = MatMul (r, down) c = Add (o, shift) s = Add (a, c)
            k = MatMul (s, wide) q = Relu (k) p = MatMul (q, back) t = Add (s, p) y = MatMul (t, head) }}"
    );
    let path = dir.path().join("residual.onnxtxt");
    std::fs::write(&path, graph).unwrap();
    path
}

#[test]
fn a_branch_that_adds_its_mean_only_is_dropped_before_channels_are() {
    let dir = TempDir::new().unwrap();
    let (m, data, out) = (residual(&dir), drawn(&dir, "x", &[96, 4]), dir.path().join("out"));
    let curves = dir.path().join("curves.json");
    let measured = json(&["sensitivity", text(&m), "--data", text(&data), "-o", text(&curves), "--json"]);
    let error = |i: usize| measured["branches"][i]["error"].as_f64().unwrap();
    assert!(error(0) < 1e-9 && error(1) > 1e-4, "{measured}");

    let said = json(&["compile", text(&m), "-o", text(&out), "--data", text(&data), "--max-macs", "60%", "--json"]);
    assert!(said["notes"][0].as_str().unwrap().contains("branch `c`"), "{said}");
    let plan = std::fs::read_to_string(out.join("plan.yaml")).unwrap();
    assert!(plan.contains("branches:\n- c") && plan.contains("groups: []"), "{plan}");
    let (model, plan) = (out.join("model.onnx"), out.join("plan.yaml"));
    assert_eq!(json(&["verify", text(&m), text(&model), "--plan", text(&plan), "--json"])["equal"], true);

    let report = json(&["report", text(&out), "--json"]);
    let branch = |i: usize| &report["branches"][i];
    assert_eq!((branch(0)["dropped"].as_bool(), branch(1)["dropped"].as_bool()), (Some(true), Some(false)));
    assert_eq!((branch(0)["params"].as_u64(), branch(0)["macs"].as_u64()), (Some(520), Some(512)));
    assert!(branch(0)["why"].as_str().unwrap().starts_with("to keep it would lower"), "{report}");
    assert!(branch(1)["why"].as_str().unwrap().starts_with("dropping it would raise"), "{report}");
    // A group within is gone, too.
    let group = |why: &str| report["groups"].as_array().unwrap().iter().find(|g| g["why_not_more"] == why);
    assert_eq!(group("lies in `c`, which is dropped").expect("one does")["kept"], 0);
    let shown = String::from_utf8(sparsec(&["report", text(&out)]).stdout).unwrap();
    let line = |id: &str| shown.lines().find(|l| l.contains(&format!("  {id}  "))).unwrap_or_default();
    assert!(line("c").contains("dropped") && line("p").contains("kept"), "{shown}");
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("<h2 id=\"branches\">") && page.contains(">dropped<"));

    // Curves that know no branches drop none.
    let mut without: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(&curves).unwrap()).unwrap();
    without.as_object_mut().unwrap().remove("branches");
    std::fs::write(&curves, without.to_string()).unwrap();
    let plan = dir.path().join("channels.yaml");
    json(&["plan", text(&m), "--curves", text(&curves), "--max-macs", "60%", "-o", text(&plan), "--json"]);
    assert!(!std::fs::read_to_string(&plan).unwrap().contains("branches"));
    without["branches"] = serde_json::json!([{ "id": "p", "error": 0.0 }]);
    std::fs::write(&curves, without.to_string()).unwrap();
    let wrong = sparsec(&["plan", text(&m), "--curves", text(&curves), "--max-macs", "60%", "-o", text(&plan)]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(said.contains("[S0404]") && said.contains("branch `p` is not the branch in its place"), "{said}");
}

#[test]
fn why_says_what_goes_with_a_term_and_what_stays_or_why_it_stays() {
    let dir = TempDir::new().unwrap();
    let m = residual(&dir);
    let said = json(&["why", text(&m), "c", "--json"]);
    let names = |key: &str| said[key].as_array().unwrap().len();
    assert_eq!((names("nodes"), names("beside"), said["params"].as_u64()), (4, 1, Some(520)));
    assert_eq!(
        (said["stays"][0]["value"].as_str(), said["stays"][0]["read_by"][0].as_str()),
        (Some("a"), Some("Add → s"))
    );
    let shown = String::from_utf8(sparsec(&["why", text(&m), "c"]).stdout).unwrap();
    assert!(shown.contains("it can be dropped whole; with it go 4 nodes, 520 parameters and 512 MACs"), "{shown}");
    let shown = String::from_utf8(sparsec(&["why", text(&m), "a"]).stdout).unwrap();
    assert!(shown.contains("it cannot be dropped: something else reads it too"), "{shown}");
}

#[test]
fn a_branch_that_a_plan_drops_is_listed_applied_and_verified() {
    let dir = TempDir::new().unwrap();
    let at = |name: &str| dir.path().join(name).display().to_string();
    let fixture = sparsec_testkit::workspace().join("testdata/passes/remove/branch_of_a_residual_net.onnxtxt");
    let graph = std::fs::read_to_string(fixture).unwrap();
    let text = at("model.onnxtxt");
    std::fs::write(&text, format!("<ir_version: 10, opset_import: [\"\" : 18]>\n{graph}")).unwrap();
    let seen = json(&["inspect", &text, "--dim", "n=1", "--json"]);
    let branch = &seen["branches"][0];
    assert_eq!((branch["id"].as_str(), branch["params"].as_u64()), (Some("d"), Some(4 * 6 * 9 + 6 * 4)));
    assert_eq!(branch["macs"].as_u64(), Some(16 * (4 * 6 * 9 + 6 * 4)));
    std::fs::write(at("plan.yaml"), "schema: sparsec/plan@1\ngroups: []\nbranches: [d]\n").unwrap();
    let applied = json(&["apply", &text, "--plan", &at("plan.yaml"), "-o", &at("cut.onnx"), "--json"]);
    assert_eq!(applied["params_after"].as_u64(), Some(6 * 3 + 2 * 6));
    assert!(applied["dropped"][0].as_str().unwrap().contains("branch `d`"), "{applied}");
    let found = json(&["verify", &text, &at("cut.onnx"), "--plan", &at("plan.yaml"), "--json"]);
    assert!(found["equal"].as_bool().unwrap() && found["effect"].as_f64().unwrap() > 0.0, "{found}");
    std::fs::write(at("plan.yaml"), "schema: sparsec/plan@1\ngroups: []\nbranches: [c]\n").unwrap();
    let refused = sparsec(&["apply", &text, "--plan", &at("plan.yaml"), "-o", &at("no.onnx")]);
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(said.contains("branch `c` is not in the model; it has `d`"), "{said}");
}
