//! Weights of linear nodes as matrices, and their compensation for inputs that leave.

use crate::{CalibError, Gram};
use sparsec_analysis::{AxisOwner, Channels, Group};
use sparsec_ir::{Contraction, Model, Tensor, TensorError};
use sparsec_linalg::{Matrix, product, solve_spd};

/// A weight seen through its node's linear form: `w[o][i][tap]`, with the node's factor on it.
#[derive(Clone, Debug)]
pub struct Weight {
    values: Vec<f64>,
    /// Distance between elements along outputs, inputs and each tap, in elements.
    out_stride: usize,
    in_stride: usize,
    taps: Vec<usize>,
    /// What the node multiplies the stored numbers with.
    scale: f64,
    /// Outputs that the weight's output axis has.
    pub outputs: usize,
    /// Inputs that the weight's input axis has (those of one group).
    pub inputs: usize,
}

impl Weight {
    /// The weight of a linear node.
    pub fn of(tensor: &Tensor, form: &Contraction) -> Result<Self, TensorError> {
        let stride = |axis: usize| tensor.dims[axis + 1..].iter().product::<u64>() as usize;
        let mut taps = vec![0usize];
        for axis in (0..tensor.dims.len()).filter(|a| *a != form.w_in && *a != form.w_out) {
            let (len, step) = (tensor.dims[axis] as usize, stride(axis));
            taps = taps.iter().flat_map(|t| (0..len).map(move |i| t + i * step)).collect();
        }
        Ok(Self {
            values: tensor.to_f64()?.into_iter().map(|v| v * form.w_scale).collect(),
            out_stride: stride(form.w_out),
            in_stride: stride(form.w_in),
            taps,
            scale: form.w_scale,
            outputs: tensor.dims[form.w_out] as usize,
            inputs: tensor.dims[form.w_in] as usize,
        })
    }
    /// Taps of the kernel; 1 for a matrix.
    pub fn taps(&self) -> usize {
        self.taps.len()
    }
    /// One element.
    pub fn get(&self, output: usize, input: usize, tap: usize) -> f64 {
        self.values[output * self.out_stride + input * self.in_stride + self.taps[tap]]
    }
    /// Sets one element.
    pub fn set(&mut self, output: usize, input: usize, tap: usize, value: f64) {
        self.values[output * self.out_stride + input * self.in_stride + self.taps[tap]] = value;
    }
    /// The tensor, in the shape and type of `like`.
    pub fn to_tensor(&self, like: &Tensor) -> Result<Tensor, TensorError> {
        let stored: Vec<f64> = self.values.iter().map(|v| v / self.scale).collect();
        let out = Tensor::from_f64(like.elem, &like.dims, &stored)?;
        Ok(Tensor { doc: like.doc.clone(), meta: like.meta.clone(), ..out })
    }
}

/// Makes the kept inputs of an ungrouped linear node stand in for those that leave: with x ≈ B x_S + (μ − B μ_S),
/// w ← w·B along its input axis, every tap with the same B, and zero for inputs that leave.
///
/// B = C_{:,S} (C_SS + λ I)⁻¹ with the covariance C of the dense inputs and λ = `ridge` · mean diag(C_SS).
/// Returns the shift that belongs into the bias, one number for each output; `None` where the solve fails.
pub fn compensate(weight: &mut Weight, gram: &Gram, keep: &[usize], ridge: f64) -> Option<Vec<f64>> {
    let n = gram.mean.len();
    let all: Vec<usize> = (0..n).collect();
    let mut kept = gram.covariance.select(keep, keep);
    let lift = ridge * kept.mean_diagonal() + f64::MIN_POSITIVE;
    for i in 0..keep.len() {
        kept.set(i, i, kept.get(i, i) + lift);
    }
    let b = solve_spd(&kept, &gram.covariance.select(keep, &all))?.transpose();
    let mut shift = vec![0.0; weight.outputs];
    for tap in 0..weight.taps() {
        let rows = (0..weight.outputs).flat_map(|o| (0..n).map(move |i| (o, i)));
        let w = Matrix::new(weight.outputs, n, rows.map(|(o, i)| weight.get(o, i, tap)).collect());
        let new = product(&w, &b);
        for (o, shift) in shift.iter_mut().enumerate() {
            let before: f64 = w.row(o).iter().zip(&gram.mean).map(|(w, m)| w * m).sum();
            let after: f64 = new.row(o).iter().zip(keep).map(|(w, k)| w * gram.mean[*k]).sum();
            *shift += before - after;
            for i in 0..n {
                weight.set(o, i, tap, 0.0);
            }
            for (s, k) in keep.iter().enumerate() {
                weight.set(o, *k, tap, new.get(o, s));
            }
        }
    }
    Some(shift)
}

/// What weights say of the units of a group where samples say nothing: the sum over the group's weights of each unit's
/// share of the weight's squared L2 norm.
pub fn unit_norms(model: &Model, channels: &Channels, group: &Group) -> Result<Vec<f64>, CalibError> {
    let mut out = vec![0.0; group.units.len()];
    for (axis, _) in &group.axes {
        let AxisOwner::Value(value, along) = channels.axes.owner(*axis) else { continue };
        let Some(tensor) = model.graph.constant(value).filter(|t| t.elem.is_float()) else { continue };
        let weight = |source| CalibError::Weight { value: model.graph.value(value).name.clone(), source };
        let length = channels.axes.len(*axis) as usize;
        let mut squares = vec![0.0; length];
        for row in crate::rows(tensor, along as usize).map_err(weight)?.chunks(length.max(1)) {
            row.iter().zip(&mut squares).for_each(|(w, s)| *s += f64::from(*w).powi(2));
        }
        let total: f64 = squares.iter().sum();
        if total <= 0.0 || !total.is_finite() {
            continue;
        }
        let slots = channels.axes.slots(*axis);
        for (norm, unit) in out.iter_mut().zip(&group.units) {
            let own = channels.units[*unit as usize].slots.iter().filter(|s| slots.contains(s));
            *norm += own.map(|s| squares[(s - slots.start) as usize]).sum::<f64>() / total;
        }
    }
    Ok(out)
}
