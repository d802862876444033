//! Runs of a changed model from where it first differs: what lies before is computed once, for all changes.

use crate::CalibError;
use sparsec_ir::{Attr, Def, Facts, Id, Model, NodeId, Tensor, ValueId, topological};
use sparsec_runtime::{Runtime, extract, run_each, tap};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A model, and the inputs of each of its runs.
pub(crate) type Runs = (Model, Vec<Vec<Tensor>>);

/// Activations of a model for the inputs of some runs.
pub struct Prefix {
    model: Model,
    facts: Facts,
    /// Values at hand, a tensor for each run; those of the graph's inputs are.
    at_hand: BTreeMap<ValueId, Vec<Tensor>>,
}

impl Prefix {
    /// Runs `model` once and keeps what it computes, the smallest values first, in at most `room` bytes. `facts` are
    /// symbolic in the number of samples; `bytes` are those of a value over all runs.
    pub fn new(
        (runtime, threads): (&dyn Runtime, usize),
        (model, facts): (&Model, &Facts),
        inputs: &[Vec<Tensor>],
        bytes: &dyn Fn(ValueId) -> u64,
        room: u64,
    ) -> Result<Self, CalibError> {
        let order = topological(&model.graph).unwrap_or_default();
        let typed = |v: &ValueId| facts.get(*v).ty().is_some() && bytes(*v) > 0;
        let results = order.iter().flat_map(|n| model.graph.node(*n).outputs.iter().flatten().copied());
        let mut values: Vec<ValueId> = results.filter(typed).collect();
        values.sort_by_key(|v| (bytes(*v), *v));
        let mut taken = 0u64;
        let fits = |v: &ValueId| {
            taken = taken.saturating_add(bytes(*v));
            taken <= room
        };
        let values: Vec<ValueId> = values.into_iter().take_while(fits).collect();
        let ports: Vec<ValueId> = model.graph.inputs().collect();
        let of = |at: usize| inputs.iter().filter_map(|run| run.get(at).cloned()).collect();
        let mut at_hand: BTreeMap<ValueId, Vec<Tensor>> =
            ports.iter().enumerate().map(|(at, v)| (*v, of(at))).collect();
        if !values.is_empty() {
            let found = run_each(runtime, &tap(model, facts, &values), inputs, threads)?;
            for outputs in found {
                values.iter().zip(outputs).for_each(|(v, t)| at_hand.entry(*v).or_default().push(t));
            }
        }
        Ok(Self { model: model.clone(), facts: facts.clone(), at_hand })
    }

    /// What of `changed`, an edited copy of the model, must be run, and the inputs of each run; `None` where it does not
    /// fall apart.
    pub(crate) fn suffix(&self, changed: &Model) -> Result<Option<Runs>, CalibError> {
        let outputs = changed.graph.outputs();
        let distinct: BTreeSet<ValueId> = outputs.iter().copied().collect();
        let same = self.same(changed);
        let mut starts = BTreeSet::new();
        let mut seen = vec![false; changed.graph.value_bound()];
        let mut todo: Vec<ValueId> = outputs.to_vec();
        while let Some(v) = todo.pop() {
            if std::mem::replace(&mut seen[v.index()], true) {
                continue;
            }
            if same[v.index()] && self.at_hand.contains_key(&v) {
                starts.insert(v);
            } else if let Some(n) = changed.graph.producer(v) {
                todo.extend(changed.graph.node(n).inputs.iter().flatten());
                todo.extend(changed.graph.captures(n));
            }
        }
        if starts.is_empty() || distinct.len() < outputs.len() {
            return Ok(None);
        }
        let starts: Vec<ValueId> = starts.into_iter().collect();
        let part = extract(changed, &self.facts, &starts, outputs)?;
        let runs = self.at_hand[&starts[0]].len();
        let fed = (0..runs).map(|run| starts.iter().map(|v| self.at_hand[v][run].clone()).collect());
        Ok(Some((part, fed.collect())))
    }

    /// Whether each value of `changed` is computed as it is in the model.
    fn same(&self, changed: &Model) -> Vec<bool> {
        let mut same = vec![false; changed.graph.value_bound()];
        for (v, value) in changed.graph.values() {
            same[v.index()] = match (&value.def, self.model.graph.live_value(v).map(|old| &old.def)) {
                (Def::Constant(new), Some(Def::Constant(old))) => Arc::ptr_eq(new, old),
                (Def::Input, Some(Def::Input)) => true,
                _ => false,
            };
        }
        for n in topological(&changed.graph).unwrap_or_default() {
            let node = changed.graph.node(n);
            let fed = node.inputs.iter().flatten().all(|v| same[v.index()]);
            if fed && self.node_is_same(changed, n) {
                node.outputs.iter().flatten().for_each(|v| same[v.index()] = true);
            }
        }
        same
    }

    /// Whether a node is the model's, operands aside. One with a subgraph counts as changed.
    fn node_is_same(&self, changed: &Model, id: NodeId) -> bool {
        let new = changed.graph.node(id);
        let first = new.outputs.iter().flatten().next();
        let old = first.and_then(|v| self.model.graph.live_value(*v)).and_then(|v| match v.def {
            Def::Node { node, .. } => Some(self.model.graph.node(node)),
            _ => None,
        });
        old.is_some_and(|old| {
            (&old.domain, &old.op, &old.overload) == (&new.domain, &new.op, &new.overload)
                && (&old.inputs, &old.outputs) == (&new.inputs, &new.outputs)
                && old.attrs.iter().count() == new.attrs.iter().count()
                && old.attrs.iter().zip(new.attrs.iter()).all(|(a, b)| a.0 == b.0 && alike(a.1, b.1))
        })
    }
}

/// Whether two attributes are surely equal.
fn alike(a: &Attr, b: &Attr) -> bool {
    match (a, b) {
        (Attr::Float(a), Attr::Float(b)) => a.to_bits() == b.to_bits(),
        (Attr::Int(a), Attr::Int(b)) => a == b,
        (Attr::String(a), Attr::String(b)) => a == b,
        (Attr::Ints(a), Attr::Ints(b)) => a == b,
        (Attr::Tensor(a), Attr::Tensor(b)) => Arc::ptr_eq(a, b),
        _ => false,
    }
}
