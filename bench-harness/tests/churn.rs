//! `connect --churn` at servers that greet, that are slow, and that break.

mod common;

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use common::patience::{bench_stretched, bench_until, lengthen};
use common::{
    Outcome, Peer, accept_on, assert_unharmed, assert_usage, bench, echo, listener, load, own_pid,
    ring_available, serve, strs, url,
};
use serde_json::Value;
use tungstenite::Message;

/// The arguments of four places that churn.
fn churning(url: &str, args: &[&str]) -> Vec<String> {
    let flags = ["connect", url, "--churn", "--concurrency", "4"];
    let pid = own_pid();
    let all = load(&[&flags, args].concat(), &pid).into_iter();
    all.map(str::to_owned).collect()
}

fn churn(url: &str, args: &[&str]) -> Outcome {
    bench(&strs(&churning(url, args)))
}

/// Churns, for longer each time, until a run is `enough`.
fn churn_until(url: &str, args: &[&str], enough: impl Fn(&Outcome) -> bool) -> Outcome {
    bench_until(&strs(&churning(url, args)), enough)
}

fn cycles(summary: &Value) -> u64 {
    summary["connections"]["count"].as_u64().unwrap_or(0)
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
    let url = url(serve(move |_, peer| greet(peer, &counter)));
    for messages in [&["--messages", "3"][..], &[]] {
        let before = logins.load(Ordering::Relaxed);
        let greeted = ["--skip", "2", "--hello", "login", "--warmup", "100ms"];
        let args = [&greeted, messages, &["-z", "500ms"]].concat();
        let some = |outcome: &Outcome| cycles(&outcome.1) > 0;
        let summary = assert_unharmed(churn_until(&url, &args, some));
        assert!(logins.load(Ordering::Relaxed) - before >= cycles(&summary));
        assert_eq!(summary["parameters"]["skip"], 2);
        assert_eq!(summary["parameters"]["hello"], 1);
        let first = &summary["connect_us"]["first_message"]["count"];
        assert_eq!(first.is_u64(), !messages.is_empty(), "{summary:#}");
    }
}

#[test]
fn a_greeting_that_is_not_skipped_is_a_wrong_reply() {
    if !ring_available() {
        return;
    }
    let url = url(serve(|_, mut peer| {
        let _ = peer.send(Message::Binary(vec![1, 2, 3].into()));
        echo(peer);
    }));
    let talk = ["--messages", "1", "-z", "500ms"];
    let told = |(_, _, errors): &Outcome| {
        errors.contains("were opened, and none was closed as it should be: a reply differs")
    };
    let outcome = churn_until(&url, &talk, told);
    assert!(outcome.0 == 1 && told(&outcome), "{outcome:?}");
    let skipping = [&talk[..], &["--skip", "1"]].concat();
    assert_unharmed(churn_until(&url, &skipping, |it| cycles(&it.1) > 0));
}

#[test]
fn a_greeting_that_does_not_come_is_named() {
    if !ring_available() {
        return;
    }
    let url = url(serve(|_, mut peer| {
        let _ = peer.send(Message::text("welcome"));
        echo(peer);
    }));
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
    let url = url(serve(|_, peer| {
        // Takes its time: longer than the window, and not so long that it is given up.
        thread::sleep(Duration::from_secs(3));
        echo(peer);
    }));
    // Until one was opened: a busy machine may take its time for that.
    let opened = |outcome: &Outcome| outcome.0 != 1;
    let outcome = churn_until(&url, &["-z", "1s", "--warmup", "0ms"], opened);
    assert_eq!(outcome.0, 5, "{outcome:?}");
    let summary = assert_unharmed(outcome);
    assert!(
        reasons(&summary).contains(&"too-few-messages"),
        "{summary:#}"
    );
    assert_eq!(cycles(&summary), 0);
}

/// It was well before it broke: the run tells both.
#[test]
fn a_server_that_breaks_after_a_while_spoils_the_run() {
    if !ring_available() {
        return;
    }
    let attempt = |times| {
        let url = url(serve(|number, peer| {
            if number < 8 {
                echo(peer);
            }
        }));
        let args = churning(&url, &["-z", "500ms", "--warmup", "100ms"]);
        bench_stretched(&strs(&args), times)
    };
    let broke = |(_, summary, _): &Outcome| summary["errors"]["broken"].as_u64() > Some(0);
    let outcome = lengthen(attempt, broke);
    assert!(outcome.0 == 5 && broke(&outcome), "{outcome:?}");
    assert!(reasons(&outcome.1).contains(&"errors"), "{outcome:?}");
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
    assert_usage(&["connect", "ws://127.0.0.1:1/", "--skip", "1"], "--churn");
    for flag in ["--skip", "--messages"] {
        let args = ["connect", "tcp://127.0.0.1:1", "--churn", flag, "1"];
        assert_usage(&args, "use ws://");
    }
}

#[test]
fn places_that_hang_are_counted() {
    if !ring_available() {
        return;
    }
    // Every fifth connection is upgraded, and never answered again.
    let silent = serve(|number, mut peer| {
        if number % 5 == 4 {
            while peer.get_mut().read(&mut [0; 512]).is_ok_and(|n| n > 0) {}
            return;
        }
        echo(peer);
    });
    let args = ["--messages", "1", "-z", "500ms", "--warmup", "0ms"];
    let (_, summary, errors) = churn(&url(silent), &args);
    let reasons = summary["errors"]["reasons"].to_string();
    assert!(
        reasons.contains("no reply came within 5 s"),
        "{errors}{summary:#}"
    );
    // One that is upgraded never, or rather after the run.
    let mute = accept_on(listener(), |number, stream| {
        if number % 5 == 4 {
            let mut stream = &stream;
            while stream.read(&mut [0; 512]).is_ok_and(|n| n > 0) {}
        } else if let Ok(peer) = tungstenite::accept(stream) {
            echo(peer);
        }
    });
    let (_, summary, errors) = churn(&url(mute), &["-z", "500ms", "--warmup", "0ms"]);
    let refused = summary["errors"]["refused"].as_u64();
    assert!(refused >= Some(1), "{errors}{summary:#}");
}
