//! Numbering of axes and slots.

use sparsec_ir::{AxisRef, Facts, Graph, Id, IdMap, NodeId, ValueId};
use std::num::NonZeroU32;

/// An axis of static length: of a value, or known to the relations of one node only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AxisId(NonZeroU32);

impl Id for AxisId {
    fn new(index: usize) -> Self {
        Self(NonZeroU32::new(index as u32 + 1).expect("fewer than 2^32 - 1 axes"))
    }
    fn index(self) -> usize {
        self.0.get() as usize - 1
    }
}

/// One index of one axis, numbered through the whole model.
pub type Slot = u32;

/// Whose axis it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisOwner {
    /// Axis of a value.
    Value(ValueId, u32),
    /// A virtual axis of a node's relations.
    Virtual(NodeId),
    /// A common factor of two factorisations that meet.
    Digit,
}

/// Axes longer than this are not slotted: they are frozen as dynamic ones are. No channel axis comes near it, and a
/// lying shape must not cost memory.
const MAX_LEN: u64 = 1 << 22;
/// Slots of a whole model beyond which further axes are frozen.
const MAX_SLOTS: u64 = 1 << 26;

/// Every slotted axis of a model. Slots of one axis are consecutive.
#[derive(Clone, Debug, Default)]
pub struct Axes {
    owners: Vec<AxisOwner>,
    base: Vec<Slot>,
    len: Vec<u32>,
    of_value: IdMap<ValueId, Vec<Option<AxisId>>>,
    total: u32,
}

impl Axes {
    /// Numbers the axes of every value whose shape is known.
    pub(crate) fn of(graph: &Graph, facts: &Facts) -> Self {
        let mut axes = Self { of_value: IdMap::filled(graph.value_bound(), Vec::new()), ..Self::default() };
        for (v, _) in graph.values() {
            let rank = facts.get(v).rank().unwrap_or(0);
            axes.of_value[v] = (0..rank)
                .map(|a| facts.get(v).size(a).and_then(|len| axes.push(AxisOwner::Value(v, a as u32), len)))
                .collect();
        }
        axes
    }
    /// Adds an axis; `None` where it is too long to be slotted.
    pub(crate) fn push(&mut self, owner: AxisOwner, len: u64) -> Option<AxisId> {
        if len > MAX_LEN || u64::from(self.total) + len > MAX_SLOTS {
            return None;
        }
        let id = AxisId::new(self.owners.len());
        self.owners.push(owner);
        self.base.push(self.total);
        self.len.push(len as u32);
        self.total += len as u32;
        Some(id)
    }
    /// The axis of a value, if it is slotted.
    pub fn find(&self, value: ValueId, axis: usize) -> Option<AxisId> {
        self.of_value.get(value)?.get(axis).copied().flatten()
    }
    /// The axis that a relation of a node speaks of; `virtuals` are that node's own.
    pub(crate) fn resolve(&self, axis: AxisRef, virtuals: &[Option<AxisId>]) -> Option<AxisId> {
        match axis {
            AxisRef::Value(v, a) => self.find(v, a as usize),
            AxisRef::Virtual(i) => virtuals.get(i as usize).copied().flatten(),
        }
    }
    /// Whose axis it is.
    pub fn owner(&self, axis: AxisId) -> AxisOwner {
        self.owners[axis.index()]
    }
    /// Its length.
    pub fn len(&self, axis: AxisId) -> u32 {
        self.len[axis.index()]
    }
    /// Whether there are no axes at all.
    pub fn is_empty(&self) -> bool {
        self.owners.is_empty()
    }
    /// Slot `index` of an axis.
    pub fn slot(&self, axis: AxisId, index: u32) -> Slot {
        debug_assert!(index < self.len(axis));
        self.base[axis.index()] + index
    }
    /// Slots of an axis.
    pub fn slots(&self, axis: AxisId) -> std::ops::Range<Slot> {
        let base = self.base[axis.index()];
        base..base + self.len(axis)
    }
    /// The axis of a slot and the index along it.
    pub fn locate(&self, slot: Slot) -> (AxisId, u32) {
        let at = self.base.partition_point(|b| *b <= slot) - 1;
        // Empty axes share their base with the next one, which is the one that holds the slot.
        (AxisId::new(at), slot - self.base[at])
    }
    /// Every axis, in order.
    pub fn iter(&self) -> impl Iterator<Item = AxisId> + use<> {
        (0..self.owners.len()).map(AxisId::new)
    }
    /// Number of slots in all.
    pub fn slot_count(&self) -> u32 {
        self.total
    }
    /// What a person calls the axis: `value:axis`.
    pub fn label(&self, graph: &Graph, axis: AxisId) -> String {
        match self.owner(axis) {
            AxisOwner::Value(v, a) => format!("{}:{a}", graph.value(v).name),
            AxisOwner::Virtual(n) => format!("inner axis of {}", graph.label(n)),
            AxisOwner::Digit => "common factor".to_string(),
        }
    }
}
