//! Types of values, and `ValueInfoProto`.

use crate::extra::keep;
use crate::meta;
use crate::proto::tensor_shape_proto::{Dimension, dimension};
use crate::proto::{TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
use sparsec_ir::{Dim, ElemType, Type, Value};

/// Names for sizes that a file leaves unnamed: `?0`, `?1`, … each once a model.
#[derive(Default)]
pub(crate) struct Unnamed(u64);

impl Unnamed {
    fn next(&mut self) -> Dim {
        let dim = Dim::sym(&format!("?{}", self.0));
        self.0 += 1;
        dim
    }
}

/// The type that a message states, as far as the standard knows it.
pub(crate) fn import(p: &TypeProto, unnamed: &mut Unnamed) -> Option<Type> {
    use type_proto::Value as V;
    Some(match p.value.as_ref()? {
        V::TensorType(t) => Type::Tensor { elem: elem(t.elem_type)?, shape: shape(t.shape.as_ref(), unnamed) },
        V::SparseTensorType(t) => Type::Sparse { elem: elem(t.elem_type)?, shape: shape(t.shape.as_ref(), unnamed) },
        V::SequenceType(s) => Type::Sequence(Box::new(import(s.elem_type.as_deref()?, unnamed)?)),
        V::OptionalType(o) => Type::Optional(Box::new(import(o.elem_type.as_deref()?, unnamed)?)),
        V::MapType(m) => Type::Map(elem(m.key_type)?, Box::new(import(m.value_type.as_deref()?, unnamed)?)),
        V::OpaqueType(o) => Type::Opaque { domain: o.domain().to_string(), name: o.name().to_string() },
    })
}

fn elem(code: Option<i32>) -> Option<ElemType> {
    ElemType::from_code(code?)
}

fn shape(p: Option<&TensorShapeProto>, unnamed: &mut Unnamed) -> Option<Vec<Dim>> {
    let size = |d: &Dimension| match &d.value {
        Some(dimension::Value::DimValue(n)) if *n >= 0 => Dim::from(*n),
        // Names that start with `?` are ours for unnamed sizes; a file's own must not be taken for one shared size.
        Some(dimension::Value::DimParam(s)) if !s.is_empty() && !s.starts_with('?') => Dim::sym(s),
        // Some exporters write -1 for "unknown".
        _ => unnamed.next(),
    };
    Some(p?.dim.iter().map(size).collect())
}

/// The message of a type.
pub(crate) fn export(ty: &Type) -> TypeProto {
    use type_proto::Value as V;
    let value = match ty {
        Type::Tensor { elem, shape } => {
            V::TensorType(type_proto::Tensor { elem_type: Some(elem.code()), shape: export_shape(shape.as_deref()) })
        }
        Type::Sparse { elem, shape } => V::SparseTensorType(type_proto::SparseTensor {
            elem_type: Some(elem.code()),
            shape: export_shape(shape.as_deref()),
        }),
        Type::Sequence(t) => V::SequenceType(Box::new(type_proto::Sequence { elem_type: Some(Box::new(export(t))) })),
        Type::Optional(t) => V::OptionalType(Box::new(type_proto::Optional { elem_type: Some(Box::new(export(t))) })),
        Type::Map(k, t) => {
            V::MapType(Box::new(type_proto::Map { key_type: Some(k.code()), value_type: Some(Box::new(export(t))) }))
        }
        Type::Opaque { domain, name } => {
            V::OpaqueType(type_proto::Opaque { domain: Some(domain.clone()), name: Some(name.clone()) })
        }
    };
    TypeProto { denotation: None, value: Some(value) }
}

fn export_shape(shape: Option<&[Dim]>) -> Option<TensorShapeProto> {
    let dim = |d: &Dim| {
        let value = match (d.as_const(), d.as_sym()) {
            (Some(n), _) => Some(dimension::Value::DimValue(n)),
            (None, Some(s)) if s.starts_with('?') => None,
            _ => Some(dimension::Value::DimParam(d.to_string())),
        };
        Dimension { denotation: None, value }
    };
    Some(TensorShapeProto { dim: shape?.iter().map(dim).collect() })
}

/// `original` where it still says what `ty` is (it may carry denotations), else the message of `ty`.
pub(crate) fn export_like(ty: &Type, original: Option<&TypeProto>) -> TypeProto {
    let again = |p: &TypeProto| import(p, &mut Unnamed::default()).map(|t| export(&t)).unwrap_or_default();
    keep(original, export(ty), again)
}

/// The `ValueInfoProto` of a value: `original` where it still says the same.
pub(crate) fn export_value(value: &Value, original: Option<&ValueInfoProto>) -> ValueInfoProto {
    let fresh = ValueInfoProto {
        name: Some(value.name.clone()),
        r#type: value.ty.as_ref().map(export),
        doc_string: (!value.doc.is_empty()).then(|| value.doc.clone()),
        metadata_props: meta::export(&value.meta),
    };
    keep(original, fresh, |p| ValueInfoProto {
        name: p.name.clone(),
        r#type: p.r#type.as_ref().and_then(|t| import(t, &mut Unnamed::default())).map(|t| export(&t)),
        doc_string: p.doc_string.clone().filter(|d| !d.is_empty()),
        metadata_props: meta::export(&meta::import(&p.metadata_props)),
    })
}
