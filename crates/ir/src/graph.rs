//! The graph: arenas of nodes and values, single assignment, use lists, a revision that every mutation bumps.

use crate::{Attr, Attrs, Extra, Id, NodeId, SparseTensor, Tensor, Type, ValueId};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What computes a value.
#[derive(Clone, Debug)]
pub enum Def {
    /// An input of the graph.
    Input,
    /// A constant (ONNX initializer).
    Constant(Arc<Tensor>),
    /// A sparse constant.
    Sparse(Arc<SparseTensor>),
    /// Output `index` of a node.
    Node {
        /// The node.
        node: NodeId,
        /// Position among its outputs.
        index: usize,
    },
    /// A value of the enclosing graph, seen from a subgraph.
    Outer,
}

/// One use of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Use {
    /// Operand `index` of a node.
    Operand(NodeId, usize),
    /// A subgraph of the node uses the value by name.
    Captured(NodeId),
}

/// A value: one tensor (or sequence, …) with one definition.
#[derive(Clone, Debug)]
pub struct Value {
    /// Unique name; what files, plans and messages call it.
    pub name: String,
    /// What the file says of the type.
    pub ty: Option<Type>,
    /// What computes it.
    pub def: Def,
    /// Every use, in the order in which they were made.
    pub uses: Vec<Use>,
    /// Documentation string of the file.
    pub doc: String,
    /// `metadata_props` of the file.
    pub meta: Vec<(String, String)>,
}

/// An application of an operator.
#[derive(Clone, Debug, Default)]
pub struct Node {
    /// Name, often empty.
    pub name: String,
    /// Operator domain; empty for ONNX's own.
    pub domain: String,
    /// Operator type.
    pub op: String,
    /// Overload of a local function; nearly always empty.
    pub overload: String,
    /// Operands; `None` where an optional one is left out.
    pub inputs: Vec<Option<ValueId>>,
    /// Results; `None` where an optional one is left out.
    pub outputs: Vec<Option<ValueId>>,
    /// Attributes.
    pub attrs: Attrs,
    /// Documentation string.
    pub doc: String,
    /// `metadata_props`.
    pub meta: Vec<(String, String)>,
    /// Parts of the file's node that this crate does not interpret.
    pub extra: Extra,
}

impl Node {
    /// A node of ONNX's own domain without operands.
    pub fn new(op: &str) -> Self {
        Self { op: op.to_string(), ..Self::default() }
    }
    /// Appends an operand.
    pub fn input(mut self, value: ValueId) -> Self {
        self.inputs.push(Some(value));
        self
    }
    /// Sets an attribute.
    pub fn attr(mut self, name: &str, value: Attr) -> Self {
        self.attrs.insert(name.to_string(), value);
        self
    }
    /// Operator with its domain where that is not ONNX's own: `Conv`, `com.microsoft.FusedConv`.
    pub fn op_name(&self) -> String {
        if self.domain.is_empty() { self.op.clone() } else { format!("{}.{}", self.domain, self.op) }
    }
    /// Subgraphs in attribute order.
    pub fn subgraphs(&self) -> impl Iterator<Item = &Graph> {
        self.attrs.values().flat_map(|a| match a {
            Attr::Graph(g) => std::slice::from_ref(g.as_ref()),
            Attr::Graphs(gs) => gs.as_slice(),
            _ => &[],
        })
    }
}

/// A graph in single-assignment form.
///
/// All mutation goes through methods, which keep use lists right and bump the revision that analyses are cached by.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    name: String,
    nodes: Vec<Option<Node>>,
    values: Vec<Option<Value>>,
    /// Names of the live values.
    by_name: BTreeMap<String, ValueId>,
    /// Inputs in file order, overridable initialisers among them.
    listed_inputs: Vec<ValueId>,
    outputs: Vec<ValueId>,
    /// Documentation string.
    pub doc: String,
    /// `metadata_props`.
    pub meta: Vec<(String, String)>,
    /// Parts of the file's graph that this crate does not interpret.
    pub extra: Extra,
    revision: u64,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Self {
        Self { name: name.to_string(), ..Self::default() }
    }
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }
    /// Changes whenever the graph does.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    // ---- reading ----

    /// The node of `id`; panics if it was removed.
    pub fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.index()].as_ref().expect("the node is live")
    }
    /// The value of `id`; panics if it was removed.
    pub fn value(&self, id: ValueId) -> &Value {
        self.values[id.index()].as_ref().expect("the value is live")
    }
    /// The node of `id`, unless it was removed.
    pub(crate) fn live_node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.index())?.as_ref()
    }
    /// The value of `id`, unless it was removed.
    pub fn live_value(&self, id: ValueId) -> Option<&Value> {
        self.values.get(id.index())?.as_ref()
    }
    /// Live nodes in the order in which they were added.
    pub fn nodes(&self) -> impl Iterator<Item = (NodeId, &Node)> {
        self.nodes.iter().enumerate().filter_map(|(i, n)| Some((NodeId::new(i), n.as_ref()?)))
    }
    /// Live values in the order in which they were added.
    pub fn values(&self) -> impl Iterator<Item = (ValueId, &Value)> {
        self.values.iter().enumerate().filter_map(|(i, v)| Some((ValueId::new(i), v.as_ref()?)))
    }
    /// One more than the largest node index, for side tables.
    pub fn node_bound(&self) -> usize {
        self.nodes.len()
    }
    /// One more than the largest value index, for side tables.
    pub fn value_bound(&self) -> usize {
        self.values.len()
    }
    /// The value called `name`.
    pub fn find(&self, name: &str) -> Option<ValueId> {
        self.by_name.get(name).copied()
    }
    /// The node called `name`, if exactly one is.
    pub fn find_node(&self, name: &str) -> Option<NodeId> {
        let mut found = self.nodes().filter(|(_, n)| n.name == name).map(|(id, _)| id);
        found.next().filter(|_| found.next().is_none())
    }
    /// Inputs that a caller must feed.
    pub fn inputs(&self) -> impl Iterator<Item = ValueId> + '_ {
        self.listed_inputs.iter().copied().filter(|&v| matches!(self.value(v).def, Def::Input))
    }
    /// Inputs in file order, with the initialisers that the file lists among them (IR version 3 lists all).
    pub fn listed_inputs(&self) -> &[ValueId] {
        &self.listed_inputs
    }
    /// Outputs in file order.
    pub fn outputs(&self) -> &[ValueId] {
        &self.outputs
    }
    /// The constant tensor of `value`, if it is one.
    pub fn constant(&self, value: ValueId) -> Option<&Arc<Tensor>> {
        match &self.value(value).def {
            Def::Constant(t) => Some(t),
            _ => None,
        }
    }
    /// The node that computes `value`, if one does.
    pub fn producer(&self, value: ValueId) -> Option<NodeId> {
        match self.value(value).def {
            Def::Node { node, .. } => Some(node),
            _ => None,
        }
    }
    /// Nodes that use `value`, each once, in order of first use.
    pub fn consumers(&self, value: ValueId) -> Vec<NodeId> {
        let mut out = Vec::new();
        for u in &self.value(value).uses {
            let (Use::Operand(n, _) | Use::Captured(n)) = *u;
            if !out.contains(&n) {
                out.push(n);
            }
        }
        out
    }
    /// Whether `value` is an output of the graph.
    pub fn is_output(&self, value: ValueId) -> bool {
        self.outputs.contains(&value)
    }
    /// How a person finds `node`: its name, or its operator and first result where it has none.
    pub fn label(&self, node: NodeId) -> String {
        let n = self.node(node);
        match (n.name.is_empty(), n.outputs.iter().flatten().next()) {
            (false, _) => n.name.clone(),
            (true, Some(&v)) => format!("{} → {}", n.op, self.value(v).name),
            (true, None) => n.op.clone(),
        }
    }
    /// Values of this graph that subgraphs of `node` use by name, sorted by id, each once.
    pub fn captures(&self, node: NodeId) -> Vec<ValueId> {
        let mut names = Vec::new();
        for g in self.node(node).subgraphs() {
            g.outer_names(&mut names);
        }
        let mut ids: Vec<ValueId> = names.iter().filter_map(|n| self.find(n)).collect();
        ids.sort();
        ids.dedup();
        ids
    }
    /// Names that this graph takes from enclosing graphs, those of nested subgraphs that it does not define included.
    pub(crate) fn outer_names(&self, out: &mut Vec<String>) {
        out.extend(self.values().filter(|(_, v)| matches!(v.def, Def::Outer)).map(|(_, v)| v.name.clone()));
        let mut nested = Vec::new();
        for (_, n) in self.nodes() {
            for g in n.subgraphs() {
                g.outer_names(&mut nested);
            }
        }
        out.extend(nested.into_iter().filter(|n| self.find(n).is_none()));
    }

    // ---- building ----

    fn push_value(&mut self, name: &str, def: Def) -> ValueId {
        let id = ValueId::new(self.values.len());
        let name = self.fresh_name(name);
        self.by_name.insert(name.clone(), id);
        self.values.push(Some(Value { name, ty: None, def, uses: Vec::new(), doc: String::new(), meta: Vec::new() }));
        self.revision += 1;
        id
    }
    /// `name`, or `name_1`, `name_2`, … where that is taken.
    pub fn fresh_name(&self, name: &str) -> String {
        if !name.is_empty() && !self.by_name.contains_key(name) {
            return name.to_string();
        }
        (1u64..).map(|i| format!("{name}_{i}")).find(|n| !self.by_name.contains_key(n)).expect("names do not run out")
    }
    /// Adds an input that a caller must feed. A taken name gets a suffix.
    pub fn add_input(&mut self, name: &str, ty: Type) -> ValueId {
        let v = self.push_value(name, Def::Input);
        self.value_mut(v).ty = Some(ty);
        self.listed_inputs.push(v);
        v
    }
    /// Adds a constant. A taken name gets a suffix.
    pub fn add_constant(&mut self, name: &str, tensor: impl Into<Arc<Tensor>>) -> ValueId {
        self.push_value(name, Def::Constant(tensor.into()))
    }
    /// Adds a sparse constant. A taken name gets a suffix.
    pub fn add_sparse(&mut self, name: &str, tensor: SparseTensor) -> ValueId {
        self.push_value(name, Def::Sparse(tensor.into()))
    }
    /// Adds a name of the enclosing graph, in a subgraph.
    pub fn add_outer(&mut self, name: &str) -> ValueId {
        self.push_value(name, Def::Outer)
    }
    /// Lists a value among the inputs (IR version 3 lists initialisers there, with a type).
    pub fn list_input(&mut self, value: ValueId) {
        self.listed_inputs.push(value);
        self.revision += 1;
    }
    /// Adds a node whose operands exist, with results of the given names; an empty name leaves a result out.
    pub fn add_node(&mut self, node: Node, results: &[&str]) -> NodeId {
        let id = NodeId::new(self.nodes.len());
        let mut node = node;
        for (index, v) in node.inputs.iter().enumerate() {
            if let Some(v) = *v {
                self.value_mut(v).uses.push(Use::Operand(id, index));
            }
        }
        node.outputs = Vec::with_capacity(results.len());
        for (index, name) in results.iter().enumerate() {
            let out = if name.is_empty() { None } else { Some(self.push_value(name, Def::Node { node: id, index })) };
            node.outputs.push(out);
        }
        let captures = node.subgraphs().next().is_some();
        self.nodes.push(Some(node));
        if captures {
            for v in self.captures(id) {
                self.value_mut(v).uses.push(Use::Captured(id));
            }
        }
        self.revision += 1;
        id
    }
    /// Names the outputs.
    pub fn set_outputs(&mut self, outputs: &[ValueId]) {
        self.outputs = outputs.to_vec();
        self.revision += 1;
    }
    fn value_mut(&mut self, id: ValueId) -> &mut Value {
        self.values[id.index()].as_mut().expect("the value is live")
    }

    // ---- rewriting ----

    /// States the type of a value.
    pub fn set_type(&mut self, value: ValueId, ty: Option<Type>) {
        self.value_mut(value).ty = ty;
        self.revision += 1;
    }
    /// Documentation string and `metadata_props` of a value.
    pub fn set_value_meta(&mut self, value: ValueId, doc: String, meta: Vec<(String, String)>) {
        let v = self.value_mut(value);
        (v.doc, v.meta) = (doc, meta);
        self.revision += 1;
    }
    /// Replaces a constant's tensor, or turns a value without a producer into a constant.
    pub fn set_constant(&mut self, value: ValueId, tensor: impl Into<Arc<Tensor>>) {
        debug_assert!(!matches!(self.value(value).def, Def::Node { .. }), "a computed value is no constant");
        self.value_mut(value).def = Def::Constant(tensor.into());
        self.revision += 1;
    }
    /// Sets an attribute of a node.
    pub fn set_attr(&mut self, node: NodeId, name: &str, value: Attr) {
        self.node_mut(node).attrs.insert(name.to_string(), value);
        self.revision += 1;
    }
    /// Finds anew what the node's subgraphs use by name: needed after a subgraph, which may be gone, or a captured name
    /// has changed.
    pub fn refresh_captures(&mut self, node: NodeId) {
        let captured = self.captures(node);
        for v in self.values.iter_mut().flatten() {
            v.uses.retain(|u| *u != Use::Captured(node));
        }
        for v in captured {
            self.value_mut(v).uses.push(Use::Captured(node));
        }
        self.revision += 1;
    }
    /// Removes an attribute of a node.
    pub fn remove_attr(&mut self, node: NodeId, name: &str) {
        self.node_mut(node).attrs.shift_remove(name);
        self.revision += 1;
    }
    /// Appends to a node's `metadata_props`; an existing key is replaced.
    pub fn set_node_meta(&mut self, node: NodeId, key: &str, value: &str) {
        let meta = &mut self.node_mut(node).meta;
        meta.retain(|(k, _)| k != key);
        meta.push((key.to_string(), value.to_string()));
        self.revision += 1;
    }
    /// Removes what a node says for people only: its name, documentation string and `metadata_props`.
    pub fn strip_node(&mut self, node: NodeId) {
        let n = self.node_mut(node);
        n.name.clear();
        n.doc.clear();
        n.meta.clear();
        self.revision += 1;
    }
    /// Makes `operand` of `node` read `value`; the operand list grows where it is too short.
    pub fn set_operand(&mut self, node: NodeId, operand: usize, value: Option<ValueId>) {
        let inputs = &mut self.node_mut(node).inputs;
        if inputs.len() <= operand {
            inputs.resize(operand + 1, None);
        }
        let old = std::mem::replace(&mut inputs[operand], value);
        if let Some(old) = old {
            self.value_mut(old).uses.retain(|u| *u != Use::Operand(node, operand));
        }
        if let Some(new) = value {
            self.value_mut(new).uses.push(Use::Operand(node, operand));
        }
        self.revision += 1;
    }
    /// Drops operands from `len` on.
    pub fn truncate_operands(&mut self, node: NodeId, len: usize) {
        for i in len..self.node(node).inputs.len() {
            self.set_operand(node, i, None);
        }
        self.node_mut(node).inputs.truncate(len);
        self.revision += 1;
    }
    /// Changes the operator of a node and its attributes, keeping operands and results.
    pub fn set_op(&mut self, node: NodeId, op: &str, attrs: Attrs) {
        let n = self.node_mut(node);
        n.op = op.to_string();
        n.attrs = attrs;
        self.revision += 1;
    }
    /// Makes every operand that reads `old` read `new`, and every graph output that is `old` be `new`.
    /// The name of an output stays: where `old` is one, the two values swap names.
    ///
    /// Uses by subgraphs are by name and stay: callers must not replace a captured value.
    pub fn replace_value(&mut self, old: ValueId, new: ValueId) {
        for u in self.value(old).uses.clone() {
            if let Use::Operand(n, i) = u {
                self.set_operand(n, i, Some(new));
            }
        }
        if self.is_output(old) {
            let (a, b) = (self.value(old).name.clone(), self.value(new).name.clone());
            self.value_mut(old).name = b.clone();
            self.value_mut(new).name = a.clone();
            self.by_name.insert(a, new);
            self.by_name.insert(b, old);
            let (ty, doc, meta) = {
                let o = self.value(old);
                (o.ty.clone(), o.doc.clone(), o.meta.clone())
            };
            let n = self.value_mut(new);
            (n.ty, n.doc, n.meta) = (ty, doc, meta);
            for o in &mut self.outputs {
                if *o == old {
                    *o = new;
                }
            }
        }
        self.revision += 1;
    }
    /// Makes `new` the value called `old` so far: it takes the name, the stated type, every use, those by subgraphs
    /// included, and the place among the outputs. `old` gets the name of `new`, and no uses.
    ///
    /// Panics if subgraphs use `new` or it is an output: its name could not be taken away.
    pub fn take_over(&mut self, old: ValueId, new: ValueId) {
        let captured = |u: &Use| matches!(u, Use::Captured(_));
        assert!(!self.is_output(new) && !self.value(new).uses.iter().any(captured), "the name of the value is needed");
        for u in std::mem::take(&mut self.value_mut(old).uses) {
            if let Use::Operand(n, i) = u {
                self.node_mut(n).inputs[i] = Some(new);
            }
            self.value_mut(new).uses.push(u);
        }
        let (a, b) = (self.value(old).name.clone(), self.value(new).name.clone());
        self.by_name.insert(a.clone(), new);
        self.by_name.insert(b.clone(), old);
        self.value_mut(old).name = b;
        let o = self.value_mut(old);
        let (ty, doc, meta) = (o.ty.take(), std::mem::take(&mut o.doc), std::mem::take(&mut o.meta));
        let n = self.value_mut(new);
        (n.name, n.ty, n.doc, n.meta) = (a, ty, doc, meta);
        for o in self.outputs.iter_mut().filter(|o| **o == old) {
            *o = new;
        }
        self.revision += 1;
    }
    /// Gives a value another name, which must not be taken. Subgraphs that use it by name must be changed too.
    pub fn rename_value(&mut self, value: ValueId, name: &str) {
        assert!(!name.is_empty() && !self.by_name.contains_key(name), "`{name}` is taken");
        let old = std::mem::replace(&mut self.value_mut(value).name, name.to_string());
        self.by_name.remove(&old);
        self.by_name.insert(name.to_string(), value);
        self.revision += 1;
    }
    /// Removes a node and its results; panics if a result is still used or an output.
    pub fn remove_node(&mut self, node: NodeId) {
        for i in 0..self.node(node).inputs.len() {
            self.set_operand(node, i, None);
        }
        for v in self.captures(node) {
            self.value_mut(v).uses.retain(|u| *u != Use::Captured(node));
        }
        for v in self.node(node).outputs.clone().into_iter().flatten() {
            self.drop_value(v);
        }
        self.nodes[node.index()] = None;
        self.revision += 1;
    }
    /// Makes a node another one of `new`'s operator, attributes and operands. Its first result stays; the others, which
    /// nothing may use any more, are gone.
    pub fn become_node(&mut self, node: NodeId, new: Node) {
        for v in self.node(node).outputs.iter().skip(1).flatten().copied().collect::<Vec<_>>() {
            self.drop_value(v);
        }
        self.truncate_operands(node, 0);
        let n = self.node_mut(node);
        (n.domain, n.op, n.attrs) = (new.domain, new.op, new.attrs);
        n.outputs.truncate(1);
        new.inputs.into_iter().enumerate().for_each(|(i, v)| self.set_operand(node, i, v));
    }
    /// Replaces a sparse constant.
    pub fn set_sparse(&mut self, value: ValueId, tensor: SparseTensor) {
        debug_assert!(matches!(self.value(value).def, Def::Sparse(_)), "only a sparse constant is replaced by one");
        self.value_mut(value).def = Def::Sparse(tensor.into());
        self.revision += 1;
    }
    /// Makes `value`, computed so far by a node, an input of this type; the node stays, with that result left out.
    pub fn detach_as_input(&mut self, value: ValueId, ty: Type) {
        if let Def::Node { node, index } = self.value(value).def {
            self.node_mut(node).outputs[index] = None;
        }
        let v = self.value_mut(value);
        (v.def, v.ty) = (Def::Input, Some(ty));
        self.listed_inputs.push(value);
        self.revision += 1;
    }
    /// Makes `value`, computed so far by a node, a constant; the node stays, with that result left out.
    pub fn detach_as_constant(&mut self, value: ValueId, tensor: impl Into<Arc<Tensor>>) {
        if let Def::Node { node, index } = self.value(value).def {
            self.node_mut(node).outputs[index] = None;
        }
        self.value_mut(value).def = Def::Constant(tensor.into());
        self.revision += 1;
    }
    /// Takes a constant off the list of inputs: nobody gives it any more.
    pub fn unlist(&mut self, constant: ValueId) {
        debug_assert!(!matches!(self.value(constant).def, Def::Input), "an input is listed");
        self.listed_inputs.retain(|v| *v != constant);
        self.revision += 1;
    }
    /// Removes a constant or input that nothing uses; panics if something does.
    pub fn remove_value(&mut self, value: ValueId) {
        debug_assert!(!matches!(self.value(value).def, Def::Node { .. }), "remove the node instead");
        self.listed_inputs.retain(|v| *v != value);
        self.drop_value(value);
    }
    fn drop_value(&mut self, value: ValueId) {
        assert!(self.value(value).uses.is_empty() && !self.is_output(value), "`{}` is used", self.value(value).name);
        if let Some(dropped) = self.values[value.index()].take() {
            self.by_name.remove(&dropped.name);
        }
        self.revision += 1;
    }
    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.index()].as_mut().expect("the node is live")
    }
}

/// The arenas, for tests that break a graph.
#[cfg(test)]
pub(crate) struct Parts<'a> {
    pub(crate) nodes: &'a mut Vec<Option<Node>>,
    pub(crate) values: &'a mut Vec<Option<Value>>,
}

#[cfg(test)]
impl Graph {
    pub(crate) fn parts_mut(&mut self) -> Parts<'_> {
        Parts { nodes: &mut self.nodes, values: &mut self.values }
    }
}
