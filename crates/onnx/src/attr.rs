//! Attributes.

use crate::error::{Note, OnnxError};
use crate::extra::{AttrExtras, text};
use crate::import::{Cx, Place, Scope, graph};
use crate::proto::attribute_proto::AttributeType as Kind;
use crate::proto::{AttributeProto, SparseTensorProto, TensorProto, TypeProto};
use crate::ty::{self, Unnamed};
use crate::{export, tensor};
use sparsec_ir::{Attr, Attrs, SparseTensor, Tensor, Type};
use std::sync::Arc;

/// Adds an attribute of `node` to `attrs`, and to `extras` what the IR does not model of it.
pub(crate) fn import(
    mut p: AttributeProto,
    node: &str,
    scope: Option<&Scope<'_>>,
    attrs: &mut Attrs,
    extras: &mut AttrExtras,
    cx: &mut Cx<'_>,
) -> Result<(), OnnxError> {
    let name = p.name.take().unwrap_or_default();
    let place = Place::Attribute { node, name: &name };
    if attrs.contains_key(&name) {
        return Err(OnnxError::DuplicateAttribute { place: place.to_string() });
    }
    let mut extra = AttributeProto { doc_string: p.doc_string.take(), ..AttributeProto::default() };
    let missing = || OnnxError::AttributeValue { place: place.to_string() };
    let mut absent = false;
    let value = if let Some(of) = p.ref_attr_name.take().filter(|r| !r.is_empty()) {
        Attr::Ref { name: of, kind: p.r#type.unwrap_or_default() }
    } else {
        match kind(&p, &place, cx)? {
            Kind::Undefined => return Err(OnnxError::AttributeType { place: place.to_string(), code: 0 }),
            Kind::Float => {
                absent = p.f.is_none();
                Attr::Float(p.f.unwrap_or_default())
            }
            Kind::Int => {
                absent = p.i.is_none();
                Attr::Int(p.i.unwrap_or_default())
            }
            Kind::String => {
                absent = p.s.is_none();
                Attr::String(p.s.unwrap_or_default())
            }
            Kind::Tensor => {
                let (t, skeleton) = tensor::import(p.t.ok_or_else(missing)?, &place, &mut cx.files)?;
                extra.t = (skeleton != TensorProto::default()).then_some(skeleton);
                Attr::Tensor(Arc::new(t))
            }
            Kind::Graph => Attr::Graph(Box::new(graph(p.g.ok_or_else(missing)?, scope, cx)?)),
            Kind::SparseTensor => {
                let sparse = p.sparse_tensor.ok_or_else(missing)?;
                let (t, skeleton) = tensor::import_sparse(sparse, &place, &mut cx.files)?;
                extra.sparse_tensor = Some(skeleton);
                Attr::SparseTensor(Arc::new(t))
            }
            Kind::TypeProto => {
                let original = p.tp.ok_or_else(missing)?;
                let t = ty::import(&original, &mut cx.unnamed).ok_or_else(missing)?;
                extra.tp = Some(original);
                Attr::Type(t)
            }
            Kind::Floats => Attr::Floats(p.floats),
            Kind::Ints => Attr::Ints(p.ints),
            Kind::Strings => Attr::Strings(p.strings),
            Kind::Tensors => {
                let both: Vec<(Tensor, TensorProto)> = p
                    .tensors
                    .into_iter()
                    .map(|t| tensor::import(t, &place, &mut cx.files))
                    .collect::<Result<_, _>>()?;
                let (tensors, skeletons): (Vec<_>, Vec<_>) = both.into_iter().unzip();
                if skeletons.iter().any(|s| *s != TensorProto::default()) {
                    extra.tensors = skeletons;
                }
                Attr::Tensors(tensors.into_iter().map(Arc::new).collect())
            }
            Kind::Graphs => Attr::Graphs(p.graphs.into_iter().map(|g| graph(g, scope, cx)).collect::<Result<_, _>>()?),
            Kind::SparseTensors => {
                let both: Vec<(SparseTensor, SparseTensorProto)> = p
                    .sparse_tensors
                    .into_iter()
                    .map(|t| tensor::import_sparse(t, &place, &mut cx.files))
                    .collect::<Result<_, _>>()?;
                let (tensors, skeletons): (Vec<_>, Vec<_>) = both.into_iter().unzip();
                extra.sparse_tensors = skeletons;
                Attr::SparseTensors(tensors.into_iter().map(Arc::new).collect())
            }
            Kind::TypeProtos => {
                let read = |t: &TypeProto, unnamed: &mut Unnamed| ty::import(t, unnamed).ok_or_else(missing);
                let types: Vec<Type> =
                    p.type_protos.iter().map(|t| read(t, &mut cx.unnamed)).collect::<Result<_, _>>()?;
                extra.type_protos = p.type_protos;
                Attr::Types(types)
            }
        }
    };
    if absent {
        cx.notes.push(Note::MissingValue { place: place.to_string() });
    }
    if extra != AttributeProto::default() {
        extras.insert(name.clone(), extra);
    }
    attrs.insert(name, value);
    Ok(())
}

/// The type stated, or told from the only value where none is (IR version 1).
fn kind(p: &AttributeProto, place: &Place<'_>, cx: &mut Cx<'_>) -> Result<Kind, OnnxError> {
    let unknown = |code| OnnxError::AttributeType { place: place.to_string(), code };
    match p.r#type.map(|code| (code, Kind::try_from(code))) {
        Some((_, Ok(kind))) if kind != Kind::Undefined => return Ok(kind),
        Some((code, Err(_))) => return Err(unknown(code)),
        _ => {}
    }
    let present = [
        (p.f.is_some(), Kind::Float),
        (p.i.is_some(), Kind::Int),
        (p.s.is_some(), Kind::String),
        (p.t.is_some(), Kind::Tensor),
        (p.g.is_some(), Kind::Graph),
        (p.sparse_tensor.is_some(), Kind::SparseTensor),
        (p.tp.is_some(), Kind::TypeProto),
        (!p.floats.is_empty(), Kind::Floats),
        (!p.ints.is_empty(), Kind::Ints),
        (!p.strings.is_empty(), Kind::Strings),
        (!p.tensors.is_empty(), Kind::Tensors),
        (!p.graphs.is_empty(), Kind::Graphs),
        (!p.sparse_tensors.is_empty(), Kind::SparseTensors),
        (!p.type_protos.is_empty(), Kind::TypeProtos),
    ];
    let mut kinds = present.iter().filter(|(there, _)| *there).map(|(_, kind)| *kind);
    match (kinds.next(), kinds.next()) {
        (Some(kind), None) => {
            cx.notes.push(Note::UntypedAttribute { place: place.to_string() });
            Ok(kind)
        }
        _ => Err(unknown(0)),
    }
}

/// The message of an attribute of `node`.
pub(crate) fn export(node: &str, name: &str, attr: &Attr, extras: &AttrExtras) -> Result<AttributeProto, OnnxError> {
    let none = AttributeProto::default();
    let extra = extras.get(name).unwrap_or(&none);
    let place = Place::Attribute { node, name };
    let mut p = AttributeProto {
        name: Some(name.to_string()),
        doc_string: text(extra.doc_string(), Some(&extra.doc_string)),
        ..AttributeProto::default()
    };
    let sparse = |t: &SparseTensor, s: Option<&SparseTensorProto>| {
        let (values, indices) = (s.and_then(|s| s.values.as_ref()), s.and_then(|s| s.indices.as_ref()));
        tensor::export_sparse(t, None, values, indices, &place)
    };
    let kind = match attr {
        Attr::Float(f) => {
            p.f = Some(*f);
            Kind::Float
        }
        Attr::Int(i) => {
            p.i = Some(*i);
            Kind::Int
        }
        Attr::String(s) => {
            p.s = Some(s.clone());
            Kind::String
        }
        Attr::Tensor(t) => {
            p.t = Some(tensor::export(t, None, extra.t.as_ref(), &place)?);
            Kind::Tensor
        }
        Attr::SparseTensor(t) => {
            p.sparse_tensor = Some(sparse(t, extra.sparse_tensor.as_ref())?);
            Kind::SparseTensor
        }
        Attr::Graph(g) => {
            p.g = Some(export::graph(g)?);
            Kind::Graph
        }
        Attr::Type(t) => {
            p.tp = Some(ty::export_like(t, extra.tp.as_ref()));
            Kind::TypeProto
        }
        Attr::Floats(v) => {
            p.floats = v.clone();
            Kind::Floats
        }
        Attr::Ints(v) => {
            p.ints = v.clone();
            Kind::Ints
        }
        Attr::Strings(v) => {
            p.strings = v.clone();
            Kind::Strings
        }
        Attr::Tensors(v) => {
            let each = v.iter().enumerate().map(|(i, t)| tensor::export(t, None, extra.tensors.get(i), &place));
            p.tensors = each.collect::<Result<_, _>>()?;
            Kind::Tensors
        }
        Attr::SparseTensors(v) => {
            let each = v.iter().enumerate().map(|(i, t)| sparse(t, extra.sparse_tensors.get(i)));
            p.sparse_tensors = each.collect::<Result<_, _>>()?;
            Kind::SparseTensors
        }
        Attr::Graphs(v) => {
            p.graphs = v.iter().map(export::graph).collect::<Result<_, _>>()?;
            Kind::Graphs
        }
        Attr::Types(v) => {
            let each = v.iter().enumerate().map(|(i, t)| ty::export_like(t, extra.type_protos.get(i)));
            p.type_protos = each.collect();
            Kind::TypeProtos
        }
        Attr::Ref { name, kind } => {
            p.ref_attr_name = Some(name.clone());
            p.r#type = (*kind != 0).then_some(*kind);
            return Ok(p);
        }
    };
    p.r#type = Some(kind as i32);
    Ok(p)
}
