//! `connect --churn` at servers that greet, that are slow, and that break.

mod common;

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::{Peer, bench, echo, ring_available, serve};
use serde_json::Value;
use tungstenite::Message;

/// Four places that churn. `--cost`: how much of a busy test machine the client gets must not decide.
fn churn(url: &str, args: &[&str]) -> (i32, Value, String) {
    let own = std::process::id().to_string();
    let flags = ["--churn", "--concurrency", "4", "--cost", "--server-pid"];
    bench(&[&["connect", url], &flags[..], &[own.as_str()], args].concat())
}

/// Every connection did as it should. How many they were is a matter of how busy the test machine is.
fn assert_right((code, summary, errors): (i32, Value, String)) -> Value {
    assert!(matches!(code, 0 | 5), "{errors}\n{summary:#}");
    for failure in ["refused", "broken"] {
        assert_eq!(summary["errors"][failure], 0, "{summary:#}");
    }
    summary
}

fn reasons(summary: &Value) -> Vec<&str> {
    let reasons = summary["reasons"].as_array().unwrap().iter();
    reasons
        .map(|reason| reason["kind"].as_str().unwrap())
        .collect()
}

/// Says hello in two fragments with a ping between them, answers a login, and then echoes.
fn greet(mut peer: Peer, logins: &AtomicU64) {
    let stream = peer.get_mut();
    for part in [&b"\x01\x03wel"[..], b"\x89\x02hi", b"\x80\x04come"] {
        stream.write_all(part).unwrap();
        thread::sleep(Duration::from_millis(1));
    }
    let Ok(first) = peer.read() else { return };
    let login = if matches!(first, Message::Pong(_)) {
        peer.read()
    } else {
        Ok(first)
    };
    if login.is_ok_and(|login| login == Message::text("login")) {
        logins.fetch_add(1, Ordering::Relaxed);
        peer.send(Message::text("you are in")).unwrap();
    }
    echo(peer);
}

#[test]
fn a_greeting_is_no_echo() {
    if !ring_available() {
        return;
    }
    let logins = Arc::new(AtomicU64::new(0));
    let counter = Arc::clone(&logins);
    let url = format!("ws://{}/", serve(move |_, peer| greet(peer, &counter)));
    for messages in [&["--messages", "3"][..], &[]] {
        let args = [
            "--skip", "2", "--hello", "login", "-z", "2s", "--warmup", "200ms",
        ];
        let before = logins.load(Ordering::Relaxed);
        let summary = assert_right(churn(&url, &[&args[..], messages].concat()));
        let cycles = summary["connections"]["count"].as_u64().unwrap();
        assert!(cycles > 0, "{summary:#}");
        assert!(logins.load(Ordering::Relaxed) - before >= cycles);
        assert_eq!(summary["parameters"]["skip"], 2);
        assert_eq!(summary["parameters"]["hello"], 1);
        let first = &summary["connect_us"]["first_message"]["count"];
        assert_eq!(
            first.as_u64().is_some(),
            !messages.is_empty(),
            "{summary:#}"
        );
    }
}

#[test]
fn a_greeting_that_is_not_skipped_is_a_wrong_reply() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let _ = peer.send(Message::Binary(vec![1, 2, 3].into()));
        echo(peer);
    });
    let url = format!("ws://{address}/");
    let (code, _, errors) = churn(&url, &["--messages", "1", "-z", "3s"]);
    assert_eq!(code, 1, "{errors}");
    let told = errors.contains("were opened, and none was closed as it should be: a reply differs");
    assert!(told, "{errors}");
    assert_right(churn(
        &url,
        &["--messages", "1", "--skip", "1", "-z", "500ms"],
    ));
}

#[test]
fn a_greeting_that_does_not_come_is_named() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, mut peer| {
        let _ = peer.send(Message::text("welcome"));
        echo(peer);
    });
    let url = format!("ws://{address}/");
    let (code, summary, errors) = churn(&url, &["--skip", "2", "-z", "10s", "--warmup", "0ms"]);
    assert_eq!(code, 1, "{errors}\n{summary:#}");
    let told = errors.contains("did not send as many messages as --skip says within 5 s");
    assert!(told, "{errors}");
}

/// Nothing was finished, and nothing has gone wrong: too little was seen to say more.
#[test]
fn a_window_without_a_whole_cycle_is_an_invalid_run() {
    if !ring_available() {
        return;
    }
    let address = serve(|_, peer| {
        // Takes its time, longer than the run.
        thread::sleep(Duration::from_secs(60));
        drop(peer);
    });
    let url = format!("ws://{address}/");
    let (code, summary, errors) = churn(&url, &["-z", "3s", "--warmup", "0ms"]);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert!(
        reasons(&summary).contains(&"too-few-messages"),
        "{summary:#}"
    );
    assert_eq!(summary["connections"]["count"], 0);
    let failed = (&summary["errors"]["refused"], &summary["errors"]["broken"]);
    assert_eq!(failed, (&0.into(), &0.into()), "{summary:#}");
    assert!(errors.contains("only 0 in the window"), "{errors}");
}

/// It was well before it broke: the run tells both.
#[test]
fn a_server_that_breaks_after_a_while_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let address = serve(|number, peer| {
        if number < 8 {
            echo(peer);
        }
    });
    let url = format!("ws://{address}/");
    let (code, summary, errors) = churn(&url, &["-z", "1s", "--warmup", "2s"]);
    assert_eq!(code, 5, "{errors}\n{summary:#}");
    assert!(reasons(&summary).contains(&"errors"), "{summary:#}");
    assert!(
        summary["errors"]["broken"].as_u64().unwrap() > 0,
        "{summary:#}"
    );
}

#[test]
fn where_nothing_listens_nothing_was_opened() {
    if !ring_available() {
        return;
    }
    let (code, _, errors) = churn("ws://127.0.0.1:1/", &["-z", "500ms"]);
    assert_eq!(code, 1, "{errors}");
    let told = errors.contains("no connection could be opened: connect: Connection refused");
    assert!(told, "{errors}");
}

#[test]
fn skipping_takes_churn_and_a_websocket() {
    let url = "ws://127.0.0.1:1/";
    for args in [
        &["connect", url, "--skip", "1"][..],
        &["connect", "tcp://127.0.0.1:1", "--churn", "--skip", "1"],
        &["connect", "tcp://127.0.0.1:1", "--churn", "--messages", "1"],
    ] {
        let (code, _, errors) = bench(args);
        assert_eq!(code, 2, "{args:?}: {errors}");
    }
}
