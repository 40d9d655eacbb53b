//! What is sent: prepared once, sent over and over.
//!
//! A real client masks every frame with a fresh random key (RFC 6455 §5.3). That protects
//! proxies, not servers, and would be the client's largest cost here. So the frames of a run are
//! masked once, with one random key, and reused; a server unmasks them like any other. A few payload variants take
//! turns, so that lost, repeated and swapped replies show.

use std::ops::Range;

use corecast_protocol::{FrameKind, Opcode, encode_client, frame};

use super::contents::Contents;
use super::deflate::Deflater;
use crate::rng::Rng;
use crate::target::Wire;

/// One send has at most this many bytes, or one message: one core's share of cache.
const MAX_SEND: usize = 512 << 10;

/// What a run's messages are to be.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    /// What is spoken.
    pub(crate) wire: Wire,
    /// What they contain.
    pub(crate) contents: Contents,
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
    /// Payload bytes of all variants.
    payload_bytes: usize,
    /// Those of the shortest, and of the longest.
    payload_range: [usize; 2],
    /// What comes back for each variant: the payload, or for `tcp://` the whole frame.
    replies: Vec<u8>,
    /// Where each of these begins, and where the last one ends.
    reply_starts: Vec<usize>,
    longest_reply: usize,
}

impl Workload {
    /// Prepares messages.
    pub(crate) fn new(recipe: &Recipe, seed: u64) -> Self {
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let opcode = recipe.contents.opcode;
        let payloads = recipe.contents.messages(&mut rng);
        let variants = payloads.len();
        let mut deflater = recipe.deflate.then(Deflater::new);
        let (mut frames, mut starts) = (Vec::new(), vec![0]);
        for payload in &payloads {
            match &mut deflater {
                None => encode_client(&mut frames, opcode, payload, key),
                Some(deflater) => {
                    let payload = deflater.compress(payload);
                    encode_client(&mut frames, compressed(opcode), &payload, key);
                }
            }
            starts.push(frames.len());
        }
        let (replies, reply_starts) = match recipe.wire {
            Wire::WebSocket => (payloads.concat(), ends(&payloads)),
            Wire::Raw => (frames.clone(), starts.clone()),
        };
        let affordable = MAX_SEND / longest(&starts);
        let batch = recipe.in_flight.clamp(1, affordable.max(1));
        for extra in 0..batch - 1 {
            let again = starts[extra % variants]..starts[extra % variants + 1];
            frames.extend_from_within(again);
            starts.push(frames.len());
        }
        Self {
            wire: recipe.wire,
            opcode,
            deflate: recipe.deflate,
            variants,
            batch,
            frames,
            starts,
            payload_range: recipe.contents.range().into(),
            payload_bytes: payloads.iter().map(Vec::len).sum(),
            replies,
            longest_reply: longest(&reply_starts),
            reply_starts,
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

    /// Payload bytes of a message: the mean over the variants.
    pub(crate) fn mean_payload_len(&self) -> f64 {
        self.payload_bytes as f64 / self.variants as f64
    }

    /// Payload bytes of the shortest and of the longest message, when not all have the same.
    pub(crate) fn payload_range(&self) -> Option<[u64; 2]> {
        let [least, most] = self.payload_range.map(|len| len as u64);
        (least < most).then_some([least, most])
    }

    /// Bytes of a variant's reply that are compared: the payload, or for `tcp://` the whole frame.
    #[inline]
    pub(crate) fn reply_len(&self, variant: usize) -> usize {
        self.reply_starts[variant + 1] - self.reply_starts[variant]
    }

    /// Bytes of the longest reply.
    pub(crate) fn longest_reply(&self) -> usize {
        self.longest_reply
    }

    /// What must come back for a variant.
    #[inline]
    pub(crate) fn reply(&self, variant: usize) -> &[u8] {
        &self.replies[self.reply_starts[variant]..self.reply_starts[variant + 1]]
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

/// The longest of the pieces that begin and end there.
fn longest(starts: &[usize]) -> usize {
    let lengths = starts.windows(2).map(|pair| pair[1] - pair[0]);
    lengths.max().expect("there is a message")
}

/// 0, and where each of the payloads ends when they are in a row.
fn ends(payloads: &[Vec<u8>]) -> Vec<usize> {
    let mut end = 0;
    let mut ends = vec![end];
    for payload in payloads {
        end += payload.len();
        ends.push(end);
    }
    ends
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::contents::PayloadKind;
    use crate::client::deflate::Inflater;
    use corecast_protocol::Header;

    fn recipe(opcode: Opcode, payload_len: usize, in_flight: usize) -> Recipe {
        Recipe {
            wire: Wire::WebSocket,
            contents: Contents::generated(PayloadKind::Random, opcode, &[payload_len]),
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
                contents: Contents::generated(PayloadKind::Json, Opcode::Text, &[1000]),
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
    fn messages_of_several_lengths_lie_side_by_side() {
        let sizes = [0, 200, 70_000];
        let load = Workload::new(
            &Recipe {
                contents: Contents::generated(PayloadKind::Random, Opcode::Binary, &sizes),
                ..recipe(Opcode::Binary, 0, 4)
            },
            1,
        );
        assert_eq!((load.variants, load.batch), (21, 4));
        assert_eq!(load.mean_payload_len(), 23_400.0);
        for first in 0..2 * 21 {
            let mut frames = &load.frames[load.range(first, 4)];
            for number in first..first + 4 {
                let variant = (number % 21) as usize;
                let len = usize::from(Header::decode(frames).unwrap().unwrap().header_len);
                let (frame, rest) = frames.split_at(len + sizes[variant % 3]);
                assert_eq!(unmasked(frame).1, load.reply(variant));
                assert_eq!(load.reply_len(variant), sizes[variant % 3]);
                frames = rest;
            }
            assert!(frames.is_empty());
        }
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
        assert_eq!(load.reply_len(2), 512 + 8);
        assert_eq!(load.reply(2), &load.frames[2 * 520..3 * 520]);
    }
}
