//! What `inspect` and `why` say of a model: that remedies help, that figures are right, in words that people know.

use super::{fails, json, sparsec, text};
use serde_json::Value;
use std::path::PathBuf;
use tempfile::TempDir;

/// A file in `dir` with the model of this text.
fn file(dir: &TempDir, contents: &str) -> PathBuf {
    let path = dir.path().join("model.onnxtxt");
    std::fs::write(&path, format!("<ir_version: 9, opset_import: [\"\" : 18, \"my\" : 1]> {contents}")).unwrap();
    path
}

fn inspect(contents: &str, args: &[&str]) -> Value {
    let dir = TempDir::new().unwrap();
    json(&[&["inspect", text(&file(&dir, contents)), "--json"], args].concat())
}

fn remedies(found: &Value) -> Vec<String> {
    let rows = found["held_back"].as_array().unwrap().iter();
    rows.filter_map(|r| Some(r["remedy"].as_str()?.to_string())).collect()
}

const TIED: &str = r#"g (int64[5] ids) => (float[5,9] y) <float[9,8] emb = ["location": "random:1"]>
    { x = Gather (emb, ids) y = Gemm <transB = 1> (x, emb) }"#;

#[test]
fn what_is_offered_to_be_given_up_is_taken() {
    let computed = r#"g (float[1,4] x) => (float[1,3] y)
        <float[4,6] w = ["location": "random:1"], int64[1] k = {3}>
        { s = MatMul (x, w) y, i = TopK (s, k) }"#;
    for (graph, offered) in [
        (TIED, vec!["`--give-up emb:0=INDICES --give-up y:1=INDICES` takes out what nobody needs"]),
        (computed, vec![]),
    ] {
        let found = remedies(&inspect(graph, &[]));
        let options: Vec<&String> = found.iter().filter(|r| r.contains("--give-up")).collect();
        assert_eq!(options, offered, "{found:?}");
        for option in options {
            let option = option.split('`').nth(1).unwrap().replace("INDICES", "0");
            inspect(graph, &option.split(' ').collect::<Vec<_>>());
        }
    }
}

#[test]
fn operators_that_cannot_be_taught_are_not_offered_to_be() {
    let opaque = r#"g (float[3] x, bool[n] c) => (float[3] y) <float[3,3] w = ["location": "random:1"]>
        { i = NonZero (w) h = Cast <to = 1> (i) s = ReduceSum <keepdims = 0> (h) y = Add (x, s) }"#;
    let found = remedies(&inspect(opaque, &[]));
    assert_eq!(found, ["export the model without NonZero"]);
    let unknown = r#"g (float[1,3,8,8] x) => (y) <float[4,3,1,1] v = ["location": "random:1"], float[4,4,1,1] w = ["location": "random:2"]>
        { h = Conv (x, v) k = my.Mystery (h) y = Conv (k, w) }"#;
    let found = remedies(&inspect(unknown, &[]));
    assert_eq!(found, ["teach my.Mystery with `--ops FILE` (docs/teaching.md)"; 2]);
    let dir = TempDir::new().unwrap();
    let ops = dir.path().join("ops.yaml");
    std::fs::write(&ops, "- {domain: my, name: Mystery, like: 0, relate: [{same: [x0:9, y0:1]}]}\n").unwrap();
    let found = remedies(&inspect(unknown, &["--ops", text(&ops)]));
    assert_eq!(found[0], "correct the rule of my.Mystery in the file of `--ops`");
}

#[test]
fn what_an_axis_holds_back_is_counted_through_nodes_that_only_move_weights() {
    let quantised = r#"g (float[1,2] x) => (float[1,3] y)
        <int8[2,3] q = {1, -2, 3, 4, 5, -6}, float s = {0.5}, int8 z = {0}>
        { w = DequantizeLinear (q, s, z) y = MatMul (x, w) }"#;
    let found = inspect(quantised, &[]);
    let rows = found["held_back"].as_array().unwrap();
    let output = rows.iter().find(|r| r["reason"] == "graph output").unwrap();
    assert_eq!((&output["axes"][0], output["macs"].as_u64()), (&"q:1".into(), Some(6)), "{found}");
}

#[test]
fn a_group_has_no_more_parameters_than_the_model() {
    // The channels of x sit on both axes of the square matrix.
    let found = inspect(
        r#"g (float[1,4] x) => (float[1,2] y) <float[4,8] a = ["location": "random:1"],
           float[8,8] w = ["location": "random:2"], float[8,2] b = ["location": "random:3"]>
           { h = MatMul (x, a) k = MatMul (h, w) s = Add (h, k) y = MatMul (s, b) }"#,
        &[],
    );
    assert_eq!(found["groups"][0]["params"], found["params"], "{found}");
}

#[test]
fn sizes_that_are_open_are_said_by_every_command_and_can_be_given() {
    let open = r#"g (float[1,3,h,w] x) => (float[1,4,h,w] y) <float[8,3,1,1] v = ["location": "random:1"],
        float[4,8,1,1] w0 = ["location": "random:2"]> { k = Conv (x, v) y = Conv (k, w0) }"#;
    let dir = TempDir::new().unwrap();
    let (m, out) = (file(&dir, open), dir.path().join("out"));
    let args = ["compile", text(&m), "-o", text(&out), "--random-plan", "1", "--keep", "0.5"];
    let found = json(&[&args[..], &["--json"]].concat());
    assert!(found["warnings"][0].as_str().unwrap().contains("pass `--dim NAME=N`"), "{found}");
    let said = String::from_utf8(sparsec(&args).stdout).unwrap();
    assert!(said.lines().any(|l| l.split_whitespace().eq(["MACs", "–", "–"])), "{said}");
    let found = json(&[&args[..], &["--dim", "h=4", "--dim", "w=4", "--json"]].concat());
    assert_eq!(
        (found["before"]["macs"].as_u64(), found["warnings"].as_array().unwrap().len()),
        (Some(896), 0),
        "{found}"
    );
    fails(&["estimate", text(&m)], 2, "axis 2 of input `x` has no known size");
    fails(&[&args[..], &["--dim", "depth=4"]].concat(), 2, "depth");
}

#[test]
fn macs_that_are_not_counted_are_said_to_be_missing() {
    // How many positions there are depends on the numbers in x.
    let data = r#"g (float[4] x) => (float[p,5] y) <float[1,5] w = ["location": "random:1"]>
        { i = NonZero (x) t = Transpose <perm = [1, 0]> (i) f = Cast <to = 1> (t) y = MatMul (f, w) }"#;
    let found = inspect(data, &[]);
    assert_eq!(
        found["uncounted"][0], "MACs and time leave out 1 node of which sizes are not known: MatMul → y",
        "{found}"
    );
    assert!(inspect(TIED, &[]).get("uncounted").is_none());
}

#[test]
fn every_command_counts_the_same_parameters() {
    // The normalisation is merged into the layer before it.
    let normalised = r#"g (float[1,3,4,4] x) => (float[1,4,4,4] y) <float[8,3,1,1] v = ["location": "random:1"],
        float[8] s = ["location": "random:2"], float[8] b = ["location": "random:3"], float[8] mean = ["location": "random:4"],
        float[8] var = {1, 1, 1, 1, 1, 1, 1, 1}, float[4,8,1,1] w = ["location": "random:5"]>
        { [conv1] k = Conv (x, v) [bn1] n = BatchNormalization (k, s, b, mean, var) r = Relu (n) y = Conv (r, w) }"#;
    let dir = TempDir::new().unwrap();
    let (m, out, plan) = (file(&dir, normalised), dir.path().join("out"), dir.path().join("plan.yaml"));
    std::fs::write(&plan, "schema: sparsec/plan@1\ngroups: []\n").unwrap();
    let inspected = json(&["inspect", text(&m), "--json"]);
    let estimated = json(&["estimate", text(&m), "--json"]);
    let applied = json(&["apply", text(&m), "--plan", text(&plan), "-o", text(&dir.path().join("m.onnx")), "--json"]);
    let compiled = json(&["compile", text(&m), "-o", text(&out), "--random-plan", "1", "--keep", "1", "--json"]);
    for canonical in [&inspected["params"], &estimated["params"], &compiled["after"]["params"]] {
        assert_eq!(canonical.as_u64(), Some(24 + 8 + 32));
    }
    for of_file in [&inspected["params_in_file"], &applied["params_before"], &compiled["before"]["params"]] {
        assert_eq!(of_file.as_u64(), Some(24 + 32 + 32));
    }
    let said = "24 of the 88 parameters in the file leave by folding and merging alone";
    assert!(compiled["notes"].as_array().unwrap().contains(&said.into()), "{compiled}");
    assert!(estimated["notes"].as_array().unwrap().contains(&said.into()), "{estimated}");
    // Names of the model as it came lead to where they went.
    fails(&["why", text(&m), "s:0"], 2, "help: it was merged into `conv1`");
}

#[test]
fn the_report_says_what_can_leave_and_what_frees_the_rest() {
    let dir = TempDir::new().unwrap();
    let layers = r#"g (float[1,4] x) => (float[1,3] y) <float[4,8] "a.weight" = ["location": "random:1"],
        float[8,3] fold = ["location": "random:2"]> { h = MatMul (x, "a.weight") y = MatMul (h, fold) }"#;
    let (m, out) = (file(&dir, layers), dir.path().join("out"));
    json(&["compile", text(&m), "-o", text(&out), "--random-plan", "1", "--keep", "0.5", "--json"]);
    let report: Value = serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap();
    assert_eq!((&report["prunable"]["params"], &report["prunable"]["macs"]), (&1.0.into(), &1.0.into()), "{report}");
    assert_eq!(report["groups"][0]["macs_share"], 1.0, "{report}");
    let class = report["frozen"].as_array().unwrap().iter().find(|f| f["value"] == "fold").unwrap();
    assert!(class.get("layer").is_none() && report["groups"][0]["title"] == "a", "{report}");
    assert_eq!(
        (class["macs"].as_u64(), &class["remedy"]),
        (Some(24), &"`--give-up y:1=INDICES` takes out what nobody needs".into())
    );
    let page = std::fs::read_to_string(out.join("report.html")).unwrap();
    assert!(page.contains("--give-up y:1=INDICES takes out what nobody needs") && !page.contains('`'));
    assert!(std::fs::read_to_string(out.join("plan.yaml")).unwrap().contains("  layers: a\n"));
}

#[test]
fn why_takes_what_inspect_prints() {
    let dir = TempDir::new().unwrap();
    let pairs = r#"g (float[1,4] x) => (float[1,3] y) <float[4,8] "a.weight" = ["location": "random:1"],
        float[4,3] "b.weight" = ["location": "random:2"], int64[3] to = {1, 2, 4}>
        { h = MatMul (x, "a.weight") p = Reshape (h, to) s = ReduceSum <keepdims = 0> (p, one) y = MatMul (s, "b.weight") }"#;
    let pairs = pairs.replace("int64[3] to", "int64[1] one = {1}, int64[3] to");
    let m = file(&dir, &pairs);
    let inspected = json(&["inspect", text(&m), "--json"]);
    for group in inspected["groups"].as_array().unwrap() {
        let found = json(&["why", text(&m), group["id"].as_str().unwrap(), "--json"]);
        assert_eq!(found["answers"][0]["units"][0]["group"], group["id"], "{found}");
    }
    assert!(inspected["groups"][0]["id"].as_str().unwrap().contains('/'), "{inspected}");
    let found = json(&["why", text(&m), "a:1", "--json"]);
    assert_eq!(found["slot"], "h:1");
}

#[test]
fn a_model_without_anything_to_cut_says_why() {
    let bare = "g (float[1,4] x) => (float[1,4] y) { y = Relu (x) }";
    let found = inspect(bare, &[]);
    assert_eq!(found["nothing"], "nothing can be cut: the model has no weights with channels outside of subgraphs");
    let dir = TempDir::new().unwrap();
    let (m, out) = (file(&dir, bare), dir.path().join("out"));
    let compiled = json(&["compile", text(&m), "-o", text(&out), "--random-plan", "1", "--keep", "0.5", "--json"]);
    assert_eq!(compiled["warnings"][0], found["nothing"], "{compiled}");
}

#[test]
fn wrong_use_is_answered_with_what_would_be_right() {
    let dir = TempDir::new().unwrap();
    let m = file(&dir, TIED);
    fails(&["inspect", text(&m), "--give-up", "enb:0=1"], 2, "near names: `emb`");
    fails(&["inspect", text(&m), "--give-up", "y:1=0-8"], 2, "all of axis 1 of `y` is given up");
    fails(&["opt", text(&m), "--passes", "fold-constnats", "-o", "x.onnx"], 2, "near names: `fold-constants`");
    fails(&["inspect", text(&m), "--threads", "0"], 2, "a whole number from 1 up");
    json(&["inspect", text(&m), "--allow", "normalized-width", "--json"]);
    let small = dir.path().join("small.onnxtxt");
    fails(&["reduce", text(&m), "-o", text(&small), "--command", "./nosuch.sh"], 2, "cannot start `./nosuch.sh`");
    let ops = dir.path().join("ops.yaml");
    std::fs::write(&ops, "- {domain: my, name: Mistery, relate: [elementwise]}\n").unwrap();
    let said = sparsec(&["inspect", text(&m), "--ops", text(&ops)]).stderr;
    assert!(String::from_utf8(said).unwrap().contains("`--ops` teaches `my.Mistery`, and the model has no such node"));
    let out = sparsec(&["inspect", "nosuch.onnx", "--json"]);
    let error: Value = serde_json::from_slice(&out.stdout).expect("one JSON object");
    assert_eq!((&error["schema"], &error["code"]), (&"sparsec/error@1".into(), &"S0101".into()), "{error}");
}

#[test]
fn a_reason_that_many_nodes_state_is_one_row_for_people_and_many_for_programs() {
    let layer = |i: u32| format!("s{i} = Softmax (x{i}) x{} = MatMul (s{i}, w{i})", i + 1);
    let weights = |i: u32| format!("float[4,4] w{i} = [\"location\": \"random:{}\"]", i + 1);
    let many = |f: &dyn Fn(u32) -> String, between: &str| (0..5).map(f).collect::<Vec<_>>().join(between);
    let graph = format!("g (float[1,4] x0) => (float[1,4] x5) <{}> {{ {} }}", many(&weights, ", "), many(&layer, " "));
    let found = inspect(&graph, &[]);
    let rows = found["held_back"].as_array().unwrap();
    let reason = "Softmax works over the whole axis";
    assert!(rows.iter().filter(|r| r["reason"] == reason).count() > 3, "{found}");
    let dir = TempDir::new().unwrap();
    let said = String::from_utf8(sparsec(&["inspect", text(&file(&dir, &graph))]).stdout).unwrap();
    assert_eq!(said.matches(reason).count(), 1, "{said}");
}
