//! What publishers send: a stamp that says whose message it is and when it was due, and filler, of which there is one for
//! each of the sizes or lines that take turns.

use std::fmt::{self, Display, Formatter};

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
    /// Messages are sent compressed, and may come so.
    pub(crate) deflate: bool,
    /// Bytes of a message on the wire, publisher to server: of the longest, when they differ; where messages are compressed,
    /// of one of them.
    pub(crate) frame_len: usize,
    /// Payload bytes before the filler.
    pub(crate) head_len: usize,
    style: Style,
    /// Drawn for the run: messages of somebody else on the same topic do not carry it.
    tag: u32,
    key: [u8; 4],
    /// What takes turns. Every publisher begins with another one, so that those that publish at once do not all have the same.
    bodies: Vec<Body>,
    lengths: Lengths,
}

/// All of a payload behind the head.
#[derive(Clone, Debug)]
struct Body {
    filler: Vec<u8>,
    /// The same, masked, for messages that are not compressed.
    masked: Vec<u8>,
    /// Bytes of a message on the wire, publisher to server; where messages are compressed, of one of them.
    frame_len: usize,
}

/// Payload bytes of the shortest and of the longest message that may come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lengths {
    /// Of the shortest.
    pub(crate) least: usize,
    /// Of the longest.
    pub(crate) most: usize,
}

impl Lengths {
    /// All messages are so long.
    pub(crate) fn exactly(len: usize) -> Self {
        Self {
            least: len,
            most: len,
        }
    }

    /// Whether a message of which so many bytes are announced, which is all of them or not, can be one.
    #[inline]
    pub(crate) fn fit(self, announced: u64, whole: bool) -> bool {
        announced <= self.most as u64 && (!whole || announced >= self.least as u64)
    }
}

impl Display for Lengths {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match *self {
            Self { least, most } if least == most => write!(f, "{least}"),
            Self { least, most } => write!(f, "{least} to {most}"),
        }
    }
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

    /// Messages of the sizes of `contents`, at least [`Publication::smallest`]; or with what a file holds behind the
    /// stamp. They are of the run of this number: two runs at one server must not take each other's messages for their own.
    pub(crate) fn new(contents: &Contents, deflate: bool, seed: u64, run: u32) -> Self {
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let style = Style::of(contents);
        let head_len = style.head_len();
        let body = |filler: Vec<u8>| Body {
            masked: masked(&filler, key, head_len),
            filler,
            frame_len: 0,
        };
        let rests = contents.rests(&mut rng, JSON_REST, head_len);
        let lengths = || rests.iter().map(|filler| head_len + filler.len());
        let lengths = Lengths {
            least: lengths().min().expect("there is a message"),
            most: lengths().max().expect("there is a message"),
        };
        let mut publication = Self {
            opcode: contents.opcode,
            deflate,
            frame_len: 0,
            head_len,
            style,
            tag: rng.next_u64() as u32 ^ run,
            key,
            bodies: rests.into_iter().map(body).collect(),
            lengths,
        };
        publication.weigh();
        publication
    }

    /// Finds out how long frames are.
    fn weigh(&mut self) {
        let mut deflater = self.deflater();
        for number in 0..self.bodies.len() {
            let stamp = Stamp {
                number: number as u32,
                ..Stamp::default()
            };
            let mut sample = Vec::new();
            self.encode(&mut sample, &stamp, &mut deflater);
            let body = self.body(&stamp);
            self.bodies[body].frame_len = sample.len();
            self.frame_len = self.frame_len.max(sample.len());
        }
    }

    /// Which of those that take turns a message has.
    #[inline]
    pub(crate) fn body(&self, stamp: &Stamp) -> usize {
        if self.bodies.len() == 1 {
            return 0;
        }
        stamp.publisher.wrapping_add(stamp.number) as usize % self.bodies.len()
    }

    /// Payload bytes of a message with this body.
    #[inline]
    pub(crate) fn payload_len(&self, body: usize) -> usize {
        self.head_len + self.bodies[body].filler.len()
    }

    /// Payload bytes of the shortest and of the longest message.
    #[inline]
    pub(crate) fn lengths(&self) -> Lengths {
        self.lengths
    }

    /// Payload bytes of a message: the mean over those that take turns.
    pub(crate) fn mean_payload_len(&self) -> f64 {
        self.mean(|body| self.head_len + body.filler.len())
    }

    /// Bytes of a message on the wire, publisher to server, header included: the mean over those that take turns.
    pub(crate) fn mean_frame_len(&self) -> f64 {
        self.mean(|body| body.frame_len)
    }

    /// Bytes of a message on the wire, publisher to server; where messages are compressed, of one with the same body.
    #[inline]
    pub(crate) fn frame_len_of(&self, stamp: &Stamp) -> usize {
        self.bodies[self.body(stamp)].frame_len
    }

    fn mean(&self, bytes: impl Fn(&Body) -> usize) -> f64 {
        self.bodies.iter().map(bytes).sum::<usize>() as f64 / self.bodies.len() as f64
    }

    /// What a publisher needs for [`Publication::encode`].
    pub(crate) fn deflater(&self) -> Option<Deflater> {
        self.deflate.then(Deflater::new)
    }

    /// Appends the frame that carries `stamp`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>, stamp: &Stamp, deflater: &mut Option<Deflater>) {
        let head = self.head(stamp);
        let body = &self.bodies[self.body(stamp)];
        let Some(deflater) = deflater else {
            let len = head.len() + body.filler.len();
            let header = Header::new(self.opcode, Some(self.key), len);
            out.extend_from_slice(&header.encode());
            out.extend_from_slice(&masked(&head, self.key, 0));
            out.extend_from_slice(&body.masked);
            return;
        };
        let payload = deflater.compress(&[&head, &*body.filler].concat());
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

    /// What follows the head in a message with this body, from payload byte `at` on.
    #[inline]
    pub(crate) fn filler(&self, body: usize, at: usize, len: usize) -> &[u8] {
        &self.bodies[body].filler[at - self.head_len..][..len]
    }

    /// Whether this follows the head in some message.
    pub(crate) fn has(&self, filler: &[u8]) -> bool {
        self.bodies.iter().any(|body| body.filler == filler)
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

#[cfg(test)]
mod tests {
    use super::*;

    fn stamp(publisher: u32, number: u32) -> Stamp {
        Stamp {
            publisher,
            number,
            ..Stamp::default()
        }
    }

    fn frame(publication: &Publication, stamp: &Stamp) -> Vec<u8> {
        let mut frame = Vec::new();
        publication.encode(&mut frame, stamp, &mut publication.deflater());
        frame
    }

    #[test]
    fn sizes_take_turns_and_publishers_begin_with_different_ones() {
        let sizes = [64, 300, 70_000];
        let contents = Contents::generated(PayloadKind::Random, Opcode::Binary, &sizes);
        let publication = Publication::new(&contents, false, 1, 1);
        let lens = [64 + 6, 300 + 8, 70_000 + 14];
        for (publisher, number) in [(0, 0), (0, 1), (0, 5), (1, 0), (1, 2), (7, u32::MAX - 1)] {
            let stamp = stamp(publisher, number);
            let turn = publication.body(&stamp);
            let frame = frame(&publication, &stamp);
            assert_eq!(
                frame.len(),
                lens[turn],
                "message {number} of publisher {publisher}"
            );
            assert_eq!(publication.frame_len_of(&stamp), lens[turn]);
            assert_eq!(publication.payload_len(turn), sizes[turn]);
        }
        let turns = |publisher: u32| [0, 1, 2, 3].map(|n| publication.body(&stamp(publisher, n)));
        assert_eq!((turns(0), turns(1)), ([0, 1, 2, 0], [1, 2, 0, 1]));
        assert_eq!(publication.lengths().to_string(), "64 to 70000");
        assert_eq!(publication.mean_payload_len(), 70_364.0 / 3.0);
        assert_eq!(publication.mean_frame_len(), 70_392.0 / 3.0);
        assert_eq!(publication.frame_len, lens[2]);
    }

    #[test]
    fn with_one_size_all_messages_are_alike() {
        let contents = Contents::generated(PayloadKind::Json, Opcode::Text, &[400]);
        let publication = Publication::new(&contents, false, 1, 1);
        assert_eq!(publication.body(&stamp(3, 8)), 0);
        assert_eq!(publication.lengths(), Lengths::exactly(400));
        assert_eq!(publication.lengths().to_string(), "400");
        assert_eq!(publication.mean_payload_len(), 400.0);
        assert_eq!(frame(&publication, &stamp(3, 8)).len(), 408);
    }

    #[test]
    fn what_is_announced_is_held_against_what_can_come() {
        let lengths = Lengths {
            least: 10,
            most: 20,
        };
        assert!(lengths.fit(10, true) && lengths.fit(20, true) && lengths.fit(3, false));
        assert!(!lengths.fit(9, true) && !lengths.fit(21, true) && !lengths.fit(21, false));
    }
}
