//! Makes a shape operand hold given numbers.
//!
//! A constant is replaced. A computed one is left alone where it comes out right by itself (a `Shape` of a cut tensor
//! does); else the entries that are wrong are spliced in: `Concat(old[0..1], [1, 48])`.

use super::cut::RemoveError;
use sparsec_analysis::{Inferred, infer_node};
use sparsec_ir::{Attr, Dim, Model, Node, NodeId, OpTable, Tensor, ValueId};

/// Makes operand `operand` of `node` hold `wanted`. `now` holds the facts of everything before `node`.
pub(super) fn demand(
    model: &mut Model,
    table: &OpTable,
    now: &mut Inferred,
    node: NodeId,
    operand: usize,
    wanted: &[Dim],
) -> Result<(), RemoveError> {
    let Some(value) = model.graph.node(node).inputs.get(operand).copied().flatten() else {
        let value = constant(model, now, &format!("{}_sizes", model.graph.label(node)), wanted);
        let value = value.ok_or_else(|| impossible(model, node, "", wanted))?;
        model.graph.set_operand(node, operand, Some(value));
        return Ok(());
    };
    let has = now.facts.get(value).content.clone();
    if has.as_deref() == Some(wanted) {
        return Ok(());
    }
    let name = model.graph.value(value).name.clone();
    if let Some(plain) = constant(model, now, &name, wanted) {
        model.graph.set_operand(node, operand, Some(plain));
        return Ok(());
    }
    // Entries that depend on the input are taken from what the graph computes.
    let has = has.filter(|h| h.len() == wanted.len()).ok_or_else(|| impossible(model, node, &name, wanted))?;
    let mut parts: Vec<ValueId> = Vec::new();
    let mut at = 0;
    while at < wanted.len() {
        let right = |i: &usize| has[*i] == wanted[*i];
        let run = (at..wanted.len()).take_while(|i| right(i) == right(&at)).count();
        let part = if right(&at) {
            slice(model, now, table, value, at, at + run)
        } else {
            constant(model, now, &name, &wanted[at..at + run]).ok_or_else(|| impossible(model, node, &name, wanted))?
        };
        parts.push(part);
        at += run;
    }
    let concat = parts.into_iter().fold(Node::new("Concat"), Node::input).attr("axis", Attr::Int(0));
    let id = model.graph.add_node(concat, &[&format!("{name}_cut")]);
    infer_node(model, table, id, now);
    let spliced = model.graph.node(id).outputs[0];
    model.graph.set_operand(node, operand, spliced);
    Ok(())
}

/// A new constant that holds `wanted`, if none of it depends on the input.
fn constant(model: &mut Model, now: &mut Inferred, name: &str, wanted: &[Dim]) -> Option<ValueId> {
    let ints: Vec<i64> = wanted.iter().map(Dim::as_const).collect::<Option<_>>()?;
    let tensor = Tensor::i64(&[ints.len() as u64], &ints);
    let fact = sparsec_ir::Fact::of(&tensor);
    let v = model.graph.add_constant(&format!("{name}_cut"), tensor);
    now.facts.set(v, fact);
    Some(v)
}

fn slice(model: &mut Model, now: &mut Inferred, table: &OpTable, value: ValueId, from: usize, to: usize) -> ValueId {
    let name = model.graph.value(value).name.clone();
    let mut node = Node::new("Slice").input(value);
    for (what, at) in [("from", from as i64), ("to", to as i64), ("axis", 0)] {
        let tensor = Tensor::i64(&[1], &[at]);
        let fact = sparsec_ir::Fact::of(&tensor);
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
