//! The verifier: what every pass may rely on and must leave behind.
//!
//! | code | invariant |
//! |---|---|
//! | V1 | operands, results, outputs and listed inputs exist: none was removed |
//! | V2 | a value's use list names every operand and every subgraph that reads it, once |
//! | V3 | a value's use list names nothing else |
//! | V4 | a node's results are defined by that node at that place, and by nothing else |
//! | V5 | names are not empty, unique in their graph, and the index finds the value |
//! | V6 | the listed inputs are inputs or constants, each once; every input is listed |
//! | V7 | no node depends on its own result |
//! | V8 | a constant's bytes are as many as its type and sizes ask for |
//! | V9 | a sparse constant has one index for each value, inside its sizes |
//! | V10 | what a subgraph takes from outside is defined there; outermost graphs and function bodies take nothing |
//! | V11 | every operator set that a graph or function body uses is imported |
//! | V12 | functions differ in domain, name or overload, and none calls itself |
//!
//! After [`verify`] has found nothing, reading the graph by its ids does not panic. Operators are not checked here:
//! whether operands suit an operator is a question to its shape rule.

use crate::{
    Attr, Data, Def, ElemType, Graph, Model, OpsetImport, SparseTensor, Tensor, Use, ValueId, element_count,
    topological,
};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// An invariant, by its code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Invariant {
    /// V1.
    Live,
    /// V2.
    UseRecorded,
    /// V3.
    UseReal,
    /// V4.
    SingleAssignment,
    /// V5.
    Names,
    /// V6.
    Inputs,
    /// V7.
    Acyclic,
    /// V8.
    ConstantSize,
    /// V9.
    SparseIndices,
    /// V10.
    OuterNames,
    /// V11.
    Imports,
    /// V12.
    Functions,
}

impl Invariant {
    /// Its code, as the module's table has it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Live => "V1",
            Self::UseRecorded => "V2",
            Self::UseReal => "V3",
            Self::SingleAssignment => "V4",
            Self::Names => "V5",
            Self::Inputs => "V6",
            Self::Acyclic => "V7",
            Self::ConstantSize => "V8",
            Self::SparseIndices => "V9",
            Self::OuterNames => "V10",
            Self::Imports => "V11",
            Self::Functions => "V12",
        }
    }
    fn complaint(self) -> &'static str {
        match self {
            Self::Live => "refers to something that was removed",
            Self::UseRecorded => "is read, but its use list does not say so exactly once",
            Self::UseReal => "has a use in its list that does not exist",
            Self::SingleAssignment => "is not defined exactly once, by what it says defines it",
            Self::Names => "has a name that is empty, taken or not indexed",
            Self::Inputs => "is not listed once among the inputs, or should not be",
            Self::Acyclic => "depends on its own result",
            Self::ConstantSize => "has more or fewer bytes than its type and sizes ask for",
            Self::SparseIndices => "has indices that do not fit its values or sizes",
            Self::OuterNames => "is taken from an enclosing graph that does not define it",
            Self::Imports => "is of an operator set that is not imported",
            Self::Functions => "is a function that is defined twice or calls itself",
        }
    }
}

/// One broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The invariant.
    pub invariant: Invariant,
    /// Name of the graph or function.
    pub graph: String,
    /// Label of the node or name of the value.
    pub place: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` in `{}` {}", self.invariant.code(), self.place, self.graph, self.invariant.complaint())
    }
}

/// Checks every invariant of a model, its function bodies and their subgraphs.
///
/// # Errors
/// Every violation, outermost graph first.
pub fn verify(model: &Model) -> Result<(), Vec<Violation>> {
    let mut found = Vec::new();
    check_graph(&model.graph, None, &model.opsets, &mut found);
    for f in &model.functions {
        check_graph(&f.body, None, &f.opsets, &mut found);
    }
    check_functions(model, &mut found);
    if found.is_empty() { Ok(()) } else { Err(found) }
}

/// Graphs around a subgraph, innermost first.
struct Scope<'a> {
    graph: &'a Graph,
    around: Option<&'a Scope<'a>>,
}

impl Scope<'_> {
    fn defines(&self, name: &str) -> bool {
        let here = self.graph.find(name).is_some_and(|v| !matches!(self.graph.value(v).def, Def::Outer));
        here || self.around.is_some_and(|s| s.defines(name))
    }
}

fn check_graph(graph: &Graph, around: Option<&Scope>, imports: &[OpsetImport], found: &mut Vec<Violation>) {
    let before = found.len();
    let mut check = Check { graph, found };
    check.live();
    if check.found.len() > before {
        return; // The other checks follow ids.
    }
    check.uses();
    check.assignment();
    let links_hold = check.found.len() == before;
    check.names();
    check.inputs();
    check.constants();
    check.imports(imports);
    // The order follows use lists and definitions.
    let cycle = if links_hold { topological(graph).err() } else { None };
    for n in cycle.unwrap_or_default() {
        check.report(Invariant::Acyclic, graph.label(n));
    }
    for (_, v) in graph.values() {
        if matches!(v.def, Def::Outer) && !around.is_some_and(|s| s.defines(&v.name)) {
            check.report(Invariant::OuterNames, v.name.clone());
        }
    }
    let scope = Scope { graph, around };
    for (_, n) in graph.nodes() {
        for g in n.subgraphs() {
            check_graph(g, Some(&scope), imports, found);
        }
    }
}

struct Check<'a> {
    graph: &'a Graph,
    found: &'a mut Vec<Violation>,
}

impl Check<'_> {
    fn report(&mut self, invariant: Invariant, place: String) {
        self.found.push(Violation { invariant, graph: self.graph.name().to_string(), place });
    }
    /// V1.
    fn live(&mut self) {
        let g = self.graph;
        let gone = |v: &ValueId| g.live_value(*v).is_none();
        for (id, n) in g.nodes() {
            if n.inputs.iter().chain(&n.outputs).flatten().any(gone) {
                let name = if n.name.is_empty() { format!("{} {id:?}", n.op) } else { n.name.clone() };
                self.report(Invariant::Live, name);
            }
        }
        for (list, name) in [(g.outputs(), "outputs"), (g.listed_inputs(), "inputs")] {
            if list.iter().any(gone) {
                self.report(Invariant::Live, name.to_string());
            }
        }
        for (_, v) in g.values() {
            if matches!(v.def, Def::Node { node, .. } if g.live_node(node).is_none()) {
                self.report(Invariant::Live, v.name.clone());
            }
        }
    }
    /// V2, V3.
    fn uses(&mut self) {
        let g = self.graph;
        let mut real: BTreeMap<ValueId, Vec<Use>> = BTreeMap::new();
        for (id, n) in g.nodes() {
            for (i, v) in n.inputs.iter().enumerate() {
                if let Some(v) = *v {
                    real.entry(v).or_default().push(Use::Operand(id, i));
                }
            }
            if n.subgraphs().next().is_some() {
                for v in g.captures(id) {
                    real.entry(v).or_default().push(Use::Captured(id));
                }
            }
        }
        for (id, v) in g.values() {
            let mut recorded = v.uses.clone();
            let mut real = real.remove(&id).unwrap_or_default();
            recorded.sort();
            real.sort();
            let once = |u: &Use| recorded.iter().filter(|r| *r == u).count() == 1;
            if !real.iter().all(once) {
                self.report(Invariant::UseRecorded, v.name.clone());
            }
            if !recorded.iter().all(|u| real.contains(u)) {
                self.report(Invariant::UseReal, v.name.clone());
            }
        }
    }
    /// V4.
    fn assignment(&mut self) {
        let g = self.graph;
        for (id, n) in g.nodes() {
            for (at, v) in n.outputs.iter().enumerate() {
                let Some(v) = *v else { continue };
                if !matches!(g.value(v).def, Def::Node { node, index } if (node, index) == (id, at)) {
                    self.report(Invariant::SingleAssignment, g.value(v).name.clone());
                }
            }
        }
        for (id, v) in g.values() {
            if matches!(v.def, Def::Node { node, index } if g.node(node).outputs.get(index) != Some(&Some(id))) {
                self.report(Invariant::SingleAssignment, v.name.clone());
            }
        }
    }
    /// V5.
    fn names(&mut self) {
        for (id, v) in self.graph.values() {
            if v.name.is_empty() || self.graph.find(&v.name) != Some(id) {
                self.report(Invariant::Names, v.name.clone());
            }
        }
    }
    /// V6.
    fn inputs(&mut self) {
        let g = self.graph;
        let listed: BTreeSet<ValueId> = g.listed_inputs().iter().copied().collect();
        for (at, &v) in g.listed_inputs().iter().enumerate() {
            let kind = matches!(g.value(v).def, Def::Input | Def::Constant(_) | Def::Sparse(_));
            if !kind || g.listed_inputs()[..at].contains(&v) {
                self.report(Invariant::Inputs, g.value(v).name.clone());
            }
        }
        for (id, v) in g.values() {
            if matches!(v.def, Def::Input) && !listed.contains(&id) {
                self.report(Invariant::Inputs, v.name.clone());
            }
        }
    }
    /// V8, V9.
    fn constants(&mut self) {
        for (_, v) in self.graph.values() {
            match &v.def {
                Def::Constant(t) if !fits(t) => self.report(Invariant::ConstantSize, v.name.clone()),
                Def::Sparse(s) if !sparse_fits(s) => self.report(Invariant::SparseIndices, v.name.clone()),
                _ => {}
            }
        }
        for (id, n) in self.graph.nodes() {
            let tensors = n.attrs.values().flat_map(|a| match a {
                Attr::Tensor(t) => std::slice::from_ref(t),
                Attr::Tensors(t) => t.as_slice(),
                _ => &[],
            });
            if !tensors.into_iter().all(|t| fits(t)) {
                self.report(Invariant::ConstantSize, self.graph.label(id));
            }
        }
    }
    /// V11.
    fn imports(&mut self, imports: &[OpsetImport]) {
        let own = |d: &str| d.is_empty() || d == "ai.onnx";
        for (id, n) in self.graph.nodes() {
            let imported = |o: &OpsetImport| o.domain == n.domain || own(&o.domain) && own(&n.domain);
            if !imports.iter().any(imported) {
                self.report(Invariant::Imports, self.graph.label(id));
            }
        }
    }
}

fn fits(t: &Tensor) -> bool {
    let asked = element_count(&t.dims).ok();
    match &t.data {
        Data::Strings(s) => t.elem == ElemType::String && asked == Some(s.len() as u64),
        Data::Raw(b) => asked.and_then(|n| t.elem.raw_len(n)) == Some(b.len() as u64),
    }
}

fn sparse_fits(s: &SparseTensor) -> bool {
    fits(&s.values) && fits(&s.indices) && s.each(|_| {}).is_ok()
}

/// V12.
fn check_functions(model: &Model, found: &mut Vec<Violation>) {
    type Key = (String, String, String);
    let mut calls: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
    let key = |domain: &str, name: &str, overload: &str| -> Key {
        let domain = if domain == "ai.onnx" { "" } else { domain };
        (domain.to_string(), name.to_string(), overload.to_string())
    };
    let report =
        |name: &str| Violation { invariant: Invariant::Functions, graph: name.to_string(), place: name.to_string() };
    for f in &model.functions {
        let mut called = BTreeSet::new();
        each_node(&f.body, &mut |n| {
            called.insert(key(&n.domain, &n.op, &n.overload));
        });
        if calls.insert(key(&f.domain, &f.name, &f.overload), called).is_some() {
            found.push(report(&f.name));
        }
    }
    // Peeling off functions that call no remaining one leaves those on cycles and those that reach them.
    loop {
        let leaves: Vec<Key> =
            calls.iter().filter(|(_, c)| !c.iter().any(|k| calls.contains_key(k))).map(|(k, _)| k.clone()).collect();
        if leaves.is_empty() {
            break;
        }
        calls.retain(|k, _| !leaves.contains(k));
    }
    found.extend(calls.keys().map(|(_, name, _)| report(name)));
}

fn each_node(graph: &Graph, visit: &mut impl FnMut(&crate::Node)) {
    for (_, n) in graph.nodes() {
        visit(n);
        for g in n.subgraphs() {
            each_node(g, visit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::parse_model;
    use crate::{Id, NodeId};
    use bytes::Bytes;
    use std::sync::Arc;

    const MODEL: &str = r#"<ir_version: 9, opset_import: ["" : 17]>
        g (float[2] x, bool c) => (float[2] y) <float[2] w = {1, 2}>
        { h = Add (x, w)  r = If (c) <then_branch = t () => (z) { z = Neg (h) }>  y = Relu (h) }"#;

    fn model() -> Model {
        parse_model(MODEL).unwrap()
    }
    #[track_caller]
    fn check(model: &Model, expected: &[&str]) {
        let found = verify(model).err().unwrap_or_default();
        let found: Vec<String> = found.iter().map(|v| format!("{} {}", v.invariant.code(), v.place)).collect();
        assert_eq!(found, expected);
    }
    #[track_caller]
    fn check_text(text: &str, expected: &[&str]) {
        check(&parse_model(&format!("<ir_version: 9, opset_import: [\"\" : 17]>\n{text}")).unwrap(), expected);
    }
    fn id(m: &Model, name: &str) -> ValueId {
        m.graph.find(name).unwrap()
    }

    #[test]
    fn a_sound_model_passes() {
        check(&model(), &[]);
    }
    #[test]
    fn v1_removed_values_and_nodes_are_found() {
        let mut m = model();
        let w = id(&m, "w");
        m.graph.parts_mut().values[w.index()] = None;
        check(&m, &["V1 Add n0"]);
        let mut m = model();
        m.graph.parts_mut().nodes[0] = None;
        check(&m, &["V1 h"]);
    }
    #[test]
    fn v2_v3_use_lists_must_be_exact() {
        let mut m = model();
        let h = id(&m, "h");
        m.graph.parts_mut().values[h.index()].as_mut().unwrap().uses.clear();
        check(&m, &["V2 h"]);
        let mut m = model();
        m.graph.parts_mut().values[h.index()].as_mut().unwrap().uses.push(Use::Operand(NodeId::new(9), 0));
        check(&m, &["V3 h"]);
    }
    #[test]
    fn v4_a_value_has_one_definition() {
        let mut m = model();
        let h = id(&m, "h");
        m.graph.parts_mut().values[h.index()].as_mut().unwrap().def = Def::Outer;
        check(&m, &["V4 h", "V10 h", "V10 h"]);
        let mut m = model();
        m.graph.parts_mut().nodes[2].as_mut().unwrap().outputs.push(Some(h));
        check(&m, &["V4 h"]);
    }
    #[test]
    fn v5_names_are_unique_and_indexed() {
        let mut m = model();
        let w = id(&m, "w");
        m.graph.parts_mut().values[w.index()].as_mut().unwrap().name = "x".to_string();
        check(&m, &["V5 x"]);
    }
    #[test]
    fn v6_inputs_are_listed_once() {
        let mut m = model();
        let (x, h) = (id(&m, "x"), id(&m, "h"));
        m.graph.list_input(x);
        m.graph.list_input(h);
        check(&m, &["V6 x", "V6 h"]);
    }
    #[test]
    fn v7_cycles_are_found() {
        check_text("g () => (b) { a = Neg (b) b = Neg (a) }", &["V7 Neg → a", "V7 Neg → b"]);
    }
    #[test]
    fn v8_v9_constants_fit_their_sizes() {
        let mut m = model();
        let w = id(&m, "w");
        let short = Tensor { data: Data::Raw(Bytes::from_static(&[0; 7])), ..Tensor::f32(&[2], &[1., 2.]) };
        m.graph.set_constant(w, Arc::new(short));
        check(&m, &["V8 w"]);
        check_text("g () => () <sparse_tensor(float[3]) s = {float[1] {1}, int64[1] {3}}> {}", &["V9 s"]);
    }
    #[test]
    fn v10_subgraphs_use_what_is_defined() {
        let mut m = model();
        m.graph.add_outer("k");
        check(&m, &["V10 k"]);
    }
    #[test]
    fn v11_operator_sets_are_imported() {
        check_text("g () => (y) { y = my.Op () z = ai.onnx.Neg (y) }", &["V11 Op → y"]);
    }
    #[test]
    fn v12_functions_do_not_call_themselves() {
        let f = |name: &str, calls: &str| {
            format!("<domain: \"l\", opset_import: [\"l\" : 1]> {name} (a) => (b) {{ b = l.{calls} (a) }}")
        };
        let text = format!("g () => () {{}} {} {} {}", f("A", "B"), f("B", "A"), f("C", "D"));
        check_text(&text, &["V12 A", "V12 B"]);
        check_text(&format!("g () => () {{}} {} {}", f("C", "D"), f("C", "E")), &["V12 C"]);
    }
}
