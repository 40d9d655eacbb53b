//! Replies are checked as they arrive, byte for byte, without being assembled.
//!
//! The reply to each message is known beforehand, so a payload is compared with it piece by piece
//! where it lies in the receive buffer: a message of any size costs one pass and no copy. Framing is judged by
//! the client's rules: no mask, no reserved bits, fragments in order (RFC 6455 §5).

use corecast_protocol::{Header, Opcode, ProtocolError, decode_close, frame};

use super::workload::Workload;
use crate::target::Wire;

/// Pieces up to this size are always compared whole; of longer ones, unless asked for all, the two
/// ends and a window that wanders from message to message, each this long. Comparing 60 kB costs
/// as much as receiving it, and a server that garbles payloads hardly ever does so in the same few places.
const WHOLE: usize = 1 << 10;

/// How much of a reply's content is compared. Length, opcode and order always are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verify {
    /// Every byte.
    Full,
    /// Every byte of pieces up to 3 KiB, both ends and a wandering window of longer ones.
    Sample,
}

/// Where a connection is in its stream of replies.
#[derive(Debug, Default)]
pub(crate) struct ReplyReader {
    /// Variant of the message that is due next.
    variant: usize,
    /// Bytes of that message seen.
    seen: usize,
    /// Payload bytes of the current data frame still to come.
    frame_left: usize,
    state: State,
    /// Messages read; moves the sampling window.
    messages: usize,
    /// A header or control frame that is not complete yet; empty otherwise.
    partial: Vec<u8>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// A message may begin.
    #[default]
    Between,
    /// In the last frame of a message.
    Last,
    /// In a frame of a message that is not the last, or after one.
    Fragment,
}

/// Something complete that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// The message that was due.
    Message,
    /// A ping, with the payload that its pong must carry.
    Ping(Vec<u8>),
    /// A pong, which nobody asked for; allowed (§5.5.3).
    Pong,
    /// The closing handshake: the code and reason as text.
    Close(String),
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
    /// Reads on in `input`, which is moved past what was read. `None`: all of it was.
    #[inline]
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        load: &Workload,
        verify: Verify,
    ) -> Result<Option<Reply>, ReplyError> {
        if load.wire == Wire::Raw {
            return self.next_raw(input, load, verify);
        }
        loop {
            if self.frame_left > 0 {
                let n = self.frame_left.min(input.len());
                self.compare(take(input, n), load, verify)?;
                self.frame_left -= n;
                if self.frame_left > 0 {
                    return Ok(None);
                }
            }
            if self.state == State::Last {
                return Ok(Some(self.complete(load)));
            }
            let Some(header) = self.header(input)? else {
                return Ok(None);
            };
            if header.opcode.is_control() {
                if let Some(reply) = self.control(&header, input)? {
                    return Ok(Some(reply));
                }
                return Ok(None);
            }
            self.begin(&header, load)?;
        }
    }

    fn next_raw(
        &mut self,
        input: &mut &[u8],
        load: &Workload,
        verify: Verify,
    ) -> Result<Option<Reply>, ReplyError> {
        let n = (load.reply_len() - self.seen).min(input.len());
        self.compare(take(input, n), load, verify)?;
        if self.seen < load.reply_len() {
            return Ok(None);
        }
        Ok(Some(self.complete(load)))
    }

    /// The next frame's header, taken off the input; control frames stay until they are complete.
    #[inline]
    fn header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, ReplyError> {
        if self.partial.is_empty() {
            if let Some(header) = Header::decode(input)? {
                take(input, usize::from(header.header_len));
                return judged(header).map(Some);
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        self.split_header(input)
    }

    /// A header of which an earlier receive brought the first bytes.
    #[cold]
    fn split_header(&mut self, input: &mut &[u8]) -> Result<Option<Header>, ReplyError> {
        loop {
            if let Some(header) = Header::decode(&self.partial)? {
                let header = judged(header)?;
                if !header.opcode.is_control() {
                    self.partial.clear();
                }
                return Ok(Some(header));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.partial.push(byte);
            *input = rest;
        }
    }

    /// The control frame after `header`; `None` when its payload is not here yet. Its bytes then
    /// wait in `partial`, header first.
    #[cold]
    fn control(&mut self, header: &Header, input: &mut &[u8]) -> Result<Option<Reply>, ReplyError> {
        if self.partial.is_empty() {
            self.partial.extend_from_slice(&header.encode());
        }
        let whole = usize::from(header.header_len) + header.payload_len as usize;
        let missing = whole.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(take(input, missing));
        if self.partial.len() < whole {
            return Ok(None);
        }
        let payload = &self.partial[usize::from(header.header_len)..whole];
        debug_assert!(payload.len() <= frame::MAX_CONTROL_PAYLOAD);
        let reply = match header.opcode {
            Opcode::Ping => Reply::Ping(payload.to_vec()),
            Opcode::Pong => Reply::Pong,
            _ => Reply::Close(match decode_close(payload)? {
                None => "without a code".to_owned(),
                Some((code, "")) => code.to_string(),
                Some((code, reason)) => format!("{code} {reason:?}"),
            }),
        };
        self.partial.clear();
        Ok(Some(reply))
    }

    /// A data frame begins.
    #[inline]
    fn begin(&mut self, header: &Header, load: &Workload) -> Result<(), ReplyError> {
        match (self.state, header.opcode) {
            (State::Fragment, Opcode::Continuation) => {}
            (State::Fragment, _) => return Err(ProtocolError::NestedMessage.into()),
            (_, Opcode::Continuation) => return Err(ProtocolError::OrphanContinuation.into()),
            (_, found) if found != load.opcode => {
                return Err(ReplyError::Opcode {
                    found,
                    expected: load.opcode,
                });
            }
            _ => {}
        }
        let found = header.payload_len.saturating_add(self.seen as u64);
        let expected = load.payload_len as u64;
        if found > expected || (header.fin && found < expected) {
            return Err(ReplyError::Length {
                found,
                expected: load.payload_len,
            });
        }
        self.frame_left = header.payload_len as usize;
        self.state = if header.fin {
            State::Last
        } else {
            State::Fragment
        };
        Ok(())
    }

    /// Compares the next bytes of the message. They fit: `begin` and `next_raw` see to it.
    #[inline]
    fn compare(&mut self, piece: &[u8], load: &Workload, verify: Verify) -> Result<(), ReplyError> {
        let (at, len) = (self.seen, piece.len());
        self.seen += len;
        let expected = &load.reply(self.variant)[at..at + len];
        let same = if verify == Verify::Full || len <= 3 * WHOLE {
            piece == expected
        } else {
            let window = self.messages.wrapping_mul(WHOLE) % (len - WHOLE);
            [0, window, len - WHOLE]
                .into_iter()
                .all(|start| piece[start..start + WHOLE] == expected[start..start + WHOLE])
        };
        if same {
            Ok(())
        } else {
            Err(ReplyError::Content { at, len })
        }
    }

    #[inline]
    fn complete(&mut self, load: &Workload) -> Reply {
        debug_assert_eq!(self.seen, load.reply_len());
        self.state = State::Between;
        self.seen = 0;
        self.messages = self.messages.wrapping_add(1);
        self.variant += 1;
        if self.variant == load.variants {
            self.variant = 0;
        }
        Reply::Message
    }
}

/// The client's rules for every frame (§5.1, §5.2).
#[inline]
fn judged(header: Header) -> Result<Header, ReplyError> {
    if header.rsv != 0 {
        return Err(ProtocolError::ReservedBits(header.rsv).into());
    }
    if header.mask.is_some() {
        return Err(ProtocolError::MaskForbidden.into());
    }
    Ok(header)
}

/// Takes the first `n` bytes off `input`.
#[inline]
fn take<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(n);
    *input = rest;
    taken
}

#[cfg(test)]
mod tests;
