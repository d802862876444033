//! Prices of plans: the same model under many sets of shapes.

use crate::latency::{self, Time, Traffic};
use crate::memory::{self, Buffer};
use crate::schedule::{Launch, Schedule};
use crate::{Target, size};
use sparsec_ir::{Facts, Model, NodeRef, OpTable, Work};

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
/// additions. A plan changes sizes, not kernels: the facts of [`Pricer::price`] must be of the same graph.
pub struct Pricer<'a> {
    pub(crate) model: &'a Model,
    pub(crate) target: &'a Target,
    pub(crate) schedule: Schedule,
    pub(crate) buffers: Vec<Buffer>,
}

/// What one launch does and how long it takes.
pub(crate) struct LaunchCost {
    pub(crate) work: Result<Work, String>,
    pub(crate) traffic: Traffic,
    pub(crate) time: Time,
}

impl<'a> Pricer<'a> {
    /// Prepares to price `model` on `target`. `facts` are those of the dense model, bound to sizes.
    pub fn new(model: &'a Model, facts: &Facts, table: &OpTable, target: &'a Target) -> Self {
        let schedule = Schedule::new(model, facts, table, &target.fusion);
        let buffers = memory::buffers(&model.graph, facts, &schedule);
        Self { model, target, schedule, buffers }
    }

    /// The price under `facts`, which are bound to sizes. A value of unknown size costs nothing;
    /// [`estimate`](crate::estimate) says which.
    pub fn price(&self, facts: &Facts) -> Price {
        let mut price = Price::default();
        (price.params, price.weight_bytes) = self.constants(facts);
        let cold = latency::cold_share(price.weight_bytes, self.target);
        let (mut us, mut pj) = (self.target.overhead.run_us, 0.0);
        for launch in self.schedule.priced() {
            let cost = self.launch(launch, facts, cold);
            price.macs = price.macs.saturating_add(cost.work.as_ref().map_or(0, |w| w.macs));
            us += cost.time.us;
            pj += self.energy_pj(&cost);
        }
        let live = memory::timeline(&self.buffers, facts, self.schedule.launches.len());
        price.latency_ms = us / 1e3;
        price.energy_mj = pj / 1e9;
        price.peak_activation_bytes = self.activation_bytes(live.into_iter().max().unwrap_or(0));
        price.memory_bytes = price.peak_activation_bytes.saturating_add(self.held_weights(price.weight_bytes));
        price
    }

    /// Parameters and bytes of all constants.
    pub(crate) fn constants(&self, facts: &Facts) -> (u64, u64) {
        let fixed = (self.schedule.fixed_params, self.schedule.fixed_bytes);
        self.schedule.constants.iter().fold(fixed, |(params, bytes), &(v, is_params)| {
            let (n, b) = size::constant(&self.model.graph, facts, v);
            (if is_params { params.saturating_add(n) } else { params }, bytes.saturating_add(b))
        })
    }

    pub(crate) fn launch(&self, launch: &Launch, facts: &Facts, cold: f64) -> LaunchCost {
        let graph = &self.model.graph;
        let node = NodeRef { graph, facts, id: launch.head, opset: launch.opset };
        let work = match &launch.rule {
            Ok(rule) => rule(&node).map_err(|e| e.to_string()),
            Err(why) => Err(why.clone()),
        };
        let bytes = |v| size::bytes(facts.get(v)).unwrap_or(0);
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
