//! Writes models, canonically.

use super::number::{write_elements, write_f32};
use super::{ATTR_KINDS, is_identifier, is_type_word};
use crate::{
    Attr, Attrs, Data, Def, Dim, ElemType, Function, Graph, Model, Node, NodeId, OpsetImport, SparseTensor, Tensor,
    Type, ValueId, topological,
};
use std::fmt::Write;

/// How much of the constants is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// Every element: the text can be read back.
    #[default]
    Full,
    /// Types, and the root of the mean square as a comment: for people and for expected outputs of tests. Whole
    /// numbers up to 16 elements are printed, since they speak of shapes. Such a text cannot be read back.
    Summary,
}

/// Options of [`print_model`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PrintOptions {
    /// How much of the constants is printed.
    pub weights: Weights,
}

impl PrintOptions {
    /// Print `weights` so.
    pub fn weights(weights: Weights) -> Self {
        Self { weights }
    }
}

/// Whole-number constants up to this many elements are printed in a summary.
const SUMMARY_ELEMENTS: u64 = 16;

/// Writes a model in ONNX's text syntax: topological order (a cyclic graph in the order of its nodes), attributes
/// sorted by name. Ends with a newline.
pub fn print_model(model: &Model, options: &PrintOptions) -> String {
    let mut p = Printer { out: String::new(), weights: options.weights, indent: 0 };
    p.model(model);
    p.out
}

/// Writes a type.
pub(crate) fn write_type(out: &mut String, ty: &Type) {
    match ty {
        Type::Tensor { elem, shape } => write_tensor_type(out, *elem, shape.as_deref()),
        Type::Sparse { elem, shape } => {
            out.push_str("sparse_tensor(");
            write_tensor_type(out, *elem, shape.as_deref());
            out.push(')');
        }
        Type::Sequence(t) | Type::Optional(t) => {
            out.push_str(if matches!(ty, Type::Sequence(_)) { "seq(" } else { "optional(" });
            write_type(out, t);
            out.push(')');
        }
        Type::Map(key, t) => {
            out.push_str("map(");
            out.push_str(key.name());
            out.push_str(", ");
            write_type(out, t);
            out.push(')');
        }
        Type::Opaque { domain, name } => {
            out.push_str("opaque(");
            if !domain.is_empty() {
                write_name(out, domain);
                out.push(',');
            }
            write_name(out, name);
            out.push(')');
        }
    }
}

fn write_tensor_type(out: &mut String, elem: ElemType, shape: Option<&[Dim]>) {
    out.push_str(elem.name());
    let Some(dims) = shape else { return out.push_str("[]") };
    if dims.is_empty() {
        return;
    }
    out.push('[');
    for (i, d) in dims.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        match (d.as_const(), d.as_sym()) {
            (Some(n), _) => out.push_str(&n.to_string()),
            (_, Some(s)) if s.starts_with('?') => out.push('?'),
            (_, Some(s)) if is_identifier(s) => out.push_str(s),
            _ => write_quoted(out, &d.to_string()),
        }
    }
    out.push(']');
}

fn write_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
}

fn write_bytes(out: &mut String, bytes: &[u8]) {
    match std::str::from_utf8(bytes) {
        Ok(text) => write_quoted(out, text),
        Err(_) => {
            let numbers: Vec<String> = bytes.iter().map(u8::to_string).collect();
            out.push_str("bytes {");
            out.push_str(&numbers.join(", "));
            out.push('}');
        }
    }
}

/// A name, in quotes where it would read as something else.
fn write_name(out: &mut String, name: &str) {
    let special = is_type_word(name) || matches!(name, "inf" | "infinity" | "nan" | "bytes");
    if is_identifier(name) && !special { out.push_str(name) } else { write_quoted(out, name) }
}

struct Printer {
    out: String,
    weights: Weights,
    /// Depth of nesting of the current graph.
    indent: usize,
}

impl Printer {
    fn model(&mut self, m: &Model) {
        let _ = write!(self.out, "<ir_version: {}, opset_import: ", m.ir_version);
        self.opsets(&m.opsets);
        self.header("producer_name", &m.producer);
        self.header("producer_version", &m.producer_version);
        self.header("domain", &m.domain);
        if let Some(version) = m.model_version {
            let _ = write!(self.out, ", model_version: {version}");
        }
        self.header("doc_string", &m.doc);
        if !m.meta.is_empty() {
            self.out.push_str(", metadata_props: ");
            self.list("[", &m.meta, "]", |p, (k, v)| {
                write_quoted(&mut p.out, k);
                p.out.push_str(": ");
                write_quoted(&mut p.out, v);
            });
        }
        self.out.push_str(">\n");
        self.name(m.graph.name());
        self.graph(&m.graph);
        self.out.push('\n');
        for f in &m.functions {
            self.out.push('\n');
            self.function(f);
        }
    }
    fn header(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            let _ = write!(self.out, ", {key}: ");
            write_quoted(&mut self.out, value);
        }
    }
    fn opsets(&mut self, opsets: &[OpsetImport]) {
        self.list("[", opsets, "]", |p, o| {
            write_quoted(&mut p.out, &o.domain);
            let _ = write!(p.out, " : {}", o.version);
        });
    }
    fn function(&mut self, f: &Function) {
        self.out.push_str("<domain: ");
        write_quoted(&mut self.out, &f.domain);
        self.header("overload", &f.overload);
        self.out.push_str(", opset_import: ");
        self.opsets(&f.opsets);
        self.header("doc_string", &f.doc);
        self.out.push_str(">\n");
        self.name(&f.name);
        if !f.attributes.is_empty() || !f.defaults.is_empty() {
            self.out.push_str(" <");
            self.commas(&f.attributes, |p, a| p.name(a));
            if !f.attributes.is_empty() && !f.defaults.is_empty() {
                self.out.push_str(", ");
            }
            self.commas(&f.defaults, |p, (name, value)| p.attribute(name, value, Kind::Stated));
            self.out.push('>');
        }
        self.graph(&f.body);
        self.out.push('\n');
    }

    /// What follows a graph's name.
    fn graph(&mut self, g: &Graph) {
        self.list(" (", g.listed_inputs(), ")", |p, &v| {
            let value = g.value(v);
            match (&value.def, &value.ty) {
                (Def::Constant(t), _) => p.constant(&value.name, t),
                (Def::Sparse(s), _) => p.sparse_constant(&value.name, s),
                (_, ty) => p.typed_name(&value.name, ty.as_ref()),
            }
        });
        self.list(" => (", g.outputs(), ")", |p, &v| p.typed_name(&g.value(v).name, g.value(v).ty.as_ref()));
        let order = topological(g).unwrap_or_else(|_| g.nodes().map(|(id, _)| id).collect());
        self.declarations(g, &order);
        self.line();
        self.out.push('{');
        self.indent += 1;
        for &id in &order {
            self.line();
            self.node(g, g.node(id));
        }
        self.indent -= 1;
        self.line();
        self.out.push('}');
    }
    /// Constants, then types of computed values, each on a line of its own.
    fn declarations(&mut self, g: &Graph, order: &[NodeId]) {
        let listed = |v: &ValueId| g.listed_inputs().contains(v);
        let constants = g.values().filter(|(_, v)| matches!(v.def, Def::Constant(_) | Def::Sparse(_)));
        let constants: Vec<ValueId> = constants.map(|(id, _)| id).filter(|v| !listed(v)).collect();
        let computed = order.iter().flat_map(|&n| g.node(n).outputs.iter().copied().flatten());
        let computed = computed.filter(|&v| g.value(v).ty.is_some() && !g.is_output(v));
        let all: Vec<ValueId> = constants.into_iter().chain(computed).collect();
        if all.is_empty() {
            return;
        }
        self.line();
        self.out.push('<');
        self.indent += 1;
        for (i, &v) in all.iter().enumerate() {
            self.line();
            let value = g.value(v);
            let comment = match &value.def {
                Def::Constant(t) => {
                    self.constant(&value.name, t);
                    if self.elided(t) { rms(t) } else { None }
                }
                Def::Sparse(s) => {
                    self.sparse_constant(&value.name, s);
                    None
                }
                _ => {
                    self.typed_name(&value.name, value.ty.as_ref());
                    None
                }
            };
            if i + 1 < all.len() {
                self.out.push(',');
            }
            if let Some(comment) = comment {
                let _ = write!(self.out, "  # {comment}");
            }
        }
        self.indent -= 1;
        self.line();
        self.out.push('>');
    }
    fn node(&mut self, g: &Graph, n: &Node) {
        if !n.name.is_empty() {
            self.out.push('[');
            self.name(&n.name);
            self.out.push_str("] ");
        }
        let of = |v: &Option<ValueId>| v.map_or("", |v| g.value(v).name.as_str());
        self.commas(&n.outputs, |p, v| p.name(of(v)));
        self.out.push_str(if n.outputs.is_empty() { "= " } else { " = " });
        for part in n.domain.split('.').filter(|p| !p.is_empty()) {
            self.name(part);
            self.out.push('.');
        }
        self.name(&n.op);
        if !n.overload.is_empty() {
            self.out.push(':');
            self.name(&n.overload);
        }
        // Subgraphs are long: operands in front of them keep the node's head together.
        let nested = n.subgraphs().next().is_some();
        if !nested {
            self.attributes(&n.attrs);
        }
        self.list(" (", &n.inputs, ")", |p, v| p.name(of(v)));
        if nested {
            self.attributes(&n.attrs);
        }
    }
    fn attributes(&mut self, attrs: &Attrs) {
        if attrs.is_empty() {
            return;
        }
        let mut sorted: Vec<(&String, &Attr)> = attrs.iter().collect();
        sorted.sort_by_key(|(name, _)| *name);
        self.list(" <", &sorted, ">", |p, (name, value)| p.attribute(name, value, Kind::WhereNeeded));
    }
    fn attribute(&mut self, name: &str, value: &Attr, kind: Kind) {
        self.name(name);
        let code = match value {
            Attr::Float(_) => 1,
            Attr::Int(_) => 2,
            Attr::String(_) => 3,
            Attr::Tensor(_) => 4,
            Attr::Graph(_) => 5,
            Attr::Floats(_) => 6,
            Attr::Ints(_) => 7,
            Attr::Strings(_) => 8,
            Attr::Tensors(_) => 9,
            Attr::Graphs(_) => 10,
            Attr::SparseTensor(_) => 11,
            Attr::SparseTensors(_) => 12,
            Attr::Type(_) => 13,
            Attr::Types(_) => 14,
            Attr::Ref { kind, .. } => *kind,
        };
        let plain = match value {
            Attr::Float(_) | Attr::Int(_) | Attr::String(_) | Attr::Tensor(_) | Attr::Graph(_) => true,
            Attr::Floats(v) => !v.is_empty(),
            Attr::Ints(v) => !v.is_empty(),
            Attr::Strings(v) => !v.is_empty(),
            _ => false,
        };
        if !plain || kind == Kind::Stated {
            let word = ATTR_KINDS.iter().find(|(_, c)| *c == code).map_or("undefined", |(word, _)| word);
            let _ = write!(self.out, ": {word}");
        }
        self.out.push_str(" = ");
        match value {
            Attr::Float(v) => write_f32(&mut self.out, *v),
            Attr::Int(v) => self.out.push_str(&v.to_string()),
            Attr::String(v) => write_bytes(&mut self.out, v),
            Attr::Tensor(v) => self.typed_tensor(v),
            Attr::SparseTensor(v) => self.typed_sparse(v),
            Attr::Graph(v) => self.subgraph(v),
            Attr::Type(v) => write_type(&mut self.out, v),
            Attr::Floats(v) => self.list("[", v, "]", |p, v| write_f32(&mut p.out, *v)),
            Attr::Ints(v) => self.list("[", v, "]", |p, v| p.out.push_str(&v.to_string())),
            Attr::Strings(v) => self.list("[", v, "]", |p, v| write_bytes(&mut p.out, v)),
            Attr::Tensors(v) => self.list("[", v, "]", |p, v| p.typed_tensor(v)),
            Attr::SparseTensors(v) => self.list("[", v, "]", |p, v| p.typed_sparse(v)),
            Attr::Graphs(v) => self.list("[", v, "]", |p, v| p.subgraph(v)),
            Attr::Types(v) => self.list("[", v, "]", |p, v| write_type(&mut p.out, v)),
            Attr::Ref { name, .. } => {
                self.out.push('@');
                self.name(name);
            }
        }
    }
    fn subgraph(&mut self, g: &Graph) {
        self.name(g.name());
        self.indent += 1;
        self.graph(g);
        self.indent -= 1;
    }

    // ---- constants ----

    fn elided(&self, t: &Tensor) -> bool {
        let short = (t.elem.is_int() || t.elem == ElemType::String) && t.count() <= SUMMARY_ELEMENTS;
        self.weights == Weights::Summary && !short
    }
    fn constant(&mut self, name: &str, t: &Tensor) {
        self.tensor_type(t);
        self.out.push(' ');
        self.name(name);
        if !self.elided(t) {
            self.out.push_str(" = ");
            self.elements(t);
        }
    }
    fn typed_tensor(&mut self, t: &Tensor) {
        self.tensor_type(t);
        self.out.push(' ');
        if self.elided(t) { self.out.push_str("{…}") } else { self.elements(t) }
    }
    fn tensor_type(&mut self, t: &Tensor) {
        self.out.push_str(t.elem.name());
        if !t.dims.is_empty() {
            let dims: Vec<String> = t.dims.iter().map(u64::to_string).collect();
            let _ = write!(self.out, "[{}]", dims.join(","));
        }
    }
    fn elements(&mut self, t: &Tensor) {
        match &t.data {
            Data::Strings(s) => self.list("{", s, "}", |p, s| write_bytes(&mut p.out, s)),
            Data::Raw(b) => {
                self.out.push('{');
                write_elements(&mut self.out, t.elem, t.count(), b);
                self.out.push('}');
            }
        }
    }
    fn sparse_constant(&mut self, name: &str, s: &SparseTensor) {
        self.sparse_type(s);
        self.out.push(' ');
        self.name(name);
        if self.weights == Weights::Full {
            self.out.push_str(" = ");
            self.sparse_elements(s);
        }
    }
    fn typed_sparse(&mut self, s: &SparseTensor) {
        self.sparse_type(s);
        self.out.push(' ');
        if self.weights == Weights::Full { self.sparse_elements(s) } else { self.out.push_str("{…}") }
    }
    fn sparse_type(&mut self, s: &SparseTensor) {
        let shape = s.dims.iter().map(|&d| Dim::from(i64::try_from(d).unwrap_or(i64::MAX))).collect();
        write_type(&mut self.out, &Type::Sparse { elem: s.values.elem, shape: Some(shape) });
    }
    fn sparse_elements(&mut self, s: &SparseTensor) {
        self.list("{", &[&s.values, &s.indices], "}", |p, t| p.typed_tensor(t));
    }

    // ---- small pieces ----

    fn typed_name(&mut self, name: &str, ty: Option<&Type>) {
        if let Some(ty) = ty {
            write_type(&mut self.out, ty);
            self.out.push(' ');
        }
        self.name(name);
    }
    fn name(&mut self, name: &str) {
        write_name(&mut self.out, name);
    }
    fn commas<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        for (i, it) in items.iter().enumerate() {
            if i > 0 {
                self.out.push_str(", ");
            }
            item(self, it);
        }
    }
    fn list<T>(&mut self, open: &str, items: &[T], close: &str, item: impl FnMut(&mut Self, &T)) {
        self.out.push_str(open);
        self.commas(items, item);
        self.out.push_str(close);
    }
    fn line(&mut self) {
        self.out.push('\n');
        for _ in 0..self.indent {
            self.out.push_str("  ");
        }
    }
}

/// Whether an attribute's type is printed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Stated,
    WhereNeeded,
}

/// `rms 0.412` of a float tensor, to three digits.
fn rms(t: &Tensor) -> Option<String> {
    let values = t.to_f64().ok().filter(|v| !v.is_empty())?;
    let rms = (values.iter().map(|v| v * v).sum::<f64>() / values.len() as f64).sqrt();
    let digits = if rms > 0.0 && rms.is_finite() { (2 - rms.log10().floor() as i64).clamp(0, 20) } else { 0 };
    Some(format!("rms {rms:.*}", digits as usize))
}
