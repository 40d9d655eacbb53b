//! `echo` against WebSocket servers that behave well and badly.

mod common;

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{bench, echo, ring_available, serve};
use serde_json::Value;
use tungstenite::Message;

/// The in-test server lives in this process. `--cost`: how much of a busy test machine the client gets must not decide.
fn cost_flags() -> [String; 3] {
    [
        "--cost".into(),
        "--server-pid".into(),
        std::process::id().to_string(),
    ]
}

fn measure(url: &str, args: &[&str]) -> (i32, Value, String) {
    let flags = cost_flags();
    let mut all = vec!["echo", url, "--warmup", "100ms"];
    if !args.contains(&"-z") {
        all.extend(["-z", "400ms"]);
    }
    all.extend(flags.iter().map(String::as_str));
    all.extend(args);
    bench(&all)
}

fn assert_clean(args: &[&str], outcome: (i32, Value, String)) -> Value {
    let (code, summary, errors) = outcome;
    assert_eq!(code, 0, "{args:?}: {errors}\n{summary:#}");
    assert_eq!(summary["valid"], true);
    assert_eq!(summary["errors"]["broken"], 0);
    assert_eq!(summary["errors"]["lost"], 0);
    assert!(
        summary["messages"]["count"].as_u64().unwrap() >= 100,
        "{summary:#}"
    );
    summary
}

#[test]
fn every_kind_of_message_comes_back() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/echo", serve(|_, peer| echo(peer)));
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
        let summary = assert_clean(args, measure(&url, args));
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
    let cores = core_affinity::get_core_ids().unwrap();
    if !ring_available() || cores.len() < 2 {
        println!("skipped: takes io_uring and two processors");
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let list = format!("{},{}", cores[0].id, cores[1].id);
    let args = ["-c", "7", "--cores", &list, "--in-flight", "2"];
    let summary = assert_clean(&args, measure(&url, &args));
    assert_eq!(summary["client"]["threads"], 2);
}

#[test]
fn an_open_loop_keeps_its_rate() {
    if !ring_available() {
        return;
    }
    let url = format!("ws://{}/", serve(|_, peer| echo(peer)));
    let args = ["-c", "10", "-r", "500", "-z", "1s"];
    let summary = assert_clean(&args, measure(&url, &args));
    let rate = summary["messages"]["per_second"].as_f64().unwrap();
    assert!((450.0..550.0).contains(&rate), "{rate} per second of 500");
    assert_eq!(summary["parameters"]["loop"], "open");
    assert_eq!(summary["latency_us"]["corrected"]["count"], 500);
}

/// Coordinated omission: a client that waits for a stalled server sends less, and sees one slow reply
/// where users would have seen hundreds. The corrected figures must show them.
#[test]
fn a_stall_shows_in_the_corrected_latency() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let mut count = 0;
        while let Ok(message) = peer.read() {
            count += 1;
            if count == 400 {
                thread::sleep(Duration::from_millis(400));
            }
            if message.is_binary() && peer.send(message).is_err() {
                return;
            }
        }
    });
    let url = format!("ws://{address}/");
    let args = ["-c", "1", "-r", "1000", "--in-flight", "1", "-z", "1s"];
    let summary = assert_clean(&args, measure(&url, &args));
    let at = |which: &str| summary["latency_us"][which]["p90"].as_f64().unwrap();
    // 400 of 1000 messages were due during the stall: one in ten waited 300 ms or more.
    assert!(at("corrected") > 200_000.0, "{summary:#}");
    assert!(at("uncorrected") < 100_000.0, "{summary:#}");
    assert_eq!(summary["latency_us"]["corrected"]["count"], 1000);
}

#[test]
fn a_garbled_reply_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let seen = AtomicU64::new(0);
    let address = serve(move |_, mut peer| {
        while let Ok(message) = peer.read() {
            let Message::Binary(bytes) = message else {
                return;
            };
            let mut bytes = bytes.to_vec();
            if seen.fetch_add(1, Ordering::Relaxed) == 50 {
                bytes[100] ^= 1;
            }
            if peer.send(Message::binary(bytes)).is_err() {
                return;
            }
        }
    });
    let (code, summary, errors) = measure(&format!("ws://{address}/"), &["-c", "3"]);
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
    let address = serve(|number, mut peer| {
        let mut count = 0;
        while let Ok(message) = peer.read() {
            count += 1;
            let swallowed = number == 0 && count == 10;
            if message.is_binary() && !swallowed && peer.send(message).is_err() {
                return;
            }
        }
    });
    let (code, summary, _) = measure(&format!("ws://{address}/"), &["-c", "3"]);
    assert_eq!(code, 5);
    assert_eq!(summary["errors"]["lost"], 1);
}

#[test]
fn a_reply_too_many_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let mut count = 0;
        while let Ok(message) = peer.read() {
            count += 1;
            let twice = count == 10 && peer.send(message.clone()).is_err();
            if twice || peer.send(message).is_err() {
                return;
            }
        }
    });
    let (code, summary, _) = measure(&format!("ws://{address}/"), &["-c", "1"]);
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
    let url = format!("ws://{address}/");
    assert_clean(
        &["-c", "2"],
        measure(&url, &["-c", "2", "--in-flight", "4"]),
    );
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
    let (code, summary, _) = measure(&format!("ws://{address}/"), &["-c", "6"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["valid"], false);
}

#[test]
fn a_server_that_refuses_the_upgrade_is_named() {
    use std::io::{Read, Write};
    if !ring_available() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let (code, summary, errors) = measure(&url, &["-c", "3"]);
    assert_eq!((code, summary), (1, Value::Null));
    assert!(errors.contains("404"), "{errors}");
}

#[test]
fn nobody_listening_is_an_error() {
    if !ring_available() {
        return;
    }
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("ws://{}/", listener.local_addr().unwrap());
    drop(listener);
    let (code, _, errors) = measure(&url, &["-c", "3"]);
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
