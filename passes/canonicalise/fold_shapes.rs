//! Turns shape arithmetic that shape inference has evaluated into constants.
//!
//! ```onnx before
//! g (float[n,4,6] x) => (float[n,24] y) <int64 i = {0}, int64[1] a = {0}, int64[1] m = {-1}>
//! { s = Shape (x)  b = Gather (s, i)  u = Unsqueeze (b, a)  t = Concat <axis = 0> (u, m)  y = Reshape (x, t) }
//! ```
//! ```onnx after
//! g (float[n,4,6] x) => (float[n,24] y) <int64 i = {0}, int64[1] a = {0}, int64[1] m = {-1}, int64[2] t_1 = {0, -1}>
//! { s = Shape (x)  b = Gather (s, i)  u = Unsqueeze (b, a)  t = Concat <axis = 0> (u, m)  y = Reshape (x, t_1) }
//! ```
//! A computed value whose contents are all known becomes a constant. A target shape with sizes that are not known
//! becomes one too, with −1 or 0 in their place, where the node does nothing but give its elements another shape
//! (kernel `Free`) and its own shape rule, asked with the new target, gives the same shape. What computed the numbers
//! falls to dead-code.
//!
//! Needs: shapes.  Keeps: names of outputs.  Numerics: none.
//! Leaves alone: outputs; a target whose shape the rule does not reproduce.

use super::{bound, does_nothing};
use crate::{Changed, PassCx, PassDef, PassError, Stage};
use sparsec_analysis::node_ref;
use sparsec_ir::{
    Def, Dim, ElemType, Fact, Facts, Model, NodeId, OpTable, ShapeRule, Tensor, TensorError, ValueId, topological,
};

/// The pass.
pub const FOLD_SHAPES: PassDef = PassDef {
    name: "fold-shapes",
    stage: Stage::Canonicalise,
    summary: "make constants of shape arithmetic that is known",
    run,
};

fn run(model: &mut Model, cx: &mut PassCx) -> Result<Changed, PassError> {
    let mut facts = cx.infer(model).facts;
    let mut changed = Changed::No;
    let computed: Vec<ValueId> = model.graph.values().map(|(id, _)| id).collect();
    for value in computed {
        let Some(tensor) = known(model, &facts, value) else { continue };
        let name = model.graph.value(value).name.clone();
        let tensor = tensor.map_err(|source| PassError::Constant { value: name, source })?;
        let graph = &mut model.graph;
        let done = cx.rewrite(|| {
            graph.detach_as_constant(value, tensor);
            Ok(())
        })?;
        changed = changed.or(done);
    }
    let bound = bound(&facts);
    for node in topological(&model.graph).unwrap_or_default() {
        for operand in 1..model.graph.node(node).inputs.len() {
            if !does_nothing(model, &bound, cx.table, node) {
                break;
            }
            let Some(target) = constant_target(model, cx.table, &mut facts, node, operand) else { continue };
            let graph = &mut model.graph;
            let done = cx.rewrite(|| {
                let old = graph.node(node).inputs[operand];
                let name = old.map_or_else(String::new, |v| graph.value(v).name.clone());
                let new = graph.add_constant(&name, Tensor::i64(&[target.len() as u64], &target));
                graph.set_operand(node, operand, Some(new));
                Ok(())
            })?;
            changed = changed.or(done);
        }
    }
    Ok(changed)
}

/// The tensor of a computed value whose contents are all known.
fn known(model: &Model, facts: &Facts, value: ValueId) -> Option<Result<Tensor, TensorError>> {
    let v = model.graph.value(value);
    if !matches!(v.def, Def::Node { .. }) || v.uses.is_empty() || model.graph.is_output(value) {
        return None;
    }
    let fact = facts.get(value);
    let (elem, dims, content) = (fact.elem.filter(|e| e.is_int())?, fact.sizes()?, fact.ints()?);
    Some(whole_numbers(elem, dims, &content))
}

/// A whole-number tensor of numbers that its type holds.
fn whole_numbers(elem: ElemType, dims: Vec<u64>, values: &[i64]) -> Result<Tensor, TensorError> {
    let width = elem.bits() as usize / 8;
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes().into_iter().take(width)).collect();
    Tensor::raw(elem, dims, bytes.into())
}

/// A constant that gives `node` the same result as its computed operand, if there is a provable one. The node only
/// reshapes, so that equal shapes mean equal results.
fn constant_target(
    model: &Model,
    table: &OpTable,
    facts: &mut Facts,
    node: NodeId,
    operand: usize,
) -> Option<Vec<i64>> {
    let n = model.graph.node(node);
    let (x, target) = (n.inputs[0]?, n.inputs[operand]?);
    let content = facts.get(target).content.clone()?;
    if model.graph.constant(target).is_some() || content.iter().all(|d| d.as_const().is_some()) {
        return None;
    }
    let ShapeRule::By(shape) = table.get(&n.domain, &n.op)?.shape else { return None };
    let from = facts.get(x).shape.clone()?;
    let wanted = facts.get(n.outputs.first().copied().flatten()?).shape.clone()?;
    // A symbol that the operand does not have may stand for different sizes in the two answers.
    let given = |s: &sparsec_ir::Sym| from.iter().any(|d| d.syms().any(|t| t == s));
    if !wanted.iter().flat_map(Dim::syms).all(given) {
        return None;
    }
    let before = facts.get(target).clone();
    let found = candidates(&content, &from).into_iter().find(|candidate| {
        let dims = candidate.iter().map(|&c| Dim::from(c)).collect();
        facts.set(target, Fact { content: Some(dims), ..before.clone() });
        let answer = shape(&node_ref(model, facts, node));
        answer.is_ok_and(|a| a.first().is_some_and(|f| f.shape.as_ref() == Some(&wanted)))
    });
    facts.set(target, before);
    found
}

/// Targets worth trying: −1 for the only size that is not known; 0 for each that is copied, −1 for one that is not.
fn candidates(content: &[Dim], from: &[Dim]) -> Vec<Vec<i64>> {
    let fill = |copies: bool| -> Option<Vec<i64>> {
        let entry = |(i, d): (usize, &Dim)| match d.as_const() {
            Some(c) => c,
            None if copies && from.get(i) == Some(d) => 0,
            None => -1,
        };
        let out: Vec<i64> = content.iter().enumerate().map(entry).collect();
        (out.iter().filter(|&&c| c == -1).count() <= 1).then_some(out)
    };
    [fill(true), fill(false)].into_iter().flatten().collect()
}
