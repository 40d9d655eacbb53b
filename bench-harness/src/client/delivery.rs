//! Deliveries are checked as they arrive, without being assembled: the stamp says which message
//! it is, and the rest is compared where it lies in the receive buffer.

use corecast_protocol::{Header, Opcode, ProtocolError};

use super::frames::{Control, Frame, FrameReader, take};
use super::publication::{Publication, STAMP_LEN, Stamp};
use super::reply::Verify;

/// Where a subscriber is in its stream of deliveries.
#[derive(Debug, Default)]
pub(crate) struct DeliveryReader {
    frames: FrameReader,
    /// Payload bytes of the current data frame still to come.
    frame_left: usize,
    /// Payload bytes of the current message seen.
    seen: usize,
    state: State,
    /// Messages read; moves the sampling window.
    messages: u32,
    /// The stamp of the current message, as far as it has come.
    stamp: [u8; STAMP_LEN],
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
    /// Not binary.
    #[error("a delivery came as {0:?}, expected Binary")]
    Opcode(Opcode),
    /// A message that no publisher of this run has sent.
    #[error("a message came that is not of this run: does someone else publish here?")]
    Foreign,
}

impl DeliveryReader {
    /// Reads on in `input`, which is moved past what was read. `None`: all of it was.
    #[inline]
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        publication: &Publication,
        verify: Verify,
    ) -> Result<Option<Delivery>, DeliveryError> {
        loop {
            if self.frame_left > 0 {
                self.payload(input, publication, verify)?;
                if self.frame_left > 0 {
                    return Ok(None);
                }
            }
            if self.state == State::Last {
                return self.complete(publication).map(Some);
            }
            match self.frames.next(input)? {
                Some(Frame::Data(header)) => self.begin(&header, publication)?,
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
        let mut piece = take(input, self.frame_left.min(input.len()));
        self.frame_left -= piece.len();
        if self.seen < STAMP_LEN {
            let missing = (STAMP_LEN - self.seen).min(piece.len());
            let part = take(&mut piece, missing);
            self.stamp[self.seen..self.seen + part.len()].copy_from_slice(part);
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
    fn begin(&mut self, header: &Header, publication: &Publication) -> Result<(), DeliveryError> {
        match (self.state, header.opcode) {
            (State::Fragment, Opcode::Continuation) | (State::Between, Opcode::Binary) => {}
            (State::Fragment, _) => return Err(ProtocolError::NestedMessage.into()),
            (_, Opcode::Continuation) => return Err(ProtocolError::OrphanContinuation.into()),
            (_, found) => return Err(DeliveryError::Opcode(found)),
        }
        let found = header.payload_len.saturating_add(self.seen as u64);
        let expected = publication.payload_len as u64;
        if found > expected || (header.fin && found < expected) {
            return Err(DeliveryError::Length {
                found,
                expected: publication.payload_len,
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

    #[inline]
    fn complete(&mut self, publication: &Publication) -> Result<Delivery, DeliveryError> {
        debug_assert_eq!(self.seen, publication.payload_len);
        self.state = State::Between;
        self.seen = 0;
        self.messages = self.messages.wrapping_add(1);
        let stamp = publication.stamp(&self.stamp);
        stamp.map(Delivery::Message).ok_or(DeliveryError::Foreign)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEN: usize = 100;

    /// A server's frame, by hand: the encoder is the server's side.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        assert!(payload.len() <= 125);
        [&[first, payload.len() as u8], payload].concat()
    }

    fn stamp(number: u32) -> Stamp {
        Stamp {
            publisher: 3,
            number,
            due: 1 << 40,
            sent: (1 << 40) + 5,
        }
    }

    /// The payload of a message, by way of the frame that a publisher sends.
    fn payload(publication: &Publication, number: u32) -> Vec<u8> {
        let mut frame = Vec::new();
        publication.encode(&mut frame, &stamp(number));
        assert_eq!(frame.len(), publication.frame_len);
        let header = Header::decode(&frame).unwrap().unwrap();
        let key = header.mask.unwrap().into_iter().cycle();
        let masked = &frame[usize::from(header.header_len)..];
        masked
            .iter()
            .zip(key)
            .map(|(byte, key)| byte ^ key)
            .collect()
    }

    fn read_in_pieces(
        stream: &[u8],
        publication: &Publication,
        piece: usize,
    ) -> Result<Vec<Delivery>, DeliveryError> {
        let mut reader = DeliveryReader::default();
        let mut deliveries = Vec::new();
        for mut input in stream.chunks(piece) {
            while let Some(delivery) = reader.next(&mut input, publication, Verify::Full)? {
                deliveries.push(delivery);
            }
        }
        Ok(deliveries)
    }

    #[test]
    fn any_split_gives_the_same_deliveries() {
        let publication = Publication::new(LEN, 1);
        let second = payload(&publication, 7);
        let stream = [
            frame(0x82, &payload(&publication, 0)),
            frame(0x89, b"there?"),
            frame(0x02, &second[..10]),
            frame(0x80, &second[10..]),
            frame(0x88, b"\x03\xf5slow"),
        ]
        .concat();
        let expected = [
            Delivery::Message(stamp(0)),
            Delivery::Control(Control::Ping(b"there?".to_vec())),
            Delivery::Message(stamp(7)),
            Delivery::Control(Control::Close("1013 \"slow\"".into())),
        ];
        for piece in 1..=stream.len() {
            let found = read_in_pieces(&stream, &publication, piece).unwrap();
            assert_eq!(found, expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_was_not_published_shows() {
        let publication = Publication::new(LEN, 1);
        let read = |first, payload: &[u8]| {
            read_in_pieces(&frame(first, payload), &publication, 7).unwrap_err()
        };
        let good = payload(&publication, 0);
        let mut changed = good.clone();
        changed[LEN - 1] ^= 1;
        assert!(matches!(
            read(0x82, &changed),
            DeliveryError::Content { .. }
        ));
        assert!(matches!(
            read(0x82, &good[1..]),
            DeliveryError::Length { .. }
        ));
        assert_eq!(read(0x81, &good), DeliveryError::Opcode(Opcode::Text));
        let mut foreign = good;
        foreign[0] ^= 1;
        assert_eq!(read(0x82, &foreign), DeliveryError::Foreign);
    }
}
