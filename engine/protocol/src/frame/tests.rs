use proptest::prelude::*;

use super::*;

fn server_header(kind: impl Into<FrameKind>, payload_len: usize) -> Header {
    Header::new(kind, None, payload_len)
}

/// RFC 6455 §5.7, as written there.
#[test]
fn rfc_examples() {
    let mut out = Vec::new();
    encode_server(&mut out, Opcode::Text, b"Hello");
    assert_eq!(out, [0x81, 0x05, 0x48, 0x65, 0x6c, 0x6c, 0x6f]);

    out.clear();
    encode_client(&mut out, Opcode::Text, b"Hello", [0x37, 0xfa, 0x21, 0x3d]);
    assert_eq!(
        out,
        [
            0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58
        ]
    );

    out.clear();
    encode_server(&mut out, Opcode::Text.unfinished(), b"Hel");
    encode_server(&mut out, Opcode::Continuation, b"lo");
    assert_eq!(out, [0x01, 0x03, 0x48, 0x65, 0x6c, 0x80, 0x02, 0x6c, 0x6f]);

    assert_eq!(
        *server_header(Opcode::Binary, 256).encode(),
        [0x82, 0x7E, 0x01, 0x00]
    );
    assert_eq!(
        *server_header(Opcode::Binary, 65536).encode(),
        [0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]
    );
}

#[test]
fn structural_rules() {
    use ProtocolError::*;
    let cases: &[(&[u8], ProtocolError)] = &[
        // §5.2: reserved opcodes, known after one byte.
        (&[0x83], ReservedOpcode(3)),
        (&[0x87], ReservedOpcode(7)),
        (&[0x8B], ReservedOpcode(11)),
        (&[0x0F], ReservedOpcode(15)),
        // §5.5: control frames.
        (&[0x08], ControlFragmented),
        (&[0x09, 0x80], ControlFragmented),
        (&[0x0A], ControlFragmented),
        (&[0x88, 126], ControlTooLong),
        (&[0x89, 0xFE], ControlTooLong),
        (&[0x8A, 127], ControlTooLong),
        // §5.2: shortest form.
        (&[0x82, 126, 0, 0], NonMinimalLength),
        (&[0x82, 126, 0, 125], NonMinimalLength),
        (&[0x82, 127, 0, 0, 0, 0, 0, 0], NonMinimalLength),
        (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF], NonMinimalLength),
        (&[0x82, 127, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], NonMinimalLength),
        // §5.2: the top bit, known after its byte.
        (&[0x82, 127, 0x80], LengthOverflow),
        (&[0x82, 0xFF, 0xFF, 0, 0, 0, 0, 0, 0, 0], LengthOverflow),
    ];
    for (bytes, error) in cases {
        assert_eq!(Header::decode(bytes), Err(*error), "{bytes:x?}");
    }
}

#[test]
fn errors_come_with_the_first_byte_that_tells() {
    let streams: &[(&[u8], usize)] = &[
        (&[0x83, 0x80, 1, 2, 3, 4], 1),
        (&[0x09, 0x80, 1, 2, 3, 4], 1),
        (&[0x89, 0xFE, 1, 0, 1, 2, 3, 4], 2),
        (&[0x82, 0xFE, 0, 125, 1, 2, 3, 4], 4),
        (&[0x82, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0], 3),
        (&[0x82, 0xFF, 0, 0, 0, 0, 0, 0, 0, 0], 8),
    ];
    for (bytes, telling) in streams {
        for len in 0..=bytes.len() {
            let decoded = Header::decode(&bytes[..len]);
            assert_eq!(decoded.is_err(), len >= *telling, "{:x?}", &bytes[..len]);
        }
    }
}

#[test]
fn lengths_at_the_edges() {
    for (len, header_len) in [
        (0, 2),
        (125, 2),
        (126, 4),
        (0xFFFF, 4),
        (0x1_0000, 10),
        (usize::MAX >> 1, 10),
    ] {
        assert_eq!(server_header_len(len), header_len);
        for mask in [None, Some([1, 2, 3, 4])] {
            let header = Header::new(Opcode::Binary, mask, len);
            let bytes = header.encode();
            assert_eq!(bytes.len(), usize::from(header.header_len));
            assert_eq!(Header::decode(&bytes), Ok(Some(header)));
        }
    }
}

#[test]
#[should_panic(expected = "a control frame must be final")]
fn a_long_ping_is_the_callers_fault() {
    encode_server(&mut Vec::new(), Opcode::Ping, &[0; 126]);
}

#[test]
#[should_panic(expected = "a control frame must be final")]
fn an_unfinished_ping_is_the_callers_fault() {
    encode_client(&mut Vec::new(), Opcode::Ping.unfinished(), b"", [0; 4]);
}

fn any_header() -> impl Strategy<Value = Header> {
    let opcode = prop::sample::select(vec![
        Opcode::Continuation,
        Opcode::Text,
        Opcode::Binary,
        Opcode::Close,
        Opcode::Ping,
        Opcode::Pong,
    ]);
    let len = prop_oneof![
        0..130usize,
        65_530..65_540usize,
        any::<u32>().prop_map(|n| n as usize)
    ];
    (any::<bool>(), 0..8u8, opcode, any::<Option<[u8; 4]>>(), len).prop_map(
        |(fin, rsv, opcode, mask, len)| {
            let control = opcode.is_control();
            let kind = FrameKind {
                fin: fin || control,
                rsv,
                opcode,
            };
            Header::new(kind, mask, if control { len % 126 } else { len })
        },
    )
}

proptest! {
    #[test]
    fn header_round_trip(header in any_header(), tail in any::<[u8; 4]>()) {
        let mut bytes = header.encode().to_vec();
        for len in 0..bytes.len() {
            prop_assert_eq!(Header::decode(&bytes[..len]), Ok(None));
        }
        bytes.extend_from_slice(&tail);
        prop_assert_eq!(Header::decode(&bytes), Ok(Some(header)));
    }

    /// Whatever the bytes: a longer prefix never takes back what a shorter one said.
    #[test]
    fn decoding_is_stable_under_more_bytes(bytes in prop::collection::vec(any::<u8>(), 0..20)) {
        let mut settled = None;
        for len in 0..=bytes.len() {
            let decoded = Header::decode(&bytes[..len]);
            if let Some(settled) = settled {
                prop_assert_eq!(decoded, settled);
            } else if decoded != Ok(None) {
                settled = Some(decoded);
            }
        }
        prop_assert!(settled.is_some() || bytes.len() < MAX_HEADER_LEN);
    }

    #[test]
    fn encoded_frames_decode(
        payload in prop::collection::vec(any::<u8>(), 0..300),
        key in any::<[u8; 4]>(),
    ) {
        let mut out = b"before".to_vec();
        encode_server(&mut out, Opcode::Binary, &payload);
        let frame = &out[6..];
        let header = Header::decode(frame).unwrap().unwrap();
        prop_assert_eq!(header.mask, None);
        prop_assert_eq!(&frame[header.header_len.into()..], &payload[..]);

        out.clear();
        encode_client(&mut out, Opcode::Binary, &payload, key);
        let header = Header::decode(&out).unwrap().unwrap();
        prop_assert_eq!(header.mask, Some(key));
        let unmasked: Vec<u8> = out[header.header_len.into()..]
            .iter()
            .zip(key.iter().cycle())
            .map(|(byte, key)| byte ^ key)
            .collect();
        prop_assert_eq!(unmasked, payload);
    }
}
