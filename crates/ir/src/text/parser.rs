//! Reads models, functions, graphs and nodes.

use super::cursor::{Cursor, Parsed};
use super::error::{TextError, TextProblem};
use super::lexer::{Place, Token};
use super::literal::{attribute, attribute_value, sparse, tensor, ty, type_is_next};
use crate::{Attr, Attrs, ElemType, Extra, Function, Graph, Model, Node, NodeId, OpsetImport, Type, ValueId};
use std::collections::BTreeMap;

/// Reads a model.
///
/// # Errors
/// The first place where the text is no model; see [`TextProblem`].
pub fn parse_model(text: &str) -> Result<Model, TextError> {
    let mut c = Cursor::new(text)?;
    let mut m = Model::new(Graph::default(), 0, 0);
    m.opsets.clear();
    if c.eat('<')? {
        c.list_until('>', "`>` after the header", |c| {
            let (key, place) = header_key(c)?;
            match key.as_str() {
                "ir_version" => m.ir_version = c.parse_number("version")?,
                "opset_import" => m.opsets = opsets(c)?,
                "producer_name" => m.producer = c.string("a string")?,
                "producer_version" => m.producer_version = c.string("a string")?,
                "domain" => m.domain = c.string("a string")?,
                "model_version" => m.model_version = Some(c.parse_number("version")?),
                "doc_string" => m.doc = c.string("a string")?,
                "metadata_props" => m.meta = string_pairs(c)?,
                _ => return Err(TextProblem::UnknownWord { name: key, wanted: "key of a model" }.at(place)),
            }
            Ok(())
        })?;
    }
    let name = c.name("the name of the graph")?;
    m.graph = graph(&mut c, &name, Scope::Closed)?;
    while *c.peek() != Token::End {
        m.functions.push(function(&mut c)?);
    }
    Ok(m)
}

fn header_key(c: &mut Cursor) -> Parsed<(String, Place)> {
    let place = c.place();
    let key = c.name("a key")?;
    c.expect(':', "`:` after the key")?;
    Ok((key, place))
}

fn opsets(c: &mut Cursor) -> Parsed<Vec<OpsetImport>> {
    let mut out = Vec::new();
    c.expect('[', "`[` before the operator sets")?;
    c.list_until(']', "`]` after the operator sets", |c| {
        let domain = c.string("a domain in quotes")?;
        c.expect(':', "`:` after the domain")?;
        out.push(OpsetImport { domain, version: c.parse_number("version")? });
        Ok(())
    })?;
    Ok(out)
}

fn string_pairs(c: &mut Cursor) -> Parsed<Vec<(String, String)>> {
    let mut out = Vec::new();
    c.expect('[', "`[` before the pairs")?;
    c.list_until(']', "`]` after the pairs", |c| {
        let key = c.string("a key in quotes")?;
        c.expect(':', "`:` after the key")?;
        out.push((key, c.string("a value in quotes")?));
        Ok(())
    })?;
    Ok(out)
}

fn function(c: &mut Cursor) -> Parsed<Function> {
    let mut f = Function {
        domain: String::new(),
        name: String::new(),
        overload: String::new(),
        attributes: Vec::new(),
        defaults: Vec::new(),
        opsets: Vec::new(),
        body: Graph::default(),
        doc: String::new(),
        meta: Vec::new(),
        extra: Extra::default(),
    };
    if c.eat('<')? {
        c.list_until('>', "`>` after the header", |c| {
            let (key, place) = header_key(c)?;
            match key.as_str() {
                "domain" => f.domain = c.string("a string")?,
                "overload" => f.overload = c.string("a string")?,
                "opset_import" => f.opsets = opsets(c)?,
                "doc_string" => f.doc = c.string("a string")?,
                _ => return Err(TextProblem::UnknownWord { name: key, wanted: "key of a function" }.at(place)),
            }
            Ok(())
        })?;
    }
    f.name = c.name("the name of a function")?;
    if c.eat('<')? {
        c.list_until('>', "`>` after the attributes", |c| {
            let place = c.place();
            let name = c.name("an attribute")?;
            match c.peek() {
                Token::Punct(':' | '=') => f.defaults.push(attribute_value(c, name, place)?),
                _ => f.attributes.push(name),
            }
            Ok(())
        })?;
    }
    f.body = graph(c, &f.name, Scope::Closed)?;
    Ok(f)
}

/// What a name means that a graph uses and does not define.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// A mistake.
    Closed,
    /// A value of an enclosing graph.
    Nested,
}

/// Inputs, outputs, constants and nodes of a graph whose name was read already.
pub(super) fn graph(c: &mut Cursor, name: &str, scope: Scope) -> Parsed<Graph> {
    c.nested(|c| {
        let mut b = Builder { graph: Graph::new(name), scope, types: BTreeMap::new() };
        c.expect('(', "`(` before the inputs")?;
        c.list_until(')', "`)` after the inputs", |c| b.input(c))?;
        c.expect('=', "`=>` after the inputs")?;
        c.expect('>', "`=>` after the inputs")?;
        let mut outputs = Vec::new();
        c.expect('(', "`(` before the outputs")?;
        c.list_until(')', "`)` after the outputs", |c| {
            let (t, name, place) = typed_name(c)?;
            if let Some(t) = t {
                b.types.insert(name.clone(), t);
            }
            outputs.push((name, place));
            Ok(())
        })?;
        if c.eat('<')? {
            c.list_until('>', "`>` after the constants", |c| b.constant_or_type(c))?;
        }
        b.nodes(c)?;
        let mut ids = Vec::with_capacity(outputs.len());
        for (name, place) in outputs {
            ids.push(match (b.graph.find(&name), scope) {
                (Some(v), _) => v,
                (None, Scope::Nested) => b.graph.add_outer(&name),
                (None, Scope::Closed) => return Err(TextProblem::Undefined { name }.at(place)),
            });
        }
        b.graph.set_outputs(&ids);
        for (name, t) in b.types {
            if let Some(v) = b.graph.find(&name) {
                b.graph.set_type(v, Some(t));
            }
        }
        Ok(b.graph)
    })
}

/// `float[3] x` or `x`.
fn typed_name(c: &mut Cursor) -> Parsed<(Option<Type>, String, Place)> {
    let t = if type_is_next(c) { Some(ty(c)?) } else { None };
    let place = c.place();
    let name = c.name("a name")?;
    if name.is_empty() { Err(TextProblem::Undefined { name }.at(place)) } else { Ok((t, name, place)) }
}

/// A graph while it is read.
struct Builder {
    graph: Graph,
    scope: Scope,
    /// Stated types of values, set once all values exist.
    types: BTreeMap<String, Type>,
}

/// A node's operands by name, until every result exists.
struct Pending {
    node: NodeId,
    place: Place,
    operands: Vec<(String, Place)>,
}

impl Builder {
    fn free(&self, name: &str, place: Place) -> Parsed<()> {
        match self.graph.find(name) {
            Some(_) => Err(TextProblem::Redefined { name: name.to_string() }.at(place)),
            None => Ok(()),
        }
    }
    /// An input, or with a value behind `=` a constant that is listed among them.
    fn input(&mut self, c: &mut Cursor) -> Parsed<()> {
        let start = c.place();
        let (t, name, place) = typed_name(c)?;
        self.free(&name, place)?;
        if *c.peek() == Token::Punct('=') {
            let v = self.constant(c, &name, t.as_ref(), start)?;
            self.graph.list_input(v);
            self.graph.set_type(v, t);
            return Ok(());
        }
        let any = Type::Tensor { elem: ElemType::F32, shape: None };
        let known = t.is_some();
        let v = self.graph.add_input(&name, t.unwrap_or(any));
        if !known {
            self.graph.set_type(v, None);
        }
        Ok(())
    }
    /// A constant, or the type of a value that a node computes.
    fn constant_or_type(&mut self, c: &mut Cursor) -> Parsed<()> {
        let start = c.place();
        let (t, name, place) = typed_name(c)?;
        if *c.peek() == Token::Punct('=') {
            self.free(&name, place)?;
            self.constant(c, &name, t.as_ref(), start)?;
        } else if let Some(t) = t {
            self.types.insert(name, t);
        }
        Ok(())
    }
    fn constant(&mut self, c: &mut Cursor, name: &str, t: Option<&Type>, place: Place) -> Parsed<ValueId> {
        c.expect('=', "`=` before the data")?;
        let t = t.ok_or_else(|| TextProblem::SymbolicTensor.at(place))?;
        Ok(match t {
            Type::Sparse { .. } => {
                let s = sparse(c, t, place)?;
                self.graph.add_sparse(name, s)
            }
            _ => {
                let s = tensor(c, t, place)?;
                self.graph.add_constant(name, s)
            }
        })
    }
    fn nodes(&mut self, c: &mut Cursor) -> Parsed<()> {
        c.expect('{', "`{` before the nodes")?;
        let mut pending = Vec::new();
        while !c.eat('}')? {
            pending.push(self.node(c)?);
        }
        let nodes: Vec<NodeId> = pending.iter().map(|p| p.node).collect();
        for p in pending {
            self.connect(p)?;
        }
        for n in nodes {
            if self.graph.node(n).subgraphs().next().is_some() {
                self.graph.refresh_captures(n);
            }
        }
        Ok(())
    }
    /// A node with its results. Its operands may be computed further down: they are connected afterwards.
    fn node(&mut self, c: &mut Cursor) -> Parsed<Pending> {
        let start = c.place();
        let mut n = Node::default();
        if c.eat('[')? {
            n.name = c.optional_name()?.unwrap_or_default();
            c.expect(']', "`]` after the label")?;
        }
        let results = names(c)?;
        c.expect('=', "`=` before the operator")?;
        n.op = c.name("an operator")?;
        while c.eat('.')? {
            let part = std::mem::replace(&mut n.op, c.name("an operator")?);
            n.domain = if n.domain.is_empty() { part } else { format!("{}.{part}", n.domain) };
        }
        if c.eat(':')? {
            n.overload = c.name("an overload")?;
        }
        attributes(c, &mut n.attrs)?;
        c.expect('(', "`(` before the operands")?;
        let operands = names(c)?;
        c.expect(')', "`)` after the operands")?;
        attributes(c, &mut n.attrs)?;
        for (i, (name, place)) in results.iter().enumerate() {
            self.free(name, *place)?;
            if !name.is_empty() && results[..i].iter().any(|(n, _)| n == name) {
                return Err(TextProblem::Redefined { name: name.clone() }.at(*place));
            }
        }
        n.inputs = vec![None; operands.len()];
        let names: Vec<&str> = results.iter().map(|(n, _)| n.as_str()).collect();
        Ok(Pending { node: self.graph.add_node(n, &names), place: start, operands })
    }
    /// Finds the operands, and what the node's subgraphs use.
    fn connect(&mut self, p: Pending) -> Parsed<()> {
        for (index, (name, place)) in p.operands.into_iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            let v = match (self.graph.find(&name), self.scope) {
                (Some(v), _) => v,
                (None, Scope::Nested) => self.graph.add_outer(&name),
                (None, Scope::Closed) => return Err(TextProblem::Undefined { name }.at(place)),
            };
            self.graph.set_operand(p.node, index, Some(v));
        }
        let mut captured = Vec::new();
        for g in self.graph.node(p.node).subgraphs() {
            g.outer_names(&mut captured);
        }
        let missing = captured.into_iter().find(|name| self.graph.find(name).is_none());
        match missing.filter(|_| self.scope == Scope::Closed) {
            Some(name) => Err(TextProblem::Undefined { name }.at(p.place)),
            None => Ok(()),
        }
    }
}

/// Names separated by commas, some of them left out (`""`).
fn names(c: &mut Cursor) -> Parsed<Vec<(String, Place)>> {
    let mut out = Vec::new();
    loop {
        let place = c.place();
        match (c.optional_name()?, c.peek()) {
            (Some(name), _) => out.push((name, place)),
            (None, Token::Punct(',')) => out.push((String::new(), place)),
            (None, _) => return Ok(out),
        }
        if !c.eat(',')? {
            return Ok(out);
        }
    }
}

/// `<a = 1, b = 2>`, if that is next.
fn attributes(c: &mut Cursor, out: &mut Attrs) -> Parsed<()> {
    if !c.eat('<')? {
        return Ok(());
    }
    c.list_until('>', "`>` after the attributes", |c| {
        let place = c.place();
        let (name, value): (String, Attr) = attribute(c)?;
        match out.insert(name.clone(), value) {
            Some(_) => Err(TextProblem::Redefined { name }.at(place)),
            None => Ok(()),
        }
    })
}
