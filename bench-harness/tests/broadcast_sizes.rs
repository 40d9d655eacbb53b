//! `broadcast` with messages of several sizes, and with the lines of a file.

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::deflating::broadcasting;
use common::hub;
use common::{bench, echo, ring_available, serve};
use serde_json::Value;
use tempfile::NamedTempFile;

const SIZES: [usize; 3] = [64, 512, 4096];

/// A run with publishers apart. `--cost`: how much of a busy test machine the client gets must not decide.
fn measure(address: SocketAddr, args: &[&str]) -> (i32, Value, String) {
    let url = format!("ws://{address}/?sub=a");
    let publish = format!("ws://{address}/?pub=a");
    let publish = ["--publish-url", publish.as_str()];
    let alone = args.contains(&"--all-publish");
    let own = std::process::id().to_string();
    let judged = ["--cost", "--server-pid", own.as_str()];
    let times = ["--warmup", "100ms", "-z", "500ms"];
    let apart = if alone { &[] } else { &publish[..] };
    bench(&[&["broadcast", &url], &times[..], &judged, apart, args].concat())
}

/// Everything has come as it should. That a busy test machine has spoilt the run otherwise says nothing.
fn assert_right((code, summary, errors): (i32, Value, String)) -> Value {
    assert!(matches!(code, 0 | 5), "{errors}\n{summary:#}");
    for fault in ["lost", "duplicated", "reordered"] {
        assert_eq!(summary["broadcast"][fault], 0, "{summary:#}");
    }
    for failure in ["refused", "broken"] {
        assert_eq!(summary["errors"][failure], 0, "{summary:#}");
    }
    summary
}

fn mean(lens: &[usize]) -> f64 {
    lens.iter().sum::<usize>() as f64 / lens.len() as f64
}

/// A hub that tells the lengths of what is published.
fn listening_hub() -> (SocketAddr, Arc<Mutex<Vec<usize>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let lens = Arc::clone(&seen);
    let address = hub::serve(move |subscribers, payload| {
        lens.lock().unwrap().push(payload.len());
        subscribers.send_to_all(payload);
    });
    (address, seen)
}

#[test]
fn sizes_take_turns_in_every_kind_of_loop() {
    if !ring_available() {
        return;
    }
    let cases: [&[&str]; 4] = [
        &["-c", "5", "--in-flight", "4"],
        &["-c", "5", "--burst", "7"],
        &["-c", "5", "-r", "300"],
        &[
            "-c",
            "5",
            "-r",
            "300",
            "--verify",
            "full",
            "--processes",
            "2",
        ],
    ];
    for args in cases {
        let (address, seen) = listening_hub();
        let publishers = if args.contains(&"2") { "2" } else { "1" };
        let sizes = ["-s", "64,512,4k", "--publishers", publishers];
        let summary = assert_right(measure(address, &[args, &sizes].concat()));
        let parameters = &summary["parameters"];
        assert_eq!(parameters["payload_bytes"], mean(&SIZES).round() as u64);
        assert_eq!(parameters["payload_range"], serde_json::json!([64, 4096]));
        let frames = mean(&[64 + 6, 512 + 8, 4096 + 8]);
        assert_eq!(parameters["wire_bytes"], frames as u64);
        let count = |name: &str| summary["messages"][name].as_f64().unwrap();
        let each = count("payload_bytes_per_second") / count("per_second");
        // Each of the five subscribers may have had one more of the longest ones than of the others, from each of two publishers;
        // and the other way round where the window ends.
        let off = 2.0 * 5.0 * 2.0 * 4096.0 / count("count");
        assert!(
            (each - mean(&SIZES)).abs() <= off,
            "{args:?}: {each} of {summary:#}"
        );
        let seen = seen.lock().unwrap();
        let times = SIZES.map(|size| seen.iter().filter(|&&len| len == size).count());
        assert_eq!(times.iter().sum::<usize>(), seen.len(), "{args:?}");
        let (least, most) = (times.iter().min().unwrap(), times.iter().max().unwrap());
        assert!(most - least <= 2 && *least > 0, "{args:?}: {times:?}");
    }
}

#[test]
fn losses_are_counted_among_messages_of_all_sizes() {
    if !ring_available() {
        return;
    }
    let dropped = Arc::new(Mutex::new(BTreeMap::<usize, u64>::new()));
    let count = Arc::clone(&dropped);
    let address = hub::serve(move |subscribers, payload| {
        for subscriber in 0..subscribers.streams.len() {
            // Ten is no multiple of three: each of the sizes has its turn.
            if subscriber == 2 && subscribers.published % 10 == 3 {
                *count.lock().unwrap().entry(payload.len()).or_default() += 1;
            } else {
                subscribers.send_to(subscriber, payload);
            }
        }
    });
    let args = ["-c", "4", "-r", "200", "-s", "64,512,4k"];
    let (code, summary, errors) = measure(address, &args);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    let dropped = dropped.lock().unwrap();
    assert_eq!(dropped.len(), 3, "{dropped:?}");
    let part = &summary["broadcast"];
    assert_eq!(part["lost"], dropped.values().sum::<u64>(), "{summary:#}");
    assert_eq!(
        (&part["duplicated"], &part["reordered"]),
        (&0.into(), &0.into())
    );
    assert_eq!(summary["errors"]["broken"], 0, "{summary:#}");
}

#[test]
fn a_delivery_of_another_length_is_found() {
    if !ring_available() {
        return;
    }
    let address = hub::serve(|subscribers, payload| {
        // To a length that others have.
        let cut = payload.len().min(512);
        let wrong = if subscribers.published == 12 {
            &payload[..cut]
        } else {
            payload
        };
        subscribers.send_to(0, wrong);
        (1..subscribers.streams.len()).for_each(|other| subscribers.send_to(other, payload));
    });
    let args = ["-c", "3", "-r", "200", "-s", "64,512,4k"];
    let (code, summary, errors) = measure(address, &args);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert_eq!(summary["errors"]["broken"], 1, "{summary:#}");
    let reason = &summary["errors"]["reasons"][0]["reason"];
    assert_eq!(reason, "a delivery has 512 bytes, expected 4096");
}

#[test]
fn lines_of_a_file_are_published_in_turn() {
    if !ring_available() {
        return;
    }
    let mut file = NamedTempFile::new().unwrap();
    let text = "{\"join\": \"café\"}\n\nx\r\n{\"say\": \"hello there\"}\n";
    file.write_all(text.as_bytes()).unwrap();
    let lines = format!("lines:{}", file.path().display());
    let address = serve(|_, peer| echo(peer));
    // One that publishes to itself: then everybody has it.
    let alone = ["-c", "1", "--all-publish", "-r", "300", "--payload", &lines];
    for (flag, head) in [("--text", 57), ("--binary", 28)] {
        let summary = assert_right(measure(address, &[&alone[..], &[flag]].concat()));
        let parameters = &summary["parameters"];
        assert_eq!(parameters["opcode"], flag.trim_start_matches('-'));
        assert_eq!(
            parameters["payload_range"],
            serde_json::json!([head + 1, head + 22])
        );
        let lens = [head + 17, head + 1, head + 22].map(|len| len as usize);
        assert_eq!(parameters["payload_bytes"], mean(&lens).round() as u64);
        assert_eq!(summary["latency_us"]["corrected"]["count"], 150);
    }
}

/// Frames and messages that were sent to each subscriber, by length of the payload.
type Sent = Arc<Mutex<BTreeMap<usize, (usize, usize)>>>;

/// A server that inflates what is published, compresses it once, and sends it to all.
fn compressing_hub() -> (SocketAddr, Sent) {
    let sent = Sent::default();
    let counted = Arc::clone(&sent);
    let address = broadcasting(move |subscriber, message, frame| {
        if subscriber == 0 {
            let mut counted = counted.lock().unwrap();
            let (bytes, messages) = counted.entry(message.len()).or_default();
            (*bytes, *messages) = (*bytes + frame.len(), *messages + 1);
        }
        frame
    });
    (address, sent)
}

#[test]
fn compressed_messages_of_several_sizes_are_counted_exactly() {
    if !ring_available() {
        return;
    }
    for more in [
        &["--in-flight", "2"][..],
        &["-r", "200", "--processes", "2", "--publishers", "2"],
    ] {
        let (address, sent) = compressing_hub();
        let args = [
            "-c",
            "6",
            "-s",
            "100,1k,8k",
            "--payload",
            "json",
            "--deflate",
        ];
        let summary = assert_right(measure(address, &[&args[..], more].concat()));
        let sent = sent.lock().unwrap();
        let lens: Vec<usize> = sent.keys().copied().collect();
        assert_eq!(lens, [100, 1024, 8192]);
        let part = &summary["compression"];
        let published: usize = sent.values().map(|(_, messages)| messages).sum();
        assert_eq!(part["compressed"], 6 * published, "{part:#}");
        assert_eq!(part["uncompressed"], 0);
        let means = sent
            .values()
            .map(|&(bytes, messages)| bytes as f64 / messages as f64);
        let wire = means.sum::<f64>() / 3.0;
        let told = |name: &str| part[name].as_f64().unwrap();
        assert!(
            (told("wire_bytes_per_message") - wire).abs() < 1e-6,
            "{part:#}"
        );
        assert_eq!(told("payload_bytes_per_message"), mean(&lens).round());
        assert!(
            (told("ratio") - mean(&lens) / wire).abs() < 1e-6,
            "{part:#}"
        );
    }
}

#[test]
fn every_size_has_room_for_the_stamp() {
    for args in [
        &["-s", "64,27,512"][..],
        &["-s", "128,64", "--payload", "json"],
    ] {
        let (code, _, errors) = bench(&[&["broadcast", "ws://127.0.0.1:1/"], args].concat());
        assert_eq!(code, 2, "{errors}");
        assert!(errors.contains("--size is at least"), "{errors}");
    }
}
