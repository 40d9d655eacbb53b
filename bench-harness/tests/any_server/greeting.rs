//! Servers that say something first.

use tungstenite::Message;

use crate::SHORT;
use crate::common::{Peer, assert_clean, measure, ring_available, serve, url};
use crate::refusal::assert_refused;

/// Greets, wants to be told who is there, answers that in two messages, and echoes.
fn reserved(mut peer: Peer) {
    peer.send(Message::text("welcome")).unwrap();
    let mut known = 0;
    while let Ok(message) = peer.read() {
        match (known, message) {
            (2, message) if message.is_text() || message.is_binary() => {
                if peer.send(message).is_err() {
                    return;
                }
            }
            (0, Message::Text(text)) if text == "login me" => known = 1,
            (1, Message::Text(text)) if text == "join room" => {
                known = 2;
                peer.send(Message::binary(vec![1; 300])).unwrap();
                peer.send(Message::Ping(vec![1].into())).unwrap();
                peer.send(Message::text("")).unwrap();
            }
            (_, message) => assert!(!message.is_text() && !message.is_binary(), "{message:?}"),
        }
    }
}

#[test]
fn a_server_that_greets_is_heard_out() {
    if !ring_available() {
        return;
    }
    let url = url(serve(|_, peer| reserved(peer)));
    let hello = ["--hello", "login me", "--hello", "join room"];
    let skip = ["--skip", "3"];
    let quick = ["-z", "200ms", "--warmup", "0ms", "-r", "600"];
    let with = |load: &[&str], more: &[&[&str]]| {
        let args = [&[load[0], &url], &load[1..], &more.concat()].concat();
        measure(&args)
    };
    assert_clean(with(&["echo", "-c", "4"], &[&hello, &skip, &quick]));
    let alone = ["broadcast", "-c", "1", "--all-publish"];
    assert_clean(with(&alone, &[&hello, &skip, &quick]));
    // These ask for nothing.
    let summary = assert_clean(with(SHORT[3], &[&hello]));
    assert_eq!(summary["parameters"]["hello"], 2);
    assert_clean(with(&["connect", "-c", "100"], &[]));
    let one_more = ["--skip", "4"];
    let why = "2 connections have not received as many messages as --skip says";
    let flags = [&one_more[..], &hello, &quick].concat();
    assert_refused(&["echo", "-c", "2"], &url, &flags, why);
}
