//! Single cases of removal: what follows a cut, and what is refused.

mod give_up;
mod operators;
mod quantised;

use crate::common::{Keep, Subject, Verdict, runtimes};
use sparsec_analysis::Removal;
use sparsec_passes::remove::{RemoveError, remove};
use sparsec_testkit::{Random, fixture, fixtures, model, random_inputs, snapshot, summary};

/// The model of a text without unit `units` of its first group.
fn cut(text: &str, units: &[usize]) -> (Subject, Removal) {
    let subject = Subject::of(model(text));
    let mut removal = Removal::none(&subject.channels);
    for &u in units {
        removal.set(subject.channels.groups[0].units[u], true);
    }
    (subject, removal)
}

/// The pruned model runs and equals the masked one.
#[track_caller]
fn check_equal(text: &str, units: &[usize]) {
    let (subject, removal) = cut(text, units);
    let inputs = random_inputs(&subject.model, 1, 2);
    assert_eq!(subject.check(&removal, &runtimes(), &inputs), Ok(Verdict::Equal));
}

fn refusal(text: &str, units: &[usize]) -> RemoveError {
    let (s, removal) = cut(text, units);
    remove(&s.model, &s.facts, &s.table, &s.channels, &removal).expect_err("it must be refused")
}

/// Of an outer product, entries (0, 1) and (2, 3): a plan may keep unit 1 and unit 2 and none of their products.
#[test]
fn no_plan_empties_an_axis_on_which_units_meet() {
    let subject = Subject::of(model(
        "g (float[2,3] x) => (float[2,2] y) <float[3,4] w = [\"location\": \"random:1\"],
            float[2,2] v = [\"location\": \"random:2\"], int64[1] one = {1}, int64[1] two = {2}, int64[2] s = {2, 16},
            int64[2] at = {1, 11}>
            { a = MatMul (x, w) r = Unsqueeze (a, one) c = Unsqueeze (a, two) o = Mul (r, c) f = Reshape (o, s)
              p = Gather <axis = 1> (f, at) y = MatMul (p, v) }",
    ));
    for seed in 0..20 {
        for keep in [Keep::Some, Keep::One] {
            let removal = subject.removal(&mut Random::new(seed), keep);
            let verdict = subject.check(&removal, &runtimes(), &random_inputs(&subject.model, seed, 2));
            assert!(matches!(verdict, Ok(Verdict::Equal | Verdict::Whole)), "{verdict:?}");
        }
    }
}

/// The removal that directives `cut: GROUP: UNIT UNIT …; GROUP: …` and `drop: BRANCH …` ask for.
fn planned(subject: &Subject, cut: &str, drop: &str) -> Removal {
    let mut removal = Removal::none(&subject.channels);
    for id in drop.split_whitespace() {
        let ids: Vec<&str> = subject.channels.branches.iter().map(|b| b.id.as_str()).collect();
        let at = ids.iter().position(|b| *b == id).unwrap_or_else(|| panic!("no `{id}` among {ids:?}"));
        removal.set_branch(at, true);
    }
    for part in cut.split(';') {
        let (group, units) = part.rsplit_once(':').expect("a group and its units");
        let ids: Vec<&str> = subject.channels.groups.iter().map(|g| g.id.as_str()).collect();
        let at = subject.channels.group(group.trim()).unwrap_or_else(|| panic!("no `{group}` among {ids:?}"));
        for unit in units.split_whitespace() {
            let unit: usize = unit.parse().expect("numbers of units");
            removal.set(subject.channels.groups[at].units[unit], true);
        }
    }
    removal
}

/// Every file of `testdata/passes/remove`: the model without the units of its directive `cut` is as in its snapshot,
/// and equals the masked model.
#[test]
fn fixtures_of_removal_are_cut_as_their_snapshots_say() {
    let all = fixtures("passes/remove");
    assert!(!all.is_empty());
    for (name, path) in all {
        let fixture = fixture(&path);
        let policies = fixture.get("allow").into_iter().map(|p| p.parse().expect("a policy")).collect();
        let subject = Subject::allowing(fixture.model(), policies);
        let removal = planned(
            &subject,
            fixture.get("cut").expect("a fixture says what to cut"),
            fixture.get("drop").unwrap_or(""),
        );
        let cut = remove(&subject.model, &subject.facts, &subject.table, &subject.channels, &removal);
        snapshot(&format!("passes/remove/{name}"), &summary(&cut.unwrap_or_else(|e| panic!("{name}: {e}"))));
        let inputs = random_inputs(&subject.model, 1, 2);
        assert_eq!(subject.check(&removal, &runtimes(), &inputs), Ok(Verdict::Equal), "{name}");
    }
}

#[test]
fn an_infinite_activation_is_masked_too() {
    // 1 / 0 in the unit that leaves, on either side of the product.
    let text = "g (float[n,3] x) => (float[n,n] z)
        <float[3,4] w = [\"location\": \"random:1\"], float[4] d = {1.0, 0.0, 2.0, 4.0}>
        { h = MatMul (x, w) q = Div (h, d) t = Transpose <perm = [1, 0]> (q) z = MatMul (q, t) }";
    check_equal(text, &[1]);
}

#[test]
fn a_scalar_index_stays_a_scalar() {
    check_equal(
        "g (float[n,3] x) => (float[n] y, float[n,2] z)
        <float[3,6] w = [\"location\": \"random:1\"], float[6,2] v = [\"location\": \"random:2\"], int64 i = {5}>
        { h = MatMul (x, w) y = Gather <axis = 1> (h, i) z = MatMul (h, v) }",
        &[0, 3],
    );
}

#[test]
fn operands_of_32_bits_stay_so() {
    check_equal(
        "g (float[n,3] x) => (float[n,2] z)
        <float[3,6] w = [\"location\": \"random:1\"], float[3,2] v = [\"location\": \"random:2\"],
         int32[1] from = {3}, int32[1] to = {6}, int32[1] axes = {1}>
        { h = MatMul (x, w) s = Slice (h, from, to, axes) z = MatMul (s, v) }",
        &[0, 2],
    );
}

#[test]
fn a_size_that_scales_data_is_not_changed() {
    let text = "g (float[n,3] x) => (float[n,2] z)
        <float[3,6] w = [\"location\": \"random:1\"], float[6,2] v = [\"location\": \"random:2\"], int64 one = {1}>
        { h = MatMul (x, w) s = Shape (h) d = Gather (s, one) c = Cast <to = 1> (d) r = Sqrt (c)
          q = Div (h, r) z = MatMul (q, v) }";
    let error = refusal(text, &[1]);
    assert!(
        matches!(&error, RemoveError::Number { before, after, .. } if before == "[6]" && after == "[5]"),
        "{error}"
    );
}

#[test]
fn a_size_that_decides_a_shape_may_change() {
    check_equal(
        "g (float[n,3,2,2] x) => (float[n,2] z)
        <float[6,3,1,1] w = [\"location\": \"random:1\"], float[24,2] v = [\"location\": \"random:2\"],
         int64[1] from = {0}, int64[1] to = {2}, int64[1] rest = {-1}>
        { h = Conv (x, w) s = Shape (h) a = Slice (s, from, to) t = Concat <axis = 0> (a, rest) f = Reshape (h, t)
          k = Flatten (f) z = MatMul (k, v) }",
        &[0, 4],
    );
}

/// Operators of the model of a text after a cut, in the order of the graph.
fn left(text: &str, units: &[usize]) -> Vec<String> {
    check_equal(text, units);
    let (s, removal) = cut(text, units);
    let out = remove(&s.model, &s.facts, &s.table, &s.channels, &removal);
    let out = out.expect("it was checked");
    out.graph.nodes().map(|(_, n)| n.op.clone()).collect()
}

#[test]
fn a_backward_range_stays_a_slice() {
    let text = "g (float[n,3] x) => (float[n,2] z)
        <float[3,6] w = [\"location\": \"random:1\"], float[6,2] v = [\"location\": \"random:2\"], int64[1] from = {-1},
         int64[1] to = {-9223372036854775808}, int64[1] axis = {1}, int64[1] step = {-1}>
        { h = MatMul (x, w) s = Slice (h, from, to, axis, step) z = MatMul (s, v) }";
    assert_eq!(left(text, &[0, 4]), ["MatMul", "Slice", "MatMul"]);
}

#[test]
fn open_sizes_are_copied_even_where_zeros_were_literal() {
    let text = "g (float[n,m,3] x) => (float[n,m,2] z)
        <float[3,6] w = [\"location\": \"random:1\"], float[6,2] v = [\"location\": \"random:2\"], int64[1] from = {0},
         int64[1] to = {2}, int64[2] apart = {2, 3}, int64[1] flat = {6}>
        { h = MatMul (x, w) s = Shape (h) a = Slice (s, from, to) t = Concat <axis = 0> (a, apart)
          f = Reshape <allowzero = 1> (h, t) r = Relu (f) u = Concat <axis = 0> (a, flat)
          k = Reshape <allowzero = 1> (r, u) z = MatMul (k, v) }";
    assert_eq!(left(text, &[1]), ["MatMul", "Reshape", "Relu", "Reshape", "MatMul"]);
}

#[test]
fn a_shape_that_must_be_computed_is_joined_anew() {
    let text = "g (float[n,m,3] x) => (float[m,n,2] z)
        <float[6,2] v = [\"location\": \"random:2\"], int64[1] one = {1}, int64[1] two = {2}, int64[1] zero = {0},
         int64[1] flat = {6}, float[1,6] wide = [\"location\": \"random:3\"]>
        { s = Shape (x) a = Slice (s, zero, one) b = Slice (s, one, two)
          t = Concat <axis = 0> (b, a, flat) e = Expand (wide, t) z = MatMul (e, v) }";
    assert_eq!(left(text, &[1]), ["Shape", "Slice", "Slice", "Expand", "MatMul", "Concat"]);
}

#[test]
fn a_bias_that_takes_the_place_of_a_sum_is_restored() {
    // Without `q` and `k`, what is left of the inner sum is `b`, which recovery changes as the bias of `p`.
    let s = Subject::of(model(
        "g (float[n,3] x) => (float[n,2] y)
        <float[3,8] u = [\"location\": \"random:1\"], float[8,2] w = [\"location\": \"random:2\"],
         float[3,2] t = [\"location\": \"random:3\"], float[3,2] v = [\"location\": \"random:4\"], float[2] b = {0.5, -1.0}>
        { h = MatMul (x, u) r = Relu (h) p = MatMul (r, w) q = MatMul (x, t) k = MatMul (x, v) s = Sum (q, k, b)
          y = Add (p, s) }",
    ));
    let removal = planned(&s, "u:1: 0 1 2 3", "q k");
    let samples = random_inputs(&s.model, 1, 70);
    let runtime = sparsec_runtime::default_runtime().expect("tract is built in");
    assert_eq!(s.check_recovered(&removal, runtime.as_ref(), &samples), Ok(Verdict::Equal));
}
