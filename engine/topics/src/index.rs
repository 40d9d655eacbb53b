//! Numbers found by the hash of what they stand for.

use hashbrown::HashTable;

use crate::KEEP_CAPACITY;

/// Tables that share the entries. Each grows when it is full, at a time of its own: a million entries in one
/// would have whoever adds the next wait some 20 ms for all of them to move.
const SHARDS: usize = 16;

/// A hash table of numbers; what they stand for is stored elsewhere.
#[derive(Debug, Default)]
pub(crate) struct Index {
    shards: [HashTable<Entry>; SHARDS],
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
        let found = self.shards[shard(hash)].find(spread(hash), |e| e.hash == hash && is_it(e.id));
        found.map(|e| e.id)
    }

    /// Adds a number that is not there yet.
    pub(crate) fn insert(&mut self, hash: u64, id: u32) {
        let hash = hash as u32;
        let entry = Entry { hash, id };
        self.shards[shard(hash)].insert_unique(spread(hash), entry, |e| spread(e.hash));
    }

    /// Puts another number in the place of one that is there.
    pub(crate) fn replace(&mut self, hash: u64, id: u32, by: u32) {
        let hash = hash as u32;
        let entry = self.shards[shard(hash)].find_mut(spread(hash), |e| e.id == id);
        entry.expect("it was inserted").id = by;
    }

    /// Removes a number that is there.
    pub(crate) fn remove(&mut self, hash: u64, id: u32) {
        let hash = hash as u32;
        let table = &mut self.shards[shard(hash)];
        let entry = table.find_entry(spread(hash), |e| e.id == id);
        entry.expect("it was inserted").remove();
        // A table rarely gets this empty, so shrinking is paid for by the removals before it.
        if table.capacity() > KEEP_CAPACITY / SHARDS && table.len() < table.capacity() / 8 {
            table.shrink_to(table.len() * 2, |e| spread(e.hash));
        }
    }

    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = u32> {
        self.shards.iter().flatten().map(|entry| entry.id)
    }

    /// Bytes of heap memory.
    pub(crate) fn memory(&self) -> usize {
        self.shards.iter().map(HashTable::allocation_size).sum()
    }
}

/// A table looks at the lowest bits of 64 and at the highest seven: gives both a share of the 32.
fn spread(hash: u32) -> u64 {
    u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// By bits that no table looks at.
fn shard(hash: u32) -> usize {
    (spread(hash) >> 40) as usize % SHARDS
}
