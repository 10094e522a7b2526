//! A table's rows in memory: keys and rows in one text, and a hash table of numbers over it.

use std::{
    fmt,
    hash::{BuildHasher as _, RandomState},
};

/// The rows of one table. Some 16 bytes a row beside its key and its JSON.
pub struct Rows {
    /// Each row's key and then the row: an object as JSON.
    pub(super) text: Box<str>,
    pub(super) entries: Box<[Entry]>,
    /// Numbers of entries by the hash of their keys, [`FREE`] between them; a power of two, at most half full.
    pub(super) slots: Box<[u32]>,
    /// Keyed anew for each table: nobody can choose keys that meet.
    pub(super) hasher: RandomState,
}

/// Where a row begins; it ends where the next one does.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) start: u32,
    pub(super) key_bytes: u32,
}

pub(super) const FREE: u32 = u32::MAX;

impl Rows {
    /// The row of this key.
    pub fn get(&self, key: &str) -> Option<&str> {
        let mut slot = self.first_slot(key);
        loop {
            let number = *self.slots.get(slot)?;
            if number == FREE {
                return None;
            }
            let (known, row) = self.entry(number as usize)?;
            if known == key {
                return Some(row);
            }
            slot = self.next_slot(slot);
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// What it takes in memory: the same on every node.
    pub fn memory_bytes(&self) -> u64 {
        let bytes = self.text.len() + size_of_val(&*self.entries) + size_of_val(&*self.slots);
        bytes as u64
    }

    pub(super) fn entry(&self, number: usize) -> Option<(&str, &str)> {
        let entry = self.entries.get(number)?;
        let next = self.entries.get(number + 1);
        let end = next.map_or(self.text.len(), |next| next.start as usize);
        let text = self.text.get(entry.start as usize..end)?;
        text.split_at_checked(entry.key_bytes as usize)
    }

    pub(super) fn first_slot(&self, key: &str) -> usize {
        // Only the lower bits count, so nothing is lost.
        self.hasher.hash_one(key) as usize & self.slots.len().saturating_sub(1)
    }

    pub(super) fn next_slot(&self, slot: usize) -> usize {
        (slot + 1) & self.slots.len().saturating_sub(1)
    }
}

/// Says how large it is, not what stands in it: rows are not for logs.
impl fmt::Debug for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Rows")
            .field("len", &self.len())
            .finish_non_exhaustive()
    }
}
