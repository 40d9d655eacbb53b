//! Every SIMD version of the masking loop, beside a loop over bytes (RFC 6455 §5.3).
//!
//! Input: piece sizes, masking key, phase, alignment, repetitions, payload.
//!
//! Buffers end where the payload ends, so that AddressSanitizer sees a load or store behind it.

use corecast_simd::{Version, unmask, unmask_append, unmask_is_ascii};

use crate::input::{Reader, cut};

/// Stands before the payload and must stay.
const GUARD: u8 = 0xA5;

/// The payload is repeated up to this many times: the widest loop starts at 512 bytes.
const MAX_REPEAT: u8 = 16;

/// Bytes of the payload before repetition at most.
const MAX_UNIT: usize = 1024;

/// Unmasks by every version that this CPU has, and by the free functions.
///
/// # Panics
/// When one of them differs from the loop over bytes.
pub fn check(data: &[u8]) {
    let case = Case::read(data);
    for version in Version::all() {
        case.in_place(|data, key, phase| version.unmask(data, key, phase));
        case.is_ascii(|data, key, phase| version.unmask_is_ascii(data, key, phase));
        case.append(|buffer, piece, key, phase| version.unmask_append(buffer, piece, key, phase));
    }
    case.in_place(unmask);
    case.is_ascii(unmask_is_ascii);
    case.append(unmask_append);
}

struct Case {
    sizes: Vec<usize>,
    key: [u8; 4],
    phase: usize,
    /// Bytes between the start of an allocation and the payload.
    before: usize,
    payload: Vec<u8>,
    expected: Vec<u8>,
}

impl Case {
    fn read(data: &[u8]) -> Self {
        let mut reader = Reader::new(data);
        let sizes = reader.sizes();
        let key = reader.array();
        let phase = usize::from(reader.byte());
        let before = usize::from(reader.byte() % 64);
        let repeat = reader.byte() % MAX_REPEAT + 1;
        let payload = reader.take(MAX_UNIT).repeat(repeat.into());
        let expected = payload
            .iter()
            .enumerate()
            .map(|(at, byte)| byte ^ key[(phase + at) % 4])
            .collect();
        Self {
            sizes,
            key,
            phase,
            before,
            payload,
            expected,
        }
    }

    /// Whole, then in pieces from phase to phase.
    fn in_place(&self, unmask: impl Fn(&mut [u8], [u8; 4], usize) -> usize) {
        let after = (self.phase + self.payload.len()) % 4;
        let mut whole = self.buffer();
        let phase = unmask(&mut whole[self.before..], self.key, self.phase);
        self.assert_unmasked(&whole);
        assert_eq!(phase, after, "phase after {} bytes", self.payload.len());

        let mut pieces = self.buffer();
        let (mut at, mut phase) = (self.before, self.phase);
        for piece in cut(&self.payload, &self.sizes) {
            phase = unmask(&mut pieces[at..at + piece.len()], self.key, phase);
            at += piece.len();
        }
        self.assert_unmasked(&pieces);
        assert_eq!(phase % 4, after, "phase after pieces");
    }

    fn is_ascii(&self, unmask_is_ascii: impl Fn(&mut [u8], [u8; 4], usize) -> bool) {
        let mut buffer = self.buffer();
        let ascii = unmask_is_ascii(&mut buffer[self.before..], self.key, self.phase);
        self.assert_unmasked(&buffer);
        assert_eq!(ascii, self.expected.is_ascii());
    }

    fn append(&self, append: impl Fn(&mut Vec<u8>, &[u8], [u8; 4], usize) -> bool) {
        let mut buffer = Vec::with_capacity(self.before + self.payload.len());
        buffer.resize(self.before, GUARD);
        let ascii = append(&mut buffer, &self.payload, self.key, self.phase);
        self.assert_unmasked(&buffer);
        assert_eq!(ascii, self.expected.is_ascii());

        let mut buffer = vec![GUARD; self.before];
        let mut phase = self.phase;
        for piece in cut(&self.payload, &self.sizes) {
            append(&mut buffer, piece, self.key, phase);
            phase += piece.len();
        }
        self.assert_unmasked(&buffer);
    }

    /// Guard bytes, then the payload up to the end of the allocation.
    fn buffer(&self) -> Vec<u8> {
        let mut buffer = vec![GUARD; self.before + self.payload.len()];
        buffer[self.before..].copy_from_slice(&self.payload);
        buffer
    }

    fn assert_unmasked(&self, buffer: &[u8]) {
        let (before, unmasked) = buffer.split_at(self.before);
        assert!(
            before.iter().all(|&byte| byte == GUARD),
            "bytes before the payload"
        );
        assert_eq!(unmasked, self.expected);
    }
}
