//! Masks of a plan in a model: whether they fit, weights without what they take away, and whether weights hold them.

use super::units::{Units, Unmaskable};
use crate::recover::{Layout, Skipped, has_rows, shared};
use sparsec_calib::{Linear, Weight};
use sparsec_ir::{Facts, Model, NodeId, OpTable, Tensor, TensorError, Use, ValueId};
use sparsec_plan::{MaskPlan, Pattern};
use std::collections::BTreeMap;
use std::sync::Arc;
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
    /// A weight cannot be read or written.
    #[error("weight `{weight}`: {source}")]
    Weight {
        /// Name.
        weight: String,
        /// Why.
        source: TensorError,
    },
}

/// A weight that can be masked.
pub(crate) struct Place {
    pub(crate) node: NodeId,
    pub(crate) linear: Linear,
    pub(crate) value: ValueId,
    tensor: Arc<Tensor>,
    pub(crate) weight: Weight,
    pub(crate) layout: Layout,
}

impl Place {
    /// The weight of a node; `None` where it has none that recovery knows.
    pub(crate) fn of((model, facts, table): (&Model, &Facts, &OpTable), node: NodeId) -> Option<Self> {
        let linear = Linear::of(model, facts, table, node)?;
        let value = linear.weight_of(model, node)?;
        let tensor = model.graph.constant(value)?.clone();
        let weight = linear.weight(&tensor).ok()?;
        let layout = Layout::of(&weight, &linear.form);
        Some(Self { node, linear, value, tensor, weight, layout })
    }
    /// Its units under a pattern, or why it stays dense.
    pub(crate) fn units(&self, model: &Model, pattern: Pattern) -> Result<Units, Unmaskable> {
        if self.linear.inner.is_some() {
            return Err(Unmaskable::Inside);
        }
        if !has_rows(&self.linear.form) {
            return Err(Unmaskable::NotSolved(Skipped::Form));
        }
        if shared(model, self.value) {
            return Err(Unmaskable::NotSolved(Skipped::Shared));
        }
        Units::of(&self.layout, pattern)
    }
}

/// Finds the weight of a mask and its units, and the units that stay where the plan says which.
fn place(
    (model, facts, table): (&Model, &Facts, &OpTable),
    mask: &MaskPlan,
) -> Result<(Place, Units, Option<Vec<bool>>), MaskError> {
    let weight = mask.weight.clone();
    let reader = |v: ValueId| {
        model.graph.value(v).uses.iter().find_map(|u| match u {
            Use::Operand(node, _) => Place::of((model, facts, table), *node).filter(|p| p.value == v),
            _ => None,
        })
    };
    let Some(place) = model.graph.find(&weight).and_then(reader) else {
        return Err(MaskError::NoSuchWeight { weight });
    };
    let units =
        place.units(model, mask.pattern).map_err(|why| MaskError::Unmaskable { weight: weight.clone(), why })?;
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
    Ok((place, units, kept))
}

/// A plan's masks by the weight that each is of, in `model`, from which the plan's channels have been removed.
///
/// # Errors
/// Where a mask does not fit.
pub type Places = BTreeMap<ValueId, MaskPlan>;

/// Finds the weights of a plan's masks in `model`.
pub fn places(cx: (&Model, &Facts, &OpTable), masks: &[MaskPlan]) -> Result<Places, MaskError> {
    masks.iter().map(|m| Ok((place(cx, m)?.0.value, m.clone()))).collect()
}

/// Zeros what a plan's masks take away, and leaves the rest as it is.
///
/// # Errors
/// Where a mask does not fit, or the plan does not say what it takes away.
pub fn zeroed(model: &mut Model, facts: &Facts, table: &OpTable, masks: &[MaskPlan]) -> Result<(), MaskError> {
    for mask in masks {
        let (place, units, kept) = place((model, facts, table), mask)?;
        let kept = kept.ok_or_else(|| MaskError::Open { weight: mask.weight.clone() })?;
        let source = |source| MaskError::Weight { weight: mask.weight.clone(), source };
        let mut weight = place.weight.clone();
        let none = vec![0.0; place.layout.outputs()];
        for group in 0..place.layout.groups {
            let mut map = place.layout.read(&weight, &none, group);
            units.zero(&mut map, group, &kept);
            place.layout.write(&mut weight, &map, group);
        }
        model.graph.set_constant(place.value, weight.to_tensor(&place.tensor).map_err(source)?);
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
        let (place, units, kept) = place(cx, mask)?;
        let none = vec![0.0; place.layout.outputs()];
        let maps = (0..place.layout.groups).map(|g| place.layout.read(&place.weight, &none, g));
        let found: Vec<bool> = maps.flat_map(|map| units.nonzero(&map)).collect();
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
