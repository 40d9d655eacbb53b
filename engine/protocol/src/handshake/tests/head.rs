//! The head as bytes: syntax, limits, pieces.

use super::*;

/// RFC 9112 §2–§6: what parsers could read differently is refused.
#[test]
fn head_syntax() {
    let with = |header: &[u8]| {
        let mut input = b"GET / HTTP/1.1\r\nHost: h\r\n".to_vec();
        input.extend_from_slice(header);
        input.extend_from_slice(b"\r\n\r\n");
        input
    };
    let cases: &[(Vec<u8>, u16)] = &[
        (with(b"X: ok"), 200),
        (with(b"X:"), 200),
        (with(b"X: \t padded \t"), 200),
        (with(b"X: latin\xe9"), 200),
        (with(b"X: nul\0"), 400),
        (with(b"X: bell\x07"), 400),
        (with(b"X: del\x7f"), 400),
        (with(b"X\0: a"), 400),
        (with(b"X : a"), 400),
        (with(b" X: a"), 400),
        (with(b": a"), 400),
        (with(b"X"), 400),
        (with(b"X\xe9: a"), 400),
        (with(b"X: a\r\n folded"), 400),
        (with(b"X: a\r\n\tfolded"), 400),
        (with(b"X: a\nY: b"), 400),
        (with(b"X: a\rY: b"), 400),
        (with(b"Content-Length: +1"), 400),
        (with(b"Content-Length: 1, 1"), 400),
        (with(b"Content-Length: 1\r\nContent-Length: 2"), 400),
        (with(b"Content-Length: 1\r\nContent-Length: 1"), 200),
        (b"GET / HTTP/1.1\nHost: h\n\n".to_vec(), 400),
        (b"GET / HTTP/1.1\r\nHost: h\r\n\n".to_vec(), 400),
        (b"\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        // RFC 9112 §2.2: an empty line before the request is tolerated.
        (b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 200),
        (b"GET  / HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /a b HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /\xc3\xa9 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET /#top HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET chat HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET ftp://h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http:// HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http:///a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://?a HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://:80/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://a@h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 400),
        (b"GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 200),
        (b"CONNECT h:80 HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405),
        (b"OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n".to_vec(), 405),
        (b"GET / HTTP/1.0\r\n\r\n".to_vec(), 200),
        (b"GET / HTTP/1.1\r\n\r\n".to_vec(), 400),
        (b"GET /\r\n\r\n".to_vec(), 400),
        (b"\x16\x03\x01\x02\0 a TLS client".to_vec(), 400),
    ];
    for (input, expected) in cases {
        let text = String::from_utf8_lossy(input);
        assert_eq!(status(input), Some(*expected), "{text:?}");
    }
}

#[test]
fn head_limits() {
    let with_cookie = |len: usize| upgrade_with(&[&format!("Cookie: {}", "x".repeat(len))]);
    let base = with_cookie(0).len();
    let max = HeadLimits::DEFAULT_MAX_BYTES;
    assert_eq!(status(&with_cookie(max - base)), Some(101));
    assert_eq!(status(&with_cookie(max - base + 1)), Some(431));
    assert_eq!(status(&with_cookie(64 << 10)), Some(431), "headers_64k");
    // As soon as the limit is reached, without waiting for the end.
    let endless = with_cookie(max);
    assert_eq!(status(&endless[..max - 1]), None);
    assert_eq!(status(&endless[..max]), Some(431));

    let many = |count: usize| {
        let extra = vec!["X: y"; count - UPGRADE.len()];
        head("GET / HTTP/1.1", &[&UPGRADE[..], &extra].concat())
    };
    assert_eq!(status(&many(HeaderSlots::CAPACITY)), Some(101));
    assert_eq!(status(&many(HeaderSlots::CAPACITY + 1)), Some(431));
    assert_eq!(status(&many(2000)), Some(431), "headers_2000");
    let few = HeadLimits {
        max_headers: 5,
        ..HeadLimits::default()
    };
    assert_eq!(status_within(&many(5), &few), Some(101));
    assert_eq!(status_within(&many(6), &few), Some(431));
}

/// `frames_with_handshake`: what follows the head is left alone, and does not count as head.
#[test]
fn frames_may_follow_at_once() {
    let head = upgrade_with(&[]);
    let input = [&head[..], &[0x82; 100_000]].concat();
    let mut slots = HeaderSlots::new();
    match parse_request(&input, &mut slots, &HeadLimits::default()) {
        Ok(Parsed::Complete(_, len)) => assert_eq!(len, head.len()),
        other => panic!("{other:?}"),
    }
}

/// `one_byte_dribble`: no prefix of a good head is refused or taken for whole.
#[test]
fn every_prefix_is_partial() {
    let input = upgrade_with(&["Sec-WebSocket-Protocol: chat"]);
    for len in 0..input.len() {
        assert_eq!(status(&input[..len]), None, "{len} bytes");
    }
    assert_eq!(status(&input), Some(101));
}

/// What is refused is refused with the same answer however it arrives.
#[test]
fn a_foreign_version_is_told_by_its_whole_name() {
    for (line, expected) in [
        ("PRI * HTTP/2.0", 505),
        ("GET / HTTP/1.2", 505),
        ("GET / HTTP/3", 400),
        ("GET / HTTP/2x0", 400),
        ("GET /a b HTTP/1.1", 400),
    ] {
        let input = head(line, &UPGRADE);
        assert_eq!(status(&input), Some(expected), "{line}");
        for len in 0..input.len() {
            let early = status(&input[..len]);
            assert!(
                early.is_none_or(|early| early == expected),
                "{line}, {len} bytes"
            );
        }
    }
}

/// Bytes that are read by a parser that gets `input` in pieces of `step` bytes, and the status in the end.
pub(super) fn read_in_pieces(
    input: &[u8],
    step: usize,
    limits: &HeadLimits,
) -> (usize, Option<u16>) {
    let (mut read, mut end) = (0, 0);
    while end < input.len() {
        let new = step.min(input.len() - end);
        end += new;
        if may_end_head(&input[..end], new, limits) {
            read += end.min(limits.max_bytes);
            let status = status_within(&input[..end], limits);
            if status.is_some() {
                return (read, status);
            }
        }
    }
    (read, None)
}

/// `one_byte_dribble`, with heads made to be read again and again.
#[test]
fn a_head_in_pieces_is_read_twice_at_most() {
    let limits = HeadLimits::default();
    let max = limits.max_bytes;
    let many = "X: y\r\n".repeat(90);
    let long = format!("Cookie: {}", "x".repeat(7000));
    let whole: &[Vec<u8>] = &[
        upgrade_with(&[]),
        upgrade_with(&[long.as_str()]),
        head("GET / HTTP/1.1", &["Host: h", many.trim_end()]),
        upgrade_with(&[&format!("Cookie: {}", "x".repeat(2 * max))]),
        [&b"\r\n".repeat(100)[..], &upgrade_with(&[])].concat(),
        b"\r\n".repeat(2 * max),
        b"GET / HTTP/1.1\nHost: h\n\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: h\r\n\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: h\r\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\nHost: h\n\r\n".to_vec(),
        b"G".repeat(2 * max),
        b"GET / HTTP/1.1\r\n".repeat(max),
        [&b"GET / HTTP/1.1\r\n"[..], &b"\n\r".repeat(max)].concat(),
        b"\r\n\r\nHEAD nowhere HTTP/1.1\r\n\r\n".to_vec(),
    ];
    for input in whole {
        let shown = String::from_utf8_lossy(&input[..input.len().min(60)]).into_owned();
        let expected = status(input);
        for step in [1, 2, 3, 7, 1000] {
            let (read, status) = read_in_pieces(input, step, &limits);
            assert_eq!(status, expected, "{shown:?} in steps of {step}");
            assert!(
                read <= step + input.len().min(max),
                "{read} bytes read: {shown:?} in steps of {step}"
            );
        }
    }
}

#[test]
fn the_method_of_what_is_refused_is_known() {
    for (input, expected) in [
        (&b"HEAD / HTTP/3.0\r\n\r\n"[..], true),
        (b"\r\n\r\nHEAD / ", true),
        (b"HEAD", false),
        (b"HEADER / HTTP/1.1", false),
        (b"GET /?HEAD / HTTP/1.1", false),
        (b"", false),
        (b"\r\n", false),
    ] {
        assert_eq!(is_head_method(input), expected, "{input:?}");
    }
}
