//! Servers that speak a protocol of their own over their WebSockets: logins, greetings, heartbeats, envelopes.

mod common;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use common::hub::frame;
use common::{Peer, bench, ring_available, serve_asked};

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
