//! Deliveries are checked as they arrive, without being assembled: the stamp says which message
//! it is, and the rest is compared where it lies in the receive buffer. What comes compressed is compared with what
//! others have received, and inflated when it differs.

use corecast_protocol::{Header, Opcode, ProtocolError};

use super::deflate::{self, Arrived, Incoming, InflateError, WireCounts};
use super::frames::{Control, Frame, FrameReader, take};
use super::greeting::Greeting;
use super::message::{MessageFrames, Misplaced};
use super::publication::{Lengths, MAX_HEAD_LEN, Publication, Stamp};
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
    /// What it says once it has come, and which of the bodies that take turns follows.
    stamp: Stamp,
    body: usize,
    /// What has come of it on the wire, where messages are compressed.
    current: WireCounts,
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
        expected: Lengths,
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
            stamp: Stamp::default(),
            body: 0,
            current: WireCounts::default(),
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

    /// What came of the message that is not as it should be: `rest` has not been read, and is not compressed.
    pub(crate) fn unexpected<'b>(
        &'b self,
        error: &DeliveryError,
        rest: &'b [u8],
        publication: &Publication,
    ) -> &'b [u8] {
        match error {
            DeliveryError::Length { .. } | DeliveryError::Opcode { .. } => {
                &rest[..rest.len().min(self.message.left())]
            }
            DeliveryError::Content { .. } | DeliveryError::Foreign => {
                &self.head[..publication.head_len]
            }
            _ => &[],
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
            if self.seen == publication.head_len {
                self.recognize(piece.len(), publication)?;
            }
        }
        let (at, len) = (self.seen, piece.len());
        self.seen += len;
        if len == 0 {
            return Ok(());
        }
        let expected = publication.filler(self.body, at, len);
        if verify.same(piece, expected, self.messages as usize) {
            return Ok(());
        }
        Err(DeliveryError::Content { at, len })
    }

    /// The head of a message has come, and `here` bytes behind it: which message is it, and can it be?
    #[inline]
    fn recognize(&mut self, here: usize, publication: &Publication) -> Result<(), DeliveryError> {
        let stamp = publication.stamp(&self.head[..publication.head_len]);
        self.stamp = stamp.ok_or(DeliveryError::Foreign)?;
        self.body = publication.body(&self.stamp);
        let found = (self.seen + here + self.message.left()) as u64;
        let expected = Lengths::exactly(publication.payload_len(self.body));
        if expected.fit(found, self.message.is_last()) {
            return Ok(());
        }
        Err(DeliveryError::Length { found, expected })
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
            self.current.frame(header);
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
        let (seen, expected) = match &self.incoming {
            Some(incoming) => (incoming.len(), compressed(publication.lengths())),
            None if self.seen < publication.head_len => (self.seen, publication.lengths()),
            None => {
                let len = publication.payload_len(self.body);
                (self.seen, Lengths::exactly(len))
            }
        };
        let found = header.payload_len.saturating_add(seen as u64);
        if expected.fit(found, header.fin) {
            return Ok(());
        }
        Err(DeliveryError::Length { found, expected })
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
            let stamp = self.complete_compressed(incoming, publication, recent)?;
            self.current.compressed = 1;
            self.count(publication.body(&stamp), recent);
            return Ok(Delivery::Message(stamp));
        }
        debug_assert_eq!(self.seen, publication.payload_len(self.body));
        self.seen = 0;
        if publication.deflate {
            self.current.uncompressed = 1;
            self.count(self.body, recent);
        }
        Ok(Delivery::Message(self.stamp))
    }

    #[inline]
    fn complete_compressed(
        &mut self,
        incoming: Incoming<Verified>,
        publication: &Publication,
        recent: &mut Recent,
    ) -> Result<Stamp, DeliveryError> {
        match incoming.finish() {
            Arrived::Known(message) => {
                self.next_recent += 1;
                Ok(message.stamp)
            }
            Arrived::Other(bytes) => {
                let (number, stamp) = recent.look_up(bytes, publication)?;
                self.next_recent = number + 1;
                Ok(stamp)
            }
        }
    }

    /// Counts a whole message with this body.
    #[inline]
    fn count(&mut self, body: usize, recent: &mut Recent) {
        let current = std::mem::take(&mut self.current);
        recent.counts_of(body).merge(&current);
    }
}

/// Bytes of a compressed message of such a length.
fn compressed(lengths: Lengths) -> Lengths {
    Lengths {
        least: 0,
        most: deflate::bound(lengths.most),
    }
}

#[cfg(test)]
mod tests;
