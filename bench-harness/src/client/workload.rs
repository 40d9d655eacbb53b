//! What is sent: prepared once, sent over and over.
//!
//! A real client masks every frame with a fresh random key (RFC 6455 §5.3). That protects
//! proxies, not servers, and would be the client's largest cost here. So the frames of a run are
//! masked once, with one random key, and reused; a server unmasks them like any other. A few payload variants take
//! turns, so that lost, repeated and swapped replies show.

use corecast_protocol::{Header, Opcode, encode_client};

use crate::rng::Rng;
use crate::target::Wire;

/// Payload variants that take turns. A prime, so that a slip by a power of two shows.
const VARIANTS: usize = 7;

/// Prepared frames stay below this (one core's share of cache), with fewer variants when the
/// frames are large…
const CACHE_BUDGET: usize = 512 << 10;

/// …but at least this many: with one, a repeated reply would look right.
const MIN_VARIANTS: usize = 2;

/// The messages of a run.
#[derive(Clone, Debug)]
pub(crate) struct Workload {
    /// What is spoken.
    pub(crate) wire: Wire,
    /// Text or Binary.
    pub(crate) opcode: Opcode,
    /// Payload bytes of a message.
    pub(crate) payload_len: usize,
    /// Bytes of a message on the wire, client to server.
    pub(crate) frame_len: usize,
    /// Different messages.
    pub(crate) variants: usize,
    /// Most messages in one send.
    pub(crate) batch: usize,
    /// The frames of all variants in a row, and again the first `batch - 1`: any `batch` of
    /// successive messages lie side by side.
    pub(crate) frames: Vec<u8>,
    /// What comes back for each variant: the payload, or for `tcp://` the whole frame.
    replies: Vec<u8>,
}

impl Workload {
    /// Prepares messages of `payload_len` bytes, to be sent up to `in_flight` at once.
    pub(crate) fn new(
        wire: Wire,
        opcode: Opcode,
        payload_len: usize,
        in_flight: usize,
        seed: u64,
    ) -> Self {
        let mut rng = Rng::new(seed, 0);
        let key = rng.bytes();
        let header = Header::new(opcode, Some(key), payload_len);
        let frame_len = usize::from(header.header_len) + payload_len;
        let affordable = (CACHE_BUDGET / frame_len).max(MIN_VARIANTS);
        let variants = VARIANTS.min(affordable);
        let batch = in_flight.clamp(1, (CACHE_BUDGET / frame_len).max(1));
        let mut frames = Vec::with_capacity((variants + batch) * frame_len);
        let mut payloads = vec![0; variants * payload_len];
        rng.fill(&mut payloads);
        if opcode == Opcode::Text {
            payloads
                .iter_mut()
                .for_each(|byte| *byte = b' ' + *byte % 95);
        }
        for variant in 0..variants {
            let payload = &payloads[variant * payload_len..][..payload_len];
            encode_client(&mut frames, opcode, payload, key);
        }
        let replies = match wire {
            Wire::WebSocket => payloads,
            Wire::Raw => frames.clone(),
        };
        for extra in 0..batch - 1 {
            let start = (extra % variants) * frame_len;
            frames.extend_from_within(start..start + frame_len);
        }
        Self {
            wire,
            opcode,
            payload_len,
            frame_len,
            variants,
            batch,
            frames,
            replies,
        }
    }

    /// Bytes of a reply that are compared: the payload, or for `tcp://` the whole frame.
    #[inline]
    pub(crate) fn reply_len(&self) -> usize {
        match self.wire {
            Wire::WebSocket => self.payload_len,
            Wire::Raw => self.frame_len,
        }
    }

    /// What must come back for a variant.
    #[inline]
    pub(crate) fn reply(&self, variant: usize) -> &[u8] {
        let len = self.reply_len();
        &self.replies[variant * len..][..len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successive_messages_lie_side_by_side() {
        let load = Workload::new(Wire::WebSocket, Opcode::Binary, 100, 16, 1);
        assert_eq!((load.frame_len, load.variants, load.batch), (106, 7, 16));
        assert_eq!(load.frames.len(), (7 + 15) * 106);
        for n in 0..22 {
            let frame = &load.frames[n * 106..][..106];
            let header = Header::decode(frame).unwrap().unwrap();
            let key = header.mask.unwrap();
            let payload: Vec<u8> = frame[6..]
                .iter()
                .zip(key.iter().cycle())
                .map(|(byte, key)| byte ^ key)
                .collect();
            assert_eq!(payload, load.reply(n % 7));
        }
    }

    #[test]
    fn large_messages_stay_few() {
        let load = Workload::new(Wire::WebSocket, Opcode::Binary, 1 << 20, 16, 1);
        assert_eq!((load.variants, load.batch), (2, 1));
        assert_ne!(load.reply(0), load.reply(1));
    }

    #[test]
    fn text_is_printable() {
        let load = Workload::new(Wire::WebSocket, Opcode::Text, 500, 1, 1);
        assert!(
            load.reply(3)
                .iter()
                .all(|byte| (b' '..=b'~').contains(byte))
        );
    }

    #[test]
    fn raw_replies_are_the_frames() {
        let load = Workload::new(Wire::Raw, Opcode::Binary, 512, 1, 1);
        assert_eq!(load.reply_len(), 512 + 8);
        assert_eq!(load.reply(2), &load.frames[2 * 520..3 * 520]);
    }
}
