//! Weights that become partly zero, from samples to a plan and back.

use super::flow::{file, model, samples};
use super::{fails, json, sparsec, text};
use std::path::Path;
use tempfile::TempDir;

/// The plan without what stays of each weight.
fn open(plan: &Path) -> String {
    let text = std::fs::read_to_string(plan).unwrap();
    let mut plan = sparsec_plan::Plan::parse(&text).unwrap();
    plan.masks.iter_mut().for_each(|m| m.kept = None);
    plan.to_yaml().unwrap()
}

#[test]
fn masks_alone_or_after_a_cut_are_reported_verified_and_replayed_bit_for_bit() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    for (name, limits) in [("alone", &[][..]), ("hybrid", &["--max-macs", "70%"])] {
        let out = dir.path().join(name);
        let args = ["compile", &m, "-o", text(&out), "--data", text(&data), "--mask", "4x1", "--mask-density", "60%"];
        let compiled = json(&[&args[..], limits, &["--json"]].concat());
        // Zeros are no saving.
        let macs = |side: &str| compiled[side]["macs"].as_f64().unwrap();
        assert_eq!(macs("after") == macs("before"), limits.is_empty(), "{compiled}");
        let masks = compiled["masks"].as_array().unwrap();
        let left: f64 = masks.iter().map(|m| m["macs"].as_f64().unwrap() * m["density"].as_f64().unwrap()).sum();
        let all: f64 = masks.iter().map(|m| m["macs"].as_f64().unwrap()).sum();
        assert!(masks.len() == 4 && left <= 0.6 * all + 1e-6 && left > 0.55 * all, "{left} {all}");
        assert!(compiled["notes"].to_string().contains("save no time or memory"), "{compiled}");

        let (plan, made) = (out.join("plan.yaml"), std::fs::read(out.join("model.onnx")).unwrap());
        let verified = json(&["verify", &m, text(&out.join("model.onnx")), "--plan", text(&plan), "--json"]);
        assert_eq!((&verified["equal"], verified["masks"].as_u64() > Some(1)), (&true.into(), true), "{verified}");
        let again = dir.path().join("again.onnx");
        for threads in ["1", "3"] {
            let args = ["apply", &m, "--plan", text(&plan), "-o", text(&again), "--data", text(&data)];
            json(&[&args[..], &["--threads", threads, "--json"]].concat());
            assert_eq!(std::fs::read(&again).unwrap(), made);
        }

        // Without samples the masks are carried out; what they leave is as it was.
        json(&["apply", &m, "--plan", text(&plan), "-o", text(&again), "--json"]);
        assert_eq!(json(&["verify", &m, text(&again), "--plan", text(&plan), "--json"])["equal"], true);
        let open = file(&dir, "open.yaml", &open(&plan));
        fails(&["apply", &m, "--plan", text(&open), "-o", text(&again)], 3, "error[S0418]");
        json(&["apply", &m, "--plan", text(&open), "-o", text(&again), "--data", text(&data), "--json"]);
        let weights = |path: &Path| {
            let model = sparsec_onnx::load(path).unwrap().model;
            model.graph.values().filter_map(|(v, _)| model.graph.constant(v).cloned()).collect::<Vec<_>>()
        };
        assert!(weights(&again) == weights(&out.join("model.onnx")));
    }
}

#[test]
fn a_model_without_the_zeros_of_its_plan_fails_verification_with_5() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let plan = "schema: sparsec/plan@1\ngroups: []\nmasks:\n- {weight: merge_weight, pattern: '2:4', density: 0.5}\n";
    let plan = file(&dir, "plan.yaml", plan);
    let out = sparsec(&["verify", &m, &m, "--plan", text(&plan), "--json"]);
    assert_eq!(out.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&out.stderr).contains("not zero where the plan says: `merge_weight`"));
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let out = dir.path().join("out.onnx");
    let refused = |mask: &str, error: &str| {
        let plan = file(&dir, "plan.yaml", &format!("schema: sparsec/plan@1\ngroups: []\nmasks:\n- {{{mask}}}\n"));
        fails(&["apply", &m, "--plan", text(&plan), "-o", text(&out), "--data", text(&data)], 3, error);
    };
    refused("weight: no_weight, pattern: 1x1, density: 0.5", "error[S0402]: the model has no weight `no_weight`");
    refused("weight: merge_weight, pattern: 1x1, density: .nan", "error[S0402]");
    refused("weight: merge_weight, pattern: 1x1, density: 0", "error[S0402]");
    refused("weight: merge_weight, pattern: 2:4, density: 0.7", "2:4 leaves 0.5");
    refused("weight: merge_weight, pattern: 32x1, density: 0.5", "fewer than a block of 32");
    refused("weight: merge_weight, pattern: 4x2, density: 0.5", "error[S0401]");
    refused("weight: merge_weight, pattern: 1x1, density: 0.5, kept: AAAA", "of 24 blocks, and its weight has 256");
    let folder = dir.path().join("folder");
    let args = ["compile", &m, "-o", text(&folder), "--data", text(&data), "--mask", "5"];
    fails(&args, 2, "a pattern is `1x1`, `4x1` or `8x1`");
}

#[test]
fn channels_and_masks_share_a_limit_that_counts_what_is_not_by_zero_and_no_other_does() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let compiled = |name: &str, limit: [&str; 2]| {
        let out = dir.path().join(name);
        let args = ["compile", &m, "-o", text(&out), "--data", text(&data), "--mask", "4x1", "--json"];
        (json(&[&args[..], &limit].concat()), out)
    };
    let (joint, out) = compiled("macs", ["--max-macs", "45%"]);
    let figure = |of: &serde_json::Value| of.as_f64().unwrap();
    let (before, after) = (figure(&joint["nonzero_macs"]["before"]), figure(&joint["nonzero_macs"]["after"]));
    assert!(after <= 0.45 * before && after > 0.43 * before && figure(&joint["after"]["macs"]) > after, "{joint}");
    assert_eq!((&joint["limits"][0]["met"], before), (&true.into(), figure(&joint["before"]["macs"])));
    assert!(joint["notes"].to_string().contains("the limit on multiply-accumulates alone counts them"), "{joint}");
    // The same channels without zeros take the same time and memory.
    let plan = std::fs::read_to_string(out.join("plan.yaml")).unwrap();
    let mut bare = sparsec_plan::Plan::parse(&plan).unwrap();
    bare.masks.clear();
    let (bare, cut) = (file(&dir, "bare.yaml", &bare.to_yaml().unwrap()), dir.path().join("cut.onnx"));
    json(&["apply", &m, "--plan", text(&bare), "-o", text(&cut), "--data", text(&data), "--json"]);
    let estimated = |path: &Path| json(&["estimate", text(path), "--json"])["latency_ms"].clone();
    assert_eq!(estimated(&cut), estimated(&out.join("model.onnx")));
    let made = out.join("model.onnx");
    assert_eq!(json(&["verify", &m, text(&made), "--plan", text(&out.join("plan.yaml")), "--json"])["equal"], true);

    let (quick, _) = compiled("latency", ["--max-latency", "90%"]);
    assert!(quick["masks"].is_null() && quick["notes"].to_string().contains("no weight is masked"), "{quick}");
}

#[test]
fn curves_of_masks_are_told_and_planned_from() {
    let dir = TempDir::new().unwrap();
    let (m, data) = (model("tiny_cnn.onnxtxt"), samples(&dir));
    let (curves, plan) = (dir.path().join("curves.json"), dir.path().join("plan.yaml"));
    let args = ["sensitivity", &m, "--data", text(&data), "-o", text(&curves), "--mask"];
    let told = json(&[&args[..], &["4x1", "--json"]].concat());
    let weights = told["masks"]["weights"].as_array().unwrap();
    let falls = |w: &serde_json::Value| {
        let error: Vec<f64> = w["error"].as_array().unwrap().iter().map(|e| e.as_f64().unwrap()).collect();
        error.len() == 32 && error.windows(2).all(|e| e[0] >= e[1]) && error[31] == 0.0
    };
    assert!(weights.len() == 4 && weights.iter().all(falls), "{told}");
    assert!(told["passes"].as_f64().unwrap() > 1.0, "{told}");
    let planned = |mask: &[&str]| {
        let args = ["plan", &m, "--curves", text(&curves), "--max-macs", "45%", "-o", text(&plan), "--json"];
        json(&[&args[..], mask].concat())
    };
    let (joint, channels) = (planned(&["--mask", "4x1"]), planned(&[]));
    assert!(!joint["masks"].as_array().unwrap().is_empty() && channels["masks"].is_null(), "{joint}");
    let params = |p: &serde_json::Value| p["after"]["params"].as_f64().unwrap();
    assert!(params(&joint) >= params(&channels));
    let other = ["plan", &m, "--curves", text(&curves), "--max-macs", "45%", "-o", text(&plan), "--mask", "2:4"];
    fails(&other, 3, "error[S0404]");

    let refused = json(&[&args[..], &["32x1", "--json"]].concat());
    assert!(refused["masks"]["weights"].to_string().contains("fewer than a block of 32"), "{refused}");
}

#[test]
fn channels_lie_in_the_order_in_which_a_plan_keeps_them() {
    let dir = TempDir::new().unwrap();
    let m = model("tiny_cnn.onnxtxt");
    let plan = |name: &str, keep: &str| {
        file(
            &dir,
            name,
            &format!("schema: sparsec/plan@1\ngroups:\n- {{id: 'branch_weight:0', units: 16, keep: '{keep}'}}\n"),
        )
    };
    let applied = |plan: &Path, name: &str| {
        let out = dir.path().join(name);
        json(&["apply", &m, "--plan", text(plan), "-o", text(&out), "--json"]);
        let verified = json(&["verify", &m, text(&out), "--plan", text(plan), "--json"]);
        assert_eq!(verified["equal"], true, "{verified}");
        std::fs::read(&out).unwrap()
    };
    let (sorted, other) = (plan("sorted.yaml", "0-9, 12"), plan("other.yaml", "12, 5-9, 0-4"));
    let (straight, moved) = (applied(&sorted, "sorted.onnx"), applied(&other, "other.onnx"));
    assert!(straight.len() == moved.len() && straight != moved);
    // The plan of the one is not that of the other.
    let wrong = sparsec(&["verify", &m, text(&dir.path().join("other.onnx")), "--plan", text(&sorted), "--json"]);
    assert_eq!(wrong.status.code(), Some(5));
    // All of them, in another order.
    applied(&plan("all.yaml", "8-15, 0-7"), "all.onnx");
    let out = dir.path().join("out.onnx");
    fails(&["apply", &m, "--plan", text(&plan("twice.yaml", "1, 0, 1")), "-o", text(&out)], 3, "error[S0401]");
    assert!(!out.exists());
}
