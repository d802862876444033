//! Masks of a plan in a model: whether they fit, weights without what they take away, and whether weights hold them.

use super::units::{Units, Unmaskable};
use crate::recover::{Map, Subject};
use sparsec_calib::{CalibError, Linear};
use sparsec_ir::{Facts, Model, NodeId, OpTable, Use, ValueId};
use sparsec_plan::{MaskPlan, Pattern};
use std::collections::BTreeMap;
use thiserror::Error;

/// Why a plan's masks cannot be carried out.
#[derive(Debug, Error)]
pub enum MaskError {
    /// The model has no such weight.
    #[error("the model has no weight `{weight}` that could be masked")]
    NoSuchWeight {
        /// Name in the plan.
        weight: String,
    },
    /// The weight cannot have the pattern.
    #[error("weight `{weight}` cannot be masked: {why}")]
    Unmaskable {
        /// Name in the plan.
        weight: String,
        /// Why.
        why: Unmaskable,
    },
    /// A stored mask of another size.
    #[error("the mask of `{weight}` is of {found} blocks, and its weight has {wanted}")]
    Size {
        /// Name in the plan.
        weight: String,
        /// Blocks in the plan, up to 23 too many.
        found: usize,
        /// Blocks that the weight has.
        wanted: usize,
    },
    /// The plan says how much stays of a weight, but not what.
    #[error("the plan does not say which blocks of `{weight}` stay")]
    Open {
        /// Name in the plan.
        weight: String,
    },
    /// A weight cannot be written.
    #[error(transparent)]
    Calib(#[from] CalibError),
}

/// The weight of a node that could be masked; `None` where it has none that recovery knows.
pub(crate) fn subject((model, facts, table): (&Model, &Facts, &OpTable), node: NodeId) -> Option<Subject> {
    Subject::of((model, facts, table), node, Linear::of(model, facts, table, node)?).ok()
}

/// The units of a weight under a pattern, or why it stays dense.
pub(crate) fn units(model: &Model, subject: &Subject, pattern: Pattern) -> Result<Units, Unmaskable> {
    if subject.linear.inner.is_some() {
        return Err(Unmaskable::Inside);
    }
    match subject.refused(model) {
        Some(why) => Err(Unmaskable::NotSolved(why)),
        None => Units::of(&subject.layout, pattern),
    }
}

/// Finds the weight of a mask and its units, and the units that stay where the plan says which.
fn place(
    (model, facts, table): (&Model, &Facts, &OpTable),
    mask: &MaskPlan,
) -> Result<(Subject, Units, Option<Vec<bool>>), MaskError> {
    let weight = mask.weight.clone();
    let reader = |v: ValueId| {
        model.graph.value(v).uses.iter().find_map(|u| match u {
            Use::Operand(node, _) => subject((model, facts, table), *node).filter(|s| s.value == v),
            _ => None,
        })
    };
    let Some(found) = model.graph.find(&weight).and_then(reader) else {
        return Err(MaskError::NoSuchWeight { weight });
    };
    let units =
        units(model, &found, mask.pattern).map_err(|why| MaskError::Unmaskable { weight: weight.clone(), why })?;
    let kept = match &mask.kept {
        Some(bits) => {
            let (flags, wanted) = (bits.flags(), units.count());
            if flags.len() != wanted.next_multiple_of(24) || flags[wanted..].contains(&true) {
                return Err(MaskError::Size { weight, found: flags.len(), wanted });
            }
            Some(flags[..wanted].to_vec())
        }
        None => None,
    };
    Ok((found, units, kept))
}

/// A plan's masks by the weight that each is of, in a model from which the plan's channels have been removed.
pub type Places = BTreeMap<ValueId, MaskPlan>;

/// Finds the weights of a plan's masks in a model.
///
/// # Errors
/// Where a mask does not fit.
pub fn places(cx: (&Model, &Facts, &OpTable), masks: &[MaskPlan]) -> Result<Places, MaskError> {
    masks.iter().map(|m| Ok((place(cx, m)?.0.value, m.clone()))).collect()
}

/// Zeros what a plan's masks take away, and leaves the rest as it is.
///
/// # Errors
/// Where a mask does not fit, or the plan does not say what it takes away.
pub fn zeroed(model: &mut Model, facts: &Facts, table: &OpTable, masks: &[MaskPlan]) -> Result<(), MaskError> {
    for mask in masks {
        let (subject, units, kept) = place((model, facts, table), mask)?;
        let kept = kept.ok_or_else(|| MaskError::Open { weight: mask.weight.clone() })?;
        let mut maps: Vec<Map> = (0..units.groups).map(|g| subject.map(g)).collect();
        maps.iter_mut().enumerate().for_each(|(g, map)| units.zero(map, g, &kept));
        subject.write(model, &maps.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// Weights of `model` that have other zeros than a plan's masks say, or fewer.
///
/// # Errors
/// Where a mask does not fit.
pub fn holds(cx: (&Model, &Facts, &OpTable), masks: &[MaskPlan]) -> Result<Vec<String>, MaskError> {
    let mut out = Vec::new();
    for mask in masks {
        let (subject, units, kept) = place(cx, mask)?;
        let found: Vec<bool> = (0..units.groups).flat_map(|g| units.nonzero(&subject.map(g))).collect();
        let held = match kept {
            Some(kept) => found.iter().zip(&kept).all(|(found, kept)| *kept || !found),
            None => units.allows(&found, mask.density),
        };
        if !held {
            out.push(mask.weight.clone());
        }
    }
    Ok(out)
}
