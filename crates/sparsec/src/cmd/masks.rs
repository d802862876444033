//! Masks of weights: how they are asked for, and what is told of them.

use crate::names::Names;
use crate::table::plural;
use crate::values;
use clap::Args;
use sparsec::drive::{Cut, MaskDecision, WeightMask};
use sparsec_plan::{MaskPlan, Pattern};
use sparsec_report::Mask;

/// Which weights become partly zero; they keep their shapes.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Masks")]
pub(crate) struct MaskArgs {
    /// Zero weights in a pattern: `4x1` or `8x1` (outputs in a row that share their zeros), `2:4` (of inputs in a row), `1x1` (any). Samples choose which, and the others are re-solved.
    #[arg(long, value_name = "PATTERN", conflicts_with = "random_plan")]
    mask: Option<Pattern>,
    /// Share of the multiplications that stay, of all weights that the pattern fits: spread so that least is lost. Without it, and with limits, masks are planned together with channels, and a limit on multiply-accumulates counts those that are not by zero; without limits 50 %, or what the pattern leaves.
    #[arg(long, value_name = "SHARE", requires = "mask", value_parser = values::keep)]
    mask_density: Option<f64>,
}

impl MaskArgs {
    /// The pattern of masks that are planned together with channels, within the limits (`limited`).
    pub(crate) fn planned(&self, limited: bool) -> Option<Pattern> {
        self.mask.filter(|_| limited && self.mask_density.is_none())
    }
    /// The pattern, and the share that stays of whatever the channels leave; `None` where no such masks are wanted.
    pub(crate) fn given(&self, limited: bool) -> Option<(Pattern, f64)> {
        let pattern = self.mask.filter(|_| self.planned(limited).is_none())?;
        Some((pattern, self.mask_density.or(pattern.share()).unwrap_or(0.5)))
    }
}

/// The masks as the plan has them, with the reason of each share.
pub(super) fn planned(decision: &MaskDecision, cut: &Cut) -> Vec<MaskPlan> {
    let why = |m: &MaskPlan| decision.weights.iter().find(|w| w.weight == m.weight).map(why);
    cut.masks.iter().map(|m| MaskPlan { why: why(m), ..m.clone() }).collect()
}

fn why(w: &WeightMask) -> String {
    match &w.error {
        Err(why) => why.to_string(),
        Ok(_) if w.density >= 1.0 => "zeros cost more here than elsewhere".to_string(),
        Ok(error) => format!("by themselves, these zeros make the output diverge by {error:.1e}"),
    }
}

/// The masks of a report: every weight that was looked at.
pub(super) fn rows(decision: &MaskDecision, cut: &Cut) -> Vec<Mask> {
    let names = Names::of(&cut.model.graph);
    let row = |w: &WeightMask| {
        let done = cut.masks.iter().any(|m| m.weight == w.weight);
        let solved = cut.recovered.iter().find(|r| r.mask.as_ref().is_some_and(|m| m.weight == w.weight));
        Mask {
            weight: w.weight.clone(),
            title: names.node(&cut.model.graph, w.node),
            pattern: decision.pattern.to_string(),
            density: if done { w.density } else { 1.0 },
            macs: w.macs,
            error: solved.and_then(|r| Some(r.outcome.as_ref().ok()?.1)),
            why: if done || w.density >= 1.0 { why(w) } else { "it could not be solved".to_string() },
        }
    };
    decision.weights.iter().map(row).collect()
}

/// What of a plan's masks was reached, in words; `counted` where a limit on multiply-accumulates counts their zeros.
pub(super) fn told(decision: &MaskDecision, target: &str, counted: bool) -> (String, Option<String>) {
    let masked = decision.plans().len();
    let (pattern, reached) = (decision.pattern, 100.0 * decision.reached());
    let fit = decision.weights.iter().filter(|w| w.error.is_ok()).count();
    let note = format!(
        "{masked} of {} masked {pattern}: {reached:.1} % of the multiplications with the {fit} that the pattern fits are not by zero; zeros \
         save no time or memory on `{target}`, for which no sparse kernels are known, and {} counts them",
        plural(decision.weights.len(), "weight is", "weights are"),
        if counted { "the limit on multiply-accumulates alone" } else { "no limit" },
    );
    let missed = decision.reached() > decision.asked + 1e-3;
    let warning =
        format!("density {:.1} % is out of reach under {pattern}: {reached:.1} % stay", 100.0 * decision.asked);
    (note, missed.then_some(warning))
}
