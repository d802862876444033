//! How attributes and shape operands follow a cut.

use crate::{Attr, Dim, NodeRef, ValueId};

/// What was cut around one node.
#[derive(Clone, Copy)]
pub struct Resized<'a> {
    /// The node before the cut, with the facts of that time.
    pub before: NodeRef<'a>,
    /// Indices that stay, in the order in which they lie, of an axis of a value; `None` where nothing was cut (or the axis is not static).
    pub kept: &'a dyn Fn(ValueId, usize) -> Option<Vec<u32>>,
}

impl Resized<'_> {
    /// Size of an axis after the cut: the old one, symbolic or not, where nothing was cut.
    pub fn dim(&self, value: ValueId, axis: usize) -> Option<Dim> {
        match (self.kept)(value, axis) {
            Some(kept) => Some(Dim::from(kept.len() as i64)),
            None => self.before.facts.get(value).shape.as_ref()?.get(axis).cloned(),
        }
    }
    /// All sizes of a value after the cut.
    pub fn shape(&self, value: ValueId) -> Option<Vec<Dim>> {
        let rank = self.before.facts.get(value).rank()?;
        (0..rank).map(|a| self.dim(value, a)).collect()
    }
    /// Whether any axis of the node's operands and results was cut.
    pub fn any(&self) -> bool {
        let node = self.before.node();
        let cut =
            |v: &ValueId| (0..self.before.facts.get(*v).rank().unwrap_or(0)).any(|a| (self.kept)(*v, a).is_some());
        node.inputs.iter().flatten().any(cut) || node.outputs.iter().flatten().any(cut)
    }
}

/// One change that a node needs after a cut.
#[derive(Clone, Debug)]
pub enum Edit {
    /// Sets an attribute.
    Attr(&'static str, Attr),
    /// Removes an attribute that another edit makes superfluous.
    NoAttr(&'static str),
    /// A whole-number operand of rank 1 must hold these numbers.
    Content {
        /// Operand.
        operand: usize,
        /// Numbers it must hold, symbolic where they depend on the input.
        dims: Vec<Dim>,
    },
    /// An operand of whole numbers names entries of an axis `len` long, of which only `kept` are left: it is translated.
    /// Numbers below 0 count from the end; those of entries that left become 0.
    Translate {
        /// Operand.
        operand: usize,
        /// Entries before.
        len: u64,
        /// Entries that stay, ascending.
        kept: Vec<u32>,
    },
    /// The node becomes a `Gather` of its first operand by constant indices along `axis`.
    Gather {
        /// Axis.
        axis: usize,
        /// Indices.
        indices: Vec<i64>,
    },
}
