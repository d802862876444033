//! The check of a removal: the pruned model against the masked one.

use super::{DriveError, Prepared};
use sparsec_analysis::Removal;
use sparsec_ir::{Data, Dim, Draw, ElemType, Model, Tensor, element_count};
use sparsec_passes::remove::{mask, restore};
use sparsec_runtime::Runtime;

/// How two models' outputs compare.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Comparison {
    /// Largest difference.
    pub max_abs_error: f64,
    /// Largest difference relative to the largest absolute value of the same output.
    pub max_rel_error: f64,
}

/// Relative difference up to which two models count as equal: sums of a few thousand singles in another order.
const TOLERANCE: f64 = 1e-4;

impl Comparison {
    /// Whether the two are equal to float tolerance.
    pub fn equal(&self) -> bool {
        self.max_rel_error <= TOLERANCE
    }
}

/// Compares `pruned` with the dense model whose removed channels are masked and whose other weights are those of
/// `pruned`, on `inputs`.
pub fn verify(
    dense: &Prepared,
    pruned: &Model,
    removal: &Removal,
    runtime: &dyn Runtime,
    inputs: &[Tensor],
) -> Result<Comparison, DriveError> {
    let restored = restore(&dense.model, &dense.facts, pruned, &dense.channels, removal)?;
    let masked = mask(&restored, &dense.facts, &dense.channels, removal)?;
    compare(&masked, pruned, runtime, inputs)
}

/// Compares the outputs of two models with the same inputs.
pub fn compare(a: &Model, b: &Model, runtime: &dyn Runtime, inputs: &[Tensor]) -> Result<Comparison, DriveError> {
    let (left, right) = (run(a, runtime, inputs)?, run(b, runtime, inputs)?);
    difference(a, &left, &right)
}

/// The outputs of a model.
pub fn run(model: &Model, runtime: &dyn Runtime, inputs: &[Tensor]) -> Result<Vec<Tensor>, DriveError> {
    let shapes: Vec<Vec<u64>> = inputs.iter().map(|t| t.dims.clone()).collect();
    Ok(runtime.load(model, &shapes, 1)?.run(inputs)?)
}

/// How the outputs `left` of `model` differ from those of another one.
pub fn difference(model: &Model, left: &[Tensor], right: &[Tensor]) -> Result<Comparison, DriveError> {
    let mut out = Comparison { max_abs_error: 0.0, max_rel_error: 0.0 };
    if left.len() != right.len() {
        return Ok(Comparison { max_abs_error: f64::INFINITY, max_rel_error: f64::INFINITY });
    }
    for ((x, y), v) in left.iter().zip(right).zip(model.graph.outputs()) {
        let source = |source| DriveError::Output { value: model.graph.value(*v).name.clone(), source };
        if x.dims != y.dims || x.elem != y.elem {
            return Ok(Comparison { max_abs_error: f64::INFINITY, max_rel_error: f64::INFINITY });
        }
        if matches!(x.data, Data::Strings(_)) {
            let unequal = if x.data == y.data { 0.0 } else { f64::INFINITY };
            out = Comparison { max_abs_error: out.max_abs_error.max(unequal), max_rel_error: out.max_rel_error.max(unequal) };
            continue;
        }
        let (x, y): (Vec<f64>, Vec<f64>) = if x.elem.is_float() {
            (x.to_f64().map_err(source)?, y.to_f64().map_err(source)?)
        } else {
            let whole = |t: &Tensor| t.to_i64().map(|v| v.into_iter().map(|i| i as f64).collect::<Vec<f64>>());
            (whole(x).map_err(source)?, whole(y).map_err(source)?)
        };
        // NaN against NaN is no difference of the cut's making; NaN against a number is the largest there is.
        let distance = |(a, b): (&f64, &f64)| match (a.is_nan(), b.is_nan()) {
            (true, true) => 0.0,
            (true, false) | (false, true) => f64::INFINITY,
            _ if a == b => 0.0,
            _ => (a - b).abs(),
        };
        let error = x.iter().zip(&y).map(distance).fold(0.0, f64::max);
        let scale = x.iter().filter(|v| v.is_finite()).map(|v| v.abs()).fold(f64::MIN_POSITIVE, f64::max);
        out.max_abs_error = out.max_abs_error.max(error);
        out.max_rel_error = out.max_rel_error.max(error / scale);
    }
    Ok(out)
}

/// Elements that a made-up input may have: they are drawn as doubles.
const MAX_INPUT: u64 = 1 << 24;

/// Inputs to compare models on: normal numbers for floating inputs; 0 or 1 for whole ones, which may be indices; `batch`
/// for first axes that are open and 8 for others.
pub fn random_inputs(dense: &Prepared, seed: u64, batch: u64) -> Result<Vec<Tensor>, DriveError> {
    let mut draw = Draw::new(seed);
    let graph = &dense.model.graph;
    let mut out = Vec::new();
    for v in graph.inputs() {
        let fact = dense.facts.get(v);
        let name = &graph.value(v).name;
        let dims = fact.shape.clone().ok_or(DriveError::OpenSize { input: name.clone(), axis: 0 })?;
        let size = |(axis, d): (usize, &Dim)| d.as_size().unwrap_or(if axis == 0 { batch } else { 8 });
        let dims: Vec<u64> = dims.iter().enumerate().map(size).collect();
        let elem = fact.elem.unwrap_or(ElemType::F32);
        let count = element_count(&dims).ok().filter(|n| *n <= MAX_INPUT && elem.bits() >= 8);
        let open = || DriveError::OpenInput { input: name.clone(), ty: format!("{elem}{dims:?}") };
        let count = count.ok_or_else(open)? as usize;
        let source = |source| DriveError::Output { value: name.clone(), source };
        out.push(if elem.is_float() {
            let values: Vec<f64> = (0..count).map(|_| draw.normal()).collect();
            Tensor::from_f64(elem, &dims, &values).map_err(source)?
        } else {
            let width = (elem.bits() / 8).max(1) as usize;
            let bytes: Vec<u8> = (0..count)
                .flat_map(|_| {
                    let mut b = vec![0u8; width];
                    b[0] = u8::from(draw.unit() > 0.5);
                    b
                })
                .collect();
            Tensor::raw(elem, dims, bytes.into()).map_err(source)?
        });
    }
    Ok(out)
}
