//! Deliveries are checked as they arrive, without being assembled: the stamp says which message
//! it is, and the rest is compared where it lies in the receive buffer. What comes compressed is compared with what
//! others have received, and inflated when it differs.

use corecast_protocol::{Header, Opcode, ProtocolError};

use super::deflate::{self, Arrived, Incoming, InflateError};
use super::frames::{Control, Frame, FrameReader, take};
use super::greeting::Greeting;
use super::message::{MessageFrames, Misplaced};
use super::publication::{MAX_HEAD_LEN, Publication, Stamp};
use super::recent::{Recent, Verified};
use super::reply::Verify;

/// Where a subscriber is in its stream of deliveries.
#[derive(Debug)]
pub(crate) struct DeliveryReader {
    frames: FrameReader,
    message: MessageFrames,
    /// Payload bytes of the current message seen.
    seen: usize,
    /// Messages read; moves the sampling window.
    messages: u32,
    /// The head of the current message, as far as it has come.
    head: [u8; MAX_HEAD_LEN],
    /// The current message, when it is compressed.
    incoming: Option<Incoming<Verified>>,
    /// Which of the recent compressed messages is likely to come next.
    next_recent: u64,
    greeting: Greeting,
}

/// Something complete that the server sent.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A message of this run.
    Message(Stamp),
    /// A control frame.
    Control(Control),
}

/// The server sent what it should not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DeliveryError {
    /// A broken rule of the protocol.
    #[error("protocol error: {0}")]
    Protocol(#[from] ProtocolError),
    /// Other bytes than were published.
    #[error("a delivery differs from what was published, within {len} bytes from byte {at} on")]
    Content {
        /// Offset of the piece in the payload.
        at: usize,
        /// Length of the piece.
        len: usize,
    },
    /// Too long or too short.
    #[error("a delivery has {found} bytes, expected {expected}")]
    Length {
        /// Bytes announced so far.
        found: u64,
        /// Bytes published.
        expected: usize,
    },
    /// Compressed to what cannot be, or to another length.
    #[error(transparent)]
    Inflate(#[from] InflateError),
    /// Text for binary or the reverse.
    #[error("a delivery came as {found:?}, expected {expected:?}")]
    Opcode {
        /// What came.
        found: Opcode,
        /// What was published.
        expected: Opcode,
    },
    /// A message that no publisher of this run has sent.
    #[error("a message came that is not of this run: does someone else publish here?")]
    Foreign,
}

impl Default for DeliveryReader {
    fn default() -> Self {
        Self {
            frames: FrameReader::default(),
            message: MessageFrames::default(),
            seen: 0,
            messages: 0,
            head: [0; MAX_HEAD_LEN],
            incoming: None,
            next_recent: 0,
            greeting: Greeting::default(),
        }
    }
}

impl DeliveryReader {
    /// Deliveries come after so many other messages.
    pub(crate) fn after(greeting: u64) -> Self {
        Self {
            greeting: Greeting::of(greeting),
            ..Self::default()
        }
    }

    /// Whether messages must still come before deliveries do.
    pub(crate) fn awaits_greeting(&self) -> bool {
        self.greeting.is_awaited()
    }

    /// Reads on in `input`, which is moved past what was read. `None`: all of it was.
    #[inline]
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        publication: &Publication,
        verify: Verify,
        recent: &mut Recent,
    ) -> Result<Option<Delivery>, DeliveryError> {
        if self.greeting.is_awaited() {
            let control = self.greeting.next(input, publication.deflate)?;
            if control.is_some() || self.greeting.is_awaited() {
                return Ok(control.map(Delivery::Control));
            }
        }
        loop {
            if self.message.left() > 0 {
                self.payload(input, publication, verify)?;
                if self.message.left() > 0 {
                    return Ok(None);
                }
            }
            if self.message.is_last() {
                return self.complete(publication, recent).map(Some);
            }
            match self.frames.next(input, publication.deflate)? {
                Some(Frame::Data(header)) => self.begin(&header, publication, recent)?,
                Some(Frame::Control(control)) => return Ok(Some(Delivery::Control(control))),
                None => return Ok(None),
            }
        }
    }

    /// Takes what is there of the current frame's payload.
    #[inline]
    fn payload(
        &mut self,
        input: &mut &[u8],
        publication: &Publication,
        verify: Verify,
    ) -> Result<(), DeliveryError> {
        let mut piece = self.message.take(input);
        if let Some(incoming) = &mut self.incoming {
            incoming.take(piece);
            return Ok(());
        }
        if self.seen < publication.head_len {
            let missing = (publication.head_len - self.seen).min(piece.len());
            let part = take(&mut piece, missing);
            self.head[self.seen..self.seen + part.len()].copy_from_slice(part);
            self.seen += part.len();
        }
        let (at, len) = (self.seen, piece.len());
        self.seen += len;
        if len == 0 || verify.same(piece, publication.filler(at, len), self.messages as usize) {
            return Ok(());
        }
        Err(DeliveryError::Content { at, len })
    }

    /// A data frame begins.
    #[inline]
    fn begin(
        &mut self,
        header: &Header,
        publication: &Publication,
        recent: &mut Recent,
    ) -> Result<(), DeliveryError> {
        let expected = publication.opcode;
        self.message
            .check(header, expected)
            .map_err(|misplaced| match misplaced {
                Misplaced::Order(error) => error.into(),
                Misplaced::Opcode(found) => DeliveryError::Opcode { found, expected },
            })?;
        if publication.deflate {
            recent.counts.frame(header);
        }
        if header.rsv != 0 {
            self.incoming = Some(Incoming::new(recent.get(self.next_recent)));
        }
        self.check_length(header, publication)?;
        self.message.begin(header);
        Ok(())
    }

    /// Whether what is announced so far can be a message.
    #[inline]
    fn check_length(
        &self,
        header: &Header,
        publication: &Publication,
    ) -> Result<(), DeliveryError> {
        let expected = publication.payload_len;
        let (seen, least, most) = match &self.incoming {
            None => (self.seen, expected, expected),
            Some(incoming) => (incoming.len(), 0, deflate::bound(expected)),
        };
        let found = header.payload_len.saturating_add(seen as u64);
        if found > most as u64 || (header.fin && found < least as u64) {
            return Err(DeliveryError::Length { found, expected });
        }
        Ok(())
    }

    #[inline]
    fn complete(
        &mut self,
        publication: &Publication,
        recent: &mut Recent,
    ) -> Result<Delivery, DeliveryError> {
        self.message.end();
        self.messages = self.messages.wrapping_add(1);
        if let Some(incoming) = self.incoming.take() {
            return self.complete_compressed(incoming, publication, recent);
        }
        debug_assert_eq!(self.seen, publication.payload_len);
        recent.counts.uncompressed += 1;
        self.seen = 0;
        let stamp = publication.stamp(&self.head[..publication.head_len]);
        stamp.map(Delivery::Message).ok_or(DeliveryError::Foreign)
    }

    #[inline]
    fn complete_compressed(
        &mut self,
        incoming: Incoming<Verified>,
        publication: &Publication,
        recent: &mut Recent,
    ) -> Result<Delivery, DeliveryError> {
        recent.counts.compressed += 1;
        match incoming.finish() {
            Arrived::Known(message) => {
                self.next_recent += 1;
                Ok(Delivery::Message(message.stamp))
            }
            Arrived::Other(bytes) => {
                let (number, stamp) = recent.look_up(bytes, publication)?;
                self.next_recent = number + 1;
                Ok(Delivery::Message(stamp))
            }
        }
    }
}

#[cfg(test)]
mod tests;
