//! Steps that make axes shorter. Which axes are of one length by necessity is not asked: all that are equally long
//! shrink together, in inputs, constants and, in further tries, in the numbers that speak of them.

use super::Search;
use sparsec_analysis::infer;
use sparsec_ir::{Attr, Def, Dim, Id, Model, NodeId, Tensor, Type, ValueId};
use std::collections::BTreeSet;

/// What follows a size besides axes of inputs and constants.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// Nothing.
    Axes,
    /// Whole numbers in attributes and small constants that are that size.
    Numbers,
    /// The same, and whatever is a multiple of it.
    Multiples,
}

/// Every size, the largest first.
pub(super) fn all(search: &mut Search) {
    let mut sizes: Vec<u64> = lengths(&search.best).into_iter().collect();
    sizes.reverse();
    for size in sizes {
        let shorter: BTreeSet<u64> = [1, 2, size / 2].into_iter().filter(|n| *n > 0 && *n < size).collect();
        'shrunk: for to in shorter {
            for follow in [Follow::Axes, Follow::Numbers, Follow::Multiples] {
                let candidate = shrunk(search, size, to, follow);
                if search.attempt(candidate) {
                    break 'shrunk;
                }
            }
        }
    }
    // Axes that need not be of one length.
    let inputs: Vec<ValueId> = search.best.graph.inputs().collect();
    let constants = search.best.graph.values().filter(|(_, v)| matches!(v.def, Def::Constant(_))).map(|(id, _)| id);
    for v in constants.chain(inputs).collect::<Vec<_>>() {
        for axis in 0..search.inferred.facts.get(v).rank().unwrap_or(0) {
            let candidate = one_axis(search, v, axis);
            search.attempt(candidate);
        }
    }
}

/// Sizes above 1 of inputs and constants.
fn lengths(model: &Model) -> BTreeSet<u64> {
    let mut out = BTreeSet::new();
    for (_, value) in model.graph.values() {
        match (&value.def, &value.ty) {
            (Def::Constant(t), _) => out.extend(&t.dims),
            (Def::Input, Some(Type::Tensor { shape: Some(shape), .. })) => {
                out.extend(shape.iter().filter_map(Dim::as_size));
            }
            _ => {}
        }
    }
    out.retain(|n| *n > 1);
    out
}

/// The model with every axis of length `from` shortened to `to`, if shapes can still be inferred as far as before.
fn shrunk(search: &Search, from: u64, to: u64, follow: Follow) -> Option<Model> {
    let new = |size: u64| match follow {
        _ if size == from => to,
        Follow::Multiples if size > from && size.is_multiple_of(from) => size / from * to,
        _ => size,
    };
    let number = |i: i64| u64::try_from(i).ok().filter(|n| *n > 0).map_or(i, |n| new(n) as i64);
    let mut model = search.best.clone();
    let values: Vec<ValueId> = model.graph.values().map(|(id, _)| id).collect();
    for v in values {
        let value = model.graph.value(v);
        match (&value.def, &value.ty) {
            (Def::Constant(t), _) => {
                let small = t.elem.is_int() && t.dims.len() <= 1 && search.inferred.facts.get(v).content.is_some();
                let tensor = if !small {
                    shortened(t, &new)
                } else if follow == Follow::Axes {
                    None
                } else {
                    let numbers: Vec<i64> = t.to_i64().ok()?.into_iter().map(number).collect();
                    (t.elem == sparsec_ir::ElemType::I64).then(|| Tensor::i64(&t.dims, &numbers))
                };
                if let Some(tensor) = tensor {
                    model.graph.set_constant(v, tensor);
                }
            }
            (Def::Input, Some(Type::Tensor { elem, shape: Some(shape) })) => {
                let dim = |d: &Dim| d.as_size().map_or(d.clone(), |n| Dim::from(new(n) as i64));
                let ty = Type::tensor(*elem, shape.iter().map(dim).collect::<Vec<_>>());
                model.graph.set_type(v, Some(ty));
            }
            _ => {}
        }
    }
    if follow != Follow::Axes {
        let nodes: Vec<NodeId> = model.graph.nodes().map(|(id, _)| id).collect();
        for node in nodes {
            for (name, attr) in model.graph.node(node).attrs.clone() {
                match attr {
                    Attr::Ints(all) => {
                        let all = all.into_iter().map(number).collect();
                        model.graph.set_attr(node, &name, Attr::Ints(all));
                    }
                    Attr::Int(i) if number(i) != i => model.graph.set_attr(node, &name, Attr::Int(number(i))),
                    _ => {}
                }
            }
        }
    }
    restated(search, model)
}

/// The model with one axis of an input or constant of length 1.
fn one_axis(search: &Search, v: ValueId, axis: usize) -> Option<Model> {
    let mut model = search.best.clone();
    let alive = v.index() < model.graph.value_bound() && model.graph.values().any(|(id, _)| id == v);
    let value = alive.then(|| model.graph.value(v))?;
    match (&value.def, &value.ty) {
        (Def::Constant(t), _) if t.dims.get(axis).is_some_and(|n| *n > 1) => {
            let shorter = t.gather(axis, &[0]).ok()?;
            model.graph.set_constant(v, shorter);
        }
        (Def::Input, Some(Type::Tensor { elem, shape: Some(shape) })) => {
            let mut shape = shape.clone();
            *shape.get_mut(axis).filter(|d| d.as_size().is_some_and(|n| n > 1))? = Dim::from(1);
            let ty = Type::Tensor { elem: *elem, shape: Some(shape) };
            model.graph.set_type(v, Some(ty));
        }
        _ => return None,
    }
    restated(search, model)
}

fn shortened(tensor: &Tensor, new: &dyn Fn(u64) -> u64) -> Option<Tensor> {
    let mut out = tensor.clone();
    for axis in 0..tensor.dims.len() {
        let (old, new) = (tensor.dims[axis], new(tensor.dims[axis]));
        if new < old {
            let keep: Vec<u32> = (0..u32::try_from(new).ok()?).collect();
            out = out.gather(axis, &keep).ok()?;
        }
    }
    Some(out)
}

/// The model with the types of its computed values stated anew, if these are known as far as before.
fn restated(search: &Search, mut model: Model) -> Option<Model> {
    let computed = model.graph.values().filter(|(_, v)| v.ty.is_some() && matches!(v.def, Def::Node { .. }));
    let computed: Vec<ValueId> = computed.map(|(id, _)| id).collect();
    for &v in &computed {
        model.graph.set_type(v, None);
    }
    let inferred = infer(&model, search.table);
    if Search::unknown(&inferred) > Search::unknown(&search.inferred) {
        return None;
    }
    for v in computed {
        let fact = inferred.facts.get(v);
        let ty = fact.elem.map(|elem| Type::Tensor { elem, shape: fact.shape.clone() });
        if model.graph.is_output(v) {
            model.graph.set_type(v, ty);
        }
    }
    Some(model)
}
