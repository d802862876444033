//! A runtime that refuses models whose activations would not fit into memory, instead of taking it.

use super::memory::bytes_of;
use super::weight_bytes;
use sparsec_analysis::infer;
use sparsec_ir::{Dim, IdMap, Model, NodeId, OpTable, Type, ValueId, topological};
use sparsec_runtime::{AnySize, Runtime, RuntimeError, Session};
use std::sync::Arc;

/// Bytes that activations may take at once, or [`WEIGHTS`] times those of the weights, whichever is more: large models
/// may work with large activations, and a file of a few hundred bytes may not.
const LEAST: u64 = 2 << 30;
const WEIGHTS: u64 = 8;

/// Another runtime, with a limit to memory.
pub struct Bounded {
    inner: Arc<dyn Runtime>,
    table: OpTable,
}

impl Bounded {
    /// A limit to `inner`.
    pub fn new(inner: Arc<dyn Runtime>) -> Self {
        Self { inner, table: sparsec_ops::table() }
    }
    /// Refuses a model whose activations would take too much with inputs of these shapes.
    fn check(&self, model: &Model, inputs: &[Vec<u64>]) -> Result<(), RuntimeError> {
        let allowed = LEAST.max(weight_bytes(model).saturating_mul(WEIGHTS));
        let (needed, node) = peak(model, &self.table, inputs);
        match node {
            Some(node) if needed > allowed => {
                let (operator, node) = (model.graph.node(node).op_name(), model.graph.label(node));
                Err(RuntimeError::Memory { runtime: self.name(), operator, node, needed, allowed })
            }
            _ => Ok(()),
        }
    }
}

impl Runtime for Bounded {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn load(&self, model: &Model, inputs: &[Vec<u64>], threads: usize) -> Result<Box<dyn Session>, RuntimeError> {
        self.check(model, inputs)?;
        self.inner.load(model, inputs, threads)
    }
    fn any_size(&self) -> Option<&dyn AnySize> {
        self.inner.any_size().is_some().then_some(self)
    }
}

impl AnySize for Bounded {
    fn load_open(
        &self,
        model: &Model,
        shapes: &[Vec<Vec<u64>>],
        threads: usize,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        shapes.iter().try_for_each(|inputs| self.check(model, inputs))?;
        let inner = self.inner.any_size().expect("`any_size` says so only where the inner runtime does");
        inner.load_open(model, shapes, threads)
    }
}

/// The model for inputs of these shapes. Sizes are stated rather than bound in what was inferred: some follow from numbers
/// only.
pub(super) fn sized(model: &Model, inputs: &[Vec<u64>]) -> Model {
    let mut model = model.clone();
    let ports: Vec<ValueId> = model.graph.inputs().collect();
    for (v, given) in ports.into_iter().zip(inputs) {
        let Some(Type::Tensor { elem, .. }) = model.graph.value(v).ty else { continue };
        let dims = given.iter().map(|&d| Dim::from(i64::try_from(d).unwrap_or(i64::MAX)));
        model.graph.set_type(v, Some(Type::tensor(elem, dims)));
    }
    model
}

/// Bytes of the activations that are alive during the node where these are most, and that node. Values of unknown size
/// and those inside subgraphs count as nothing.
fn peak(model: &Model, table: &OpTable, inputs: &[Vec<u64>]) -> (u64, Option<NodeId>) {
    let model = sized(model, inputs);
    let (graph, facts) = (&model.graph, infer(&model, table).facts);
    let order = topological(graph).unwrap_or_default();
    let mut last: IdMap<ValueId, usize> = IdMap::filled(graph.value_bound(), 0);
    for (at, &node) in order.iter().enumerate() {
        let n = graph.node(node);
        for v in n.inputs.iter().chain(&n.outputs).flatten().copied().chain(graph.captures(node)) {
            last[v] = at;
        }
    }
    for &v in graph.outputs() {
        last[v] = order.len();
    }
    let mut dying: Vec<u64> = vec![0; order.len() + 1];
    let (mut alive, mut most) = (0u64, (0, None));
    for (at, &node) in order.iter().enumerate() {
        for &v in graph.node(node).outputs.iter().flatten() {
            let bytes = bytes_of(facts.get(v));
            alive = alive.saturating_add(bytes);
            dying[last[v]] = dying[last[v]].saturating_add(bytes);
        }
        if alive > most.0 {
            most = (alive, Some(node));
        }
        alive = alive.saturating_sub(dying[at]);
    }
    most
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_testkit::model;

    fn peak_of(text: &str, inputs: &[Vec<u64>]) -> (u64, String) {
        let m = model(text);
        let (bytes, node) = peak(&m, &sparsec_ops::table(), inputs);
        (bytes, node.map(|n| m.graph.label(n)).unwrap_or_default())
    }

    #[test]
    fn the_peak_is_where_most_results_are_alive() {
        let chain = "g (float[n,2] x) => (float[n,2] y) { a = Neg (x)  b = Abs (a)  y = Relu (b) }";
        assert_eq!(peak_of(chain, &[vec![5, 2]]), (80, "Abs → b".to_string()));
        let kept = "g (float[n,2] x) => (float[n,2] y) { a = Neg (x)  b = Abs (a)  c = Relu (b)  y = Add (a, c) }";
        assert_eq!(peak_of(kept, &[vec![5, 2]]), (120, "Relu → c".to_string()));
    }
    #[test]
    fn sizes_that_follow_from_numbers_only_are_known() {
        let scaled = "g (float[n,1,1,1] x) => (float[m,1,2,2] y) <float[4] s = {1000.0, 1.0, 2.0, 2.0}> { y = Resize (x, \"\", s) }";
        assert_eq!(peak_of(scaled, &[vec![2, 1, 1, 1]]).0, 2000 * 4 * 4);
    }
    #[test]
    fn a_model_that_takes_more_than_is_allowed_is_refused_unrun() {
        let m = model(
            "g (float[4] x) => (float[4] y) <int64[3] s = {1000, 1000, 1000}>
             { c = ConstantOfShape (s)  t = ReduceSum <keepdims = 0> (c)  y = Add (x, t) }",
        );
        let runtime = Bounded::new(Arc::from(sparsec_runtime::default_runtime().expect("tract is built in")));
        match runtime.load(&m, &[vec![4]], 1).err() {
            Some(RuntimeError::Memory { operator, needed, .. }) => {
                assert_eq!((operator.as_str(), needed), ("ReduceSum", 4_000_000_004));
            }
            other => panic!("{other:?}"),
        }
    }
}
