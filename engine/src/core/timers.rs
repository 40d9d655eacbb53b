//! Deadlines of all connections in one hashed wheel; no kernel timer per connection.
//!
//! Every connection is in the wheel at most once, under its nearest deadline. Hearing from a peer does
//! not move its entry: when the entry comes due, the deadline is computed anew, and the
//! connection goes back into the wheel if it has time left. So a busy connection costs the wheel one visit per
//! timeout, and nothing per message.

use std::time::Duration;

/// The wheel's resolution. Deadlines are met within one tick.
pub(crate) const TICK: Duration = Duration::from_millis(32);

/// Slots in the wheel; with [`TICK`] one turn takes 65 seconds, and later deadlines are looked at once per turn.
const SLOTS: usize = 2048;

const NONE: u32 = u32::MAX;

/// A connection's place in the wheel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Link {
    next: u32,
    previous: u32,
    /// The slot, or `SLOTS` when it is in none.
    slot: u16,
}

impl Default for Link {
    fn default() -> Self {
        Self {
            next: NONE,
            previous: NONE,
            slot: SLOTS as u16,
        }
    }
}

/// Lets the wheel reach the links, which live in the connections' records.
pub(crate) trait Links {
    fn link(&mut self, index: u32) -> &mut Link;
}

/// The wheel.
#[derive(Debug)]
pub(crate) struct Wheel {
    heads: Box<[u32]>,
    /// One bit per slot that holds something.
    occupied: [u64; SLOTS / 64],
    /// Everything due up to this tick has been handed out.
    now: u32,
}

impl Wheel {
    pub(crate) fn new() -> Self {
        Self {
            heads: vec![NONE; SLOTS].into(),
            occupied: [0; SLOTS / 64],
            now: 0,
        }
    }

    /// The tick up to which [`Self::expire`] has gone.
    pub(crate) fn now(&self) -> u32 {
        self.now
    }

    /// Puts a connection under the deadline `due`, in place of any earlier one. What is due already
    /// comes with the next tick; what lies beyond one turn of the wheel comes early, to be looked at again.
    pub(crate) fn set(&mut self, links: &mut impl Links, index: u32, due: u32) {
        self.clear(links, index);
        let ahead = due.saturating_sub(self.now).clamp(1, SLOTS as u32 - 1);
        let slot = (self.now.wrapping_add(ahead) as usize) % SLOTS;
        let head = self.heads[slot];
        *links.link(index) = Link {
            next: head,
            previous: NONE,
            slot: slot as u16,
        };
        if head != NONE {
            links.link(head).previous = index;
        }
        self.heads[slot] = index;
        self.occupied[slot / 64] |= 1 << (slot % 64);
    }

    /// Takes a connection out.
    pub(crate) fn clear(&mut self, links: &mut impl Links, index: u32) {
        let link = std::mem::take(links.link(index));
        let slot = usize::from(link.slot);
        if slot == SLOTS {
            return;
        }
        if link.next != NONE {
            links.link(link.next).previous = link.previous;
        }
        if link.previous != NONE {
            links.link(link.previous).next = link.next;
        } else {
            self.heads[slot] = link.next;
            if link.next == NONE {
                self.occupied[slot / 64] &= !(1 << (slot % 64));
            }
        }
    }

    /// Advances to `tick` and appends every connection that came due.
    pub(crate) fn expire(&mut self, links: &mut impl Links, tick: u32, due: &mut Vec<u32>) {
        if tick <= self.now {
            return;
        }
        let steps = (tick - self.now).min(SLOTS as u32);
        let first = self.now.wrapping_add(1) as usize;
        self.now = tick;
        for step in 0..steps as usize {
            let slot = (first + step) % SLOTS;
            if self.occupied[slot / 64] & (1 << (slot % 64)) == 0 {
                continue;
            }
            self.occupied[slot / 64] &= !(1 << (slot % 64));
            let mut index = std::mem::replace(&mut self.heads[slot], NONE);
            while index != NONE {
                due.push(index);
                index = std::mem::take(links.link(index)).next;
            }
        }
    }

    /// The tick of the next slot that holds something.
    pub(crate) fn next_tick(&self) -> Option<u32> {
        self.next().map(|ahead| self.now + ahead)
    }

    /// Ticks until the next slot that holds something; `None` when the wheel is empty.
    pub(crate) fn next(&self) -> Option<u32> {
        let start = (self.now as usize + 1) % SLOTS;
        let (word, bit) = (start / 64, start % 64);
        let words = self.occupied.len();
        for step in 0..=words {
            let index = (word + step) % words;
            let mask = match step {
                0 => u64::MAX << bit,
                _ if step == words => !(u64::MAX << bit),
                _ => u64::MAX,
            };
            let found = self.occupied[index] & mask;
            if found != 0 {
                let slot = index * 64 + found.trailing_zeros() as usize;
                return Some(((slot + SLOTS - start) % SLOTS) as u32 + 1);
            }
        }
        None
    }
}

/// A time in ticks of the wheel, never none.
pub(crate) fn ticks(time: Duration) -> u32 {
    let ticks = time.as_millis().div_ceil(TICK.as_millis());
    u32::try_from(ticks)
        .unwrap_or(u32::MAX / 2)
        .clamp(1, u32::MAX / 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Table(Vec<Link>);

    impl Links for Table {
        fn link(&mut self, index: u32) -> &mut Link {
            &mut self.0[index as usize]
        }
    }

    fn expired(wheel: &mut Wheel, table: &mut Table, tick: u32) -> Vec<u32> {
        let mut due = Vec::new();
        wheel.expire(table, tick, &mut due);
        due.sort_unstable();
        due
    }

    #[test]
    fn hands_out_what_is_due_and_nothing_else() {
        let (mut wheel, mut table) = (Wheel::new(), Table(vec![Link::default(); 5]));
        for (index, due) in [(0, 5), (1, 5), (2, 6), (3, 0), (4, 900)] {
            wheel.set(&mut table, index, due);
        }
        wheel.clear(&mut table, 1);
        assert_eq!(
            wheel.next(),
            Some(1),
            "what is overdue comes with the next tick"
        );
        assert_eq!(expired(&mut wheel, &mut table, 1), [3]);
        assert_eq!(wheel.next(), Some(4));
        assert_eq!(expired(&mut wheel, &mut table, 4), []);
        assert_eq!(expired(&mut wheel, &mut table, 6), [0, 2]);
        assert_eq!(wheel.next(), Some(894));
        assert_eq!(expired(&mut wheel, &mut table, 10_000), [4]);
        assert_eq!(wheel.next(), None);
    }

    #[test]
    fn a_deadline_can_be_moved() {
        let (mut wheel, mut table) = (Wheel::new(), Table(vec![Link::default(); 2]));
        wheel.set(&mut table, 0, 3);
        wheel.set(&mut table, 1, 3);
        wheel.set(&mut table, 0, 8);
        assert_eq!(expired(&mut wheel, &mut table, 7), [1]);
        assert_eq!(expired(&mut wheel, &mut table, 8), [0]);
    }

    #[test]
    fn far_deadlines_come_early_never_late() {
        let (mut wheel, mut table) = (Wheel::new(), Table(vec![Link::default(); 1]));
        wheel.set(&mut table, 0, 1_000_000);
        assert_eq!(wheel.next(), Some(SLOTS as u32 - 1));
        assert_eq!(expired(&mut wheel, &mut table, SLOTS as u32), [0]);
    }

    #[test]
    fn next_is_right_around_the_wheel() {
        let (mut wheel, mut table) = (Wheel::new(), Table(vec![Link::default(); 1]));
        for start in [0_u32, 1, 63, 64, 2000, 2047, 2048, 4095] {
            expired(&mut wheel, &mut table, start);
            for ahead in [1_u32, 2, 63, 64, 65, 2046, 2047] {
                let now = wheel.now();
                wheel.set(&mut table, 0, now + ahead);
                assert_eq!(wheel.next(), Some(ahead), "from {now}");
            }
        }
    }
}
