//! Checks of facets on models of a few lines. The node in question is the last one.
//!
//! Relations are written one a line: `R1 x:1 = y:1` (same), `R1 x:1 * w:1` (contract), `R4 x:1 = $0(2) x $1(4)`
//! (product), `freeze x:2: why`, `free x:0`. `$i(len)` is a virtual axis. A row that is not the whole axis in order is
//! followed by its start and step, and the number of slots: `x:1[0+2]#3`. Zero points come last: `zero w = wz along 0`.

use sparsec_analysis::{infer, node_ref};
use sparsec_ir::{
    Affine, AxisRef, ChannelAffine, Contraction, Edit, Fact, Facts, Kernel, LinearRule, LinkKind, Model, NodeRef,
    OpDef, OpError, Relate, Relation, Relations, Resize, Resized, Row, ValueId, WorkRule, topological,
};

/// Runs `f` on the last node of `text`, with symbols bound to `sizes`.
#[track_caller]
fn on_last<T>(text: &str, sizes: &[(&str, u64)], f: impl FnOnce(&Model, &OpDef, &NodeRef) -> T) -> T {
    let model = sparsec_testkit::model(text);
    let table = crate::table();
    let facts = infer(&model, &table).facts;
    let facts = if sizes.is_empty() {
        facts
    } else {
        facts.bind(&|name| sizes.iter().find(|(n, _)| *n == name).map(|(_, size)| *size))
    };
    let id = *topological(&model.graph).expect("the graph has no cycle").last().expect("the graph has a node");
    let node = model.graph.node(id);
    let def = table.get(&node.domain, &node.op).expect("the operator is in the table");
    f(&model, def, &node_ref(&model, &facts, id))
}

/// Compares relations, one a line.
#[track_caller]
pub(crate) fn check_relation(text: &str, expect: &str) {
    let found = relations(text).unwrap_or_else(|e| format!("error: {e}"));
    let lines = |s: &str| s.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_string).collect::<Vec<_>>();
    assert_eq!(lines(&found).join("\n"), lines(expect).join("\n"));
}

pub(crate) fn relations(text: &str) -> Result<String, OpError> {
    on_last(text, &[], |model, def, node| {
        let Relate::By(rule) = def.relate else { panic!("the operator has no relation rule") };
        let mut r = Relations::default();
        rule(node, &mut r)?;
        let name = |v: ValueId| model.graph.value(v).name.clone();
        let zeros = r.zero_points.iter().map(|z| {
            let along = z.axis.map_or(String::new(), |a| format!(" along {a}"));
            format!("zero {} = {}{along}\n", name(z.value), z.point.map_or("0".to_string(), name))
        });
        Ok(r.all.iter().map(|s| statement(model, node.facts, &r, s) + "\n").chain(zeros).collect())
    })
}

fn statement(model: &Model, facts: &Facts, r: &Relations, statement: &Relation) -> String {
    let name = |a: AxisRef| match a {
        AxisRef::Value(v, axis) => format!("{}:{axis}", model.graph.value(v).name),
        AxisRef::Virtual(i) => format!("${i}({})", r.virtual_len[i as usize]),
    };
    let len = |a: AxisRef| match a {
        AxisRef::Value(v, axis) => facts.get(v).size(axis as usize),
        AxisRef::Virtual(i) => Some(r.virtual_len[i as usize]),
    };
    let row = |row: &Row, count: u32| {
        if (row.start, row.step, len(row.axis)) == (0, 1, Some(u64::from(count))) {
            name(row.axis)
        } else {
            format!("{}[{}{:+}]#{count}", name(row.axis), row.start, row.step)
        }
    };
    match statement {
        Relation::Link { a, b, count, kind, rule } => {
            let sign = if *kind == LinkKind::Same { "=" } else { "*" };
            format!("{rule} {} {sign} {}", row(a, *count), row(b, *count))
        }
        Relation::Product { flat, factors, rule } => {
            let factors: Vec<String> = factors.iter().map(|f| name(*f)).collect();
            format!("{rule} {} = {}", name(*flat), factors.join(" x "))
        }
        Relation::Freeze { axis, start: 0, count: u32::MAX, reason } => format!("freeze {}: {reason}", name(*axis)),
        Relation::Freeze { axis, start, count, reason } => {
            format!("freeze {}[{start}+1]#{count}: {reason}", name(*axis))
        }
        Relation::Unless { policy, axes, reason, allowed } => {
            let axes: Vec<String> = axes.iter().map(|a| name(*a)).collect();
            let allowed: Vec<String> = allowed.iter().map(|s| self::statement(model, facts, r, s)).collect();
            format!("freeze {}: {reason}, unless {policy}:\n{}", axes.join(", "), allowed.join("\n"))
        }
        Relation::Free { axis } => format!("free {}", name(*axis)),
    }
}

/// Compares inferred types of the results, as in `float[n,4]; int64[2]{3, n}` with contents in braces.
#[track_caller]
pub(crate) fn check_shape(text: &str, expect: &str) {
    let found = on_last(text, &[], |_, def, node| match def.shape {
        sparsec_ir::ShapeRule::By(rule) => match rule(node) {
            Ok(facts) => facts.iter().map(describe).collect::<Vec<_>>().join("; "),
            Err(e) => format!("error: {e}"),
        },
        sparsec_ir::ShapeRule::Like(operand) => format!("like operand {operand}"),
        sparsec_ir::ShapeRule::Unknown(why) => format!("unknown: {why}"),
    });
    assert_eq!(found, expect);
}

fn describe(fact: &Fact) -> String {
    let list = |dims: &[sparsec_ir::Dim], sep: &str| dims.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(sep);
    let elem = fact.elem.map_or("?".to_string(), |e| e.to_string());
    let shape = fact.shape.as_ref().map_or("[?]".to_string(), |s| format!("[{}]", list(s, ",")));
    let content = fact.content.as_ref().map_or(String::new(), |c| format!("{{{}}}", list(c, ", ")));
    format!("{elem}{shape}{content}")
}

/// Compares kernel and multiply-accumulates once `sizes` are bound.
#[track_caller]
pub(crate) fn check_work(text: &str, sizes: &[(&str, u64)], kernel: Kernel, macs: u64) {
    let work = on_last(text, sizes, |_, def, node| match def.work {
        WorkRule::By(rule) => rule(node),
        WorkRule::Unknown(why) => panic!("{why}"),
    });
    assert_eq!(work.map(|w| (w.kernel, w.macs)), Ok((kernel, macs)));
}

/// Compares the edits that a cut asks for; each cut keeps `indices` of an axis of a named value. Edits are written in
/// debug form, separated by blanks.
#[track_caller]
pub(crate) fn check_resize(text: &str, cuts: &[(&str, usize, &[u32])], expect: &str) {
    let found = on_last(text, &[], |model, def, node| {
        let Resize::By(rule) = def.resize else { panic!("the operator has no resize rule") };
        let named = |v: ValueId| model.graph.value(v).name.as_str();
        let kept = |v: ValueId, axis: usize| {
            cuts.iter().find(|(n, a, _)| (*n, *a) == (named(v), axis)).map(|(_, _, kept)| kept.to_vec())
        };
        rule(&Resized { before: *node, kept: &kept })
    });
    let write = |e: &Edit| match e {
        Edit::Attr(name, value) => format!("{name}={value:?}"),
        Edit::Content { operand, dims } => {
            format!("#{operand}=[{}]", dims.iter().map(|d| d.to_string()).collect::<Vec<_>>().join(","))
        }
        Edit::Translate { operand, len, kept } => format!("#{operand} translated to {kept:?} of {len}"),
        Edit::NoAttr(name) => format!("no {name}"),
        Edit::Gather { axis, indices } => format!("gather {axis} {indices:?}"),
    };
    let found = match found {
        Ok(edits) => edits.iter().map(write).collect::<Vec<_>>().join(" "),
        Err(e) => format!("error: {e}"),
    };
    assert_eq!(found, expect);
}

/// What the linear facet says.
#[track_caller]
pub(crate) fn linear(text: &str) -> Result<Option<Contraction>, OpError> {
    on_last(text, &[], |_, def, node| match def.linear {
        LinearRule::By(rule) => rule(node),
        LinearRule::Inner(_) | LinearRule::Never => Ok(None),
    })
}

/// What the affine facet says.
#[track_caller]
pub(crate) fn affine(text: &str) -> Result<Option<ChannelAffine>, OpError> {
    on_last(text, &[], |_, def, node| match def.affine {
        Affine::By(rule) | Affine::Sum(rule) => rule(node),
        Affine::Normalised(_) | Affine::Never => Ok(None),
    })
}
