//! From estimates to reports.

use crate::{Interval, Memory, Moment, Node, Side};
use sparsec_cost::{Estimate, NodeCost};

impl From<sparsec_cost::Interval> for Interval {
    fn from(i: sparsec_cost::Interval) -> Self {
        Self { total: i.mid, low: i.low, high: i.high }
    }
}

impl From<&NodeCost> for Node {
    fn from(n: &NodeCost) -> Self {
        Self {
            label: n.label.clone(),
            op: n.op.clone(),
            kernel: n.kernel.clone(),
            macs: n.macs,
            read_bytes: n.read_bytes,
            write_bytes: n.write_bytes,
            weight_bytes: n.weight_bytes,
            latency_ms: n.latency_ms.into(),
            fused_into: n.fused_into.clone(),
            notes: n.notes.clone(),
        }
    }
}

/// A side without a metric; the file's size is that of the constants.
impl From<&Estimate> for Side {
    fn from(e: &Estimate) -> Self {
        let m = &e.memory;
        Self {
            latency_ms: e.latency_ms.into(),
            memory_bytes: Memory {
                peak: m.peak,
                weights: m.weights,
                activations: m.activations,
                lower_bound: m.lower_bound,
            },
            energy_mj: e.energy_mj,
            macs: e.macs,
            params: e.params,
            file_bytes: e.file_bytes,
            metric: None,
            nodes: e.nodes.iter().map(Node::from).collect(),
            timeline: (m.steps.iter().zip(&m.live))
                .map(|(label, &bytes)| Moment { label: label.clone(), bytes })
                .collect(),
        }
    }
}
