//! What attention operators share: flat axes that are heads times the head dimension.
//!  H1  A flat axis is the product of the heads and the head dimension.
//!  H2  Positions attend to each other: their axes are frozen.
//!  H3  The number of heads follows, and a scale that is the square root of a head's size is spelled out before the
//!      size changes.
//!  H4  Query heads fall into as many groups as there are heads of keys and values: query head h reads key head ⌊h / n⌋
//!      of n queries a group. So the query heads are the product of the key heads and the queries of a group.

use crate::form::{freeze, mismatch, positive, tie};
use sparsec_ir::{Attr, AxisRef, Edit, LinkKind, NodeRef, OpError, Operand, Reason, Relations, Resized, Row, ValueId};

/// Size of one of `heads` heads on an axis of `len` slots.
pub(crate) fn size_of(len: Option<u64>, heads: u64) -> Result<u64, OpError> {
    let len = len.ok_or(OpError::Unsupported("a hidden size that is not known"))?;
    if heads == 0 || !len.is_multiple_of(heads) || len == 0 {
        return Err(mismatch("hidden size against heads", len, heads));
    }
    Ok(len / heads)
}

/// An axis with its length.
pub(crate) type Long = (AxisRef, u64);

/// Makes `flat` the row-major product of `factors`; those of length 1 do not count.
pub(crate) fn compose(r: &mut Relations, flat: AxisRef, factors: &[Long], rule: &'static str) {
    match factors.iter().copied().filter(|(_, len)| *len != 1).collect::<Vec<_>>().as_slice() {
        [] => {}
        &[(axis, len)] => r.tie(flat, axis, len, rule),
        several => r.product(flat, &several.iter().map(|f| f.0).collect::<Vec<_>>(), rule),
    }
}

/// A new virtual axis with its length.
pub(crate) fn virtual_axis(r: &mut Relations, len: u64) -> Long {
    (r.virtual_axis(len), len)
}

/// Heads of queries and of keys and values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heads {
    pub(crate) query: u64,
    pub(crate) key: u64,
}

impl Heads {
    /// Heads of the numbers given, of which the first must be a multiple of the second.
    pub(crate) fn new(query: u64, key: u64) -> Result<Self, OpError> {
        match query.checked_rem(key) {
            Some(0) if query > 0 => Ok(Self { query, key }),
            _ => Err(mismatch("heads of queries against those of keys", query, key)),
        }
    }
    /// The heads that the attributes `query` and `key` give.
    pub(crate) fn stated(node: &NodeRef, query: &'static str, key: &'static str) -> Result<Self, OpError> {
        Self::new(positive(node, query, 0)?, positive(node, key, 0)?)
    }
    /// Query heads that read one key head.
    pub(crate) fn queries(self) -> u64 {
        self.query / self.key
    }
}

/// Freezes the position axis of operands and results. Rule H2.
pub(crate) fn freeze_positions(r: &mut Relations, axes: &[(&Operand, usize)]) {
    for (o, axis) in axes {
        freeze(r, o, [*axis], &Reason::Rule("positions attend to each other"));
    }
}

/// Masks, lengths and biases of scores speak of positions, which are frozen. Axis 0 is the batch of `q` where it is as
/// long; what the axis `but` means is for the caller to say.
pub(crate) fn masks(r: &mut Relations, q: &Operand, o: &Operand, but: Option<usize>, rule: &'static str) {
    let batch = |o: &Operand| o.fact.shape.as_ref().and_then(|s| s.first().cloned());
    for axis in (0..o.rank().unwrap_or(0)).filter(|a| Some(*a) != but && o.size(*a) != Some(1)) {
        if axis == 0 && batch(o).is_some() && batch(o) == batch(q) {
            tie(r, (q, 0), (o, 0), rule);
        } else {
            freeze_positions(r, &[(o, axis)]);
        }
    }
}

/// Says that `count` slots of an axis from `start` on are worth zero once they leave.
pub(crate) fn absorb(r: &mut Relations, o: &Operand, axis: usize, start: u64, count: u64, rule: &'static str) {
    let row = Row { axis: o.axis(axis), start: start as u32, step: 1 };
    r.link(row, row, count, LinkKind::Contract, rule);
}

/// Heads, and slots of the head dimension, that are left of slots `start..start + heads · size` of an axis. `None` where the heads
/// are not left alike.
fn left(cut: &Resized, axis: (ValueId, usize), start: u64, heads: u64, size: u64) -> Option<(u64, u64)> {
    let Some(kept) = (cut.kept)(axis.0, axis.1) else { return Some((heads, size)) };
    let mut counts = std::collections::BTreeMap::<u64, u64>::new();
    for slot in kept.iter().map(|k| u64::from(*k)).filter(|k| (start..start + heads * size).contains(k)) {
        *counts.entry((slot - start) / size).or_insert(0) += 1;
    }
    let first = *counts.values().next()?;
    counts.values().all(|c| *c == first).then_some((counts.len() as u64, first))
}

/// An attribute that is a number of heads: its name, the axis of the heads, the first of their slots, the number.
pub(crate) type Counted = (&'static str, (ValueId, usize), u64, u64);

/// Edits of `names` and of `scale`, for heads of `size` numbers. Rule H3.
pub(crate) fn resize(cut: &Resized, names: &[Counted], size: u64) -> Result<Vec<Edit>, OpError> {
    let (mut edits, smaller) = numbers(cut, names, size)?;
    if smaller {
        edits.extend(keep_scale(&cut.before, size)?);
    }
    Ok(edits)
}

/// A scale that was not stated is that of heads of `size` numbers, before a cut. Rule H3.
pub(crate) fn keep_scale(node: &NodeRef, size: u64) -> Result<Vec<Edit>, OpError> {
    let stated = node.float_or("scale", 0.0)? != 0.0;
    Ok(if stated { Vec::new() } else { vec![Edit::Attr("scale", Attr::Float((1.0 / (size as f64).sqrt()) as f32))] })
}

/// Edits of `names`, for heads of `size` numbers, and whether the heads become smaller. Rule H3.
pub(crate) fn numbers(cut: &Resized, names: &[Counted], size: u64) -> Result<(Vec<Edit>, bool), OpError> {
    let mut edits = Vec::new();
    let mut smaller = false;
    for &(name, axis, start, heads) in names {
        let uneven = OpError::Unsupported("heads that are cut unevenly");
        let (new, numbers) = left(cut, axis, start, heads, size).ok_or(uneven)?;
        smaller |= numbers != size;
        if new != heads {
            edits.push(Edit::Attr(name, Attr::Int(i64::try_from(new).map_err(|_| OpError::Overflow)?)));
        }
    }
    Ok((edits, smaller))
}
