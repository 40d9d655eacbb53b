//! What a client asks for, and what it makes of answers.

use super::*;
use crate::handshake::HeaderError;

const BARE: Offer = Offer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: ClientWindow::NotNamed,
};

/// As browsers offer it.
const NAMED: Offer = Offer {
    client_max_window_bits: ClientWindow::Named,
    ..BARE
};

const EVERYTHING: Offer = Offer {
    server_no_context_takeover: true,
    client_no_context_takeover: true,
    server_max_window_bits: Some(10),
    client_max_window_bits: ClientWindow::AtMost(11),
};

/// Asks for what would hold without it.
const WHOLE: Offer = Offer {
    server_max_window_bits: Some(15),
    ..BARE
};

fn request(offer: Offer) -> ClientRequest<'static> {
    ClientRequest {
        deflate: Some(offer),
        ..ClientRequest::new("host", "/", NONCE)
    }
}

#[test]
fn offers_are_written() {
    let cases = [
        (BARE, "permessage-deflate"),
        (NAMED, "permessage-deflate; client_max_window_bits"),
        (
            EVERYTHING,
            "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
             server_max_window_bits=10; client_max_window_bits=11",
        ),
    ];
    for (offer, expected) in cases {
        let mut out = Vec::new();
        request(offer).encode(&mut out).unwrap();
        let written = with_head(&out, |request| {
            let value = request.header("Sec-WebSocket-Extensions");
            value.map(str::to_owned)
        });
        assert_eq!(written.as_deref(), Some(expected));
    }
    assert_eq!(Offer::default(), BARE);
}

#[test]
fn windows_that_do_not_exist_are_not_offered() {
    for bits in [0, 7, 16, 255] {
        let server = Offer {
            server_max_window_bits: Some(bits),
            ..BARE
        };
        let client = Offer {
            client_max_window_bits: ClientWindow::AtMost(bits),
            ..BARE
        };
        for offer in [server, client] {
            let mut out = Vec::new();
            let error = request(offer).encode(&mut out);
            assert_eq!(error, Err(HeaderError::InvalidWindowBits));
            assert_eq!(out, b"");
        }
    }
}

/// §7.1: what each answer comes to, together with the offer. Here `(true, 9)` is an end without context and with a
/// window of 9 bits: first the server, then the client.
#[test]
fn answers_that_are_accepted() {
    let cases = [
        (BARE, "", (false, 15), (false, 15)),
        // A server may give up its own window and take ours away without being asked (§7.1.1).
        (
            BARE,
            "; server_no_context_takeover",
            (true, 15),
            (false, 15),
        ),
        (
            BARE,
            "; client_no_context_takeover",
            (false, 15),
            (true, 15),
        ),
        // It may make its own smaller (§7.1.2.1).
        (BARE, "; server_max_window_bits=8", (false, 8), (false, 15)),
        (
            BARE,
            "; server_max_window_bits=15",
            (false, 15),
            (false, 15),
        ),
        (NAMED, "", (false, 15), (false, 15)),
        (NAMED, "; client_max_window_bits=8", (false, 15), (false, 8)),
        (
            NAMED,
            "; client_max_window_bits=\"15\"",
            (false, 15),
            (false, 15),
        ),
        // What we said of ourselves holds without an answer to it.
        (
            EVERYTHING,
            "; server_max_window_bits=10; server_no_context_takeover",
            (true, 10),
            (true, 11),
        ),
        (
            EVERYTHING,
            "; client_max_window_bits=11; server_max_window_bits=9; server_no_context_takeover; \
             client_no_context_takeover",
            (true, 9),
            (true, 11),
        ),
        (
            EVERYTHING,
            "; client_max_window_bits=9; server_max_window_bits=10; server_no_context_takeover",
            (true, 10),
            (true, 9),
        ),
    ];
    for (offer, answer, server, client) in cases {
        let expected = Params {
            server_no_context_takeover: server.0,
            client_no_context_takeover: client.0,
            server_max_window_bits: server.1,
            client_max_window_bits: client.1,
        };
        let list = format!("permessage-deflate{answer}");
        assert_eq!(judge(Some(offer), &[&list]), Ok(Some(expected)), "{answer}");
        let padded = ["", &list, " , "];
        assert_eq!(judge(Some(offer), &padded), Ok(Some(expected)), "{answer}");
    }
    for nothing in [&[][..], &[""], &[",", " ,"]] {
        assert_eq!(judge(Some(EVERYTHING), nothing), Ok(None));
        assert_eq!(judge(None, nothing), Ok(None));
    }
}

/// §7.1: what the connection must be failed for.
#[test]
fn answers_that_are_refused() {
    use ParameterError as E;
    let cases = [
        // Parameters that RFC 7692 does not know.
        (BARE, "; x", E::Unknown),
        (BARE, "; Server_no_context_takeover", E::Unknown),
        // Repeated ones.
        (
            BARE,
            "; server_no_context_takeover; server_no_context_takeover",
            E::Repeated,
        ),
        (
            BARE,
            "; server_max_window_bits=9; server_max_window_bits=9",
            E::Repeated,
        ),
        (
            NAMED,
            "; client_max_window_bits=9; client_max_window_bits=9",
            E::Repeated,
        ),
        // Values where none belongs; none where one does: an answer names a size (§7.1.2.2).
        (BARE, "; client_no_context_takeover=1", E::InvalidValue),
        (BARE, "; server_max_window_bits", E::InvalidValue),
        (NAMED, "; client_max_window_bits", E::InvalidValue),
        // Out of range, or written otherwise.
        (BARE, "; server_max_window_bits=7", E::InvalidValue),
        (BARE, "; server_max_window_bits=16", E::InvalidValue),
        (NAMED, "; client_max_window_bits=08", E::InvalidValue),
        (NAMED, "; client_max_window_bits=16", E::InvalidValue),
        // Asked for, and missing or too large.
        (EVERYTHING, "", E::ServerContext),
        (EVERYTHING, "; server_max_window_bits=10", E::ServerContext),
        (EVERYTHING, "; server_no_context_takeover", E::ServerWindow),
        (
            EVERYTHING,
            "; server_no_context_takeover; server_max_window_bits=11",
            E::ServerWindow,
        ),
        (WHOLE, "", E::ServerWindow),
        // Not offered, or larger than offered.
        (BARE, "; client_max_window_bits=15", E::ClientWindow),
        (BARE, "; client_max_window_bits=8", E::ClientWindow),
        (
            EVERYTHING,
            "; server_no_context_takeover; server_max_window_bits=10; client_max_window_bits=12",
            E::ClientWindow,
        ),
    ];
    for (offer, answer, error) in cases {
        let list = format!("permessage-deflate{answer}");
        let expected = Err(HandshakeError::Deflate(error));
        assert_eq!(judge(Some(offer), &[&list]), expected, "{answer}");
        let unexpected = Err(HandshakeError::UnexpectedExtension);
        assert_eq!(judge(None, &[&list]), unexpected, "{answer}");
    }
}

/// RFC 6455 §4.1, item 5, and §9.1.
#[test]
fn extensions_that_are_refused() {
    use HandshakeError::*;
    let cases: [(&[&str], HandshakeError); 8] = [
        (&["x-unknown"], UnexpectedExtension),
        (&["Permessage-Deflate"], UnexpectedExtension),
        (&["permessage-deflate, x-unknown"], UnexpectedExtension),
        (&["permessage-deflate", "x-unknown"], UnexpectedExtension),
        (
            &["permessage-deflate, permessage-deflate"],
            RepeatedExtension,
        ),
        (
            &["permessage-deflate", "permessage-deflate"],
            RepeatedExtension,
        ),
        (&["permessage-deflate;"], MalformedExtensions),
        (&["permessage-deflate", "\u{e9}"], MalformedExtensions),
    ];
    for (lists, error) in cases {
        assert_eq!(judge(Some(NAMED), lists), Err(error), "{lists:?}");
        let unexpected = Err(UnexpectedExtension);
        assert_eq!(judge(None, lists), unexpected, "{lists:?} without an offer");
        assert_eq!(error.fault(), crate::Fault::Peer);
    }
}
