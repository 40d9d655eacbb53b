//! Replies are checked as they arrive, byte for byte, without being assembled.
//!
//! The reply to each message is known beforehand, so a payload is compared with it piece by piece
//! where it lies in the receive buffer: a message of any size costs one pass and no copy. Framing is judged by
//! the client's rules: no mask, no reserved bits, fragments in order (RFC 6455 §5). What comes compressed is compared with
//! what the same message was compressed to before, and inflated when it differs.

use std::collections::HashSet;
use std::rc::Rc;

use corecast_protocol::{Header, Opcode, ProtocolError};

use super::deflate::{self, Arrived, Incoming, InflateError, Inflater, WireCounts};
use super::frames::{Control, Frame, FrameReader, take};
use super::greeting::Greeting;
use super::message::{MessageFrames, Misplaced};
use super::workload::Workload;
use crate::target::Wire;

/// Pieces up to this size are always compared whole; of longer ones, unless asked for all, the two
/// ends and a window that wanders from message to message, each this long. Comparing 60 kB costs
/// as much as receiving it, and a server that garbles payloads hardly ever does so in the same few places.
const WHOLE: usize = 1 << 10;

/// How much of a reply's content is compared. Length, opcode and order always are.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize, serde::Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verify {
    /// Every byte.
    Full,
    /// Every byte of pieces up to 3 KiB, both ends and a wandering window of longer ones.
    Sample,
}

impl Verify {
    /// Whether a received piece is what was expected; `wander` moves the sampled window.
    #[inline]
    pub(crate) fn same(self, piece: &[u8], expected: &[u8], wander: usize) -> bool {
        let len = piece.len();
        if self == Self::Full || len <= 3 * WHOLE {
            return piece == expected;
        }
        let window = wander.wrapping_mul(WHOLE) % (len - WHOLE);
        [0, window, len - WHOLE]
            .into_iter()
            .all(|start| piece[start..start + WHOLE] == expected[start..start + WHOLE])
    }
}

/// What the connections of a thread know of compressed replies, and have seen of all.
#[derive(Debug)]
pub(crate) struct Replies {
    /// What each variant was last compressed to, as far as it was verified.
    known: Vec<Option<Rc<Vec<u8>>>>,
    /// No two payloads are the same: which one came can be told.
    distinct: bool,
    inflater: Inflater,
    /// What came of each variant; counted only where messages are compressed.
    pub(crate) counts: Vec<WireCounts>,
}

impl Replies {
    /// None yet.
    pub(crate) fn new(load: &Workload) -> Self {
        Self {
            known: vec![None; load.variants],
            distinct: load.wire == Wire::WebSocket && all_differ(load),
            inflater: Inflater::new(),
            counts: vec![WireCounts::default(); load.variants],
        }
    }

    /// Whether it can be told which of the payloads came.
    pub(crate) fn distinct(&self) -> bool {
        self.distinct
    }

    /// Checks a compressed reply that is not the known one, and knows it from now on. Returns which one it is.
    #[cold]
    fn learn(
        &mut self,
        compressed: Vec<u8>,
        load: &Workload,
        expected: usize,
    ) -> Result<usize, ReplyError> {
        self.counts[expected].inflated += 1;
        let len = load.reply_len(expected);
        let found = self.inflater.inflate(&compressed, load.longest_reply())?;
        let same = |&variant: &usize| found == load.reply(variant);
        let others = (0..load.variants).filter(|_| self.distinct);
        let Some(variant) = [expected].into_iter().chain(others).find(same) else {
            return Err(if found.len() == len {
                ReplyError::Content { at: 0, len }
            } else {
                ReplyError::Length {
                    found: found.len() as u64,
                    expected: len,
                }
            });
        };
        self.known[variant] = Some(Rc::new(compressed));
        Ok(variant)
    }
}

fn all_differ(load: &Workload) -> bool {
    let different: HashSet<&[u8]> = (0..load.variants).map(|one| load.reply(one)).collect();
    different.len() == load.variants
}

/// Where a connection is in its stream of replies.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    /// Variant of the message that is due next, or of the one that turned out to come instead.
    variant: usize,
    /// It came instead.
    displaced: bool,
    /// Bytes of that message seen.
    seen: usize,
    message: MessageFrames,
    /// Messages read; moves the sampling window.
    messages: usize,
    /// The current message, when it is compressed.
    incoming: Option<Incoming<Vec<u8>>>,
    frames: FrameReader,
    greeting: Greeting,
}

/// Something complete that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The message that was due.
    Message,
    /// Another one, whole and of this variant. The reader is to be told what is due now ([`ReplyReader::expect`]).
    Displaced(usize),
    /// A control frame.
    Control(Control),
}

/// The server sent what it should not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReplyError {
    /// A broken rule of the protocol.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    /// Other bytes than were sent.
    #[error("a reply differs from what was sent, within {len} bytes from byte {at} on")]
    Content {
        /// Offset of the piece in the reply.
        at: usize,
        /// Length of the piece.
        len: usize,
    },
    /// Too long or too short.
    #[error("a reply has {found} bytes, expected {expected}")]
    Length {
        /// Bytes announced so far.
        found: u64,
        /// Bytes sent.
        expected: usize,
    },
    /// Compressed to what cannot be, or to another length.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// Text for binary or the reverse.
    #[error("a reply came as {found:?}, expected {expected:?}")]
    Opcode {
        /// What came.
        found: Opcode,
        /// What was sent.
        expected: Opcode,
    },
}

impl ReplyReader {
    /// Replies come after so many other messages.
    pub(crate) fn after(greeting: u64) -> Self {
        Self {
            greeting: Greeting::of(greeting),
            ..Self::default()
        }
    }

    /// Whether messages must still come before replies do.
    pub(crate) fn awaits_greeting(&self) -> bool {
        self.greeting.is_awaited()
    }

    /// Part of a message has come.
    pub(crate) fn is_within(&self) -> bool {
        self.message.is_within()
    }

    /// What came of the message that is not as it should be, up to the end of a frame: `bytes` were read up to `rest`, and not
    /// compressed.
    pub(crate) fn unexpected<'b>(
        &self,
        error: &ReplyError,
        bytes: &'b [u8],
        rest: &'b [u8],
    ) -> &'b [u8] {
        match error {
            ReplyError::Length { .. } | ReplyError::Opcode { .. } => {
                &rest[..rest.len().min(self.message.left())]
            }
            &ReplyError::Content { at: 0, len } => {
                let read = bytes.len() - rest.len();
                &bytes[read - len..read]
            }
            _ => &[],
        }
    }

    /// From now on this variant is due; to be called between messages.
    pub(crate) fn expect(&mut self, variant: usize) {
        self.variant = variant;
    }

    /// Reads on in `input`, which is moved past what was read. `None`: all of it was.
    #[inline]
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        load: &Workload,
        verify: Verify,
        replies: &mut Replies,
    ) -> Result<Option<Reply>, ReplyError> {
        if load.wire == Wire::Raw {
            return self.next_raw(input, load, verify, replies);
        }
        if self.greeting.is_awaited() {
            let control = self.greeting.next(input, load.deflate)?;
            if control.is_some() || self.greeting.is_awaited() {
                return Ok(control.map(Reply::Control));
            }
        }
        loop {
            if self.message.left() > 0 {
                let piece = self.message.take(input);
                match &mut self.incoming {
                    None => self.compare(piece, load, verify, replies)?,
                    Some(incoming) => incoming.take(piece),
                }
                if self.message.left() > 0 {
                    return Ok(None);
                }
            }
            if self.message.is_last() {
                if load.deflate {
                    self.check_compressed(load, replies)?;
                }
                return Ok(Some(self.complete(load)));
            }
            match self.frames.next(input, load.deflate)? {
                Some(Frame::Data(header)) => self.begin(&header, load, replies)?,
                Some(Frame::Control(control)) => return Ok(Some(Reply::Control(control))),
                None => return Ok(None),
            }
        }
    }

    fn next_raw(
        &mut self,
        input: &mut &[u8],
        load: &Workload,
        verify: Verify,
        replies: &Replies,
    ) -> Result<Option<Reply>, ReplyError> {
        let n = (load.reply_len(self.variant) - self.seen).min(input.len());
        self.compare(take(input, n), load, verify, replies)?;
        if self.seen < load.reply_len(self.variant) {
            return Ok(None);
        }
        Ok(Some(self.complete(load)))
    }

    /// A data frame begins.
    #[inline]
    fn begin(
        &mut self,
        header: &Header,
        load: &Workload,
        replies: &mut Replies,
    ) -> Result<(), ReplyError> {
        let expected = load.opcode;
        self.message
            .check(header, expected)
            .map_err(|misplaced| match misplaced {
                Misplaced::Order(error) => error.into(),
                Misplaced::Opcode(found) => ReplyError::Opcode { found, expected },
            })?;
        if load.deflate {
            replies.counts[self.variant].frame(header);
        }
        if header.rsv != 0 {
            self.incoming = Some(Incoming::new(replies.known[self.variant].as_ref()));
        }
        self.check_length(header, load, replies)?;
        self.message.begin(header);
        Ok(())
    }

    /// Whether what is announced so far can be the message that is due, or one that came instead.
    #[inline]
    fn check_length(
        &mut self,
        header: &Header,
        load: &Workload,
        replies: &Replies,
    ) -> Result<(), ReplyError> {
        let expected = load.reply_len(self.variant);
        if let Some(incoming) = &self.incoming {
            let found = header.payload_len.saturating_add(incoming.len() as u64);
            if found > deflate::bound(load.longest_reply()) as u64 {
                return Err(ReplyError::Length { found, expected });
            }
            return Ok(());
        }
        let found = header.payload_len.saturating_add(self.seen as u64);
        if fits(expected, found, header.fin) {
            return Ok(());
        }
        self.recognize_by_length(found, header.fin, load, replies)
    }

    /// The reply is longer or shorter than the one that was due: can it be another one, by what came of it?
    #[cold]
    fn recognize_by_length(
        &mut self,
        announced: u64,
        whole: bool,
        load: &Workload,
        replies: &Replies,
    ) -> Result<(), ReplyError> {
        let due = load.reply(self.variant);
        let is = |&variant: &usize| {
            let reply = load.reply(variant);
            fits(reply.len(), announced, whole) && reply.starts_with(&due[..self.seen])
        };
        let found = (0..load.variants).filter(|_| replies.distinct).find(is);
        self.variant = found.ok_or(ReplyError::Length {
            found: announced,
            expected: due.len(),
        })?;
        self.displaced = true;
        Ok(())
    }

    /// A whole message has come, on a connection with compression.
    #[inline]
    fn check_compressed(
        &mut self,
        load: &Workload,
        replies: &mut Replies,
    ) -> Result<(), ReplyError> {
        let counts = &mut replies.counts[self.variant];
        let Some(incoming) = self.incoming.take() else {
            counts.uncompressed += 1;
            return Ok(());
        };
        counts.compressed += 1;
        match incoming.finish() {
            Arrived::Known(_) => {}
            Arrived::Other(compressed) => {
                let variant = replies.learn(compressed, load, self.variant)?;
                self.displaced = variant != self.variant;
                self.variant = variant;
            }
        }
        self.seen = load.reply_len(self.variant);
        Ok(())
    }

    /// Compares the next bytes of the message. They fit: `begin` and `next_raw` see to it.
    #[inline]
    fn compare(
        &mut self,
        piece: &[u8],
        load: &Workload,
        verify: Verify,
        replies: &Replies,
    ) -> Result<(), ReplyError> {
        let (at, len) = (self.seen, piece.len());
        self.seen += len;
        let expected = &load.reply(self.variant)[at..at + len];
        if verify.same(piece, expected, self.messages) {
            Ok(())
        } else {
            self.recognize(piece, at, load, verify, replies)
        }
    }

    /// The reply is not the one that was due: is it another one, so far?
    #[cold]
    fn recognize(
        &mut self,
        piece: &[u8],
        at: usize,
        load: &Workload,
        verify: Verify,
        replies: &Replies,
    ) -> Result<(), ReplyError> {
        let len = piece.len();
        let before = &load.reply(self.variant)[..at];
        let (announced, whole) = (
            (at + len + self.message.left()) as u64,
            self.message.is_last(),
        );
        let is = |&variant: &usize| {
            let reply = load.reply(variant);
            fits(reply.len(), announced, whole)
                && &reply[..at] == before
                && verify.same(piece, &reply[at..at + len], self.messages)
        };
        let found = (0..load.variants).filter(|_| replies.distinct).find(is);
        self.variant = found.ok_or(ReplyError::Content { at, len })?;
        self.displaced = true;
        Ok(())
    }

    #[inline]
    fn complete(&mut self, load: &Workload) -> Reply {
        debug_assert_eq!(self.seen, load.reply_len(self.variant));
        self.message.end();
        self.seen = 0;
        self.messages = self.messages.wrapping_add(1);
        if self.displaced {
            self.displaced = false;
            return Reply::Displaced(self.variant);
        }
        self.variant += 1;
        if self.variant == load.variants {
            self.variant = 0;
        }
        Reply::Message
    }
}

/// Whether a message of which so many bytes are announced, which is all of them or not, can have `len`.
#[inline]
fn fits(len: usize, announced: u64, whole: bool) -> bool {
    if whole {
        announced == len as u64
    } else {
        announced <= len as u64
    }
}

#[cfg(test)]
mod tests;
