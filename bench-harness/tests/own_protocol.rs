//! Servers that speak a protocol of their own over their WebSockets: logins, greetings, heartbeats, envelopes.

mod common;

use std::io::Write as _;
use std::net::{Shutdown, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use common::hub::frame;
use common::{Peer, bench, echo, ring_available, serve, serve_asked};
use tungstenite::Message;

/// A run that takes next to no time, judged by cost: how much of a busy test machine the client gets must not decide.
fn measure(load: &[&str], url: &str, flags: &[&str]) -> (i32, serde_json::Value, String) {
    let pid = std::process::id().to_string();
    let (command, rest) = load.split_first().unwrap();
    let server = ["--server-pid", &pid, "--cost"];
    // `idle` always is.
    let server = if *command == "idle" {
        &server[..2]
    } else {
        &server
    };
    bench(&[&[command, url], rest, server, flags].concat())
}

/// What clients said of themselves: the paths, the headers `X-User`, and the first messages.
type Said = Arc<Mutex<[Vec<String>; 3]>>;

/// Notes what clients say of themselves, and sends what is binary to all.
fn listening_server() -> (SocketAddr, Said) {
    let said = Said::default();
    let (asked, spoken) = (Arc::clone(&said), Arc::clone(&said));
    let members = Mutex::new(Vec::new());
    let talk = move |mut peer: Peer| {
        members
            .lock()
            .unwrap()
            .push(peer.get_ref().try_clone().unwrap());
        while let Ok(message) = peer.read() {
            if message.is_text() {
                spoken.lock().unwrap()[2].push(message.to_string());
            } else if message.is_binary() {
                for member in members.lock().unwrap().iter_mut() {
                    // Whoever has left is no concern of a test's.
                    let _ = member.write_all(&frame(&message.clone().into_data()));
                }
            }
        }
        // The list of members holds the connection, too.
        let _ = peer.get_ref().shutdown(Shutdown::Both);
    };
    let answer = move |request: &tungstenite::http::Request<()>, _: &mut _| {
        let mut said = asked.lock().unwrap();
        said[0].push(request.uri().to_string());
        let user = request.headers().get("x-user");
        said[1].push(user.map_or("", |user| user.to_str().unwrap()).to_owned());
    };
    (serve_asked(answer, talk), said)
}

/// One of each for so many connections.
fn numbered(count: usize, text: impl Fn(usize) -> String) -> Vec<String> {
    let mut all: Vec<String> = (0..count).map(text).collect();
    all.sort();
    all
}

#[test]
fn every_connection_can_be_another_user() {
    if !ring_available() {
        return;
    }
    let tokens = tempfile::NamedTempFile::new().unwrap();
    let lines: Vec<String> = (0..5).map(|line| format!("t{line}")).collect();
    std::fs::write(&tokens, lines.join("\n")).unwrap();
    let header = format!("X-User: Bearer {{line:{}}}", tokens.path().display());
    let flags = ["-H", &header, "--hello", "{\"login\":{connection}}"];
    // One connection hears what it sends, so `echo` has one; it is numbered all the same.
    let loads: [(&[&str], usize); 4] = [
        (&["echo", "-c", "1", "-z", "200ms", "--warmup", "0ms"], 1),
        (&["connect", "-c", "7", "--processes", "3"], 7),
        (
            &[
                "idle",
                "-c",
                "6",
                "-z",
                "100ms",
                "--settle",
                "0ms",
                "--processes",
                "2",
            ],
            6,
        ),
        (
            &[
                "broadcast",
                "-c",
                "2",
                "-r",
                "50",
                "-z",
                "200ms",
                "--warmup",
                "0ms",
            ],
            3,
        ),
    ];
    for (load, connections) in loads {
        let (address, said) = listening_server();
        let url = format!("ws://{address}/u/{{connection}}?sub={{connection}}&x={{x}}");
        let (code, _, errors) = measure(load, &url, &flags);
        assert!(matches!(code, 0 | 5), "{load:?}: {errors}");
        let mut said = said.lock().unwrap().clone();
        said.iter_mut().for_each(|list| list.sort());
        let [paths, users, hellos] = said;
        let path = |n| format!("/u/{n}?sub={n}&x={{x}}");
        assert_eq!(paths, numbered(connections, path), "{load:?}");
        let user = |n| format!("Bearer t{}", n % 5);
        assert_eq!(users, numbered(connections, user), "{load:?}");
        let hello = |n| format!("{{\"login\":{n}}}");
        assert_eq!(hellos, numbered(connections, hello), "{load:?}");
        let told = errors.contains("has 5 lines for") && errors.contains("in turn");
        assert_eq!(told, connections > 5, "{load:?}: {errors}");
    }
}

#[test]
fn publishers_are_numbered_after_the_subscribers() {
    if !ring_available() {
        return;
    }
    let (address, said) = listening_server();
    let url = format!("ws://{address}/s/{{connection}}");
    let publish = format!("ws://{address}/p/{{connection}}");
    let load = [
        "broadcast",
        "-c",
        "3",
        "--publishers",
        "2",
        "-r",
        "50",
        "-z",
        "200ms",
    ];
    let flags = ["--publish-url", &publish, "--warmup", "0ms"];
    let (code, _, errors) = measure(&load, &url, &flags);
    assert!(matches!(code, 0 | 5), "{errors}");
    let mut paths = said.lock().unwrap()[0].clone();
    paths.sort();
    assert_eq!(paths, ["/p/3", "/p/4", "/s/0", "/s/1", "/s/2"]);
}

#[test]
fn a_place_of_churn_stays_the_same_user() {
    if !ring_available() {
        return;
    }
    let (address, said) = listening_server();
    let url = format!("ws://{address}/{{connection}}");
    let load = [
        "connect",
        "--churn",
        "--concurrency",
        "3",
        "-z",
        "300ms",
        "--warmup",
        "0ms",
    ];
    let (code, _, errors) = measure(&load, &url, &[]);
    assert!(matches!(code, 0 | 5), "{errors}");
    let mut paths = said.lock().unwrap()[0].clone();
    assert!(paths.len() > 3, "{paths:?}");
    paths.sort();
    paths.dedup();
    assert_eq!(paths, ["/0", "/1", "/2"]);
}

#[test]
fn files_that_cannot_be_read_are_told_before_anything_is_opened() {
    let (address, said) = listening_server();
    let url = format!("ws://{address}/");
    let lines = format!("ws://{address}/?u={{line:/nowhere/users}}");
    for (url, flags) in [
        (&url, &["-H", "X-User: {line:/nowhere/users}"][..]),
        (&url, &["--hello", "I am {line:/nowhere/users}"]),
        (&lines, &[]),
    ] {
        let (code, _, errors) = measure(&["connect", "-c", "1"], url, flags);
        assert_eq!(code, 2, "{errors}");
        let told = "{line:/nowhere/users}: the file cannot be read";
        assert!(errors.contains(told), "{errors}");
    }
    let (code, _, errors) = measure(&["broadcast"], &url, &["--publish-url", &lines]);
    assert!(
        code == 2 && errors.contains("{line:/nowhere/users}"),
        "{errors}"
    );
    assert_eq!(said.lock().unwrap()[0], Vec::<String>::new());
}

/// Greets, takes a login, sends heartbeats and notices between replies, and leaves whoever does not answer them.
fn heartbeats(mut peer: Peer) {
    let say = |peer: &mut Peer, text: &str| peer.send(Message::text(text)).is_ok();
    say(&mut peer, "0{\"sid\":\"a\"}");
    let (mut owed, mut logged_in) = (0, false);
    while let Ok(message) = peer.read() {
        match message {
            Message::Text(text) if text == "40" => {
                logged_in = say(&mut peer, "40{\"sid\":\"b\"}");
            }
            Message::Text(text) if text == "3" => owed -= 1,
            Message::Text(_) | Message::Binary(_) if !logged_in || owed > 50 => return,
            Message::Text(_) | Message::Binary(_) => {
                owed += 1;
                let notice = "42[\"notice\",{}]";
                if !say(&mut peer, "2") || !say(&mut peer, notice) || peer.send(message).is_err() {
                    return;
                }
            }
            _ => {}
        }
    }
}

#[test]
fn heartbeats_are_answered_and_notices_ignored() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, peer| heartbeats(peer));
    let url = format!("ws://{address}/");
    let flags = [
        "--hello",
        "40",
        "--answer",
        "2=3",
        "--ignore",
        "42[\"notice",
    ];
    let times = ["-z", "300ms", "--warmup", "0ms"];
    for load in [
        &["echo", "-c", "3", "--skip", "2"][..],
        &[
            "echo",
            "-c",
            "3",
            "--skip",
            "2",
            "--text",
            "-s",
            "1,300",
            "--in-flight",
            "4",
        ],
        &["broadcast", "-c", "1", "--all-publish", "--skip", "2"],
    ] {
        let (code, summary, errors) = measure(load, &url, &[&flags[..], &times].concat());
        assert!(matches!(code, 0 | 5), "{load:?}: {errors}");
        for kind in ["refused", "broken", "lost", "duplicated", "reordered"] {
            let count = summary["errors"][kind].as_u64().unwrap_or(0);
            assert_eq!(count, 0, "{load:?}, {kind}: {summary:#}");
        }
        // Far more than the server lets pass without an answer.
        let count = summary["messages"]["count"].as_u64().unwrap();
        assert!(count > 0, "{load:?}: {summary:#}");
        assert_eq!(summary["parameters"]["answers"][0], "2=3");
        assert_eq!(summary["parameters"]["ignored"][0], "42[\"notice");
    }
    // Without them the server's words are taken for replies.
    let args = ["--hello", "40", "--skip", "2"];
    let (code, _, errors) = measure(&["echo", "-c", "1"], &url, &[&args[..], &times].concat());
    assert_eq!(code, 5, "{errors}");
}

/// Says nothing but heartbeats, and counts the answers.
fn pinging_server() -> (SocketAddr, Arc<AtomicUsize>) {
    let pongs = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pongs);
    let address = serve(move |_, mut peer| {
        while peer.send(Message::text("{\"type\":\"ping\"}")).is_ok() {
            match peer.read() {
                Ok(Message::Text(text)) if text == "{\"type\":\"pong\"}" => {
                    count.fetch_add(1, Ordering::Relaxed);
                    thread::sleep(Duration::from_millis(5));
                }
                _ => return,
            }
        }
    });
    (address, pongs)
}

#[test]
fn idle_connections_answer_heartbeats_too() {
    if !ring_available() {
        return;
    }
    let heartbeat = ["--answer", "{\"type\":\"ping\"}={\"type\":\"pong\"}"];
    let (address, pongs) = pinging_server();
    let url = format!("ws://{address}/");
    let load = ["idle", "-c", "3", "-z", "300ms", "--settle", "0ms"];
    let (code, summary, errors) = measure(&load, &url, &heartbeat);
    assert!(matches!(code, 0 | 5), "{errors}");
    assert_eq!(summary["connections"]["lost"], 0, "{summary:#}");
    assert_eq!(
        summary["connections"]["heard"]["messages"], 0,
        "{summary:#}"
    );
    assert!(pongs.load(Ordering::Relaxed) >= 3, "each was answered");
    let (address, pongs) = pinging_server();
    let url = format!("ws://{address}/");
    let load = ["connect", "-c", "100"];
    let (code, _, errors) = measure(&load, &url, &heartbeat);
    assert!(matches!(code, 0 | 5), "{errors}");
    assert!(pongs.load(Ordering::Relaxed) > 0, "each was answered");
}

/// What the run says of its errors, or of why it is not valid.
fn told(summary: &serde_json::Value) -> String {
    let texts = |list: &serde_json::Value, name: &str| {
        let list = list.as_array().unwrap().iter();
        let texts = list.map(|entry| entry[name].as_str().unwrap().to_owned());
        texts.collect::<Vec<_>>().join("\n")
    };
    let reasons = texts(&summary["reasons"], "text");
    reasons + "\n" + &texts(&summary["errors"]["reasons"], "reason")
}

#[test]
fn a_greeting_that_is_not_skipped_is_shown_with_what_to_do() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let _ = peer.send(Message::text("0{\"sid\":\"ab\u{1b}c\"}"));
        echo(peer);
    });
    let url = format!("ws://{address}/");
    let echoes = ["echo", "-c", "3", "-z", "200ms", "--warmup", "0ms"];
    for (load, flags, hint) in [
        (&echoes[..], &[][..], "text only (--text)?"),
        (&echoes, &["--text"], "--skip COUNT"),
        (
            &["broadcast", "-c", "2", "-z", "200ms", "--warmup", "0ms"],
            &["--text"],
            "--skip COUNT",
        ),
    ] {
        let (code, summary, errors) = measure(load, &url, flags);
        assert!(matches!(code, 1 | 5), "{load:?}: {errors}");
        // When all connections broke before the load began, there is no summary.
        let told = if code == 1 { errors } else { told(&summary) };
        assert!(told.contains(hint), "{load:?}: {told}");
        assert!(
            told.contains("it began with 0{\"sid\":\"ab\\u{1b}c\"}"),
            "{load:?}: {told}"
        );
    }
}

#[test]
fn a_server_that_does_not_echo_is_named_as_such() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| while peer.read().is_ok() {});
    let url = format!("ws://{address}/");
    for (load, hints) in [
        (
            "echo",
            &[
                "does the server send back every message",
                "`idle`",
                "`broadcast`",
            ][..],
        ),
        (
            "broadcast",
            &["send to all what one has sent", "--publish-url", "`echo`"],
        ),
    ] {
        let load = [load, "-c", "2", "-z", "200ms", "--warmup", "0ms"];
        let (code, summary, errors) = measure(&load, &url, &[]);
        assert_eq!(code, 5, "{errors}");
        let told = told(&summary);
        for hint in hints {
            assert!(told.contains(hint), "{load:?}, {hint}: {told}");
        }
        assert!(!told.contains("measure longer"), "{told}");
    }
}

#[test]
fn a_broadcast_in_an_envelope_is_shown_with_what_to_do() {
    if !ring_available() {
        return;
    }
    let address = common::hub::serve(|hub, payload| {
        hub.send_to_all(&[b"{\"room\":1,\"data\":", payload, b"}"].concat());
    });
    let url = format!("ws://{address}/");
    let load = [
        "broadcast",
        "-c",
        "2",
        "-r",
        "50",
        "-z",
        "200ms",
        "--warmup",
        "0ms",
    ];
    let (code, summary, errors) = measure(&load, &url, &[]);
    assert_eq!(code, 5, "{errors}");
    let told = told(&summary);
    let wanted = [
        "a delivery has 82 bytes, expected 64",
        "without an envelope",
        "{\"room\":1,",
    ];
    // The begin is shown with what follows it: bytes of the stamp, so quotes are told as in a string.
    let told = told.replace('\\', "");
    for part in wanted {
        assert!(told.contains(part), "{part}: {told}");
    }
}

#[test]
fn secrets_of_the_address_are_in_no_file() {
    if !ring_available() {
        return;
    }
    let address = common::hub::serve(|hub, payload| hub.send_to_all(payload));
    let folder = tempfile::tempdir().unwrap();
    let url = format!("ws://{address}/?room=r1&access_token=topmost");
    let publish = format!("--publish-url=ws://{address}/?pub=p1&key=topmost");
    let output = folder.path().to_str().unwrap();
    let load = [
        "broadcast",
        "-c",
        "2",
        "-r",
        "50",
        "-z",
        "200ms",
        "--warmup",
        "0ms",
    ];
    let flags = ["--output", output, &publish, "-H", "Authorization: topmost"];
    let (code, summary, errors) = measure(&load, &url, &flags);
    assert!(matches!(code, 0 | 5), "{errors}");
    let shown = format!("ws://{address}/?room=r1&access_token=…");
    assert_eq!(summary["target"], *shown);
    assert_eq!(
        summary["parameters"]["publish_url"],
        format!("ws://{address}/?pub=p1&key=…")
    );
    let files: Vec<_> = std::fs::read_dir(folder.path())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    assert_eq!(files.len(), 6, "{files:?}");
    for file in files {
        let bytes = std::fs::read(file.path()).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains("topmost"), "{file:?}");
    }
    let env = std::fs::read_to_string(folder.path().join("env.json")).unwrap();
    assert!(
        env.contains("room=r1") && env.contains("access_token=…"),
        "{env}"
    );
}

#[test]
fn what_a_message_costs_the_server_is_told_first() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, peer| echo(peer));
    let url = format!("ws://{address}/");
    let pid = std::process::id().to_string();
    let args = [
        "echo",
        &url,
        "-c",
        "2",
        "-z",
        "200ms",
        "--warmup",
        "0ms",
        "--cost",
        "--server-pid",
        &pid,
    ];
    let output = common::run(&args);
    let text = String::from_utf8(output.stdout).unwrap();
    let at = |label: &str| {
        text.find(&format!("\n  {label} "))
            .unwrap_or_else(|| panic!("{label}: {text}"))
    };
    for label in ["messages", "latency", "tcp", "server mem", "client"] {
        assert!(at("server cpu") < at(label), "{label}: {text}");
    }
}

#[test]
fn flags_that_do_not_fit_say_what_does() {
    let url = "ws://127.0.0.1:1/";
    let cases: [(&[&str], &str); 9] = [
        (&["connect", url, "-r", "10"], "'--connect-rate'"),
        (&["idle", url], "--server-pid <PID>"),
        (
            &["echo", url, "--server-pid", "self"],
            "the number of a process",
        ),
        (
            &["echo", url, "--server-pid", "999999999"],
            "999999999: there is no such process",
        ),
        (&["scenario", url], "this is a URL"),
        (&["echo", url, "--answer", "ping"], "such as 2=3"),
        (&["echo", url, "--ignore", ""], "first letters"),
        (
            &["echo", url, "--ignore", "x", "--deflate"],
            "cannot be used with",
        ),
        (
            &["echo", "tcp://127.0.0.1:1", "--answer", "2=3"],
            "use ws://",
        ),
    ];
    for (args, hint) in cases {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
        assert!(errors.contains(hint), "{args:?}: {errors}");
        assert!(
            !errors.contains("digit") && !errors.contains("[999"),
            "{args:?}: {errors}"
        );
    }
}
