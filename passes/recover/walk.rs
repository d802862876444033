//! Activations of a model over all samples, computed on demand and in the order of the graph.
//!
//! Only what later steps still need is kept. A value is computed from the nearest ones that are at hand, so walking
//! through a model costs one inference, whatever the number of stops; weights may change between stops.

use super::RecoverError;
use sparsec_ir::{Facts, Id, Model, Tensor, ValueId};
use sparsec_runtime::{Runtime, extract, run_batches};
use std::collections::{BTreeMap, BTreeSet};

/// Samples in one run of a segment.
const BATCH: usize = 32;

pub(super) struct Walk<'a> {
    runtime: &'a dyn Runtime,
    threads: usize,
    facts: Facts,
    at_hand: BTreeMap<ValueId, Tensor>,
}

impl<'a> Walk<'a> {
    /// Starts at the graph's inputs; `facts` are those of the model, symbolic in the number of samples.
    pub(super) fn new(runtime: &'a dyn Runtime, threads: usize, model: &Model, facts: Facts, inputs: &[Tensor]) -> Self {
        let at_hand = model.graph.inputs().zip(inputs.iter().cloned()).collect();
        Self { runtime, threads, facts, at_hand }
    }

    /// The value over all samples.
    pub(super) fn get(&mut self, model: &Model, value: ValueId) -> Result<Tensor, RecoverError> {
        if let Some(t) = self.at_hand.get(&value) {
            return Ok(t.clone());
        }
        let starts = self.frontier(model, [value]);
        let segment = extract(model, &self.facts, &starts, &[value])?;
        let inputs: Vec<Tensor> = starts.iter().map(|v| self.at_hand[v].clone()).collect();
        let mut outputs = run_batches(self.runtime, &segment, &inputs, BATCH, self.threads)?;
        let out = outputs.pop().ok_or(RecoverError::NoValue { value: model.graph.value(value).name.clone() })?;
        self.at_hand.insert(value, out.clone());
        Ok(out)
    }

    /// Forgets what is not needed to compute `ahead`.
    pub(super) fn keep_for(&mut self, model: &Model, ahead: impl IntoIterator<Item = ValueId>) {
        let needed: BTreeSet<ValueId> = self.frontier(model, ahead).into_iter().collect();
        self.at_hand.retain(|v, _| needed.contains(v));
    }

    /// Values at hand that `targets` are computed from, the nearest on each path, sorted.
    fn frontier(&self, model: &Model, targets: impl IntoIterator<Item = ValueId>) -> Vec<ValueId> {
        let graph = &model.graph;
        let mut seen = vec![false; graph.value_bound()];
        let mut out = BTreeSet::new();
        let mut todo: Vec<ValueId> = targets.into_iter().collect();
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut seen[v.index()], true) {
                continue;
            }
            if self.at_hand.contains_key(&v) {
                out.insert(v);
            } else if let Some(n) = graph.producer(v) {
                todo.extend(graph.node(n).inputs.iter().flatten());
                todo.extend(graph.captures(n));
            }
        }
        out.into_iter().collect()
    }
}
