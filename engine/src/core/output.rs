//! What a turn sends: frames are encoded once into the core's memory, and connections hold references.
//!
//! A connection's output of one turn is a list of pieces. A piece is a range of the arena, of a receive
//! buffer (a payload that goes out again from where it came in), of an owned message, or of what was published to a
//! topic ([`super::batches`]). All of it stays in place until the turn's sends are over; then the turn number advances and every list
//! is empty, without a visit to any connection.

use bytes::Bytes;
use corecast_protocol::frame::{FrameKind, Header};

use super::backlog::Backlog;
use super::batches::{Batches, Slot};
use crate::transport::ring::Chunk;

/// Payloads of at least this many bytes are referenced where they lie, if they lie in memory that outlives the turn;
/// shorter ones are copied into the arena, which costs less than a further piece in the kernel.
const REFERENCE_BYTES: usize = 2 << 10;

/// Payloads of at least this many bytes get memory of their own instead of a place in the arena, so that the arena stays in
/// the cache and a backlog can hold them without a copy.
const OWN_BYTES: usize = 64 << 10;

/// A backlog refers to at least so many bytes of what others send, too; fewer are copied.
const SHARE_BYTES: usize = 4 << 10;

/// The arena keeps at most this much memory from one turn to the next.
const ARENA_KEPT: usize = 1 << 20;

/// The turn's lists keep room for this many entries.
const LIST_KEPT: usize = 64 << 10;

/// Beyond this the arena takes no more, and further frames get memory of their own: offsets are 32 bits.
const ARENA_LIMIT: usize = 1 << 30;

const NONE: u32 = u32::MAX;

/// A connection's output of one turn. Of another turn than the current one, it is empty.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pending {
    turn: u32,
    first: u32,
    last: u32,
    count: u32,
    bytes: u32,
}

impl Pending {
    /// Pieces queued in `turn`.
    pub(crate) fn pieces(&self, turn: u32) -> usize {
        if self.turn == turn {
            self.count as usize
        } else {
            0
        }
    }

    /// Bytes queued in `turn`.
    pub(crate) fn bytes(&self, turn: u32) -> usize {
        if self.turn == turn {
            self.bytes as usize
        } else {
            0
        }
    }
}

/// Where a piece's bytes lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Arena,
    /// Receive buffer of this number.
    Received(u16),
    /// Owned message of this number.
    Owned(u32),
    /// What was published to a topic.
    Batch(Slot),
}

#[derive(Clone, Copy, Debug)]
struct Piece {
    source: Source,
    offset: u32,
    len: u32,
    next: u32,
}

/// Memory that the transport lends the handler, from which it may send without a copy.
pub(crate) trait Received {
    /// The bytes of a chunk that was received in this turn.
    fn bytes(&self, chunk: Chunk) -> &[u8];
}

/// A stretch of memory that stays readable until the turn's sends are over.
#[derive(Clone, Copy, Debug)]
struct Lent {
    /// Addresses are compared, never followed.
    start: usize,
    len: usize,
    source: LentSource,
}

#[derive(Clone, Copy, Debug)]
enum LentSource {
    Received {
        buffer: u16,
        offset: u32,
    },
    /// Owned by the caller until its handler returns; `Some` once something references it.
    Message {
        slot: Option<u32>,
    },
}

/// The turn's output.
pub(crate) struct Output {
    turn: u32,
    arena: Vec<u8>,
    pieces: Vec<Piece>,
    owned: Vec<Bytes>,
    pub(crate) batches: Batches,
    lent: Option<Lent>,
    /// Connections with output in this turn, in order of their first frame.
    dirty: Vec<u32>,
}

impl Output {
    pub(crate) fn new() -> Self {
        // Turn 0 is what a new connection's `Pending` says.
        Self {
            turn: 1,
            arena: Vec::new(),
            pieces: Vec::new(),
            owned: Vec::new(),
            batches: Batches::default(),
            lent: None,
            dirty: Vec::new(),
        }
    }

    /// Memory that the arena keeps.
    #[cfg(test)]
    pub(crate) fn arena_bytes(&self) -> usize {
        self.arena.capacity()
    }

    pub(crate) fn turn(&self) -> u32 {
        self.turn
    }

    /// Connections with output.
    pub(crate) fn dirty(&self) -> &[u32] {
        &self.dirty
    }

    /// Lends a chunk of a receive buffer: what is sent out of it is referenced.
    pub(crate) fn lend_received(&mut self, bytes: &[u8], chunk: Option<Chunk>) {
        self.lent = chunk.map(|chunk| Lent {
            start: bytes.as_ptr() as usize,
            len: bytes.len(),
            source: LentSource::Received {
                buffer: chunk.buffer,
                offset: chunk.offset,
            },
        });
    }

    /// Lends a message that the caller owns, until [`Self::reclaim_message`]. Gives what was lent before.
    pub(crate) fn lend_message(&mut self, bytes: &[u8]) -> Interrupted {
        let lent = Lent {
            start: bytes.as_ptr() as usize,
            len: bytes.len(),
            source: LentSource::Message { slot: None },
        };
        Interrupted(self.lent.replace(lent))
    }

    /// Ends [`Self::lend_message`]: keeps the message if something references it, or else gives it back.
    pub(crate) fn reclaim_message(
        &mut self,
        message: Vec<u8>,
        before: Interrupted,
    ) -> Option<Vec<u8>> {
        let lent = std::mem::replace(&mut self.lent, before.0);
        match lent.map(|lent| lent.source) {
            Some(LentSource::Message { slot: Some(slot) }) => {
                self.owned[slot as usize] = Bytes::from(message);
                None
            }
            _ => Some(message),
        }
    }

    /// Nothing is lent any more.
    pub(crate) fn end_lending(&mut self) {
        self.lent = None;
    }

    /// Appends bytes that are not a frame (an HTTP response) to a connection's output.
    pub(crate) fn push_bytes(
        &mut self,
        index: u32,
        pending: &mut Pending,
        write: impl FnOnce(&mut Vec<u8>),
    ) {
        let range = self.write(write);
        self.append(index, pending, range);
    }

    /// Appends a whole unmasked frame to a connection's output.
    #[inline]
    pub(crate) fn push_frame(
        &mut self,
        index: u32,
        pending: &mut Pending,
        kind: impl Into<FrameKind>,
        payload: &[u8],
    ) {
        let frame = self.encode(kind, payload);
        self.push_encoded(index, pending, frame);
    }

    /// Encodes a frame once, for any number of connections.
    #[inline]
    pub(crate) fn encode(&mut self, kind: impl Into<FrameKind>, payload: &[u8]) -> Encoded {
        let kind = kind.into();
        if payload.len() >= REFERENCE_BYTES
            && let Some(payload) = self.reference(payload)
        {
            return Encoded {
                head: self.write_header(kind, payload.len),
                payload: Some(payload),
            };
        }
        if payload.len() >= OWN_BYTES || self.arena.len() > ARENA_LIMIT {
            let payload = self.own(Bytes::copy_from_slice(payload));
            return Encoded {
                head: self.write_header(kind, payload.len),
                payload: Some(payload),
            };
        }
        let head =
            self.write(|arena| corecast_protocol::frame::encode_server(arena, kind, payload));
        Encoded {
            head,
            payload: None,
        }
    }

    /// Refers to a frame that another core has encoded.
    pub(crate) fn encode_shared(&mut self, frame: &Bytes) -> Encoded {
        if frame.len() < REFERENCE_BYTES {
            let head = self.write(|arena| arena.extend_from_slice(frame));
            return Encoded {
                head,
                payload: None,
            };
        }
        Encoded {
            head: self.own(frame.clone()),
            payload: None,
        }
    }

    /// Appends an encoded frame to a connection's output.
    #[inline]
    pub(crate) fn push_encoded(&mut self, index: u32, pending: &mut Pending, frame: Encoded) {
        self.append(index, pending, frame.head);
        if let Some(payload) = frame.payload {
            self.append(index, pending, payload);
        }
    }

    /// Appends what a batch holds from `from` on to a connection's output.
    #[inline]
    pub(crate) fn push_batch(&mut self, index: u32, pending: &mut Pending, slot: Slot, from: u32) {
        let len = self.batches.len(slot) - from;
        if len > 0 {
            let source = Source::Batch(slot);
            let range = Range {
                source,
                offset: from,
                len,
            };
            self.append(index, pending, range);
        }
    }

    fn write_header(&mut self, kind: FrameKind, payload_len: u32) -> Range {
        let header = Header::new(kind, None, payload_len as usize).encode();
        self.write(|arena| arena.extend_from_slice(&header))
    }

    fn write(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> Range {
        let offset = self.arena.len();
        write(&mut self.arena);
        Range {
            source: Source::Arena,
            offset: offset as u32,
            len: (self.arena.len() - offset) as u32,
        }
    }

    fn own(&mut self, bytes: Bytes) -> Range {
        let len = bytes.len() as u32;
        self.owned.push(bytes);
        Range {
            source: Source::Owned(self.owned.len() as u32 - 1),
            offset: 0,
            len,
        }
    }

    /// Refers to a payload inside of what is lent.
    fn reference(&mut self, payload: &[u8]) -> Option<Range> {
        let lent = self.lent.as_mut()?;
        let within = (payload.as_ptr() as usize).checked_sub(lent.start)?;
        if within + payload.len() > lent.len {
            return None;
        }
        let len = payload.len() as u32;
        Some(match &mut lent.source {
            LentSource::Received { buffer, offset } => Range {
                source: Source::Received(*buffer),
                offset: *offset + within as u32,
                len,
            },
            LentSource::Message { slot } => {
                let slot = *slot.get_or_insert_with(|| {
                    self.owned.push(Bytes::new());
                    self.owned.len() as u32 - 1
                });
                Range {
                    source: Source::Owned(slot),
                    offset: within as u32,
                    len,
                }
            }
        })
    }

    #[inline]
    fn append(&mut self, index: u32, pending: &mut Pending, range: Range) {
        if pending.turn == self.turn && pending.bytes > 0 {
            let next = self.pieces.len() as u32;
            let last = &mut self.pieces[pending.last as usize];
            pending.bytes += range.len;
            if last.source == range.source && last.offset + last.len == range.offset {
                last.len += range.len;
                return;
            }
            last.next = next;
            pending.last = next;
            pending.count += 1;
        } else {
            let piece = self.pieces.len() as u32;
            *pending = Pending {
                turn: self.turn,
                first: piece,
                last: piece,
                count: 1,
                bytes: range.len,
            };
            self.dirty.push(index);
        }
        self.pieces.push(Piece {
            source: range.source,
            offset: range.offset,
            len: range.len,
            next: NONE,
        });
    }

    /// A connection's pieces in order.
    pub(crate) fn pieces<'a, R: Received + ?Sized>(
        &'a self,
        pending: Pending,
        received: &'a R,
    ) -> impl Iterator<Item = &'a [u8]> + Clone {
        let mut next = if pending.bytes(self.turn) > 0 {
            pending.first
        } else {
            NONE
        };
        std::iter::from_fn(move || {
            let piece = self.pieces.get(next as usize)?;
            next = piece.next;
            let range = piece.offset as usize..(piece.offset + piece.len) as usize;
            Some(match piece.source {
                Source::Arena => &self.arena[range],
                Source::Owned(slot) => &self.owned[slot as usize][range],
                Source::Batch(slot) => &self.batches.bytes_of(slot)[range],
                Source::Received(buffer) => received.bytes(Chunk {
                    buffer,
                    offset: piece.offset,
                    len: piece.len,
                }),
            })
        })
    }

    /// A connection's output, to be kept: if it lies in one piece, and fills most of the memory that would stay with it. Limits
    /// count the piece alone.
    pub(crate) fn whole(&self, pending: Pending) -> Option<Bytes> {
        if pending.pieces(self.turn) != 1 {
            return None;
        }
        let piece = self.pieces[pending.first as usize];
        let owner = match piece.source {
            Source::Owned(slot) => &self.owned[slot as usize],
            Source::Batch(slot) => self.batches.shared(slot)?,
            Source::Arena | Source::Received(_) => return None,
        };
        let range = piece.offset as usize..(piece.offset + piece.len) as usize;
        (4 * range.len() >= 3 * owner.len()).then(|| owner.slice(range))
    }

    /// Moves a connection's output but for its first `skip` bytes into its backlog. Large pieces of what others
    /// send, too, are shared; the rest is copied, also a small part of a large message, which would keep all of it.
    pub(crate) fn keep(
        &mut self,
        pending: Pending,
        mut skip: usize,
        received: &(impl Received + ?Sized),
        backlog: &mut Backlog,
    ) {
        let mut next = if pending.bytes(self.turn) > 0 {
            pending.first
        } else {
            NONE
        };
        while let Some(&piece) = self.pieces.get(next as usize) {
            next = piece.next;
            let skipped = skip.min(piece.len as usize);
            skip -= skipped;
            let (start, end) = (
                piece.offset as usize + skipped,
                (piece.offset + piece.len) as usize,
            );
            match piece.source {
                Source::Owned(slot) => {
                    share_or_copy(&self.owned[slot as usize], start..end, backlog)
                }
                Source::Batch(slot) => share_or_copy(self.batches.share(slot), start..end, backlog),
                Source::Arena => backlog.join_copy(&self.arena[start..end]),
                Source::Received(buffer) => backlog.join_copy(received.bytes(Chunk {
                    buffer,
                    offset: start as u32,
                    len: (end - start) as u32,
                })),
            }
        }
        backlog.end_join();
    }

    /// Ends the turn: all sends are over. Hands out owned messages whose memory can be used again.
    pub(crate) fn end_turn(&mut self, mut recycle: impl FnMut(Vec<u8>)) {
        self.turn = self.turn.wrapping_add(1).max(1);
        clear(&mut self.dirty);
        clear(&mut self.pieces);
        self.batches.end_turn();
        self.arena.clear();
        if self.arena.capacity() > ARENA_KEPT {
            self.arena.shrink_to(ARENA_KEPT);
        }
        for bytes in self.owned.drain(..) {
            if let Ok(unique) = bytes.try_into_mut() {
                recycle(unique.into());
            }
        }
    }
}

fn share_or_copy(owner: &Bytes, range: std::ops::Range<usize>, backlog: &mut Backlog) {
    if range.len() >= SHARE_BYTES && range.len() * 2 >= owner.len() {
        backlog.join_shared(owner.slice(range));
    } else {
        backlog.join_copy(&owner[range]);
    }
}

/// Empties a list; memory of a rare burst does not stay.
fn clear<T>(list: &mut Vec<T>) {
    list.clear();
    list.shrink_to(LIST_KEPT);
}

/// What was lent before a message: to be given back.
#[must_use]
pub(crate) struct Interrupted(Option<Lent>);

/// A frame in the turn's memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoded {
    head: Range,
    /// When it lies apart from the header.
    payload: Option<Range>,
}

impl Encoded {
    /// Bytes on the wire.
    pub(crate) fn len(&self) -> usize {
        self.head.len as usize + self.payload.map_or(0, |payload| payload.len as usize)
    }
}

#[derive(Clone, Copy, Debug)]
struct Range {
    source: Source,
    offset: u32,
    len: u32,
}
