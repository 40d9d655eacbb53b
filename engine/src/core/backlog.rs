//! Output that a socket would not take, message by message, in the order in which it has to go out.
//!
//! What the kernel has been given, or has begun, is *committed*: it goes out, whatever happens. Behind it wait whole
//! frames, and with those the policies for slow connections may do as they please: frames are never torn.

use std::collections::{HashMap, VecDeque};

use bytes::{Bytes, BytesMut};
use corecast_protocol::frame::{FrameKind, Header};

/// Small pieces are gathered into chunks of this many bytes: one system call's worth, and few
/// enough chunks that their bookkeeping is nothing beside their bytes. What has been gathered is committed, so it is
/// also how stale the output of a connection may be whose messages replace each other.
const CHUNK_BYTES: usize = 64 << 10;

/// What a message that is shared with others counts for beside its bytes: its place in the queue.
pub(crate) const PLACE_BYTES: usize = 64;

/// Control frames that are kept when the messages around them are dropped. More can only be a flood of them.
const CONTROL_KEPT: usize = 16;

/// What makes messages replace each other: a topic, and the application's key if it gave one.
pub(crate) type Key = (u64, Option<u64>);

/// A connection's unsent bytes.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    /// Goes out before everything else, not necessarily whole frames.
    committed: VecDeque<Bytes>,
    /// Bytes at the front that a send in flight covers.
    sending: usize,
    /// Whole frames: one that is shared, or several that were copied. Empty where one has been taken out.
    queue: VecDeque<Bytes>,
    /// How many have left the queue by its front: the number of the first one in it.
    first: u64,
    /// What was copied last; goes behind the queue.
    tail: BytesMut,
    /// Bytes of all of them.
    bytes: usize,
    /// Control frames that were committed to save them, since nothing was committed.
    saved: usize,
    /// The answer to the latest ping, by its number in the queue.
    pong: Option<u64>,
    /// Where the message of each key waits, by its number in the queue.
    latest: Option<HashMap<Key, u64>>,
}

impl Backlog {
    /// Bytes that the kernel has not taken.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// What it counts for against its limit: the bytes and what it takes to keep them in order.
    pub(crate) fn memory(&self) -> usize {
        let keys = self.latest.as_ref().map_or(0, |latest| latest.len());
        self.bytes + (self.queue.len() + keys) * PLACE_BYTES
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes == 0
    }

    /// Whether its last message is this frame, for an observer who only sees how many bytes there are.
    #[cfg(test)]
    pub(crate) fn ends_with(&self, frame: &[u8]) -> bool {
        match self.tail.is_empty() {
            true => self.queue.back().is_some_and(|last| *last == *frame),
            false => self.tail.ends_with(frame),
        }
    }

    /// Whether so many control frames were saved that further ones are not.
    #[cfg(test)]
    pub(crate) fn is_flooded(&self) -> bool {
        self.saved == CONTROL_KEPT
    }

    /// Appends a copy of output that was tried on the socket already: the rest of a frame may lead it. Comes before
    /// [`Self::end_join`], and that before any message.
    pub(crate) fn join_copy(&mut self, bytes: &[u8]) {
        debug_assert!(self.queue.is_empty(), "output joins before messages queue");
        self.bytes += bytes.len();
        self.tail.extend_from_slice(bytes);
    }

    /// The same for bytes that are shared with others.
    pub(crate) fn join_shared(&mut self, bytes: Bytes) {
        self.end_join();
        self.bytes += bytes.len();
        self.committed.push_back(bytes);
    }

    /// What has joined is committed.
    pub(crate) fn end_join(&mut self) {
        if !self.tail.is_empty() {
            self.committed
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }

    /// Queues a frame of the connection's own.
    pub(crate) fn copy_frame(&mut self, kind: impl Into<FrameKind>, payload: &[u8]) {
        let header = Header::new(kind, None, payload.len()).encode();
        self.copy(&[&header, payload]);
    }

    /// Queues a copy of a whole frame, in parts.
    pub(crate) fn copy(&mut self, parts: &[&[u8]]) {
        for part in parts {
            self.bytes += part.len();
            self.tail.extend_from_slice(part);
        }
        if self.tail.len() >= CHUNK_BYTES {
            self.end_tail();
        }
    }

    /// Queues a whole frame that is shared with other connections. Gives its number.
    pub(crate) fn share(&mut self, frame: Bytes) -> u64 {
        self.end_tail();
        self.bytes += frame.len();
        self.queue.push_back(frame);
        self.first + self.queue.len() as u64 - 1
    }

    /// Queues a frame that later ones of its key replace.
    pub(crate) fn share_keyed(&mut self, key: Key, frame: Bytes) {
        let number = self.share(frame);
        let latest = self.latest.get_or_insert_default();
        latest.insert(key, number);
        self.forget_keys();
    }

    /// The message of a key that waits, if none of it has been committed.
    fn waiting(&mut self, key: &Key) -> Option<&mut Bytes> {
        let number = self.latest.as_ref()?.get(key)?;
        let position = number.checked_sub(self.first)?;
        let waiting = self.queue.get_mut(position as usize)?;
        (!waiting.is_empty()).then_some(waiting)
    }

    /// Bytes of the message of a key that waits.
    pub(crate) fn waiting_len(&mut self, key: &Key) -> Option<usize> {
        self.waiting(key).map(|frame| frame.len())
    }

    /// Puts a frame in the place of the one of its key that waits; `false` when none does.
    pub(crate) fn replace(&mut self, key: &Key, frame: Bytes) -> bool {
        let len = frame.len();
        let Some(waiting) = self.waiting(key) else {
            return false;
        };
        let before = std::mem::replace(waiting, frame).len();
        self.bytes = self.bytes - before + len;
        true
    }

    /// Whether so many more bytes would fit into `limit` if all messages were dropped that can be.
    pub(crate) fn can_make_room(&self, need: usize, limit: usize) -> bool {
        let committed: usize = self.committed.iter().map(Bytes::len).sum();
        committed + need <= limit
    }

    /// Drops messages, the oldest first, until `need` more bytes fit into `limit`, or none is left. Gives how many.
    /// Control frames stay, before all messages that stay.
    pub(crate) fn drop_oldest(&mut self, need: usize, limit: usize) -> usize {
        let mut dropped = 0;
        while self.memory() + need > limit {
            if self.queue.is_empty() {
                self.end_tail();
            }
            let Some(front) = self.queue.front_mut() else {
                // No key has a message that waits.
                self.latest = None;
                break;
            };
            if !front.is_empty() {
                let header = Header::decode(front)
                    .ok()
                    .flatten()
                    .expect("whole frames of our own");
                let frame =
                    front.split_to(usize::from(header.header_len) + header.payload_len as usize);
                if header.opcode.is_control() && self.saved < CONTROL_KEPT {
                    self.saved += 1;
                    self.committed.push_back(frame);
                } else {
                    self.bytes -= frame.len();
                    dropped += usize::from(!header.opcode.is_control());
                }
            }
            if self.queue.front().is_some_and(Bytes::is_empty) {
                self.pop();
            }
        }
        dropped
    }

    /// Queues a pong. It takes the place of one that waits, so that pings cannot fill memory (RFC 6455 §5.5.3).
    pub(crate) fn pong(&mut self, frame: Bytes) {
        self.end_tail();
        let end = self.first + self.queue.len() as u64;
        let waiting = self
            .pong
            .and_then(|number| number.checked_sub(self.first))
            .and_then(|position| self.queue.get_mut(position as usize));
        if let Some(waiting) = waiting {
            self.bytes -= std::mem::take(waiting).len();
            if self.pong == Some(end - 1) {
                self.queue.pop_back();
            }
        }
        self.pong = Some(self.share(frame));
    }

    /// What to send next. [`Self::sent`] has to be told what became of it before this is called again.
    pub(crate) fn next_send(&mut self) -> Option<Bytes> {
        debug_assert_eq!(self.sending, 0, "one send at a time");
        if self.committed.is_empty() {
            self.saved = 0;
            self.commit();
        }
        let front = self.committed.front()?.clone();
        self.sending = front.len();
        Some(front)
    }

    /// The kernel took this many bytes of the last [`Self::next_send`].
    pub(crate) fn sent(&mut self, bytes: usize) {
        assert!(bytes <= self.sending, "more bytes sent than were given");
        self.sending = 0;
        self.bytes -= bytes;
        let front = self
            .committed
            .front_mut()
            .expect("what was sent is at the front");
        if bytes == front.len() {
            self.committed.pop_front();
        } else {
            let _ = front.split_to(bytes);
        }
    }

    /// Commits the front of the queue: a large piece as it is, small ones as one copy.
    fn commit(&mut self) {
        self.gather();
        self.forget_keys();
    }

    /// Keys whose messages have left the queue count no more, once they are many beside what waits.
    fn forget_keys(&mut self) {
        if let Some(latest) = &mut self.latest
            && latest.len() > 2 * self.queue.len() + 16
        {
            let first = self.first;
            latest.retain(|_, number| *number >= first);
        }
    }

    /// Whole frames at the front that fit into a chunk become one piece.
    fn gather(&mut self) {
        let Some(first) = self.pop_whole() else {
            return;
        };
        let next = self.queue.front().map_or(0, Bytes::len);
        if next == 0 || first.len() + next > CHUNK_BYTES {
            return self.committed.push_back(first);
        }
        let mut gathered = BytesMut::from(&first[..]);
        while let Some(next) = self.queue.front()
            && gathered.len() + next.len() <= CHUNK_BYTES
        {
            gathered.extend_from_slice(next);
            self.pop();
        }
        self.committed.push_back(gathered.freeze());
    }

    /// Takes the first piece that is not empty.
    fn pop_whole(&mut self) -> Option<Bytes> {
        loop {
            if self.queue.is_empty() {
                self.end_tail();
            }
            let piece = self.pop()?;
            if !piece.is_empty() {
                return Some(piece);
            }
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let piece = self.queue.pop_front()?;
        self.first += 1;
        Some(piece)
    }

    fn end_tail(&mut self) {
        if !self.tail.is_empty() {
            self.queue
                .push_back(std::mem::take(&mut self.tail).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use corecast_protocol::{Opcode, encode_server};

    fn frame(opcode: Opcode, payload: &[u8]) -> Bytes {
        let mut bytes = Vec::new();
        encode_server(&mut bytes, opcode, payload);
        bytes.into()
    }

    fn text(text: &str) -> Bytes {
        frame(Opcode::Text, text.as_bytes())
    }

    fn copy(backlog: &mut Backlog, frame: &[u8]) {
        backlog.copy(&[frame]);
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
        assert_eq!(
            backlog.memory() - backlog.latest.as_ref().map_or(0, |l| l.len()) * PLACE_BYTES,
            0
        );
        sent
    }

    /// The payloads of the frames that are left.
    fn payloads(backlog: &mut Backlog) -> Vec<String> {
        let sent = drain(backlog, usize::MAX);
        let mut rest = &sent[..];
        let mut payloads = Vec::new();
        while let Some(header) = Header::decode(rest).expect("frames of our own") {
            let end = usize::from(header.header_len) + header.payload_len as usize;
            let payload = &rest[usize::from(header.header_len)..end];
            payloads.push(String::from_utf8_lossy(payload).into_owned());
            rest = &rest[end..];
        }
        assert_eq!(rest, b"", "whole frames");
        payloads
    }

    #[test]
    fn keeps_order_and_count_over_short_sends() {
        let mut backlog = Backlog::default();
        let mut expected = Vec::new();
        for n in 0..200_u8 {
            let piece = vec![n; 1 + usize::from(n) * 37];
            expected.extend_from_slice(&piece);
            match n {
                0..20 => backlog.join_copy(&piece),
                20..30 => backlog.join_shared(piece.into()),
                30 => {
                    backlog.join_copy(&piece);
                    backlog.end_join();
                }
                _ if n % 3 == 0 => drop(backlog.share(piece.into())),
                _ => copy(&mut backlog, &piece),
            }
        }
        let big = vec![7; 3 * CHUNK_BYTES];
        expected.extend_from_slice(&big);
        copy(&mut backlog, &big);
        let mut sent = Vec::new();
        let mut step = 1;
        while let Some(next) = backlog.next_send() {
            assert_eq!(backlog.bytes(), expected.len() - sent.len());
            let taken = next.len().min(step);
            sent.extend_from_slice(&next[..taken]);
            backlog.sent(taken);
            if step % 2 == 0 && expected.len() < 2_000_000 {
                expected.extend_from_slice(b"while sending");
                copy(&mut backlog, b"while sending");
            }
            step = step * 3 % 100_000 + 1;
        }
        assert!(backlog.is_empty());
        assert!(
            sent == expected,
            "{} and {} bytes",
            sent.len(),
            expected.len()
        );
    }

    #[test]
    fn only_the_latest_pong_waits_and_overtakes_nothing() {
        for step in [1, 2, 3, usize::MAX] {
            let mut backlog = Backlog::default();
            copy(&mut backlog, b"first ");
            for _ in 0..1000 {
                backlog.pong(Bytes::from_static(b"(an old pong) "));
            }
            assert_eq!(backlog.queue.len(), 2, "one place for all of them");
            backlog.share(Bytes::from_static(b"second "));
            copy(&mut backlog, b"third ");
            backlog.pong(Bytes::from_static(b"(pong) "));
            copy(&mut backlog, b"fourth");
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
        backlog.pong(Bytes::from_static(b"(one)"));
        assert_eq!(backlog.next_send().as_deref(), Some(&b"(one)"[..]));
        backlog.pong(Bytes::from_static(b"(two)"));
        backlog.sent(2);
        copy(&mut backlog, b" more");
        backlog.pong(Bytes::from_static(b"(three)"));
        assert_eq!(backlog.bytes(), 3 + 5 + 7);
        assert_eq!(drain(&mut backlog, usize::MAX), b"ne) more(three)");
    }

    #[test]
    fn many_small_pieces_are_few_chunks_and_few_sends() {
        let mut backlog = Backlog::default();
        for _ in 0..100_000 {
            copy(&mut backlog, b"tiny");
        }
        assert_eq!(backlog.queue.len(), 400_000 / CHUNK_BYTES);
        for _ in 0..100_000 {
            backlog.share(Bytes::from_static(b"tiny"));
        }
        let mut sends = 0;
        while let Some(next) = backlog.next_send() {
            backlog.sent(next.len());
            sends += 1;
        }
        assert!(sends <= 2 * (400_000 / CHUNK_BYTES + 1), "{sends} sends");
    }

    #[test]
    fn the_oldest_go_first_and_only_until_there_is_room() {
        let mut backlog = Backlog::default();
        backlog.join_copy(b"begun");
        backlog.end_join();
        for n in 0..4 {
            copy(&mut backlog, &text(&format!("copied {n}")));
        }
        for n in 0..4 {
            backlog.share(text(&format!("shared {n}")));
        }
        let before = backlog.memory();
        assert_eq!(backlog.drop_oldest(10, before + 10), 0, "there is room");
        assert_eq!(backlog.drop_oldest(1, before), 1);
        assert_eq!(backlog.drop_oldest(10, before), 0, "10 bytes have gone");
        // The three that were copied, whose place goes with the last of them.
        assert_eq!(backlog.drop_oldest(31 + PLACE_BYTES, before), 3);
        backlog.share(text("the latest"));
        assert_eq!(backlog.next_send().as_deref(), Some(&b"begun"[..]));
        backlog.sent(5);
        assert_eq!(
            payloads(&mut backlog),
            ["shared 0", "shared 1", "shared 2", "shared 3", "the latest"]
        );
    }

    #[test]
    fn room_can_be_made_beside_what_is_committed() {
        let mut backlog = Backlog::default();
        for message in ["1234567", "12345678"] {
            backlog.share_keyed((1, None), text(message));
        }
        assert!(backlog.can_make_room(100, 100));
        assert!(!backlog.can_make_room(101, 100));
        backlog.join_shared(Bytes::from_static(b"committed"));
        assert!(backlog.can_make_room(91, 100));
        assert!(!backlog.can_make_room(92, 100));
        assert_eq!(backlog.drop_oldest(91, 100), 2);
        assert_eq!(backlog.memory(), 9, "nothing but what is committed");
    }

    #[test]
    fn what_is_committed_is_never_dropped() {
        let mut backlog = Backlog::default();
        backlog.share(text("given to the kernel"));
        assert!(backlog.next_send().is_some());
        backlog.share(text("not yet"));
        assert_eq!(backlog.drop_oldest(1000, 0), 1);
        backlog.sent(3);
        assert_eq!(drain(&mut backlog, 1), &text("given to the kernel")[3..]);
    }

    #[test]
    fn control_frames_outlive_the_messages_around_them_within_a_bound() {
        let mut backlog = Backlog::default();
        backlog.share(text("old"));
        copy(&mut backlog, &frame(Opcode::Ping, b"ping"));
        copy(&mut backlog, &text("older than the pong"));
        backlog.pong(frame(Opcode::Pong, b"pong"));
        backlog.share(text("new"));
        assert_eq!(backlog.drop_oldest(1 << 20, 0), 3);
        backlog.share(text("newer"));
        assert_eq!(payloads(&mut backlog), ["ping", "pong", "newer"]);
        for _ in 0..1000 {
            copy(&mut backlog, &frame(Opcode::Ping, b"a flood"));
        }
        backlog.drop_oldest(1 << 20, 0);
        assert_eq!(payloads(&mut backlog).len(), CONTROL_KEPT);
    }

    #[test]
    fn a_later_message_takes_the_place_of_an_earlier_one_of_its_key() {
        let (a, b) = ((1, None), (1, Some(0)));
        let mut backlog = Backlog::default();
        for (key, message) in [(a, "a1"), (b, "b1")] {
            assert!(!backlog.replace(&key, text(message)));
            backlog.share_keyed(key, text(message));
        }
        copy(&mut backlog, &text("of no key"));
        assert_eq!(backlog.waiting_len(&a), Some(4));
        assert!(backlog.replace(&a, text("a2, longer")));
        assert!(backlog.replace(&b, text("b")));
        assert!(backlog.replace(&b, text("b3")));
        assert_eq!(payloads(&mut backlog), ["a2, longer", "b3", "of no key"]);
        // Gone: what is committed is not replaced.
        assert!(!backlog.replace(&a, text("a4")));
        backlog.share_keyed(a, text("a4"));
        let sending = backlog.next_send();
        assert!(!backlog.replace(&a, text("a5")));
        backlog.share_keyed(a, text("a5"));
        assert!(backlog.replace(&a, text("a6")));
        backlog.sent(sending.map_or(0, |sent| sent.len()));
        assert_eq!(payloads(&mut backlog), ["a6"]);
    }

    #[test]
    fn keys_that_are_gone_take_no_room_of_what_comes() {
        let mut backlog = Backlog::default();
        for n in 0..1_000 {
            backlog.share_keyed((n, None), text("one of many keys"));
        }
        let full = backlog.memory();
        while backlog.bytes() > 100 {
            let next = backlog.next_send().expect("more");
            backlog.sent(next.len());
        }
        assert!(backlog.memory() < full / 20, "{} bytes", backlog.memory());
    }

    #[test]
    fn keys_that_are_gone_take_no_memory_for_long() {
        let mut backlog = Backlog::default();
        for n in 0..10_000 {
            backlog.share_keyed((n, None), text("one of many keys"));
            if let Some(next) = backlog.next_send() {
                backlog.sent(next.len());
            }
        }
        let keys = backlog.latest.as_ref().map_or(0, |latest| latest.len());
        assert!(keys <= 20, "{keys} keys");
    }
}
