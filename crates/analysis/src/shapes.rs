//! Shape inference: one walk in topological order, each node's results from its operands' facts.
//!
//! Sizes are symbolic ([`Dim`]), and small whole-number tensors carry their contents, so that the arithmetic exporters
//! write around `Reshape` is evaluated on the way, as long as the element type holds the numbers exactly: operators' rules
//! compute as if none wrapped or was rounded. What a file states of a type is trusted only where nothing could
//! be inferred; a statement that contradicts the inference is reported, not believed.

use sparsec_ir::{
    Def, Dim, ElemType, Fact, Facts, Model, NodeId, NodeRef, OpTable, ShapeRule, Type, ValueId, topological,
};

/// Facts of a graph's values, and where inference and file disagree or inference failed.
#[derive(Clone, Debug, Default)]
pub struct Inferred {
    /// What is known of each value.
    pub facts: Facts,
    /// Nodes whose shape rule could not answer, and contradicted statements.
    pub problems: Vec<ShapeProblem>,
}

/// A place where shapes are not known or not as the file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShapeProblem {
    /// The operator is not in the table, or its rule failed on this node.
    Unknown {
        /// Node.
        node: NodeId,
        /// Why.
        why: String,
    },
    /// The file states another type than the operators give.
    Contradicted {
        /// Value.
        value: ValueId,
        /// What the file says.
        stated: String,
        /// What follows from the operators.
        inferred: String,
    },
}

/// The node `id` of `model` with `facts`, as the facets of operators read it.
pub fn node_ref<'g>(model: &'g Model, facts: &'g Facts, id: NodeId) -> NodeRef<'g> {
    let opset = model.opset(&model.graph.node(id).domain).unwrap_or(1);
    NodeRef { graph: &model.graph, facts, id, opset }
}

/// Infers the facts of every value of `model`'s graph. Values inside subgraphs and function bodies are not covered:
/// inline functions first; a node with subgraphs gives what the file states of its results.
pub fn infer(model: &Model, table: &OpTable) -> Inferred {
    let graph = &model.graph;
    let mut out = start(model);
    for id in topological(graph).unwrap_or_default() {
        infer_node(model, table, id, &mut out);
    }
    out
}

/// Facts of the values that no node computes: what inference starts from.
pub fn start(model: &Model) -> Inferred {
    let mut out = Inferred::default();
    for (id, value) in model.graph.values() {
        match &value.def {
            Def::Constant(t) => out.facts.set(id, Fact::of(t)),
            Def::Sparse(s) => {
                let shape = s.dims.iter().map(|&d| Dim::from(d as i64)).collect();
                out.facts.set(id, Fact::new(s.values.elem, shape));
            }
            Def::Input | Def::Outer => out.facts.set(id, stated(&value.name, value.ty.as_ref())),
            Def::Node { .. } => {}
        }
    }
    out
}

/// Infers the results of one node from the facts of its operands.
pub fn infer_node(model: &Model, table: &OpTable, id: NodeId, out: &mut Inferred) {
    let graph = &model.graph;
    let node = graph.node(id);
    let facts = match table.get(&node.domain, &node.op).map(|d| d.shape) {
        Some(ShapeRule::By(rule)) => rule(&node_ref(model, &out.facts, id)).map_err(|e| e.to_string()),
        Some(ShapeRule::Like(operand)) => node_ref(model, &out.facts, id)
            .need_input(operand)
            .map(|x| vec![x.fact.clone().with_content(None); node.outputs.len()])
            .map_err(|e| e.to_string()),
        Some(ShapeRule::Unknown(why)) => Err(why.to_string()),
        None => Err("the operator is not known".to_string()),
    };
    let facts = facts.unwrap_or_else(|why| {
        out.problems.push(ShapeProblem::Unknown { node: id, why });
        Vec::new()
    });
    for (index, value) in node.outputs.iter().enumerate() {
        let Some(value) = *value else { continue };
        let stated = stated(&graph.value(value).name, graph.value(value).ty.as_ref());
        let inferred = facts.get(index).cloned().unwrap_or_default();
        if contradicts(&stated, &inferred) {
            let (stated, inferred) = (describe(&stated), describe(&inferred));
            out.problems.push(ShapeProblem::Contradicted { value, stated, inferred });
        }
        let fact = Fact {
            elem: inferred.elem.or(stated.elem),
            shape: match (inferred.shape, stated.shape) {
                (Some(i), Some(s)) if i.len() == s.len() => Some(i.into_iter().zip(s).map(finer).collect()),
                (Some(i), _) => Some(i),
                (None, s) => s,
            },
            content: inferred.content.filter(|c| inferred.elem.is_some_and(|elem| holds(elem, c))),
        };
        out.facts.set(value, fact);
    }
}

/// Whether `elem` holds contents exactly. A size that is not known is taken to fit 32 bits, and may be negative only in
/// a signed type.
fn holds(elem: ElemType, content: &[Dim]) -> bool {
    let Some(range) = elem.whole_numbers() else { return false };
    let unknown = |d: &Dim| elem.bits() >= 32 && (*range.start() < 0 || d.at_least().is_some_and(|least| least >= 0));
    content.iter().all(|d| d.as_const().map_or_else(|| unknown(d), |c| range.contains(&c)))
}

/// The inferred size, unless it is a size nobody named and the file states one.
fn finer((inferred, stated): (Dim, Dim)) -> Dim {
    let unnamed = |d: &Dim| d.as_sym().is_some_and(|s| s.starts_with('?'));
    if unnamed(&inferred) && stated.as_const().is_some() { stated } else { inferred }
}

fn contradicts(stated: &Fact, inferred: &Fact) -> bool {
    let elem = matches!((stated.elem, inferred.elem), (Some(a), Some(b)) if a != b);
    let shape = match (&stated.shape, &inferred.shape) {
        (Some(a), Some(b)) => {
            let differ = |(x, y): (&Dim, &Dim)| matches!((x.as_const(), y.as_const()), (Some(x), Some(y)) if x != y);
            a.len() != b.len() || a.iter().zip(b).any(differ)
        }
        _ => false,
    };
    elem || shape
}

fn describe(fact: &Fact) -> String {
    let elem = fact.elem.map_or("?".to_string(), |e| e.to_string());
    let dims: Vec<String> = fact.shape.iter().flatten().map(Dim::to_string).collect();
    if fact.shape.is_some() { format!("{elem}[{}]", dims.join(",")) } else { format!("{elem} of unknown rank") }
}

/// The fact that a stated type gives. A size without a name becomes a symbol of the value's own, `?name.axis`.
fn stated(name: &str, ty: Option<&Type>) -> Fact {
    let Some(Type::Tensor { elem, shape }) = ty else { return Fact::default() };
    let own = |(axis, d): (usize, &Dim)| match d.as_sym() {
        Some(s) if s.starts_with('?') => Dim::sym(&format!("?{name}.{axis}")),
        _ => d.clone(),
    };
    Fact { elem: Some(*elem), shape: shape.as_ref().map(|s| s.iter().enumerate().map(own).collect()), content: None }
}
