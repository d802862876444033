//! Contents of small whole-number tensors: what shape rules read and write besides types and sizes.

use crate::form::freeze_all;
use sparsec_ir::{Dim, NodeRef, Operand, Reason, Relations};

/// Tensors with more elements do not speak of shapes; their contents are not computed.
pub(crate) const MAX: usize = 4096;

/// Contents of an operand. A constant float tensor counts if its elements are whole numbers: exporters compute sizes
/// in floats on the way from one integer to the next.
pub(crate) fn of(operand: &Operand) -> Option<Vec<Dim>> {
    if let Some(content) = &operand.fact.content {
        return Some(content.clone());
    }
    let tensor = operand.tensor?;
    if tensor.dims.len() > 1 || tensor.count() > MAX as u64 {
        return None;
    }
    tensor.to_f64().ok()?.into_iter().map(exact).collect()
}

/// A float that is a whole number.
pub(crate) fn exact(v: f64) -> Option<Dim> {
    (v.fract() == 0.0 && v.abs() <= f64::from(1 << 24)).then_some(Dim::from(v as i64))
}

/// The one number that operand `index` holds: a size, or a float that is a whole number.
pub(crate) fn number(node: &NodeRef, index: usize) -> Option<Dim> {
    match of(&node.input(index)?)?.as_slice() {
        [number] => Some(number.clone()),
        _ => None,
    }
}

/// Contents of operand `index`, if each is a plain number.
pub(crate) fn ints(node: &NodeRef, index: usize) -> Option<Vec<i64>> {
    node.input(index)?.fact.ints()
}

/// Contents of two operands combined element by element; one with a single element goes with all of the other's.
pub(crate) fn zip(a: &[Dim], b: &[Dim], f: impl Fn(&Dim, &Dim) -> Option<Dim>) -> Option<Vec<Dim>> {
    let len = if a.len() == 1 { b.len() } else { a.len() };
    if b.len() != len && b.len() != 1 {
        return None;
    }
    let at = |side: &[Dim], i: usize| side.get(if side.len() == 1 { 0 } else { i }).cloned();
    (0..len).map(|i| f(&at(a, i)?, &at(b, i)?)).collect()
}

/// States that operand `index`, if given, is read for sizes or positions only. A cut never shortens it as data; the
/// resize rule of the node says what it must hold.
pub(crate) fn freeze_sizes(node: &NodeRef, index: usize, r: &mut Relations) {
    if let Some(operand) = node.input(index) {
        freeze_all(r, &operand, &Reason::Rule("holds sizes"));
    }
}

/// Leaves every axis of a value alone: the node reads nothing of it that depends on single slots.
pub(crate) fn free_all(operand: &Operand, r: &mut Relations) {
    for axis in 0..operand.rank().unwrap_or(0) {
        r.free(operand.axis(axis));
    }
}

/// Places of slots among those that are kept, in whatever order they lie.
pub(crate) struct Places(Vec<(u32, i64)>);

impl Places {
    pub(crate) fn of(kept: &[u32]) -> Self {
        let mut places: Vec<(u32, i64)> = kept.iter().copied().zip(0..).collect();
        places.sort_unstable();
        Self(places)
    }
    /// Place of a slot; `None` where it is not kept.
    pub(crate) fn find(&self, slot: u64) -> Option<i64> {
        let slot = u32::try_from(slot).ok()?;
        self.0.binary_search_by_key(&slot, |p| p.0).ok().map(|at| self.0[at].1)
    }
}

/// Position in a row of slots; negative numbers count from its end.
pub(crate) fn slot(index: i64, len: u64) -> Option<u64> {
    let at = if index < 0 { i64::try_from(len).ok()?.checked_add(index)? } else { index };
    u64::try_from(at).ok().filter(|&at| at < len)
}
