//! `echo` against WebSocket servers that behave well and badly.

mod common;

use std::io::{Read as _, Write as _};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::patience::bench_until;
use common::{
    Outcome, accept_on, answering, assert_clean, assert_unharmed, bench, due, echo, echo_url,
    listener, load, own_pid, ring_available, serve, two_cores, url,
};
use serde_json::Value;
use socket2::{Domain, Socket, Type};
use tungstenite::Message;

fn measure(url: &str, args: &[&str]) -> Outcome {
    common::measure(&[&["echo", url], args].concat())
}

#[test]
fn every_kind_of_message_comes_back() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let cases: [&[&str]; 7] = [
        &["-c", "10", "-s", "512"],
        &["-c", "4", "-s", "0"],
        &["-c", "4", "-s", "20", "--in-flight", "16", "--text"],
        &["-c", "4", "-s", "60000", "--verify", "full"],
        &["-c", "2", "-s", "1m", "-z", "2s"],
        &["-c", "4", "-s", "16k", "--in-flight", "64"],
        &["-c", "40", "--active", "3", "-s", "100"],
    ];
    for args in cases {
        let summary = assert_clean(measure(&url, args));
        assert!(
            summary["messages"]["count"].as_u64().unwrap() >= 100,
            "{summary:#}"
        );
        let latency = &summary["latency_us"]["corrected"];
        assert!(latency["p50"].as_f64().unwrap() > 0.0);
        assert!(latency["max"].as_f64() >= latency["p99"].as_f64());
        assert!(summary["server"]["cpu_us_per_message"].as_f64().unwrap() > 0.0);
        assert_eq!(summary["parameters"]["loop"], "closed");
        assert_eq!(summary["latency_us"]["uncorrected"], Value::Null);
        let phases = &summary["connect_us"];
        for (phase, count) in [
            ("tcp", &summary["parameters"]["connections"]),
            ("upgrade", &summary["parameters"]["connections"]),
            ("first_message", active(&summary)),
        ] {
            assert_eq!(&phases[phase]["count"], count, "{phase}: {summary:#}");
        }
    }
}

fn active(summary: &Value) -> &Value {
    let parameters = &summary["parameters"];
    parameters
        .get("active")
        .unwrap_or(&parameters["connections"])
}

#[test]
fn several_threads_share_the_connections() {
    let Some(cores) = two_cores() else {
        return;
    };
    let args = ["-c", "7", "--cores", &cores, "--in-flight", "2"];
    let summary = assert_clean(measure(&echo_url(), &args));
    assert_eq!(summary["client"]["threads"], 2);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let args = ["echo", &url, "-c", "10", "-r", "500", "-z", "1s"];
    let rate = |summary: &Value| summary["messages"]["per_second"].as_f64().unwrap();
    // A machine that stands still for a while moves messages out of the window or into it: of a longer one those are fewer.
    let is_kept = |summary: &Value| (450.0..550.0).contains(&rate(summary));
    let kept = |outcome: &Outcome| outcome.0 == 0 && is_kept(&outcome.1);
    let summary = assert_clean(bench_until(&load(&args, &own_pid()), kept));
    assert!(is_kept(&summary), "{} per second of 500", rate(&summary));
    assert_eq!(summary["parameters"]["loop"], "open");
    assert_eq!(summary["latency_us"]["corrected"]["count"], due(&summary));
}

/// Coordinated omission: a client that waits for a stalled server sends less, and sees one slow reply
/// where users would have seen hundreds. The corrected figures must show them.
#[test]
fn a_stall_shows_in_the_corrected_latency() {
    if !ring_available() {
        return;
    }
    let url = answering(|_, number, message| {
        if number == 40 {
            thread::sleep(Duration::from_millis(800));
        }
        vec![message]
    });
    let args = ["-c", "1", "-r", "200", "--in-flight", "1", "-z", "2s"];
    let summary = assert_unharmed(bench(&load(
        &[&["echo", &*url][..], &args].concat(),
        &own_pid(),
    )));
    let at = |which: &str| summary["latency_us"][which]["p90"].as_f64().unwrap();
    // 160 of 400 messages were due during the stall: one in ten waited 600 ms or more.
    assert!(at("corrected") > 600_000.0, "{summary:#}");
    assert!(at("uncorrected") < at("corrected") / 2.0, "{summary:#}");
    assert_eq!(summary["latency_us"]["corrected"]["count"], due(&summary));
}

/// Runs until a message or a connection was not as it should be.
fn until_wrong(url: &str, args: &[&str]) -> Outcome {
    let args = [&["echo", url], args].concat();
    let wrong = |(_, summary, _): &Outcome| {
        let kinds = ["broken", "lost", "duplicated", "reordered"];
        kinds.iter().any(|kind| summary["errors"][kind] != 0)
    };
    bench_until(&load(&args, &own_pid()), wrong)
}

#[test]
fn a_garbled_reply_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let seen = AtomicU64::new(0);
    let url = answering(move |_, _, message| {
        let mut bytes = message.into_data().to_vec();
        if seen.fetch_add(1, Ordering::Relaxed) == 50 {
            bytes[100] ^= 1;
        }
        vec![Message::binary(bytes)]
    });
    let (code, summary, errors) = until_wrong(&url, &["-c", "3"]);
    assert_eq!(code, 5, "{errors}");
    assert_eq!(summary["valid"], false);
    assert_eq!(summary["errors"]["broken"], 1);
    let reason = summary["errors"]["reasons"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("differs from what was sent"), "{reason}");
    assert!(errors.contains("invalid run"), "{errors}");
}

#[test]
fn a_lost_reply_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let url = answering(
        |connection, number, message| match (connection % 3, number) {
            (0, 10) => Vec::new(),
            _ => vec![message],
        },
    );
    let (code, summary, _) = until_wrong(&url, &["-c", "3"]);
    assert_eq!(code, 5);
    assert_eq!(summary["errors"]["lost"], 1);
}

#[test]
fn a_reply_too_many_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let url = answering(|_, number, message| match number {
        10 => vec![message; 2],
        _ => vec![message],
    });
    let (code, summary, _) = until_wrong(&url, &["-c", "1"]);
    assert_eq!(code, 5, "{summary:#}");
    // Whether the next message was on the way when it came decides which of the two it is.
    let errors = |kind: &str| summary["errors"][kind].as_u64().unwrap();
    assert_eq!(errors("broken") + errors("duplicated"), 1, "{summary:#}");
}

#[test]
fn pings_in_between_are_answered() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let (mut pinged, mut answered) = (0, 0);
        while let Ok(message) = peer.read() {
            match message {
                Message::Pong(payload) if payload.len() == 2 => answered += 1,
                Message::Binary(_) => {
                    if pinged < 20 {
                        pinged += 1;
                        peer.send(Message::Ping(vec![1, 2].into())).unwrap();
                    } else if pinged - answered > 10 {
                        // Unanswered: end the connection, which the harness reports.
                        return;
                    }
                    if peer.send(message).is_err() {
                        return;
                    }
                }
                _ => {}
            }
        }
    });
    assert_clean(measure(&url(address), &["-c", "2", "--in-flight", "4"]));
}

#[test]
fn missing_connections_spoil_the_run() {
    if !ring_available() {
        return;
    }
    let address = serve(|number, peer| {
        if number != 3 {
            echo(peer);
        }
    });
    let (code, summary, _) = measure(&url(address), &["-c", "6"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["valid"], false);
    let reason = summary["reasons"][0]["kind"].as_str().unwrap();
    assert!(
        matches!(reason, "connections-missing" | "errors"),
        "{reason}"
    );
}

#[test]
fn a_server_that_refuses_the_upgrade_is_named() {
    if !ring_available() {
        return;
    }
    let address = accept_on(listener(), |_, mut stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    let (code, summary, errors) = measure(&url(address), &["-c", "3"]);
    assert_eq!((code, summary), (1, Value::Null));
    assert!(errors.contains("404"), "{errors}");
}

#[test]
fn nobody_listening_is_an_error() {
    if !ring_available() {
        return;
    }
    // The port is taken as long as the socket is there, so nobody else comes to listen on it.
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    socket.bind(&any.into()).unwrap();
    let address = socket.local_addr().unwrap().as_socket().unwrap();
    let (code, _, errors) = measure(&url(address), &["-c", "3"]);
    assert_eq!(code, 1);
    assert!(errors.contains("refused"), "{errors}");
}

#[test]
fn bad_flags_are_told_apart() {
    for args in [
        &["echo", "ws://127.0.0.1:1/", "--in-fligth", "2"][..],
        &["echo", "wss://127.0.0.1:1/"],
        &["echo", "ws://127.0.0.1:1/", "-c", "5", "--active", "6"],
        &["echo", "ws://127.0.0.1:1/", "-z", "10"],
        &["echo", "ws://127.0.0.1:1/", "--server-pid", "5000000"],
        &["echo", "ws://127.0.0.1:1/", "-c", "100m"],
        &["idle", "ws://127.0.0.1:1/"],
    ] {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
    }
}
