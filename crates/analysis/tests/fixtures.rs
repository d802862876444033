//! Expectations on the lines that they are about: `testdata/analysis/*.onnxtxt`.
//!
//! `# group A (6): h.1 = w1.0/2` says that group A has 6 units with one slot on axis 1 of `h` and two on axis 0 of `w1`;
//! what is said of A on several lines adds up. Every group of the model must be named, with all its axes.
//! `# branch t: a b` says that the term `t` can be dropped, and that the nodes which make `a` and `b` go with it; every
//! branch of the model must be named, unless none is. `# no branch t: why` says why a term cannot.
//! `# allow normalised-width` allows a policy.
//! `# frozen y.1: graph output` says that no slot of the axis can leave, and why the first one cannot.

use sparsec_analysis::{Allowed, AxisOwner, Channels, audit, channels_allowing, infer};
use sparsec_ir::{Model, Policy};
use sparsec_testkit::{fixture, fixtures};
use std::collections::{BTreeMap, BTreeSet};

/// Axes of a group as the annotations write them, and its number of units.
type Described = (BTreeSet<String>, usize);

fn found(model: &Model, channels: &Channels) -> Vec<Described> {
    let axis = |&(axis, n): &(_, u32)| match channels.axes.owner(axis) {
        AxisOwner::Value(v, a) => {
            let name = &model.graph.value(v).name;
            Some(if n == 1 { format!("{name}.{a}") } else { format!("{name}.{a}/{n}") })
        }
        _ => None,
    };
    let mut all: Vec<Described> =
        channels.groups.iter().map(|g| (g.axes.iter().filter_map(axis).collect(), g.units.len())).collect();
    all.sort();
    all
}

/// Branches by their terms, with the results that go with each.
type Branches = BTreeMap<String, BTreeSet<String>>;

fn branches(model: &Model, channels: &Channels) -> Branches {
    let graph = &model.graph;
    let name = |n: &_| graph.value(graph.node(*n).outputs[0].expect("a result")).name.clone();
    channels.branches.iter().map(|b| (b.id.clone(), b.nodes.iter().map(name).collect())).collect()
}

fn expected_branches(text: &str) -> Branches {
    let one = |note: &str| {
        let (term, results) = note.strip_prefix("branch ")?.split_once(": ")?;
        Some((term.to_string(), results.split_whitespace().map(String::from).collect()))
    };
    notes(text).filter_map(one).collect()
}

/// What comments say, one at a time.
fn notes(text: &str) -> impl Iterator<Item = &str> {
    text.lines().flat_map(|l| l.split('#').skip(1)).map(str::trim)
}

fn expected(text: &str) -> (Vec<Described>, Vec<(String, String)>) {
    let (mut groups, mut frozen) = (BTreeMap::<String, Described>::new(), Vec::new());
    for note in notes(text) {
        if let Some((head, axes)) = note.strip_prefix("group ").and_then(|n| n.split_once(": ")) {
            let (name, units) = head.split_once(" (").unwrap_or((head, ""));
            let group = groups.entry(name.to_string()).or_default();
            group.0.extend(axes.split('=').map(|a| a.trim().to_string()));
            if let Ok(n) = units.trim_end_matches(')').parse() {
                group.1 = n;
            }
        } else if let Some((axis, why)) = note.strip_prefix("frozen ").and_then(|n| n.split_once(": ")) {
            frozen.push((axis.to_string(), why.to_string()));
        }
    }
    let mut groups: Vec<Described> = groups.into_values().collect();
    groups.sort();
    (groups, frozen)
}

#[test]
fn groups_and_frozen_axes_are_those_of_the_annotations() {
    let all = fixtures("analysis");
    assert!(all.len() >= 10, "the fixtures are missing");
    let mut wrong = Vec::new();
    for (name, path) in all {
        let fixture = fixture(&path);
        let (model, table) = (fixture.model(), sparsec_ops::table());
        let inferred = infer(&model, &table);
        assert!(inferred.problems.is_empty(), "{name}: {:?}", inferred.problems);
        let policies = notes(&fixture.text).filter_map(|n| n.strip_prefix("allow "));
        let policies = policies.map(|name| name.parse::<Policy>().expect("a policy")).collect();
        let allowed = Allowed { policies, ..Allowed::default() };
        let channels = channels_allowing(&model, &inferred.facts, &table, allowed);
        assert_eq!(audit(&model, &inferred.facts, &table, &channels), [], "{name}");
        let (groups, frozen) = expected(&fixture.text);
        let have = found(&model, &channels);
        if have != groups {
            let show = |all: &[Described]| all.iter().map(|g| format!("    {g:?}\n")).collect::<String>();
            wrong.push(format!("{name}: found\n{}  annotated\n{}", show(&have), show(&groups)));
        }
        let (have, want) = (branches(&model, &channels), expected_branches(&fixture.text));
        if have != want && (fixture.text.contains("branch ") || name.contains("branch")) {
            wrong.push(format!("{name}: branches {have:?}, annotated {want:?}"));
        }
        for note in notes(&fixture.text).filter_map(|n| n.strip_prefix("no branch ")) {
            let (term, why) = note.split_once(": ").expect("a term and a reason");
            let term = model.graph.find(term).expect("the term exists");
            let found = channels.staying_terms.iter().find(|t| t.term == term).map(|t| t.why.to_string());
            if found.as_deref() != Some(why) {
                wrong.push(format!("{name}: {note:?}, found {found:?}"));
            }
        }
        for (axis, why) in frozen {
            let (value, index) = axis.split_once('.').expect("value.axis");
            let value = model.graph.find(value).expect("the value exists");
            let axis_id = channels.axes.find(value, index.parse().expect("a number")).expect("the axis is static");
            let reason = channels.why_frozen(axis_id, 0).map(|f| f.reason.to_string());
            if channels.can_shrink(axis_id) || reason.as_deref() != Some(why.as_str()) {
                wrong.push(format!("{name}: {axis} is {reason:?}, annotated {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
