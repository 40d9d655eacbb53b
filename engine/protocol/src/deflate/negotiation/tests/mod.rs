//! RFC 7692 §5 and §7.1, as tables and as properties.

mod client;
mod server;

use proptest::prelude::*;

use super::*;
use crate::handshake::{
    ClientHandshake, ClientRequest, HandshakeError, HeadLimits, HeaderSlots, Parsed, Request,
    encode_switching, parse_request,
};

const NONCE: [u8; 16] = *b"the sample nonce";

/// Runs `test` on an upgrade with these values of `Sec-WebSocket-Extensions`.
fn with_lists<R>(lists: &[&str], test: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut head = Vec::new();
    ClientRequest::new("host", "/", NONCE)
        .encode(&mut head)
        .unwrap();
    head.truncate(head.len() - 2);
    for list in lists {
        head.extend_from_slice(format!("Sec-WebSocket-Extensions: {list}\r\n").as_bytes());
    }
    head.extend_from_slice(b"\r\n");
    with_head(&head, test)
}

fn with_head<R>(head: &[u8], test: impl FnOnce(&Request<'_>) -> R) -> R {
    let mut slots = HeaderSlots::new();
    let limits = HeadLimits {
        max_bytes: 8 << 20,
        ..HeadLimits::default()
    };
    match parse_request(head, &mut slots, &limits) {
        Ok(Parsed::Complete(request, _)) => test(&request),
        other => panic!("not a request: {other:?}"),
    }
}

/// What the client makes of an answer with these values of `Sec-WebSocket-Extensions`.
fn judge(offer: Option<Offer>, lists: &[&str]) -> Result<Option<Params>, HandshakeError> {
    let request = ClientRequest {
        deflate: offer,
        ..ClientRequest::new("host", "/", NONCE)
    };
    let mut answer = Vec::new();
    with_lists(&[], |request| {
        let key = request.check_upgrade().unwrap();
        encode_switching(&mut answer, key, None, None, &[]).unwrap();
    });
    answer.truncate(answer.len() - 2);
    for list in lists {
        answer.extend_from_slice(format!("sec-websocket-extensions: {list}\r\n").as_bytes());
    }
    answer.extend_from_slice(b"\r\n");
    let response = ClientHandshake::new(&request).handle(&answer)?;
    Ok(response.expect("a whole answer").deflate)
}

fn offers() -> impl Strategy<Value = Offer> {
    let window = prop_oneof![
        Just(ClientWindow::NotNamed),
        Just(ClientWindow::Named),
        (8..=15_u8).prop_map(ClientWindow::AtMost),
    ];
    let server_bits = prop::option::of(8..=15_u8);
    (any::<bool>(), any::<bool>(), server_bits, window).prop_map(
        |(server, client, server_bits, client_window)| Offer {
            server_no_context_takeover: server,
            client_no_context_takeover: client,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_window,
        },
    )
}

/// Wild ones included.
fn acceptances() -> impl Strategy<Value = Acceptance> {
    (any::<bool>(), any::<bool>(), 7..=17_u8, 7..=17_u8).prop_map(
        |(server_context, client_context, server_bits, client_bits)| Acceptance {
            server_context,
            client_context,
            server_max_window_bits: server_bits,
            client_max_window_bits: client_bits,
        },
    )
}

/// What the parameters of §7.1 mean, said once more: whether `params` keep what both sides asked for.
fn assert_kept(offer: Offer, accepts: Acceptance, params: Params) {
    let Params {
        server_no_context_takeover,
        client_no_context_takeover,
        server_max_window_bits,
        client_max_window_bits,
    } = params;
    let own_server = accepts.server_max_window_bits.clamp(9, 15);
    let own_client = accepts.client_max_window_bits.clamp(8, 15);
    assert!((9..=own_server).contains(&server_max_window_bits));
    assert!((8..=15).contains(&client_max_window_bits));
    assert!(server_max_window_bits <= offer.server_max_window_bits.unwrap_or(15));
    if offer.server_no_context_takeover || !accepts.server_context {
        assert!(server_no_context_takeover);
    }
    if offer.client_no_context_takeover || !accepts.client_context {
        assert!(client_no_context_takeover);
    }
    match offer.client_max_window_bits {
        ClientWindow::NotNamed => assert_eq!(client_max_window_bits, 15),
        ClientWindow::Named => {}
        ClientWindow::AtMost(bits) => assert!(client_max_window_bits <= bits),
    }
    // What a client may keep costs no more than the server's operator chose.
    assert!(client_no_context_takeover || client_max_window_bits <= own_client);
    // Messages without context have one of two windows, whatever clients ask for.
    if !accepts.server_context {
        assert!([9, own_server].contains(&server_max_window_bits));
    }
}

proptest! {
    /// Both sides come to the same parameters, and those keep what each asked for.
    #[test]
    fn both_roles_agree(offer in offers(), accepts in acceptances()) {
        let asked = ClientRequest {
            deflate: Some(offer),
            ..ClientRequest::new("host", "/", NONCE)
        };
        let mut head = Vec::new();
        asked.encode(&mut head).unwrap();
        let mut answer = Vec::new();
        let agreed = with_head(&head, |request| {
            let agreement = accepts.choose(request);
            let key = request.check_upgrade().unwrap();
            encode_switching(&mut answer, key, None, agreement.as_ref(), &[]).unwrap();
            agreement
        });
        let response = ClientHandshake::new(&asked).handle(&answer).unwrap().unwrap();
        prop_assert_eq!(response.deflate, agreed.map(|agreement| agreement.params()));
        prop_assert_eq!(agreed.is_none(), offer.server_max_window_bits == Some(8));
        if let Some(agreement) = agreed {
            prop_assert_eq!(agreement.offer(), offer);
            assert_kept(offer, accepts, agreement.params());
        }
    }

    /// The first offer that can be met is taken, whatever stands around it, in one header or in several.
    #[test]
    fn the_first_good_offer_wins(
        elements in prop::collection::vec(
            prop_oneof![
                offers().prop_map(|offer| (offer.header_value(), Some(offer))),
                "(x-[a-z]{1,3}|permessage-deflate; [a-z_]{1,9}=?1)".prop_map(|text| (text, None)),
            ],
            0..6,
        ),
        split in any::<u8>(),
        accepts in acceptances(),
    ) {
        let mut lists = vec![String::new()];
        for (at, (text, _)) in elements.iter().enumerate() {
            if split & 1 << at != 0 {
                lists.push(String::new());
            }
            let list = lists.last_mut().unwrap();
            list.push_str(", ");
            list.push_str(text);
        }
        let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
        let expected = elements
            .iter()
            .filter_map(|(_, offer)| *offer)
            .find(|offer| offer.server_max_window_bits != Some(8));
        let chosen = with_lists(&lists, |request| accepts.choose(request));
        prop_assert_eq!(chosen.map(|agreement| agreement.offer()), expected);
    }

    /// Any bytes are survived, and nothing is agreed that they do not name.
    #[test]
    fn any_bytes_are_survived(
        pieces in prop::collection::vec(
            prop_oneof![
                "permessage-deflate|(server|client)_(no_context_takeover|max_window_bits)|[;,=\" ]|1?[0-9]"
                    .prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..3),
            ],
            0..24,
        ),
        cut in any::<prop::sample::Index>(),
        offer in offers(),
    ) {
        let bytes = pieces.concat();
        let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
        for lists in [&[&bytes[..]][..], &[first, second]] {
            if let Some(agreement) = Acceptance::shared().choose_from(lists.iter().copied()) {
                assert_kept(agreement.offer(), Acceptance::shared(), agreement.params());
                let names = |name: &str| {
                    bytes.windows(name.len()).any(|window| window == name.as_bytes())
                };
                prop_assert!(names(NAME));
                let offered = agreement.offer();
                prop_assert!(offered.server_max_window_bits.is_none() || names(SERVER_MAX_WINDOW_BITS));
                let named = offered.client_max_window_bits != ClientWindow::NotNamed;
                prop_assert!(!named || names(CLIENT_MAX_WINDOW_BITS));
            }
        }
        for extension in Extensions::new(&bytes).flatten() {
            // An answer is accepted only if it says what it must.
            if let Ok(params) = offer.judge(extension.parameters()) {
                prop_assert!(params.server_no_context_takeover || !offer.server_no_context_takeover);
                prop_assert!(params.client_no_context_takeover || !offer.client_no_context_takeover);
                let asked = offer.server_max_window_bits.unwrap_or(15);
                prop_assert!((8..=asked).contains(&params.server_max_window_bits));
                prop_assert!((8..=15).contains(&params.client_max_window_bits));
            }
        }
    }
}
