//! Reads types, tensors and attributes.

use super::cursor::{Cursor, Parsed};
use super::error::TextProblem;
use super::fill::{FillError, fill};
use super::lexer::{Place, Token};
use super::number::{Packer, float32};
use super::parser::{Scope, graph};
use super::{ATTR_KINDS, is_type_word};
use crate::{Attr, Data, Dim, ElemType, SparseTensor, Tensor, Type};
use bytes::Bytes;
use std::sync::Arc;

/// Whether a type comes next.
pub(super) fn type_is_next(c: &Cursor) -> bool {
    matches!(c.peek(), Token::Ident(word) if is_type_word(word))
}

pub(super) fn ty(c: &mut Cursor) -> Parsed<Type> {
    c.nested(|c| {
        let place = c.place();
        let Token::Ident(word) = *c.peek() else { return Err(c.unexpected("a type")) };
        c.take()?;
        if let Some(elem) = ElemType::from_name(word) {
            return Ok(Type::Tensor { elem, shape: shape(c)? });
        }
        if !is_type_word(word) {
            return Err(TextProblem::UnknownWord { name: word.to_string(), wanted: "type" }.at(place));
        }
        c.expect('(', "`(` after the type")?;
        let t = match word {
            "seq" => Type::Sequence(Box::new(ty(c)?)),
            "optional" => Type::Optional(Box::new(ty(c)?)),
            "sparse_tensor" => {
                let elem = elem(c)?;
                Type::Sparse { elem, shape: shape(c)? }
            }
            "map" => {
                let key = elem(c)?;
                c.expect(',', "`,` after the key type")?;
                Type::Map(key, Box::new(ty(c)?))
            }
            _ => {
                let first = c.optional_name()?.unwrap_or_default();
                match c.eat(',')? {
                    true => Type::Opaque { domain: first, name: c.name("a name")? },
                    false => Type::Opaque { domain: String::new(), name: first },
                }
            }
        };
        c.expect(')', "`)` after the type")?;
        Ok(t)
    })
}

fn elem(c: &mut Cursor) -> Parsed<ElemType> {
    let place = c.place();
    let name = c.name("an element type")?;
    ElemType::from_name(&name).ok_or_else(|| TextProblem::UnknownWord { name, wanted: "element type" }.at(place))
}

/// Nothing for a scalar, `[]` for an unknown rank, else sizes.
fn shape(c: &mut Cursor) -> Parsed<Option<Vec<Dim>>> {
    if !c.eat('[')? {
        return Ok(Some(Vec::new()));
    }
    if c.eat(']')? {
        return Ok(None);
    }
    let mut dims = Vec::new();
    c.list_until(']', "`]` after the sizes", |c| {
        dims.push(match c.peek() {
            Token::Punct('?') => {
                c.take()?;
                Dim::sym("?")
            }
            Token::Number(_) => Dim::from(c.parse_number::<i64>("size")?),
            _ => dim(&c.name("a size")?),
        });
        Ok(())
    })?;
    Ok(Some(dims))
}

/// A polynomial where `text` is one in canonical form, else a symbol of that name.
fn dim(text: &str) -> Dim {
    polynomial(text).filter(|d| d.to_string() == text).unwrap_or_else(|| Dim::sym(text))
}

fn polynomial(text: &str) -> Option<Dim> {
    let mut sum = Dim::from(0);
    let mut rest = text;
    while !rest.is_empty() {
        let negative = rest.starts_with('-');
        let body = rest.trim_start_matches(['+', '-']);
        let end = body.find(['+', '-']).unwrap_or(body.len());
        let mut term = Dim::from(if negative { -1 } else { 1 });
        for factor in body[..end].split('*') {
            let factor = match factor.parse::<i64>() {
                Ok(n) => Dim::from(n),
                Err(_) if super::is_identifier(factor) => Dim::sym(factor),
                Err(_) => return None,
            };
            term = term.mul(&factor)?;
        }
        sum = sum.add(&term)?;
        rest = &body[end..];
    }
    Some(sum)
}

/// Data of a tensor of type `ty`, from the brace on.
pub(super) fn tensor(c: &mut Cursor, ty: &Type, place: Place) -> Parsed<Tensor> {
    let Type::Tensor { elem, shape: Some(shape) } = ty else { return Err(TextProblem::SymbolicTensor.at(place)) };
    let dims: Option<Vec<u64>> = shape.iter().map(Dim::as_size).collect();
    let dims = dims.ok_or_else(|| TextProblem::SymbolicTensor.at(place))?;
    if c.eat('[')? {
        return outside(c, *elem, dims, place);
    }
    c.expect('{', "the elements, `{…}`")?;
    if *elem == ElemType::String {
        let mut strings = Vec::new();
        c.list_until('}', "`}` after the elements", |c| {
            strings.push(bytes(c)?);
            Ok(())
        })?;
        check_count(&dims, strings.len() as u64, place)?;
        let (doc, meta) = (String::new(), Vec::new());
        return Ok(Tensor { elem: *elem, dims, data: Data::Strings(strings), external: None, doc, meta });
    }
    let mut packer = Packer::new(*elem);
    c.list_until('}', "`}` after the elements", |c| {
        let at = c.place();
        let text = c.number()?;
        packer.push(text).map_err(|e| e.at(at))
    })?;
    let per = if matches!(elem, ElemType::Complex64 | ElemType::Complex128) { 2 } else { 1 };
    let found = packer.count() / per;
    check_count(&dims, found, place)?;
    let raw = Tensor::raw(*elem, dims.clone(), Bytes::from(packer.finish()));
    // What remains is half a complex number.
    raw.map_err(|_| TextProblem::WrongCount { expected: found, found: found + 1 }.at(place))
}

fn check_count(dims: &[u64], found: u64, place: Place) -> Parsed<()> {
    let expected = dims.iter().fold(1u64, |n, d| n.saturating_mul(*d));
    if expected == found { Ok(()) } else { Err(TextProblem::WrongCount { expected, found }.at(place)) }
}

/// `["location": "random:7"]`, from behind the bracket on.
fn outside(c: &mut Cursor, elem: ElemType, dims: Vec<u64>, place: Place) -> Parsed<Tensor> {
    let mut location = String::new();
    c.list_until(']', "`]` after the location", |c| {
        let key = c.string("a key in quotes")?;
        c.expect(':', "`:` after the key")?;
        let value = c.string("a value in quotes")?;
        if key == "location" {
            location = value;
        }
        Ok(())
    })?;
    fill(&location, elem, &dims).map_err(|e| match e {
        FillError::NotAFill => TextProblem::External { location }.at(place),
        FillError::TooLarge => TextProblem::TooLarge { dims }.at(place),
    })
}

/// Data of a sparse tensor, from the brace on: values, then indices.
pub(super) fn sparse(c: &mut Cursor, ty: &Type, place: Place) -> Parsed<SparseTensor> {
    let Type::Sparse { shape: Some(shape), .. } = ty else { return Err(TextProblem::SymbolicTensor.at(place)) };
    let dims: Option<Vec<u64>> = shape.iter().map(Dim::as_size).collect();
    let dims = dims.ok_or_else(|| TextProblem::SymbolicTensor.at(place))?;
    c.expect('{', "values and indices, `{…}`")?;
    let values = typed_tensor(c)?;
    c.expect(',', "`,` between values and indices")?;
    let indices = typed_tensor(c)?;
    c.expect('}', "`}` after the indices")?;
    Ok(SparseTensor { values, indices, dims })
}

fn typed_tensor(c: &mut Cursor) -> Parsed<Tensor> {
    let place = c.place();
    let t = ty(c)?;
    tensor(c, &t, place)
}

/// A string, or `bytes {…}` where it is not UTF-8.
fn bytes(c: &mut Cursor) -> Parsed<Bytes> {
    if *c.peek() != Token::Ident("bytes") {
        return Ok(Bytes::from(c.string("a string")?));
    }
    c.take()?;
    c.expect('{', "`{` after `bytes`")?;
    let mut out = Vec::new();
    c.list_until('}', "`}` after the bytes", |c| {
        out.push(c.parse_number::<u8>("byte")?);
        Ok(())
    })?;
    Ok(out.into())
}

/// One attribute: `name = value`, `name: kind = value`, `name: kind = @reference`.
pub(super) fn attribute(c: &mut Cursor) -> Parsed<(String, Attr)> {
    let place = c.place();
    let name = c.name("an attribute")?;
    attribute_value(c, name, place)
}

/// An attribute whose name was read already.
pub(super) fn attribute_value(c: &mut Cursor, name: String, place: Place) -> Parsed<(String, Attr)> {
    let mut kind = None;
    if c.eat(':')? {
        let at = c.place();
        let word = c.name("an attribute type")?;
        let found = ATTR_KINDS.iter().find(|(k, _)| *k == word);
        let found = found.ok_or_else(|| TextProblem::UnknownWord { name: word, wanted: "attribute type" }.at(at))?;
        kind = Some(*found);
    }
    c.expect('=', "`=` after the attribute")?;
    if c.eat('@')? {
        let (_, kind) = kind.ok_or_else(|| c.unexpected("a type in front of a reference"))?;
        return Ok((name, Attr::Ref { name: c.name("an attribute")?, kind }));
    }
    let value = if c.eat('[')? {
        let mut items = Vec::new();
        c.list_until(']', "`]` after the list", |c| {
            items.push(c.nested(single)?);
            Ok(())
        })?;
        list(items, kind)
    } else {
        cast(c.nested(single)?, kind.map(|k| k.0))
    };
    let wanted = kind.map_or("list of one type", |k| k.0);
    Ok((name.clone(), value.ok_or_else(|| TextProblem::AttributeType { name, wanted }.at(place))?))
}

fn single(c: &mut Cursor) -> Parsed<Attr> {
    if type_is_next(c) {
        return typed(c);
    }
    let place = c.place();
    match c.peek() {
        Token::Number(text) if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
            Ok(Attr::Int(c.parse_number("int")?))
        }
        Token::Number(_) => {
            let text = c.number()?;
            let bad = || TextProblem::BadNumber { text: text.to_string(), wanted: "float" }.at(place);
            Ok(Attr::Float(float32(text).ok_or_else(bad)?))
        }
        Token::Ident("bytes") => Ok(Attr::String(bytes(c)?)),
        Token::Ident(_) | Token::Str(_) => {
            let first = c.peek().clone();
            let word = c.name("a value")?;
            match (first, c.peek()) {
                (_, Token::Punct('(')) => Ok(Attr::Graph(Box::new(graph(c, &word, Scope::Nested)?))),
                (Token::Str(_), _) => Ok(Attr::String(word.into())),
                _ => float32(&word).map(Attr::Float).ok_or_else(|| c.unexpected("`(` after the name of a graph")),
            }
        }
        _ => Err(c.unexpected("a value")),
    }
}

/// A tensor, a sparse tensor or a type: they begin alike.
fn typed(c: &mut Cursor) -> Parsed<Attr> {
    let place = c.place();
    let t = ty(c)?;
    // The official syntax lets a tensor have a name, which nothing refers to.
    let named = c.optional_name()?.is_some();
    let data = named || matches!(c.peek(), Token::Punct('=' | '{')) || (*c.peek() == Token::Punct('['));
    c.eat('=')?;
    Ok(match (data, &t) {
        (false, _) => Attr::Type(t),
        (true, Type::Sparse { .. }) => Attr::SparseTensor(Arc::new(sparse(c, &t, place)?)),
        (true, _) => Attr::Tensor(Arc::new(tensor(c, &t, place)?)),
    })
}

/// A single value as the stated type; a whole number may be meant as a float.
fn cast(value: Attr, kind: Option<&str>) -> Option<Attr> {
    let is = match &value {
        Attr::Float(_) => "float",
        Attr::Int(_) => "int",
        Attr::String(_) => "string",
        Attr::Tensor(_) => "tensor",
        Attr::SparseTensor(_) => "sparse_tensor",
        Attr::Graph(_) => "graph",
        Attr::Type(_) => "type_proto",
        _ => return None,
    };
    match (value, kind) {
        (Attr::Int(i), Some("float")) => Some(Attr::Float(i as f32)),
        (value, None) => Some(value),
        (value, Some(k)) => (k == is).then_some(value),
    }
}

/// A list of values of one type; an empty one must state it.
fn list(items: Vec<Attr>, kind: Option<(&'static str, i32)>) -> Option<Attr> {
    let kind = match (kind, items.first()) {
        (Some((k, _)), _) => k,
        (None, Some(Attr::Float(_))) => "floats",
        (None, Some(Attr::Int(_))) => "ints",
        (None, Some(Attr::String(_))) => "strings",
        (None, Some(Attr::Tensor(_))) => "tensors",
        (None, Some(Attr::SparseTensor(_))) => "sparse_tensors",
        (None, Some(Attr::Graph(_))) => "graphs",
        (None, Some(Attr::Type(_))) => "type_protos",
        _ => return None,
    };
    let one = kind.strip_suffix('s')?;
    /// Every item as what `pick` takes out of it.
    fn all<T>(items: Vec<Attr>, one: &str, pick: fn(Attr) -> Option<T>) -> Option<Vec<T>> {
        items.into_iter().map(|a| cast(a, Some(one)).and_then(pick)).collect()
    }
    match kind {
        "floats" => all(items, one, |a| if let Attr::Float(v) = a { Some(v) } else { None }).map(Attr::Floats),
        "ints" => all(items, one, |a| if let Attr::Int(v) = a { Some(v) } else { None }).map(Attr::Ints),
        "strings" => all(items, one, |a| if let Attr::String(v) = a { Some(v) } else { None }).map(Attr::Strings),
        "tensors" => all(items, one, |a| if let Attr::Tensor(v) = a { Some(v) } else { None }).map(Attr::Tensors),
        "sparse_tensors" => {
            all(items, one, |a| if let Attr::SparseTensor(v) = a { Some(v) } else { None }).map(Attr::SparseTensors)
        }
        "graphs" => all(items, one, |a| if let Attr::Graph(v) = a { Some(*v) } else { None }).map(Attr::Graphs),
        "type_protos" => all(items, one, |a| if let Attr::Type(v) = a { Some(v) } else { None }).map(Attr::Types),
        _ => None,
    }
}
