//! What is said in the handshake, and to which of a server's addresses.

use std::net::{Ipv6Addr, TcpListener};
use std::sync::{Arc, Mutex};

use crate::SHORT;
use crate::common::{
    assert_clean, choose, echo, echo_url, hub, measure, ring_available, serve, serve_asked, url,
};
use crate::refusal::assert_refused;

#[test]
fn the_handshake_says_what_it_is_told_to() {
    if !ring_available() {
        return;
    }
    for load in SHORT {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sight = Arc::clone(&seen);
        let hub = load[0] == "broadcast";
        let address = serve_asked(
            move |request, response| {
                let headers = request.headers();
                let all = |name: &str| {
                    let values = headers.get_all(name).iter();
                    let values: Vec<_> = values
                        .map(|value| value.to_str().unwrap().to_owned())
                        .collect();
                    values.join("|")
                };
                let names = [
                    "host",
                    "origin",
                    "sec-websocket-protocol",
                    "authorization",
                    "x-room",
                ];
                sight.lock().unwrap().push(names.map(all));
                choose(response, "v1.chat");
            },
            // What one sends all receive is an echo when there is one connection.
            echo,
        );
        let url = format!("ws://{address}/room?id=7");
        let flags = [
            "--subprotocol",
            "v2.chat",
            "--subprotocol",
            "v1.chat",
            "-H",
            "Authorization: Bearer a.b.c",
            "--header",
            "X-Room: one",
            "-H",
            "X-Room: two",
            "-H",
            "Host: chat.example.org",
            "--origin",
            "https://example.org",
        ];
        // One subscriber that publishes: everybody is that one.
        let alone: &[&str] = if hub {
            &["-c", "1", "--all-publish"]
        } else {
            &[]
        };
        let rest = if hub { &load[3..] } else { &load[1..] };
        assert_clean(measure(&[&[load[0], &url], rest, alone, &flags].concat()));
        let seen = seen.lock().unwrap();
        assert!(!seen.is_empty());
        for request in seen.iter() {
            assert_eq!(
                request,
                &[
                    "chat.example.org",
                    "https://example.org",
                    "v2.chat, v1.chat",
                    "Bearer a.b.c",
                    "one|two"
                ]
            );
        }
    }
}

#[test]
fn a_server_must_choose_one_of_the_subprotocols() {
    if !ring_available() {
        return;
    }
    let other = url(serve_asked(|_, response| choose(response, "v3.chat"), echo));
    for (url, why) in [
        (
            echo_url(),
            "the server chose none of the subprotocols offered (v1.chat, v2.chat)",
        ),
        (other, "chose a subprotocol that was not offered"),
    ] {
        for load in SHORT {
            let offer = ["--subprotocol", "v1.chat", "--subprotocol", "v2.chat"];
            assert_refused(load, &url, &offer, why);
        }
    }
}

/// Where `localhost` is ::1, too, and comes first: nobody listens there.
#[test]
fn a_name_with_several_addresses_is_tried_in_turn() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, peer| echo(peer));
    let url = format!("ws://localhost:{}/", address.port());
    assert_clean(measure(&[&["echo", &url], &SHORT[0][1..]].concat()));
}

#[test]
fn ipv6_servers_are_reached() {
    let Ok(listener) = TcpListener::bind((Ipv6Addr::LOCALHOST, 0)) else {
        println!("skipped: there is no IPv6 here");
        return;
    };
    if !ring_available() {
        return;
    }
    let url = url(hub::serve_on(listener, hub::Subscribers::send_to_all));
    assert_clean(measure(&[&["broadcast", &url], &SHORT[1][1..]].concat()));
    let source = ["--source-ip", "127.0.0.2"];
    assert_refused(SHORT[1], &url, &source, "--source-ip");
}
