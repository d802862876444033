//! Prices of plans: the same model under many sets of shapes.

use crate::latency::{self, Time, Traffic};
use crate::memory::{self, Buffer};
use crate::schedule::{Launch, Role, Schedule};
use crate::{Target, size};
use sparsec_ir::{Facts, Graph, IdMap, Model, NodeRef, OpTable, ValueId, Work};
use std::borrow::Cow;

/// What a model costs under one set of shapes: the totals of an [`Estimate`](crate::Estimate).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Price {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Parameters, as in [`Estimate::params`](crate::Estimate::params).
    pub params: u64,
    /// Bytes of constants as a file holds them.
    pub weight_bytes: u64,
    /// Time of one inference in ms.
    pub latency_ms: f64,
    /// Bytes that the runtime holds for activations at the worst moment.
    pub peak_activation_bytes: u64,
    /// Bytes that the runtime holds for weights and activations.
    pub memory_bytes: u64,
    /// Energy of one inference in mJ.
    pub energy_mj: f64,
}

/// Prices a model under many sets of shapes.
///
/// Order, fusion and the lives of buffers are found once; a price then costs one call of each work rule and a few
/// additions, and one that differs in a few values from the last costs the rules of the kernels that touch them
/// ([`Pricer::update`]). A plan changes sizes, not kernels: all facts must be of the same graph.
pub struct Pricer<'a> {
    pub(crate) model: Cow<'a, Model>,
    pub(crate) target: &'a Target,
    pub(crate) schedule: Schedule,
    pub(crate) buffers: Vec<Buffer>,
    touched: IdMap<ValueId, Touched>,
}

/// What hangs on the size of a value, by position in the lists of the [`Pricer`].
#[derive(Clone, Default)]
struct Touched {
    /// Kernels that cost time.
    launches: Vec<usize>,
    constant: Option<usize>,
    buffer: Option<usize>,
}

/// A price in its parts, of which those change that hang on a changed value.
#[derive(Clone)]
pub struct Tally {
    /// One entry a launch; none for views, which cost nothing.
    launches: Vec<Option<Entry>>,
    /// Parameters (0 where the elements are none) and bytes of each constant.
    constants: Vec<(u64, u64)>,
    /// Bytes of each buffer.
    buffers: Vec<u64>,
    /// Change of the live bytes at each kernel.
    change: Vec<i128>,
    macs: u128,
    params: u128,
    weight_bytes: u128,
    /// Share of cold weights that the times are of.
    cold: f64,
}

#[derive(Clone)]
struct Entry {
    cost: LaunchCost,
    pj: f64,
}

/// What one launch does and how long it takes.
#[derive(Clone)]
pub(crate) struct LaunchCost {
    pub(crate) work: Result<Work, String>,
    pub(crate) traffic: Traffic,
    pub(crate) time: Time,
}

impl<'a> Pricer<'a> {
    /// Prepares to price `model` on `target`. `facts` are those of the dense model, bound to sizes.
    pub fn new(model: Cow<'a, Model>, facts: &Facts, table: &OpTable, target: &'a Target) -> Self {
        let schedule = Schedule::new(&model, facts, table, &target.fusion);
        let buffers = memory::buffers(&model.graph, facts, &schedule);
        let touched = touched(&model.graph, &schedule, &buffers);
        Self { model, target, schedule, buffers, touched }
    }

    /// The price under `facts`, which are bound to sizes. A value of unknown size costs nothing;
    /// [`estimate`](crate::estimate) says which.
    pub fn price(&self, facts: &Facts) -> Price {
        self.total(&self.tally(facts))
    }

    /// The price in parts.
    pub fn tally(&self, facts: &Facts) -> Tally {
        let kernels = self.schedule.launches.len();
        let mut t = Tally {
            launches: vec![None; kernels],
            constants: vec![(0, 0); self.schedule.constants.len()],
            buffers: vec![0; self.buffers.len()],
            change: vec![0; kernels + 1],
            macs: 0,
            params: self.schedule.fixed_params.into(),
            weight_bytes: self.schedule.fixed_bytes.into(),
            cold: 0.0,
        };
        (0..t.constants.len()).for_each(|i| self.set_constant(&mut t, facts, i));
        (0..t.buffers.len()).for_each(|i| self.set_buffer(&mut t, facts, i));
        t.cold = self.cold(&t);
        (0..kernels).for_each(|i| self.set_launch(&mut t, facts, i));
        t
    }

    /// The price after the facts of `changed` changed: the very number that [`Pricer::price`] gives.
    pub fn update(&self, tally: &mut Tally, facts: &Facts, changed: &[ValueId]) -> Price {
        let mut launches = Vec::new();
        for touched in changed.iter().filter_map(|&v| self.touched.get(v)) {
            touched.constant.iter().for_each(|&i| self.set_constant(tally, facts, i));
            touched.buffer.iter().for_each(|&i| self.set_buffer(tally, facts, i));
            launches.extend(&touched.launches);
        }
        let cold = self.cold(tally);
        if cold != tally.cold {
            tally.cold = cold;
            for entry in tally.launches.iter_mut().flatten() {
                let work = entry.cost.work.as_ref().ok();
                entry.cost.time = latency::time(work, entry.cost.traffic, cold, self.target);
            }
        }
        launches.sort_unstable();
        launches.dedup();
        launches.into_iter().for_each(|i| self.set_launch(tally, facts, i));
        self.total(tally)
    }

    /// Kernels that touch a value, by their place in the order of execution. A plan that changes the sizes of two values
    /// without a common kernel costs what the two changes cost alone, but for the peak of memory and for the share of the
    /// weights that the cache holds.
    pub fn kernels_on(&self, value: ValueId) -> &[usize] {
        self.touched.get(value).map_or(&[], |t| &t.launches)
    }

    fn total(&self, t: &Tally) -> Price {
        let (mut us, mut pj) = (self.target.overhead.run_us, 0.0);
        // Added in the order of execution, so that the sum does not hang on what changed last.
        for entry in t.launches.iter().flatten() {
            us += entry.cost.time.us;
            pj += entry.pj;
        }
        let weight_bytes = clamped(t.weight_bytes);
        let peak_activation_bytes = self.activation_bytes(memory::peak(&t.change));
        Price {
            macs: clamped(t.macs),
            params: clamped(t.params),
            weight_bytes,
            latency_ms: us / 1e3,
            peak_activation_bytes,
            memory_bytes: peak_activation_bytes.saturating_add(self.held_weights(weight_bytes)),
            energy_mj: pj / 1e9,
        }
    }

    fn cold(&self, t: &Tally) -> f64 {
        latency::cold_share(clamped(t.weight_bytes), self.target)
    }

    fn set_constant(&self, t: &mut Tally, facts: &Facts, at: usize) {
        let (value, is_params) = self.schedule.constants[at];
        let (count, bytes) = size::constant(&self.model.graph, facts, value);
        let new = (if is_params { count } else { 0 }, bytes);
        let old = std::mem::replace(&mut t.constants[at], new);
        t.params = t.params + u128::from(new.0) - u128::from(old.0);
        t.weight_bytes = t.weight_bytes + u128::from(new.1) - u128::from(old.1);
    }

    fn set_buffer(&self, t: &mut Tally, facts: &Facts, at: usize) {
        let buffer = &self.buffers[at];
        let new = buffer.bytes(facts);
        let old = std::mem::replace(&mut t.buffers[at], new);
        memory::add(&mut t.change, buffer, i128::from(new) - i128::from(old));
    }

    fn set_launch(&self, t: &mut Tally, facts: &Facts, at: usize) {
        let launch = &self.schedule.launches[at];
        if launch.role == Role::Free {
            return;
        }
        let cost = self.launch(launch, facts, t.cold);
        let macs = |c: &LaunchCost| u128::from(c.work.as_ref().map_or(0, |w| w.macs));
        t.macs = t.macs + macs(&cost) - t.launches[at].as_ref().map_or(0, |e| macs(&e.cost));
        t.launches[at] = Some(Entry { pj: self.energy_pj(&cost), cost });
    }

    pub(crate) fn launch(&self, launch: &Launch, facts: &Facts, cold: f64) -> LaunchCost {
        let graph = &self.model.graph;
        let node = NodeRef { graph, facts, id: launch.head, opset: launch.opset };
        let work = match &launch.rule {
            Ok(rule) => rule(&node).map_err(|e| e.to_string()),
            Err(why) => Err(why.clone()),
        };
        let bytes = |v| facts.get(v).byte_len().unwrap_or(0);
        let sum = |list: &[_]| list.iter().map(|&v| bytes(v)).fold(0u64, u64::saturating_add);
        let weights = launch.weights.iter().map(|&v| size::constant(graph, facts, v).1).fold(0, u64::saturating_add);
        let heavy = launch.fused.iter().filter(|f| f.heavy).count() as u64;
        let written = sum(&launch.writes);
        let heavy = written.saturating_mul(2).saturating_mul(heavy);
        let traffic = Traffic { read: sum(&launch.reads), written, weights, heavy };
        let time = latency::time(work.as_ref().ok(), traffic, cold, self.target);
        LaunchCost { work, traffic, time }
    }

    pub(crate) fn energy_pj(&self, cost: &LaunchCost) -> f64 {
        let t = cost.traffic;
        let bytes = t.read as f64 + t.written as f64 + t.weights as f64;
        let macs = cost.work.as_ref().map_or(0, |w| w.macs) as f64;
        macs * self.target.energy.pj_per_mac + bytes * self.target.energy.pj_per_byte
    }

    pub(crate) fn held_weights(&self, bytes: u64) -> u64 {
        (bytes as f64 * self.target.memory.weight_copies).round() as u64
    }

    pub(crate) fn activation_bytes(&self, largest_live_set: u64) -> u64 {
        (largest_live_set as f64 * self.target.memory.activation_factor).round() as u64
    }
}

/// A total as 64 bits hold it.
fn clamped(total: u128) -> u64 {
    u64::try_from(total).unwrap_or(u64::MAX)
}

fn touched(graph: &Graph, schedule: &Schedule, buffers: &[Buffer]) -> IdMap<ValueId, Touched> {
    let mut out: IdMap<ValueId, Touched> = IdMap::filled(graph.value_bound(), Touched::default());
    for (at, launch) in schedule.launches.iter().enumerate().filter(|(_, l)| l.role != Role::Free) {
        let head = graph.node(launch.head);
        let named = head.inputs.iter().chain(&head.outputs).flatten();
        for &v in named.chain(&launch.reads).chain(&launch.weights).chain(&launch.writes) {
            let list = &mut out[v].launches;
            if list.last() != Some(&at) {
                list.push(at);
            }
        }
    }
    for (at, (v, _)) in schedule.constants.iter().enumerate() {
        out[*v].constant = Some(at);
    }
    for (at, buffer) in buffers.iter().enumerate() {
        buffer.values.iter().for_each(|v| out[*v].buffer = Some(at));
    }
    out
}
