//! The masked model: the oracle that a removal is checked against.
//!
//! A slot that leaves must be worth nothing to what stays. Where a contraction sums over it, the masked model makes its
//! term zero: in the weight where one operand is constant, else by choosing zeros in place of both activations, since
//! zero times infinity is none. In quantised nodes zero is the zero point.
//! A node of which only a policy lets slots go (a normalisation over its width) has no such zeros: it works on the slots
//! that stay, which are gathered before it and spread out behind it. The masked model defines what such a cut means.
//! A branch that is dropped is zeros in the sum that it is a term of.
//! On any input the pruned model must equal the masked one on the slots that stay, hence on every output.

use super::cut::{RemoveError, pick, places};
use super::depth::drop_branches;
use sparsec_analysis::{AxisId, AxisOwner, Channels, Removal, infer, node_ref};
use sparsec_ir::{
    Attr, Data, Def, ElemType, Facts, InnerMap, LinearRule, Model, Node, NodeId, NodeRef, OpTable, Tensor, TensorError,
    Use, ValueId, ZeroPoint,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Slots of one axis that are made zero.
#[derive(Default)]
struct Gone {
    slots: BTreeSet<u32>,
    /// What zero is there, where the node says so.
    point: Option<ZeroPoint>,
}

/// The model with the terms of leaving slots made zero. Shapes stay.
pub fn mask(model: &Model, facts: &Facts, channels: &Channels, removal: &Removal) -> Result<Model, RemoveError> {
    let points: BTreeMap<(NodeId, ValueId), ZeroPoint> =
        channels.zero_points.iter().map(|(n, z)| ((*n, z.value), *z)).collect();
    let mut weights: BTreeMap<(ValueId, usize), Gone> = BTreeMap::new();
    let mut operands: BTreeMap<(NodeId, ValueId, usize), Gone> = BTreeMap::new();
    for link in &channels.contractions {
        let (axis, _) = channels.axes.locate(link.b.0);
        let gone: Vec<u32> = leaving(channels, axis, link.b, link.count, removal);
        if gone.is_empty() {
            continue;
        }
        let side = |row: (u32, i32)| match channels.axes.owner(channels.axes.locate(row.0).0) {
            AxisOwner::Value(v, axis) => Some((source(model, facts, &points, link.node, v, axis as usize), axis, row)),
            _ => None,
        };
        let sides: Vec<_> = [link.b, link.a].into_iter().filter_map(side).collect();
        // The value itself is changed where it is constant and what zero is in it is constant too.
        let fixed = |(node, v): (NodeId, ValueId)| {
            let constant = |v: ValueId| matches!(model.graph.value(v).def, Def::Constant(_) | Def::Sparse(_));
            let point = points.get(&(node, v)).and_then(|p| p.point);
            constant(v) && point.is_none_or(|p| constant(p) && model.graph.value(v).uses.len() == 1)
        };
        let one = sides.iter().find(|(s, ..)| fixed(*s));
        for &((node, v), axis, (first, step)) in one.map_or(sides.as_slice(), std::slice::from_ref) {
            let start = first - channels.axes.slots(channels.axes.locate(first).0).start;
            let set = match fixed((node, v)) {
                true => weights.entry((v, axis as usize)).or_default(),
                false => operands.entry((node, v, axis as usize)).or_default(),
            };
            set.slots.extend(gone.iter().map(|i| at(start, step, *i)));
            set.point = points.get(&(node, v)).copied();
        }
    }
    let mut out = model.clone();
    for ((v, axis), gone) in weights {
        if let Def::Sparse(tensor) = &out.graph.value(v).def {
            let zeroed = tensor.without(axis, &gone.slots);
            let source = |source| RemoveError::Constant { value: model.graph.value(v).name.clone(), source };
            out.graph.set_sparse(v, zeroed.map_err(source)?);
            continue;
        }
        let tensor = out.graph.constant(v).expect("chosen for being constant").clone();
        let point = gone.point.and_then(|p| Some((model.graph.constant(p.point?)?, p.axis)));
        let zeroed = fill(&tensor, axis, &gone.slots, point);
        let source = |source| RemoveError::Constant { value: model.graph.value(v).name.clone(), source };
        out.graph.set_constant(v, zeroed.map_err(source)?);
    }
    for ((node, v, axis), gone) in operands {
        let source = |source| RemoveError::Constant { value: model.graph.value(v).name.clone(), source };
        // An earlier axis of the same operand may have been masked: its result is masked further.
        let position = model.graph.node(node).inputs.iter().position(|o| *o == Some(v));
        let Some(from) = position.and_then(|i| out.graph.node(node).inputs[i]) else { continue };
        let Some(masked) = masked(&mut out, facts, v, from, axis, &gone).map_err(source)? else { continue };
        for u in model.graph.value(v).uses.clone() {
            if let Use::Operand(n, i) = u
                && n == node
            {
                out.graph.set_operand(n, i, Some(masked));
            }
        }
    }
    for cut in channels.inexact_cuts(removal) {
        on_what_stays(&mut out, (model, facts), &|v, axis| channels.kept_of(v, axis, removal), cut.node);
    }
    for &branch in removal.dropped() {
        let term = channels.branches[branch].term;
        let source = |source| RemoveError::Constant { value: model.graph.value(term).name.clone(), source };
        if let [Use::Operand(sum, operand)] = model.graph.value(term).uses[..] {
            zero_term(&mut out, facts, term, (sum, operand)).map_err(source)?;
        }
    }
    Ok(out)
}

/// Puts zeros in place of the term of a sum. Zero times it would not do: infinity times zero is none.
fn zero_term(
    out: &mut Model,
    facts: &Facts,
    term: ValueId,
    (sum, operand): (NodeId, usize),
) -> Result<(), TensorError> {
    let (Some(from), Some(elem)) = (out.graph.node(sum).inputs[operand], facts.get(term).elem) else { return Ok(()) };
    let one = vec![1u64; facts.get(term).rank().unwrap_or(0)];
    let name = format!("{}_dropped", out.graph.value(term).name);
    let never = out.graph.add_constant(&name, Tensor::raw(ElemType::Bool, one.clone(), vec![0u8].into())?);
    let bytes = vec![0u8; elem.raw_len(1).unwrap_or(0) as usize];
    let zero = out.graph.add_constant(&format!("{name}_zero"), Tensor::raw(elem, one, bytes.into())?);
    let node = Node::new("Where").input(never).input(from).input(zero);
    let node = out.graph.add_node(node, &[&format!("{name}_masked")]);
    let zeros = out.graph.node(node).outputs[0];
    out.graph.set_operand(sum, operand, zeros);
    Ok(())
}

/// Makes a node work on the slots of its axes that stay. Its results have their old sizes again behind it: in place of
/// what it no longer computes stands what it computes of the first slot, which nothing that stays is made of.
fn on_what_stays(
    out: &mut Model,
    (model, facts): (&Model, &Facts),
    kept: &dyn Fn(ValueId, usize) -> Option<Vec<u32>>,
    node: NodeId,
) {
    let cuts = |v: ValueId| -> Vec<(usize, Vec<u32>)> {
        (0..facts.get(v).rank().unwrap_or(0)).filter_map(|axis| Some((axis, kept(v, axis)?))).collect()
    };
    for (operand, value) in model.graph.node(node).inputs.iter().enumerate() {
        // A mask, or what another such node gives, may stand for the operand already.
        let (Some(value), Some(mut part)) = (*value, out.graph.node(node).inputs[operand]) else { continue };
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
            let places = places(facts.get(value).size(axis).unwrap_or(0), &kept);
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
    let pick = pick(model, (value, axis), at, &name);
    model.graph.node(pick).outputs[0].expect("the result was named")
}

/// The operand to mask in place of `v` in `node`: where `v` is computed element by element from a value whose zero is
/// known, that value. A weight that the graph casts or dequantises is masked at its source, and runtimes still see the
/// pattern that they fuse.
fn source(
    model: &Model,
    facts: &Facts,
    points: &BTreeMap<(NodeId, ValueId), ZeroPoint>,
    mut node: NodeId,
    mut v: ValueId,
    axis: usize,
) -> (NodeId, ValueId) {
    while points.get(&(node, v)).is_none_or(|p| p.point.is_none()) {
        let Some(producer) = model.graph.producer(v) else { break };
        let Some(&Some(x)) = model.graph.node(producer).inputs.first() else { break };
        let (of_x, of_v) = (facts.get(x), facts.get(v));
        if !points.contains_key(&(producer, x)) || of_x.rank() != of_v.rank() || of_x.size(axis) != of_v.size(axis) {
            break;
        }
        (node, v) = (producer, x);
    }
    (node, v)
}

/// `from`, a form of `v`, with zeros chosen for the slots `gone` of `axis`. `None` where the shape is not known.
fn masked(
    out: &mut Model,
    facts: &Facts,
    v: ValueId,
    from: ValueId,
    axis: usize,
    gone: &Gone,
) -> Result<Option<ValueId>, TensorError> {
    let fact = facts.get(v);
    let (Some(rank), Some(len), Some(elem)) = (fact.rank(), fact.size(axis), fact.elem) else { return Ok(None) };
    let along = |axis: usize, len: u64| (0..rank).map(|a| if a == axis { len } else { 1 }).collect::<Vec<u64>>();
    let stays = (0..len as u32).map(|i| !gone.slots.contains(&i));
    let name = out.graph.value(v).name.clone();
    let point = gone.point.and_then(|p| Some((p.point?, p.axis)));
    let bits: Vec<u8> = stays.map(u8::from).collect();
    let keep = Tensor::raw(ElemType::Bool, along(axis, len), bits.into())?;
    let keep = out.graph.add_constant(&format!("{name}_mask"), keep);
    let zero = match point {
        Some((point, None)) => point,
        Some((point, Some(along_axis))) => match out.graph.constant(point).cloned() {
            Some(t) => {
                let dims = if t.count() == 1 { Vec::new() } else { along(along_axis as usize, t.count()) };
                out.graph.add_constant(&format!("{name}_zero"), Tensor { dims, external: None, ..(*t).clone() })
            }
            None => point,
        },
        None => {
            let bytes = vec![0u8; elem.raw_len(1).unwrap_or(0) as usize];
            out.graph.add_constant(&format!("{name}_zero"), Tensor::raw(elem, Vec::new(), bytes.into())?)
        }
    };
    // Runtimes choose between wide numbers only.
    let wide = (!matches!(elem, ElemType::U8 | ElemType::I64) && elem.is_int()).then_some(ElemType::I64);
    let cast = |out: &mut Model, v: ValueId, to: Option<ElemType>| {
        let Some(to) = to else { return v };
        let node = Node::new("Cast").input(v).attr("to", Attr::Int(i64::from(to.code())));
        let id = out.graph.add_node(node, &[&format!("{name}_cast")]);
        out.graph.node(id).outputs[0].expect("the result was named")
    };
    let (from, zero) = (cast(out, from, wide), cast(out, zero, wide));
    let node = Node::new("Where").input(keep).input(from).input(zero);
    let id = out.graph.add_node(node, &[&format!("{name}_masked")]);
    let chosen = out.graph.node(id).outputs[0].expect("the result was named");
    Ok(Some(cast(out, chosen, wide.map(|_| elem))))
}

/// Puts the weights of a pruned model back into the shapes of the original: what a plan kept comes from `pruned`, what
/// it removed stays as it was. With [`mask`] this is the oracle for models whose weights were re-solved.
///
/// Nodes are matched by the name of their first result, and operands by position: recovery may have given a node a bias
/// that it did not have.
pub fn restore(
    model: &Model,
    facts: &Facts,
    table: &OpTable,
    pruned: &Model,
    channels: &Channels,
    removal: &Removal,
) -> Result<Model, RemoveError> {
    let mut out = model.clone();
    let small = infer(pruned, table).facts;
    // What takes the place of an output takes its name, too.
    let named = drop_branches(model, channels, removal);
    for (id, node) in model.graph.nodes() {
        let Some(y) = node.outputs.first().copied().flatten() else { continue };
        let Some(left) = named.graph.live_value(y) else { continue };
        let twin = pruned.graph.find(&left.name).and_then(|v| pruned.graph.producer(v));
        let Some(twin_id) = twin.filter(|n| pruned.graph.node(*n).op == node.op) else { continue };
        let twin = pruned.graph.node(twin_id);
        let maps =
            inner_map(table, node_ref(model, facts, id)).zip(inner_map(table, node_ref(pruned, &small, twin_id)));
        for (operand, new) in twin.inputs.iter().enumerate() {
            let Some((new, called)) = new.and_then(|v| Some((pruned.graph.constant(v)?, &pruned.graph.value(v).name)))
            else {
                continue;
            };
            if !new.elem.is_float() {
                continue;
            }
            // Behind a dropped branch operands stand elsewhere than they did, or for a sum that they are what is left of.
            let constant = |v: &ValueId| model.graph.constant(*v).is_some();
            let old = node.inputs.get(operand).copied().flatten();
            let there = old.is_none_or(|v| constant(&v)) && twin.inputs.len() >= node.inputs.len();
            let old = if there { old } else { model.graph.find(called).filter(constant).or(old) };
            let name =
                old.map_or_else(|| format!("{}_bias", model.graph.label(id)), |v| model.graph.value(v).name.clone());
            let source = |source| RemoveError::Constant { value: name.clone(), source };
            let inner = maps.as_ref().filter(|(whole, _)| whole.bias == operand);
            let restored = match (old, inner) {
                (Some(v), _) => {
                    let Some(tensor) = model.graph.constant(v) else { continue };
                    let kept: Vec<Option<Vec<u32>>> =
                        (0..tensor.dims.len()).map(|axis| channels.kept_of(v, axis, removal)).collect();
                    scatter(tensor, new, &kept).map_err(source)?
                }
                // The bias of a map inside the node: one number for each row of the weight.
                (None, Some((whole, part))) => {
                    let Some(w) = node.inputs[whole.w] else { continue };
                    let rows = kept_rows(facts, &|axis| channels.kept_of(w, axis, removal), w);
                    spread_bias(new, whole, part, &rows).map_err(source)?
                }
                // One number for each channel of the result: the axis that has as many left.
                (None, None) => {
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

/// The linear map inside a node, if it has one.
fn inner_map(table: &OpTable, node: NodeRef) -> Option<InnerMap> {
    match table.get(&node.node().domain, &node.node().op)?.linear {
        LinearRule::Inner(rule) => rule(&node).ok()?,
        _ => None,
    }
}

/// Rows of a weight that stay, in row-major order over all axes but the last.
fn kept_rows(facts: &Facts, kept: &dyn Fn(usize) -> Option<Vec<u32>>, w: ValueId) -> Vec<usize> {
    let mut rows = vec![0usize];
    for axis in 0..facts.get(w).rank().unwrap_or(1).saturating_sub(1) {
        let len = facts.get(w).size(axis).unwrap_or(0) as usize;
        let here = kept(axis).unwrap_or_else(|| (0..len as u32).collect());
        rows = rows.iter().flat_map(|r| here.iter().map(move |i| r * len + *i as usize)).collect();
    }
    rows
}

/// A bias with the numbers of `new`, which belong to the `rows` that stay, where the whole map has them; others are 0.
fn spread_bias(new: &Tensor, whole: &InnerMap, part: &InnerMap, rows: &[usize]) -> Result<Tensor, TensorError> {
    let (numbers, mut all) = (new.to_f64()?, vec![0.0; whole.bias_dims.iter().product::<u64>() as usize]);
    for (row, from) in rows.iter().zip(&part.places) {
        if let (Some(to), Some(number)) = (whole.places.get(*row).and_then(|to| all.get_mut(*to)), numbers.get(*from)) {
            *to = *number;
        }
    }
    Tensor::from_f64(new.elem, &whole.bias_dims, &all)
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

/// The tensor with the slots `gone` of `axis` made zero: all bits, or what `point` (a tensor, and the axis that it runs
/// along) says.
fn fill(
    tensor: &Arc<Tensor>,
    axis: usize,
    gone: &BTreeSet<u32>,
    point: Option<(&Arc<Tensor>, Option<u32>)>,
) -> Result<Tensor, TensorError> {
    let mut bytes = tensor.bytes()?.to_vec();
    let bits = tensor.elem.bits() as usize;
    let stride = |axis: usize| tensor.dims[axis + 1..].iter().product::<u64>() as usize;
    let along = |i: usize, axis: usize| i / stride(axis) % tensor.dims[axis] as usize;
    let (inner, len) = (stride(axis), tensor.dims[axis] as usize);
    let zeros = match point {
        Some((p, _)) if p.elem != tensor.elem => {
            return Err(TensorError::Elem { elem: p.elem, wanted: "a zero point" });
        }
        Some((p, _)) => p.bytes()?.clone(),
        None => vec![0; bits.div_ceil(8)].into(),
    };
    for i in (0..tensor.count() as usize).filter(|i| gone.contains(&((i / inner % len) as u32))) {
        let which = match point {
            Some((p, Some(a))) if p.count() > 1 => along(i, a as usize),
            _ => 0,
        };
        // Elements are bits, lowest first, and may share a byte.
        for bit in 0..bits {
            let (from, to) = (which * bits + bit, i * bits + bit);
            let one = zeros.get(from / 8).is_some_and(|b| b >> (from % 8) & 1 == 1);
            bytes[to / 8] = bytes[to / 8] & !(1 << (to % 8)) | u8::from(one) << (to % 8);
        }
    }
    Tensor::raw(tensor.elem, tensor.dims.clone(), bytes.into())
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
