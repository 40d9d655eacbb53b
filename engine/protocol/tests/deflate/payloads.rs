//! What is compressed.

use std::ops::RangeInclusive;

pub(crate) const LEVELS: RangeInclusive<u8> = 1..=9;
pub(crate) const WINDOWS: RangeInclusive<u8> = 9..=15;

/// Around the lengths at which something else is done.
pub(crate) const LENGTHS: [usize; 11] =
    [1, 2, 40, 320, 321, 511, 513, 4_097, 9_999, 10_000, 16_385];
pub(crate) const LONG: [usize; 3] = [65_535, 65_536, 65_537];

#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Random,
    Repetitive,
    /// Text, then noise, and so on: of several blocks.
    Mixed,
}

pub(crate) const KINDS: [Kind; 4] = [Kind::Text, Kind::Random, Kind::Repetitive, Kind::Mixed];

pub(crate) fn payload(kind: Kind, length: usize, seed: u64) -> Vec<u8> {
    let mut state = seed | 1;
    let mut random = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state
    };
    let mut bytes = Vec::with_capacity(length + 128);
    while bytes.len() < length {
        let is_text = match kind {
            Kind::Text => true,
            Kind::Random => false,
            Kind::Repetitive => {
                bytes.extend_from_slice(&b"abcabcabd"[..3 + seed as usize % 7]);
                continue;
            }
            Kind::Mixed => bytes.len() / 6_000 % 2 == 0,
        };
        if is_text {
            let (id, amount) = (random() >> 40, random() >> 50);
            bytes.extend(format!(r#"{{"id":{id},"side":"sell","amount":{amount}}},"#).bytes());
        } else {
            bytes.extend(random().to_le_bytes());
        }
    }
    bytes.truncate(length);
    bytes
}
