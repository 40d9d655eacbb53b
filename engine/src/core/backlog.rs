//! Output that a socket would not take, in the order in which it has to go out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Small pieces are gathered into chunks of this many bytes: one system call's worth, and few
/// enough chunks that their bookkeeping is nothing beside their bytes.
const CHUNK_BYTES: usize = 128 << 10;

/// A connection's unsent bytes. Whole frames, but for the rest of one that was cut by a short send.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    chunks: VecDeque<Bytes>,
    /// What was copied last; goes behind the chunks.
    tail: BytesMut,
    /// Bytes of both.
    bytes: usize,
    /// Bytes at the front that a send in flight covers.
    sending: usize,
    pong: Option<Pong>,
}

/// The answer to the latest ping, as long as nothing of it has been given to the kernel.
#[derive(Debug)]
struct Pong {
    frame: Bytes,
    /// Bytes that go out before it.
    ahead: usize,
}

impl Backlog {
    /// Bytes that the kernel has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes + self.pong.as_ref().map_or(0, |pong| pong.frame.len())
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes() == 0
    }

    /// Appends a pong, behind `coming` bytes that are still to be appended. It takes the place of one that
    /// waits, so that pings cannot fill memory (RFC 6455 §5.5.3).
    pub(crate) fn pong(&mut self, frame: Bytes, coming: usize) {
        let ahead = self.bytes + coming;
        self.pong = Some(Pong { frame, ahead });
    }

    /// Appends a copy.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len();
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= CHUNK_BYTES {
            self.end_tail();
        }
    }

    /// Appends bytes that are shared with others: of a broadcast, or of a message that is relayed.
    pub(crate) fn share(&mut self, bytes: Bytes) {
        self.end_tail();
        self.bytes += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// What to send next. [`Self::sent`] has to be told what became of it before this is called again.
    pub(crate) fn next_send(&mut self) -> Option<Bytes> {
        debug_assert_eq!(self.sending, 0, "one send at a time");
        if let Some(pong) = self.pong.take_if(|pong| pong.ahead == 0) {
            // From here on it goes out like everything else: a part of it may be on its way.
            self.bytes += pong.frame.len();
            self.chunks.push_front(pong.frame);
        }
        if self.chunks.is_empty() {
            self.end_tail();
        }
        let front = self.chunks.front()?;
        let end = self.pong.as_ref().map_or(usize::MAX, |pong| pong.ahead);
        let next = front.slice(..front.len().min(end));
        self.sending = next.len();
        Some(next)
    }

    /// The kernel took this many bytes of the last [`Self::next_send`].
    pub(crate) fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.sending, "more bytes sent than were given");
        self.sending = 0;
        self.bytes -= bytes;
        if let Some(pong) = &mut self.pong {
            pong.ahead -= bytes;
        }
        let front = self
            .chunks
            .front_mut()
            .expect("what was sent is at the front");
        if bytes == front.len() {
            self.chunks.pop_front();
        } else {
            let _ = front.split_to(bytes);
        }
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.chunks
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_count_over_short_sends() {
        let mut backlog = Backlog::default();
        let mut expected = Vec::new();
        for n in 0..200_u8 {
            let piece = vec![n; 1 + usize::from(n) * 37];
            expected.extend_from_slice(&piece);
            if n % 3 == 0 {
                backlog.share(Bytes::from(piece));
            } else {
                backlog.copy(&piece);
            }
        }
        let big = vec![7; 3 * CHUNK_BYTES];
        expected.extend_from_slice(&big);
        backlog.copy(&big);
        let mut sent = Vec::new();
        let mut step = 1;
        while let Some(next) = backlog.next_send() {
            assert_eq!(backlog.bytes(), expected.len() - sent.len());
            let taken = next.len().min(step);
            sent.extend_from_slice(&next[..taken]);
            backlog.sent(taken);
            if step % 2 == 0 && expected.len() < 2_000_000 {
                expected.extend_from_slice(b"while sending");
                backlog.copy(b"while sending");
            }
            step = step * 3 % 100_000 + 1;
        }
        assert!(backlog.is_empty());
        assert_eq!(sent, expected);
    }

    /// Everything that is left, in sends of at most `step` bytes.
    fn drain(backlog: &mut Backlog, step: usize) -> Vec<u8> {
        let mut sent = Vec::new();
        while let Some(next) = backlog.next_send() {
            let taken = next.len().min(step);
            sent.extend_from_slice(&next[..taken]);
            backlog.sent(taken);
        }
        assert!(backlog.is_empty());
        sent
    }

    #[test]
    fn only_the_latest_pong_waits_and_overtakes_nothing() {
        for step in [1, 2, 3, usize::MAX] {
            let mut backlog = Backlog::default();
            backlog.copy(b"first ");
            for _ in 0..1000 {
                backlog.pong(Bytes::from_static(b"(an old pong) "), 0);
            }
            backlog.share(Bytes::from_static(b"second "));
            backlog.pong(Bytes::from_static(b"(pong) "), 6);
            // What was queued before the ping came, and is appended when its turn ends, with what followed it.
            backlog.copy(b"third fourth");
            assert_eq!(backlog.bytes(), 32);
            assert_eq!(
                drain(&mut backlog, step),
                b"first second third (pong) fourth"
            );
        }
    }

    #[test]
    fn a_pong_that_has_begun_to_go_out_is_finished() {
        let mut backlog = Backlog::default();
        backlog.pong(Bytes::from_static(b"(one)"), 0);
        assert_eq!(backlog.next_send().as_deref(), Some(&b"(one)"[..]));
        backlog.pong(Bytes::from_static(b"(two)"), 0);
        backlog.sent(2);
        backlog.copy(b" more");
        backlog.pong(Bytes::from_static(b"(three)"), 0);
        assert_eq!(backlog.bytes(), 3 + 5 + 7);
        assert_eq!(drain(&mut backlog, usize::MAX), b"ne) more(three)");
    }

    #[test]
    fn a_pong_waits_for_what_is_still_to_come() {
        let mut backlog = Backlog::default();
        backlog.pong(Bytes::from_static(b"(pong)"), 4);
        assert_eq!(backlog.next_send(), None);
        backlog.copy(b"data");
        assert_eq!(drain(&mut backlog, usize::MAX), b"data(pong)");
    }

    #[test]
    fn many_small_pieces_are_few_chunks() {
        let mut backlog = Backlog::default();
        for _ in 0..100_000 {
            backlog.copy(b"tiny");
        }
        assert_eq!(backlog.chunks.len(), 400_000 / CHUNK_BYTES);
    }
}
