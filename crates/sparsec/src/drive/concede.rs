//! Taking out what a user gives up: output classes, and entries of tables that no data names.
//!
//! The narrow model computes what the original does, without the outputs that were given up: `y'[j] = y[kept[j]]`. Data
//! goes on naming entries of tables by their old numbers: where entries other than the last left, the model translates.

use super::verify::Comparison;
use super::{DriveError, Prepared, difference, near, run};
use sparsec_analysis::{AxisId, AxisOwner, Channels, Removal, Slot, Slots, Stays, Tie, give_up};
use sparsec_ir::{Facts, Graph, Model, NodeId, OpTable, Policy, Tensor, TensorError, ValueId};
use sparsec_passes::remove::{RemoveError, remove};
use sparsec_plan::{GivenUp, Indices};
use sparsec_runtime::Runtime;
use std::collections::{BTreeMap, BTreeSet};
use thiserror::Error;

/// A canonical model before anything was given up.
pub struct Original {
    /// The model.
    pub model: Model,
    /// Its shapes.
    pub facts: Facts,
    /// What was given up of it.
    pub given_up: Slots,
}

/// Why something cannot be given up.
#[derive(Debug, Error)]
pub enum NarrowError {
    /// The model has no such value.
    #[error("nothing to give up of `{value}`: the canonical model has no such value")]
    NoValue {
        /// Name that was given.
        value: String,
        /// Names that are close.
        near: Vec<String>,
    },
    /// Nothing would be left.
    #[error("all of axis {axis} of `{value}` is given up: at least one entry must stay")]
    Whole {
        /// Value.
        value: String,
        /// Axis that was given.
        axis: i64,
    },
    /// The value has no such axis, or one of unknown length.
    #[error("nothing to give up of axis {axis} of `{value}`: there is no axis of this number and of known length")]
    NoAxis {
        /// Value.
        value: String,
        /// Axis that was given.
        axis: i64,
    },
    /// The axis has no such index.
    #[error("axis {axis} of `{value}` has indices 0-{last}, and {index} was given up")]
    NoIndex {
        /// Value.
        value: String,
        /// Axis.
        axis: i64,
        /// Last index.
        last: u64,
        /// Index that was given.
        index: u32,
    },
    /// Something else needs the slot.
    #[error("`{slot}` cannot be given up: {why}")]
    Stays {
        /// Value, axis and index.
        slot: String,
        /// What needs it.
        why: Need,
    },
    /// It could not be taken out.
    #[error(transparent)]
    Remove(#[from] RemoveError),
    /// Outputs of the original cannot be narrowed for a comparison.
    #[error("output `{value}` cannot be narrowed: {source}")]
    Output {
        /// Output.
        value: String,
        /// Why.
        source: TensorError,
    },
}

/// What needs a slot that a user wants to give up.
#[derive(Debug, Error)]
pub enum Need {
    /// It never leaves.
    #[error("{reason}{}", stated(at, node.as_deref()))]
    Frozen {
        /// Reason.
        reason: String,
        /// Slot that it is stated of.
        at: String,
        /// Node that states it.
        node: Option<String>,
    },
    /// Another would leave with it.
    #[error("`{slot}` would leave with it; give up both or neither")]
    With {
        /// The other.
        slot: String,
    },
    /// Results that stay depend on it.
    #[error("`{node}` sums over it, so that what stays depends on it")]
    Summed {
        /// The node.
        node: String,
    },
}

fn stated(at: &str, node: Option<&str>) -> String {
    match node {
        Some(node) => format!(" (`{at}`, stated by `{node}`)"),
        None => format!(" (`{at}`)"),
    }
}

/// The model without what is given up, and what that is.
pub(super) fn narrow(
    model: &Model,
    facts: &Facts,
    table: &OpTable,
    wanted: &[GivenUp],
) -> Result<(Model, Slots), NarrowError> {
    let mut slots = Slots::new();
    for given in wanted {
        let (axis, indices) = place(&model.graph, facts, given)?;
        slots.entry(axis).or_default().extend(indices.indices());
    }
    let given_up = slots.clone();
    let (channels, removal) = give_up(model, facts, table, slots);
    let removal = removal.map_err(|stays| refusal(&model.graph, &channels, stays))?;
    Ok((remove(model, facts, table, &channels, &removal)?, given_up))
}

fn place<'g>(graph: &Graph, facts: &Facts, given: &'g GivenUp) -> Result<((ValueId, u32), &'g Indices), NarrowError> {
    let GivenUp { value, axis, indices } = given;
    let id = graph.find(value).ok_or_else(|| NarrowError::NoValue {
        value: value.clone(),
        near: near(value, graph.values().map(|(_, v)| v.name.as_str())),
    })?;
    let rank = facts.get(id).rank().unwrap_or(0) as i64;
    let at = if *axis < 0 { axis.saturating_add(rank) } else { *axis };
    let len = usize::try_from(at).ok().and_then(|a| facts.get(id).size(a));
    let (Some(len), Ok(at)) = (len, u32::try_from(at)) else {
        return Err(NarrowError::NoAxis { value: value.clone(), axis: *axis });
    };
    match indices.indices().last() {
        Some(&index) if u64::from(index) >= len => {
            Err(NarrowError::NoIndex { value: value.clone(), axis: *axis, last: len.saturating_sub(1), index })
        }
        _ if indices.indices().len() as u64 >= len => Err(NarrowError::Whole { value: value.clone(), axis: *axis }),
        _ => Ok(((id, at), indices)),
    }
}

fn refusal(graph: &Graph, channels: &Channels, stays: Stays) -> NarrowError {
    let slot = |(value, axis): (ValueId, u32), index: u32| format!("{}:{axis}:{index}", graph.value(value).name);
    let why = match stays.why {
        Tie::Frozen(freeze) => {
            let (axis, index) = channels.axes.locate(freeze.at);
            Need::Frozen {
                reason: freeze.reason.to_string(),
                at: format!("{}:{index}", channels.axes.label(graph, axis)),
                node: freeze.node.map(|n| graph.label(n)),
            }
        }
        Tie::With { axis, index } => Need::With { slot: slot(axis, index) },
        Tie::Summed(node) => Need::Summed { node: graph.label(node) },
    };
    NarrowError::Stays { slot: slot(stays.axis, stays.index), why }
}

/// Axes of which `slot` and all that would leave with it can be given up, as `--give-up` takes them; `None` where it
/// refuses them.
pub fn way_out(dense: &Prepared, slot: Slot) -> Option<BTreeSet<(ValueId, u32)>> {
    /// Slots that are followed: more than these nobody would list.
    const MOST: usize = 8;
    let place = |slot| {
        let (axis, index) = dense.channels.axes.locate(slot);
        let AxisOwner::Value(v, a) = dense.channels.axes.owner(axis) else { return None };
        Some(((v, a), index))
    };
    let (mut slots, mut next) = (Slots::new(), place(slot)?);
    for _ in 0..MOST {
        slots.entry(next.0).or_default().insert(next.1);
        let (_, removal) = give_up(&dense.model, &dense.facts, &dense.table, slots.clone());
        next = match removal.map_err(|stays| stays.why) {
            Ok(_) => return Some(slots.into_keys().collect()),
            Err(Tie::With { axis, index }) => (axis, index),
            Err(Tie::Frozen(freeze)) if freeze.reason.can_be_given_up() => place(freeze.at)?,
            Err(Tie::Frozen(_) | Tie::Summed(_)) => return None,
        };
    }
    None
}

/// Indices that stay of an axis that lost some.
pub(super) fn kept(len: u64, given_up: &BTreeSet<u32>) -> Vec<u32> {
    (0..u32::try_from(len).unwrap_or(u32::MAX)).filter(|i| !given_up.contains(i)).collect()
}

impl Original {
    /// What was given up of a table or an output, if anything was.
    pub fn given_up_of(&self, value: ValueId, axis: usize) -> Option<&BTreeSet<u32>> {
        self.given_up.get(&(value, u32::try_from(axis).ok()?))
    }

    /// Indices that stay of the first output, and along which axis counted from the last; `None` where it lost nothing.
    fn first_output(&self) -> Option<(usize, u64, Vec<u32>)> {
        let output = *self.model.graph.outputs().first()?;
        let fact = self.facts.get(output);
        let rank = fact.rank()?;
        let (axis, given_up) = (0..rank).find_map(|a| Some((a, self.given_up_of(output, a)?)))?;
        let len = fact.size(axis)?;
        Some((rank - axis, len, kept(len, given_up)))
    }

    /// A first output of the original model, of any number of samples, without what was given up of it.
    pub fn narrow_output(&self, output: &Tensor) -> Result<Tensor, TensorError> {
        match self.first_output().and_then(|(back, _, kept)| Some((output.dims.len().checked_sub(back)?, kept))) {
            Some((axis, kept)) => output.gather(axis, &kept),
            None => Ok(output.clone()),
        }
    }

    /// A first output of a narrow model in the sizes of the original, with the lowest number in place of what was given
    /// up: no such class is ever chosen.
    pub fn widen_output(&self, output: &Tensor) -> Result<Tensor, TensorError> {
        let Some((back, len, kept)) = self.first_output() else { return Ok(output.clone()) };
        let Some(axis) = output.dims.len().checked_sub(back) else { return Ok(output.clone()) };
        let values = output.to_f64()?;
        let inner = output.dims[axis + 1..].iter().product::<u64>() as usize;
        let mut dims = output.dims.clone();
        dims[axis] = len;
        let mut out = vec![f64::from(f32::MIN); dims.iter().product::<u64>() as usize];
        for (i, row) in values.chunks(inner.max(1)).enumerate() {
            let (outer, at) = (i / kept.len().max(1), i % kept.len().max(1));
            let to = (outer * len as usize + kept[at] as usize) * inner;
            out[to..to + inner].copy_from_slice(row);
        }
        Tensor::from_f64(output.elem, &dims, &out)
    }

    /// What a user of the narrow model has to know, a line for each axis that lost something.
    pub fn says(&self) -> Vec<String> {
        let graph = &self.model.graph;
        let line = |(&(value, axis), given_up): (&(ValueId, u32), &BTreeSet<u32>)| {
            let len = self.facts.get(value).size(axis as usize).unwrap_or(0);
            let (name, left) = (&graph.value(value).name, len - given_up.len() as u64);
            let indices = Indices::new(given_up.iter().copied().collect());
            let what = format!("`{name}:{axis}` has {left} of {len} entries, without {indices}");
            let trailing = kept(len, given_up).last().is_none_or(|last| u64::from(*last) + 1 == left);
            match (graph.is_output(value), trailing) {
                (_, true) if !graph.is_output(value) => {
                    format!("{what}: data must name none of these, nor count from the end")
                }
                (_, true) => format!("{what}: the others keep their numbers"),
                (true, false) => {
                    format!("{what}: entry j of it is the j-th of those that stayed, counted from 0")
                }
                (false, false) => {
                    format!("{what}: data goes on naming the others by their old numbers, and must name none of these")
                }
            }
        };
        self.given_up.iter().map(line).collect()
    }
}

impl Prepared {
    /// What a user has to know of a removal: what the model lacks that was given up, and where the cut is not exact.
    pub fn conceded(&self, removal: &Removal, name: &dyn Fn(NodeId) -> String) -> Vec<String> {
        let mut out: Vec<String> = self.original.iter().flat_map(Original::says).collect();
        let mut alike: BTreeMap<(Policy, u32, usize), Vec<String>> = BTreeMap::new();
        for cut in self.channels.inexact_cuts(removal) {
            let kept = |axis: &AxisId| Some((self.channels.axes.len(*axis), self.channels.kept(*axis, removal)?.len()));
            let Some((of, left)) = cut.axes.iter().find_map(kept) else { continue };
            alike.entry((cut.policy, of, left)).or_default().push(name(cut.node));
        }
        out.extend(alike.into_iter().map(|((policy, of, left), nodes)| {
            let nodes = nodes.join(", ");
            format!("cut inexactly, as `{policy}` allows: {left} of {of} channels stay, {}: {nodes}", policy.about())
        }));
        out
    }
}

/// Compares the narrow model with the original one, less the outputs that were given up. Inputs must name no entry of a
/// table that was given up.
pub fn compare_narrow(
    dense: &Prepared,
    original: &Original,
    runtime: &dyn Runtime,
    inputs: &[Tensor],
) -> Result<Comparison, DriveError> {
    let graph = &original.model.graph;
    let mut wanted = run(&original.model, runtime, inputs)?;
    for (tensor, value) in wanted.iter_mut().zip(graph.outputs()) {
        for axis in 0..tensor.dims.len() {
            let Some(given_up) = original.given_up_of(*value, axis) else { continue };
            let narrow = tensor.gather(axis, &kept(tensor.dims[axis], given_up));
            let broken = |source| NarrowError::Output { value: graph.value(*value).name.clone(), source };
            *tensor = narrow.map_err(broken)?;
        }
    }
    difference(&original.model, &wanted, &run(&dense.model, runtime, inputs)?)
}
