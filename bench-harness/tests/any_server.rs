//! Servers that are not Corecast, and loads of many shapes.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;

use common::{Peer, bench, echo, ring_available, serve};
use serde_json::Value;
use tungstenite::http::{HeaderValue, Request, Response};

/// Runs a command for a short time, judged by cost: how much of a busy test machine the client gets must not decide.
fn measure(command: &str, url: &str, args: &[&str]) -> (i32, Value, String) {
    let pid = std::process::id().to_string();
    let flags = ["--server-pid", &pid, "--cost"];
    // `idle` always is.
    let flags = if command == "idle" {
        &flags[..2]
    } else {
        &flags
    };
    bench(&[&[command, url], flags, args].concat())
}

#[track_caller]
fn assert_valid(outcome: (i32, Value, String)) -> Value {
    let (code, summary, errors) = outcome;
    assert_eq!(code, 0, "{errors}\n{summary:#}");
    summary
}

/// Serves each WebSocket with `talk`, after `answer` has looked at the request and changed the response.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn serve_asked(
    answer: impl Fn(&Request<()>, &mut Response<()>) + Send + Sync + 'static,
    talk: impl Fn(Peer) + Send + Sync + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let shared = Arc::new((answer, talk));
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let shared = Arc::clone(&shared);
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let looked = |request: &Request<()>, mut response: Response<()>| {
                    (shared.0)(request, &mut response);
                    Ok(response)
                };
                if let Ok(peer) = tungstenite::accept_hdr(stream, looked) {
                    (shared.1)(peer);
                }
            });
        }
    });
    address
}

/// Answers every connection with these bytes, and then does with it what `after` does.
fn answer_with(answer: &'static str, after: fn(TcpStream)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request);
                let _ = stream.write_all(answer.as_bytes());
                after(stream);
            });
        }
    });
    url
}

/// Keeps the connection until the client ends it.
fn keep(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

/// A load of each kind, which takes next to no time.
const SHORT: [&[&str]; 4] = [
    &["echo", "-c", "2", "-z", "200ms", "--warmup", "0ms"],
    &["broadcast", "-c", "2", "-z", "200ms", "--warmup", "0ms"],
    &["connect", "-c", "100"],
    &["idle", "-c", "2", "-z", "100ms", "--settle", "0ms"],
];

#[test]
fn the_handshake_says_what_it_is_told_to() {
    if !ring_available() {
        return;
    }
    for load in SHORT {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let sight = Arc::clone(&seen);
        let hub = load[0] == "broadcast";
        let talk = |mut peer: Peer| {
            // What one sends all receive is an echo when there is one connection.
            while let Ok(message) = peer.read() {
                if message.is_binary() && peer.send(message).is_err() {
                    return;
                }
            }
        };
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
                let chosen = HeaderValue::from_static("v1.chat");
                response
                    .headers_mut()
                    .insert("sec-websocket-protocol", chosen);
            },
            talk,
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
        assert_valid(measure(load[0], &url, &[rest, alone, &flags].concat()));
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
    let none = serve(|_, peer| echo(peer));
    let other = serve_asked(
        |_, response| {
            let chosen = HeaderValue::from_static("v3.chat");
            response
                .headers_mut()
                .insert("sec-websocket-protocol", chosen);
        },
        echo,
    );
    for (address, why) in [
        (
            none,
            "the server chose none of the subprotocols offered (v1.chat, v2.chat)",
        ),
        (other, "chose a subprotocol that was not offered"),
    ] {
        let url = format!("ws://{address}/");
        let args = ["--subprotocol", "v1.chat", "--subprotocol", "v2.chat"];
        for load in SHORT {
            let (code, _, errors) = measure(load[0], &url, &[&load[1..], &args].concat());
            assert_eq!(code, 1, "{errors}");
            assert!(errors.contains(why), "{errors}");
        }
    }
}

#[test]
fn refusals_are_told_with_status_reason_and_body() {
    if !ring_available() {
        return;
    }
    let cases = [
        (
            answer_with(
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\n\r\n{\"need\": \"token\"}",
                keep,
            ),
            "HTTP status 401 Unauthorized: {\"need\": \"token\"}",
        ),
        (
            answer_with(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: wss://example.org/\r\nContent-Length: 0\r\n\r\n",
                keep,
            ),
            "a redirect to wss://example.org/; redirects are not followed",
        ),
        (
            answer_with(
                "HTTP/1.0 404 File not found\r\nServer: x\r\n\r\nno\r\nsuch\x1b[2J page",
                drop,
            ),
            "HTTP status 404 File not found: no such [2J page",
        ),
        (
            answer_with(
                "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlater\r\n0\r\n\r\n",
                keep,
            ),
            "HTTP status 503 Busy: later",
        ),
        (
            answer_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", keep),
            "is there a WebSocket at this path?: hi",
        ),
        (
            answer_with("", drop),
            "did not answer the upgrade: it ended the connection",
        ),
        (
            answer_with("HTTP/1.1 101 Swi", drop),
            "did not finish its answer to the upgrade: it ended the connection",
        ),
        (
            answer_with("\x15\x03\x01\x00\x02\x02\x0a", keep),
            "the server speaks TLS on this port",
        ),
        (
            answer_with("SSH-2.0-OpenSSH_9.9\r\n", keep),
            "not a valid HTTP/1.1 response",
        ),
    ];
    for (url, why) in cases {
        for load in SHORT {
            let (code, _, errors) = measure(load[0], &url, &load[1..]);
            assert_eq!(code, 1, "{errors}");
            assert!(
                errors.contains(why),
                "{load:?}, expected {why:?}:\n{errors}"
            );
        }
    }
}

#[test]
fn a_server_that_never_finishes_is_given_up() {
    if !ring_available() {
        return;
    }
    let cases = [
        (
            "HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nbegun",
            "HTTP status 403 No: begun",
        ),
        ("", "did not answer the upgrade: nothing came for 10 s"),
        (
            "HTTP/",
            "did not finish its answer to the upgrade: nothing came for 10 s",
        ),
    ];
    thread::scope(|scope| {
        for (answer, why) in cases {
            let url = answer_with(answer, keep);
            for load in SHORT {
                let url = url.clone();
                scope.spawn(move || {
                    let (code, _, errors) = measure(load[0], &url, &load[1..]);
                    assert_eq!(code, 1, "{errors}");
                    assert!(
                        errors.contains(why),
                        "{load:?}, expected {why:?}:\n{errors}"
                    );
                });
            }
        }
    });
}

/// Where `localhost` is ::1, too, and comes first: nobody listens there.
#[test]
fn a_name_with_several_addresses_is_tried_in_turn() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, peer| echo(peer));
    let url = format!("ws://localhost:{}/", address.port());
    assert_valid(measure("echo", &url, &SHORT[0][1..]));
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
    let address = common::hub::serve_on(listener, |hub, payload| hub.send_to_all(payload));
    let url = format!("ws://{address}/");
    assert_valid(measure("broadcast", &url, &SHORT[1][1..]));
    let args = [SHORT[1][1..].to_vec(), vec!["--source-ip", "127.0.0.2"]].concat();
    let (code, _, errors) = measure("broadcast", &url, &args);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("--source-ip"), "{errors}");
}

#[test]
fn flags_that_make_no_sense_are_refused() {
    for (args, why) in [
        (
            &["echo", "ws://127.0.0.1:1/", "-H", "Upgrade: x"][..],
            "handshake",
        ),
        (&["connect", "ws://127.0.0.1:1/", "-H", "nothing"], "colon"),
        (
            &["idle", "ws://127.0.0.1:1/", "--subprotocol", "a b"],
            "token",
        ),
        (
            &["broadcast", "ws://127.0.0.1:1/", "--origin", "a\nb"],
            "line breaks",
        ),
        (&["echo", "tcp://127.0.0.1:1", "-H", "X-A: b"], "use ws://"),
        (&["echo", "ws://127.0.0.1:1/", "--ramp", "1s"], "--rate"),
        (&["echo", "ws://127.0.0.1:1/", "-r", "0..0"], "climbs"),
    ] {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
        assert!(errors.contains(why), "{args:?}: {errors}");
    }
}

#[test]
fn a_rate_can_climb_over_the_measurement() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let args = ["-c", "3", "-r", "0..800", "-z", "500ms", "--warmup", "10ms"];
    let summary = assert_valid(measure("echo", &url, &args));
    // Half of what the end rate would have sent.
    assert_eq!(summary["latency_us"]["corrected"]["count"], 200);
    let parameters = &summary["parameters"];
    assert_eq!(
        (&parameters["rate"], &parameters["rate_to"]),
        (&400.into(), &800.into())
    );
    assert_eq!(parameters["loop"], "open");
}

#[test]
fn a_ramp_comes_before_the_warm_up() {
    if !ring_available() {
        return;
    }
    let counts = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&counts);
    let address = serve(move |_, mut peer| {
        while let Ok(message) = peer.read() {
            if message.is_binary() {
                count.fetch_add(1, Ordering::Relaxed);
                if peer.send(message).is_err() {
                    return;
                }
            }
        }
    });
    let url = format!("ws://{address}/");
    let args = [
        "-c", "3", "-r", "500", "--ramp", "400ms", "--warmup", "100ms", "-z", "300ms",
    ];
    let summary = assert_valid(measure("echo", &url, &args));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 150);
    assert_eq!(summary["parameters"]["ramp_s"], 0.4);
    // 100 on the ramp, 50 in the warm-up.
    assert_eq!(counts.load(Ordering::Relaxed), 300);
}

#[test]
fn a_broadcast_climbs_too() {
    if !ring_available() {
        return;
    }
    let url = format!(
        "ws://{}/",
        common::hub::serve(|hub, payload| hub.send_to_all(payload))
    );
    let args = [
        "-c", "3", "-r", "0..400", "--ramp", "100ms", "--warmup", "100ms", "-z", "500ms",
    ];
    let summary = assert_valid(measure("broadcast", &url, &args));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 300);
    assert_eq!(summary["parameters"]["rate"], 200);
}
