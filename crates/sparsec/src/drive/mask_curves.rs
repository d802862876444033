//! What zeros of each weight cost at the output, as `sparsec sensitivity` writes it.

use super::cut::on_itself;
use super::footing::{Footing, footing};
use super::measure::compared;
use super::share::macs_of_node;
use super::{Curves, DriveError, Observer, Prepared, Pricing, Samples, bound_facts};
use serde::{Deserialize, Serialize};
use sparsec_calib::Known;
use sparsec_cost::Target;
use sparsec_ir::{Facts, Model, NodeId, Use, ValueId};
use sparsec_passes::mask::{WeightCurve, curves};
use sparsec_plan::{Curve, MaskPlan, Pattern};
use sparsec_runtime::Runtime;

/// Parts in which shares are counted, where the pattern leaves them open.
const PARTS: u32 = 32;
/// Share at which the output is measured, where the pattern leaves it open: plans lie on both sides of it.
const PROBED: f64 = 0.5;

/// Error curves of all weights under one pattern.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskCurves {
    /// Where zeros may lie.
    pub pattern: Pattern,
    /// One entry a weight, in the order of execution.
    pub weights: Vec<MaskErrors>,
    /// What the errors of both kinds are worth.
    pub footing: Footing,
}

/// Error curve of one weight.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskErrors {
    /// Name of the weight.
    pub weight: String,
    /// Parts of its blocks that may stay, ascending; the last is all of them. Empty where it cannot be masked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<u32>,
    /// Divergence of the output at each count, what stays re-solved and all else dense.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub error: Vec<f64>,
    /// Why it cannot be masked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

impl MaskErrors {
    /// The curve for the search; `None` where the weight cannot be masked.
    pub(super) fn curve(&self) -> Option<Curve> {
        (!self.counts.is_empty()).then(|| Curve::new(self.counts.clone(), self.error.clone()))
    }
    fn of(found: WeightCurve, pattern: Pattern) -> Self {
        let (weight, parts) = (found.weight, parts(pattern));
        match found.points {
            Err(why) => Self { weight, counts: Vec::new(), error: Vec::new(), why: Some(why.to_string()) },
            Ok(points) => {
                let at = |p: &(f64, f64)| ((p.0 * f64::from(parts)).round() as u32, p.1);
                let (counts, error) = points.iter().rev().map(at).unzip();
                let curve = Curve::new(counts, error);
                Self { weight, counts: curve.counts, error: curve.error, why: None }
            }
        }
    }
}

/// Parts of a weight in which a pattern's shares are counted.
fn parts(pattern: Pattern) -> u32 {
    match pattern {
        Pattern::Block(_) => PARTS,
        Pattern::Of { of, .. } => of,
    }
}

impl MaskCurves {
    /// The first node that reads a weight.
    pub fn reader(&self, model: &Model, of: &MaskErrors) -> Option<NodeId> {
        Some(reader(model, &of.weight)?.1)
    }
    /// Weights that can be masked, the nodes that read them, and the parts in which their shares are counted.
    pub(super) fn maskable(&self, model: &Model) -> Vec<(ValueId, NodeId, u32)> {
        let one = |w: &MaskErrors| {
            let (value, node) = reader(model, &w.weight)?;
            Some((value, node, *w.counts.last()?))
        };
        self.weights.iter().filter_map(one).collect()
    }
    /// Curves of the weights that can be masked.
    pub(super) fn curves(&self) -> impl Iterator<Item = Curve> + '_ {
        self.weights.iter().filter_map(MaskErrors::curve).map(|c| c.scaled(self.footing.masks))
    }
    /// Masks of the weights that lose something, without what stays of each; `shares` are of those that can be masked.
    pub(super) fn plans(&self, shares: &[f64]) -> Vec<MaskPlan> {
        let can = self.weights.iter().filter(|w| !w.counts.is_empty());
        let some = can.zip(shares).filter(|(_, share)| **share < 1.0);
        some.map(|(w, share)| MaskPlan::open(&w.weight, self.pattern, *share)).collect()
    }
    /// Checks that the curves are of this model.
    pub(super) fn check(&self, model: &Model) -> Result<(), DriveError> {
        for w in &self.weights {
            let wrong = |why| Err(DriveError::Curves { what: "weight", id: w.weight.clone(), why });
            let rising = w.counts.windows(2).all(|c| c[0] < c[1]) && w.counts.first() != Some(&0);
            let ends = w.counts.last().is_none_or(|c| *c == parts(self.pattern));
            if reader(model, &w.weight).is_none() {
                return wrong("is not in the model");
            }
            let footing = [self.footing.channels, self.footing.masks];
            if footing.iter().any(|f| !f.is_finite() || *f < 0.0) {
                return wrong("has a footing that is no number");
            }
            if !rising || !ends || w.counts.len() != w.error.len() || w.error.iter().any(|e| !e.is_finite()) {
                return wrong("has counts or errors that do not fit");
            }
        }
        Ok(())
    }
}

/// A weight of the model, and the first node that reads it.
fn reader(model: &Model, weight: &str) -> Option<(ValueId, NodeId)> {
    let value = model.graph.find(weight).filter(|v| model.graph.constant(*v).is_some())?;
    let node = model.graph.value(value).uses.iter().find_map(|u| match u {
        Use::Operand(node, _) => Some(*node),
        _ => None,
    });
    Some((value, node?))
}

/// Adds to the curves of groups and branches what zeros of each weight of the dense model cost at the output; errors that
/// are `known` are taken as they are.
pub fn measure_masks(
    dense: &Prepared,
    curves: &Curves,
    pattern: Pattern,
    (runtime, target): (&dyn Runtime, &Target),
    (samples, known): (&Samples, &dyn Known),
    watch: &dyn Observer,
) -> Result<Curves, DriveError> {
    let at = (pattern, pattern.share().unwrap_or(PROBED));
    let (found, facts) = curves_of(dense, &dense.model, at, runtime, (samples, known), watch)?;
    let weights = found.into_iter().map(|w| MaskErrors::of(w, pattern)).collect();
    let mut masks = MaskCurves { pattern, weights, footing: Footing::default() };
    let pricing = Pricing::new(dense, facts, target, curves.orders(), 0, watch).with_masks(&masks);
    let plain = Curves { masks: Some(masks.clone()), ..curves.clone() };
    masks.footing = footing(dense, &plain, &pricing, runtime, (samples, known), watch)?;
    drop(pricing);
    Ok(Curves { masks: Some(masks), ..plain })
}

/// Curves of all weights of `model`, the dense one or one cut from it, measured at a share; and its facts for one sample.
pub(super) fn curves_of(
    dense: &Prepared,
    model: &Model,
    (pattern, density): (Pattern, f64),
    runtime: &dyn Runtime,
    (samples, known): (&Samples, &dyn Known),
    watch: &dyn Observer,
) -> Result<(Vec<WeightCurve>, Facts), DriveError> {
    let facts = bound_facts(model, &dense.table, &dense.sizes(1, &dense.sizes_of(&samples.shapes()))?);
    let all = model.graph.nodes().map(|(id, _)| macs_of_node(model, &dense.table, &facts, id)).sum();
    let (inputs, reference) = compared((model, &facts), (runtime, &dense.table), &samples.parts, samples, all)?;
    let probe = |weight: &str, alone: &Model, _: f64| {
        // No group is called so: those are named after an axis, behind a colon.
        let (id, parts) = (format!("{weight} {pattern}"), (density * f64::from(parts(pattern))).round() as u32);
        if let Some(error) = known.error(&id, parts) {
            return Ok(error);
        }
        let error = reference.divergence_of(runtime, alone, &inputs)?;
        known.found(&id, parts, error);
        Ok(error)
    };
    let at = (pattern, density);
    let found = on_itself(dense, model, (runtime, samples), (watch, "masks"), |cx| Ok(curves(cx, model, at, &probe)?))?;
    Ok((found, facts))
}
