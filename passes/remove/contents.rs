//! Makes a shape operand hold given numbers.
//!
//! A constant is replaced. A computed one is left alone where it comes out right by itself (a `Shape` of a cut tensor
//! does); else the entries that are wrong are spliced in: a `Concat` is written anew with the parts that are right, of
//! anything else what is right is sliced: `Concat(old[0..1], [1, 48])`.

use super::cut::RemoveError;
use sparsec_analysis::{Inferred, infer_node};
use sparsec_ir::{Attr, Dim, ElemType, Fact, Model, Node, NodeId, OpTable, Tensor, ValueId};
use std::collections::BTreeMap;

/// What was made in place of an operand, by what it has to hold: nodes that shared a shape go on sharing one.
pub(super) type Made = BTreeMap<(ValueId, Vec<Dim>), ValueId>;

/// Makes an operand of a node hold `wanted`. `now` holds the facts of everything before the node.
pub(super) fn demand(
    model: &mut Model,
    table: &OpTable,
    now: &mut Inferred,
    made: &mut Made,
    (node, operand): (NodeId, usize),
    wanted: &[Dim],
) -> Result<(), RemoveError> {
    let Some(value) = model.graph.node(node).inputs.get(operand).copied().flatten() else {
        let label = format!("{}_sizes", model.graph.label(node));
        let value = constant(model, now, &label, Form { elem: ElemType::I64, scalar: false }, wanted);
        let value = value.ok_or_else(|| impossible(model, node, "", wanted))?;
        model.graph.set_operand(node, operand, Some(value));
        return Ok(());
    };
    if now.facts.get(value).content.as_deref() == Some(wanted) {
        return Ok(());
    }
    let key = (value, wanted.to_vec());
    let new = match made.get(&key) {
        Some(known) => *known,
        None => {
            let name = model.graph.value(value).name.clone();
            let new =
                replacement(model, table, now, value, wanted).ok_or_else(|| impossible(model, node, &name, wanted))?;
            made.insert(key, new);
            new
        }
    };
    model.graph.set_operand(node, operand, Some(new));
    Ok(())
}

/// A value like `old` that holds `wanted`. Entries that depend on the input are taken from what the graph computes.
fn replacement(
    model: &mut Model,
    table: &OpTable,
    now: &mut Inferred,
    old: ValueId,
    wanted: &[Dim],
) -> Option<ValueId> {
    let fact = now.facts.get(old);
    let has = fact.content.clone();
    let form = Form { elem: fact.elem.unwrap_or(ElemType::I64), scalar: fact.rank() == Some(0) };
    let name = model.graph.value(old).name.clone();
    if let Some(plain) = constant(model, now, &name, form, wanted) {
        return Some(plain);
    }
    let has = has.filter(|h| h.len() == wanted.len())?;
    let mut parts: Vec<ValueId> = Vec::new();
    let mut from = 0;
    for (part, len) in joined(model, now, old).unwrap_or_else(|| vec![(old, wanted.len())]) {
        let end = from + len;
        if has[from..end] == wanted[from..end] {
            parts.push(part);
        } else if let Some(plain) = constant(model, now, &name, form, &wanted[from..end]) {
            parts.push(plain);
        } else {
            let mut at = from;
            while at < end {
                let right = |i: &usize| has[*i] == wanted[*i];
                let run = (at..end).take_while(|i| right(i) == right(&at)).count();
                parts.push(if right(&at) {
                    slice(model, now, table, part, at - from, at - from + run)
                } else {
                    constant(model, now, &name, form, &wanted[at..at + run])?
                });
                at += run;
            }
        }
        from = end;
    }
    let concat = parts.into_iter().fold(Node::new(CONCAT), Node::input).attr("axis", Attr::Int(0));
    let id = model.graph.add_node(concat, &[&format!("{name}_cut")]);
    infer_node(model, table, id, now);
    model.graph.node(id).outputs[0]
}

/// The operator that lists are put together with.
const CONCAT: &str = "Concat";

/// Parts that a list of numbers is put together from, with their lengths.
fn joined(model: &Model, now: &Inferred, value: ValueId) -> Option<Vec<(ValueId, usize)>> {
    let n = model.graph.node(model.graph.producer(value)?);
    if n.op != CONCAT || !n.domain.is_empty() {
        return None;
    }
    n.inputs.iter().flatten().map(|v| Some((*v, now.facts.get(*v).content.as_ref()?.len()))).collect()
}

/// Type and rank of an operand: those of the one it replaces, since operands of one node may have to agree.
#[derive(Clone, Copy)]
struct Form {
    elem: ElemType,
    /// Rank 0 instead of 1.
    scalar: bool,
}

/// A new constant that holds `wanted`, if none of it depends on the input.
fn constant(model: &mut Model, now: &mut Inferred, name: &str, form: Form, wanted: &[Dim]) -> Option<ValueId> {
    let ints: Vec<i64> = wanted.iter().map(Dim::as_const).collect::<Option<_>>()?;
    let dims = if form.scalar && ints.len() == 1 { Vec::new() } else { vec![ints.len() as u64] };
    let tensor = match form.elem {
        ElemType::I32 => {
            let narrow: Vec<i32> = ints.iter().map(|i| i32::try_from(*i).ok()).collect::<Option<_>>()?;
            let bytes: Vec<u8> = narrow.into_iter().flat_map(i32::to_le_bytes).collect();
            Tensor::raw(ElemType::I32, dims, bytes.into()).ok()?
        }
        _ => Tensor::i64(&dims, &ints),
    };
    let fact = Fact::of(&tensor);
    let v = model.graph.add_constant(&format!("{name}_cut"), tensor);
    now.facts.set(v, fact);
    Some(v)
}

fn slice(model: &mut Model, now: &mut Inferred, table: &OpTable, value: ValueId, from: usize, to: usize) -> ValueId {
    let name = model.graph.value(value).name.clone();
    let mut node = Node::new("Slice").input(value);
    for (what, at) in [("from", from as i64), ("to", to as i64), ("axis", 0)] {
        let tensor = Tensor::i64(&[1], &[at]);
        let fact = Fact::of(&tensor);
        let v = model.graph.add_constant(&format!("{name}_{what}"), tensor);
        now.facts.set(v, fact);
        node = node.input(v);
    }
    let id = model.graph.add_node(node, &[&format!("{name}_part")]);
    infer_node(model, table, id, now);
    model.graph.node(id).outputs[0].expect("the result was named")
}

fn impossible(model: &Model, node: NodeId, value: &str, wanted: &[Dim]) -> RemoveError {
    let wanted: Vec<String> = wanted.iter().map(Dim::to_string).collect();
    RemoveError::Contents {
        value: value.to_string(),
        node: model.graph.label(node),
        wanted: format!("[{}]", wanted.join(", ")),
    }
}
