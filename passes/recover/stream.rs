//! What a step reads of both models, batch by batch.

use super::least_squares::{RecoverError, Recovery, dense_operand};
use super::observations::Part;
use super::steps::{Reading, behind, reading, result};
use super::walk::{Stop, Walk};
use sparsec_calib::{CalibError, Linear};
use sparsec_ir::{Contraction, Facts, Model, NodeId, Tensor, TensorError, ValueId};
use sparsec_linalg::{Matrix, product};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// What a linear map is to give.
pub(crate) enum Target {
    /// The dense model's value where the result is read, less what the pruned model adds to the result on the way.
    Read(Reading),
    /// What the node gives now.
    Own(ValueId),
    /// What the dense map, which lies inside its node, makes of the dense input: transposed weight, and bias.
    Inner { x: ValueId, weight: Matrix, bias: Vec<f64> },
}

impl Target {
    pub(crate) fn of(
        cx: &Recovery,
        (pruned, facts): (&Model, &Facts),
        (node, linear): (NodeId, &Linear),
        unsolved: &BTreeSet<NodeId>,
    ) -> Result<Self, RecoverError> {
        if linear.inner.is_some() {
            let (weight, bias) = dense_map(cx, (pruned, facts), (node, linear))?;
            let x = dense_operand(cx, pruned, node, linear.form.x);
            return Ok(Self::Inner { x, weight, bias });
        }
        let y = result(pruned, node).expect("steps are made for nodes with a result");
        // A result that is stretched to be added has fewer observations than the sum.
        let shape = |v: ValueId| facts.get(v).shape.as_ref();
        let alike = |v: ValueId| shape(y).is_some() && shape(y) == shape(v);
        let usable = |r: &Reading| {
            alike(r.value) && r.other.is_none_or(|other| alike(other) && !behind(pruned, other, unsolved))
        };
        let read = reading(pruned, cx.table, y);
        Ok(Self::Read(if usable(&read) { read } else { Reading { value: y, constant: None, other: None } }))
    }
    /// Values of the pruned and of the dense model that it needs beside the input.
    fn needs(&self) -> (Option<ValueId>, Option<ValueId>) {
        match self {
            Self::Read(read) => (read.other, Some(read.value)),
            Self::Own(y) => (Some(*y), None),
            Self::Inner { x, .. } => (None, Some(*x)),
        }
    }
    /// The value as which the result is read, if the target is a dense model's.
    pub(crate) fn read(&self) -> Option<ValueId> {
        match self {
            Self::Read(read) => Some(read.value),
            Self::Own(_) | Self::Inner { .. } => None,
        }
    }
    /// The target of a batch, and what is added to the result before it is read.
    fn tensors(&self, cx: &Recovery, batch: &Batch) -> Result<(Tensor, Option<Tensor>), RecoverError> {
        let last = |values: &[Tensor]| values.last().expect("what is needed was asked for").clone();
        match self {
            Self::Own(_) => Ok((last(&batch.pruned), None)),
            Self::Read(read) => {
                let whole = kept_part(cx, read.value, last(&batch.dense))?;
                let other = read.other.map(|_| last(&batch.pruned));
                let shift = shift(read, other, &whole.dims).map_err(|e| activation(cx, read.value, e))?;
                let Some(shift) = shift else { return Ok((whole, None)) };
                let (all, own) = (singles(cx, read.value, &whole)?, singles(cx, read.value, &shift)?);
                let rest: Vec<f32> = all.iter().zip(&own).map(|(all, own)| all - own).collect();
                Ok((Tensor::f32(&whole.dims, &rest), Some(shift)))
            }
            Self::Inner { x, weight, bias } => {
                let dense = last(&batch.dense);
                let values = singles(cx, *x, &dense)?.into_iter().map(f64::from).collect::<Vec<f64>>();
                let rows = values.len() / weight.rows().max(1);
                let z = product(&Matrix::new(rows, weight.rows(), values), weight);
                let z = z.data().chunks(bias.len().max(1)).flat_map(|row| row.iter().zip(bias));
                let mut dims = dense.dims.clone();
                if let Some(last) = dims.last_mut() {
                    *last = bias.len() as u64;
                }
                Ok((Tensor::f32(&dims, &z.map(|(z, b)| (z + b) as f32).collect::<Vec<f32>>()), None))
            }
        }
    }
}

/// What is added to a result on the way to where it is read, at the shape that it has there.
fn shift(read: &Reading, other: Option<Tensor>, dims: &[u64]) -> Result<Option<Tensor>, TensorError> {
    let constant = read.constant.as_ref().map(|c| stretched(c, dims)).transpose()?;
    match (constant, other) {
        (Some(c), Some(o)) => {
            let sum: Vec<f32> = c.to_f32()?.iter().zip(&o.to_f32()?).map(|(c, o)| c + o).collect();
            Ok(Some(Tensor::f32(dims, &sum)))
        }
        (c, o) => Ok(c.or(o)),
    }
}

/// A constant repeated along the axes that it does not have, or has once; axes are aligned from the right.
fn stretched(tensor: &Tensor, dims: &[u64]) -> Result<Tensor, TensorError> {
    let mut own = vec![1; dims.len().saturating_sub(tensor.dims.len())];
    own.extend(&tensor.dims);
    let start = Tensor { dims: own, ..tensor.clone() };
    dims.iter().enumerate().try_fold(start, |t, (axis, wanted)| {
        if t.dims[axis] == *wanted { Ok(t) } else { t.gather(axis, &vec![0; *wanted as usize]) }
    })
}

/// Weight (inputs × kept rows) and bias of the dense model's inner map.
fn dense_map(
    cx: &Recovery,
    (pruned, facts): (&Model, &Facts),
    (node, linear): (NodeId, &Linear),
) -> Result<(Matrix, Vec<f64>), RecoverError> {
    let broken = |v: ValueId| move |source| CalibError::Weight { value: cx.dense.graph.value(v).name.clone(), source };
    let part = |v: ValueId, axes: Range<usize>| {
        let tensor = cx.dense.graph.constant(v).expect("a linear map's constants are constant").as_ref().clone();
        reduced(cx, v, axes, tensor).map_err(broken(v))
    };
    let w = linear.weight_of(pruned, node).expect("a linear map has a weight");
    let rank = cx.dense.graph.constant(w).map_or(1, |t| t.dims.len());
    let weight = part(w, 0..rank.saturating_sub(1))?;
    let inputs = weight.dims.last().copied().unwrap_or(1) as usize;
    let values = weight.to_f64().map_err(broken(w))?;
    let outputs = values.len() / inputs.max(1);
    let mut shift = vec![0.0; outputs];
    if let Some(bias) = linear.bias(pruned, facts, cx.table, node)
        && let Some((v, dense)) = bias.value().and_then(|v| Some((v, cx.dense.graph.constant(v)?)))
    {
        shift = bias.read(&part(v, 0..dense.dims.len())?).map_err(broken(v))?;
    }
    Ok((Matrix::new(outputs, inputs, values).transpose(), shift))
}

/// Values of one batch, in the order in which they were asked for.
pub(crate) struct Batch {
    pub(crate) pruned: Vec<Tensor>,
    pub(crate) dense: Vec<Tensor>,
}

/// What one step reads, with the values to put at hand on the way.
pub(crate) struct Stream<'c> {
    cx: &'c Recovery<'c>,
    pruned: Side,
    dense: Side,
    batches: usize,
    /// The first batch, which is computed to know sizes.
    first: Option<Batch>,
}

/// One model's part.
struct Side {
    stop: Stop,
    wanted: Vec<ValueId>,
    keep: Vec<ValueId>,
    found: BTreeMap<ValueId, Vec<Tensor>>,
}

impl<'c> Stream<'c> {
    /// Opens a stream of `values` of the pruned and the dense model; `ahead` is what later steps read.
    pub(crate) fn open(
        cx: &'c Recovery<'c>,
        (walk_pruned, pruned): (&Walk, &Model),
        walk_dense: &Walk,
        values: (Vec<ValueId>, Vec<ValueId>),
        ahead: &[ValueId],
    ) -> Result<Self, RecoverError> {
        let side = |walk: &Walk, model: &Model, wanted: Vec<ValueId>| -> Result<(Side, Vec<Tensor>), RecoverError> {
            let stop = walk.stop(model, &wanted)?;
            let first = stop.batches(0..1)?.pop().unwrap_or_default();
            let of = |v: ValueId| wanted.iter().position(|w| *w == v).and_then(|at| first.get(at));
            let bytes = |v: ValueId| walk.in_all(of(v).map_or(0, Tensor::byte_len));
            let keep = walk.choose(model, &stop, &bytes, ahead);
            Ok((Side { stop, wanted, keep, found: BTreeMap::new() }, first))
        };
        let (pruned, first) = side(walk_pruned, pruned, values.0)?;
        let (dense, first_dense) = side(walk_dense, cx.dense, values.1)?;
        let batches = walk_dense.samples().len();
        Ok(Self { cx, pruned, dense, batches, first: Some(Batch { pruned: first, dense: first_dense }) })
    }
    /// A stream of what a linear map needs.
    pub(crate) fn of_map(
        cx: &'c Recovery<'c>,
        (walk_pruned, pruned): (&Walk, &Model),
        walk_dense: &Walk,
        (x, target): (ValueId, &Target),
        ahead: &[ValueId],
    ) -> Result<Self, RecoverError> {
        let (other, dense) = target.needs();
        let values = (std::iter::once(x).chain(other).collect(), dense.into_iter().collect());
        Self::open(cx, (walk_pruned, pruned), walk_dense, values, ahead)
    }
    /// Some batches.
    pub(crate) fn next(&mut self, range: Range<usize>) -> Result<Vec<Batch>, RecoverError> {
        let out = match self.first.take() {
            Some(first) if range == (0..1) => vec![first],
            _ => {
                let (pruned, dense) = (self.pruned.stop.batches(range.clone())?, self.dense.stop.batches(range)?);
                pruned.into_iter().zip(dense).map(|(pruned, dense)| Batch { pruned, dense }).collect()
            }
        };
        for batch in &out {
            self.pruned.put_aside(&batch.pruned);
            self.dense.put_aside(&batch.dense);
        }
        Ok(out)
    }
    /// Inputs and targets of some batches.
    pub(crate) fn parts<'f>(
        &mut self,
        range: Range<usize>,
        target: &Target,
        form: &'f Contraction,
    ) -> Result<Vec<Part<'f>>, RecoverError> {
        let (cx, x) = (self.cx, self.pruned.wanted[0]);
        let part = |batch: Batch| {
            let (y, shift) = target.tensors(cx, &batch)?;
            Part::new(&batch.pruned[0], &y, shift.as_ref(), form).map_err(|source| activation(cx, x, source))
        };
        self.next(range)?.into_iter().map(part).collect()
    }
    /// What was put aside, of the pruned and of the dense model; only what is whole.
    pub(crate) fn close(self) -> (BTreeMap<ValueId, Vec<Tensor>>, BTreeMap<ValueId, Vec<Tensor>>) {
        let whole = |mut side: Side| {
            side.found.retain(|_, b| b.len() == self.batches);
            side.found
        };
        (whole(self.pruned), whole(self.dense))
    }
}

impl Side {
    fn put_aside(&mut self, values: &[Tensor]) {
        for (v, tensor) in self.wanted.iter().zip(values) {
            if self.keep.contains(v) {
                self.found.entry(*v).or_default().push(tensor.clone());
            }
        }
    }
}

/// An error that names the activation.
pub(crate) fn activation(cx: &Recovery, value: ValueId, source: sparsec_ir::TensorError) -> RecoverError {
    RecoverError::Activation { value: cx.dense.graph.value(value).name.clone(), source }
}

fn singles(cx: &Recovery, value: ValueId, tensor: &Tensor) -> Result<Vec<f32>, RecoverError> {
    tensor.to_f32().map_err(|source| activation(cx, value, source))
}

/// A dense activation reduced to the indices that the pruned model has of it.
pub(crate) fn kept_part(cx: &Recovery, value: ValueId, tensor: Tensor) -> Result<Tensor, RecoverError> {
    reduced(cx, value, 0..tensor.dims.len(), tensor).map_err(|source| activation(cx, value, source))
}

/// A tensor of `value`'s reduced to what is kept along `axes`.
fn reduced(cx: &Recovery, value: ValueId, axes: Range<usize>, tensor: Tensor) -> Result<Tensor, TensorError> {
    let kept = axes.filter_map(|a| Some((a, (cx.kept)(value, a)?)));
    kept.into_iter().try_fold(tensor, |t, (axis, kept)| t.gather(axis, &kept))
}
