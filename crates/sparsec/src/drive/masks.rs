//! How much of each weight is zero.

use super::mask_curves::curves_of;
use super::share::macs_of_node;
use super::{DriveError, Nothing, Observer, Prepared, Samples};
use sparsec_ir::{Model, NodeId};
use sparsec_passes::mask::{Unmaskable, WeightCurve};
use sparsec_plan::{MaskCurve, MaskPlan, Pattern, allocate};
use sparsec_runtime::Runtime;

/// A weight, and how much of it stays.
#[derive(Clone, Debug)]
pub struct WeightMask {
    /// Its name.
    pub weight: String,
    /// The node that reads it.
    pub node: NodeId,
    /// Multiply-accumulates of the node, with the dense weight.
    pub macs: u64,
    /// Share of its blocks that stays, 1 where it stays dense.
    pub density: f64,
    /// Divergence of the output that the zeros make by themselves; or why the weight cannot be masked.
    pub error: Result<f64, Unmaskable>,
}

/// Weights that are masked under one pattern.
#[derive(Clone, Debug)]
pub struct MaskDecision {
    /// Where zeros may lie.
    pub pattern: Pattern,
    /// Share of the multiplications that was to stay, of weights that can be masked.
    pub asked: f64,
    /// All weights, in the order of the graph.
    pub weights: Vec<WeightMask>,
}

impl MaskDecision {
    /// What the zeros of all weights cost, each by itself.
    pub fn error(&self) -> f64 {
        self.weights.iter().filter_map(|w| w.error.as_ref().ok()).sum()
    }
    /// Masks of the weights that lose something, without what stays of each.
    pub fn plans(&self) -> Vec<MaskPlan> {
        let some = self.weights.iter().filter(|w| w.density < 1.0);
        some.map(|w| MaskPlan::open(&w.weight, self.pattern, w.density)).collect()
    }
    /// Multiplications by zero that the masks of `done` make.
    pub fn saved(&self, done: &[MaskPlan]) -> f64 {
        let masked = self.weights.iter().filter(|w| done.iter().any(|m| m.weight == w.weight));
        masked.map(|w| w.macs as f64 * (1.0 - w.density)).sum()
    }
    /// Share of the multiplications that stays, of weights that can be masked; 1 where none can.
    pub fn reached(&self) -> f64 {
        let can = || self.weights.iter().filter(|w| w.error.is_ok());
        let dense: f64 = can().map(|w| w.macs as f64).sum();
        if dense > 0.0 { can().map(|w| w.macs as f64 * w.density).sum::<f64>() / dense } else { 1.0 }
    }
}

/// How much is to stay.
#[derive(Clone, Copy, Debug)]
pub enum Stays {
    /// This share of the multiplications with weights that can be masked.
    Share(f64),
    /// So many multiplications of the whole model, of which weights that can be masked are thought to keep a share.
    Macs(f64, f64),
}

/// Spreads what is to stay over the weights of `model`, the dense one or one cut from it, so that the divergences of the
/// output that masks of single weights make add up to the least.
pub fn decide_masks(
    dense: &Prepared,
    model: &Model,
    (pattern, stays): (Pattern, Stays),
    runtime: &dyn Runtime,
    samples: &Samples,
    watch: &dyn Observer,
) -> Result<MaskDecision, DriveError> {
    let (Stays::Share(probed) | Stays::Macs(_, probed)) = stays;
    let (found, facts) = curves_of(dense, model, (pattern, probed), runtime, (samples, &Nothing), watch)?;
    let macs = |node: NodeId| macs_of_node(model, &dense.table, &facts, node) as f64;
    let maskable = found.iter().filter_map(|c| {
        let points = c.points.as_ref().ok()?.clone();
        Some(MaskCurve { macs: macs(c.node), points, fixed: pattern.share().is_some() })
    });
    let maskable: Vec<MaskCurve> = maskable.collect();
    let asked = match stays {
        Stays::Share(share) => share,
        Stays::Macs(at_most, _) => {
            let can: f64 = maskable.iter().map(|c| c.macs).sum();
            let rest = model.graph.nodes().map(|(id, _)| macs(id)).sum::<f64>() - can;
            ((at_most - rest) / can.max(f64::MIN_POSITIVE)).clamp(0.0, 1.0)
        }
    };
    let mut shares = allocate(&maskable, asked).into_iter().zip(&maskable);
    let weight = |c: WeightCurve| {
        let (density, error) = match c.points {
            Ok(_) => shares.next().map_or((1.0, Ok(0.0)), |(share, curve)| (share, Ok(curve.error(share)))),
            Err(why) => (1.0, Err(why)),
        };
        WeightMask { weight: c.weight, node: c.node, macs: macs(c.node) as u64, density, error }
    };
    Ok(MaskDecision { pattern, asked, weights: found.into_iter().map(weight).collect() })
}
