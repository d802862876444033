//! Half types to single precision: tract lacks bfloat16 and is slow in float16.
//!
//! Values are then rounded less often than on a device that stores halves; inputs and outputs of a session keep the
//! types that the model states.

use super::tensor::widened;
use sparsec_ir::{Attr, Def, ElemType, Graph, Model, NodeId, Tensor, Type, ValueId};

/// Attributes of ONNX's operators that hold an element type's code.
const TYPE_CODES: &[&str] = &["dtype", "output_dtype", "softmax_precision", "stash_type", "to"];

/// Makes `model` compute in single precision where it says float16 or bfloat16.
pub(super) fn widen(model: &mut Model) {
    widen_graph(&mut model.graph);
}

fn is_half(elem: ElemType) -> bool {
    widened(elem) != elem
}

fn widen_graph(graph: &mut Graph) {
    let values: Vec<ValueId> = graph.values().map(|(id, _)| id).collect();
    for id in values {
        let value = graph.value(id);
        let constant = match &value.def {
            Def::Constant(t) => wide_tensor(t),
            _ => None,
        };
        let ty = value.ty.as_ref().and_then(wide_type);
        if let Some(t) = constant {
            graph.set_constant(id, t);
        }
        if let Some(ty) = ty {
            graph.set_type(id, Some(ty));
        }
    }
    let nodes: Vec<NodeId> = graph.nodes().map(|(id, _)| id).collect();
    for id in nodes {
        let changed: Vec<(String, Attr)> =
            graph.node(id).attrs.iter().filter_map(|(name, a)| Some((name.clone(), wide_attr(name, a)?))).collect();
        for (name, attr) in changed {
            graph.set_attr(id, &name, attr);
        }
    }
}

/// The tensor in single precision, if it is of a half type.
fn wide_tensor(tensor: &Tensor) -> Option<Tensor> {
    let wide = || Tensor::from_f64(widened(tensor.elem), &tensor.dims, &tensor.to_f64().ok()?).ok();
    is_half(tensor.elem).then(wide).flatten()
}

fn wide_type(ty: &Type) -> Option<Type> {
    match ty {
        Type::Tensor { elem, shape } if is_half(*elem) => {
            Some(Type::Tensor { elem: widened(*elem), shape: shape.clone() })
        }
        Type::Sequence(t) => wide_type(t).map(|t| Type::Sequence(t.into())),
        Type::Optional(t) => wide_type(t).map(|t| Type::Optional(t.into())),
        _ => None,
    }
}

fn wide_attr(name: &str, attr: &Attr) -> Option<Attr> {
    match attr {
        Attr::Tensor(t) => wide_tensor(t).map(|t| Attr::Tensor(t.into())),
        Attr::Int(code) if TYPE_CODES.contains(&name) => {
            let elem = ElemType::from_code(i32::try_from(*code).ok()?).filter(|e| is_half(*e))?;
            Some(Attr::Int(widened(elem).code().into()))
        }
        Attr::Graph(g) => {
            let mut g = g.clone();
            widen_graph(&mut g);
            Some(Attr::Graph(g))
        }
        Attr::Graphs(gs) => {
            let mut gs = gs.clone();
            gs.iter_mut().for_each(widen_graph);
            Some(Attr::Graphs(gs))
        }
        _ => None,
    }
}
