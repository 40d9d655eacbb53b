//! `--deflate` against servers that compress, and that do it badly or not at all.

mod common;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::deflating::{
    self, COMPRESSED_BINARY, COMPRESSED_TEXT, Conn, YES, broadcasting, deflated, frame, inflated,
};
use common::patience::{bench_stretched, bench_until, lengthen, run_long_enough};
use common::{Outcome, bench, echo_url, load, own_pid, ring_available, url};
use serde_json::Value;

/// Runs the harness with --deflate.
fn measure(command: &str, address: SocketAddr, args: &[&str]) -> Outcome {
    common::measure(&[&[command, &url(address), "--deflate"], args].concat())
}

fn assert_clean(outcome: Outcome) -> Value {
    let summary = common::assert_clean(outcome);
    assert_eq!(summary["parameters"]["deflate"], true);
    summary
}

/// A server that echoes what comes compressed, after `change` has had the message: the reply's first byte and payload.
fn echoing(change: impl Fn(u8, Vec<u8>) -> (u8, Vec<u8>) + Send + Sync + 'static) -> SocketAddr {
    deflating::serve(Some(YES), move |mut conn: Conn| {
        while let Some((first, payload)) = conn.read() {
            assert!(matches!(first, COMPRESSED_TEXT | COMPRESSED_BINARY));
            let (first, payload) = change(first, inflated(&payload));
            conn.write(first, &payload);
        }
    })
}

/// The reason of the first error.
fn reason(summary: &Value) -> &str {
    let reason = summary["errors"]["reasons"][0]["reason"].as_str();
    reason.unwrap_or_else(|| panic!("no reason: {summary:#}"))
}

#[test]
fn compressed_echoes_are_checked_and_counted() {
    if !ring_available() {
        return;
    }
    let address = echoing(|first, message| (first, deflated(&message)));
    let cases: [(&[&str], &str); 4] = [
        (&["-s", "4k", "--payload", "json"], "text"),
        (
            &["-s", "256", "--payload", "json", "--in-flight", "8"],
            "text",
        ),
        (&["-s", "64k", "--payload", "json", "-z", "3s"], "text"),
        (&["-s", "3000"], "binary"),
    ];
    for (args, opcode) in cases {
        let args = [args, &["-c", "4"]].concat();
        let summary = assert_clean(measure("echo", address, &args));
        assert_eq!(summary["parameters"]["opcode"], opcode);
        let part = &summary["compression"];
        let (came, inflated) = (
            part["compressed"].as_u64().unwrap(),
            part["inflated"].as_u64().unwrap(),
        );
        assert_eq!(part["uncompressed"], 0);
        assert!(came >= summary["messages"]["count"].as_u64().unwrap());
        // Each of the payloads that take turns was inflated once, although four connections received it.
        assert!((2..=7).contains(&inflated), "{args:?}: {part:#}");
        let payload = part["payload_bytes_per_message"].as_f64().unwrap();
        let wire = part["wire_bytes_per_message"].as_f64().unwrap();
        let ratio = part["ratio"].as_f64().unwrap();
        assert!((ratio - payload / wire).abs() < 0.001, "{part:#}");
        let expected = if opcode == "text" {
            1.05..6.0
        } else {
            0.9..1.0
        };
        assert!(expected.contains(&ratio), "{args:?}: {part:#}");
    }
}

/// The bytes on the wire are those that came, headers included.
#[test]
fn bytes_on_the_wire_are_counted_exactly() {
    if !ring_available() {
        return;
    }
    let attempt = |times| {
        let seen = Arc::new(Mutex::new((0, HashMap::new())));
        let counted = Arc::clone(&seen);
        let address = echoing(move |first, message| {
            let payload = deflated(&message);
            let mut counted = counted.lock().unwrap();
            counted.0 += 1;
            counted.1.insert(message, frame(first, &payload).len());
            (first, payload)
        });
        let (url, pid) = (url(address), own_pid());
        let args = [
            "echo",
            &url,
            "--deflate",
            "-c",
            "3",
            "-s",
            "1000",
            "--payload",
            "json",
        ];
        let outcome = bench_stretched(&load(&args, &pid), times);
        let seen = seen.lock().unwrap().clone();
        (outcome, seen)
    };
    let valid = |(outcome, _): &(Outcome, _)| outcome.0 == 0;
    let (outcome, (messages, frames)) = lengthen(attempt, valid);
    let summary = assert_clean(outcome);
    let part = &summary["compression"];
    assert_eq!(part["compressed"], messages);
    assert_eq!(frames.len(), 7, "payloads that take turns");
    let mean = frames.values().sum::<usize>() as f64 / 7.0;
    let told = part["wire_bytes_per_message"].as_f64().unwrap();
    assert!((told - mean).abs() < 1e-6, "{told} instead of {mean}");
}

#[test]
fn a_server_that_compresses_nothing_is_found_out() {
    if !ring_available() {
        return;
    }
    let address = echoing(|first, message| (first & !0x40, message));
    let url = url(address);
    let args = ["echo", &url, "--deflate", "-c", "2", "--payload", "json"];
    let came = |(_, summary, _): &Outcome| summary["compression"]["uncompressed"].as_u64();
    let enough = |outcome: &Outcome| came(outcome) > Some(100);
    let outcome = bench_until(&load(&args, &own_pid()), enough);
    assert!(enough(&outcome), "{:#}", outcome.1);
    let (code, summary, errors) = outcome;
    assert_eq!(code, 5, "{errors}");
    let reasons = summary["reasons"].as_array().unwrap();
    let is_told = |reason: &Value| reason["kind"] == "nothing-compressed";
    assert!(reasons.iter().any(is_told), "{errors}");
    assert_eq!(summary["errors"]["broken"], 0, "the replies were right");
    assert_eq!(summary["compression"]["compressed"], 0);
}

#[test]
fn some_uncompressed_replies_are_counted_and_do_no_harm() {
    if !ring_available() {
        return;
    }
    let turn = Mutex::new(0);
    let address = echoing(move |first, message| {
        let mut turn = turn.lock().unwrap();
        *turn += 1;
        match *turn % 3 {
            0 => (first & !0x40, message),
            _ => (first, deflated(&message)),
        }
    });
    let args = ["-c", "3", "-s", "2000", "--payload", "json"];
    let summary = assert_clean(measure("echo", address, &args));
    let count = |name: &str| summary["compression"][name].as_f64().unwrap();
    let share = count("uncompressed") / (count("uncompressed") + count("compressed"));
    assert!((share - 1.0 / 3.0).abs() < 0.05, "{summary:#}");
}

#[test]
fn garbage_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let address = echoing(|first, _| (first, vec![0xff; 50]));
    let (code, summary, _) = measure("echo", address, &["-c", "2"]);
    assert_eq!(code, 5);
    assert_eq!(reason(&summary), "a compressed message does not inflate");

    let address = echoing(|first, message| (first, deflated(&[&message[..], b"!"].concat())));
    let (code, summary, _) = measure("echo", address, &["-c", "2"]);
    assert_eq!(code, 5);
    assert!(reason(&summary).contains("more than 512 bytes"));

    let address = echoing(|first, mut message| {
        message[100] ^= 1;
        (first, deflated(&message))
    });
    let (code, summary, _) = measure("echo", address, &["-c", "2"]);
    assert_eq!(code, 5);
    assert!(reason(&summary).contains("differs from what was sent"));
}

#[test]
fn a_server_that_does_not_agree_is_an_error() {
    if !ring_available() {
        return;
    }
    let refusing = deflating::serve(None, |mut conn| while conn.read().is_some() {});
    for command in ["echo", "broadcast", "idle"] {
        let (code, summary, errors) = measure(command, refusing, &["-c", "2"]);
        assert_eq!((code, summary), (1, Value::Null), "{command}: {errors}");
        assert!(errors.contains("did not agree to compress"), "{errors}");
    }
    let wrong = [
        ("permessage-deflate", "server_no_context_takeover"),
        (
            "permessage-deflate; server_no_context_takeover; client_max_window_bits=10",
            "client_max_window_bits",
        ),
        ("x-webkit-deflate-frame", "extension"),
    ];
    for (answer, named) in wrong {
        let address = deflating::serve(Some(answer), |mut conn| while conn.read().is_some() {});
        let (code, _, errors) = measure("echo", address, &["-c", "2"]);
        assert_eq!(code, 1, "{answer}: {errors}");
        assert!(errors.contains(named), "{answer}: {errors}");
    }
}

#[test]
fn without_the_flag_nothing_is_offered() {
    if !ring_available() {
        return;
    }
    // Agrees to what was not asked for.
    let address = deflating::serve(Some(YES), |mut conn| while conn.read().is_some() {});
    let (code, _, errors) = bench(&["echo", &url(address), "-c", "2", "-z", "200ms"]);
    assert_eq!(code, 1, "{errors}");
    assert!(errors.contains("not offered"), "{errors}");
}

fn publish(address: SocketAddr, args: &[&str]) -> (i32, Value, String) {
    let publishers = format!("ws://{address}/?pub=a");
    let publish_url = ["--publish-url", publishers.as_str()];
    let all = args.contains(&"--all-publish");
    let args = [args, if all { &[] } else { &publish_url[..] }].concat();
    measure("broadcast", address, &args)
}

#[test]
fn compressed_broadcasts_are_inflated_once() {
    if !ring_available() {
        return;
    }
    let address = broadcasting(|_, _, frame| frame);
    let cases: [&[&str]; 4] = [
        &["-c", "20", "-s", "4k", "--payload", "json"],
        &["-c", "20", "-s", "200", "--payload", "json", "-r", "200"],
        &["-c", "10", "-s", "1k", "--payload", "json", "--all-publish"],
        &["-c", "10", "-s", "1k", "--burst", "5"],
    ];
    for args in cases {
        let summary = assert_clean(publish(address, args));
        assert_eq!(summary["broadcast"]["lost"], 0);
        assert_eq!(summary["broadcast"]["duplicated"], 0);
        let part = &summary["compression"];
        let count = |name: &str| part[name].as_u64().unwrap();
        let subscribers = summary["parameters"]["connections"].as_u64().unwrap();
        assert_eq!(count("uncompressed"), 0);
        // Every message that was published came to every subscriber, and was inflated for one of them.
        assert_eq!(
            count("compressed"),
            subscribers * count("inflated"),
            "{args:?}"
        );
        assert!(count("inflated") > 0, "{args:?}");
    }
}

#[test]
fn a_broadcast_that_differs_for_one_is_found() {
    if !ring_available() {
        return;
    }
    let address = broadcasting(|number, _, frame| {
        if number == 3 {
            deflating::frame(COMPRESSED_BINARY, &deflated(&[7; 1024]))
        } else {
            frame
        }
    });
    let (code, summary, _) = publish(address, &["-c", "8", "-s", "1k"]);
    assert_eq!(code, 5, "{summary:#}");
    assert_eq!(summary["errors"]["broken"], 1);
    assert!(reason(&summary).contains("differs"), "{summary:#}");
}

#[test]
fn the_page_tells_the_ratio() {
    if !ring_available() {
        return;
    }
    let address = echoing(|first, message| (first, deflated(&message)));
    let (url, pid) = (url(address), own_pid());
    let flags = ["--deflate", "--payload", "json", "-s", "4k", "-c", "2"];
    let args = load(&[&["echo", &url], &flags[..]].concat(), &pid);
    let output = run_long_enough(&args);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("4096 B JSON") && text.contains(" B compressed, with the frame header"));
    assert!(text.contains("came per message of 4096 B = "), "{text}");
}

#[test]
fn flags_that_cannot_be_met_are_refused() {
    let plain = echo_url();
    for args in [
        &["echo", "tcp://127.0.0.1:1", "--deflate"][..],
        &[
            "idle",
            "tcp://127.0.0.1:1",
            "--deflate",
            "--server-pid",
            "1",
        ],
        &["echo", &plain, "--payload", "json", "-s", "10"],
        &["broadcast", &plain, "--payload", "json", "-s", "64"],
        &["echo", &plain, "--payload", "yaml"],
    ] {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
    }
}

#[test]
fn idle_connections_take_what_comes_compressed() {
    if !ring_available() {
        return;
    }
    let address = deflating::serve(Some(YES), |mut conn| {
        for _ in 0..3 {
            conn.write(COMPRESSED_TEXT, &deflated(b"a notice, a notice, a notice"));
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        while conn.read().is_some() {}
    });
    let (code, summary, errors) = bench(&[
        "idle",
        &format!("ws://{address}/"),
        "--deflate",
        "-c",
        "5",
        "--settle",
        "0ms",
        "-z",
        "500ms",
        "--server-pid",
        &std::process::id().to_string(),
    ]);
    assert!(matches!(code, 0 | 5), "{errors}");
    assert_eq!(summary["errors"]["broken"], 0, "{errors}{summary:#}");
    assert_eq!(summary["connections"]["lost"], 0);
}
