//! What the errors of channels and those of masks are worth against each other.
//!
//! Both are divergences of the output that one removal makes by itself, but not alike: when channels are probed only what
//! reads them stands in for them, and when a weight is probed it is re-solved. How much of either recovery makes good, and
//! how errors of several removals add up, differs by kind and by model. So a whole plan of each kind is carried out once, at
//! half the multiplications, and what is left after recovery is divided by what the curves say. (Of the networks in
//! `testdata/models`, channels come to 0.27 and masks to 1.14 of it in `glyph-resnet`, to 0.89 and 1.02 in
//! `glyph-mobilenet`, to 1.25 and 0.89 in `glyph-vit`.)

use super::measure::compared;
use super::memory::apart;
use super::{Curves, DriveError, Observer, Prepared, Pricing, Samples, cut_and_recover};
use serde::{Deserialize, Serialize};
use sparsec_analysis::Removal;
use sparsec_calib::Known;
use sparsec_ir::Model;
use sparsec_plan::{Curve, Evaluate, Limit, LimitKind, MaskPlan, search};
use sparsec_runtime::Runtime;

/// Divergence of a whole plan after recovery, by the sum of its errors.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Footing {
    /// Of a plan that cuts channels and branches.
    pub channels: f64,
    /// Of a plan that masks weights.
    pub masks: f64,
}

impl Default for Footing {
    fn default() -> Self {
        Self { channels: 1.0, masks: 1.0 }
    }
}

/// Share of the multiplications at which plans are compared.
const COMPARED_AT: f64 = 0.5;
/// Error below which nothing was measured.
const LEAST: f64 = 1e-6;

/// Carries out a plan of each kind; divergences that are `known` are taken as they are. `pricing` is that of the masks of
/// `curves`. Samples that judge a plan are none of those that its weights were solved on.
pub(super) fn footing(
    dense: &Prepared,
    curves: &Curves,
    pricing: &Pricing,
    runtime: &dyn Runtime,
    (samples, known): (&Samples, &dyn Known),
    watch: &dyn Observer,
) -> Result<Footing, DriveError> {
    let (fitted, unseen) = apart(&samples.parts);
    let fitted = Samples { parts: fitted, ..*samples };
    let full = pricing.whole();
    let before = pricing.price(&full);
    let facts = super::memory::bound(dense, samples)?;
    let (inputs, reference) =
        compared((&dense.model, &facts), (runtime, &dense.table), &unseen, samples, before.macs as u64)?;
    let limit = Limit { kind: LimitKind::Macs, at_most: COMPARED_AT * before.macs };
    let choices = dense.whole().len();
    // The kind that is not compared stays whole.
    let found = |masks: bool| {
        let fixed = |(at, c): (usize, Curve)| if (at >= choices) == masks { c } else { whole(&c) };
        search(&curves.curves(dense).into_iter().enumerate().map(fixed).collect::<Vec<_>>(), &[limit], pricing)
    };
    let ratio = |name: &str, error: f64, model: &dyn Fn() -> Result<Model, DriveError>| {
        if error < LEAST {
            return Ok(1.0);
        }
        let id = format!("half of the multiplications by {name}");
        let divergence = match known.error(&id, 0) {
            Some(divergence) => divergence,
            None => reference.divergence_of(runtime, &model()?, &inputs)?,
        };
        known.found(&id, 0, divergence);
        Ok::<f64, DriveError>(divergence / error)
    };
    let cut = |removal: &Removal, masks: &[MaskPlan]| {
        Ok(cut_and_recover(dense, removal, masks, runtime, &fitted, watch)?.model)
    };
    let by_channels = found(false)?;
    let channels = ratio("channels", by_channels.error, &|| cut(&pricing.removal(&by_channels.keep), &[]))?;
    let by_masks = found(true)?;
    let plans: Vec<MaskPlan> = curves.masks.iter().flat_map(|m| m.plans(&pricing.shares(&by_masks.keep))).collect();
    let name = curves.masks.as_ref().map_or(String::new(), |m| format!("masks {}", m.pattern));
    let masks = ratio(&name, by_masks.error, &|| cut(&Removal::none(&dense.channels), &plans))?;
    Ok(Footing { channels, masks })
}

/// The curve of what may not be cut.
fn whole(curve: &Curve) -> Curve {
    let last = |list: &[u32]| list.last().copied().unwrap_or(0);
    Curve::new(vec![last(&curve.counts)], vec![0.0])
}
