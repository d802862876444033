//! The masked model: the oracle that a removal is checked against.
//!
//! A slot that leaves must be worth nothing to what stays. Where a contraction sums over it, the masked model makes its
//! term zero: in the weight where one operand is constant, else by choosing zeros in place of both activations, since
//! zero times infinity is none.
//! A node of which only a policy lets slots go (a normalisation over its width) has no such zeros: it works on the slots
//! that stay, which are gathered before it and spread out behind it. The masked model defines what such a cut means.
//! On any input the pruned model must equal the masked one on the slots that stay, hence on every output.

use super::cut::{GATHER, RemoveError};
use sparsec_analysis::{AxisId, AxisOwner, Channels, Removal};
use sparsec_ir::{Attr, Data, ElemType, Facts, Model, Node, NodeId, Tensor, TensorError, Use, ValueId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The model with the terms of leaving slots made zero. Shapes stay.
pub fn mask(model: &Model, facts: &Facts, channels: &Channels, removal: &Removal) -> Result<Model, RemoveError> {
    let mut weights: BTreeMap<(ValueId, usize), BTreeSet<u32>> = BTreeMap::new();
    let mut activations: BTreeMap<(sparsec_ir::NodeId, ValueId, usize), BTreeSet<u32>> = BTreeMap::new();
    for link in &channels.contractions {
        let (axis, _) = channels.axes.locate(link.b.0);
        let gone: Vec<u32> = leaving(channels, axis, link.b, link.count, removal);
        if gone.is_empty() {
            continue;
        }
        let sides = [link.b.0, link.a.0].map(|slot| channels.axes.owner(channels.axes.locate(slot).0));
        let constant = |o: &AxisOwner| matches!(o, AxisOwner::Value(v, _) if model.graph.constant(*v).is_some());
        let from_base = |slot: u32| slot - channels.axes.slots(channels.axes.locate(slot).0).start;
        match sides.iter().position(constant) {
            Some(side) => {
                let AxisOwner::Value(v, a) = sides[side] else { continue };
                let start = from_base([link.b.0, link.a.0][side]);
                let step = [link.b.1, link.a.1][side];
                weights.entry((v, a as usize)).or_default().extend(gone.iter().map(|i| at(start, step, *i)));
            }
            None => {
                for (side, (slot, step)) in sides.iter().zip([link.b, link.a]) {
                    let AxisOwner::Value(v, a) = *side else { continue };
                    let set = activations.entry((link.node, v, a as usize)).or_default();
                    set.extend(gone.iter().map(|i| at(from_base(slot), step, *i)));
                }
            }
        }
    }
    let mut out = model.clone();
    for ((v, axis), gone) in weights {
        let tensor = out.graph.constant(v).expect("chosen for being constant").clone();
        let zeroed = zero(&tensor, axis, &gone);
        let source = |source| RemoveError::Constant { value: model.graph.value(v).name.clone(), source };
        out.graph.set_constant(v, zeroed.map_err(source)?);
    }
    for ((node, v, axis), gone) in activations {
        let fact = facts.get(v);
        let (Some(rank), Some(len), Some(elem)) = (fact.rank(), fact.size(axis), fact.elem) else { continue };
        let stays: Vec<u8> = (0..len as u32).map(|i| u8::from(!gone.contains(&i))).collect();
        let dims: Vec<u64> = (0..rank).map(|a| if a == axis { len } else { 1 }).collect();
        let name = model.graph.value(v).name.clone();
        let broken = |source| RemoveError::Constant { value: name.clone(), source };
        let stays = Tensor::raw(ElemType::Bool, dims, stays.into()).map_err(broken)?;
        let zero = Tensor::from_f64(elem, &[], &[0.0]).map_err(broken)?;
        let stays = out.graph.add_constant(&format!("{name}_stays"), stays);
        let zero = out.graph.add_constant(&format!("{name}_zero"), zero);
        let choice = Node::new("Where").input(stays).input(v).input(zero);
        let choice = out.graph.add_node(choice, &[&format!("{name}_masked")]);
        let masked = out.graph.node(choice).outputs[0];
        for u in model.graph.value(v).uses.clone() {
            if let Use::Operand(n, i) = u
                && n == node
            {
                out.graph.set_operand(n, i, masked);
            }
        }
    }
    for cut in channels.inexact_cuts(removal) {
        on_what_stays(&mut out, facts, &|v, axis| channels.kept_of(v, axis, removal), cut.node);
    }
    Ok(out)
}

/// Makes a node work on the slots of its axes that stay. Its results have their old sizes again behind it: in place of
/// what it no longer computes stands what it computes of the first slot, which nothing that stays is made of.
fn on_what_stays(out: &mut Model, facts: &Facts, kept: &dyn Fn(ValueId, usize) -> Option<Vec<u32>>, node: NodeId) {
    let cuts = |v: ValueId| -> Vec<(usize, Vec<u32>)> {
        (0..facts.get(v).rank().unwrap_or(0)).filter_map(|axis| Some((axis, kept(v, axis)?))).collect()
    };
    for (operand, value) in out.graph.node(node).inputs.clone().into_iter().enumerate() {
        let Some(value) = value else { continue };
        let mut part = value;
        for (axis, kept) in cuts(value) {
            let indices: Vec<i64> = kept.iter().map(|i| i64::from(*i)).collect();
            part = picked(out, part, axis, &indices, "kept");
        }
        out.graph.set_operand(node, operand, Some(part));
    }
    for value in out.graph.node(node).outputs.clone().into_iter().flatten() {
        let uses = out.graph.value(value).uses.clone();
        let mut whole = value;
        for (axis, kept) in cuts(value) {
            let len = facts.get(value).size(axis).unwrap_or(0) as u32;
            let places: Vec<i64> = (0..len).map(|i| kept.binary_search(&i).unwrap_or(0) as i64).collect();
            whole = picked(out, whole, axis, &places, "spread");
        }
        if whole != value {
            out.graph.set_type(value, None);
            for u in uses {
                if let Use::Operand(n, i) = u {
                    out.graph.set_operand(n, i, Some(whole));
                }
            }
        }
    }
}

/// Entries of an axis, by a node of their own.
fn picked(model: &mut Model, value: ValueId, axis: usize, indices: &[i64], what: &str) -> ValueId {
    let name = format!("{}_{what}", model.graph.value(value).name);
    let at = model.graph.add_constant(&format!("{name}_at"), Tensor::i64(&[indices.len() as u64], indices));
    let pick = Node::new(GATHER).input(value).input(at).attr("axis", Attr::Int(axis as i64));
    let pick = model.graph.add_node(pick, &[&name]);
    model.graph.node(pick).outputs[0].expect("the result was named")
}

/// Puts the weights of a pruned model back into the shapes of the original: what a plan kept comes from `pruned`, what
/// it removed stays as it was. With [`mask`] this is the oracle for models whose weights were re-solved.
///
/// Nodes are matched by the name of their first result, and operands by position: recovery may have given a node a bias
/// that it did not have.
pub fn restore(
    model: &Model,
    facts: &Facts,
    pruned: &Model,
    channels: &Channels,
    removal: &Removal,
) -> Result<Model, RemoveError> {
    let mut out = model.clone();
    for (id, node) in model.graph.nodes() {
        let Some(y) = node.outputs.first().copied().flatten() else { continue };
        let twin = pruned.graph.find(&model.graph.value(y).name).and_then(|v| pruned.graph.producer(v));
        let Some(twin) = twin.map(|n| pruned.graph.node(n)).filter(|t| t.op == node.op) else { continue };
        for (operand, new) in twin.inputs.iter().enumerate() {
            let Some(new) = new.and_then(|v| pruned.graph.constant(v)).filter(|t| t.elem.is_float()) else { continue };
            let old = node.inputs.get(operand).copied().flatten();
            let name =
                old.map_or_else(|| format!("{}_bias", model.graph.label(id)), |v| model.graph.value(v).name.clone());
            let source = |source| RemoveError::Constant { value: name.clone(), source };
            let restored = match old {
                Some(v) => {
                    let Some(tensor) = model.graph.constant(v) else { continue };
                    let kept: Vec<Option<Vec<u32>>> =
                        (0..tensor.dims.len()).map(|axis| channels.kept_of(v, axis, removal)).collect();
                    scatter(tensor, new, &kept).map_err(source)?
                }
                // One number for each channel of the result: the axis that has as many left.
                None => {
                    let len = |axis: usize| facts.get(y).size(axis);
                    let left =
                        |axis: usize| channels.kept_of(y, axis, removal).map_or(len(axis), |k| Some(k.len() as u64));
                    let rank = facts.get(y).rank().unwrap_or(0);
                    let Some(axis) = (1..rank).find(|a| [left(*a).unwrap_or(0)] == new.dims[..]) else { continue };
                    let whole = len(axis).unwrap_or(0);
                    let zeros = Tensor::from_f64(new.elem, &[whole], &vec![0.0; whole as usize]).map_err(source)?;
                    scatter(&zeros, new, &[channels.kept_of(y, axis, removal)]).map_err(source)?
                }
            };
            match old {
                // Readers of a shared constant have the same numbers: recovery changes constants of one reader only.
                Some(v) => out.graph.set_constant(v, restored),
                None => {
                    let own = out.graph.add_constant(&name, restored);
                    out.graph.set_operand(id, operand, Some(own));
                }
            }
        }
    }
    Ok(out)
}

fn at(start: u32, step: i32, i: u32) -> u32 {
    (i64::from(start) + i64::from(i) * i64::from(step)) as u32
}

/// Positions along a progression of slots of `axis` whose slot leaves.
fn leaving(channels: &Channels, axis: AxisId, row: (u32, i32), count: u32, removal: &Removal) -> Vec<u32> {
    let start = row.0 - channels.axes.slots(axis).start;
    let leaves = |i: &u32| channels.cut(axis, at(start, row.1, *i)).iter().any(|u| removal.leaves(*u));
    (0..count).filter(leaves).collect()
}

fn zero(tensor: &Arc<Tensor>, axis: usize, gone: &BTreeSet<u32>) -> Result<Tensor, TensorError> {
    let mut values = tensor.to_f64()?;
    let inner: usize = tensor.dims[axis + 1..].iter().product::<u64>() as usize;
    let len = tensor.dims[axis] as usize;
    for (i, v) in values.iter_mut().enumerate() {
        if gone.contains(&((i / inner % len) as u32)) {
            *v = 0.0;
        }
    }
    Tensor::from_f64(tensor.elem, &tensor.dims, &values)
}

/// `old` with the elements that lie on `kept` indices of every axis taken from `new`, in order.
fn scatter(old: &Tensor, new: &Tensor, kept: &[Option<Vec<u32>>]) -> Result<Tensor, TensorError> {
    let dims: Vec<u64> = old.dims.iter().zip(kept).map(|(d, k)| k.as_ref().map_or(*d, |k| k.len() as u64)).collect();
    if new.dims != dims || new.elem != old.elem {
        // A constant that follows the cut in its contents (a shape) is the graph's business, not a weight.
        return Ok(old.clone());
    }
    let width = (old.elem.bits() / 8) as usize;
    if width == 0 {
        return Ok(old.clone());
    }
    let mut bytes = old.bytes()?.to_vec();
    let source = new.bytes()?;
    let mut index = vec![0u64; dims.len()];
    for i in 0..new.count() as usize {
        let mut flat = 0u64;
        for ((&at, &len), k) in index.iter().zip(&old.dims).zip(kept) {
            flat = flat * len + k.as_ref().map_or(at, |k| u64::from(k[at as usize]));
        }
        let to = flat as usize * width;
        bytes[to..to + width].copy_from_slice(&source[i * width..(i + 1) * width]);
        for axis in (0..dims.len()).rev() {
            index[axis] += 1;
            if index[axis] < dims[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Ok(Tensor { data: Data::Raw(bytes.into()), external: None, ..old.clone() })
}
