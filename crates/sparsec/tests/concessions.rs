//! What a user allows beyond exact cuts, and gives up.

use super::{fails, json, sparsec, text};
use std::path::PathBuf;
use tempfile::TempDir;

/// A token classifier: embedding, a normalised residual block, classes.
const MODEL: &str = r#"<ir_version: 9, opset_import: ["" : 18]>
g (int64[n,5] ids) => (float[n,5,6] classes)
<float[9,8] emb = ["location": "random:1"], float[8,4] w = ["location": "random:2"], float[4,8] v = ["location": "random:3"],
 float[8] s = ["location": "random:4"], float[8] b = ["location": "random:5"], float[8,6] head = ["location": "random:6"]>
{
  x = Gather (emb, ids)
  z = LayerNormalization (x, s, b)
  h = MatMul (z, w)
  r = Relu (h)
  d = MatMul (r, v)
  sum = Add (x, d)
  classes = MatMul (sum, head)
}"#;

fn model(dir: &TempDir) -> (String, PathBuf) {
    let path = dir.path().join("tokens.onnxtxt");
    std::fs::write(&path, MODEL).unwrap();
    (path.to_str().unwrap().to_string(), dir.path().join("out"))
}

fn compile(dir: &TempDir, concessions: &[&str]) -> (String, PathBuf, serde_json::Value) {
    let (m, out) = model(dir);
    let args = ["compile", &m, "-o", text(&out), "--random-plan", "5", "--keep", "0.5", "--json"];
    let found = json(&[&args[..], concessions].concat());
    (m, out, found)
}

fn notes(found: &serde_json::Value, key: &str) -> String {
    found[key].as_array().unwrap().iter().map(|n| n.as_str().unwrap().to_string() + "\n").collect()
}

#[test]
fn a_width_that_is_normalised_over_is_cut_where_the_policy_allows_and_that_is_said() {
    let dir = TempDir::new().unwrap();
    let (m, out, exact) = compile(&dir, &[]);
    assert!(!notes(&exact, "notes").contains("inexactly"), "{exact}");
    let plan = || std::fs::read_to_string(out.join("plan.yaml")).unwrap();
    assert!(!plan().contains("emb:1") && !plan().contains("concessions"), "{}", plan());

    let (_, _, found) = compile(&dir, &["--allow", "normalised-width"]);
    assert_eq!(found["verify"]["equal"], true, "{found}");
    let said = "cut inexactly, as `normalised-width` allows: 4 of 8 channels stay";
    assert!(notes(&found, "notes").contains(said), "{found}");
    assert!(plan().contains("emb:1") && plan().contains("- normalised-width"), "{}", plan());
    let report = std::fs::read_to_string(out.join("report.json")).unwrap();
    let lock = std::fs::read_to_string(out.join("sparsec.lock")).unwrap();
    assert!(report.contains(said) && lock.contains("normalised-width"), "{lock}");

    let (pruned, plan) = (out.join("model.onnx"), out.join("plan.yaml"));
    let again = dir.path().join("again.onnx");
    json(&["apply", &m, "--plan", text(&plan), "-o", text(&again), "--json"]);
    for pruned in [&pruned, &again] {
        let verified = json(&["verify", &m, text(pruned), "--plan", text(&plan), "--json"]);
        assert_eq!(verified["equal"], true, "{verified}");
        assert!(notes(&verified, "conceded").contains(said) && verified["effect"].as_f64() > Some(1e-3), "{verified}");
    }
}

#[test]
fn classes_and_entries_that_are_given_up_leave_and_the_rest_is_the_same() {
    let dir = TempDir::new().unwrap();
    let (m, out, found) = compile(&dir, &["--give-up", "classes:-1=0,4", "--give-up", "emb:0=2-3"]);
    assert_eq!(found["verify"]["equal"], true, "{found}");
    let said = notes(&found, "notes");
    assert!(said.contains("`emb:0` has 7 of 9 entries, without 2-3: data goes on naming the others"), "{said}");
    assert!(said.contains("`classes:2` has 4 of 6 entries, without 0, 4: entry j of it is the j-th"), "{said}");
    let params = |side: &str| found[side]["params"].as_u64().unwrap();
    assert!(params("before") == 72 + 32 + 32 + 16 + 48 && params("after") < params("before"), "{found}");
    let (pruned, plan) = (out.join("model.onnx"), out.join("plan.yaml"));
    let verified = json(&["verify", &m, text(&pruned), "--plan", text(&plan), "--json"]);
    assert!(verified["equal"] == true && verified["given_up_error"].as_f64() < Some(1e-5), "{verified}");
    let model = sparsec_onnx::load(&pruned).unwrap().model;
    assert!(model.meta.contains(&("sparsec.given_up".to_string(), "classes:-1=0, 4; emb:0=2-3".to_string())));
    let classes = model.graph.value(model.graph.outputs()[0]).ty.as_ref().unwrap().to_string();
    assert_eq!(classes, "float[n,5,4]");
}

#[test]
fn inspect_names_the_option_that_would_let_an_axis_go() {
    let dir = TempDir::new().unwrap();
    let (m, _) = model(&dir);
    let held = |args: &[&str]| {
        let rows = json(&[&["inspect", &m, "--json"], args].concat())["held_back"].as_array().unwrap().clone();
        rows.iter().filter_map(|r| Some(r["remedy"].as_str()?.to_string() + "\n")).collect::<String>()
    };
    let all = held(&[]);
    for option in ["`--allow normalised-width`", "`--give-up classes:2=INDICES`", "`--give-up emb:0=INDICES`"] {
        assert!(all.contains(option), "{all}");
    }
    assert!(!held(&["--allow", "normalised-width"]).contains("--allow"));
}

#[test]
fn what_cannot_be_given_up_is_refused_with_the_reason() {
    let dir = TempDir::new().unwrap();
    let (m, _) = model(&dir);
    let inspect = |given: &str, status: i32, why: &str| fails(&["inspect", &m, "--give-up", given], status, why);
    inspect("w:1=2", 2, "`w:1:2` cannot be given up: `MatMul → d` sums over it");
    inspect("nothing:1=2", 2, "no such value");
    inspect("classes:7=2", 2, "there is no axis of this number");
    inspect("classes:2=6", 2, "has indices 0-5, and 6 was given up");
    inspect("classes=6", 2, "expected `VALUE:AXIS=INDICES`");
    let out = sparsec(&["inspect", &m, "--allow", "anything"]);
    assert!(String::from_utf8_lossy(&out.stderr).contains("`anything` is none of `normalised-width`"));
}
