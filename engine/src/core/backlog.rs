//! Output that a socket would not take, in the order in which it has to go out.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Small chunks are sent together up to this many bytes: one system call's worth.
const SEND_BYTES: usize = 128 << 10;

/// A connection's unsent bytes. Whole frames, but for the rest of one that was cut by a short send.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    chunks: VecDeque<Bytes>,
    bytes: usize,
    /// Bytes at the front that a send in flight covers.
    sending: usize,
}

impl Backlog {
    /// Bytes that the kernel has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    pub(crate) fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.bytes += chunk.len();
            self.chunks.push_back(chunk);
        }
    }

    /// What to send next. [`Self::sent`] has to be told what became of it before this is called again.
    pub(crate) fn next_send(&mut self) -> Option<Bytes> {
        debug_assert_eq!(self.sending, 0, "one send at a time");
        let first = self.chunks.front()?;
        let joined = self
            .chunks
            .iter()
            .scan(0, |total, chunk| {
                *total += chunk.len();
                Some(*total)
            })
            .take_while(|&total| total <= SEND_BYTES)
            .count();
        let next = if joined > 1 {
            let mut together = BytesMut::with_capacity(SEND_BYTES);
            for chunk in self.chunks.drain(..joined) {
                together.extend_from_slice(&chunk);
            }
            let together = together.freeze();
            self.chunks.push_front(together.clone());
            together
        } else {
            first.clone()
        };
        self.sending = next.len();
        Some(next)
    }

    /// The kernel took this many bytes of the last [`Self::next_send`].
    pub(crate) fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.sending, "more bytes sent than were given");
        self.sending = 0;
        self.bytes -= bytes;
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_order_and_count_over_short_sends() {
        let mut backlog = Backlog::default();
        let mut expected = Vec::new();
        for n in 0..100_u8 {
            let chunk = vec![n; 1 + usize::from(n) * 37];
            expected.extend_from_slice(&chunk);
            backlog.push(Bytes::from(chunk));
        }
        backlog.push(Bytes::new());
        let big = vec![7; 3 * SEND_BYTES];
        expected.extend_from_slice(&big);
        backlog.push(Bytes::from(big));
        let mut sent = Vec::new();
        let mut step = 1;
        while let Some(next) = backlog.next_send() {
            assert_eq!(backlog.bytes(), expected.len() - sent.len());
            let taken = next.len().min(step);
            sent.extend_from_slice(&next[..taken]);
            backlog.sent(taken);
            step = step * 3 % 100_000 + 1;
        }
        assert!(backlog.is_empty());
        assert_eq!(sent, expected);
    }
}
