//! What messages contain.

use std::io::Write as _;
use std::sync::{Arc, Mutex};

use tempfile::NamedTempFile;

use crate::common::{
    answering, assert_clean, assert_unharmed, bench, due, echo_url, load, measure, own_pid,
    ring_available,
};

/// A file that is removed in the end, and how it is named as a payload of this kind.
fn file(kind: &str, bytes: &[u8]) -> (NamedTempFile, String) {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    let name = format!("{kind}:{}", file.path().display());
    (file, name)
}

/// Messages as a server saw them: their lengths, and whether they were text.
type Seen = Arc<Mutex<Vec<(usize, bool)>>>;

/// Serves echo, and keeps what came.
fn serve_and_look() -> (String, Seen) {
    let seen = Seen::default();
    let sight = Arc::clone(&seen);
    let url = answering(move |_, _, message| {
        let what = (message.len(), message.is_text());
        sight.lock().unwrap().push(what);
        vec![message]
    });
    (url, seen)
}

#[test]
fn every_payload_is_sent_and_comes_back() {
    if !ring_available() {
        return;
    }
    let text = "{\"join\": \"café\"}\n\n{\"say\": \"hi\"}\r\nx\n";
    let (_kept, lines) = file("lines", text.as_bytes());
    let (_also, file) = file("file", &[0xff; 700]);
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
        // Once: what is seen is that of one run.
        let args = [&["echo", &*url], args, &rate].concat();
        let summary = assert_unharmed(bench(&load(&args, &own_pid())));
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
    let (_kept, file) = file("file", "{\"say\": \"café\"}".as_bytes());
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
        let url = echo_url();
        let summary = assert_clean(measure(&[&["broadcast", &url], args, &alone].concat()));
        assert_eq!(summary["parameters"]["payload_bytes"], len, "{args:?}");
        let count = &summary["latency_us"]["corrected"]["count"];
        assert_eq!(*count, due(&summary), "{args:?}");
    }
}
