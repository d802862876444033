//! Estimates: what a model costs on a target, node by node.

use crate::latency;
use crate::memory::{self, LiveRange};
use crate::schedule::{Launch, Role};
use crate::{Pricer, Target};
use sparsec_ir::{Facts, Graph, Model, NodeId, OpTable, ValueId};
use std::borrow::Cow;

/// A time in ms with its error bar.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Interval {
    /// Best guess.
    pub mid: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// What one node costs. A node that runs inside another's kernel costs nothing by itself: the figures of a kernel
/// stand with the node that it is named after.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeCost {
    /// How a person finds the node.
    pub label: String,
    /// Operator.
    pub op: String,
    /// Kernel, with the sizes that decide.
    pub kernel: String,
    /// Multiply-accumulates.
    pub macs: u64,
    /// Bytes of activations read.
    pub read_bytes: u64,
    /// Bytes of activations written.
    pub write_bytes: u64,
    /// Bytes of constants read.
    pub weight_bytes: u64,
    /// Time.
    pub latency_ms: Interval,
    /// Label of the node in whose kernel this one runs.
    pub fused_into: Option<String>,
    /// What the figures leave out or assume.
    pub notes: Vec<String>,
}

/// Memory of one inference.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Memory {
    /// Bytes that the runtime holds: weights and activations.
    pub peak: u64,
    /// Bytes that it holds for weights, prepacked copies included.
    pub weights: u64,
    /// Bytes that it holds for activations at the worst moment.
    pub activations: u64,
    /// The largest set of buffers that live at once: no allocator can do with less in this order.
    pub lower_bound: u64,
    /// Every buffer.
    pub ranges: Vec<LiveRange>,
    /// Kernels in order, by the label of their node: the time axis of `ranges` and `live`.
    pub steps: Vec<String>,
    /// Bytes that live during each kernel.
    pub live: Vec<u64>,
}

/// What a model costs on a target.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Estimate {
    /// Name of the target.
    pub target: String,
    /// Whether the target's figures were fitted to measurements.
    pub calibrated: bool,
    /// Every node, in the order of execution.
    pub nodes: Vec<NodeCost>,
    /// Time of one inference. Errors of kernels are added, as if they all erred the same way: they share a class.
    pub latency_ms: Interval,
    /// Memory of one inference.
    pub memory: Memory,
    /// Energy of one inference in mJ.
    pub energy_mj: f64,
    /// Multiply-accumulates of contractions.
    pub macs: u64,
    /// Parameters: elements of floating-point constants of rank 1 or more that reach a node as an operand, those of
    /// subgraphs and attributes included, shared ones once. Scalars and whole-number constants are none.
    pub params: u64,
    /// Bytes of all constants: what the file takes but for names and structure.
    pub file_bytes: u64,
    /// What the estimate as a whole leaves out or assumes.
    pub notes: Vec<String>,
}

/// Estimates what `model` costs on `target`. `facts` are bound to sizes, and may be those of a plan: shapes that shrank
/// while the graph's attributes stayed.
///
/// Nodes without a work rule are priced by the bytes they touch, and values of unknown size at nothing; notes say so.
/// A graph with a cycle has no order of execution: its estimate holds nothing but a note.
pub fn estimate(model: &Model, facts: &Facts, table: &OpTable, target: &Target) -> Estimate {
    Pricer::new(Cow::Borrowed(model), facts, table, target).estimate(facts)
}

impl Pricer<'_> {
    /// The full estimate under `facts`; its totals are those of [`Pricer::price`].
    pub fn estimate(&self, facts: &Facts) -> Estimate {
        let (graph, target) = (&self.model.graph, self.target);
        let price = self.price(facts);
        let cold = latency::cold_share(price.weight_bytes, target);
        let run = target.overhead.run_us / 1e3;
        let mut out = Estimate {
            target: target.name.clone(),
            calibrated: target.calibrated,
            latency_ms: Interval { mid: price.latency_ms, low: run, high: run },
            energy_mj: price.energy_mj,
            macs: price.macs,
            params: price.params,
            file_bytes: price.weight_bytes,
            ..Estimate::default()
        };
        for launch in &self.schedule.launches {
            let node = self.node(launch, facts, cold);
            out.latency_ms.low += node.latency_ms.low;
            out.latency_ms.high += node.latency_ms.high;
            out.memory.steps.push(node.label.clone());
            let fused = launch.fused.iter().map(|f| fused(graph, f.node, &node.label)).collect::<Vec<_>>();
            out.nodes.push(node);
            out.nodes.extend(fused);
        }
        let ranges = self.buffers.iter().map(|b| LiveRange {
            value: b.values.first().map_or(String::new(), |&v| graph.value(v).name.clone()),
            bytes: b.bytes(facts),
            from: b.from,
            to: b.to,
        });
        out.memory.ranges = ranges.collect();
        out.memory.live = memory::timeline(&self.buffers, facts, self.schedule.launches.len());
        out.memory.lower_bound = out.memory.live.iter().copied().max().unwrap_or(0);
        out.memory.activations = price.peak_activation_bytes;
        out.memory.weights = self.held_weights(price.weight_bytes);
        out.memory.peak = price.memory_bytes;
        if !self.schedule.cycle.is_empty() {
            let names: Vec<String> = self.schedule.cycle.iter().map(|&n| format!("`{}`", graph.label(n))).collect();
            out.notes.push(format!("the graph has a cycle through {}: nothing is priced", names.join(", ")));
        }
        if !target.calibrated {
            out.notes
                .push(format!("target `{}` is not calibrated: compare its figures, do not rely on them", target.name));
        }
        out
    }

    fn node(&self, launch: &Launch, facts: &Facts, cold: f64) -> NodeCost {
        let graph = &self.model.graph;
        let node = graph.node(launch.head);
        let cost = self.launch(launch, facts, cold);
        let mut notes = Vec::new();
        if let Err(why) = &cost.work {
            notes.push(format!("priced by the bytes it touches: {why}"));
        }
        if node.subgraphs().next().is_some() {
            notes.push("nodes of its subgraphs are not priced".to_string());
        }
        let unknown = |v: &&ValueId| facts.get(**v).byte_len().is_none();
        for &v in launch.reads.iter().chain(&launch.writes).filter(unknown) {
            notes.push(format!("the size of `{}` is not known and counts as 0 bytes", graph.value(v).name));
        }
        let (us, error) = if launch.role == Role::Free { (0.0, 0.0) } else { (cost.time.us, cost.time.error) };
        let free = launch.role == Role::Free;
        let traffic = |bytes: u64| if free { 0 } else { bytes };
        NodeCost {
            label: graph.label(launch.head),
            op: node.op_name(),
            kernel: match &cost.work {
                Ok(work) => latency::describe(&work.kernel, self.target),
                Err(_) => "unknown".to_string(),
            },
            macs: cost.work.as_ref().map_or(0, |w| w.macs),
            read_bytes: traffic(cost.traffic.read),
            write_bytes: traffic(cost.traffic.written),
            weight_bytes: traffic(cost.traffic.weights),
            latency_ms: Interval { mid: us / 1e3, low: us / 1e3 / (1.0 + error), high: us / 1e3 * (1.0 + error) },
            fused_into: None,
            notes,
        }
    }
}

fn fused(graph: &Graph, node: NodeId, host: &str) -> NodeCost {
    NodeCost {
        label: graph.label(node),
        op: graph.node(node).op_name(),
        kernel: "fused".to_string(),
        macs: 0,
        read_bytes: 0,
        write_bytes: 0,
        weight_bytes: 0,
        latency_ms: Interval::default(),
        fused_into: Some(host.to_string()),
        notes: Vec::new(),
    }
}
