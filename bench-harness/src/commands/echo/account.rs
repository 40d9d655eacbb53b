//! Replies that are not the one that was due: which message it was, and what that says of the others.
//!
//! Payloads take turns, so a reply tells the number of its message up to a multiple of their count. Of the messages that
//! it can be, the nearest is taken: one that is missing, else a later one that has been sent, else one that came already. That
//! is right as long as fewer messages than half the payloads are lost, repeated or overtaken in a row.

use std::collections::HashMap;

use crate::clock::Nanos;
use crate::stats::faults::Faults;

/// The replies of one thread's connections that are missing, and what was wrong with those that came.
#[derive(Debug)]
pub(crate) struct Account {
    /// Payloads that take turns.
    variants: u64,
    /// By connection, in order; only the latest, which a reply can still be told to be.
    missing: HashMap<u32, Vec<Missing>>,
    faults: Faults,
}

/// A message whose reply was passed over, or is waited for no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Missing {
    /// Its number on the connection.
    pub(crate) number: u64,
    /// When it was sent.
    pub(crate) sent: Nanos,
}

/// What a reply that was not due is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Displaced {
    /// That of a later message; those before it are missing.
    Ahead(u64),
    /// One that was missing.
    Late(Missing),
    /// One that came before.
    Again,
    /// None that there can be.
    Unknown,
}

impl Account {
    /// Nothing is missing yet.
    pub(crate) fn new(variants: usize) -> Self {
        Self {
            variants: variants as u64,
            missing: HashMap::new(),
            faults: Faults::default(),
        }
    }

    /// A reply with payload `variant` came where that of message `due` was, and messages up to `sent` (excluded) are on
    /// their way. Counts it if it is late or a duplicate.
    #[cold]
    pub(crate) fn displaced(
        &mut self,
        slot: u32,
        variant: usize,
        due: u64,
        sent: u64,
    ) -> Displaced {
        let ahead = (variant as u64 + self.variants - due % self.variants) % self.variants;
        let back = self.variants - ahead;
        let earlier = due.checked_sub(back);
        if let Some(missing) = earlier.and_then(|number| self.take(slot, number)) {
            // Unless all that was sent after it is missing, too, a later one has come.
            let later = due - missing.number - 1;
            self.faults.reordered += u64::from(self.after(slot, missing.number) < later);
            return Displaced::Late(missing);
        }
        let can_be_ahead = due + ahead < sent;
        if can_be_ahead && (ahead <= back || earlier.is_none()) {
            return Displaced::Ahead(due + ahead);
        }
        match earlier {
            Some(_) => {
                self.faults.duplicated += 1;
                Displaced::Again
            }
            None => Displaced::Unknown,
        }
    }

    /// These messages are missing; `due` is the number of the one that is due next.
    #[cold]
    pub(crate) fn miss(&mut self, slot: u32, missing: impl Iterator<Item = Missing>, due: u64) {
        let list = self.missing.entry(slot).or_default();
        list.extend(missing);
        let before = list.len();
        // From further back a reply would be taken for another one.
        list.retain(|missing| missing.number + self.variants > due);
        self.faults.lost += (before - list.len()) as u64;
    }

    /// A connection has ended: none of its replies comes any more.
    #[cold]
    pub(crate) fn forget(&mut self, slot: u32) {
        let missing = self.missing.remove(&slot).map_or(0, |list| list.len());
        self.faults.lost += missing as u64;
    }

    /// Messages that are still missing of those right before `due`, with none in between that has come.
    pub(crate) fn silent(&self, slot: u32, due: u64) -> u64 {
        let list = self.missing.get(&slot).map_or(&[][..], Vec::as_slice);
        let numbers = list.iter().rev().map(|missing| missing.number);
        numbers
            .zip((0..due).rev())
            .take_while(|(missing, number)| missing == number)
            .count() as u64
    }

    /// What is certain by now. It only grows.
    pub(crate) fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The final account: what is missing now is lost, and so are the `outstanding`.
    pub(crate) fn close(self, outstanding: u64) -> Faults {
        let missing: usize = self.missing.values().map(Vec::len).sum();
        Faults {
            lost: self.faults.lost + missing as u64 + outstanding,
            ..self.faults
        }
    }

    fn take(&mut self, slot: u32, number: u64) -> Option<Missing> {
        let list = self.missing.get_mut(&slot)?;
        let at = list.iter().position(|missing| missing.number == number)?;
        Some(list.remove(at))
    }

    /// Messages missing after this one.
    fn after(&self, slot: u32, number: u64) -> u64 {
        let list = self.missing.get(&slot).map_or(&[][..], Vec::as_slice);
        list.iter().filter(|it| it.number > number).count() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const VARIANTS: u64 = 7;

    /// The account of one connection whose replies came in this order, of `sent` messages that were all on the way.
    fn account(order: &[u64], sent: u64) -> Faults {
        let mut account = Account::new(VARIANTS as usize);
        let mut due = 0;
        for &number in order {
            if number % VARIANTS == due % VARIANTS && due < sent {
                due += 1;
                continue;
            }
            match account.displaced(0, (number % VARIANTS) as usize, due, sent) {
                Displaced::Ahead(found) => {
                    let missing = (due..found).map(|number| Missing {
                        number,
                        sent: number,
                    });
                    due = found + 1;
                    account.miss(0, missing, due);
                }
                Displaced::Late(found) => assert_eq!(found.number, found.sent),
                Displaced::Again => {}
                Displaced::Unknown => panic!("{order:?}: {number}"),
            }
        }
        account.close(sent - due)
    }

    fn faults(lost: u64, duplicated: u64, reordered: u64) -> Faults {
        Faults {
            lost,
            duplicated,
            reordered,
        }
    }

    #[test]
    fn losses_duplicates_and_disorder_are_told_apart() {
        assert_eq!(account(&[0, 1, 2, 3], 4), faults(0, 0, 0));
        assert_eq!(account(&[0, 2, 3], 4), faults(1, 0, 0), "in the middle");
        assert_eq!(account(&[1, 2, 3], 4), faults(1, 0, 0), "the first");
        assert_eq!(account(&[0, 1], 4), faults(2, 0, 0), "the last two");
        assert_eq!(account(&[0, 1, 1, 2, 3], 4), faults(0, 1, 0));
        assert_eq!(
            account(&[0, 1, 2, 3, 3], 4),
            faults(0, 1, 0),
            "the last one"
        );
        assert_eq!(account(&[0, 2, 1, 3], 4), faults(0, 0, 1), "swapped");
        assert_eq!(account(&[1, 0, 2, 3], 4), faults(0, 0, 1), "the first two");
        assert_eq!(
            account(&[0, 2, 1, 1, 3], 4),
            faults(0, 1, 1),
            "late, and again"
        );
    }

    #[test]
    fn an_old_loss_is_no_excuse_for_a_duplicate() {
        // The duplicate has the payload of the one that was lost, since they take turns.
        let mut order: Vec<u64> = (0..100).filter(|&number| number != 10).collect();
        let at = order.iter().position(|&number| number == 17).unwrap();
        order.insert(at, 17);
        assert_eq!(account(&order, 100), faults(1, 1, 0));
    }

    #[test]
    fn what_comes_after_it_was_given_up_is_late_but_in_order() {
        let mut account = Account::new(VARIANTS as usize);
        let missing = |number| Missing { number, sent: 5 };
        account.miss(3, [missing(8)].into_iter(), 9);
        account.miss(3, [missing(9)].into_iter(), 10);
        assert_eq!((account.silent(3, 10), account.silent(3, 11)), (2, 0));
        assert_eq!(account.displaced(3, 1, 10, 11), Displaced::Late(missing(8)));
        assert_eq!(account.displaced(3, 2, 10, 11), Displaced::Late(missing(9)));
        assert_eq!(account.close(0), faults(0, 0, 0));
    }

    #[test]
    fn what_is_missing_on_a_connection_that_has_ended_is_lost() {
        let mut account = Account::new(VARIANTS as usize);
        let missing = [1, 2].map(|number| Missing { number, sent: 5 });
        account.miss(9, missing.into_iter(), 3);
        account.forget(9);
        account.forget(9);
        assert!(account.missing.is_empty());
        assert_eq!(account.close(1), faults(3, 0, 0));
    }

    #[test]
    fn a_reply_to_nothing_is_unknown() {
        let mut account = Account::new(VARIANTS as usize);
        assert_eq!(account.displaced(0, 3, 0, 3), Displaced::Unknown);
    }
}
