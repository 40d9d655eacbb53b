//! What a server makes of offers.

use std::time::{Duration, Instant};

use super::*;

/// The answer to these headers.
fn answer(accepts: Acceptance, lists: &[&str]) -> Option<String> {
    let chosen = with_lists(lists, |request| accepts.choose(request));
    chosen.map(|agreement| agreement.header_value())
}

/// The parameters of the answer to one offer; both without the name of the extension.
fn parameters(accepts: Acceptance, offer: &str) -> Option<String> {
    let answer = answer(accepts, &[&format!("permessage-deflate{offer}")])?;
    let parameters = answer
        .strip_prefix("permessage-deflate")
        .expect("the name of the extension");
    Some(parameters.to_owned())
}

#[test]
fn shared_keeps_no_window() {
    const NONE: &str = "; server_no_context_takeover; client_no_context_takeover";
    let cases = [
        ("", ""),
        ("; client_max_window_bits", ""),
        ("; client_no_context_takeover", ""),
        ("; server_no_context_takeover", ""),
        (
            "; client_max_window_bits=15; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        // All smaller windows are one.
        ("; server_max_window_bits=14", "; server_max_window_bits=9"),
        ("; server_max_window_bits=9", "; server_max_window_bits=9"),
        (
            "; client_max_window_bits=8; server_max_window_bits=10",
            "; server_max_window_bits=9; client_max_window_bits=8",
        ),
    ];
    for (offer, more) in cases {
        let expected = Some(format!("{NONE}{more}"));
        assert_eq!(parameters(Acceptance::shared(), offer), expected, "{offer}");
    }
}

#[test]
fn dedicated_keeps_windows_of_the_operators_choice() {
    let cases = [
        (15, "", ""),
        (15, "; client_max_window_bits", ""),
        (15, "; client_max_window_bits=15", ""),
        (
            15,
            "; client_max_window_bits=9",
            "; client_max_window_bits=9",
        ),
        (
            15,
            "; server_max_window_bits=15",
            "; server_max_window_bits=15",
        ),
        (
            15,
            "; server_max_window_bits=12",
            "; server_max_window_bits=12",
        ),
        (
            15,
            "; server_no_context_takeover",
            "; server_no_context_takeover",
        ),
        (
            15,
            "; client_no_context_takeover",
            "; client_no_context_takeover",
        ),
        // The smaller of both.
        (
            11,
            "; client_max_window_bits",
            "; server_max_window_bits=11; client_max_window_bits=11",
        ),
        (
            11,
            "; client_max_window_bits=12; server_max_window_bits=13",
            "; server_max_window_bits=11; client_max_window_bits=11",
        ),
        (
            11,
            "; client_max_window_bits=10; server_max_window_bits=9",
            "; server_max_window_bits=9; client_max_window_bits=10",
        ),
        // Who cannot be held to a small window keeps none.
        (
            11,
            "",
            "; client_no_context_takeover; server_max_window_bits=11",
        ),
        (
            11,
            "; server_no_context_takeover; client_no_context_takeover",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=11",
        ),
    ];
    for (bits, offer, expected) in cases {
        assert_eq!(
            parameters(Acceptance::dedicated(bits), offer).as_deref(),
            Some(expected),
            "{bits} bits: {offer}"
        );
    }
}

/// What is written is what holds.
#[test]
fn an_agreement_holds_what_it_says() {
    let chosen = |accepts: Acceptance, list| {
        with_lists(&[list], |request| accepts.choose(request))
            .unwrap()
            .params()
    };
    let expected = Params {
        server_no_context_takeover: true,
        client_no_context_takeover: true,
        server_max_window_bits: 9,
        client_max_window_bits: 15,
    };
    let small = "permessage-deflate; server_max_window_bits=12";
    assert_eq!(chosen(Acceptance::shared(), small), expected);
    let expected = Params {
        server_no_context_takeover: false,
        client_no_context_takeover: true,
        server_max_window_bits: 11,
        client_max_window_bits: 15,
    };
    let bare = "permessage-deflate";
    assert_eq!(chosen(Acceptance::dedicated(11), bare), expected);
}

/// Each side may keep its window while the other must not.
#[test]
fn sides_are_chosen_apart() {
    let server_keeps = Acceptance {
        client_context: false,
        ..Acceptance::dedicated(15)
    };
    assert_eq!(
        parameters(server_keeps, "").as_deref(),
        Some("; client_no_context_takeover")
    );
    let client_keeps = Acceptance {
        server_context: false,
        ..Acceptance::dedicated(12)
    };
    let cases = [
        (
            "; client_max_window_bits",
            "; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            "; server_max_window_bits=11; client_max_window_bits=13",
            "; server_no_context_takeover; server_max_window_bits=9; client_max_window_bits=12",
        ),
    ];
    for (offer, expected) in cases {
        assert_eq!(parameters(client_keeps, offer).as_deref(), Some(expected));
    }
}

/// §7.1: offers that are declined, each alone and before one that is taken.
#[test]
fn bad_offers_are_declined() {
    let cases = [
        // Unknown parameters, and names in another case.
        "; x",
        "; x=1",
        "; server_no_context",
        "; Server_No_Context_Takeover",
        "; permessage-deflate",
        // Repeated ones, also with the same value.
        "; server_no_context_takeover; server_no_context_takeover",
        "; client_no_context_takeover; client_no_context_takeover",
        "; server_max_window_bits=10; server_max_window_bits=10",
        "; client_max_window_bits; client_max_window_bits",
        "; client_max_window_bits; client_max_window_bits=10",
        "; client_max_window_bits=10; client_max_window_bits",
        // Values where none belongs, and none where one does.
        "; server_no_context_takeover=1",
        "; server_no_context_takeover=true",
        "; client_no_context_takeover=\"1\"",
        "; server_max_window_bits",
        // Values out of range, or written otherwise.
        "; server_max_window_bits=7",
        "; server_max_window_bits=16",
        "; server_max_window_bits=0",
        "; server_max_window_bits=010",
        "; server_max_window_bits=09",
        "; server_max_window_bits=+9",
        "; server_max_window_bits=-9",
        "; server_max_window_bits=9.0",
        "; server_max_window_bits=1e1",
        "; server_max_window_bits=0xa",
        "; server_max_window_bits=100",
        "; server_max_window_bits=18446744073709551625",
        "; client_max_window_bits=7",
        "; client_max_window_bits=16",
        "; client_max_window_bits=08",
        "; client_max_window_bits=true",
        // A window that no library deflates with.
        "; server_max_window_bits=8",
        "; server_max_window_bits=8; client_max_window_bits",
    ];
    for case in cases {
        let offer = format!("permessage-deflate{case}");
        for accepts in [Acceptance::shared(), Acceptance::dedicated(15)] {
            assert_eq!(answer(accepts, &[&offer]), None, "{case}");
            let then = format!("{offer}, permessage-deflate");
            let second = answer(accepts, &["permessage-deflate"]);
            assert!(second.is_some());
            assert_eq!(answer(accepts, &[&then]), second, "{case}, in one header");
            let apart = [offer.as_str(), "permessage-deflate"];
            assert_eq!(answer(accepts, &apart), second, "{case}, in two");
        }
    }
}

/// Names of extensions are whole, and other extensions are no matter of ours.
#[test]
fn other_extensions_are_declined_by_silence() {
    let accepts = Acceptance::dedicated(15);
    for list in [
        "",
        ",",
        "x-webkit-deflate-frame",
        "permessage-deflate-2",
        "Permessage-Deflate",
        "permessage-bzip2; client_max_window_bits",
    ] {
        assert_eq!(answer(accepts, &[list]), None, "{list:?}");
        let good = Some("permessage-deflate".to_owned());
        let with_good = format!("{list}, permessage-deflate");
        assert_eq!(answer(accepts, &[&with_good]), good, "{list:?}");
    }
    assert_eq!(answer(accepts, &[]), None);
}

/// §5.1: the client's order counts, over all headers.
#[test]
fn the_first_offer_that_can_be_met_wins() {
    let accepts = Acceptance::dedicated(15);
    let first = "permessage-deflate; server_max_window_bits=10, permessage-deflate";
    let expected = Some("permessage-deflate; server_max_window_bits=10".to_owned());
    assert_eq!(answer(accepts, &[first]), expected);
    let apart = [
        "x-first",
        "permessage-deflate; server_max_window_bits=10",
        "permessage-deflate",
    ];
    assert_eq!(answer(accepts, &apart), expected);
    let forms = r#"permessage-deflate ;server_max_window_bits = "\10" "#;
    assert_eq!(answer(accepts, &[forms]), expected);
}

/// RFC 6455 §9.1: several headers are one list, so what is no list in one of them spoils all.
#[test]
fn what_is_no_list_offers_nothing() {
    let accepts = Acceptance::shared();
    for list in [
        "permessage-deflate; server_max_window_bits=",
        "permessage-deflate; server_no_context_takeover=\"\"",
        "permessage-deflate;",
        "permessage-deflate client_max_window_bits",
        "permessage-deflate, x; a=\"unterminated",
        "permessage-deflate, \"",
        "permessage-deflate, \u{e9}",
    ] {
        assert_eq!(answer(accepts, &[list]), None, "{list}");
        assert_eq!(answer(accepts, &[list, "permessage-deflate"]), None);
        assert_eq!(answer(accepts, &["permessage-deflate", list]), None);
    }
}

/// What common clients send: browsers and node `ws`, Python `websockets`, clients that want no context, old Safari.
#[test]
fn clients_in_use_are_met() {
    let cases = [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12",
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover",
        "x-webkit-deflate-frame, permessage-deflate; client_max_window_bits",
    ];
    for offer in cases {
        for accepts in [Acceptance::shared(), Acceptance::dedicated(12)] {
            assert!(answer(accepts, &[offer]).is_some(), "{offer}");
        }
    }
}

/// Quadratic work on a megabyte would take minutes.
#[test]
#[cfg_attr(miri, ignore = "megabytes of lists, and measured time")]
fn hostile_lists_take_linear_time() {
    let started = Instant::now();
    let repeated = [
        (",", false),
        (" ", false),
        ("a", false),
        ("a,", false),
        ("a;b=c,", false),
        (";a", false),
        (";a=\"\\b\"", false),
        ("\"", false),
        ("permessage-deflate;x,", false),
        ("; client_max_window_bits", false),
        ("; client_max_window_bits=\"", false),
        ("permessage-deflate,", true),
        ("; server_max_window_bits=8, permessage-deflate", true),
    ];
    for (part, has_good_offer) in repeated {
        let parts = part.repeat((1 << 20) / part.len());
        let list = format!("permessage-deflate; x{parts}");
        let whole = answer(Acceptance::shared(), &[&list]);
        assert_eq!(whole.is_some(), has_good_offer, "{part}");
        let many = vec!["permessage-deflate; x"; 32];
        let many = [&many[..], &[&list], &many].concat();
        assert_eq!(answer(Acceptance::shared(), &many), whole, "{part}");
    }
    let took = started.elapsed();
    assert!(took < Duration::from_secs(60), "{took:?}");
}
