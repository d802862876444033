//! Running statistics of a normalisation whose input the cut has changed.

use super::least_squares::RecoverError;
use super::subject::shared;
use sparsec_calib::CalibError;
use sparsec_ir::{Model, NodeId, Normalised, Tensor, TensorError};

/// Mean and variance of each channel, over batches that come one after the other.
#[derive(Default)]
pub(super) struct Moments {
    /// Σ x and Σ x² of each channel.
    sums: Vec<(f64, f64)>,
    count: usize,
}

impl Moments {
    /// Adds a batch; `axis` is that of the channels.
    pub(super) fn add(&mut self, batch: &Tensor, axis: usize) -> Result<(), TensorError> {
        let n = batch.dims[axis] as usize;
        self.sums.resize(n, (0.0, 0.0));
        let rows = sparsec_calib::rows(batch, axis)?;
        for row in rows.chunks(n.max(1)) {
            for (v, s) in row.iter().zip(&mut self.sums) {
                s.0 += f64::from(*v);
                s.1 += f64::from(*v) * f64::from(*v);
            }
        }
        self.count += rows.len() / n.max(1);
        Ok(())
    }
    fn of_channels(&self) -> Vec<(f64, f64)> {
        let count = self.count.max(1) as f64;
        self.sums.iter().map(|(s, q)| (s / count, (q / count - (s / count).powi(2)).max(0.0))).collect()
    }
}

/// Gives a normalisation over channels the scale and shift under which its result has the dense mean and variance:
/// γ' = γ √(v_d / v_p), β' = m_d − (m_p − β) γ' / γ, for mean m and variance v of the result in either model; without a
/// shift, the dense mean square: γ' = γ √((v_d + m_d²) / (v_p + m_p²)).
pub(super) fn rescale(
    model: &mut Model,
    node: NodeId,
    form: &Normalised,
    (pruned, dense): (&Moments, &Moments),
) -> Result<(), RecoverError> {
    let (p, d) = (pruned.of_channels(), dense.of_channels());
    let operand = |i: usize| model.graph.node(node).inputs.get(i).copied().flatten();
    let (Some(scale), shift) = (operand(form.scale), form.shift.and_then(operand)) else { return Ok(()) };
    if std::iter::once(scale).chain(shift).any(|v| shared(model, v)) {
        return Ok(());
    }
    let read = |v| {
        let tensor = model.graph.constant(v).expect("parameters are constant").clone();
        let source = |source| CalibError::Weight { value: model.graph.value(v).name.clone(), source };
        tensor.to_f64().map(|values| (v, tensor, values)).map_err(source)
    };
    let mut gamma = read(scale)?;
    let mut beta = shift.map(read).transpose()?;
    for (c, ((m_p, v_p), (m_d, v_d))) in p.into_iter().zip(d).enumerate() {
        let (is, was) = if beta.is_some() { (v_p, v_d) } else { (v_p + m_p * m_p, v_d + m_d * m_d) };
        // A channel that is constant in either model has no scale to correct.
        let ratio = if is > 1e-12 && was > 1e-12 { (was / is).sqrt() } else { 1.0 };
        if let Some(g) = gamma.2.get_mut(c) {
            *g *= ratio;
        }
        if let Some(b) = beta.as_mut().and_then(|b| b.2.get_mut(c)) {
            *b = m_d - (m_p - *b) * ratio;
        }
    }
    for (value, tensor, numbers) in std::iter::once(gamma).chain(beta) {
        let source = |source| CalibError::Weight { value: model.graph.value(value).name.clone(), source };
        let new = Tensor::from_f64(tensor.elem, &tensor.dims, &numbers).map_err(source)?;
        model.graph.set_constant(value, new);
    }
    Ok(())
}

/// Gives a normalisation the running statistics under which its result has the dense mean and variance:
/// σ' = σ √(v_p / v_d), μ' = m_p − (m_d − μ) σ' / σ, for mean m and variance v of the input in either model.
pub(super) fn restate(
    model: &mut Model,
    node: NodeId,
    (mean, variance): (usize, usize),
    epsilon: f64,
    (pruned, dense): (&Moments, &Moments),
) -> Result<(), RecoverError> {
    let (p, d) = (pruned.of_channels(), dense.of_channels());
    let operand = |i: usize| model.graph.node(node).inputs[i].expect("statistics are operands");
    let (mean_value, variance_value) = (operand(mean), operand(variance));
    if shared(model, mean_value) || shared(model, variance_value) {
        return Ok(());
    }
    let read = |v| {
        let tensor = model.graph.constant(v).expect("statistics are constant").clone();
        let source = |source| CalibError::Weight { value: model.graph.value(v).name.clone(), source };
        tensor.to_f64().map(|values| (tensor, values)).map_err(source)
    };
    let ((mean_tensor, mut mu), (variance_tensor, mut var)) = (read(mean_value)?, read(variance_value)?);
    for (((mu, var), (m_p, v_p)), (m_d, v_d)) in mu.iter_mut().zip(&mut var).zip(p).zip(d) {
        // A channel that is constant in either model has no scale to correct.
        let ratio = if v_p > 1e-12 && v_d > 1e-12 { (v_p / v_d).sqrt() } else { 1.0 };
        let scaled = (*var + epsilon) * ratio * ratio - epsilon;
        let ratio = if scaled >= 0.0 { ratio } else { 1.0 };
        *var = if scaled >= 0.0 { scaled } else { *var };
        *mu = m_p - (m_d - *mu) * ratio;
    }
    for (value, tensor, numbers) in [(mean_value, mean_tensor, mu), (variance_value, variance_tensor, var)] {
        let source = |source| CalibError::Weight { value: model.graph.value(value).name.clone(), source };
        let new = Tensor::from_f64(tensor.elem, &tensor.dims, &numbers).map_err(source)?;
        model.graph.set_constant(value, new);
    }
    Ok(())
}
