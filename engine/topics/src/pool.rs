//! A vector whose freed entries are used again.

use std::mem;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use crate::{KEEP_CAPACITY, index};

/// The entry of every pool that is never handed out: an empty item, for owners that have none.
pub(crate) const EMPTY: u32 = 0;

/// Items by a stable, non-zero index. A freed entry holds `T::default()`, which must own no heap
/// memory, until it is used again.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    items: Vec<T>,
    free: Vec<NonZeroU32>,
}

impl<T: Default> Default for Pool<T> {
    fn default() -> Self {
        Self {
            items: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<T: Default> Pool<T> {
    pub(crate) fn insert(&mut self, item: T) -> NonZeroU32 {
        if let Some(id) = self.free.pop() {
            self.items[id.get() as usize] = item;
            return id;
        }
        if self.items.is_empty() {
            self.items.push(T::default());
        }
        let id = NonZeroU32::new(index(self.items.len())).expect("entry 0 is the empty one");
        self.items.push(item);
        id
    }

    pub(crate) fn remove(&mut self, id: NonZeroU32) -> T {
        let item = mem::take(&mut self.items[id.get() as usize]);
        self.free.push(id);
        // Entries in use may lie anywhere, so memory is given back only when there are none.
        if self.free.len() + 1 == self.items.len() && self.items.capacity() > KEEP_CAPACITY {
            *self = Self::default();
        }
        item
    }
}

impl<T> Index<u32> for Pool<T> {
    type Output = T;

    fn index(&self, id: u32) -> &T {
        &self.items[id as usize]
    }
}

impl<T> IndexMut<u32> for Pool<T> {
    fn index_mut(&mut self, id: u32) -> &mut T {
        &mut self.items[id as usize]
    }
}
