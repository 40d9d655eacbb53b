//! Servers that do not open a WebSocket: what the user is told.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;

use crate::SHORT;
use crate::common::{accept_on, listener, measure, ring_available, url};

/// This load fails for this reason.
#[track_caller]
pub(crate) fn assert_refused(load: &[&str], url: &str, flags: &[&str], why: &str) {
    let args = [&[load[0], url], &load[1..], flags].concat();
    let (code, _, errors) = measure(&args);
    assert_eq!(code, 1, "{args:?}: {errors}");
    assert!(
        errors.contains(why),
        "{args:?}, expected {why:?}:\n{errors}"
    );
}

/// Answers every connection with these bytes, and then does with it what `after` does.
fn answer_with(answer: &'static str, after: fn(TcpStream)) -> String {
    url(accept_on(listener(), move |_, mut stream| {
        let mut request = [0; 4096];
        let _ = stream.read(&mut request);
        let _ = stream.write_all(answer.as_bytes());
        after(stream);
    }))
}

/// Keeps the connection until the client ends it.
fn keep(mut stream: TcpStream) {
    let _ = stream.read_to_end(&mut Vec::new());
}

#[test]
fn refusals_are_told_with_status_reason_and_body() {
    if !ring_available() {
        return;
    }
    let cases = [
        (
            answer_with(
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 17\r\n\r\n{\"need\": \"token\"}",
                keep,
            ),
            "HTTP status 401 Unauthorized: {\"need\": \"token\"}",
        ),
        (
            answer_with(
                "HTTP/1.1 307 Temporary Redirect\r\nLocation: wss://example.org/\r\nContent-Length: 0\r\n\r\n",
                keep,
            ),
            "a redirect to wss://example.org/; redirects are not followed",
        ),
        (
            answer_with(
                "HTTP/1.0 404 File not found\r\nServer: x\r\n\r\nno\r\nsuch\x1b[2J page",
                drop,
            ),
            "HTTP status 404 File not found: no such [2J page",
        ),
        (
            answer_with(
                "HTTP/1.1 503 Busy\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nlater\r\n0\r\n\r\n",
                keep,
            ),
            "HTTP status 503 Busy: later",
        ),
        (
            answer_with("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", keep),
            "is there a WebSocket at this path?: hi",
        ),
        (
            answer_with("", drop),
            "did not answer the upgrade: it ended the connection",
        ),
        (
            answer_with("HTTP/1.1 101 Swi", drop),
            "did not finish its answer to the upgrade: it ended the connection",
        ),
        (
            answer_with("\x15\x03\x01\x00\x02\x02\x0a", keep),
            "the server speaks TLS on this port",
        ),
        (
            answer_with("SSH-2.0-OpenSSH_9.9\r\n", keep),
            "not a valid HTTP/1.1 response",
        ),
    ];
    for (url, why) in cases {
        for load in SHORT {
            assert_refused(load, &url, &[], why);
        }
    }
}

#[test]
fn a_server_that_never_finishes_is_given_up() {
    if !ring_available() {
        return;
    }
    let cases = [
        (
            "HTTP/1.1 403 No\r\nContent-Length: 50\r\n\r\nbegun",
            "HTTP status 403 No: begun",
        ),
        ("", "did not answer the upgrade: nothing came for 10 s"),
        (
            "HTTP/",
            "did not finish its answer to the upgrade: nothing came for 10 s",
        ),
    ];
    thread::scope(|scope| {
        for (answer, why) in cases {
            let url = answer_with(answer, keep);
            for load in SHORT {
                let url = url.clone();
                scope.spawn(move || assert_refused(load, &url, &[], why));
            }
        }
    });
}
