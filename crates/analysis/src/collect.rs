//! First step of the solver: every relation of every node, over numbered axes, and the freeze marks.

use crate::allowed::{Allowed, Inexact};
use crate::axes::{Axes, AxisId, AxisOwner, Slot};
use crate::shapes::node_ref;
use sparsec_ir::{
    AxisRef, Def, Facts, LinkKind, Model, NodeId, OpTable, Reason, Relate, Relation, Relations, Row, Sum, ValueId,
    ZeroPoint, given,
};
use std::collections::{BTreeMap, BTreeSet};

/// A link between two progressions of slots.
#[derive(Clone, Copy, Debug)]
pub struct Link {
    /// First slot and distance of one side. For a contraction: the activation.
    pub a: (Slot, i32),
    /// First slot and distance of the other side.
    pub b: (Slot, i32),
    /// Pairs.
    pub count: u32,
    /// Meaning.
    pub kind: LinkKind,
    /// Node that says so.
    pub node: NodeId,
    /// Rule of its operator file.
    pub rule: &'static str,
}

/// A flat axis that is the row-major product of others.
#[derive(Clone, Debug)]
pub(crate) struct Product {
    /// Flat axis.
    pub(crate) flat: AxisId,
    /// Factors, outermost first.
    pub(crate) factors: Vec<AxisId>,
    /// Node that says so.
    pub(crate) node: Option<NodeId>,
    /// Rule of its operator file.
    pub(crate) rule: &'static str,
}

/// A statement that slots never leave.
#[derive(Clone, Debug)]
pub(crate) struct Mark {
    /// Slots.
    pub(crate) slots: std::ops::Range<Slot>,
    /// Why.
    pub(crate) reason: Reason,
    /// Node that says so, if one does.
    pub(crate) node: Option<NodeId>,
}

/// What all nodes say together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Statements {
    /// Links.
    pub(crate) links: Vec<Link>,
    /// Products.
    pub(crate) products: Vec<Product>,
    /// Freeze marks.
    pub(crate) marks: Vec<Mark>,
    /// Nodes that a policy lets compute something else where slots leave.
    pub(crate) inexact: Vec<Inexact>,
    /// Operands that stand for zero by another number.
    pub(crate) zero_points: Vec<(NodeId, ZeroPoint)>,
    /// Nodes that add up operands.
    pub(crate) sums: BTreeMap<NodeId, Sum>,
}

/// Collects the statements of all nodes; grows `axes` by the virtual axes of their relations.
pub(crate) fn collect(model: &Model, facts: &Facts, table: &OpTable, allowed: &Allowed, axes: &mut Axes) -> Statements {
    let graph = &model.graph;
    let mut out = Statements::default();
    for axis in axes.iter() {
        if axes.len(axis) == 1 {
            out.marks.push(Mark { slots: axes.slots(axis), reason: Reason::SingleSlot, node: None });
        }
    }
    for (v, value) in graph.values() {
        if matches!(value.def, Def::Input) {
            freeze_value(axes, facts, v, &Reason::GraphInput, None, &mut out.marks);
        }
        if graph.is_output(v) {
            freeze_value(axes, facts, v, &Reason::GraphOutput, None, &mut out.marks);
        }
    }
    for (id, node) in graph.nodes() {
        for v in graph.captures(id) {
            freeze_value(axes, facts, v, &Reason::Captured { op: node.op_name() }, Some(id), &mut out.marks);
        }
        let mut relations = Relations::default();
        let said = match table.get(&node.domain, &node.op).map(|d| d.relate) {
            Some(Relate::By(rule)) => rule(&node_ref(model, facts, id), &mut relations).map_err(|e| e.to_string()),
            Some(Relate::Given(words)) => {
                given::relate(words, &node_ref(model, facts, id), &mut relations).map_err(|e| e.to_string())
            }
            Some(Relate::Opaque(why) | Relate::Drawn(why)) => Err(why.to_string()),
            None => Err("sparsec does not know this operator".to_string()),
        };
        let operands: BTreeSet<ValueId> = node.inputs.iter().chain(&node.outputs).flatten().copied().collect();
        if let Err(why) = said {
            let reason = Reason::Opaque { op: node.op_name(), why };
            for v in operands {
                freeze_value(axes, facts, v, &reason, Some(id), &mut out.marks);
            }
            continue;
        }
        let virtuals: Vec<Option<AxisId>> =
            relations.virtual_len.iter().map(|&len| axes.push(AxisOwner::Virtual(id), len)).collect();
        for &axis in virtuals.iter().flatten().filter(|x| axes.len(**x) == 1) {
            out.marks.push(Mark { slots: axes.slots(axis), reason: Reason::SingleSlot, node: Some(id) });
        }
        out.zero_points.extend(relations.zero_points.iter().map(|z| (id, *z)));
        out.sums.extend(relations.sum.map(|sum| (id, sum)));
        let mut spoken = BTreeSet::new();
        for relation in &relations.all {
            state((&*axes, &virtuals), relation, (id, allowed), &mut spoken, &mut out);
        }
        for v in operands {
            for a in 0..facts.get(v).rank().unwrap_or(0) {
                if let Some(axis) = axes.find(v, a).filter(|x| !spoken.contains(x)) {
                    let reason = Reason::Unstated { op: node.op_name() };
                    out.marks.push(Mark { slots: axes.slots(axis), reason, node: Some(id) });
                }
            }
        }
    }
    out.marks = out.marks.into_iter().flat_map(|mark| left(axes, allowed, mark)).collect();
    out
}

/// What is left of a mark without the slots that a user gives up.
fn left(axes: &Axes, allowed: &Allowed, mark: Mark) -> Vec<Mark> {
    let given_up = || {
        let (axis, _) = axes.locate(mark.slots.start);
        let AxisOwner::Value(v, a) = axes.owner(axis) else { return None };
        Some((axis, allowed.given_up.get(&(v, a))?))
    };
    if mark.slots.is_empty() || !mark.reason.can_be_given_up() {
        return vec![mark];
    }
    let Some((axis, given_up)) = given_up() else { return vec![mark] };
    let base = axes.slots(axis).start;
    let mut out: Vec<Mark> = Vec::new();
    for s in mark.slots.clone().filter(|s| !given_up.contains(&(s - base))) {
        match out.last_mut() {
            Some(last) if last.slots.end == s => last.slots.end += 1,
            _ => out.push(Mark { slots: s..s + 1, ..mark.clone() }),
        }
    }
    out
}

fn freeze_value(axes: &Axes, facts: &Facts, v: ValueId, reason: &Reason, node: Option<NodeId>, marks: &mut Vec<Mark>) {
    for a in 0..facts.get(v).rank().unwrap_or(0) {
        if let Some(axis) = axes.find(v, a) {
            marks.push(Mark { slots: axes.slots(axis), reason: reason.clone(), node });
        }
    }
}

/// Turns one relation into a statement. What does not fit the axes (a side that is not slotted, a length that is not
/// the axis's) freezes the side that is: a wrong rule must cost a cut, never a wrong one.
fn state(
    (axes, virtuals): (&Axes, &[Option<AxisId>]),
    relation: &Relation,
    (node, allowed): (NodeId, &Allowed),
    spoken: &mut BTreeSet<AxisId>,
    out: &mut Statements,
) {
    let resolve = |a: AxisRef| axes.resolve(a, virtuals);
    let mut freeze = |axis: Option<AxisId>, reason: Reason| {
        if let Some(axis) = axis {
            out.marks.push(Mark { slots: axes.slots(axis), reason, node: Some(node) });
        }
    };
    match relation {
        Relation::Unless { policy, axes: all, allowed: instead, .. } if allowed.policies.contains(policy) => {
            let all = all.iter().filter_map(|a| resolve(*a)).collect();
            out.inexact.push(Inexact { node, policy: *policy, axes: all });
            for relation in instead {
                state((axes, virtuals), relation, (node, allowed), spoken, out);
            }
        }
        Relation::Unless { policy, axes: all, reason, .. } => {
            let reason = Reason::Unless { policy: *policy, because: Box::new(reason.clone()) };
            spoken.extend(all.iter().filter_map(|a| resolve(*a)));
            all.iter().for_each(|a| freeze(resolve(*a), reason.clone()));
        }
        Relation::Free { axis } => spoken.extend(resolve(*axis)),
        Relation::Freeze { axis, start, count, reason } => {
            let Some(axis) = resolve(*axis) else { return };
            spoken.insert(axis);
            let all = axes.slots(axis);
            let from = all.start.saturating_add(*start).min(all.end);
            let slots = from..from.saturating_add(*count).min(all.end);
            out.marks.push(Mark { slots, reason: reason.clone(), node: Some(node) });
        }
        Relation::Link { a, b, count, kind, rule } => {
            let (ax, bx) = (resolve(a.axis), resolve(b.axis));
            spoken.extend(ax);
            spoken.extend(bx);
            let (Some(aa), Some(ba)) = (ax, bx) else {
                freeze(ax.or(bx), Reason::Dynamic);
                return;
            };
            if !fits(axes, aa, a, *count) || !fits(axes, ba, b, *count) {
                freeze(ax, Reason::Rule("sizes do not fit the operator's rule"));
                freeze(bx, Reason::Rule("sizes do not fit the operator's rule"));
                return;
            }
            if *count > 0 {
                let link = |axis, row: &Row| (axes.slot(axis, row.start), row.step);
                out.links.push(Link { a: link(aa, a), b: link(ba, b), count: *count, kind: *kind, node, rule });
            }
        }
        Relation::Product { flat, factors, rule } => {
            let flat = resolve(*flat);
            let ids: Vec<Option<AxisId>> = factors.iter().map(|f| resolve(*f)).collect();
            spoken.extend(flat);
            spoken.extend(ids.iter().flatten());
            let known: Option<Vec<AxisId>> = ids.iter().copied().collect();
            let length = |f: &[AxisId]| f.iter().map(|x| u64::from(axes.len(*x))).product::<u64>();
            match (flat, known) {
                (Some(flat), Some(factors)) if u64::from(axes.len(flat)) == length(&factors) => {
                    out.products.push(Product { flat, factors, node: Some(node), rule });
                }
                _ => {
                    for axis in ids.into_iter().chain([flat]) {
                        freeze(axis, Reason::Dynamic);
                    }
                }
            }
        }
    }
}

fn fits(axes: &Axes, axis: AxisId, row: &Row, count: u32) -> bool {
    let last = i64::from(row.start) + i64::from(count.saturating_sub(1)) * i64::from(row.step);
    let len = i64::from(axes.len(axis));
    count == 0 || (i64::from(row.start) < len && (0..len).contains(&last))
}
