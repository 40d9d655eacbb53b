//! permessage-deflate between one client and the server (RFC 7692): what is agreed, and what is sent both ways.

use corecast::{Accept, Conn, Deflate, Handler, Io, Message, Reject, Request, Server};

use crate::common::client::{
    BINARY, CONTINUATION, Client, PING, PONG, RSV1, TEXT, frame, raw_frame, request_with, tcp,
};
use crate::common::payload::{Numbers, pattern, record, text};
use crate::common::{Echo, Running, over_every_transport, serve_with};

over_every_transport![
    what_is_agreed_follows_from_the_offer,
    nothing_is_agreed_unless_the_server_says_so,
    messages_of_all_sizes_come_back,
    what_does_not_compress_comes_back_as_it_is,
    short_messages_are_not_compressed,
    messages_may_come_in_fragments,
    a_context_lasts_over_messages_that_are_not_compressed,
    a_context_makes_similar_messages_short,
    a_large_message_is_answered_before_the_close_behind_it,
    an_application_may_leave_compression_out,
];

const FIN: u8 = 0x80;

/// The default thresholds.
const SHARED_THRESHOLD: usize = 256;
const DEDICATED_THRESHOLD: usize = 32;

/// Payloads above this are not compressed.
const NEVER_ABOVE: usize = 4 << 20;

/// What the clients of most tests offer: all that a client can.
const OFFER: &str = "permessage-deflate; client_max_window_bits";

fn echo(io: Io, deflate: Deflate) -> Running {
    serve_with(io, |server| server.deflate(deflate), |_| Echo)
}

/// Connects with these offers.
fn offering(server: &Running, offers: &str) -> Client {
    offering_to(server, "/", offers)
}

fn offering_to(server: &Running, path: &str, offers: &str) -> Client {
    let header = format!("Sec-WebSocket-Extensions: {offers}\r\n");
    Client::upgrade(tcp(server.address()), &request_with(path, &header))
}

/// Every mode, and the least that it compresses.
fn modes() -> Vec<(Deflate, usize)> {
    let dedicated = [9, 10, 12, 15].map(|bits| (Deflate::dedicated(bits), DEDICATED_THRESHOLD));
    let shared = (Deflate::shared(), SHARED_THRESHOLD);
    [&[shared], &dedicated[..]].concat()
}

/// Offers, and the answers of a server that shares its compressors, and of one with contexts and windows of 12 bits.
const OFFERS: &[(&str, Option<&str>, Option<&str>)] = &[
    (
        "permessage-deflate",
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        // The client may have a window of 15 bits, so it may not keep it.
        Some("permessage-deflate; client_no_context_takeover; server_max_window_bits=12"),
    ),
    (
        "permessage-deflate; client_max_window_bits",
        Some("permessage-deflate; server_no_context_takeover; client_no_context_takeover"),
        Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=12"),
    ),
    (
        "permessage-deflate; client_max_window_bits=10; server_max_window_bits=11",
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=9; client_max_window_bits=10",
        ),
        Some("permessage-deflate; server_max_window_bits=11; client_max_window_bits=10"),
    ),
    (
        "permessage-deflate; server_no_context_takeover; server_max_window_bits=15",
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=15",
        ),
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=12",
        ),
    ),
    // The first that can be met: no library deflates with a window of 8 bits.
    (
        "permessage-deflate; server_max_window_bits=8, x-other; a=b, permessage-deflate; client_max_window_bits=9",
        Some(
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             client_max_window_bits=9",
        ),
        Some("permessage-deflate; server_max_window_bits=12; client_max_window_bits=9"),
    ),
    ("permessage-deflate; server_max_window_bits=8", None, None),
    ("permessage-deflate; server_max_window_bits", None, None),
    ("permessage-deflate; server_max_window_bits=16", None, None),
    ("permessage-deflate; client_max_window_bits=7", None, None),
    ("permessage-deflate; client_max_window_bits=012", None, None),
    (
        "permessage-deflate; server_no_context_takeover=1",
        None,
        None,
    ),
    (
        "permessage-deflate; client_no_context_takeover; client_no_context_takeover",
        None,
        None,
    ),
    ("permessage-deflate; unheard_of", None, None),
    ("x-webkit-deflate-frame", None, None),
];

fn what_is_agreed_follows_from_the_offer(io: Io) {
    let servers = [Deflate::shared(), Deflate::dedicated(12)].map(|mode| echo(io, mode));
    for &(offer, shared, dedicated) in OFFERS {
        for (server, answer) in servers.iter().zip([shared, dedicated]) {
            let mut client = offering(server, offer);
            assert_eq!(client.extensions(), answer, "to {offer}");
            // It goes on either way, and as it was agreed.
            for n in 0..3 {
                let message = record(n, 3_000);
                match answer {
                    Some(_) => client.send_deflated(TEXT, message.as_bytes()),
                    None => client.text(&message),
                }
                let echo = client.frame();
                assert_eq!(echo.payload, message.as_bytes(), "{offer}");
                assert_eq!(echo.is_compressed(), answer.is_some(), "{offer}");
            }
            client.close(1000);
        }
    }
}

fn nothing_is_agreed_unless_the_server_says_so(io: Io) {
    for server in [
        serve_with(io, |server| server, |_| Echo),
        echo(io, Deflate::off()),
    ] {
        let mut client = offering(&server, OFFER);
        assert_eq!(client.extensions(), None);
        client.text(&record(1, 5_000));
        assert!(!client.frame().is_compressed());
        client.write(&raw_frame(FIN | RSV1 | TEXT, &[0]));
        client.expect_close(1002);
    }
    let server = echo(io, Deflate::shared());
    let client = Client::connect(server.address());
    assert_eq!(client.extensions(), None, "nothing was offered");
}

fn messages_of_all_sizes_come_back(io: Io) {
    let largest = NEVER_ABOVE + 1;
    let sizes = [
        24,
        31,
        32,
        255,
        256,
        300,
        4_095,
        65_535,
        65_536,
        256 << 10,
        300_000,
        1 << 20,
        largest,
    ];
    for (mode, threshold) in modes() {
        let server = echo(io, mode);
        let mut client = offering(&server, OFFER);
        client.send_deflated(TEXT, b"");
        client.expect(TEXT, b"");
        for (n, &size) in sizes.iter().enumerate() {
            // Any of them twice: what the second refers to, if it may, is the first.
            for _ in 0..2 {
                let message = record(n as u64, size);
                client.send_deflated(TEXT, message.as_bytes());
                let echo = client.frame();
                assert_eq!(echo.opcode, TEXT);
                assert!(echo.payload == message.as_bytes(), "{mode:?}, {size} bytes");
                let worth_it = (threshold..=NEVER_ABOVE).contains(&size);
                // A few bytes that stand alone may not become fewer.
                let surely = threshold == SHARED_THRESHOLD || size > 255;
                if surely || !worth_it {
                    assert_eq!(echo.is_compressed(), worth_it, "{mode:?}, {size} bytes");
                }
                if let Some(carried) = echo.deflated.filter(|_| size > 4_000) {
                    assert!(carried.len() < size / 2, "{mode:?}: {}", carried.len());
                }
            }
        }
        client.close(1000);
    }
}

fn what_does_not_compress_comes_back_as_it_is(io: Io) {
    for (mode, _) in modes() {
        let server = echo(io, mode);
        let mut client = offering(&server, OFFER);
        let keeps_context = client
            .agreed()
            .is_some_and(|agreed| !agreed.server_no_context_takeover);
        for size in [40, 1_000, 70_000, 300_000, 2 << 20] {
            let message = pattern(size as u64, size);
            client.send_deflated(BINARY, &message);
            let echo = client.frame();
            assert!(echo.payload == message, "{mode:?}, {size} bytes");
            match echo.deflated {
                // Where later messages refer to it, it may go out as it was made, though that is longer.
                Some(carried) if keeps_context => {
                    let most = size + size / 16 + 16;
                    assert!(carried.len() <= most, "{} of {size}", carried.len());
                }
                Some(carried) => panic!("{mode:?}: {} of {size}", carried.len()),
                None => {}
            }
            // And what follows is not disturbed.
            let message = record(size as u64, 2_000);
            client.text(&message);
            let echo = client.frame();
            assert!(echo.is_compressed());
            assert_eq!(echo.payload, message.as_bytes());
        }
    }
}

fn short_messages_are_not_compressed(io: Io) {
    for threshold in [0, 1, 500, 20_000] {
        for mode in [Deflate::shared(), Deflate::dedicated(15)] {
            let server = echo(io, mode.threshold(threshold));
            let mut client = offering(&server, OFFER);
            for size in [0, 1, 499, 500, 501, 19_999, 20_000] {
                let message = "a".repeat(size);
                client.text(&message);
                let echo = client.frame();
                assert_eq!(echo.payload, message.as_bytes());
                // An empty one never; of one byte deflate makes no fewer.
                let worth_it = size >= threshold.max(1);
                if size != 1 {
                    assert_eq!(echo.is_compressed(), worth_it, "{size} bytes, {mode:?}");
                }
            }
        }
    }
}

/// One message in fragments, cut anywhere, also empty ones, with pings between.
fn in_fragments(client: &mut Client, message: &[u8], numbers: &mut Numbers) {
    let carried = client.deflate(message);
    let mut rest = &carried[..];
    let mut first = RSV1 | TEXT;
    loop {
        let len = match numbers.below(4) {
            0 => 0,
            1 => 1.min(rest.len()),
            _ => numbers.below(rest.len() as u64 + 1) as usize,
        };
        let (piece, after) = rest.split_at(len);
        rest = after;
        if rest.is_empty() && numbers.below(2) == 0 {
            return client.write(&raw_frame(FIN | first, piece));
        }
        client.write(&raw_frame(first, piece));
        client.write(&frame(PING, piece.get(..20).unwrap_or(piece)));
        client.expect(PONG, piece.get(..20).unwrap_or(piece));
        first = CONTINUATION;
    }
}

fn messages_may_come_in_fragments(io: Io) {
    for (mode, _) in modes() {
        let server = echo(io, mode);
        let mut client = offering(&server, OFFER);
        let mut numbers = Numbers::new(7);
        for n in 0..30 {
            let size = numbers.size(20_000);
            let message = text(n, size);
            in_fragments(&mut client, message.as_bytes(), &mut numbers);
            client.expect(TEXT, message.as_bytes());
            // One that is not compressed between them, in fragments as well.
            client.write(&raw_frame(TEXT, b"as "));
            client.write(&raw_frame(FIN | CONTINUATION, b"it is"));
            client.expect(TEXT, b"as it is");
        }
        client.close(1000);
    }
}

fn a_context_lasts_over_messages_that_are_not_compressed(io: Io) {
    for bits in [9, 15] {
        let server = echo(io, Deflate::dedicated(bits));
        let mut client = offering(&server, OFFER);
        let agreed = client.agreed().expect("it was offered");
        assert_eq!(
            (agreed.server_max_window_bits, agreed.client_max_window_bits),
            (bits, bits)
        );
        assert!(!agreed.server_no_context_takeover && !agreed.client_no_context_takeover);
        let message = record(5, 400);
        let (mut came, mut went) = (Vec::new(), Vec::new());
        for round in 0..5 {
            let carried = client.deflate(message.as_bytes());
            went.push(carried.len());
            client.write(&raw_frame(FIN | RSV1 | TEXT, &carried));
            let echo = client.frame();
            assert_eq!(echo.payload, message.as_bytes());
            came.push(echo.deflated.expect("it is worth it").len());
            // Below the threshold, above what is compressed, and as it is though compressed messages are agreed.
            for between in [b"short".to_vec(), pattern(round, 100)] {
                client.send(BINARY, &between);
                client.expect(BINARY, &between);
            }
        }
        // A window of 512 bytes does not reach back so far.
        if bits == 15 {
            // Our own compressor has seen nothing of what was between.
            assert!(went[1..].iter().all(|&len| len < 20), "{went:?}");
            assert!(came[1..].iter().all(|&len| len < came[0] / 2), "{came:?}");
        }
    }
}

fn a_context_makes_similar_messages_short(io: Io) {
    let carried = |mode: Deflate| {
        let server = echo(io, mode.threshold(1));
        let mut client = offering(&server, OFFER);
        let mut sum = 0;
        for n in 0..50 {
            client.text(&record(n, 300));
            let echo = client.frame();
            sum += echo.deflated.map_or(300, |carried| carried.len());
        }
        sum
    };
    let [alone, small, large] = [
        Deflate::shared(),
        Deflate::dedicated(9),
        Deflate::dedicated(15),
    ]
    .map(carried);
    assert!(small < alone, "{small} instead of {alone} bytes");
    assert!(large < alone * 3 / 4, "{large} instead of {alone} bytes");
}

fn a_large_message_is_answered_before_the_close_behind_it(io: Io) {
    for (mode, _) in modes() {
        let server = echo(io, mode);
        let mut client = offering(&server, OFFER);
        let messages = [record(1, 3 << 20), record(2, 100), record(3, 1 << 20)];
        let mut all = Vec::new();
        for message in &messages {
            let carried = client.deflate(message.as_bytes());
            all.extend_from_slice(&raw_frame(FIN | RSV1 | TEXT, &carried));
        }
        all.extend_from_slice(&frame(PING, b"behind them"));
        all.extend_from_slice(&frame(
            crate::common::client::CLOSE,
            &1000_u16.to_be_bytes(),
        ));
        let mut writer = client.writer();
        let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &all));
        for message in &messages {
            client.expect(TEXT, message.as_bytes());
        }
        client.expect(PONG, b"behind them");
        client.expect_close(1000);
        client.expect_end();
        writing.join().expect("the writer").expect("it is read");
    }
}

/// Agrees to nothing with `/plain`, sends secrets as they are on `/secret`, and tells what it knows.
struct Chooses;

impl Handler for Chooses {
    type Data = bool;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<bool>, Reject> {
        let accept = Accept::new(request.path() == "/secret");
        Ok(match request.path() {
            "/plain" => accept.uncompressed(),
            _ => accept,
        })
    }

    fn open(&mut self, ws: &mut Conn<'_, bool>) {
        let told = format!("compressed: {}", ws.is_compressed());
        ws.send_text(&told);
    }

    fn message(&mut self, ws: &mut Conn<'_, bool>, message: Message<'_>) {
        if *ws.data() {
            ws.send_uncompressed(message);
        }
        ws.send(message);
    }
}

fn an_application_may_leave_compression_out(io: Io) {
    for mode in [Deflate::shared(), Deflate::dedicated(15)] {
        let settings = |server: Server| server.deflate(mode);
        let server = serve_with(io, settings, |_| Chooses);
        let mut plain = offering_to(&server, "/plain", OFFER);
        assert_eq!(plain.extensions(), None);
        plain.expect_text("compressed: false");
        let mut without = Client::connect(server.address());
        without.expect_text("compressed: false");
        let mut secret = offering_to(&server, "/secret", OFFER);
        secret.expect_text("compressed: true");
        for n in 0..3 {
            let message = record(n, 2_000);
            for client in [&mut plain, &mut without] {
                client.text(&message);
                assert!(!client.frame().is_compressed());
            }
            secret.send_deflated(TEXT, message.as_bytes());
            for compressed in [false, true] {
                let frame = secret.frame();
                assert_eq!(frame.payload, message.as_bytes());
                assert_eq!(frame.is_compressed(), compressed);
            }
        }
    }
}
