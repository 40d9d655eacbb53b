use flate2::{Decompress, FlushDecompress, Status};
use libdeflater::{CompressionLvl, Compressor};

use super::seal;
use crate::deflate::zlib::TAIL;

/// A stream, bit by bit.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    bits: usize,
}

impl Writer {
    /// The lowest bit first, as RFC 1951 has numbers.
    fn number(mut self, value: u32, count: usize) -> Self {
        for bit in 0..count {
            if self.bits.is_multiple_of(8) {
                self.bytes.push(0);
            }
            let last = self.bytes.last_mut().expect("pushed when needed");
            *last |= ((value >> bit & 1) as u8) << (self.bits % 8);
            self.bits += 1;
        }
        self
    }

    /// The highest bit first, as RFC 1951 has Huffman codes.
    fn code(self, code: u32, count: usize) -> Self {
        self.number(code.reverse_bits() >> (32 - count), count)
    }

    fn final_block(kind: u32) -> Self {
        Self::default().number(1, 1).number(kind, 2)
    }

    /// A dynamic block's header up to the list of lengths.
    fn lengths(symbols: u32) -> Self {
        let mut writer = Self::final_block(2)
            .number(symbols - 257, 5)
            .number(0, 5)
            .number(15, 4);
        for symbol in super::LENGTHS_ORDER {
            writer = writer.number(if symbol < 13 { 4 } else { 5 }, 3);
        }
        writer
    }

    /// An entry of that list: a length, or a kind of run.
    fn length(self, symbol: u32) -> Self {
        match symbol {
            ..13 => self.code(symbol, 4),
            _ => self.code(13 + symbol, 5),
        }
    }

    /// The header of a dynamic block that lists these lengths one by one, with one code for distances.
    fn dynamic(literals: &[(usize, u32)]) -> Self {
        let symbols = 258;
        let mut writer = Self::lengths(symbols);
        for symbol in 0..symbols as usize {
            let length = literals
                .iter()
                .find_map(|&(of, length)| (of == symbol).then_some(length))
                .unwrap_or(0);
            writer = writer.length(length);
        }
        writer.length(1)
    }
}

fn whole(payload: &[u8], level: i32) -> Vec<u8> {
    let mut compressor = Compressor::new(CompressionLvl::new(level).expect("a level"));
    let mut stream = vec![0; compressor.deflate_compress_bound(payload.len())];
    let length = compressor
        .deflate_compress(payload, &mut stream)
        .expect("room");
    stream.truncate(length);
    stream
}

/// What a finished stream holds; `None` when it is not exactly one.
fn inflate_finished(stream: &[u8]) -> Option<Vec<u8>> {
    let mut inflater = Decompress::new(false);
    let mut out = Vec::with_capacity(1 << 20);
    let status = inflater.decompress_vec(stream, &mut out, FlushDecompress::Finish);
    (matches!(status, Ok(Status::StreamEnd)) && inflater.total_in() == stream.len() as u64)
        .then_some(out)
}

/// Seals the stream behind other bytes, and has it inflated twice in a row. `None` when it could not be sealed.
fn sealed(stream: &[u8]) -> Option<Vec<u8>> {
    let mut out = [b"before", stream].concat();
    if !seal(&mut out, 6) {
        assert_eq!(out, [b"before", stream].concat(), "nothing is changed");
        return None;
    }
    assert!(out.starts_with(b"before"));
    assert!((stream.len()..=stream.len() + 1).contains(&(out.len() - 6)));
    let wire = [&out[6..], &TAIL].concat();
    let mut inflater = Decompress::new(false);
    let mut messages = Vec::new();
    for _ in 0..2 {
        let mut message = Vec::with_capacity(1 << 20);
        let before = inflater.total_in();
        let status = inflater.decompress_vec(&wire, &mut message, FlushDecompress::Sync);
        assert!(matches!(status, Ok(Status::Ok)), "{status:?}");
        assert_eq!(inflater.total_in() - before, wire.len() as u64);
        messages.push(message);
    }
    assert_eq!(messages[0], messages[1], "the stream goes on");
    messages.pop()
}

fn text(length: usize) -> Vec<u8> {
    (0..)
        .flat_map(|n: u32| {
            format!("{{\"n\":{n},\"x\":{}}},", n.wrapping_mul(2_654_435_761)).into_bytes()
        })
        .take(length)
        .collect()
}

#[test]
fn dynamic_blocks_of_every_length_in_bits() {
    let mut longer = 0;
    let mut same = 0;
    for length in 300..500 {
        let payload = text(length);
        let stream = whole(&payload, 6);
        assert_eq!(stream[0] & 7, 0b101, "one dynamic block");
        let mut out = stream.clone();
        assert!(seal(&mut out, 0), "{length}");
        if out.len() > stream.len() {
            longer += 1;
        } else {
            same += 1;
        }
        assert_eq!(sealed(&stream), Some(payload));
    }
    // Three of eight ends leave no room for a header.
    assert!(longer > 20 && same > 20, "{longer}, {same}");
}

#[test]
fn static_blocks() {
    // Two literals of eight bits, two of nine, and a reference of each kind of length.
    let mut stream = Writer::final_block(1)
        .code(0x30 + 0x61, 8)
        .code(0x30, 8)
        .code(0b1_1001_0000, 9)
        .code(0b1_1111_1111, 9);
    // Length 3 from 4 back; 12 (one bit of it in the stream) from 7 back (one bit).
    stream = stream.code(1, 7).code(3, 5);
    stream = stream.code(9, 7).number(1, 1).code(5, 5).number(0, 1);
    // Length 258 from 1 back; 131 + 3 (five bits) from 13 back (two bits).
    stream = stream.code(0xc0 + 5, 8).code(0, 5);
    stream = stream
        .code(0xc0 + 1, 8)
        .number(3, 5)
        .code(7, 5)
        .number(0, 2);
    // Length 258 from 1 back until there is enough for length 3 from 32,768 back (thirteen bits).
    for _ in 0..128 {
        stream = stream.code(0xc0 + 5, 8).code(0, 5);
    }
    stream = stream.code(1, 7).code(29, 5).number(0x1fff, 13);
    let stream = stream.code(0, 7).bytes;
    let payload = inflate_finished(&stream).expect("a valid stream");
    assert_eq!(payload.len(), 4 + 3 + 12 + 258 + 134 + 128 * 258 + 3);
    assert_eq!(sealed(&stream), Some(payload));
}

#[test]
fn static_blocks_of_libdeflate() {
    let mut seen = 0;
    for length in 24..90 {
        let payload = text(length);
        let stream = whole(&payload, 6);
        if stream[0] & 7 == 0b011 {
            seen += 1;
            assert_eq!(sealed(&stream), Some(payload));
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn static_blocks_that_are_none() {
    // A length that does not exist, a distance that does not exist, and no end.
    for stream in [
        Writer::final_block(1).code(0xc0 + 6, 8).code(0, 7),
        Writer::final_block(1).code(1, 7).code(30, 5).code(0, 7),
        Writer::final_block(1).code(0x30, 8),
    ] {
        assert_eq!(sealed(&stream.bytes), None);
    }
}

#[test]
fn a_stored_block() {
    let stream = [&[0x01, 5, 0, !5, !0][..], b"hello"].concat();
    assert_eq!(sealed(&stream), Some(b"hello".to_vec()));
    assert_eq!(sealed(&stream[..9]), None, "cut");
    assert_eq!(sealed(&[&stream[..], b"x"].concat()), None, "and more");
    assert_eq!(sealed(&stream[..2]), None, "no length");
}

#[test]
fn several_blocks_are_not_sealed() {
    let mut payload = text(20_000);
    payload.extend((0..20_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8));
    let stream = whole(&payload, 6);
    assert_eq!(stream[0] & 1, 0, "libdeflate makes several blocks of this");
    assert_eq!(sealed(&stream), None);
}

#[test]
fn an_end_of_zeros_alone_is_not_sealed() {
    let stream = Writer::dynamic(&[(97, 2), (98, 2), (256, 1)])
        .code(0b10, 2)
        .code(0b11, 2)
        .code(0, 1);
    assert_eq!(inflate_finished(&stream.bytes), Some(b"ab".to_vec()));
    assert_eq!(sealed(&stream.bytes), None);
}

#[test]
fn ends_with_zeros_behind_their_last_one() {
    // 'a' is 0, ' ' 100, 'b' 101, the end 110, a length 111.
    let codes = [(97, 1), (32, 3), (98, 3), (256, 3), (257, 3)];
    for count in 0..16 {
        let mut stream = Writer::dynamic(&codes);
        for _ in 0..count {
            stream = stream.code(0b101, 3).code(0, 1);
        }
        let stream = stream.code(0b110, 3).bytes;
        let payload = b"ba".repeat(count);
        assert_eq!(inflate_finished(&stream), Some(payload.clone()));
        assert_eq!(sealed(&stream), Some(payload));
    }
}

#[test]
fn an_end_whose_length_comes_in_a_run() {
    // 97 ("a") has one bit, 250 to 257 have four: 250 by itself, then three and four "as before".
    let stream = Writer::lengths(258)
        .length(18)
        .number(97 - 11, 7)
        .length(1)
        .length(18)
        .number(138 - 11, 7)
        .length(18)
        .number(14 - 11, 7)
        .length(4)
        .length(16)
        .number(0, 2)
        .length(16)
        .number(1, 2)
        // Of the distances.
        .length(1)
        .code(0, 1)
        .code(0b1110, 4)
        .bytes;
    assert_eq!(inflate_finished(&stream), Some(b"a".to_vec()));
    assert_eq!(sealed(&stream), Some(b"a".to_vec()));
}

#[test]
fn streams_filled_up_with_ones_are_not_sealed() {
    let mut seen = 0;
    for length in 300..400 {
        let mut stream = whole(&text(length), 6);
        let last = stream.last_mut().expect("not empty");
        if *last < 0x80 {
            // Beside a code of zeros alone in front of it, it may be the one that is looked for.
            *last |= 0x80;
            seen += 1;
            assert!(!seal(&mut stream, 0), "{length}");
        }
    }
    assert!(seen > 20, "{seen}");
}

#[test]
fn bytes_behind_the_end_are_not_sealed() {
    for length in 300..400 {
        let mut stream = whole(&text(length), 6);
        stream.push(0);
        assert_eq!(sealed(&stream), None, "{length}");
    }
}

#[test]
fn headers_that_cannot_be() {
    let header = || Writer::final_block(2).number(0, 5).number(0, 5);
    // More codes for lengths than there are of one bit.
    let mut crowded = header().number(15, 4);
    for _ in 0..19 {
        crowded = crowded.number(1, 3);
    }
    // Sixteen, first of all: "as before".
    let copies = header().number(0, 4).number(1, 3).number(1, 3).number(0, 6);
    let copies = copies.code(0, 1).number(0, 14);
    // No code for the end.
    let endless = Writer::dynamic(&[(97, 1), (98, 1)]).code(0, 1);
    // More symbols of one bit than there are.
    let full = Writer::dynamic(&[(97, 1), (98, 1), (256, 1)]).code(1, 1);
    for stream in [crowded, copies, endless, full, Writer::final_block(3)] {
        assert_eq!(sealed(&stream.bytes), None);
    }
    assert_eq!(sealed(b""), None);
    assert!(!seal(&mut b"short".to_vec(), 6), "begins beyond the end");
}

#[test]
fn streams_that_break_off_do_no_harm() {
    for payload in [text(400), text(60)] {
        let stream = whole(&payload, 6);
        for end in 0..stream.len() {
            let mut cut = stream[..end].to_vec();
            let changed = seal(&mut cut, 0);
            let expected = if changed { stream[0] & !1 } else { stream[0] };
            assert_eq!(cut.first().copied().unwrap_or(expected), expected);
        }
    }
}
