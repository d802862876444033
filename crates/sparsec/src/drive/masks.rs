//! How much of each weight is zero.

use super::cut::{options, progress};
use super::measure::compared;
use super::share::macs_of_node;
use super::{DriveError, Observer, Prepared, Samples, bound_facts};
use sparsec_ir::{Model, NodeId};
use sparsec_passes::mask::{Places, Unmaskable, WeightCurve, curves};
use sparsec_passes::recover::Recovery;
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
    /// Masks of the weights that lose something, without what stays of each.
    pub fn plans(&self) -> Vec<MaskPlan> {
        let some = self.weights.iter().filter(|w| w.density < 1.0);
        let plan = |w: &WeightMask| MaskPlan {
            weight: w.weight.clone(),
            pattern: self.pattern,
            density: w.density,
            kept: None,
            why: None,
        };
        some.map(plan).collect()
    }
    /// Share of the multiplications that stays, of weights that can be masked; 1 where none can.
    pub fn reached(&self) -> f64 {
        let can = || self.weights.iter().filter(|w| w.error.is_ok());
        let dense: f64 = can().map(|w| w.macs as f64).sum();
        if dense > 0.0 { can().map(|w| w.macs as f64 * w.density).sum::<f64>() / dense } else { 1.0 }
    }
}

/// Spreads `density` of the multiplications over the weights of `model`, the dense one or one cut from it, so that the
/// divergences of the output that masks of single weights make add up to the least.
pub fn decide_masks(
    dense: &Prepared,
    model: &Model,
    (pattern, density): (Pattern, f64),
    runtime: &dyn Runtime,
    samples: &Samples,
    watch: &dyn Observer,
) -> Result<MaskDecision, DriveError> {
    let progress = progress(watch, "masks");
    let cx = Recovery {
        dense: model,
        kept: &|_, _| None,
        masks: &Places::new(),
        table: &dense.table,
        runtime,
        samples: &samples.parts,
        threads: samples.threads,
        options: options(dense, samples)?,
        progress: &progress,
    };
    let facts = bound_facts(model, &dense.table, &dense.sizes(1, &dense.sizes_of(&samples.shapes()))?);
    let all = model.graph.nodes().map(|(id, _)| macs_of_node(model, &dense.table, &facts, id)).sum();
    let (inputs, reference) = compared((model, &facts), runtime, &samples.parts, samples, all)?;
    let probe = |alone: &Model, _: f64| reference.divergence_of(runtime, alone, &inputs);
    let found = curves(&cx, model, (pattern, density), &probe)?;
    let macs = |c: &WeightCurve| macs_of_node(model, &dense.table, &facts, c.node);
    let maskable = found.iter().filter_map(|c| {
        let points = c.points.as_ref().ok()?.clone();
        Some(MaskCurve { macs: macs(c) as f64, points, fixed: pattern.share().is_some() })
    });
    let maskable: Vec<MaskCurve> = maskable.collect();
    let mut shares = allocate(&maskable, density).into_iter().zip(&maskable);
    let weight = |c: WeightCurve| {
        let macs = macs(&c);
        let (density, error) = match c.points {
            Ok(_) => shares.next().map_or((1.0, Ok(0.0)), |(share, curve)| (share, Ok(curve.error(share)))),
            Err(why) => (1.0, Err(why)),
        };
        WeightMask { weight: c.weight, node: c.node, macs, density, error }
    };
    Ok(MaskDecision { pattern, asked: density, weights: found.into_iter().map(weight).collect() })
}
