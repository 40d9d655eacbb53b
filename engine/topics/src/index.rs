//! Numbers found by the hash of what they stand for.

use hashbrown::HashTable;

use crate::KEEP_CAPACITY;

/// A hash table of numbers; what they stand for is stored elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Index {
    table: HashTable<Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Kept, so that neither growing nor most mismatches touch what the number stands for.
    hash: u32,
    id: u32,
}

impl Index {
    pub(crate) fn find(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let hash = hash as u32;
        let found = self
            .table
            .find(spread(hash), |e| e.hash == hash && is_it(e.id));
        found.map(|e| e.id)
    }

    /// Adds a number that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let hash = hash as u32;
        self.table
            .insert_unique(spread(hash), Entry { hash, id }, |e| spread(e.hash));
    }

    /// Puts another number in the place of one that is there.
    pub(crate) fn replace(&mut self, hash: u64, id: u32, by: u32) {
        let entry = self.table.find_mut(spread(hash as u32), |e| e.id == id);
        entry.expect("it was inserted").id = by;
    }

    /// Removes a number that is there.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let entry = self.table.find_entry(spread(hash as u32), |e| e.id == id);
        entry.expect("it was inserted").remove();
        // A table rarely gets this empty, so shrinking is paid for by the removals before it.
        let capacity = self.table.capacity();
        if capacity > KEEP_CAPACITY && self.table.len() < capacity / 8 {
            self.table
                .shrink_to(self.table.len() * 2, |e| spread(e.hash));
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.table.iter().map(|entry| entry.id)
    }

    /// Bytes of heap memory.
    pub(crate) fn memory(&self) -> usize {
        self.table.allocation_size()
    }
}

/// The table chooses by the lowest and by the highest bits of 64: gives both a share of the 32.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}
