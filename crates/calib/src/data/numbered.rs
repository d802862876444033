//! Archives of samples whose shapes differ, such as sentences of any length: an array `NUMBER/INPUT` for each run and input.

use super::error::DataError;
use super::load::{Found, Slot, one_after_another};
use super::npy::{Archive, MAX_BYTES};
use sparsec_ir::{ElemType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

/// The numbers of an archive's runs, as written and in their order; `None` if its arrays are not named so, or one is missing.
pub(super) fn numbers(archive: &Archive, slots: &[Slot<'_>]) -> Option<Vec<String>> {
    let mut found: BTreeMap<(u64, &str), usize> = BTreeMap::new();
    for name in archive.names() {
        let (number, input) = name.split_once('/')?;
        let is_input = slots.iter().any(|s| s.name == input);
        if !is_input || !number.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *found.entry((number.parse().ok()?, number)).or_default() += 1;
    }
    let whole = !found.is_empty() && found.values().all(|n| *n == slots.len());
    whole.then(|| found.into_keys().map(|(_, written)| written.to_string()).collect())
}

/// What tells samples that can be joined: element type and sizes of each input without the first axis.
type Shape = Vec<(ElemType, Vec<u64>)>;

/// Reads runs until there are enough samples, and joins those of one shape.
pub(super) fn read(
    path: &Path,
    archive: &mut Archive,
    numbers: &[String],
    slots: &[Slot<'_>],
    max: Option<u64>,
) -> Result<Vec<Found>, DataError> {
    let mut of_shape: BTreeMap<Shape, usize> = BTreeMap::new();
    let mut sets: Vec<Vec<Vec<Tensor>>> = Vec::new();
    let (mut samples, mut bytes) = (0u64, 0u64);
    for number in numbers {
        let left = max.map(|m| m.saturating_sub(samples));
        if left == Some(0) {
            break;
        }
        let (mut shape, mut inputs, mut count) = (Shape::new(), Vec::new(), None);
        for slot in slots {
            let tensor = read_one(path, archive, &format!("{number}/{}", slot.name), left)?;
            let (first, rest) = tensor.dims.split_first().ok_or_else(|| DataError::NoSampleAxis {
                path: path.to_path_buf(),
                array: format!("{number}/{}", slot.name),
            })?;
            if *count.get_or_insert(*first) != *first {
                return Err(DataError::Samples {
                    path: path.to_path_buf(),
                    array: format!("{number}/{}", slot.name),
                    found: *first,
                    with: format!("{number}/{}", slots[0].name),
                    expected: count.unwrap_or_default(),
                });
            }
            shape.push((tensor.elem, rest.to_vec()));
            bytes = bytes.saturating_add(tensor.byte_len());
            inputs.push(tensor);
        }
        if bytes > MAX_BYTES {
            return Err(DataError::TooLarge { path: path.to_path_buf(), bytes, limit: MAX_BYTES });
        }
        samples += count.unwrap_or_default();
        let at = *of_shape.entry(shape).or_insert(sets.len());
        if at == sets.len() {
            sets.push(vec![Vec::new(); slots.len()]);
        }
        sets[at].iter_mut().zip(inputs).for_each(|(list, tensor)| list.push(tensor));
    }
    let join = |(slot, list): (&Slot<'_>, Vec<Tensor>)| one_after_another(&list).map_err(|e| slot.tensor(e));
    let found = |set: Vec<Vec<Tensor>>| {
        let inputs = slots.iter().zip(set).map(join).collect::<Result<_, _>>()?;
        Ok(Found { inputs, label: None, columns: Vec::new(), notes: Vec::new() })
    };
    sets.into_iter().map(found).collect()
}

fn read_one(path: &Path, archive: &mut Archive, name: &str, max: Option<u64>) -> Result<Tensor, DataError> {
    let array = |source| DataError::Array { path: path.to_path_buf(), array: name.to_string(), source };
    let missing = || DataError::Names { path: path.to_path_buf(), expected: vec![name.to_string()], found: Vec::new() };
    archive.read(name, max).map_err(array)?.ok_or_else(missing)
}
