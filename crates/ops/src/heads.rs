//! Attention heads: what the operators share that have them as an axis of their own, or packed with the values of a
//! head in one.
//!
//! Query heads fall into as many groups as there are heads of keys and values: query head h reads key head ⌊h / n⌋ of
//! n queries a group. So an axis of query heads is (key head, query of a group).

use crate::form::mismatch;
use sparsec_ir::{AxisRef, NodeRef, OpError, Relations};

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
        let read = |name: &str| {
            let bad = || OpError::BadAttribute { name: name.to_string(), expected: "a positive whole number" };
            u64::try_from(node.int_or(name, 0)?).ok().filter(|&h| h > 0).ok_or_else(bad)
        };
        Self::new(read(query)?, read(key)?)
    }
    /// Query heads that read one key head.
    pub(crate) fn queries(self) -> u64 {
        self.query / self.key
    }
}

/// Size of one head where `heads` of them are packed in `packed` slots.
pub(crate) fn head_size(packed: u64, heads: u64) -> Result<u64, OpError> {
    match packed.checked_rem(heads) {
        Some(0) => Ok(packed / heads),
        _ => Err(mismatch("packed slots against heads", packed, heads)),
    }
}

/// Number of heads among the kept slots of an axis with `size` slots a head. Kept slots ascend.
pub(crate) fn kept_heads(kept: &[u32], size: u64) -> u64 {
    let mut heads: Vec<u64> = kept.iter().filter_map(|&slot| u64::from(slot).checked_div(size)).collect();
    heads.dedup();
    heads.len() as u64
}
