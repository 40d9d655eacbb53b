//! What publishers send: a stamp that says whose message it is and when it was due, and filler
//! that is the same in every message of a run.

use corecast_protocol::{Header, Opcode, encode_client};

use super::contents::{Contents, PayloadKind};
use super::deflate::Deflater;
use super::payload::JSON_OVERHEAD;
use super::workload::compressed;
use crate::clock::Nanos;
use crate::rng::Rng;

/// The first bytes of every payload.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stamp {
    /// Number of the publisher within the run.
    pub(crate) publisher: u32,
    /// The publisher's messages are numbered from 0.
    pub(crate) number: u32,
    /// When the message was due; in a closed loop, when it was sent.
    pub(crate) due: Nanos,
    /// When it was really sent.
    pub(crate) sent: Nanos,
}

/// Bytes of a stamp: the run's tag, publisher, number, due and sent times.
const STAMP_LEN: usize = 28;

/// In JSON a stamp is the document's first member, in hexadecimal digits.
const JSON_OPENING: &str = "{\"stamp\":\"";

/// Between the stamp and the rest of a document.
const JSON_REST: &str = "\",";

/// Bytes before the filler at most: those of a stamp in JSON.
pub(crate) const MAX_HEAD_LEN: usize = JSON_OPENING.len() + 2 * STAMP_LEN;

/// How a stamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// As bytes.
    Binary,
    /// In hexadecimal digits, and a space.
    Text,
    /// As the first member of a document.
    Json,
}

impl Style {
    fn of(contents: &Contents) -> Self {
        match (contents.kind, contents.opcode) {
            (PayloadKind::Json, _) => Self::Json,
            (_, Opcode::Text) => Self::Text,
            _ => Self::Binary,
        }
    }

    /// Bytes before the filler.
    fn head_len(self) -> usize {
        match self {
            Self::Binary => STAMP_LEN,
            Self::Text => 2 * STAMP_LEN + 1,
            Self::Json => MAX_HEAD_LEN,
        }
    }
}

/// The messages of a run, but for their stamps. A payload is a *head*, which holds the stamp, and *filler*.
#[derive(Clone, Debug)]
pub(crate) struct Publication {
    /// Text or Binary.
    pub(crate) opcode: Opcode,
    /// Payload bytes of a message.
    pub(crate) payload_len: usize,
    /// Messages are sent compressed, and may come so.
    pub(crate) deflate: bool,
    /// Bytes of a message on the wire, publisher to server; where messages are compressed, of one of them.
    pub(crate) frame_len: usize,
    /// Payload bytes before the filler.
    pub(crate) head_len: usize,
    style: Style,
    /// Drawn for the run: messages of somebody else on the same topic do not carry it.
    tag: u32,
    key: [u8; 4],
    /// All of a payload behind the head.
    filler: Vec<u8>,
    /// The same, masked, for messages that are not compressed.
    masked: Vec<u8>,
}

impl Publication {
    /// Payload bytes of a generated message at least.
    pub(crate) fn smallest(contents: &Contents) -> usize {
        let head_len = Style::of(contents).head_len();
        match contents.kind {
            PayloadKind::Json => head_len + JSON_REST.len() + JSON_OVERHEAD,
            _ => head_len,
        }
    }

    /// Messages of the first size of `contents`, at least [`Publication::smallest`]; or with a file's contents behind the
    /// stamp. They are of the run of this number: two runs at one server must not take each other's messages for their own.
    pub(crate) fn new(contents: &Contents, deflate: bool, seed: u64, run: u32) -> Self {
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let style = Style::of(contents);
        let head_len = style.head_len();
        let filler = contents.rest(&mut rng, JSON_REST, head_len);
        let mut publication = Self {
            opcode: contents.opcode,
            payload_len: head_len + filler.len(),
            deflate,
            frame_len: 0,
            head_len,
            style,
            tag: rng.next_u64() as u32 ^ run,
            key,
            masked: masked(&filler, key, head_len),
            filler,
        };
        let mut sample = Vec::new();
        publication.encode(&mut sample, &Stamp::default(), &mut publication.deflater());
        publication.frame_len = sample.len();
        publication
    }

    /// What a publisher needs for [`Publication::encode`].
    pub(crate) fn deflater(&self) -> Option<Deflater> {
        self.deflate.then(Deflater::new)
    }

    /// Appends the frame that carries `stamp`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, stamp: &Stamp, deflater: &mut Option<Deflater>) {
        let head = self.head(stamp);
        let Some(deflater) = deflater else {
            let header = Header::new(self.opcode, Some(self.key), self.payload_len);
            out.extend_from_slice(&header.encode());
            out.extend_from_slice(&masked(&head, self.key, 0));
            out.extend_from_slice(&self.masked);
            return;
        };
        let payload = deflater.compress(&[&head, &*self.filler].concat());
        encode_client(out, compressed(self.opcode), &payload, self.key);
    }

    /// The stamp in the head of a payload, of `head_len` bytes; `None` for a message of another run.
    #[inline]
    pub(crate) fn stamp(&self, head: &[u8]) -> Option<Stamp> {
        let digits = match self.style {
            Style::Binary => return self.stamp_in(head.try_into().ok()?),
            Style::Text => head.strip_suffix(b" ")?,
            Style::Json => head.strip_prefix(JSON_OPENING.as_bytes())?,
        };
        let mut bytes = [0; STAMP_LEN];
        for (byte, digits) in bytes.iter_mut().zip(digits.as_chunks().0) {
            *byte = from_hex(digits)?;
        }
        self.stamp_in(&bytes)
    }

    #[inline]
    fn stamp_in(&self, bytes: &[u8; STAMP_LEN]) -> Option<Stamp> {
        let short = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let long = |at| u64::from(short(at)) | u64::from(short(at + 4)) << 32;
        // The last number is none: whoever counts messages counts one further.
        let ours = short(0) == self.tag && short(8) < u32::MAX;
        ours.then(|| Stamp {
            publisher: short(4),
            number: short(8),
            due: long(12),
            sent: long(20),
        })
    }

    /// What follows the head, from payload byte `at` on.
    #[inline]
    pub(crate) fn filler(&self, at: usize, len: usize) -> &[u8] {
        &self.filler[at - self.head_len..][..len]
    }

    /// All of a payload before the filler.
    fn head(&self, stamp: &Stamp) -> Vec<u8> {
        let bytes = self.stamp_bytes(stamp);
        let digits = || -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
        match self.style {
            Style::Binary => bytes.to_vec(),
            Style::Text => (digits() + " ").into_bytes(),
            Style::Json => (JSON_OPENING.to_owned() + &digits()).into_bytes(),
        }
    }

    fn stamp_bytes(&self, stamp: &Stamp) -> [u8; STAMP_LEN] {
        let mut bytes = [0; STAMP_LEN];
        bytes[..4].copy_from_slice(&self.tag.to_le_bytes());
        bytes[4..8].copy_from_slice(&stamp.publisher.to_le_bytes());
        bytes[8..12].copy_from_slice(&stamp.number.to_le_bytes());
        bytes[12..20].copy_from_slice(&stamp.due.to_le_bytes());
        bytes[20..].copy_from_slice(&stamp.sent.to_le_bytes());
        bytes
    }
}

/// The byte that two digits stand for.
#[inline]
fn from_hex(digits: &[u8; 2]) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(digits[0])? << 4 | digit(digits[1])?) as u8)
}

/// Payload bytes from offset `at` on, masked (RFC 6455 §5.3).
fn masked(bytes: &[u8], key: [u8; 4], at: usize) -> Vec<u8> {
    let keyed = |(n, &byte): (usize, &u8)| byte ^ key[(at + n) % 4];
    bytes.iter().enumerate().map(keyed).collect()
}
