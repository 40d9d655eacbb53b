//! Bytes that the kernel sends from where they lie: what has been lent, to whom, and until when.
//!
//! A send with `IORING_OP_SEND_ZC` completes twice: with its result, at once for one that may not wait, and with a notification
//! when the socket needs the bytes no more, which with TCP is when the peer has acknowledged them. In between
//! they are owned here.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use io_uring::cqueue;

use super::Token;

/// What rings that have ended had lent, for good: the kernel does not say any more when it has done with it.
static KEPT: Mutex<Vec<Bytes>> = Mutex::new(Vec::new());

/// Bytes that one ring lends at most, those of each send counted, also where several send the same. Beyond it sends copy:
/// a connection that has ended keeps what it was lent until the kernel gives its socket up, which may take minutes, and this is
/// what bounds the memory of many such. More than what is on its way at one time on a fast network.
const MAX_LENT: usize = 256 << 20;

/// How long nothing is lent when the kernel would not lock more memory.
const REST: Duration = Duration::from_millis(100);

/// What a ring has lent.
#[derive(Default)]
pub(super) struct ZeroCopy {
    /// Whether the kernel has shown that it can.
    pub(super) allowed: bool,
    /// By the tokens of their operations, none of which is ever used twice.
    sends: HashMap<Token, Lent>,
    /// Bytes of `sends`, by the token of their connection's inline sends.
    of_connections: HashMap<Token, usize>,
    bytes: usize,
    /// Sends that nobody was told of yet.
    count: u64,
    number: u64,
    rest: Rest,
    /// The log has been told why it rests.
    told: bool,
}

/// Bytes of one send.
struct Lent {
    /// The token of an inline send of the connection.
    connection: Token,
    bytes: Bytes,
}

/// Whether the kernel has refused to lock memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Rest {
    #[default]
    None,
    /// It has, since bytes were last asked for.
    Begins,
    Until(Instant),
}

/// What the ring's user is told of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Lending {
    /// Sends that the kernel was given to do without a copy.
    pub(crate) sends: u64,
    /// Bytes of sends that it has not given back.
    pub(crate) bytes: usize,
}

impl ZeroCopy {
    /// Whether a connection may be lent `len` more bytes, beside those that are `queued` for others: `limit` of them at
    /// most, or one send.
    pub(super) fn may_lend(
        &mut self,
        connection: Token,
        queued: usize,
        len: usize,
        limit: usize,
        now: Instant,
    ) -> bool {
        // Results are numbers of 31 bits.
        let fits = i32::try_from(len).is_ok() && self.bytes + queued + len <= MAX_LENT;
        if !self.allowed || !fits || self.rests(now) {
            return false;
        }
        let lent = self.of_connections.get(&connection);
        lent.is_none_or(|lent| lent + len <= limit)
    }

    /// Owns the bytes of a send from now on. Gives the token of its operation, and the bytes where they are now.
    pub(super) fn lend(&mut self, connection: Token, bytes: Bytes) -> (Token, &Bytes) {
        self.number += 1;
        self.count += 1;
        self.bytes += bytes.len();
        *self.of_connections.entry(connection).or_default() += bytes.len();
        let token = Token::zero_copy(self.number);
        let lent = self.sends.entry(token);
        let lent = lent.insert_entry(Lent { connection, bytes });
        (token, &lent.into_mut().bytes)
    }

    /// What a send has to say beyond that everything was taken: the token of its connection's inline sends, and the
    /// result that such a send would have had.
    pub(super) fn completed(
        &mut self,
        token: Token,
        result: i32,
        flags: u32,
    ) -> Option<(Token, i32)> {
        if cqueue::notif(flags) {
            self.take_back(token);
            return None;
        }
        let lent = self.sends.get(&token).expect("a send that was begun");
        let (connection, len) = (lent.connection, lent.bytes.len());
        if !cqueue::more(flags) {
            self.take_back(token);
        }
        match result {
            all if usize::try_from(all) == Ok(len) => None,
            // No fault of the connection's: it is sent with a copy, as what the socket had no room for.
            e if e == -libc::ENOMEM => {
                self.begin_to_rest();
                Some((connection, -libc::EAGAIN))
            }
            short => Some((connection, short)),
        }
    }

    fn rests(&mut self, now: Instant) -> bool {
        self.rest = match self.rest {
            Rest::Begins => Rest::Until(now + REST),
            Rest::Until(end) if now >= end => Rest::None,
            rest => rest,
        };
        self.rest != Rest::None
    }

    fn begin_to_rest(&mut self) {
        self.rest = Rest::Begins;
        if !std::mem::replace(&mut self.told, true) {
            tracing::warn!("zero-copy sends rest: out of locked memory (raise `ulimit -l`)");
        }
    }

    fn take_back(&mut self, token: Token) {
        let lent = self.sends.remove(&token).expect("a send that was begun");
        self.bytes -= lent.bytes.len();
        let of_connection = self.of_connections.get_mut(&lent.connection);
        let of_connection = of_connection.expect("a connection that was lent bytes");
        *of_connection -= lent.bytes.len();
        if *of_connection == 0 {
            self.of_connections.remove(&lent.connection);
        }
    }

    pub(super) fn lending(&mut self) -> Lending {
        Lending {
            sends: std::mem::take(&mut self.count),
            bytes: self.bytes,
        }
    }

    /// The kernel keeps what it has.
    pub(super) fn leak(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        self.sends
            .drain()
            .for_each(|(_, lent)| kept.push(lent.bytes));
    }

    /// Tokens of the sends whose bytes are owned.
    #[cfg(test)]
    pub(super) fn tokens(&self) -> impl Iterator<Item = Token> {
        self.sends.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::super::Op;
    use super::*;

    /// IORING_CQE_F_MORE and IORING_CQE_F_NOTIF.
    const MORE: u32 = 1 << 1;
    const NOTIFIED: u32 = 1 << 3;

    const LIMIT: usize = 1000;

    fn lender() -> ZeroCopy {
        ZeroCopy {
            allowed: true,
            ..ZeroCopy::default()
        }
    }

    /// The first tenant of a slot.
    fn connection(index: u32) -> Token {
        Token::new(Op::Send, index, 1)
    }

    fn bytes(len: usize) -> Bytes {
        Bytes::from(vec![7; len])
    }

    fn may(lender: &mut ZeroCopy, index: u32, len: usize) -> bool {
        lender.may_lend(connection(index), 0, len, LIMIT, Instant::now())
    }

    #[test]
    fn a_send_keeps_its_bytes_until_its_notification() {
        let mut lender = lender();
        let lent = bytes(100);
        let (token, own) = lender.lend(connection(5), lent.clone());
        assert_eq!(own.as_ptr(), lent.as_ptr());
        assert_eq!(lender.completed(token, 100, MORE), None);
        assert!(!lent.is_unique());
        let lending = |sends, bytes| Lending { sends, bytes };
        assert_eq!(lender.lending(), lending(1, 100));
        assert_eq!(lender.completed(token, 0, NOTIFIED), None);
        assert!(lent.is_unique());
        assert_eq!(lender.lending(), lending(0, 0));
    }

    #[test]
    fn what_falls_short_is_told_as_of_the_connections_inline_send() {
        let mut lender = lender();
        for (result, told) in [
            (40, 40),
            (0, 0),
            (-libc::EAGAIN, -libc::EAGAIN),
            (-libc::ECONNRESET, -libc::ECONNRESET),
        ] {
            let lent = bytes(100);
            // With a notification to come, and without.
            let (token, _) = lender.lend(connection(5), lent.clone());
            let short = lender.completed(token, result, MORE);
            assert_eq!(short, Some((connection(5), told)));
            assert!(!lent.is_unique());
            lender.completed(token, 0, NOTIFIED);
            let (token, _) = lender.lend(connection(5), lent.clone());
            let short = lender.completed(token, result, 0);
            assert_eq!(short, Some((connection(5), told)));
            assert!(lent.is_unique());
        }
        assert!(lender.of_connections.is_empty());
    }

    #[test]
    fn a_connection_has_its_limit_or_one_send() {
        let mut lender = lender();
        assert!(may(&mut lender, 1, LIMIT * 50), "nothing else is lent");
        let (first, _) = lender.lend(connection(1), bytes(LIMIT - 10));
        assert!(may(&mut lender, 1, 10) && !may(&mut lender, 1, 11));
        assert!(may(&mut lender, 2, LIMIT), "another connection");
        let next_tenant = Token::new(Op::Send, 1, 2);
        assert!(lender.may_lend(next_tenant, 0, LIMIT, LIMIT, Instant::now()));
        let (second, _) = lender.lend(connection(1), bytes(10));
        assert!(!may(&mut lender, 1, 1));
        // In any order.
        for (token, free) in [(second, 10), (first, LIMIT)] {
            lender.completed(token, 0, NOTIFIED);
            assert!(may(&mut lender, 1, free));
        }
    }

    #[test]
    fn a_ring_has_its_limit() {
        let mut lender = lender();
        let now = Instant::now();
        let mut may = |queued, len| lender.may_lend(connection(1), queued, len, LIMIT, now);
        assert!(may(0, MAX_LENT) && !may(0, MAX_LENT + 1));
        assert!(may(10, MAX_LENT - 10) && !may(11, MAX_LENT - 10));
        lender.lend(connection(2), bytes(20));
        let mut may = |len| lender.may_lend(connection(1), 0, len, LIMIT, now);
        assert!(may(MAX_LENT - 20) && !may(MAX_LENT - 19));
    }

    #[test]
    fn without_memory_to_lock_copies_are_sent_for_a_while() {
        let mut lender = lender();
        let (token, _) = lender.lend(connection(1), bytes(100));
        let short = lender.completed(token, -libc::ENOMEM, 0);
        assert_eq!(short, Some((connection(1), -libc::EAGAIN)));
        let start = Instant::now();
        let mut may = |after| lender.may_lend(connection(1), 0, 100, LIMIT, start + after);
        assert!(!may(Duration::ZERO) && !may(REST / 2));
        assert!(may(REST) && may(REST));
    }

    #[test]
    fn nothing_is_lent_unless_it_is_allowed() {
        assert!(!may(&mut ZeroCopy::default(), 1, 100));
    }
}
