//! Every version that this CPU has, and the free functions, against a naive twin.

use corecast_simd::{Version, unmask, unmask_append, unmask_is_ascii, unmask_text};

/// Where a payload may start relative to the widest register.
const ALIGNMENTS: usize = 64;
/// Bytes on either side of the payload that must stay as they are.
const GUARD: u8 = 0xA5;
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// RFC 6455 §5.3, read aloud.
fn naive(data: &[u8], key: [u8; 4], phase: usize) -> Vec<u8> {
    data.iter()
        .enumerate()
        .map(|(i, byte)| byte ^ key[(phase + i) % 4])
        .collect()
}

/// All lengths that the vector code tells apart near its edges, then a sample of those long enough
/// for the aligned loop of the widest version.
fn lengths() -> impl Iterator<Item = usize> {
    // Miri is some thousand times slower: keep the edges of each path.
    const FEW: [usize; 14] = [0, 1, 3, 4, 7, 8, 15, 16, 31, 33, 63, 64, 129, 300];
    (0..=300)
        .chain((505..=1300).step_by(53))
        .filter(|len| !cfg!(miri) || FEW.contains(len))
}

fn alignments() -> impl Iterator<Item = usize> {
    (0..ALIGNMENTS).filter(|at| !cfg!(miri) || [0, 1, 8, 63].contains(at))
}

/// Bytes without a pattern that a mask of four bytes could match.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 0x9E37_79B9_u32;
    std::iter::repeat_with(|| {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        (state >> 24) as u8
    })
    .take(len)
    .collect()
}

/// A buffer of guard bytes around room for `len` bytes that starts `at` bytes past an alignment of
/// [`ALIGNMENTS`], and where that is.
fn guarded(len: usize, at: usize) -> (Vec<u8>, usize) {
    let buffer = vec![GUARD; len + 3 * ALIGNMENTS];
    let start = buffer.as_ptr().align_offset(ALIGNMENTS) + at;
    (buffer, start)
}

/// Runs `unmask` over all lengths, alignments and phases.
fn check_in_place(name: &str, unmask: impl Fn(&mut [u8], [u8; 4], usize) -> usize) {
    for len in lengths() {
        let payload = noise(len);
        for phase in 0..4 {
            let expected = naive(&payload, KEY, phase);
            for at in alignments() {
                let (mut buffer, start) = guarded(len, at);
                buffer[start..start + len].copy_from_slice(&payload);
                let after = unmask(&mut buffer[start..start + len], KEY, phase);

                let case = format_args!("{name}, length {len}, alignment {at}, phase {phase}");
                assert_eq!(buffer[start..start + len], expected, "{case}");
                assert_eq!(after, (phase + len) % 4, "{case}");
                let (before, behind) = (&buffer[..start], &buffer[start + len..]);
                assert!(
                    before.iter().chain(behind).all(|&byte| byte == GUARD),
                    "{case}"
                );
            }
        }
    }
}

#[test]
fn every_version_unmasks_as_the_twin() {
    for version in Version::all() {
        check_in_place(version.name(), |data, key, phase| {
            version.unmask(data, key, phase)
        });
    }
}

#[test]
fn the_chosen_version_unmasks_as_the_twin() {
    check_in_place("chosen", unmask);
}

#[test]
fn every_version_appends_as_the_twin() {
    for version in Version::all() {
        for len in lengths() {
            for at in alignments() {
                // Source and destination are misaligned independently of each other.
                let (mut source, start) = guarded(len, ALIGNMENTS - 1 - at);
                source[start..start + len].copy_from_slice(&noise(len));
                let piece = &source[start..start + len];
                let mut buffer = vec![GUARD; at];
                version.unmask_append(&mut buffer, piece, KEY, at);

                let expected = [vec![GUARD; at], naive(piece, KEY, at % 4)].concat();
                assert_eq!(
                    buffer, expected,
                    "{version:?}, length {len}, alignment {at}"
                );
            }
        }
    }
}

#[test]
fn one_high_bit_anywhere_is_not_ascii() {
    for len in lengths() {
        let ascii: Vec<u8> = noise(len).iter().map(|byte| byte & 0x7F).collect();
        let masked = naive(&ascii, KEY, 1);
        for version in Version::all() {
            assert!(
                version.unmask_is_ascii(&mut masked.clone(), KEY, 1),
                "{version:?}, {len}"
            );
        }
        assert!(unmask_is_ascii(&mut masked.clone(), KEY, 1), "{len}");
        assert!(unmask_append(&mut Vec::new(), &masked, KEY, 1), "{len}");

        let step = if cfg!(miri) { 13 } else { 1 };
        for high in (0..len).step_by(step) {
            let mut masked = masked.clone();
            masked[high] ^= 0x80;
            let case = format_args!("byte {high} of {len}");
            for version in Version::all() {
                let mut data = masked.clone();
                assert!(
                    !version.unmask_is_ascii(&mut data, KEY, 1),
                    "{version:?}, {case}"
                );
            }
            assert!(!unmask_is_ascii(&mut masked.clone(), KEY, 1), "{case}");
            assert!(!unmask_append(&mut Vec::new(), &masked, KEY, 1), "{case}");
        }
    }
}

#[test]
fn a_payload_in_pieces_is_the_payload_in_one() {
    let payload = noise(97);
    let expected = naive(&payload, KEY, 0);
    for first in 0..=payload.len() {
        for second in first..=payload.len() {
            let mut data = payload.clone();
            let phase = unmask(&mut data[..first], KEY, 0);
            let phase = unmask(&mut data[first..second], KEY, phase);
            unmask(&mut data[second..], KEY, phase);
            assert_eq!(data, expected, "cut at {first} and {second}");
        }
        if cfg!(miri) && first == 2 {
            return;
        }
    }
}

#[test]
fn higher_bits_of_the_phase_are_ignored() {
    let mut data = *b"abcdefgh";
    assert_eq!(unmask(&mut data, KEY, usize::MAX), 3);
    assert_eq!(data, naive(b"abcdefgh", KEY, 3)[..]);
}

#[test]
fn the_example_of_the_rfc() {
    // RFC 6455 §5.7: a single-frame masked text message.
    let mut payload = [0x7F, 0x9F, 0x4D, 0x51, 0x58];
    assert_eq!(
        unmask_text(&mut payload, [0x37, 0xFA, 0x21, 0x3D]),
        Ok("Hello")
    );
}

#[test]
fn versions_are_ordered_and_end_with_the_portable_one() {
    let names: Vec<_> = Version::all().map(Version::name).collect();
    assert_eq!(names.last(), Some(&"portable"));
    assert_eq!(names[0], Version::chosen().name());
    let order = ["avx512", "avx2", "sse2", "neon", "portable"];
    assert!(names.is_sorted_by_key(|name| order.iter().position(|known| known == name).unwrap()));
}
