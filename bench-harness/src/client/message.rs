//! Where a connection is in its stream of messages, each of one frame or several (RFC 6455 §5.4).

use corecast_protocol::{Header, Opcode, ProtocolError};

use super::frames::take;

/// The data frames of the message that is being read.
#[derive(Debug, Default)]
pub(super) struct MessageFrames {
    /// Payload bytes of the current frame still to come.
    left: usize,
    state: State,
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

/// A data frame that has no place here.
#[derive(Debug)]
pub(super) enum Misplaced {
    /// A message within a message, or a continuation of none.
    Order(ProtocolError),
    /// It begins a message of another type than this one.
    Opcode(Opcode),
}

impl MessageFrames {
    /// A message has begun and has not ended.
    #[inline]
    pub(super) fn is_within(&self) -> bool {
        self.state != State::Between
    }

    /// The current frame is the last of its message.
    #[inline]
    pub(super) fn is_last(&self) -> bool {
        self.state == State::Last
    }

    /// Payload bytes of the current frame still to come.
    #[inline]
    pub(super) fn left(&self) -> usize {
        self.left
    }

    /// Takes what is there of the current frame's payload.
    #[inline]
    pub(super) fn take<'a>(&mut self, input: &mut &'a [u8]) -> &'a [u8] {
        let piece = take(input, self.left.min(input.len()));
        self.left -= piece.len();
        piece
    }

    /// Whether a data frame may come now, as part of a message of this type. Its payload is what comes next.
    #[inline]
    pub(super) fn check(&mut self, header: &Header, expected: Opcode) -> Result<(), Misplaced> {
        self.left = header.payload_len as usize;
        match (self.state, header.opcode) {
            (State::Fragment, Opcode::Continuation) => Ok(()),
            (State::Fragment, _) => Err(Misplaced::Order(ProtocolError::NestedMessage)),
            (_, Opcode::Continuation) => Err(Misplaced::Order(ProtocolError::OrphanContinuation)),
            (_, found) if found != expected => Err(Misplaced::Opcode(found)),
            _ => Ok(()),
        }
    }

    /// A data frame begins that was checked.
    #[inline]
    pub(super) fn begin(&mut self, header: &Header) {
        self.state = if header.fin {
            State::Last
        } else {
            State::Fragment
        };
    }

    /// The message is whole, and dealt with.
    #[inline]
    pub(super) fn end(&mut self) {
        self.state = State::Between;
    }
}
