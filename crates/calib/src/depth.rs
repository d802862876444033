//! Probes of depth: the model without a branch.
//!
//! In place of the term stands the mean that it has over the samples, one number for each channel: what recovery takes
//! into the biases behind it, or into that of the next branch.

use crate::{CalibError, Linear, Probe, rows};
use sparsec_analysis::{Branch, BranchId, Removal};
use sparsec_ir::{Model, Tensor, Use, ValueId};
use sparsec_runtime::{Sessions, tap};

impl Probe<'_> {
    /// The model without a branch, as the masked one but for the mean of the term.
    pub(crate) fn without_branch(&self, branch: BranchId) -> Result<Model, CalibError> {
        let b = &self.channels.branches[branch];
        let mut removal = Removal::none(self.channels);
        removal.set_branch(branch, true);
        let mut model = self.masked(&removal, &b.id)?;
        if let Some(axis) = self.channel_axis(b)
            && let Some(zeros) = zeros(self.model, &model, b.term)
        {
            let mean = self.mean(b.term, axis)?;
            model.graph.set_constant(zeros, mean);
        }
        Ok(model)
    }

    /// The axis of a term that holds channels: that of the last linear map in the branch, where its result is of the
    /// term's rank.
    fn channel_axis(&self, branch: &Branch) -> Option<usize> {
        let rank = self.facts.get(branch.term).rank();
        branch.nodes.iter().rev().find_map(|&node| {
            let linear = Linear::of(self.model, self.facts, self.table, node).filter(|l| l.inner.is_none())?;
            let y = self.model.graph.node(node).outputs.first().copied().flatten()?;
            (self.facts.get(y).rank() == rank).then_some(linear.form.y_axis)
        })
    }

    /// The mean of each channel of a value over all samples and positions, of length 1 along all other axes.
    fn mean(&self, value: ValueId, axis: usize) -> Result<Tensor, CalibError> {
        let error = |source| CalibError::Activation { value: self.model.graph.value(value).name.clone(), source };
        let sessions = Sessions::load(self.runtime, &tap(self.model, self.facts, &[value]), self.inputs)?;
        let (mut sum, mut count, mut like) = (Vec::new(), 0usize, None);
        for inputs in self.inputs {
            let Some(x) = sessions.run(std::slice::from_ref(inputs), 1)?.pop().and_then(|mut o| o.pop()) else {
                continue;
            };
            sum.resize(x.dims[axis] as usize, 0.0);
            for row in rows(&x, axis).map_err(error)?.chunks(sum.len().max(1)) {
                row.iter().zip(&mut sum).for_each(|(v, s)| *s += f64::from(*v));
                count += 1;
            }
            like = Some((x.elem, x.dims.len()));
        }
        let (elem, rank) = like.unwrap_or((sparsec_ir::ElemType::F32, axis + 1));
        let dims: Vec<u64> = (0..rank).map(|a| if a == axis { sum.len() as u64 } else { 1 }).collect();
        let mean: Vec<f64> = sum.iter().map(|s| s / count.max(1) as f64).collect();
        Tensor::from_f64(elem, &dims, &mean).map_err(error)
    }
}

/// The constant that stands for a term in the masked model: what is chosen in its place.
fn zeros(dense: &Model, masked: &Model, term: ValueId) -> Option<ValueId> {
    let [Use::Operand(sum, operand)] = dense.graph.value(term).uses[..] else { return None };
    let chosen = masked.graph.producer(masked.graph.node(sum).inputs[operand]?)?;
    let zeros = masked.graph.node(chosen).inputs.last().copied().flatten()?;
    masked.graph.constant(zeros).is_some().then_some(zeros)
}
