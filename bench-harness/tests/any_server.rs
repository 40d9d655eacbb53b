//! Servers that are not Corecast, and loads of many shapes.

mod common;

use std::io::{Read, Write};
use std::net::{Ipv6Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use common::{Peer, bench, echo, ring_available, serve, serve_asked};
use serde_json::Value;
use tungstenite::Message;
use tungstenite::http::HeaderValue;

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

/// Nothing went wrong. On a busy test machine a run may still be short of messages within its window.
#[track_caller]
fn assert_clean(outcome: (i32, Value, String)) -> Value {
    let (code, summary, errors) = outcome;
    assert!(matches!(code, 0 | 5), "{errors}\n{summary:#}");
    for reason in summary["reasons"].as_array().unwrap() {
        let kind = reason["kind"].as_str().unwrap();
        assert!(
            !matches!(kind, "errors" | "connections-missing"),
            "{errors}\n{summary:#}"
        );
    }
    let faults = &summary["errors"];
    for kind in ["refused", "broken", "lost", "duplicated", "reordered"] {
        assert_eq!(faults[kind].as_u64().unwrap_or(0), 0, "{kind}: {summary:#}");
    }
    summary
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
        assert_clean(measure(load[0], &url, &[rest, alone, &flags].concat()));
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
    assert_clean(measure("echo", &url, &SHORT[0][1..]));
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
    assert_clean(measure("broadcast", &url, &SHORT[1][1..]));
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
        (
            &["echo", "ws://127.0.0.1:1/", "--think", "1s", "-r", "5"],
            "--think",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--think", "2s..1s"],
            "shorter",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--text", "--binary"],
            "--binary",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--payload", "file:/nowhere"],
            "/nowhere: cannot be read",
        ),
        (
            &[
                "echo",
                "ws://127.0.0.1:1/",
                "--payload",
                "lines:Cargo.toml",
                "-s",
                "5",
            ],
            "leave --size out",
        ),
        (
            &["echo", "ws://127.0.0.1:1/", "--payload", "yaml"],
            "lines:PATH",
        ),
        (
            &[
                "echo",
                "ws://127.0.0.1:1/",
                "--payload",
                "json",
                "-s",
                "64,5",
            ],
            "at least",
        ),
        (&["echo", "tcp://127.0.0.1:1", "--skip", "1"], "use ws://"),
        (&["echo", "tcp://127.0.0.1:1", "--hello", "x"], "use ws://"),
        (
            &["broadcast", "ws://127.0.0.1:1/", "-s", "64,128"],
            "give one --size",
        ),
        (
            &[
                "broadcast",
                "ws://127.0.0.1:1/",
                "--payload",
                "lines:Cargo.toml",
            ],
            "file:PATH",
        ),
        (
            &["broadcast", "ws://127.0.0.1:1/", "--text", "-s", "56"],
            "at least 57",
        ),
    ] {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
        assert!(errors.contains(why), "{args:?}: {errors}");
    }
}

/// A file that is removed in the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str, bytes: &[u8]) -> Self {
        let name = format!("corecast-bench-any-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        Self(path)
    }

    fn payload(&self, kind: &str) -> String {
        format!("{kind}:{}", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is in a folder for such things.
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Messages as a server saw them: their lengths, and whether they were text.
type Seen = Arc<Mutex<Vec<(usize, bool)>>>;

/// Serves echo, and keeps what came.
fn serve_and_look() -> (String, Seen) {
    let seen = Seen::default();
    let sight = Arc::clone(&seen);
    let address = serve(move |_, mut peer| {
        while let Ok(message) = peer.read() {
            if message.is_text() || message.is_binary() {
                sight
                    .lock()
                    .unwrap()
                    .push((message.len(), message.is_text()));
                if peer.send(message).is_err() {
                    return;
                }
            }
        }
    });
    (format!("ws://{address}/"), seen)
}

#[test]
fn every_payload_is_sent_and_comes_back() {
    if !ring_available() {
        return;
    }
    let lines = Scratch::new(
        "lines",
        "{\"join\": \"café\"}\n\n{\"say\": \"hi\"}\r\nx\n".as_bytes(),
    );
    let file = Scratch::new("file", &[0xff; 700]);
    let (lines, file) = (lines.payload("lines"), file.payload("file"));
    let cases: [(&[&str], &[usize], bool); 8] = [
        (
            &["-s", "64,1k,70000", "--in-flight", "3"],
            &[64, 1024, 70_000],
            false,
        ),
        (&["--text", "-s", "10,0"], &[10, 0], true),
        (&["--payload", "text", "-s", "300"], &[300], true),
        (&["--payload", "zero"], &[512], false),
        (
            &["--payload", "json", "--binary", "-s", "100,200"],
            &[100, 200],
            false,
        ),
        (
            &["--payload", &lines, "--in-flight", "8"],
            &[17, 13, 1],
            true,
        ),
        (&["--payload", &lines, "--binary"], &[17, 13, 1], false),
        (
            &["--payload", &file, "--binary", "--verify", "full"],
            &[700],
            false,
        ),
    ];
    for (args, lengths, text) in cases {
        let (url, seen) = serve_and_look();
        let rate = ["-c", "1", "-r", "600", "-z", "300ms", "--warmup", "0ms"];
        let summary = assert_clean(measure("echo", &url, &[args, &rate].concat()));
        let seen = seen.lock().unwrap();
        assert!(seen.len() >= 100, "{args:?}");
        for (number, message) in seen.iter().enumerate() {
            assert_eq!(
                *message,
                (lengths[number % lengths.len()], text),
                "{args:?}"
            );
        }
        let mean = lengths.iter().sum::<usize>() as f64 / lengths.len() as f64;
        let parameters = &summary["parameters"];
        assert_eq!(parameters["payload_bytes"], mean.round() as u64);
        assert_eq!(parameters.get("payload_range").is_some(), lengths.len() > 1);
    }
}

#[test]
fn every_payload_can_be_published() {
    if !ring_available() {
        return;
    }
    let file = Scratch::new("cast", "{\"say\": \"café\"}".as_bytes());
    let file = file.payload("file");
    let cases: [(&[&str], usize); 7] = [
        (&[], 64),
        (&["--payload", "text"], 64),
        (&["--payload", "zero", "-s", "28"], 28),
        (&["--payload", "json"], 91),
        (&["--payload", "json", "--binary", "-s", "300"], 300),
        (&["--payload", &file], 57 + 16),
        (&["--payload", &file, "--binary"], 28 + 16),
    ];
    for (args, len) in cases {
        let address = serve_asked(
            |_, _| {},
            |mut peer| {
                while let Ok(message) = peer.read() {
                    if !message.is_close() && peer.send(message).is_err() {
                        return;
                    }
                }
            },
        );
        // One that publishes to itself: then everybody has it.
        let alone = [
            "-c",
            "1",
            "--all-publish",
            "-r",
            "500",
            "-z",
            "300ms",
            "--warmup",
            "0ms",
        ];
        let url = format!("ws://{address}/");
        let summary = assert_clean(measure("broadcast", &url, &[args, &alone].concat()));
        assert_eq!(summary["parameters"]["payload_bytes"], len, "{args:?}");
        assert_eq!(summary["latency_us"]["corrected"]["count"], 150, "{args:?}");
    }
}

#[test]
fn users_think_before_they_go_on() {
    if !ring_available() {
        return;
    }
    for think in ["100ms", "50ms..150ms"] {
        let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
        let args = [
            "-c", "60", "--think", think, "-z", "500ms", "--warmup", "0ms",
        ];
        let summary = assert_clean(measure("echo", &url, &args));
        // Without thought, thousands; with it, at most the first and one per thought (at least 50 ms) and connection.
        let count = summary["messages"]["count"].as_u64().unwrap();
        let most = if think == "100ms" { 60 * 6 } else { 60 * 11 };
        assert!((1..=most).contains(&count), "{think}: {count}");
        let fastest = summary["latency_us"]["corrected"]["min"].as_f64().unwrap();
        assert!(
            fastest < 50_000.0,
            "{think}: {fastest} us, a thought is in it"
        );
        assert_eq!(
            summary["parameters"]["think_s"].as_array().unwrap().len(),
            2
        );
    }
}

#[test]
fn connections_are_opened_at_a_rate() {
    if !ring_available() {
        return;
    }
    for load in &SHORT[..2] {
        let begun = Arc::new(Mutex::new(Vec::new()));
        let times = Arc::clone(&begun);
        let address = serve(move |_, peer| {
            times.lock().unwrap().push(Instant::now());
            echo(peer);
        });
        let url = format!("ws://{address}/");
        let alone: &[&str] = if load[0] == "broadcast" {
            &[
                "--warmup",
                "0ms",
                "-z",
                "100ms",
                "-c",
                "21",
                "--publishers",
                "1",
            ]
        } else {
            &["--warmup", "0ms", "-z", "100ms", "-c", "22"]
        };
        // What an echo does to a broadcast does not matter here.
        let (code, summary, errors) =
            measure(load[0], &url, &[alone, &["--connect-rate", "100"]].concat());
        assert!(matches!(code, 0 | 5), "{errors}");
        assert_eq!(summary["parameters"]["connect_rate"], 100);
        let begun = begun.lock().unwrap();
        assert_eq!(begun.len(), 22);
        let (first, last) = (begun.iter().min().unwrap(), begun.iter().max().unwrap());
        // 22 connections are begun within 210 ms; the first may have been slow.
        assert!(
            last.duration_since(*first) > Duration::from_millis(100),
            "{:?}",
            last.duration_since(*first)
        );
    }
}

/// Greets, wants to be told who is there, answers that in two messages, and echoes.
fn reserved(mut peer: Peer) {
    peer.send(Message::text("welcome")).unwrap();
    let mut known = 0;
    while let Ok(message) = peer.read() {
        match (known, message) {
            (2, message) if message.is_text() || message.is_binary() => {
                if peer.send(message).is_err() {
                    return;
                }
            }
            (0, Message::Text(text)) if text == "login me" => known = 1,
            (1, Message::Text(text)) if text == "join room" => {
                known = 2;
                peer.send(Message::binary(vec![1; 300])).unwrap();
                peer.send(Message::Ping(vec![1].into())).unwrap();
                peer.send(Message::text("")).unwrap();
            }
            (_, message) => assert!(!message.is_text() && !message.is_binary(), "{message:?}"),
        }
    }
}

#[test]
fn a_server_that_greets_is_heard_out() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| reserved(peer)));
    let hello = ["--hello", "login me", "--hello", "join room"];
    let skip = ["--skip", "3"];
    let quick = ["-z", "200ms", "--warmup", "0ms", "-r", "600"];
    assert_clean(measure(
        "echo",
        &url,
        &[&["-c", "4"][..], &hello, &skip, &quick].concat(),
    ));
    let alone = ["-c", "1", "--all-publish"];
    assert_clean(measure(
        "broadcast",
        &url,
        &[&alone[..], &hello, &skip, &quick].concat(),
    ));
    // These ask for nothing.
    let summary = assert_clean(measure("idle", &url, &[&SHORT[3][1..], &hello].concat()));
    assert_eq!(summary["parameters"]["hello"], 2);
    assert_clean(measure("connect", &url, &["-c", "100"]));
    let (code, _, errors) = measure(
        "echo",
        &url,
        &[&["-c", "2", "--skip", "4"][..], &hello, &quick].concat(),
    );
    assert_eq!(code, 1, "{errors}");
    assert!(
        errors.contains("2 connections have not received as many messages as --skip says"),
        "{errors}"
    );
}

#[test]
fn a_rate_can_climb_over_the_measurement() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let args = ["-c", "3", "-r", "0..800", "-z", "500ms", "--warmup", "10ms"];
    let summary = assert_clean(measure("echo", &url, &args));
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
    let summary = assert_clean(measure("echo", &url, &args));
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
    let summary = assert_clean(measure("broadcast", &url, &args));
    assert_eq!(summary["latency_us"]["corrected"]["count"], 300);
    assert_eq!(summary["parameters"]["rate"], 200);
}
