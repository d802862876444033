//! A map from slots: dense keys, few entries.

/// Entries by number below a bound; four bytes for each number, and the entries.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table<T> {
    /// Position of an entry plus one; 0 where there is none.
    at: Vec<u32>,
    keys: Vec<u32>,
    entries: Vec<T>,
}

impl<T> Table<T> {
    /// An empty table for keys below `bound`.
    pub(crate) fn new(bound: u32) -> Self {
        Self { at: vec![0; bound as usize], keys: Vec::new(), entries: Vec::new() }
    }
    /// The entry of `key`.
    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        let at = *self.at.get(key as usize)?;
        self.entries.get((at as usize).checked_sub(1)?)
    }
    /// Adds an entry or replaces it.
    pub(crate) fn insert(&mut self, key: u32, entry: T) {
        match self.at[key as usize] {
            0 => {
                self.keys.push(key);
                self.entries.push(entry);
                self.at[key as usize] = self.entries.len() as u32;
            }
            at => self.entries[at as usize - 1] = entry,
        }
    }
    /// The entry of `key`, made where there is none.
    pub(crate) fn get_or_insert(&mut self, key: u32, make: impl FnOnce() -> T) -> &mut T {
        if self.at[key as usize] == 0 {
            self.insert(key, make());
        }
        &mut self.entries[self.at[key as usize] as usize - 1]
    }
    /// Every entry, to be changed.
    pub(crate) fn entries_mut(&mut self) -> &mut [T] {
        &mut self.entries
    }
    /// The entries, in the order in which they came.
    pub(crate) fn into_entries(self) -> Vec<T> {
        self.entries
    }
    /// Keys with entries, in the order in which they came.
    pub(crate) fn keys(&self) -> &[u32] {
        &self.keys
    }
}
