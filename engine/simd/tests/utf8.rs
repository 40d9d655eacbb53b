//! UTF-8 across pieces against the standard library.

use std::str;

use corecast_simd::{InvalidUtf8, TextBuf, Utf8Stream, unmask, unmask_text, validate};
use proptest::prelude::*;

const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

/// First and last byte of every class that RFC 3629 §4 tells apart, in any position.
const EDGES: [u8; 25] = [
    0x00, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED,
    0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFE, 0xFF,
];

/// Whether some continuation makes `text` valid, by trying those that differ: what follows at most
/// three open bytes is one byte of each range of RFC 3629 §4, then any continuation bytes.
fn can_become_valid(text: &[u8]) -> bool {
    let continuations = [0x80, 0x90, 0xA0]
        .into_iter()
        .flat_map(|first| [vec![first], vec![first, 0x80], vec![first, 0x80, 0x80]]);
    std::iter::once(Vec::new())
        .chain(continuations)
        .any(|more| str::from_utf8(&[text, &more].concat()).is_ok())
}

#[test]
fn fails_at_the_first_byte_that_no_continuation_can_save() {
    /// Pushes every edge byte behind `text`, and goes deeper where it was accepted.
    fn deeper(text: &mut Vec<u8>, stream: Utf8Stream, depth: usize) {
        for byte in EDGES {
            text.push(byte);
            let mut next = stream;
            let accepted = next.push(&[byte]).is_ok();
            assert_eq!(accepted, can_become_valid(text), "{text:X?}");
            if accepted {
                assert_eq!(
                    next.is_complete(),
                    str::from_utf8(text).is_ok(),
                    "{text:X?}"
                );
                if depth > 1 {
                    deeper(text, next, depth - 1);
                }
            }
            text.pop();
        }
    }
    // One byte more than the longest sequence, so that the one behind it is seen too.
    let depth = if cfg!(miri) { 2 } else { 5 };
    deeper(&mut Vec::new(), Utf8Stream::default(), depth);
}

#[test]
fn ascii_does_not_end_an_open_sequence() {
    let mut text = TextBuf::default();
    text.push(b"\xF0\x9F", None).unwrap();
    let mut masked = *b"ascii";
    unmask(&mut masked, KEY, 2);
    assert_eq!(text.push(&masked, Some((KEY, 2))), Err(InvalidUtf8));
    // An empty piece, such as an empty fragment, is neither an error nor an end.
    assert_eq!(text.push(b"", Some((KEY, 0))), Ok(()));
    assert_eq!(text.push(b"\x92\xA9", None), Ok(()));
    assert_eq!(text.finish().as_deref(), Ok("💩"));
}

#[test]
fn a_text_that_ends_within_a_sequence_is_invalid() {
    for end in 1..4 {
        let mut text = TextBuf::default();
        text.push(&"💩".as_bytes()[..end], None).unwrap();
        assert_eq!(text.finish(), Err(InvalidUtf8));
    }
}

#[test]
fn a_refused_piece_leaves_no_trace() {
    let mut text = TextBuf::default();
    text.push(b"a\xE2\x82", None).unwrap();
    for mask in [None, Some((KEY, 0))] {
        let mut piece = *b"\xAC valid until here: \xFF";
        if let Some((key, phase)) = mask {
            unmask(&mut piece, key, phase);
        }
        assert_eq!(text.push(&piece, mask), Err(InvalidUtf8));
        assert_eq!(text.len(), 3);
    }
    text.push(b"\xAC", None).unwrap();
    assert_eq!(text.finish().as_deref(), Ok("a€"));
}

#[test]
fn a_spare_buffer_is_emptied_and_its_memory_used() {
    let spare = b"\xFF left over from the last message".to_vec();
    let (at, capacity) = (spare.as_ptr(), spare.capacity());
    let mut text = TextBuf::with_buffer(spare);
    assert!(text.is_empty());
    text.reserve(capacity);
    text.push(b"short", None).unwrap();
    let text = text.finish().unwrap().into_bytes();
    assert_eq!((text.as_ptr(), text.capacity()), (at, capacity));
    assert_eq!(text, b"short");
}

#[test]
fn the_stream_fits_in_a_word() {
    assert!(size_of::<Utf8Stream>() <= 8);
}

/// Text of all widths, often longer than the vector code's blocks, often with a few bytes broken.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let character = prop_oneof![
        8 => proptest::char::range(' ', '~'),
        1 => proptest::char::range('\u{80}', '\u{7FF}'),
        1 => proptest::char::range('\u{800}', '\u{FFFF}'),
        1 => proptest::char::range('\u{10000}', '\u{10FFFF}'),
    ];
    let ascii = "[ -~]{0,300}";
    let text = prop_oneof![
        1 => ascii.prop_map(String::from),
        4 => prop::collection::vec(character, 0..200).prop_map(String::from_iter),
    ];
    let damage = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..2);
    (text, damage, 0..4_usize).prop_map(|(text, damage, cut)| {
        let mut bytes = text.into_bytes();
        bytes.truncate(bytes.len().saturating_sub(cut));
        for (at, byte) in damage {
            if !bytes.is_empty() {
                *at.get_mut(&mut bytes) = byte;
            }
        }
        bytes
    })
}

/// `bytes` cut at up to six places.
fn pieces() -> impl Strategy<Value = Vec<Vec<u8>>> {
    let cuts = prop::collection::vec(any::<prop::sample::Index>(), 0..6);
    (bytes(), cuts).prop_map(|(bytes, cuts)| {
        let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        cuts.windows(2)
            .map(|cut| bytes[cut[0]..cut[1]].to_vec())
            .collect()
    })
}

proptest! {
    #[test]
    #[cfg_attr(miri, ignore = "hours of cases, and failures are kept in files")]
    fn whole_payloads_as_std(bytes in bytes()) {
        prop_assert_eq!(validate(&bytes).ok(), str::from_utf8(&bytes).ok());
        let mut masked = bytes.clone();
        unmask(&mut masked, KEY, 0);
        prop_assert_eq!(unmask_text(&mut masked, KEY).ok(), str::from_utf8(&bytes).ok());
        prop_assert_eq!(masked, bytes);
    }

    #[test]
    #[cfg_attr(miri, ignore = "hours of cases, and failures are kept in files")]
    fn pieces_as_std(pieces in pieces()) {
        let (mut stream, mut so_far) = (Utf8Stream::default(), Vec::new());
        for piece in pieces {
            so_far.extend_from_slice(&piece);
            let accepted = stream.push(&piece).is_ok();
            prop_assert_eq!(accepted, can_become_valid(&so_far));
            if !accepted {
                return Ok(());
            }
            prop_assert_eq!(stream.is_complete(), str::from_utf8(&so_far).is_ok());
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "hours of cases, and failures are kept in files")]
    fn text_from_pieces_as_std(pieces in pieces(), masked in any::<u8>(), phase in 0..4_usize) {
        let (mut text, mut so_far) = (TextBuf::default(), Vec::new());
        for (i, mut piece) in pieces.into_iter().enumerate() {
            let mask = (masked >> i & 1 == 1).then_some((KEY, phase));
            let before = so_far.len();
            so_far.extend_from_slice(&piece);
            if let Some((key, phase)) = mask {
                unmask(&mut piece, key, phase);
            }
            let accepted = text.push(&piece, mask).is_ok();
            prop_assert_eq!(accepted, can_become_valid(&so_far));
            prop_assert_eq!(text.len(), if accepted { so_far.len() } else { before });
            prop_assert_eq!(text.is_empty(), so_far.is_empty() || (!accepted && before == 0));
            if !accepted {
                return Ok(());
            }
        }
        prop_assert_eq!(text.finish().ok(), String::from_utf8(so_far).ok());
    }
}
