//! Facets of the last node of a model text, printed for comparison.

use sparsec_analysis::{Inferred, infer, node_ref};
use sparsec_ir::{
    AxisRef, Dim, Edit, Fact, Model, NodeId, NodeRef, Relate, Relation, Relations, Resize, Resized, Row, ValueId,
};

struct Subject {
    model: Model,
    inferred: Inferred,
    id: NodeId,
}

impl Subject {
    #[track_caller]
    fn of(text: &str) -> Self {
        let model = sparsec_testkit::model(text);
        let inferred = infer(&model, &crate::table());
        let id = model.graph.nodes().last().unwrap().0;
        Self { model, inferred, id }
    }
    fn node(&self) -> NodeRef<'_> {
        node_ref(&self.model, &self.inferred.facts, self.id)
    }
    fn def(&self) -> sparsec_ir::OpDef {
        let node = self.node().node();
        *crate::table().get(&node.domain, &node.op).unwrap()
    }
    fn name(&self, value: ValueId) -> &str {
        &self.model.graph.value(value).name
    }
    fn axis(&self, axis: AxisRef) -> String {
        match axis {
            AxisRef::Value(v, a) => format!("{}.{a}", self.name(v)),
            AxisRef::Virtual(i) => format!("#{i}"),
        }
    }
    fn row(&self, row: &Row) -> String {
        let step = if row.step == 1 { String::new() } else { format!("/{}", row.step) };
        let start = if row.start == 0 { String::new() } else { format!("@{}", row.start) };
        format!("{}{start}{step}", self.axis(row.axis))
    }
    fn relation(&self, relation: &Relation) -> String {
        match relation {
            Relation::Link { a, b, count, kind: _, rule } => {
                format!("{rule} {} = {} x{count}", self.row(a), self.row(b))
            }
            Relation::Product { flat, factors, rule } => {
                let factors: Vec<String> = factors.iter().map(|&f| self.axis(f)).collect();
                format!("{rule} {} = {}", self.axis(*flat), factors.join("*"))
            }
            Relation::Freeze { axis, start: 0, count: u32::MAX, reason } => {
                format!("{} frozen: {reason}", self.axis(*axis))
            }
            Relation::Freeze { axis, start, count, reason } => {
                format!("{}@{start} x{count} frozen: {reason}", self.axis(*axis))
            }
            Relation::Unless { policy, axes, reason, allowed } => {
                let axes: Vec<String> = axes.iter().map(|a| self.axis(*a)).collect();
                let allowed: Vec<String> = allowed.iter().map(|r| self.relation(r)).collect();
                format!("{} frozen: {reason}, unless {policy}: {}", axes.join(", "), allowed.join(", "))
            }
            Relation::Free { axis } => format!("{} free", self.axis(*axis)),
        }
    }
}

/// The relations of the last node, one a line.
#[track_caller]
pub(crate) fn check_relation(text: &str, expect: &[&str]) {
    let s = Subject::of(text);
    assert!(s.inferred.problems.is_empty(), "{:?}", s.inferred.problems);
    let mut relations = Relations::default();
    let Relate::By(relate) = s.def().relate else { panic!("opaque") };
    relate(&s.node(), &mut relations).unwrap();
    let found: Vec<String> = relations.all.iter().map(|r| s.relation(r)).collect();
    assert_eq!(found, expect);
}

/// Type, shape and contents of the last node's first result.
#[track_caller]
pub(crate) fn check_fact(text: &str, expect: &str) {
    let s = Subject::of(text);
    assert!(s.inferred.problems.is_empty(), "{:?}", s.inferred.problems);
    assert_eq!(print(s.inferred.facts.get(s.node().need_output(0).unwrap().value)), expect);
}

fn print(fact: &Fact) -> String {
    let list = |dims: &[Dim]| dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(",");
    let elem = fact.elem.map_or("?".to_string(), |e| e.to_string());
    let shape = fact.shape.as_ref().map_or("?".to_string(), |s| list(s));
    let content = fact.content.as_ref().map_or(String::new(), |c| format!(" = {{{}}}", list(c)));
    format!("{elem}[{shape}]{content}")
}

/// The error of the last node's shape rule.
#[track_caller]
pub(crate) fn check_error(text: &str, expect: &str) {
    let s = Subject::of(text);
    let sparsec_ir::ShapeRule::By(rule) = s.def().shape else { panic!("unknown") };
    assert_eq!(rule(&s.node()).unwrap_err().to_string(), expect);
}

/// The edits of the last node when only the indices `kept` stay of (value, axis).
#[track_caller]
pub(crate) fn check_resize(text: &str, kept: &[(&str, usize, &[u32])], expect: &[&str]) {
    let s = Subject::of(text);
    let Resize::By(resize) = s.def().resize else { panic!("nothing to resize") };
    let find = |value: ValueId, axis: usize| {
        kept.iter().find(|(name, a, _)| *name == s.name(value) && *a == axis).map(|(_, _, kept)| kept.to_vec())
    };
    let edits = resize(&Resized { before: s.node(), kept: &find }).unwrap();
    let shown = |e: &Edit| match e {
        Edit::Attr(name, value) => format!("{name} = {value:?}"),
        Edit::NoAttr(name) => format!("no {name}"),
        Edit::Content { operand, dims } => {
            format!("operand {operand} = {}", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(","))
        }
        Edit::Translate { operand, len, kept } => {
            let kept: Vec<String> = kept.iter().map(u32::to_string).collect();
            format!("operand {operand} translated to {} of {len}", kept.join(","))
        }
        Edit::Gather { axis, indices } => format!("gather {axis}: {indices:?}"),
    };
    assert_eq!(edits.iter().map(shown).collect::<Vec<_>>(), expect);
}

/// Axis, scale and shift of the last node as an affine map of channels.
#[track_caller]
pub(crate) fn check_affine(text: &str, expect: Option<(usize, &[f64], &[f64])>) {
    let s = Subject::of(text);
    let Some(affine) = s.def().affine.rule() else { panic!("never affine") };
    let found = affine(&s.node()).unwrap();
    assert_eq!(found.as_ref().map(|f| (f.axis, f.scale.as_slice(), f.shift.as_slice())), expect);
}
