//! What is sent: prepared once, sent over and over.
//!
//! A real client masks every frame with a fresh random key (RFC 6455 §5.3). That protects
//! proxies, not servers, and would be the client's largest cost here. So the frames of a run are
//! masked once, with one random key, and reused; a server unmasks them like any other. A few payload variants take
//! turns, so that lost, repeated and swapped replies show.

use std::ops::Range;

use corecast_protocol::{FrameKind, Header, Opcode, encode_client, frame};

use super::deflate::Deflater;
use super::payload::{self, PayloadKind};
use crate::rng::Rng;
use crate::target::Wire;

/// Payload variants that take turns. A prime, so that a slip by a power of two shows.
const VARIANTS: usize = 7;

/// Prepared frames stay below this (one core's share of cache), with fewer variants when the
/// frames are large…
const CACHE_BUDGET: usize = 512 << 10;

/// …but at least this many: with one, a repeated reply would look right.
const MIN_VARIANTS: usize = 2;

/// What a run's messages are to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Recipe {
    /// What is spoken.
    pub(crate) wire: Wire,
    /// Text or Binary.
    pub(crate) opcode: Opcode,
    /// What they carry.
    pub(crate) kind: PayloadKind,
    /// Payload bytes of a message.
    pub(crate) payload_len: usize,
    /// They are sent compressed.
    pub(crate) deflate: bool,
    /// Most messages on the way on one connection.
    pub(crate) in_flight: usize,
}

/// The messages of a run.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// What is spoken.
    pub(crate) wire: Wire,
    /// Text or Binary.
    pub(crate) opcode: Opcode,
    /// Payload bytes of a message.
    pub(crate) payload_len: usize,
    /// Messages are sent compressed, and may come back so.
    pub(crate) deflate: bool,
    /// Different messages.
    pub(crate) variants: usize,
    /// Most messages in one send.
    pub(crate) batch: usize,
    /// The frames of all variants in a row, and again the first `batch - 1`: any `batch` of
    /// successive messages lie side by side.
    pub(crate) frames: Vec<u8>,
    /// Where each of the frames begins, and where the last one ends.
    starts: Vec<usize>,
    /// What comes back for each variant: the payload, or for `tcp://` the whole frame.
    replies: Vec<u8>,
    /// Bytes of each of these.
    reply_len: usize,
}

impl Workload {
    /// Prepares messages.
    pub(crate) fn new(recipe: &Recipe, seed: u64) -> Self {
        let Recipe {
            wire,
            opcode,
            payload_len,
            deflate,
            in_flight,
            ..
        } = *recipe;
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let header = Header::new(opcode, Some(key), payload_len);
        let frame_len = usize::from(header.header_len) + payload_len;
        let affordable = (CACHE_BUDGET / frame_len).max(MIN_VARIANTS);
        let variants = VARIANTS.min(affordable);
        let batch = in_flight.clamp(1, (CACHE_BUDGET / frame_len).max(1));
        let payloads = payloads(recipe, variants, &mut rng);
        let mut deflater = deflate.then(Deflater::new);
        let mut frames = Vec::with_capacity((variants + batch) * frame_len);
        let mut starts = Vec::with_capacity(variants + batch);
        for variant in 0..variants {
            let payload = &payloads[variant * payload_len..][..payload_len];
            starts.push(frames.len());
            match &mut deflater {
                None => encode_client(&mut frames, opcode, payload, key),
                Some(deflater) => {
                    let payload = deflater.compress(payload);
                    encode_client(&mut frames, compressed(opcode), &payload, key);
                }
            }
        }
        starts.push(frames.len());
        let replies = match wire {
            Wire::WebSocket => payloads,
            Wire::Raw => frames.clone(),
        };
        for extra in 0..batch - 1 {
            let again = starts[extra % variants]..starts[extra % variants + 1];
            frames.extend_from_within(again);
            starts.push(frames.len());
        }
        Self {
            wire,
            opcode,
            payload_len,
            deflate,
            variants,
            batch,
            frames,
            starts,
            reply_len: replies.len() / variants,
            replies,
        }
    }

    /// The frames of `count` successive messages, at most `batch`, the first of which has the number `first` on its connection.
    #[inline]
    pub(crate) fn range(&self, first: u64, count: u64) -> Range<usize> {
        let variant = (first % self.variants as u64) as usize;
        self.starts[variant]..self.starts[variant + count as usize]
    }

    /// Bytes of a message on the wire, client to server, header included: the mean over the variants.
    pub(crate) fn mean_frame_len(&self) -> usize {
        self.starts[self.variants] / self.variants
    }

    /// Bytes of a reply that are compared: the payload, or for `tcp://` the whole frame.
    #[inline]
    pub(crate) fn reply_len(&self) -> usize {
        self.reply_len
    }

    /// What must come back for a variant.
    #[inline]
    pub(crate) fn reply(&self, variant: usize) -> &[u8] {
        let len = self.reply_len;
        &self.replies[variant * len..][..len]
    }
}

/// The first byte of a whole compressed message (RFC 7692 §6).
pub(super) fn compressed(opcode: Opcode) -> FrameKind {
    FrameKind {
        fin: true,
        rsv: frame::RSV1,
        opcode,
    }
}

/// The payloads of all variants in a row.
fn payloads(recipe: &Recipe, variants: usize, rng: &mut Rng) -> Vec<u8> {
    if recipe.kind == PayloadKind::Json {
        let document = |_| payload::json(rng, "{", recipe.payload_len);
        return (0..variants).flat_map(document).collect();
    }
    let mut payloads = vec![0; variants * recipe.payload_len];
    rng.fill(&mut payloads);
    if recipe.opcode == Opcode::Text {
        payloads
            .iter_mut()
            .for_each(|byte| *byte = b' ' + *byte % 95);
    }
    payloads
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::deflate::Inflater;

    fn recipe(opcode: Opcode, payload_len: usize, in_flight: usize) -> Recipe {
        Recipe {
            wire: Wire::WebSocket,
            opcode,
            kind: PayloadKind::Random,
            payload_len,
            deflate: false,
            in_flight,
        }
    }

    fn unmasked(frame: &[u8]) -> (Header, Vec<u8>) {
        let header = Header::decode(frame).unwrap().unwrap();
        let key = header.mask.unwrap().into_iter().cycle();
        let masked = &frame[usize::from(header.header_len)..];
        let payload = masked.iter().zip(key).map(|(byte, key)| byte ^ key);
        (header, payload.collect())
    }

    #[test]
    fn successive_messages_lie_side_by_side() {
        let load = Workload::new(&recipe(Opcode::Binary, 100, 16), 1);
        assert_eq!(
            (load.mean_frame_len(), load.variants, load.batch),
            (106, 7, 16)
        );
        assert_eq!(load.frames.len(), (7 + 15) * 106);
        for n in 0..22 {
            let (_, payload) = unmasked(&load.frames[n * 106..][..106]);
            assert_eq!(payload, load.reply(n % 7));
        }
        assert_eq!(load.range(8, 16), 106..17 * 106);
    }

    #[test]
    fn compressed_messages_lie_side_by_side_too() {
        let load = Workload::new(
            &Recipe {
                kind: PayloadKind::Json,
                deflate: true,
                ..recipe(Opcode::Text, 1000, 16)
            },
            1,
        );
        let mut inflater = Inflater::new();
        for n in 0..40 {
            let (header, payload) = unmasked(&load.frames[load.range(n, 1)]);
            assert_eq!((header.rsv, header.fin), (frame::RSV1, true));
            assert_eq!(header.payload_len, payload.len() as u64);
            let reply = load.reply((n % 7) as usize);
            assert_eq!(inflater.inflate(&payload, 1000), Ok(reply));
            assert!(load.range(n, 16).len() > 15 * 300);
        }
        assert!((300..700).contains(&load.mean_frame_len()));
    }

    #[test]
    fn large_messages_stay_few() {
        let load = Workload::new(&recipe(Opcode::Binary, 1 << 20, 16), 1);
        assert_eq!((load.variants, load.batch), (2, 1));
        assert_ne!(load.reply(0), load.reply(1));
    }

    #[test]
    fn text_is_printable() {
        let load = Workload::new(&recipe(Opcode::Text, 500, 1), 1);
        assert!(
            load.reply(3)
                .iter()
                .all(|byte| (b' '..=b'~').contains(byte))
        );
    }

    #[test]
    fn raw_replies_are_the_frames() {
        let recipe = recipe(Opcode::Binary, 512, 1);
        let load = Workload::new(
            &Recipe {
                wire: Wire::Raw,
                ..recipe
            },
            1,
        );
        assert_eq!(load.reply_len(), 512 + 8);
        assert_eq!(load.reply(2), &load.frames[2 * 520..3 * 520]);
    }
}
