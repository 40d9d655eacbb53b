//! Server frames are written by hand here: the encoder is the server's side.

use super::*;
use crate::client::contents::{Contents, PayloadKind};
use crate::client::deflate::{Deflater, WireCounts};

const LEN: usize = 120;

fn json(len: usize) -> Contents {
    Contents::generated(PayloadKind::Json, Opcode::Text, &[len])
}

fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125);
    [&[first, payload.len() as u8], payload].concat()
}

fn stamp(number: u32) -> Stamp {
    Stamp {
        publisher: 3,
        number,
        due: 1 << 40,
        sent: (1 << 40) + 5,
    }
}

/// The payload of a message, by way of the frame that a publisher sends.
fn payload(publication: &Publication, number: u32) -> Vec<u8> {
    let mut frame = Vec::new();
    publication.encode(&mut frame, &stamp(number), &mut None);
    let header = Header::decode(&frame).unwrap().unwrap();
    let body = publication.body(&stamp(number));
    assert_eq!(header.payload_len, publication.payload_len(body) as u64);
    let key = header.mask.unwrap().into_iter().cycle();
    let masked = &frame[usize::from(header.header_len)..];
    masked
        .iter()
        .zip(key)
        .map(|(byte, key)| byte ^ key)
        .collect()
}

fn read_in_pieces(
    stream: &[u8],
    publication: &Publication,
    piece: usize,
) -> Result<Vec<Delivery>, DeliveryError> {
    let mut recent = Recent::new();
    read(
        &mut DeliveryReader::default(),
        stream,
        publication,
        piece,
        &mut recent,
    )
}

fn read(
    reader: &mut DeliveryReader,
    stream: &[u8],
    publication: &Publication,
    piece: usize,
    recent: &mut Recent,
) -> Result<Vec<Delivery>, DeliveryError> {
    let mut deliveries = Vec::new();
    for mut input in stream.chunks(piece) {
        while let Some(delivery) = reader.next(&mut input, publication, Verify::Full, recent)? {
            deliveries.push(delivery);
        }
    }
    Ok(deliveries)
}

#[test]
fn any_split_gives_the_same_deliveries() {
    for (kind, opcode) in [
        (PayloadKind::Random, Opcode::Binary),
        (PayloadKind::Json, Opcode::Text),
        (PayloadKind::Json, Opcode::Binary),
        (PayloadKind::Text, Opcode::Text),
        (PayloadKind::Zero, Opcode::Binary),
    ] {
        let first = if opcode == Opcode::Text { 1 } else { 2 };
        let publication = Publication::new(&Contents::generated(kind, opcode, &[LEN]), false, 1, 1);
        let second = payload(&publication, 7);
        let stream = [
            frame(0x80 | first, &payload(&publication, 0)),
            frame(0x89, b"there?"),
            frame(first, &second[..10]),
            frame(0x80, &second[10..]),
            frame(0x88, b"\x03\xf5slow"),
        ]
        .concat();
        let expected = [
            Delivery::Message(stamp(0)),
            Delivery::Control(Control::Ping(b"there?".to_vec())),
            Delivery::Message(stamp(7)),
            Delivery::Control(Control::Close("1013 \"slow\"".into())),
        ];
        for piece in 1..=stream.len() {
            let found = read_in_pieces(&stream, &publication, piece).unwrap();
            assert_eq!(found, expected, "{kind:?} in pieces of {piece}");
        }
    }
}

#[test]
fn json_payloads_are_json() {
    let publication = Publication::new(&json(LEN), false, 1, 1);
    let parsed: serde_json::Value = serde_json::from_slice(&payload(&publication, 5)).unwrap();
    assert!(parsed["stamp"].is_string() && parsed["records"].is_array());
    let smallest = Publication::smallest(&json(LEN));
    assert_eq!(smallest, 91, "what the help of -s says");
    let publication = Publication::new(&json(smallest), false, 1, 1);
    assert_eq!(publication.lengths(), Lengths::exactly(smallest));
}

#[test]
fn what_was_not_published_shows() {
    let publication = Publication::new(
        &Contents::generated(PayloadKind::Random, Opcode::Binary, &[LEN]),
        false,
        1,
        1,
    );
    let read = |first, payload: &[u8]| {
        read_in_pieces(&frame(first, payload), &publication, 7).unwrap_err()
    };
    let good = payload(&publication, 0);
    let mut changed = good.clone();
    changed[LEN - 1] ^= 1;
    assert!(matches!(
        read(0x82, &changed),
        DeliveryError::Content { .. }
    ));
    assert!(matches!(
        read(0x82, &good[1..]),
        DeliveryError::Length { .. }
    ));
    assert!(matches!(read(0x81, &good), DeliveryError::Opcode { .. }));
    // No message has the last number: counting one further would begin again.
    let mut last = good.clone();
    last[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
    assert_eq!(read(0x82, &last), DeliveryError::Foreign);
    let mut foreign = good.clone();
    foreign[0] ^= 1;
    assert_eq!(read(0x82, &foreign), DeliveryError::Foreign);
    // Nobody agreed to compression.
    assert_eq!(read(0xc2, &good), ProtocolError::ReservedBits(4).into());
}

fn compressed(publication: &Publication, number: u32) -> Vec<u8> {
    Deflater::new().compress(&payload(publication, number))
}

/// Two subscribers, the second of which lags behind: every message is inflated once, in whatever pieces it comes.
#[test]
fn a_compressed_message_is_inflated_once_for_all() {
    let publication = Publication::new(&json(LEN), true, 1, 1);
    let mut stream = Vec::new();
    for number in 0..5 {
        let bytes = compressed(&publication, number);
        let (a, b) = bytes.split_at(20);
        stream.extend([frame(0x41, a), frame(0x80, b)].concat());
    }
    // As it is: not everything need be compressed.
    stream.extend(frame(0x81, &payload(&publication, 5)));
    let expected: Vec<_> = (0..6)
        .map(|number| Delivery::Message(stamp(number)))
        .collect();
    for piece in 1..=stream.len() {
        let mut recent = Recent::new();
        for _ in 0..2 {
            let mut reader = DeliveryReader::default();
            let found = read(&mut reader, &stream, &publication, piece, &mut recent).unwrap();
            assert_eq!(found, expected, "in pieces of {piece}");
        }
        let counts = WireCounts {
            compressed: 10,
            uncompressed: 2,
            inflated: 5,
            wire_bytes: 2 * stream.len() as u64,
        };
        assert_eq!(recent.into_counts(), [counts], "in pieces of {piece}");
    }
}

/// Another order, or a message that only some receive, costs a look-up and no inflating.
#[test]
fn another_order_is_found() {
    let publication = Publication::new(&json(LEN), true, 1, 1);
    let mut recent = Recent::new();
    for order in [[0, 1, 2, 3], [3, 1, 0, 2], [0, 1, 2, 3]] {
        let bytes = order.map(|number| frame(0xc1, &compressed(&publication, number)));
        let mut reader = DeliveryReader::default();
        let found = read(&mut reader, &bytes.concat(), &publication, 50, &mut recent);
        assert_eq!(
            found.unwrap(),
            order.map(|number| Delivery::Message(stamp(number)))
        );
    }
    let counts = recent.into_counts();
    assert_eq!((counts[0].compressed, counts[0].inflated), (12, 4));
}

#[test]
fn wrong_compressed_messages_show() {
    let publication = Publication::new(&json(LEN), true, 1, 1);
    let read = |payload: &[u8]| {
        let bytes = frame(0xc1, &Deflater::new().compress(payload));
        read_in_pieces(&bytes, &publication, 50).unwrap_err()
    };
    let good = payload(&publication, 0);
    let mut changed = good.clone();
    changed[LEN - 1] ^= 1;
    assert!(matches!(read(&changed), DeliveryError::Content { .. }));
    assert!(matches!(read(&good[..50]), DeliveryError::Length { .. }));
    assert_eq!(
        read(&[&good[..], b" "].concat()),
        InflateError::TooLong { limit: LEN }.into()
    );
    let mut foreign = good;
    foreign[0] ^= 1;
    assert_eq!(read(&foreign), DeliveryError::Foreign);
    let garbage = read_in_pieces(&frame(0xc1, &[0xff; 40]), &publication, 50).unwrap_err();
    assert_eq!(garbage, InflateError::Invalid.into());
}

/// Three sizes take turns, beginning with the first for message 0; the last is the least that there can be.
fn sizes(kind: PayloadKind, opcode: Opcode, deflate: bool) -> Publication {
    let least = Publication::smallest(&Contents::generated(kind, opcode, &[LEN]));
    let contents = Contents::generated(kind, opcode, &[LEN, 100, least]);
    Publication::new(&contents, deflate, 1, 1)
}

#[test]
fn messages_of_several_lengths_are_read_in_any_split() {
    for (kind, opcode) in [
        (PayloadKind::Random, Opcode::Binary),
        (PayloadKind::Json, Opcode::Text),
        (PayloadKind::Text, Opcode::Text),
    ] {
        let first = if opcode == Opcode::Text { 1 } else { 2 };
        let publication = sizes(kind, opcode, false);
        let mut stream = Vec::new();
        for number in 0..7 {
            let payload = payload(&publication, number);
            // Whole; in two frames; and with the cut within the head.
            let cut = [0, 80, 9][number as usize % 3].min(payload.len());
            stream.extend(frame(first, &payload[..cut]));
            stream.extend(frame(0x80, &payload[cut..]));
        }
        stream.extend(frame(0x80 | first, &payload(&publication, 7)));
        let expected: Vec<_> = (0..8).map(|n| Delivery::Message(stamp(n))).collect();
        for piece in 1..=stream.len() {
            let found = read_in_pieces(&stream, &publication, piece).unwrap();
            assert_eq!(found, expected, "{kind:?} in pieces of {piece}");
        }
    }
}

#[test]
fn a_message_has_the_length_and_content_of_its_number() {
    let publication = sizes(PayloadKind::Random, Opcode::Binary, false);
    let [longest, middle, shortest] = [0, 1, 2].map(|number| payload(&publication, number));
    let lens = [&longest, &middle, &shortest].map(Vec::len);
    assert_eq!(lens, [LEN, 100, 28]);
    let length = |found, least, most| DeliveryError::Length {
        found,
        expected: Lengths { least, most },
    };
    let read = |frames: &[u8], piece| read_in_pieces(frames, &publication, piece).unwrap_err();
    for piece in [1, 7, 500] {
        let read = |frames: &[u8]| read(frames, piece);
        // Cut off, and grown, to lengths that other messages have.
        let error = read(&frame(0x82, &longest[..100]));
        assert_eq!(error, length(100, LEN, LEN), "{piece}");
        let grown = [&shortest[..], &[0; 72]].concat();
        assert_eq!(read(&frame(0x82, &grown)), length(100, 28, 28), "{piece}");
        let (begin, rest) = middle.split_at(40);
        let too_many = [frame(2, begin), frame(0, rest), frame(0x80, b"!")];
        assert_eq!(read(&too_many.concat()), length(101, 100, 100), "{piece}");
        let missing = [frame(2, begin), frame(0x80, &rest[1..])];
        assert_eq!(read(&missing.concat()), length(99, 100, 100), "{piece}");
        // Right in length, with what another one has.
        let mixed = [&middle[..28], &longest[28..100]].concat();
        let error = read(&frame(0x82, &mixed));
        assert!(matches!(error, DeliveryError::Content { .. }), "{piece}");
    }
    let short = read(&frame(0x82, &shortest[1..]), 500);
    assert_eq!(short, length(27, 28, LEN));
    let long = read(&frame(0x82, &[0; LEN + 1]), 500);
    assert_eq!(long, length(LEN as u64 + 1, 28, LEN));
    assert!(long.to_string().ends_with("expected 28 to 120"), "{long}");
}

/// What came is counted for each length apart.
#[test]
fn compressed_messages_of_several_lengths_are_counted_apart() {
    let publication = sizes(PayloadKind::Json, Opcode::Text, true);
    let mut stream = Vec::new();
    let mut expected = vec![WireCounts::default(); 3];
    for number in 0..7 {
        let frame = frame(0xc1, &compressed(&publication, number));
        let counts = &mut expected[publication.body(&stamp(number))];
        counts.compressed += 2;
        counts.inflated += 1;
        counts.wire_bytes += 2 * frame.len() as u64;
        stream.extend(frame);
    }
    let whole = frame(0x81, &payload(&publication, 7));
    let counts = &mut expected[publication.body(&stamp(7))];
    counts.uncompressed += 2;
    counts.wire_bytes += 2 * whole.len() as u64;
    stream.extend(whole);
    for piece in 1..=stream.len() {
        let mut recent = Recent::new();
        for _ in 0..2 {
            let mut reader = DeliveryReader::default();
            let found = read(&mut reader, &stream, &publication, piece, &mut recent).unwrap();
            assert_eq!(found.len(), 8);
        }
        assert_eq!(recent.into_counts(), expected, "in pieces of {piece}");
    }
}

#[test]
fn a_compressed_message_has_the_length_of_its_number() {
    let publication = sizes(PayloadKind::Json, Opcode::Text, true);
    let [longest, middle] = [0, 1].map(|number| payload(&publication, number));
    let read = |payload: &[u8]| {
        let bytes = frame(0xc1, &Deflater::new().compress(payload));
        read_in_pieces(&bytes, &publication, 50).unwrap_err()
    };
    let length = |found, expected| DeliveryError::Length {
        found,
        expected: Lengths::exactly(expected),
    };
    assert_eq!(read(&longest[..100]), length(100, LEN));
    let grown = [&middle[..], &[b' '; LEN - 100]].concat();
    assert_eq!(read(&grown), length(LEN as u64, 100));
}
