//! What was read, held against what the model takes.

use super::Dataset;
use super::cast::{cast, doubles};
use super::error::{DataError, Note};
use super::load::{Found, Slot};
use super::npy::MAX_BYTES;
use sparsec_ir::{Dim, ElemType, Tensor};
use std::path::Path;

/// How the samples of one input become the operand of a run.
#[derive(Clone, Copy, PartialEq)]
enum Layout {
    /// The first axis of the input is a batch of any size.
    Free,
    /// The first axis of the input is a batch of one size.
    Fixed(u64),
    /// The input has no axis for samples.
    Stacked,
}

/// Checks the arrays of `found`, in the order of `slots`, and converts them.
pub(super) fn check(
    path: &Path,
    slots: &[Slot<'_>],
    (scales, columns): (&[Option<f64>], &[String]),
    found: Found,
) -> Result<Dataset, DataError> {
    let Found { inputs, label, columns: values, mut notes } = found;
    let (mut out, mut stacked) = (Vec::new(), Vec::new());
    let mut count: Option<(u64, &str)> = None;
    let mut batch: Option<(u64, &str)> = None;
    for ((slot, scale), tensor) in slots.iter().zip(scales).zip(inputs) {
        same_count(path, slot.name, &tensor, &mut count)?;
        let layout = layout(path, slot, &tensor)?;
        if scale.is_none() && tensor.elem == ElemType::U8 && slot.elem.is_float() {
            notes.push(Note::Unscaled { input: slot.name.to_string(), to: slot.elem });
        }
        let bytes = slot.elem.raw_len(tensor.count()).filter(|b| *b <= MAX_BYTES);
        if bytes.is_none() {
            let bytes = tensor.count().saturating_mul(u64::from(slot.elem.bits()) / 8);
            return Err(DataError::TooLarge { path: path.to_path_buf(), bytes, limit: MAX_BYTES });
        }
        let (dims, from) = (tensor.dims.clone(), tensor.elem);
        let tensor = cast(tensor, slot.elem, *scale).map_err(|e| slot.cast(path, from, &dims, e))?;
        refuse_non_finite(path, slot.name, &tensor)?;
        let size = match layout {
            Layout::Free => None,
            Layout::Stacked => Some(1),
            Layout::Fixed(n) => Some(n),
        };
        if let Some(size) = size {
            if let Some((other, with)) = batch.filter(|(other, _)| *other != size) {
                let (input, with) = (slot.name.to_string(), with.to_string());
                return Err(DataError::BatchConflict { input, size, with, other });
            }
            batch = Some((size, slot.name));
        }
        stacked.push(layout == Layout::Stacked);
        out.push((slot.name.to_string(), tensor));
    }
    if let Some(label) = &label {
        same_count(path, "label", label, &mut count)?;
        refuse_non_finite(path, "label", label)?;
    }
    let Some((samples, _)) = count else { return Err(DataError::NoInputs) };
    if let Some(column) = columns.get(values.len()) {
        return Err(DataError::NoColumn { path: path.to_path_buf(), column: column.clone() });
    }
    if let Some((name, values)) = columns.iter().zip(&values).find(|(_, v)| v.len() as u64 != samples) {
        let with = slots.first().map_or(String::new(), |s| s.name.to_string());
        let (path, found, array) = (path.to_path_buf(), values.len() as u64, name.clone());
        return Err(DataError::Samples { path, array, found, with, expected: samples });
    }
    let columns = columns.iter().cloned().zip(values).collect();
    let fixed_batch = batch.map(|(size, _)| size);
    let tail = fixed_batch.map_or(0, |b| samples % b);
    if tail == samples {
        let batch = fixed_batch.unwrap_or(1);
        return Err(DataError::BatchTooLarge { path: path.to_path_buf(), batch, samples });
    }
    if tail > 0 {
        notes.push(Note::Tail { left_out: tail, batch: fixed_batch.unwrap_or(1) });
    }
    let all = Dataset { inputs: out, stacked, label, columns, samples, fixed_batch, notes };
    Ok(if tail > 0 { all.take(samples - tail) } else { all })
}

/// The number of samples, which every array must share.
fn same_count<'a>(
    path: &Path,
    name: &'a str,
    tensor: &Tensor,
    count: &mut Option<(u64, &'a str)>,
) -> Result<(), DataError> {
    let Some(&found) = tensor.dims.first() else {
        return Err(DataError::NoSampleAxis { path: path.to_path_buf(), array: name.to_string() });
    };
    if tensor.dims.contains(&0) {
        return Err(DataError::Empty { path: path.to_path_buf() });
    }
    match *count {
        Some((expected, with)) if expected != found => Err(DataError::Samples {
            path: path.to_path_buf(),
            array: name.to_string(),
            found,
            with: with.to_string(),
            expected,
        }),
        _ => {
            *count = Some((found, name));
            Ok(())
        }
    }
}

/// Compares ranks and sizes with the input's type; sizes that the model leaves open match anything.
fn layout(path: &Path, slot: &Slot<'_>, tensor: &Tensor) -> Result<Layout, DataError> {
    let Some(shape) = slot.shape else { return Ok(Layout::Free) };
    let (layout, skip) = if tensor.dims.len() == shape.len() + 1 {
        (Layout::Stacked, 1)
    } else if tensor.dims.len() == shape.len() {
        (shape.first().and_then(Dim::as_size).map_or(Layout::Free, Layout::Fixed), 0)
    } else {
        return Err(DataError::Rank {
            path: path.to_path_buf(),
            array: slot.name.to_string(),
            found: tensor.dims.clone(),
            ty: slot.ty.clone(),
        });
    };
    for (axis, dim) in shape.iter().enumerate().skip(1 - skip) {
        let found = tensor.dims[axis + skip];
        if let Some(wanted) = dim.as_size().filter(|w| *w != found) {
            return Err(DataError::Size {
                path: path.to_path_buf(),
                array: slot.name.to_string(),
                axis: axis + skip,
                found,
                wanted,
                ty: slot.ty.clone(),
            });
        }
    }
    if layout == Layout::Fixed(0) {
        return Err(DataError::BatchTooLarge { path: path.to_path_buf(), batch: 0, samples: tensor.dims[0] });
    }
    Ok(layout)
}

/// NaN and infinity spoil every statistic.
fn refuse_non_finite(path: &Path, name: &str, tensor: &Tensor) -> Result<(), DataError> {
    if !tensor.elem.is_float() {
        return Ok(());
    }
    // Sample by sample: doubles of all would take more than the samples themselves.
    for sample in 0..tensor.dims.first().copied().unwrap_or(0) {
        let one = super::rows(tensor, sample..sample + 1);
        let values = doubles(&one).map_err(|_| DataError::NoInputs)?;
        if let Some(at) = values.iter().position(|v| !v.is_finite()) {
            return Err(DataError::NonFinite {
                path: path.to_path_buf(),
                array: name.to_string(),
                index: index_of(sample as usize * values.len() + at, &tensor.dims),
                value: values[at],
            });
        }
    }
    Ok(())
}

/// Position of row-major element `at` along each axis.
pub(super) fn index_of(at: usize, dims: &[u64]) -> Vec<u64> {
    let mut rest = at as u64;
    let mut index: Vec<u64> = dims
        .iter()
        .rev()
        .map(|d| {
            let i = rest % d.max(&1);
            rest /= d.max(&1);
            i
        })
        .collect();
    index.reverse();
    index
}
