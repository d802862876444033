//! Typed ids and the dense maps that hang facts on them.

use std::fmt;
use std::marker::PhantomData;
use std::num::NonZeroU32;

/// A dense `u32` id with a niche, so that `Option<Id>` costs nothing.
pub trait Id: Copy + Eq + Ord {
    /// The id of position `index`.
    fn new(index: usize) -> Self;
    /// Position in the owning arena.
    fn index(self) -> usize;
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $letter:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(NonZeroU32);
        impl Id for $name {
            fn new(index: usize) -> Self {
                let raw = u32::try_from(index).ok().and_then(|i| i.checked_add(1)).and_then(NonZeroU32::new);
                Self(raw.expect("an arena holds fewer than 2^32 - 1 entities"))
            }
            fn index(self) -> usize {
                self.0.get() as usize - 1
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($letter, "{}"), self.index())
            }
        }
    };
}

id!(
    /// A node of one [`Graph`](crate::Graph). Dies at the pass boundary: never serialised.
    NodeId, "n"
);
id!(
    /// A value of one [`Graph`](crate::Graph). Dies at the pass boundary: never serialised.
    ValueId, "v"
);

/// A dense map from ids to facts about the entities that some arena owns. Iteration is in id order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdMap<K, V> {
    items: Vec<V>,
    key: PhantomData<K>,
}

impl<K: Id, V: Clone> IdMap<K, V> {
    /// A map with `value` for each of the first `len` ids.
    pub fn filled(len: usize, value: V) -> Self {
        Self { items: vec![value; len], key: PhantomData }
    }
    /// Sets the fact of `key`, growing the map with `fill` where it is too short.
    pub fn set_or_grow(&mut self, key: K, value: V, fill: V) {
        if key.index() >= self.items.len() {
            self.items.resize(key.index() + 1, fill);
        }
        self.items[key.index()] = value;
    }
}

impl<K: Id, V> IdMap<K, V> {
    /// The fact of `key`, if the map reaches that far.
    pub fn get(&self, key: K) -> Option<&V> {
        self.items.get(key.index())
    }
    /// Facts with their ids, in id order.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> {
        self.items.iter().enumerate().map(|(i, v)| (K::new(i), v))
    }
    /// How many ids the map covers.
    pub fn len(&self) -> usize {
        self.items.len()
    }
    /// Whether the map covers no id.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }
}

impl<K, V> Default for IdMap<K, V> {
    fn default() -> Self {
        Self { items: Vec::new(), key: PhantomData }
    }
}

impl<K: Id, V> std::ops::Index<K> for IdMap<K, V> {
    type Output = V;
    fn index(&self, key: K) -> &V {
        &self.items[key.index()]
    }
}

impl<K: Id, V> std::ops::IndexMut<K> for IdMap<K, V> {
    fn index_mut(&mut self, key: K) -> &mut V {
        &mut self.items[key.index()]
    }
}
