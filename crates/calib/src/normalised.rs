//! What makes up for a normalisation over fewer channels.
//!
//! A normalisation gives y = γ u + β with u = (x − μ) / σ over n channels. Over the k that stay it gives
//! u' = (x − μₖ) / σₖ. With μₖ ≈ μ that is u' = u / √ρ, where ρ = σₖ² / σ² has the expectation
//!
//! ```text
//! ρ = (1/k) Σᵢ E[uᵢ²] − (1/k²) Σᵢⱼ E[uᵢ uⱼ]        over the channels that stay
//! ```
//!
//! (without the second term, and μ = 0, where no mean is taken away; then it is exact). So γ' = γ √ρ gives the channels
//! that stay the mean square that they had. E[uᵢ uⱼ] follows from the statistics of y, γ and β. ε is taken for small.

use crate::{CalibError, Gram};
use sparsec_analysis::{Channels, Removal, node_ref};
use sparsec_ir::{Affine, Facts, Model, OpTable, Tensor, ValueId};
use std::collections::BTreeMap;

/// Scales the normalisations of `masked` over whose channels `removal` cuts, where the statistics of their results are
/// known. `masked` has the value ids of `model`.
pub(crate) fn rescale(
    masked: &mut Model,
    (model, facts, table): (&Model, &Facts, &OpTable),
    (channels, removal): (&Channels, &Removal),
    grams: &BTreeMap<(ValueId, usize), Gram>,
) -> Result<(), CalibError> {
    for cut in channels.inexact_cuts(removal) {
        let node = model.graph.node(cut.node);
        let Some(Affine::Normalised(rule)) = table.get(&node.domain, &node.op).map(|d| d.affine) else { continue };
        let Some(form) = rule(&node_ref(model, facts, cut.node)).ok().flatten() else { continue };
        let constant = |i: usize| {
            let v = node.inputs.get(i).copied().flatten()?;
            Some((v, model.graph.constant(v)?))
        };
        let (Some(y), Some((scale, tensor))) = (node.outputs.first().copied().flatten(), constant(form.scale)) else {
            continue;
        };
        let kept = channels.kept_of(y, form.axis, removal);
        // A scale that other nodes read is not this one's to change.
        let (Some(gram), Some(kept), 1) = (grams.get(&(y, form.axis)), kept, model.graph.value(scale).uses.len())
        else {
            continue;
        };
        let weight = |source| CalibError::Weight { value: model.graph.value(scale).name.clone(), source };
        let gamma = tensor.to_f64().map_err(weight)?;
        let beta = match form.shift.and_then(constant) {
            Some((_, shift)) => shift.to_f64().map_err(weight)?,
            None => vec![0.0; gamma.len()],
        };
        let kept: Vec<usize> = kept.into_iter().map(|i| i as usize).collect();
        let Some(rho) = variance_left(gram, (&gamma, &beta), &kept, form.centred) else { continue };
        let gamma: Vec<f64> = gamma.iter().map(|g| g * rho.sqrt()).collect();
        masked.graph.set_constant(scale, Tensor::from_f64(tensor.elem, &tensor.dims, &gamma).map_err(weight)?);
    }
    Ok(())
}

/// ρ of the channels `kept`; `None` where it is no positive number. Channels that are scaled by 0 tell nothing.
fn variance_left(gram: &Gram, (gamma, beta): (&[f64], &[f64]), kept: &[usize], centred: bool) -> Option<f64> {
    let kept: Vec<usize> = kept.iter().copied().filter(|i| gamma.get(*i).is_some_and(|g| *g != 0.0)).collect();
    let mean = |i: usize| (gram.mean[i] - beta[i]) / gamma[i];
    let product = |i: usize, j: usize| gram.covariance.get(i, j) / (gamma[i] * gamma[j]) + mean(i) * mean(j);
    let k = kept.len().max(1) as f64;
    let squares = kept.iter().map(|i| product(*i, *i)).sum::<f64>() / k;
    let pairs = || kept.iter().flat_map(|i| kept.iter().map(|j| product(*i, *j))).sum::<f64>() / (k * k);
    let rho = if centred { squares - pairs() } else { squares };
    (rho.is_finite() && rho > 1e-6).then_some(rho)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sparsec_linalg::{Matrix, add_gram};

    /// Statistics of y = γ u + β over some rows, u normalised.
    fn statistics(centred: bool, (gamma, beta): (&[f64; 4], &[f64; 4])) -> (Gram, Vec<[f64; 4]>) {
        let rows = [[1.0, -2.0, 0.5, 4.0], [3.0, 1.0, -1.0, 0.5], [-2.0, 2.5, 2.0, -3.0]];
        let normal = rows.map(|x: [f64; 4]| {
            let mean = if centred { x.iter().sum::<f64>() / 4.0 } else { 0.0 };
            let x = x.map(|v| v - mean);
            let sigma = (x.iter().map(|v| v * v).sum::<f64>() / 4.0).sqrt();
            x.map(|v| v / sigma)
        });
        let y: Vec<f32> = normal
            .iter()
            .flat_map(|u| (0..4).map(|i| (gamma[i] * u[i] + beta[i]) as f32).collect::<Vec<_>>())
            .collect();
        let mut gram = Matrix::zeros(4, 4);
        add_gram(&mut gram, &y, 3);
        let sum: Vec<f64> = (0..4).map(|i| y.iter().skip(i).step_by(4).map(|v| f64::from(*v)).sum()).collect();
        (Gram::from_sums(gram, &sum, 3), normal.to_vec())
    }

    #[test]
    fn the_variance_that_is_left_is_that_of_the_channels_that_stay() {
        let parameters = (&[2.0, -1.0, 0.5, 3.0], &[1.0, 0.0, -2.0, 0.5]);
        for centred in [true, false] {
            let (gram, rows) = statistics(centred, parameters);
            let find = |kept: &[usize]| variance_left(&gram, (parameters.0, parameters.1), kept, centred).unwrap();
            assert!((find(&[0, 1, 2, 3]) - 1.0).abs() < 1e-5);
            let of = |u: &[f64; 4]| {
                let (a, b) = (u[1], u[3]);
                let mean = if centred { (a + b) / 2.0 } else { 0.0 };
                ((a - mean).powi(2) + (b - mean).powi(2)) / 2.0
            };
            let wanted = rows.iter().map(of).sum::<f64>() / 3.0;
            assert!((find(&[1, 3]) - wanted).abs() < 1e-5, "{} {wanted}", find(&[1, 3]));
        }
    }
}
