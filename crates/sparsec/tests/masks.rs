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
