//! Messages in the forms in which connections get them: see [`super::compression`].

use bytes::Bytes;
use corecast_protocol::frame::{Header, Opcode};

use super::app::Message;
use super::batches::Slot;
use super::compression::Wire;
use super::hub::Hub;
use super::mailbox::Publication;
use super::output::Encoded;

/// How many of a topic's subscribers get messages in each form but the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    once: [u32; Wire::COMPRESSED_ONCE.len()],
    own: u32,
}

impl Forms {
    pub(crate) fn add(&mut self, wire: Wire) {
        if let Some(count) = self.of(wire) {
            *count += 1;
        }
    }

    pub(crate) fn remove(&mut self, wire: Wire) {
        if let Some(count) = self.of(wire) {
            *count -= 1;
        }
    }

    fn of(&mut self, wire: Wire) -> Option<&mut u32> {
        match wire {
            Wire::Plain => None,
            Wire::Own => Some(&mut self.own),
            _ => Some(&mut self.once[wire.place() - 1]),
        }
    }

    /// Whether all of them get messages as they are.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The forms in which messages are compressed for all who have them.
    pub(crate) fn compressed_once(self) -> impl Iterator<Item = Wire> {
        let forms = Wire::COMPRESSED_ONCE.into_iter();
        forms.filter(move |wire| self.once[wire.place() - 1] > 0)
    }
}

/// A frame with its parts.
pub(crate) struct Part<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
    pub(crate) frame: &'a [u8],
}

/// The frames of messages that lie back to back as a server sends them, none of them compressed.
pub(crate) fn parts(mut frames: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let header = Header::decode(frames).ok().flatten()?;
        let head = usize::from(header.header_len);
        let (frame, rest) = frames.split_at_checked(head + header.payload_len as usize)?;
        frames = rest;
        Some(Part {
            opcode: header.opcode,
            payload: &frame[head..],
            frame,
        })
    })
}

impl Hub {
    /// A message in a form that is the same for everybody, to be kept.
    pub(crate) fn frame(&mut self, wire: Wire, message: Message<'_>) -> Bytes {
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        let (kind, payload) = self.compression.common(wire, opcode, payload);
        let len = corecast_protocol::server_header_len(payload.len()) + payload.len();
        let mut frame = Vec::with_capacity(len);
        corecast_protocol::encode_server(&mut frame, kind, payload);
        frame.into()
    }

    /// What another core or thread has encoded, in a form that is the same for everybody.
    pub(crate) fn published(&mut self, wire: Wire, publication: &Publication) -> Bytes {
        match wire {
            Wire::Plain | Wire::Own => publication.frames.clone(),
            Wire::Deflate => match publication.deflated.get() {
                Some(deflated) => deflated.clone(),
                None => {
                    let deflated = self.compressed(wire, &publication.frames);
                    // Another core may have been faster. None waits for the other.
                    let _ = publication.deflated.set(deflated.clone());
                    deflated
                }
            },
            Wire::DeflateSmall => self.compressed(wire, &publication.frames),
        }
    }

    /// Plain frames in a compressed form.
    pub(crate) fn compressed(&mut self, wire: Wire, frames: &[u8]) -> Bytes {
        let mut compressed = Vec::new();
        for part in parts(frames) {
            let (kind, payload) = self.compression.common(wire, part.opcode, part.payload);
            corecast_protocol::encode_server(&mut compressed, kind, payload);
        }
        compressed.into()
    }

    /// Gives a connection with a context of its own what a batch holds for it: compressed for it alone.
    pub(crate) fn give_own(&mut self, index: u32, slot: Slot, from: u32) {
        let frames = self.output.batches.share(slot).clone();
        self.give_own_frames(index, &frames[from as usize..]);
    }

    /// Gives plain frames to a connection with a context of its own.
    pub(crate) fn give_own_frames(&mut self, index: u32, frames: &[u8]) {
        for part in parts(frames) {
            self.give_own_message(index, part.opcode, part.payload);
        }
    }

    /// Gives a message to a connection that has no backlog, in the form that is its own.
    pub(crate) fn give_own_message(&mut self, index: u32, opcode: Opcode, payload: &[u8]) {
        let conn = &mut self.conns[index];
        let (kind, payload) = self.compression.of(index, conn.wire, opcode, payload);
        self.output
            .push_frame(index, &mut conn.pending, kind, payload);
    }
}

/// Frames that are made when the first one needs them, in each of the forms that are the same for everybody.
#[derive(Default)]
pub(crate) struct EncodedForms([Option<Encoded>; Wire::COMMON]);

impl EncodedForms {
    pub(crate) fn get(&mut self, wire: Wire, encode: impl FnOnce() -> Encoded) -> Encoded {
        *self.0[wire.place()].get_or_insert_with(encode)
    }
}

/// The same for frames that are to be kept, each message by itself.
#[derive(Default)]
pub(crate) struct KeptForms([Option<Vec<Bytes>>; Wire::COMMON]);

impl KeptForms {
    pub(crate) fn get(&mut self, wire: Wire, make: impl FnOnce() -> Vec<Bytes>) -> &[Bytes] {
        self.0[wire.place()].get_or_insert_with(make)
    }
}
