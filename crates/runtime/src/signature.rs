//! What a session takes and gives.

use crate::RuntimeError;
use crate::error::type_text;
use sparsec_ir::{Def, Dim, ElemType, Graph, Model, Tensor, Type, ValueId};

/// An input with the type it was loaded for.
#[derive(Clone, Debug)]
pub(crate) struct Port {
    pub(crate) name: String,
    pub(crate) elem: ElemType,
    /// Sizes; `None` is any.
    pub(crate) dims: Vec<Option<u64>>,
}

/// Shapes of which every size is given.
pub(crate) fn all_given(shapes: &[Vec<u64>]) -> Vec<Vec<Option<u64>>> {
    shapes.iter().map(|s| s.iter().copied().map(Some).collect()).collect()
}

/// The sizes that all of some shapes share; `None` where there are none, or they differ in rank.
pub(crate) fn shared(all: &[Vec<Vec<u64>>]) -> Option<Vec<Vec<Option<u64>>>> {
    let mut out = all_given(all.first()?);
    for shapes in all {
        if !out.iter().map(Vec::len).eq(shapes.iter().map(Vec::len)) {
            return None;
        }
        for (known, found) in out.iter_mut().zip(shapes) {
            known.iter_mut().zip(found).filter(|(k, f)| **k != Some(**f)).for_each(|(k, _)| *k = None);
        }
    }
    Some(out)
}

/// The inputs of `graph` with `shapes`.
pub(crate) fn ports(graph: &Graph, shapes: &[Vec<Option<u64>>]) -> Result<Vec<Port>, RuntimeError> {
    let inputs: Vec<ValueId> = graph.inputs().collect();
    if inputs.len() != shapes.len() {
        return Err(RuntimeError::InputCount { expected: inputs.len(), found: shapes.len() });
    }
    let port = |(v, dims): (&ValueId, &Vec<Option<u64>>)| {
        let value = graph.value(*v);
        match value.ty {
            Some(Type::Tensor { elem, .. }) => Ok(Port { name: value.name.clone(), elem, dims: dims.clone() }),
            _ => Err(RuntimeError::Untyped { name: value.name.clone() }),
        }
    };
    inputs.iter().zip(shapes).map(port).collect()
}

/// Refuses inputs that do not fit `ports`.
pub(crate) fn check(ports: &[Port], inputs: &[Tensor]) -> Result<(), RuntimeError> {
    if ports.len() != inputs.len() {
        return Err(RuntimeError::InputCount { expected: ports.len(), found: inputs.len() });
    }
    for (port, tensor) in ports.iter().zip(inputs) {
        let fits = |(wanted, found): (&Option<u64>, &u64)| wanted.is_none_or(|w| w == *found);
        let alike = port.dims.len() == tensor.dims.len() && port.dims.iter().zip(&tensor.dims).all(fits);
        if port.elem != tensor.elem || !alike {
            return Err(RuntimeError::Input {
                name: port.name.clone(),
                expected: type_text(port.elem, port.dims.iter().copied()),
                found: type_text(tensor.elem, tensor.dims.iter().copied().map(Some)),
            });
        }
    }
    Ok(())
}

/// States the concrete input types in `model` and forgets every inner and output shape: files state these for other
/// sizes (a symbolic batch, a batch fixed at export), and runtimes infer them.
pub(crate) fn fix_shapes(model: &mut Model, ports: &[Port]) {
    let graph = &mut model.graph;
    let inputs: Vec<ValueId> = graph.inputs().collect();
    for (at, (v, port)) in inputs.into_iter().zip(ports).enumerate() {
        let dims = port.dims.iter().enumerate().map(|(axis, d)| match d {
            Some(d) => Dim::from(i64::try_from(*d).unwrap_or(i64::MAX)),
            None => Dim::sym(&format!("?{at}.{axis}")),
        });
        graph.set_type(v, Some(Type::tensor(port.elem, dims)));
    }
    let computed = graph.values().filter(|(_, v)| v.ty.is_some() && matches!(v.def, Def::Node { .. }));
    for v in computed.map(|(id, _)| id).collect::<Vec<_>>() {
        let ty = match &graph.value(v).ty {
            Some(Type::Tensor { elem, .. }) if graph.is_output(v) => Some(Type::Tensor { elem: *elem, shape: None }),
            Some(Type::Tensor { .. }) | None => None,
            // Sequences, optionals and the like carry no sizes that could be wrong.
            Some(other) => Some(other.clone()),
        };
        graph.set_type(v, ty);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_shapes_do_not_share_are_open() {
        let of = |all: &[&[&[u64]]]| {
            shared(&all.iter().map(|s| s.iter().map(|d| d.to_vec()).collect::<Vec<_>>()).collect::<Vec<_>>())
        };
        assert_eq!(of(&[&[&[8, 3], &[8]], &[&[2, 3], &[2]]]), Some(vec![vec![None, Some(3)], vec![None]]));
        assert_eq!(of(&[&[&[8, 3], &[8]], &[&[8, 5], &[8]]]), Some(vec![vec![Some(8), None], vec![Some(8)]]));
        assert_eq!((of(&[&[&[8, 3]], &[&[8]]]), of(&[])), (None, None));
    }
}
