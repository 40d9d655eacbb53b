//! Which connection of the run a thread's slot is.

use crate::client::team::Member;

/// The numbers that connections have in the whole run. A slot keeps its number when it is dialled again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Numbering {
    /// The thread's number, and how many there are.
    index: u64,
    count: u64,
    /// The first slot of a second kind of connections, and what these are numbered from.
    second: Option<(u32, u64)>,
}

impl Numbering {
    /// Those of a thread.
    pub(super) fn of(member: &Member<'_>) -> Self {
        Self {
            index: member.index as u64,
            count: member.count as u64,
            second: None,
        }
    }

    /// Slots from this one on are of a second kind, numbered from `base` on.
    pub(super) fn begin_second(&mut self, slot: u32, base: u64) {
        self.second = Some((slot, base));
    }

    /// Connections are dealt out to threads in turn, each kind by itself.
    pub(super) fn number(self, slot: u32) -> u64 {
        let second = self.second.filter(|&(first, _)| slot >= first);
        let (first, base) = second.unwrap_or((0, 0));
        base + self.index + u64::from(slot - first) * self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_connection_has_a_number_of_its_own() {
        // 10 subscribers and 3 publishers on 4 threads.
        let numbers = (0..4).flat_map(|index| {
            let share = |total: u64| ((total + 3 - index) / 4) as u32;
            let numbering = Numbering {
                index,
                count: 4,
                second: Some((share(10), 10)),
            };
            (0..share(10) + share(3)).map(move |slot| numbering.number(slot))
        });
        let mut numbers: Vec<u64> = numbers.collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (0..13).collect::<Vec<_>>());
    }
}
