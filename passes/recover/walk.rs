//! Activations of a model over all samples, computed on demand and in the order of the graph.
//!
//! An activation is a list of tensors, one for each batch of samples: whatever axis holds the samples, they are never
//! joined.
//!
//! Only what later steps still need is kept. A value is computed from the nearest ones that are at hand, so walking
//! through a model costs one inference, whatever the number of stops; weights may change between stops.

use super::RecoverError;
use sparsec_ir::{Facts, Id, Model, Tensor, ValueId};
use sparsec_runtime::{Runtime, batches, extract, run_each};
use std::collections::{BTreeMap, BTreeSet};

/// Samples in one run of a segment.
const BATCH: usize = 32;

pub(super) struct Walk<'a> {
    runtime: &'a dyn Runtime,
    threads: usize,
    facts: Facts,
    at_hand: BTreeMap<ValueId, Vec<Tensor>>,
    batches: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the graph's inputs; `facts` are those of the model, symbolic in the number of samples.
    pub(super) fn new(
        runtime: &'a dyn Runtime,
        threads: usize,
        (model, facts): (&Model, Facts),
        inputs: &[Tensor],
    ) -> Result<Self, RecoverError> {
        let fed = batches(model, inputs, BATCH)?;
        let of = |i: usize| fed.iter().map(|b| b[i].clone()).collect();
        let at_hand = model.graph.inputs().enumerate().map(|(i, v)| (v, of(i))).collect();
        Ok(Self { runtime, threads, facts, at_hand, batches: fed.len() })
    }

    /// The value over all samples.
    pub(super) fn get(&mut self, model: &Model, value: ValueId) -> Result<Vec<Tensor>, RecoverError> {
        if let Some(t) = self.at_hand.get(&value) {
            return Ok(t.clone());
        }
        let starts = self.frontier(model, [value]);
        let segment = extract(model, &self.facts, &starts, &[value])?;
        let fed: Vec<Vec<Tensor>> =
            (0..self.batches).map(|b| starts.iter().map(|v| self.at_hand[v][b].clone()).collect()).collect();
        let outputs = run_each(self.runtime, &segment, &fed, self.threads)?;
        let no_value = || RecoverError::NoValue { value: model.graph.value(value).name.clone() };
        let out: Vec<Tensor> =
            outputs.into_iter().map(|mut o| o.pop().ok_or_else(no_value)).collect::<Result<_, _>>()?;
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
