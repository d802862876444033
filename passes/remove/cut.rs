//! Removes the slots of a plan: weights are gathered, and attributes and shape operands follow.
//!
//! ```onnx before
//! g (float[n,1,4,4] x) => (float[n,2,4,4] y)
//! <float[3,1,1,1] w1 = {1.0, 2.0, 3.0}, float[3] b1 = {7.0, 8.0, 9.0}, float[2,3,1,1] w2 = {1.0, 2.0, 3.0, 4.0, 5.0, 6.0}>
//! { h = Conv (x, w1, b1)  y = Conv (h, w2) }
//! ```
//! ```onnx after
//! g (float[n,1,4,4] x) => (float[n,2,4,4] y)
//! <float[2,1,1,1] w1 = {1.0, 3.0}, float[2] b1 = {7.0, 9.0}, float[2,2,1,1] w2 = {1.0, 3.0, 4.0, 6.0}>
//! { h = Conv (x, w1, b1)  y = Conv (h, w2) }
//! ```
//! (the plan keeps units 0 and 2 of group `w1:0`)
//!
//! Needs: shapes, channels. Numerics: exact; the result equals the masked model. Afterwards shapes are inferred again,
//! and a node whose results are not of the sizes that the plan implies is an error, not a model.

use super::{contents, drop_branches, numbers};
use sparsec_analysis::{Channels, Inferred, Removal, infer_node, node_ref, start};
use sparsec_ir::{
    Attr, Attrs, Def, Dim, Edit, Facts, Model, Node, NodeId, OpError, OpTable, Resize, Resized, Sweep, Tensor,
    TensorError, Type, ValueId, topological,
};
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// Why slots could not be taken out.
#[derive(Debug, Error)]
pub enum RemoveError {
    /// The operator's resize rule cannot say how the node follows.
    #[error("node `{node}` ({op}) cannot follow the cut: {source}")]
    Resize {
        /// Node.
        node: String,
        /// Operator.
        op: String,
        /// What the rule says.
        source: OpError,
    },
    /// A constant could not be gathered or rewritten.
    #[error("constant `{value}` cannot be cut: {source}")]
    Constant {
        /// Constant.
        value: String,
        /// Why.
        source: TensorError,
    },
    /// The cut model does not have the sizes that the plan implies.
    #[error("after the cut `{value}` of node `{node}` is {found}, but the plan implies {expected}")]
    Sizes {
        /// Value.
        value: String,
        /// Node.
        node: String,
        /// Sizes found.
        found: String,
        /// Sizes implied.
        expected: String,
    },
    /// A shape operand is computed in a way that cannot be corrected.
    #[error("operand `{value}` of node `{node}` must hold {wanted}, which cannot be computed from the graph")]
    Contents {
        /// Operand.
        value: String,
        /// Node.
        node: String,
        /// Numbers wanted.
        wanted: String,
    },
    /// A size that the cut changes is used as a number; sizes must be folded to constants first.
    #[error("`{value}` holds {before} and would hold {after} after the cut, but {by} uses it as data")]
    Number {
        /// Value.
        value: String,
        /// Who reads it.
        by: String,
        /// Numbers in the model.
        before: String,
        /// Numbers after the cut.
        after: String,
    },
    /// Nothing would be left of an axis: groups that meet on it leave no slot that all of them keep.
    #[error("axis {axis} of `{value}` would be empty")]
    Empty {
        /// Value.
        value: String,
        /// Axis.
        axis: usize,
    },
    /// The graph has a cycle.
    #[error("the graph has a cycle")]
    Cyclic,
}

/// The model without the slots that leave and the branches that are dropped. `facts` and `channels` are those of `model`.
pub fn remove(
    model: &Model,
    facts: &Facts,
    table: &OpTable,
    channels: &Channels,
    removal: &Removal,
) -> Result<Model, RemoveError> {
    if removal.changes_nothing() {
        return Ok(model.clone());
    }
    let model = &*drop_branches(model, channels, removal);
    let kept: Kept = &|v, axis| channels.kept_of(v, axis, removal);
    alive(model, facts, kept)?;
    let order = topological(&model.graph).map_err(|_| RemoveError::Cyclic)?;
    let edits = edits(model, facts, table, &order, kept)?;
    let expected = channels.facts_after(model, facts, removal);
    let mut out = model.clone();
    cut_constants(&mut out, model, kept)?;
    restate(&mut out, model, facts, &expected);
    let Later { wanted, translations } = carry_out(&mut out, edits);

    let follows: BTreeSet<(NodeId, usize)> = wanted.iter().map(|w| (w.0, w.1)).collect();
    let mut now = start(&out);
    let mut made = contents::Made::default();
    let mut next = wanted.into_iter().peekable();
    for id in order {
        while let Some((_, operand, dims)) = next.next_if(|w| w.0 == id) {
            contents::demand(&mut out, table, &mut now, &mut made, (id, operand), &dims)?;
        }
        if let Some(&by) = translations.get(&id) {
            infer_node(&out, table, by, &mut now);
        }
        infer_node(&out, table, id, &mut now);
        compare(&out, &now, &expected, id)?;
    }
    // What computed shape operands that were replaced.
    let read = model.graph.values().filter(|(_, value)| !value.uses.is_empty());
    Sweep::of(&out.graph, read.map(|(v, _)| v)).run(&mut out.graph);
    numbers::guard(&out, table, facts, &mut now, &follows)?;
    Ok(out)
}

/// Slots of an axis of a value that stay, in the order in which they lie; `None` where all do, each in its place.
type Kept<'a> = &'a dyn Fn(ValueId, usize) -> Option<Vec<u32>>;

/// Refuses to leave nothing of an axis.
fn alive(model: &Model, facts: &Facts, kept: Kept) -> Result<(), RemoveError> {
    for (v, value) in model.graph.values() {
        for axis in 0..facts.get(v).rank().unwrap_or(0) {
            if kept(v, axis).is_some_and(|k| k.is_empty()) {
                return Err(RemoveError::Empty { value: value.name.clone(), axis });
            }
        }
    }
    Ok(())
}

/// What the operators' resize rules ask for, in the order of the nodes.
fn edits(
    model: &Model,
    facts: &Facts,
    table: &OpTable,
    order: &[NodeId],
    kept: Kept,
) -> Result<Vec<(NodeId, Vec<Edit>)>, RemoveError> {
    let mut out = Vec::new();
    for &id in order {
        let node = model.graph.node(id);
        let Some(def) = table.get(&node.domain, &node.op) else { continue };
        let resized = Resized { before: node_ref(model, facts, id), kept };
        if let (Resize::By(rule), true) = (def.resize, resized.any()) {
            let source = |source| RemoveError::Resize { node: model.graph.label(id), op: node.op_name(), source };
            out.push((id, rule(&resized).map_err(source)?));
        }
    }
    Ok(out)
}

/// Gathers the constants of `model` into `out`.
fn cut_constants(out: &mut Model, model: &Model, kept: Kept) -> Result<(), RemoveError> {
    for (v, value) in model.graph.values() {
        let wrong = |source| RemoveError::Constant { value: value.name.clone(), source };
        if let Some(tensor) = model.graph.constant(v)
            && let Some(cut) = gather(tensor, |axis| kept(v, axis)).map_err(wrong)?
        {
            out.graph.set_constant(v, cut);
        }
        if let Def::Sparse(tensor) = &value.def {
            for axis in 0..tensor.dims.len() {
                let (Some(keep), Def::Sparse(now)) = (kept(v, axis), &out.graph.value(v).def) else { continue };
                let cut = now.gather(axis, &keep).map_err(wrong)?;
                out.graph.set_sparse(v, cut);
            }
        }
    }
    Ok(())
}

/// States the sizes that the plan implies wherever the model states some that it changes.
fn restate(out: &mut Model, model: &Model, facts: &Facts, expected: &Facts) {
    for (v, value) in model.graph.values() {
        if let (Some(Type::Tensor { elem, shape: Some(shape) }), Some(sizes)) = (&value.ty, &expected.get(v).shape)
            && shape.len() == sizes.len()
            && facts.get(v).shape != expected.get(v).shape
        {
            let now = shape.iter().zip(sizes).zip(facts.get(v).shape.iter().flatten());
            let shape = now.map(|((s, new), old)| if new == old { s.clone() } else { new.clone() }).collect();
            out.graph.set_type(v, Some(Type::Tensor { elem: *elem, shape: Some(shape) }));
        }
    }
}

/// What waits for the finished graph, with whose numbers contents are compared.
#[derive(Default)]
struct Later {
    /// Contents that operands must have, in the order of the nodes.
    wanted: Vec<(NodeId, usize, Vec<Dim>)>,
    /// Nodes that translate an operand of a node.
    translations: BTreeMap<NodeId, NodeId>,
}

/// Carries out edits of attributes and gathers.
fn carry_out(out: &mut Model, edits: Vec<(NodeId, Vec<Edit>)>) -> Later {
    let mut later = Later::default();
    for (id, edit) in edits.into_iter().flat_map(|(id, list)| list.into_iter().map(move |edit| (id, edit))) {
        match edit {
            Edit::Attr(name, value) => out.graph.set_attr(id, name, value),
            Edit::NoAttr(name) => out.graph.remove_attr(id, name),
            Edit::Gather { axis, indices } => become_gather(out, id, axis, &indices),
            Edit::Translate { operand, len, kept } => {
                later.translations.extend(translate(out, (id, operand), len, &kept).map(|by| (id, by)));
            }
            Edit::Content { operand, dims } => later.wanted.push((id, operand, dims)),
        }
    }
    later
}

/// The tensor with only the indices that stay; `None` where all do.
fn gather(tensor: &Tensor, kept: impl Fn(usize) -> Option<Vec<u32>>) -> Result<Option<Tensor>, TensorError> {
    let mut out: Option<Tensor> = None;
    for axis in 0..tensor.dims.len() {
        if let Some(keep) = kept(axis) {
            out = Some(out.as_ref().unwrap_or(tensor).gather(axis, &keep)?);
        }
    }
    Ok(out)
}

/// Looks an operand up in a table of where its entries are now. The table is as long as the axis was, so that numbers
/// that count from the end keep their meaning.
fn translate(model: &mut Model, (node, operand): (NodeId, usize), len: u64, kept: &[u32]) -> Option<NodeId> {
    let value = model.graph.node(node).inputs.get(operand).copied().flatten()?;
    let name = model.graph.value(value).name.clone();
    let table = model.graph.add_constant(&format!("{name}_places"), Tensor::i64(&[len], &places(len, kept)));
    let lookup = pick(model, (table, 0), value, &format!("{name}_translated"));
    model.graph.set_operand(node, operand, model.graph.node(lookup).outputs[0]);
    Some(lookup)
}

/// Where each index of an axis of `len` is among those that are kept; 0 for what left.
pub(super) fn places(len: u64, kept: &[u32]) -> Vec<i64> {
    let mut places = vec![0; len as usize];
    for (place, slot) in (0..).zip(kept) {
        if let Some(at) = places.get_mut(*slot as usize) {
            *at = place;
        }
    }
    places
}

/// The operator that picks entries of a table or an axis.
const GATHER: &str = "Gather";

/// A node that picks entries `at` of an axis of a value.
pub(super) fn pick(model: &mut Model, (from, axis): (ValueId, usize), at: ValueId, name: &str) -> NodeId {
    let node = Node::new(GATHER).input(from).input(at).attr("axis", Attr::Int(axis as i64));
    model.graph.add_node(node, &[name])
}

fn become_gather(model: &mut Model, id: NodeId, axis: usize, indices: &[i64]) {
    let name = format!("{}_indices", model.graph.label(id));
    let at = model.graph.add_constant(&name, Tensor::i64(&[indices.len() as u64], indices));
    let attrs = Attrs::from_iter([("axis".to_string(), Attr::Int(axis as i64))]);
    model.graph.set_op(id, GATHER, attrs);
    model.graph.set_operand(id, 1, Some(at));
    model.graph.truncate_operands(id, 2);
}

/// Results must have the sizes that the plan implies, wherever both are known.
fn compare(model: &Model, now: &Inferred, expected: &Facts, id: NodeId) -> Result<(), RemoveError> {
    for &v in model.graph.node(id).outputs.iter().flatten() {
        let (Some(found), Some(planned)) = (&now.facts.get(v).shape, &expected.get(v).shape) else { continue };
        let differ = |(f, p): (&Dim, &Dim)| matches!((f.as_const(), p.as_const()), (Some(f), Some(p)) if f != p);
        if found.len() != planned.len() || found.iter().zip(planned).any(differ) {
            let show = |dims: &[Dim]| format!("[{}]", dims.iter().map(Dim::to_string).collect::<Vec<_>>().join(","));
            return Err(RemoveError::Sizes {
                value: model.graph.value(v).name.clone(),
                node: model.graph.label(id),
                found: show(found),
                expected: show(planned),
            });
        }
    }
    Ok(())
}
