//! Which weights become zero, and that the others stand in for them.

#[path = "common/masked.rs"]
mod masked;

use masked::{masked, with_samples};
use sparsec_analysis::infer;
use sparsec_ir::{Model, Tensor};
use sparsec_passes::mask::{MaskError, Unmaskable, curves, holds, places, zeroed};
use sparsec_passes::recover::{RecoverOptions, Recovered, Skipped, recover};
use sparsec_plan::{Bits, MaskPlan, Pattern};
use sparsec_testkit::{fixture, fixtures, model, snapshot};
use std::fmt::Write;

fn plan(weight: &str, pattern: &str, density: f64) -> MaskPlan {
    let pattern: Pattern = pattern.parse().expect("a pattern");
    MaskPlan { weight: weight.into(), pattern, density, kept: None, why: None }
}

/// The zeros of a weight: a line for each first index, `#` where it is not zero.
fn picture(model: &Model, weight: &str) -> String {
    let tensor = model.graph.constant(model.graph.find(weight).expect("the weight is there")).expect("a weight");
    let row = (tensor.count() / tensor.dims[0]) as usize;
    let values = tensor.to_f64().expect("numbers");
    values.chunks(row).map(|r| r.iter().map(|v| if *v == 0.0 { '.' } else { '#' }).collect::<String>() + "\n").collect()
}

/// The masks that were made, to be carried out again.
fn made(done: &[Recovered]) -> Vec<MaskPlan> {
    done.iter().filter_map(|r| r.mask.clone()).collect()
}

/// Every file of `testdata/passes/mask`: curves of all weights under the pattern of the first directive `mask`, and the zeros
/// of those that the directives name, are as in the snapshot.
#[test]
fn fixtures_are_masked_as_in_their_snapshots() {
    for (name, path) in fixtures("passes/mask") {
        let fixture = fixture(&path);
        let dense = fixture.model();
        let masks: Vec<MaskPlan> = fixture
            .all("mask")
            .map(|line| {
                let [weight, pattern, density] = line.split_whitespace().collect::<Vec<_>>()[..] else {
                    panic!("{name}: `mask` is WEIGHT PATTERN DENSITY")
                };
                plan(weight, pattern, density.parse().expect("a share"))
            })
            .collect();
        let options = RecoverOptions::default();
        let (pattern, density) = (masks[0].pattern, masks[0].density);
        let found = with_samples(&dense, &Default::default(), (2, options), |cx| {
            curves(cx, &dense, (pattern, density), &|_, _, e| Ok(e)).expect("the model runs")
        });
        let mut out = String::new();
        for c in found {
            let line = match &c.points {
                Ok(points) => {
                    let few = points.iter().filter(|p| points.len() < 4 || [0.75, 0.5, 0.25].contains(&p.0));
                    few.map(|(share, error)| format!("{share}: {error:.2}")).collect::<Vec<_>>().join(", ")
                }
                Err(why) => why.to_string(),
            };
            writeln!(out, "{} under {pattern}: {line}", c.weight).expect("a string");
        }
        let (after, done) = masked(&dense, &masks, options);
        for r in &done {
            match &r.outcome {
                Ok((before, after)) => writeln!(out, "{}: error {before:.2} -> {after:.2}", r.node),
                Err(why) => writeln!(out, "{}: {why}", r.node),
            }
            .expect("a string");
        }
        for m in &masks {
            write!(out, "{} {}\n{}", m.weight, m.pattern, picture(&after, &m.weight)).expect("a string");
        }
        snapshot(&format!("passes/mask/{name}"), &out);
    }
}

const NET: &str = "g (float[n,4,6,6] x) => (y)
    <float[8,4,3,3] a = [\"location\": \"random:1\"], float[8] b = [\"location\": \"random:2\"],
     float[8,4,1,1] c = [\"location\": \"random:3\"], float[8,6] v = [\"location\": \"random:4\"], int64[2] shape = {-1, 8}>
    { h = Conv <pads = [1, 1, 1, 1]> (x, a, b) r = Relu (h) k = Conv <group = 2> (r, c) s = Relu (k)
      t = Transpose <perm = [0, 2, 3, 1]> (s) u = Reshape (t, shape) y = MatMul (u, v) }";

#[test]
fn masks_hold_their_pattern_and_share_and_come_back_bit_for_bit() {
    let dense = model(NET);
    let table = sparsec_ops::table();
    let facts = infer(&dense, &table).facts;
    // Of four inputs in runs of three, the last is a run of its own.
    for (pattern, density, left) in [("1x1", 0.4, 115), ("4x1", 0.5, 144), ("2:4", 0.5, 144), ("1:3", 1.0 / 3.0, 144)] {
        let asked = ["a", "c", "v"].map(|w| plan(w, pattern, density));
        let (after, done) = masked(&dense, &asked, RecoverOptions::default());
        let stored = made(&done);
        assert_eq!(stored.len(), 3, "{done:?}");
        for masks in [&asked[..], &stored] {
            assert_eq!(holds((&after, &facts, &table), masks).expect("the masks fit"), [""; 0], "{pattern}");
        }
        assert_eq!(picture(&after, "a").matches('#').count(), left, "{pattern}");
        // The dense model holds neither.
        assert_eq!(holds((&dense, &facts, &table), &stored).expect("the masks fit"), ["a", "c", "v"]);
        assert_eq!(holds((&dense, &facts, &table), &asked).expect("the masks fit"), ["a", "c", "v"]);
        let (again, _) = masked(&dense, &stored, RecoverOptions::default());
        let places = places((&dense, &facts, &table), &asked).expect("the masks fit");
        let mut one = dense.clone();
        let single = (1, RecoverOptions::default());
        let done = with_samples(&dense, &places, single, |cx| recover(cx, &mut one).expect("the model runs"));
        assert_eq!(made(&done), stored);
        for w in ["a", "c", "v"] {
            let of = |m: &Model| m.graph.constant(m.graph.find(w).expect("a weight")).expect("a weight").clone();
            assert_eq!(of(&again), of(&after), "{pattern} {w}");
            assert_eq!(of(&one), of(&after), "{pattern} {w}");
        }
    }
}

#[test]
fn stored_masks_zero_what_they_say_and_nothing_else() {
    let mut model = model(
        "g (float[n,4] x) => (y) <float[4,2] w = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0}> { y = MatMul (x, w) }",
    );
    let table = sparsec_ops::table();
    let facts = infer(&model, &table).facts;
    // First output: inputs 0 and 3; second: all but input 2.
    let kept = Bits::new([1, 0, 0, 1, 1, 1, 0, 1].map(|b| b == 1).to_vec());
    let mask = MaskPlan { kept: Some(kept), ..plan("w", "1x1", 0.625) };
    zeroed(&mut model, &facts, &table, std::slice::from_ref(&mask)).expect("the mask fits");
    let w = model.graph.find("w").expect("a weight");
    let expected = Tensor::f32(&[4, 2], &[1.0, 2.0, 0.0, 4.0, 0.0, 0.0, 7.0, 8.0]);
    assert_eq!(**model.graph.constant(w).expect("a weight"), expected);
    let mut try_with = |mask: MaskPlan| zeroed(&mut model, &facts, &table, &[mask]);
    assert!(matches!(try_with(plan("w", "1x1", 0.5)), Err(MaskError::Open { .. })));
    assert!(matches!(try_with(plan("x", "1x1", 0.5)), Err(MaskError::NoSuchWeight { .. })));
    let short = MaskPlan { kept: Some(Bits::new(vec![true; 30])), ..plan("w", "1x1", 0.5) };
    assert!(matches!(try_with(short), Err(MaskError::Size { found: 48, wanted: 8, .. })));
    let wide = MaskPlan { kept: Some(Bits::new(vec![true; 8])), ..plan("w", "4x1", 0.5) };
    let no_block = Unmaskable::NoBlock { outputs: 2, block: 4 };
    assert!(matches!(try_with(wide), Err(MaskError::Unmaskable { why, .. }) if why == no_block));
}

#[test]
fn outputs_may_lose_all_their_inputs() {
    let dense = model(NET);
    let (after, done) = masked(&dense, &[plan("v", "1x1", 0.05)], RecoverOptions::default());
    assert!(done[0].outcome.is_ok(), "{done:?}");
    assert_eq!(picture(&after, "v").matches('#').count(), 2);
}

#[test]
fn a_weight_with_too_few_observations_stays_dense_and_says_so() {
    let dense =
        model("g (float[n,200] x) => (y) <float[200,4] w = [\"location\": \"random:1\"]> { y = MatMul (x, w) }");
    let (after, done) = masked(&dense, &[plan("w", "1x1", 0.5)], RecoverOptions::default());
    assert!(matches!(done[0].outcome, Err(Skipped::TooFew { unknowns: 200, .. })) && done[0].mask.is_none());
    assert!(!picture(&after, "w").contains('.'));
}
