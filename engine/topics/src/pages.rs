//! Vectors that grow without moving what they hold, and with little to spare.

use std::ops::{Index, IndexMut};

/// Entries per page. Growth moves one page at most, so that no subscription waits for a copy of the table.
const PAGE: usize = 1024;

/// The least room that a vector grows by.
const LEAST_GROWTH: usize = 4;

/// Makes room in steps of an eighth: doubling would cost more memory than a subscription may.
#[inline]
pub(crate) fn reserve<T>(items: &mut Vec<T>, additional: usize) {
    reserve_up_to(items, additional, usize::MAX);
}

/// The same for a vector that will hold no more than `most`.
#[inline]
pub(crate) fn reserve_up_to<T>(items: &mut Vec<T>, additional: usize, most: usize) {
    if items.capacity() - items.len() < additional {
        grow(items, additional, most);
    }
}

#[cold]
fn grow<T>(items: &mut Vec<T>, additional: usize, most: usize) {
    let step = (items.len() / 8).max(LEAST_GROWTH);
    items.reserve_exact(step.min(most - items.len()).max(additional));
}

/// A vector in pages.
#[derive(Debug)]
pub(crate) struct Pages<T> {
    pages: Vec<Vec<T>>,
}

impl<T> Default for Pages<T> {
    fn default() -> Self {
        Self { pages: Vec::new() }
    }
}

impl<T> Pages<T> {
    pub(crate) fn len(&self) -> usize {
        let full = self.pages.len().saturating_sub(1);
        full * PAGE + self.pages.last().map_or(0, Vec::len)
    }

    pub(crate) fn push(&mut self, item: T) {
        if self.pages.last().is_none_or(|page| page.len() == PAGE) {
            self.pages.push(Vec::new());
        }
        let page = self.pages.last_mut().expect("there is one now");
        reserve_up_to(page, 1, PAGE);
        page.push(item);
    }

    #[inline]
    pub(crate) fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.pages.iter().flatten()
    }

    /// Bytes of heap memory, without what the items own.
    pub(crate) fn memory(&self) -> usize {
        let pages = self.pages.iter().map(bytes).sum::<usize>();
        pages + bytes(&self.pages)
    }
}

impl<T> Index<usize> for Pages<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T> IndexMut<usize> for Pages<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

/// Bytes that a vector has allocated.
pub(crate) fn bytes<T>(items: &Vec<T>) -> usize {
    items.capacity() * size_of::<T>()
}
