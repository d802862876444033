//! A runtime that counts what is multiplied.

use super::Samples;
use super::bounded::sized;
use super::share::macs_of_node;
use sparsec_analysis::infer;
use sparsec_ir::{Model, OpTable, Tensor};
use sparsec_runtime::{AnySize, Runtime, RuntimeError, Session};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Another runtime, with a count of the multiply-accumulates that its sessions have run.
pub struct Metered<'r> {
    inner: &'r dyn Runtime,
    table: OpTable,
    run: Arc<AtomicU64>,
}

impl<'r> Metered<'r> {
    /// A count for `inner`, from nothing.
    pub fn new(inner: &'r dyn Runtime) -> Self {
        Self { inner, table: sparsec_ops::table(), run: Arc::default() }
    }
    /// What was run, in forward passes of `model` over all samples: a part of a model counts by its multiply-accumulates. 0
    /// for a model that multiplies nothing.
    pub fn passes(&self, model: &Model, samples: &Samples) -> f64 {
        let shapes = |part: &Vec<Tensor>| part.iter().map(|t| t.dims.clone()).collect::<Vec<_>>();
        let one: u64 = samples.parts.iter().map(|p| macs(model, &self.table, &shapes(p))).sum();
        self.run.load(Ordering::Relaxed) as f64 / one.max(1) as f64
    }
    fn session(&self, inner: Box<dyn Session>, model: &Model, shapes: &[Vec<Vec<u64>>]) -> Box<dyn Session> {
        let macs = shapes.iter().map(|inputs| (inputs.clone(), macs(model, &self.table, inputs))).collect();
        Box::new(Counted { inner, macs, run: self.run.clone() })
    }
}

/// Multiply-accumulates of a model for inputs of these shapes.
fn macs(model: &Model, table: &OpTable, inputs: &[Vec<u64>]) -> u64 {
    let model = sized(model, inputs);
    let facts = infer(&model, table).facts;
    model.graph.nodes().fold(0, |sum, (id, _)| sum.saturating_add(macs_of_node(&model, table, &facts, id)))
}

impl Runtime for Metered<'_> {
    fn name(&self) -> String {
        self.inner.name()
    }
    fn load(&self, model: &Model, inputs: &[Vec<u64>], threads: usize) -> Result<Box<dyn Session>, RuntimeError> {
        Ok(self.session(self.inner.load(model, inputs, threads)?, model, &[inputs.to_vec()]))
    }
    fn any_size(&self) -> Option<&dyn AnySize> {
        self.inner.any_size().is_some().then_some(self)
    }
}

impl AnySize for Metered<'_> {
    fn load_open(
        &self,
        model: &Model,
        shapes: &[Vec<Vec<u64>>],
        threads: usize,
    ) -> Result<Box<dyn Session>, RuntimeError> {
        let inner = self.inner.any_size().expect("`any_size` says so only where the inner runtime does");
        Ok(self.session(inner.load_open(model, shapes, threads)?, model, shapes))
    }
}

struct Counted {
    inner: Box<dyn Session>,
    /// Multiply-accumulates of one run, by the shapes of its inputs.
    macs: BTreeMap<Vec<Vec<u64>>, u64>,
    run: Arc<AtomicU64>,
}

impl Session for Counted {
    fn run(&self, inputs: &[Tensor]) -> Result<Vec<Tensor>, RuntimeError> {
        let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
        // A sum does not depend on the order in which threads add to it.
        self.run.fetch_add(self.macs.get(&shapes).copied().unwrap_or(0), Ordering::Relaxed);
        self.inner.run(inputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_calib::{Prefix, Reference};
    use sparsec_runtime::run_each;

    #[test]
    fn a_run_over_all_samples_is_one_pass_and_half_a_model_half_of_it() {
        let text = |nodes: &str, out: &str| {
            sparsec_testkit::model(&format!(
                "g (float[n,4] x) => (float[n,4] {out})
                 <float[4,4] v = [\"location\": \"random:1\"], float[4,4] w = [\"location\": \"random:2\"]> {{ {nodes} }}"
            ))
        };
        let (whole, half) = (text("a = MatMul (x, v) y = MatMul (a, w)", "y"), text("a = MatMul (x, v)", "a"));
        let parts = vec![vec![Tensor::f32(&[3, 4], &[1.0; 12])], vec![Tensor::f32(&[2, 4], &[1.0; 8])]];
        let samples = Samples { parts: parts.clone(), given: 5, shapes: 1, threads: 2, memory: 1 << 30 };
        let inner = sparsec_runtime::default_runtime().expect("tract is built in");
        let runtime = Metered::new(inner.as_ref());
        run_each(&runtime, &whole, &parts, 2).unwrap();
        assert_eq!(runtime.passes(&whole, &samples), 1.0);
        run_each(&runtime, &half, &parts, 1).unwrap();
        assert_eq!(runtime.passes(&whole, &samples), 1.5);
    }

    #[test]
    fn what_lies_before_a_change_is_not_run_again() {
        let dense = sparsec_testkit::model(
            "g (float[n,4] x) => (float[n,4,1,1] y)
             <float[4,4] u = [\"location\": \"random:1\"], float[4,4] v = [\"location\": \"random:2\"], int64[4] s = {0, 4, 1, 1}>
             { a = MatMul (x, u) b = Relu (a) c = MatMul (b, v) y = Reshape (c, s) }",
        );
        let facts = infer(&dense, &sparsec_ops::table()).facts;
        let parts = vec![vec![Tensor::f32(&[2, 4], &[1.0, -2.0, 3.0, 4.0, 0.5, 6.0, -7.0, 8.0])]];
        let samples = Samples { parts: parts.clone(), given: 2, shapes: 1, threads: 1, memory: 1 << 30 };
        let inner = sparsec_runtime::default_runtime().expect("tract is built in");
        let mut changed = dense.clone();
        let v = changed.graph.find("v").unwrap();
        changed.graph.set_constant(v, Tensor::f32(&[4, 4], &[0.5; 16]));
        // With room for all that the dense model computes, and for none of it.
        let [(near, half), (far, whole)] = [1000, 0].map(|room| {
            let with = (inner.as_ref(), 1);
            let prefix = Prefix::new(with, (&dense, &facts), &parts, &|_| 8, room).unwrap();
            let reference = Reference::new(run_each(inner.as_ref(), &dense, &parts, 1).unwrap()).unwrap();
            let runtime = Metered::new(inner.as_ref());
            let far = reference.with_prefix(prefix).divergence_of(&runtime, &changed, &parts).unwrap();
            (far, runtime.passes(&dense, &samples))
        });
        assert_eq!((half, whole), (0.5, 1.0));
        assert!(near > 0.0 && (near - far).abs() < 1e-6 * far, "{near} {far}");
    }
}
