//! From messages to the IR.

use crate::attr;
use crate::error::{NotOnnx, Note, OnnxError};
use crate::external::Files;
use crate::extra::{AttrExtras, FunctionExtra, GraphExtra, ModelExtra, Named, NodeExtra};
use crate::proto::{
    FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto, TensorProto,
    ValueInfoProto, Version,
};
use crate::ty::{self, Unnamed};
use crate::{meta, tensor};
use sparsec_ir::{Attrs, Extra, Function, Graph, Model, Node, NodeId, OpsetImport, Type, ValueId, topological};
use std::collections::BTreeSet;
use std::fmt;

/// What is threaded through the import of one model.
pub(crate) struct Cx<'a> {
    pub(crate) files: Files<'a>,
    pub(crate) unnamed: Unnamed,
    pub(crate) notes: Vec<Note>,
    /// Operator sets that the nodes being read may use.
    pub(crate) imports: Vec<OpsetImport>,
}

/// Where a tensor is, for messages; turned into text only where something is wrong.
pub(crate) enum Place<'a> {
    Initializer(&'a str),
    Attribute { node: &'a str, name: &'a str },
    Training,
    Tensor(&'a str),
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Initializer(name) => write!(f, "initialiser `{name}`"),
            Self::Attribute { node, name } => write!(f, "attribute `{name}` of `{node}`"),
            Self::Tensor(name) => write!(f, "tensor `{name}`"),
            Self::Training => f.write_str("a tensor of the training information"),
        }
    }
}

/// Names that a graph and those around it define.
pub(crate) struct Scope<'a> {
    names: &'a BTreeSet<String>,
    around: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn defines(&self, name: &str) -> bool {
        self.names.contains(name) || self.around.is_some_and(|s| s.defines(name))
    }
}

/// A whole model. `file` is what messages call it.
pub(crate) fn model(p: ModelProto, file: &str, cx: &mut Cx<'_>) -> Result<Model, OnnxError> {
    let not_onnx = |why| OnnxError::NotOnnx { file: file.to_string(), why };
    let ir_version = p.ir_version.filter(|v| *v > 0).ok_or_else(|| not_onnx(NotOnnx::NoIrVersion))?;
    let graph = p.graph.ok_or_else(|| not_onnx(NotOnnx::NoGraph))?;
    let mut opsets = self::opsets(&p.opset_import).ok_or_else(|| not_onnx(NotOnnx::NoOpset))?;
    if opsets.is_empty() {
        if ir_version >= Version::IrVersion2017113 as i64 {
            return Err(not_onnx(NotOnnx::NoOpset));
        }
        opsets.push(implied_opset());
        cx.notes.push(Note::ImpliedOpset);
    }
    let known = Version::IrVersion as i64;
    if ir_version > known {
        cx.notes.push(Note::NewerIrVersion { found: ir_version, known });
    }
    cx.imports.clone_from(&opsets);
    let graph = self::graph(graph, None, cx)?;
    let functions = p.functions.into_iter().map(|f| function(f, cx)).collect::<Result<_, _>>()?;
    let mut training = p.training_info;
    for t in &mut training {
        for g in [&mut t.initialization, &mut t.algorithm].into_iter().flatten() {
            inline(g, cx)?;
        }
    }
    Ok(Model {
        ir_version,
        opsets,
        producer: p.producer_name.clone().unwrap_or_default(),
        producer_version: p.producer_version.clone().unwrap_or_default(),
        domain: p.domain.clone().unwrap_or_default(),
        model_version: p.model_version,
        doc: p.doc_string.clone().unwrap_or_default(),
        meta: meta::import(&p.metadata_props),
        functions,
        graph,
        extra: Extra::new(ModelExtra {
            producer: p.producer_name,
            producer_version: p.producer_version,
            domain: p.domain,
            doc: p.doc_string.filter(String::is_empty),
            opsets: p.opset_import,
            training,
            configuration: p.configuration,
            files: std::mem::take(&mut cx.files.mapped),
        }),
    })
}

/// What a model of IR version 1 or 2 imports without saying so.
pub(crate) fn implied_opset() -> OpsetImport {
    OpsetImport { domain: String::new(), version: 1 }
}

fn opsets(p: &[OperatorSetIdProto]) -> Option<Vec<OpsetImport>> {
    p.iter().map(|o| Some(OpsetImport { domain: o.domain().to_string(), version: o.version? })).collect()
}

fn function(p: FunctionProto, cx: &mut Cx<'_>) -> Result<Function, OnnxError> {
    let mut extra = FunctionExtra {
        domain: p.domain.clone(),
        overload: p.overload.clone(),
        doc: p.doc_string.clone().filter(String::is_empty),
        opsets: p.opset_import.clone(),
        defaults: AttrExtras::new(),
    };
    let name = p.name.unwrap_or_default();
    let mut defaults = Attrs::new();
    for a in p.attribute_proto {
        attr::import(a, &name, None, &mut defaults, &mut extra.defaults, cx)?;
    }
    // A body is a graph whose inputs and outputs have names only.
    let named = |name: String| ValueInfoProto { name: Some(name), ..ValueInfoProto::default() };
    let body = GraphProto {
        name: Some(name.clone()),
        node: p.node,
        input: p.input.into_iter().map(named).collect(),
        output: p.output.into_iter().map(named).collect(),
        value_info: p.value_info,
        ..GraphProto::default()
    };
    let opsets = p.opset_import.iter().map(|o| OpsetImport { domain: o.domain().to_string(), version: o.version() });
    let opsets: Vec<OpsetImport> = opsets.collect();
    cx.imports.clone_from(&opsets);
    Ok(Function {
        domain: p.domain.unwrap_or_default(),
        overload: p.overload.unwrap_or_default(),
        attributes: p.attribute,
        defaults: defaults.into_iter().collect(),
        opsets,
        body: graph(body, None, cx)?,
        doc: p.doc_string.unwrap_or_default(),
        meta: meta::import(&p.metadata_props),
        extra: Extra::new(extra),
        name,
    })
}

/// A graph with its subgraphs. `around` are the names that it may capture.
pub(crate) fn graph(p: GraphProto, around: Option<&Scope<'_>>, cx: &mut Cx<'_>) -> Result<Graph, OnnxError> {
    let names = definitions(&p)?;
    let scope = Scope { names: &names, around };
    let title = p.name.clone().unwrap_or_default();
    let mut g = Graph::new(&title);
    let mut extra = GraphExtra { name: p.name, doc: p.doc_string.clone(), ..GraphExtra::default() };
    g.doc = p.doc_string.unwrap_or_default();
    g.meta = meta::import(&p.metadata_props);

    for t in p.initializer {
        let name = t.name().to_string();
        let (tensor, skeleton) = tensor::import(t, &Place::Initializer(&name), &mut cx.files)?;
        g.add_constant(&name, tensor);
        if skeleton != (TensorProto { name: skeleton.name.clone(), ..TensorProto::default() }) {
            extra.tensors.insert(name, skeleton);
        }
    }
    for s in p.sparse_initializer {
        let name = sparse_name(&s).to_string();
        let (tensor, skeleton) = tensor::import_sparse(s, &Place::Initializer(&name), &mut cx.files)?;
        g.add_sparse(&name, tensor);
        extra.tensors.extend(skeleton.values.map(|v| (name.clone(), v)));
        extra.indices.extend(skeleton.indices.map(|i| (name, i)));
    }
    for i in p.input {
        let v = match g.find(i.name()) {
            Some(v) => {
                g.list_input(v);
                v
            }
            // Whether there is a type at all is seen below.
            None => g.add_input(i.name(), Type::Opaque { domain: String::new(), name: String::new() }),
        };
        g.set_type(v, None);
        state(&mut g, v, &i, cx);
        extra.inputs.insert(i.name().to_string(), i);
    }
    nodes(&mut g, p.node, &title, &scope, cx)?;

    let mut outputs = Vec::with_capacity(p.output.len());
    for o in p.output {
        let v = match g.find(o.name()) {
            Some(v) => v,
            None if around.is_some_and(|s| s.defines(o.name())) => g.add_outer(o.name()),
            None => {
                let name = o.name().to_string();
                return Err(OnnxError::Undefined { graph: title, user: "the output list".to_string(), name });
            }
        };
        outputs.push(v);
        state(&mut g, v, &o, cx);
        extra.outputs.insert(o.name().to_string(), o);
    }
    g.set_outputs(&outputs);
    for message in p.value_info {
        let value = g.find(message.name());
        if let Some(v) = value {
            state(&mut g, v, &message, cx);
        }
        extra.value_info.push(Named { known: value.is_some(), message });
    }
    extra.annotations = p
        .quantization_annotation
        .into_iter()
        .map(|message| Named { known: g.find(message.tensor_name()).is_some(), message })
        .collect();
    extra.revision = Some(g.revision());
    g.extra = Extra::new(extra);

    match topological(&g) {
        Ok(_) => Ok(g),
        Err(cycle) => Err(OnnxError::Cycle { graph: title, nodes: cycle.iter().map(|n| g.label(*n)).collect() }),
    }
}

/// Every name that the graph itself defines, each once.
fn definitions(p: &GraphProto) -> Result<BTreeSet<String>, OnnxError> {
    let graph = || p.name.clone().unwrap_or_default();
    let twice = |name: &str| OnnxError::DefinedTwice { graph: graph(), name: name.to_string() };
    let mut names = BTreeSet::new();
    let constants = p.initializer.iter().map(|t| t.name()).chain(p.sparse_initializer.iter().map(sparse_name));
    for name in constants {
        if name.is_empty() {
            return Err(OnnxError::Unnamed { graph: graph(), what: "initialiser" });
        }
        if !names.insert(name.to_string()) {
            return Err(twice(name));
        }
    }
    let mut inputs = BTreeSet::new();
    for i in &p.input {
        if i.name().is_empty() {
            return Err(OnnxError::Unnamed { graph: graph(), what: "input" });
        }
        if !inputs.insert(i.name()) {
            return Err(twice(i.name()));
        }
        // An input may be an initialiser too: its default value.
        names.insert(i.name().to_string());
    }
    for name in p.node.iter().flat_map(|n| &n.output).filter(|n| !n.is_empty()) {
        if !names.insert(name.clone()) {
            return Err(twice(name));
        }
    }
    Ok(names)
}

fn sparse_name(p: &SparseTensorProto) -> &str {
    p.values.as_ref().map(|v| v.name()).unwrap_or_default()
}

/// Adds what a `ValueInfoProto` says of a value and nothing has said before.
fn state(g: &mut Graph, v: ValueId, p: &ValueInfoProto, cx: &mut Cx<'_>) {
    let value = g.value(v);
    if value.ty.is_none()
        && let Some(t) = p.r#type.as_ref().and_then(|t| ty::import(t, &mut cx.unnamed))
    {
        g.set_type(v, Some(t));
    }
    let value = g.value(v);
    if value.doc.is_empty() && value.meta.is_empty() && (!p.doc_string().is_empty() || !p.metadata_props.is_empty()) {
        g.set_value_meta(v, p.doc_string().to_string(), meta::import(&p.metadata_props));
    }
}

/// Nodes in file order, which need not be a topological one.
fn nodes(
    g: &mut Graph,
    nodes: Vec<NodeProto>,
    title: &str,
    scope: &Scope<'_>,
    cx: &mut Cx<'_>,
) -> Result<(), OnnxError> {
    // Operands whose definitions come later in the file, and captures found so far.
    let mut later: Vec<(NodeId, usize, String)> = Vec::new();
    let mut capturing: Vec<(NodeId, usize)> = Vec::new();
    for p in nodes {
        let label = match (p.name(), p.output.first()) {
            ("", Some(o)) => format!("{} → {o}", p.op_type()),
            ("", None) => p.op_type().to_string(),
            (name, _) => name.to_string(),
        };
        let mut node = Node::new(p.op_type());
        let mut waiting = Vec::new();
        for (i, name) in p.input.into_iter().enumerate() {
            let value = match g.find(&name) {
                _ if name.is_empty() => None,
                Some(v) => Some(v),
                None if scope.names.contains(&name) => {
                    waiting.push((i, name));
                    None
                }
                None if scope.defines(&name) => Some(g.add_outer(&name)),
                None => {
                    let user = format!("node `{label}`");
                    return Err(OnnxError::Undefined { graph: title.to_string(), user, name });
                }
            };
            node.inputs.push(value);
        }
        let mut extra = NodeExtra {
            name: p.name.clone().filter(String::is_empty),
            domain: p.domain.clone(),
            overload: p.overload.clone().filter(String::is_empty),
            doc: p.doc_string.clone().filter(String::is_empty),
            attrs: AttrExtras::new(),
            devices: p.device_configurations,
        };
        for a in p.attribute {
            attr::import(a, &label, Some(scope), &mut node.attrs, &mut extra.attrs, cx)?;
        }
        node.name = p.name.unwrap_or_default();
        node.domain = p.domain.filter(|d| d != "ai.onnx").unwrap_or_default();
        let own = |d: &str| d.is_empty() || d == "ai.onnx";
        let gives = |o: &OpsetImport| o.domain == node.domain || own(&o.domain) && own(&node.domain);
        if !cx.imports.iter().any(gives) {
            let domain = if node.domain.is_empty() { "ai.onnx".to_string() } else { node.domain };
            return Err(OnnxError::NotImported { graph: title.to_string(), node: label, domain });
        }
        node.overload = p.overload.unwrap_or_default();
        node.doc = p.doc_string.unwrap_or_default();
        node.meta = meta::import(&p.metadata_props);
        if extra != NodeExtra::default() {
            node.extra = Extra::new(extra);
        }
        let subgraphs = node.subgraphs().next().is_some();
        let results: Vec<&str> = p.output.iter().map(String::as_str).collect();
        let id = g.add_node(node, &results);
        later.extend(waiting.into_iter().map(|(i, name)| (id, i, name)));
        if subgraphs {
            capturing.push((id, g.captures(id).len()));
        }
    }
    for (id, operand, name) in later {
        let value = g.find(&name);
        g.set_operand(id, operand, value);
    }
    for (id, found) in capturing {
        if g.captures(id).len() != found {
            g.recapture(id);
        }
    }
    Ok(())
}

/// Pulls external data into the tensors of a graph that is kept as a message.
fn inline(p: &mut GraphProto, cx: &mut Cx<'_>) -> Result<(), OnnxError> {
    let one = |t: &mut TensorProto, cx: &mut Cx<'_>| -> Result<(), OnnxError> {
        let name = t.name.clone();
        let (tensor, skeleton) = tensor::import(std::mem::take(t), &Place::Training, &mut cx.files)?;
        *t = tensor::export(&tensor, name.as_deref(), Some(&skeleton), &Place::Training)?;
        Ok(())
    };
    let both = |s: &mut SparseTensorProto, cx: &mut Cx<'_>| -> Result<(), OnnxError> {
        s.values.iter_mut().chain(&mut s.indices).try_for_each(|t| one(t, cx))
    };
    p.initializer.iter_mut().try_for_each(|t| one(t, cx))?;
    p.sparse_initializer.iter_mut().try_for_each(|s| both(s, cx))?;
    for a in p.node.iter_mut().flat_map(|n| &mut n.attribute) {
        a.t.iter_mut().chain(&mut a.tensors).try_for_each(|t| one(t, cx))?;
        a.sparse_tensor.iter_mut().chain(&mut a.sparse_tensors).try_for_each(|s| both(s, cx))?;
        a.g.iter_mut().chain(&mut a.graphs).try_for_each(|g| inline(g, cx))?;
    }
    Ok(())
}
