//! Activations of a model over all samples, computed on demand and in the order of the graph.
//!
//! A value is computed batch by batch from the nearest ones that are at hand, and used batch by batch: whatever axis
//! holds the samples, batches are never joined. What later steps need is put at hand where there is room for it, so
//! walking through a model costs about one inference, whatever the number of stops; what there is no room for is
//! computed again from further back. Weights may change between stops.

use super::RecoverError;
use sparsec_ir::{Facts, Id, Model, Tensor, ValueId};
use sparsec_runtime::{Runtime, Sessions, batches_of_parts, extract};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

pub(crate) struct Walk<'a> {
    runtime: &'a dyn Runtime,
    threads: usize,
    facts: Facts,
    /// Batches of each value at hand.
    at_hand: BTreeMap<ValueId, Vec<Tensor>>,
    inputs: Vec<ValueId>,
    /// Samples of each batch.
    samples: Vec<u64>,
    /// Bytes that values other than inputs may take.
    room: u64,
}

/// Values of a model at one stop.
pub(crate) struct Stop {
    wanted: Vec<ValueId>,
    /// What is at hand already.
    given: BTreeMap<ValueId, Vec<Tensor>>,
    computed: Vec<ValueId>,
    /// Runs the segment that computes the rest, with its inputs by batch.
    segment: Option<(Sessions, Vec<Vec<Tensor>>)>,
    threads: usize,
}

impl<'a> Walk<'a> {
    /// Starts at the graph's inputs; `facts` are those of the model, symbolic in the number of samples.
    pub(crate) fn new(
        (runtime, threads): (&'a dyn Runtime, usize),
        (model, facts): (&Model, Facts),
        (parts, batch): (&[Vec<Tensor>], usize),
        room: u64,
    ) -> Result<Self, RecoverError> {
        let fed = batches_of_parts(model, parts, batch)?;
        let of = |i: usize| fed.iter().map(|b| b[i].clone()).collect();
        let values: Vec<ValueId> = model.graph.inputs().collect();
        let at_hand = values.iter().enumerate().map(|(i, v)| (*v, of(i))).collect();
        let samples = fed.iter().map(|b| b.first().map_or(0, |t| t.dims[0])).collect();
        Ok(Self { runtime, threads, facts, at_hand, inputs: values, samples, room })
    }

    /// Samples of each batch.
    pub(crate) fn samples(&self) -> &[u64] {
        &self.samples
    }

    /// Bytes over all batches of what takes so many in the first.
    pub(crate) fn in_all(&self, bytes: u64) -> u64 {
        let first = self.samples.first().copied().unwrap_or(1).max(1);
        (bytes as f64 * self.samples.iter().sum::<u64>() as f64 / first as f64) as u64
    }

    /// Stops at some values, with the weights that the model has now.
    pub(crate) fn stop(&self, model: &Model, wanted: &[ValueId]) -> Result<Stop, RecoverError> {
        let mut computed: Vec<ValueId> = wanted.iter().copied().filter(|v| !self.at_hand.contains_key(v)).collect();
        computed.sort_unstable();
        computed.dedup();
        let given = wanted.iter().filter_map(|v| Some((*v, self.at_hand.get(v)?.clone()))).collect();
        let mut segment = None;
        if !computed.is_empty() {
            let starts = self.frontier(model, &|v| self.at_hand.contains_key(&v), computed.iter().copied());
            let part = extract(model, &self.facts, &starts, &computed)?;
            let fed: Vec<Vec<Tensor>> =
                (0..self.samples.len()).map(|b| starts.iter().map(|v| self.at_hand[v][b].clone()).collect()).collect();
            segment = Some((Sessions::load(self.runtime, &part, &fed)?, fed));
        }
        Ok(Stop { wanted: wanted.to_vec(), given, computed, segment, threads: self.threads })
    }

    /// Which of the values that a stop computes are worth keeping for `ahead`: those that would be read next, as far as
    /// there is room. `bytes` of a value are over all batches.
    pub(crate) fn choose(
        &self,
        model: &Model,
        stop: &Stop,
        bytes: &dyn Fn(ValueId) -> u64,
        ahead: &[ValueId],
    ) -> Vec<ValueId> {
        let mut chosen = stop.computed.clone();
        loop {
            let has = |v: ValueId| self.at_hand.contains_key(&v) || chosen.contains(&v);
            let needed = self.frontier(model, &has, ahead.iter().copied());
            let size = |v: &ValueId| match self.at_hand.get(v) {
                _ if self.inputs.contains(v) => 0,
                Some(batches) => batches.iter().map(Tensor::byte_len).sum(),
                None => bytes(*v),
            };
            let taken: u64 = needed.iter().map(size).sum();
            chosen.retain(|v| needed.contains(v));
            if taken <= self.room {
                return chosen;
            }
            let Some(largest) = chosen.iter().copied().max_by_key(|v| (bytes(*v), *v)) else { return chosen };
            chosen.retain(|v| *v != largest);
        }
    }

    /// Puts values at hand, and forgets what is not needed to compute `ahead`.
    pub(crate) fn keep(&mut self, model: &Model, found: BTreeMap<ValueId, Vec<Tensor>>, ahead: &[ValueId]) {
        self.at_hand.extend(found);
        let needed = self.frontier(model, &|v| self.at_hand.contains_key(&v), ahead.iter().copied());
        self.at_hand.retain(|v, _| needed.contains(v));
    }

    /// The nearest values that `has` holds of on each path to `targets`, sorted.
    fn frontier(
        &self,
        model: &Model,
        has: &dyn Fn(ValueId) -> bool,
        targets: impl IntoIterator<Item = ValueId>,
    ) -> Vec<ValueId> {
        let graph = &model.graph;
        let mut seen = vec![false; graph.value_bound()];
        let mut out = BTreeSet::new();
        let mut todo: Vec<ValueId> = targets.into_iter().collect();
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut seen[v.index()], true) {
                continue;
            }
            if has(v) {
                out.insert(v);
            } else if let Some(n) = graph.producer(v) {
                todo.extend(graph.node(n).inputs.iter().flatten());
                todo.extend(graph.captures(n));
            }
        }
        out.into_iter().collect()
    }
}

impl Stop {
    /// The values of some batches: for each batch, in the order in which they were asked for.
    pub(crate) fn batches(&self, range: Range<usize>) -> Result<Vec<Vec<Tensor>>, RecoverError> {
        let outputs = match &self.segment {
            Some((sessions, fed)) => sessions.run(&fed[range.clone()], self.threads)?,
            None => Vec::new(),
        };
        let value = |batch: usize, v: &ValueId| match self.given.get(v) {
            Some(batches) => batches[batch].clone(),
            None => {
                let at = self.computed.binary_search(v).expect("what is not given is computed");
                outputs[batch - range.start][at].clone()
            }
        };
        Ok(range.clone().map(|b| self.wanted.iter().map(|v| value(b, v)).collect()).collect())
    }
}
