//! `broadcast` with messages of several sizes, and with the lines of a file.

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::deflating;
use common::hub;
use common::patience::{bench_stretched, is_cut_short, lengthen};
use common::{
    Outcome, assert_unharmed, assert_usage, bench, due, echo_url, load, measure, own_pid,
    ring_available,
};
use serde_json::json;
use tempfile::NamedTempFile;

const SIZES: [usize; 3] = [64, 512, 4096];

/// The arguments of a run with publishers apart.
fn apart(address: SocketAddr, args: &[&str]) -> Vec<String> {
    let subscribe = format!("ws://{address}/?sub=a");
    let publish = format!("ws://{address}/?pub=a");
    let all = [&["broadcast", &subscribe, "--publish-url", &publish], args].concat();
    let pid = own_pid();
    load(&all, &pid).into_iter().map(str::to_owned).collect()
}

/// Runs once: what a server has counted is that of one run.
fn publish(address: SocketAddr, args: &[&str]) -> Outcome {
    bench(&common::strs(&apart(address, args)))
}

fn mean(lens: &[usize]) -> f64 {
    lens.iter().sum::<usize>() as f64 / lens.len() as f64
}

/// A run at a hub that tells the lengths of what was published, with enough time.
fn publish_and_look(args: &[&str]) -> (Outcome, Vec<usize>) {
    let attempt = |times| {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let lens = Arc::clone(&seen);
        let address = hub::serve(move |subscribers, payload| {
            lens.lock().unwrap().push(payload.len());
            subscribers.send_to_all(payload);
        });
        let outcome = bench_stretched(&common::strs(&apart(address, args)), times);
        let seen = seen.lock().unwrap().clone();
        (outcome, seen)
    };
    lengthen(attempt, |(outcome, _)| !is_cut_short(outcome))
}

#[test]
fn sizes_take_turns_in_every_kind_of_loop() {
    if !ring_available() {
        return;
    }
    let cases: [(&[&str], &str); 4] = [
        (&["--in-flight", "4"], "1"),
        (&["--burst", "7"], "1"),
        (&["-r", "300"], "1"),
        (&["-r", "300", "--verify", "full", "--processes", "2"], "2"),
    ];
    for (args, publishers) in cases {
        let sizes = ["-c", "5", "-s", "64,512,4k", "--publishers", publishers];
        let (outcome, seen) = publish_and_look(&[args, &sizes].concat());
        let summary = assert_unharmed(outcome);
        let parameters = &summary["parameters"];
        assert_eq!(parameters["payload_bytes"], mean(&SIZES).round() as u64);
        assert_eq!(parameters["payload_range"], json!([64, 4096]));
        let frames = mean(&[64 + 6, 512 + 8, 4096 + 8]);
        assert_eq!(parameters["wire_bytes"], frames as u64);
        let count = |name: &str| summary["messages"][name].as_f64().unwrap();
        let each = count("payload_bytes_per_second") / count("per_second");
        // Each of the five subscribers may have had one more of the longest ones than of the others, from each of two
        // publishers; and the other way round where the window ends.
        let off = 2.0 * 5.0 * 2.0 * 4096.0 / count("count");
        assert!((each - mean(&SIZES)).abs() <= off, "{args:?}: {summary:#}");
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
    let (code, summary, errors) = publish(address, &args);
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
    let (code, summary, errors) = publish(address, &args);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert_eq!(summary["errors"]["broken"], 1, "{summary:#}");
    let reason = &summary["errors"]["reasons"][0]["reason"];
    let reason = reason.as_str().unwrap();
    let told = "a delivery has 512 bytes, expected 4096; the payload has to come unchanged";
    assert!(reason.starts_with(told), "{reason}");
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
    let url = echo_url();
    // One that publishes to itself: then everybody has it.
    let alone = ["-c", "1", "--all-publish", "-r", "300", "--payload", &lines];
    for (flag, head) in [("--text", 57), ("--binary", 28)] {
        let args = [&["broadcast", &*url, flag], &alone[..]].concat();
        let summary = assert_unharmed(measure(&args));
        let parameters = &summary["parameters"];
        assert_eq!(parameters["opcode"], flag.trim_start_matches('-'));
        assert_eq!(parameters["payload_range"], json!([head + 1, head + 22]));
        let mean = mean(&[head + 17, head + 1, head + 22]);
        assert_eq!(parameters["payload_bytes"], mean.round() as u64);
        let count = &summary["latency_us"]["corrected"]["count"];
        assert_eq!(*count, due(&summary), "{summary:#}");
    }
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
        // Bytes of frames, and messages, to one of the subscribers, by length of the message.
        let sent = Arc::new(Mutex::new(BTreeMap::<usize, (usize, usize)>::new()));
        let counted = Arc::clone(&sent);
        let address = deflating::broadcasting(move |number, message, frame| {
            if number == 0 {
                let mut counted = counted.lock().unwrap();
                let (bytes, messages) = counted.entry(message.len()).or_default();
                (*bytes, *messages) = (*bytes + frame.len(), *messages + 1);
            }
            frame
        });
        let args = [
            "-c",
            "6",
            "-s",
            "100,1k,8k",
            "--payload",
            "json",
            "--deflate",
        ];
        let summary = assert_unharmed(publish(address, &[&args[..], more].concat()));
        let sent = sent.lock().unwrap();
        let lens: Vec<usize> = sent.keys().copied().collect();
        assert_eq!(lens, [100, 1024, 8192]);
        let part = &summary["compression"];
        let published: usize = sent.values().map(|(_, messages)| messages).sum();
        assert_eq!(part["compressed"], 6 * published, "{part:#}");
        assert_eq!(part["uncompressed"], 0);
        let each = |&(bytes, messages): &(usize, usize)| bytes as f64 / messages as f64;
        let wire = sent.values().map(each).sum::<f64>() / 3.0;
        let told = |name: &str| part[name].as_f64().unwrap();
        let off = (told("wire_bytes_per_message") - wire).abs();
        assert!(off < 1e-6, "{part:#} instead of {wire}");
        assert_eq!(told("payload_bytes_per_message"), mean(&lens).round());
        let off = (told("ratio") - mean(&lens) / wire).abs();
        assert!(off < 1e-6, "{part:#}");
    }
}

#[test]
fn every_size_has_room_for_the_stamp() {
    let broadcast = ["broadcast", "ws://127.0.0.1:1/"];
    for sizes in [
        &["-s", "64,27,512"][..],
        &["-s", "128,64", "--payload", "json"],
    ] {
        assert_usage(&[&broadcast, sizes].concat(), "--size is at least");
    }
}
