//! One end of all subscriptions: a list of halves for each connection, or for each topic.

use std::array;
use std::slice;

use crate::half::{Half, LIMIT};
use crate::pages::{Pages, bytes, reserve, reserve_up_to};
use crate::pool::Pool;

/// Lists up to this length lie in blocks of exactly their length, side by side with all others of that
/// length: nothing is to spare and nothing allocated for them alone. Longer ones are vectors, whose own cost
/// is little for each entry by then.
const SMALL: usize = 32;

/// Vectors with fewer entries than this keep their memory: giving back a few hundred bytes is not worth
/// allocating them again.
const KEEP: usize = 2 * SMALL;

/// Lists by the number of their owner. Owners are expected to be dense: each costs 6 bytes up to the
/// highest that ever had an entry, in which a list of one lies.
///
/// A list of two to 32 entries moves when its length changes, and the last block of its former length
/// fills the gap. Whose that was, the *mirror* tells: the other end's lists, in which the entry's other half names
/// its owner.
#[derive(Debug)]
pub(crate) struct Lists {
    slots: Pages<Slot>,
    blocks: [Blocks; SMALL + 1],
    large: Pool<Vec<Half>>,
}

/// Where a list lies: a half is the list's only one, unless its first number says otherwise.
#[derive(Debug, Clone, Copy)]
struct Slot(Half);

#[derive(Clone, Copy)]
enum Place {
    Nowhere,
    Here,
    Block { len: usize, block: u32 },
    Large(u32),
}

/// First number of a slot whose list is a block: this and the length.
const BLOCK: u32 = LIMIT;
const LARGE: u32 = LIMIT + 62;
const NOWHERE: u32 = LIMIT + 63;

const _: () = assert!(NOWHERE < 1 << 24 && BLOCK + (SMALL as u32) < LARGE);

impl Slot {
    const EMPTY: Self = Self(Half::new(NOWHERE, 0));

    fn block(len: usize, block: u32) -> Self {
        Self(Half::new(BLOCK + len as u32, block))
    }

    fn large(list: u32) -> Self {
        Self(Half::new(LARGE, list))
    }

    #[inline]
    fn place(self) -> Place {
        let block = self.0.at();
        match self.0.other() {
            NOWHERE => Place::Nowhere,
            LARGE => Place::Large(block),
            marker @ BLOCK.. => Place::Block {
                len: (marker - BLOCK) as usize,
                block,
            },
            _ => Place::Here,
        }
    }
}

impl Default for Lists {
    fn default() -> Self {
        Self {
            slots: Pages::default(),
            blocks: array::from_fn(Blocks::new),
            large: Pool::default(),
        }
    }
}

impl Lists {
    #[inline]
    pub(crate) fn of(&self, owner: u32) -> &[Half] {
        let Some(slot) = self.slots.get(owner as usize) else {
            return &[];
        };
        match slot.place() {
            Place::Nowhere => &[],
            Place::Here => slice::from_ref(&slot.0),
            Place::Block { len, block } => self.blocks[len].get(block),
            Place::Large(list) => &self.large[list],
        }
    }

    fn of_mut(&mut self, owner: u32) -> &mut [Half] {
        let slot = &mut self.slots[owner as usize];
        match slot.place() {
            Place::Nowhere => &mut [],
            Place::Here => slice::from_mut(&mut slot.0),
            Place::Block { len, block } => self.blocks[len].get_mut(block),
            Place::Large(list) => &mut self.large[list],
        }
    }

    /// Notes that the other half of an entry has moved.
    #[inline]
    pub(crate) fn moved(&mut self, owner: u32, at: u32, to: u32) {
        self.of_mut(owner)[at as usize].set_at(to);
    }

    pub(crate) fn swap(&mut self, owner: u32, one: u32, other: u32) {
        self.of_mut(owner).swap(one as usize, other as usize);
    }

    /// Adds an entry behind the others of `owner`.
    pub(crate) fn push(&mut self, owner: u32, half: Half, mirror: &Self) {
        while self.slots.len() <= owner as usize {
            self.slots.push(Slot::EMPTY);
        }
        let slot = self.slots[owner as usize];
        let longer = match slot.place() {
            Place::Nowhere => Slot(half),
            Place::Here => Slot::block(2, self.blocks[2].push(&[slot.0, half])),
            Place::Block { len, block } => {
                let mut items = self.take_block(len, block, mirror);
                items[len] = half;
                self.place(&items[..=len])
            }
            Place::Large(list) => {
                let items = &mut self.large[list];
                reserve(items, 1);
                items.push(half);
                return;
            }
        };
        self.slots[owner as usize] = longer;
    }

    /// Removes the last entry of `owner`, which has one.
    pub(crate) fn pop(&mut self, owner: u32, mirror: &Self) {
        let shorter = match self.slots[owner as usize].place() {
            Place::Nowhere => unreachable!("an entry that is there is removed"),
            Place::Here => Slot::EMPTY,
            Place::Block { len, block } => {
                let items = self.take_block(len, block, mirror);
                self.place(&items[..len - 1])
            }
            Place::Large(list) => {
                let items = &mut self.large[list];
                items.pop();
                if items.len() > SMALL {
                    give_back(items);
                    return;
                }
                let items = self.large.remove(list);
                self.place(&items)
            }
        };
        self.slots[owner as usize] = shorter;
    }

    /// Removes an entry; the last one takes its place.
    pub(crate) fn swap_remove(&mut self, owner: u32, at: u32, mirror: &Self) {
        let items = self.of_mut(owner);
        items.swap(at as usize, items.len() - 1);
        self.pop(owner, mirror);
    }

    /// Removes every entry of `owner`.
    pub(crate) fn clear(&mut self, owner: u32, mirror: &Self) {
        let Some(slot) = self.slots.get(owner as usize) else {
            return;
        };
        match slot.place() {
            Place::Nowhere => return,
            Place::Here => {}
            Place::Block { len, block } => drop(self.take_block(len, block, mirror)),
            Place::Large(list) => drop(self.large.remove(list)),
        }
        self.slots[owner as usize] = Slot::EMPTY;
    }

    /// When no owner has an entry: gives the slots back.
    pub(crate) fn forget_owners(&mut self) {
        debug_assert!(self.blocks.iter().all(|blocks| blocks.count == 0) && self.large.is_empty());
        if self.slots.len() > KEEP {
            self.slots = Pages::default();
        }
    }

    /// Bytes of heap memory: for entries, and for the slots of owners whose entries lie elsewhere or that have none.
    pub(crate) fn memory(&self) -> (usize, usize) {
        let alone = |slot: &&Slot| matches!(slot.place(), Place::Here);
        let alone = self.slots.iter().filter(alone).count() * size_of::<Slot>();
        let blocks = self.blocks.iter().map(Blocks::memory).sum::<usize>();
        let lists = self.large.iter().map(bytes).sum::<usize>();
        let entries = alone + blocks + self.large.memory() + lists;
        (entries, self.slots.memory() - alone)
    }

    /// How many lists are vectors of their own.
    #[cfg(test)]
    pub(crate) fn large(&self) -> usize {
        self.large.iter().count()
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(crate) fn count(&self) -> usize {
        (0..self.slots.len() as u32)
            .map(|owner| self.of(owner).len())
            .sum()
    }

    /// A new place for a list that has none.
    fn place(&mut self, items: &[Half]) -> Slot {
        match items.len() {
            1 => Slot(items[0]),
            len @ 2..=SMALL => Slot::block(len, self.blocks[len].push(items)),
            _ => {
                let mut list = Vec::new();
                reserve(&mut list, items.len());
                list.extend_from_slice(items);
                Slot::large(self.large.insert(list).get())
            }
        }
    }

    /// Takes a block out of those of its length: its entries, and room for one more.
    fn take_block(&mut self, len: usize, block: u32, mirror: &Self) -> [Half; SMALL + 1] {
        let mut items = [Slot::EMPTY.0; SMALL + 1];
        items[..len].copy_from_slice(self.blocks[len].get(block));
        if let Some(first) = self.blocks[len].swap_remove(block) {
            let owner = mirror.of(first.other())[first.at() as usize].other();
            self.slots[owner as usize] = Slot::block(len, block);
        }
        items
    }
}

/// Blocks per page: a page grows like a vector, so it should be neither large nor one of many.
const PAGE: usize = 256;

/// All lists of one length, without a gap.
#[derive(Debug)]
struct Blocks {
    len: usize,
    count: usize,
    pages: Vec<Vec<Half>>,
}

impl Blocks {
    fn new(len: usize) -> Self {
        Self {
            len,
            count: 0,
            pages: Vec::new(),
        }
    }

    #[inline]
    fn get(&self, block: u32) -> &[Half] {
        let block = block as usize;
        &self.pages[block / PAGE][block % PAGE * self.len..][..self.len]
    }

    #[inline]
    fn get_mut(&mut self, block: u32) -> &mut [Half] {
        let block = block as usize;
        &mut self.pages[block / PAGE][block % PAGE * self.len..][..self.len]
    }

    fn push(&mut self, items: &[Half]) -> u32 {
        debug_assert_eq!(items.len(), self.len);
        if self.count.is_multiple_of(PAGE) {
            self.pages.push(Vec::new());
        }
        let page = self.pages.last_mut().expect("there is one now");
        reserve_up_to(page, self.len, PAGE * self.len);
        page.extend_from_slice(items);
        self.count += 1;
        self.count as u32 - 1
    }

    /// Removes a block. The last one takes its place, unless it was the last: the first entry of the one
    /// that moved.
    fn swap_remove(&mut self, block: u32) -> Option<Half> {
        let len = self.len;
        self.count -= 1;
        let page = self.pages.last_mut().expect("the block is there");
        let mut last = [Slot::EMPTY.0; SMALL];
        let rest = page.len() - len;
        last[..len].copy_from_slice(&page[rest..]);
        page.truncate(rest);
        if page.is_empty() {
            self.pages.pop();
        }
        if self.pages.is_empty() {
            self.pages = Vec::new();
        }
        if block as usize == self.count {
            return None;
        }
        self.get_mut(block).copy_from_slice(&last[..len]);
        Some(last[0])
    }

    fn memory(&self) -> usize {
        bytes(&self.pages) + self.pages.iter().map(bytes).sum::<usize>()
    }
}

/// Halves a vector that is three quarters empty: rare enough to be paid for by the removals before it, and
/// a list that was once long does not keep its memory.
fn give_back(items: &mut Vec<Half>) {
    if items.capacity() > KEEP && items.len() < items.capacity() / 4 {
        items.shrink_to(items.capacity() / 2);
    }
}
