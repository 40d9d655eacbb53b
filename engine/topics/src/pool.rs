//! A vector whose freed entries are used again.

use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

use crate::KEEP_CAPACITY;
use crate::pages::{Pages, bytes};

/// Items by a stable index from 1 on.
#[derive(Debug)]
pub(crate) struct Pool<T> {
    items: Pages<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Pool<T> {
    fn default() -> Self {
        Self {
            items: Pages::default(),
            free: Vec::new(),
        }
    }
}

impl<T> Pool<T> {
    /// Whether the next number would be `limit` or more.
    pub(crate) fn reaches(&self, limit: u32) -> bool {
        self.free.is_empty() && self.items.len() + 1 >= limit as usize
    }

    pub(crate) fn insert(&mut self, item: T) -> NonZeroU32 {
        let id = if let Some(id) = self.free.pop() {
            self.items[id as usize - 1] = Some(item);
            id
        } else {
            self.items.push(Some(item));
            u32::try_from(self.items.len()).expect("memory ends before numbers of 32 bits do")
        };
        NonZeroU32::new(id).expect("numbers start at 1")
    }

    /// # Panics
    /// When there is no such item.
    pub(crate) fn remove(&mut self, id: u32) -> T {
        let item = self.items[id as usize - 1].take().expect(FREED);
        self.free.push(id);
        // Entries in use may lie anywhere, so memory is given back only when there are none.
        if self.is_empty() && self.items.len() > KEEP_CAPACITY {
            *self = Self::default();
        }
        item
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.free.len() == self.items.len()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.items.iter().flatten()
    }

    /// Bytes of heap memory, without what the items own.
    pub(crate) fn memory(&self) -> usize {
        self.items.memory() + bytes(&self.free)
    }
}

const FREED: &str = "this number was freed";

impl<T> Index<u32> for Pool<T> {
    type Output = T;

    #[inline]
    fn index(&self, id: u32) -> &T {
        self.items[id as usize - 1].as_ref().expect(FREED)
    }
}

impl<T> IndexMut<u32> for Pool<T> {
    #[inline]
    fn index_mut(&mut self, id: u32) -> &mut T {
        self.items[id as usize - 1].as_mut().expect(FREED)
    }
}
