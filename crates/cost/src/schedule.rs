//! The order of execution and which nodes share a kernel: the structure that no plan changes.

use crate::{Fusion, size};
use sparsec_ir::{
    Attr, Def, Facts, Graph, IdMap, Kernel, Model, NodeId, NodeRef, OpError, OpTable, Use, ValueId, Work, WorkRule,
    topological,
};

/// Asks a node for its work.
pub(crate) type Rule = fn(&NodeRef) -> Result<Work, OpError>;

/// What makes a launch cost what it costs, as far as no plan changes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Multiplies and accumulates; functions of each element may be fused into it.
    Contraction,
    /// A function of each element, which can overwrite an operand.
    Elementwise,
    /// Nothing happens at run time.
    Free,
    /// Anything else, nodes without a work rule included.
    Other,
}

/// A node that runs inside another's kernel.
pub(crate) struct Fused {
    pub(crate) node: NodeId,
    /// Whether it computes a transcendental function, which costs time even inside a kernel.
    pub(crate) heavy: bool,
}

/// One kernel as the runtime starts it: a node and what is fused into it.
pub(crate) struct Launch {
    pub(crate) head: NodeId,
    pub(crate) opset: i64,
    pub(crate) rule: Result<Rule, String>,
    pub(crate) role: Role,
    pub(crate) fused: Vec<Fused>,
    /// Activations that it reads, each once.
    pub(crate) reads: Vec<ValueId>,
    /// Activation that a fused node adds.
    pub(crate) residual: Option<ValueId>,
    /// Constants that it reads, each once.
    pub(crate) weights: Vec<ValueId>,
    /// Activations that it writes.
    pub(crate) writes: Vec<ValueId>,
}

/// Kernels in the order in which they run.
#[derive(Default)]
pub(crate) struct Schedule {
    pub(crate) launches: Vec<Launch>,
    /// Constants that nodes read, each once, and whether their elements are parameters.
    pub(crate) constants: Vec<(ValueId, bool)>,
    /// Parameters in constants that no plan changes: those of subgraphs and attributes.
    pub(crate) fixed_params: u64,
    /// Bytes of constants that no plan changes.
    pub(crate) fixed_bytes: u64,
    /// Nodes in a cycle, for which there is no order: nothing is scheduled.
    pub(crate) cycle: Vec<NodeId>,
}

impl Schedule {
    pub(crate) fn new(model: &Model, facts: &Facts, table: &OpTable, fusion: &Fusion) -> Self {
        let graph = &model.graph;
        let order = match topological(graph) {
            Ok(order) => order,
            Err(cycle) => return Self { cycle, ..Self::default() },
        };
        let mut out = Self::default();
        let mut launch_of: IdMap<NodeId, usize> = IdMap::filled(graph.node_bound(), 0);
        for id in order {
            let (launch, heavy) = launch(model, facts, table, id);
            out.count_fixed(graph, id);
            let into = match launch.role {
                Role::Elementwise => host(graph, facts, fusion, &out.launches, &launch_of, &launch),
                _ => None,
            };
            let Some((into, residual)) = into else {
                launch_of[id] = out.launches.len();
                out.launches.push(launch);
                continue;
            };
            let host = &mut out.launches[into];
            host.fused.push(Fused { node: id, heavy });
            host.residual = host.residual.or(residual);
            host.writes = launch.writes;
            push_new(&mut host.reads, residual);
            push_new(&mut host.weights, launch.weights);
            launch_of[id] = into;
        }
        for (id, value) in graph.values().filter(|(_, v)| !v.uses.is_empty()) {
            match &value.def {
                Def::Constant(t) => out.constants.push((id, size::holds_parameters(t.elem, t.dims.len()))),
                Def::Sparse(s) => out.constants.push((id, size::holds_parameters(s.values.elem, s.dims.len()))),
                Def::Input | Def::Node { .. } | Def::Outer => {}
            }
        }
        out
    }

    fn count_fixed(&mut self, graph: &Graph, node: NodeId) {
        for attr in graph.node(node).attrs.values() {
            self.count_attr(attr);
        }
    }

    fn count_attr(&mut self, attr: &Attr) {
        match attr {
            Attr::Tensor(t) => self.count_tensor(size::fixed(t)),
            Attr::Tensors(ts) => ts.iter().for_each(|t| self.count_tensor(size::fixed(t))),
            Attr::Graph(g) => self.count_graph(g),
            Attr::Graphs(gs) => gs.iter().for_each(|g| self.count_graph(g)),
            _ => {}
        }
    }

    fn count_graph(&mut self, graph: &Graph) {
        for (_, value) in graph.values().filter(|(_, v)| !v.uses.is_empty()) {
            match &value.def {
                Def::Constant(t) => self.count_tensor(size::fixed(t)),
                Def::Sparse(s) => self.count_tensor(size::fixed(&s.values)),
                Def::Input | Def::Node { .. } | Def::Outer => {}
            }
        }
        for (id, _) in graph.nodes() {
            self.count_fixed(graph, id);
        }
    }

    fn count_tensor(&mut self, (params, bytes): (u64, u64)) {
        self.fixed_params = self.fixed_params.saturating_add(params);
        self.fixed_bytes = self.fixed_bytes.saturating_add(bytes);
    }
}

/// Parameters of a model, as [`Estimate::params`](crate::Estimate::params) counts them.
pub fn params(model: &Model) -> u64 {
    let mut all = Schedule::default();
    all.count_graph(&model.graph);
    all.fixed_params
}

/// The launch of `id` alone, and whether it is transcendental.
fn launch(model: &Model, facts: &Facts, table: &OpTable, id: NodeId) -> (Launch, bool) {
    let graph = &model.graph;
    let node = graph.node(id);
    let opset = model.opset(&node.domain).unwrap_or(1);
    let rule = match table.get(&node.domain, &node.op).map(|d| d.work) {
        Some(WorkRule::By(rule)) => Ok(rule),
        Some(WorkRule::Unknown(why)) => Err(why.to_string()),
        None => Err("the operator is not known".to_string()),
    };
    let kernel = rule.as_ref().ok().and_then(|r| r(&NodeRef { graph, facts, id, opset }).ok()).map(|w| w.kernel);
    let (role, heavy) = match kernel {
        Some(Kernel::Conv { .. } | Kernel::Gemm { .. } | Kernel::BatchedMatMul { .. }) => (Role::Contraction, false),
        Some(Kernel::Elementwise { heavy }) => (Role::Elementwise, heavy),
        Some(Kernel::Free) => (Role::Free, false),
        Some(Kernel::Recurrent { .. } | Kernel::Reduce | Kernel::Join { .. } | Kernel::Move) | None => {
            (Role::Other, false)
        }
    };
    let (mut reads, mut weights) = (Vec::new(), Vec::new());
    for v in node.inputs.iter().copied().flatten().chain(graph.captures(id)) {
        let list = match graph.value(v).def {
            Def::Constant(_) | Def::Sparse(_) => &mut weights,
            Def::Input | Def::Node { .. } | Def::Outer => &mut reads,
        };
        push_new(list, [v]);
    }
    let writes = node.outputs.iter().copied().flatten().collect();
    (Launch { head: id, opset, rule, role, fused: Vec::new(), reads, residual: None, weights, writes }, heavy)
}

/// The launch that `node`, a function of each element, can run in, and the second activation that it brings along.
///
/// It is the last of the launches that compute an operand, so that everything else the node reads is there by then.
fn host(
    graph: &Graph,
    facts: &Facts,
    fusion: &Fusion,
    launches: &[Launch],
    launch_of: &IdMap<NodeId, usize>,
    node: &Launch,
) -> Option<(usize, Option<ValueId>)> {
    let made_by = |v: ValueId| graph.producer(v).map(|p| launch_of[p]);
    let (&main, residual) = match node.reads.as_slice() {
        [x] if fusion.elementwise => (x, None),
        [a, b] if fusion.residual && made_by(*a) > made_by(*b) => (a, Some(*b)),
        [a, b] if fusion.residual && made_by(*a) < made_by(*b) => (b, Some(*a)),
        _ => return None,
    };
    let into = made_by(main)?;
    let host = &launches[into];
    let only_use = matches!(graph.value(main).uses.as_slice(), [Use::Operand(..)]) && !graph.is_output(main);
    let elements = |v: ValueId| facts.get(v).count();
    let shape = |v: ValueId| facts.get(v).shape.as_ref();
    let same = node.writes.len() == 1 && elements(main).is_some() && elements(node.writes[0]) == elements(main);
    let fits = residual.is_none_or(|r| host.residual.is_none() && shape(r) == shape(main));
    (host.role == Role::Contraction && host.writes == [main] && only_use && same && fits).then_some((into, residual))
}

fn push_new(list: &mut Vec<ValueId>, values: impl IntoIterator<Item = ValueId>) {
    for v in values {
        if !list.contains(&v) {
            list.push(v);
        }
    }
}
