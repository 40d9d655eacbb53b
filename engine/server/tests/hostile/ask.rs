//! Requests on connections of their own, and what is answered.

use std::io::{Read, Write};
use std::net::TcpStream;

use crate::client::{Client, request, request_with, tcp};
use crate::trial::Trial;

/// How often each request is made.
const ROUNDS: usize = 4;

/// Sends bytes on a connection of their own and reads to its end. The request may be cut off by an early answer.
pub(crate) fn ask(trial: &Trial, bytes: &[u8]) -> String {
    let mut stream = tcp(trial.address());
    stream
        .write_all(bytes)
        .expect("the server reads on until we close");
    answer(stream)
}

/// What a server answers: all bytes to the end of the connection, which has to come.
pub(crate) fn answer(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    stream
        .read_to_end(&mut answer)
        .expect("the end of the connection");
    String::from_utf8(answer).expect("an answer in text")
}

/// Each request is refused with the status, once and no more, and the connection ends; over and over.
#[track_caller]
pub(crate) fn each_is_refused(io: &'static str, status: u16, requests: &[Vec<u8>]) {
    let trial = Trial::corecast(io, &[]);
    for _ in 0..ROUNDS {
        for request in requests {
            let answer = ask(&trial, request);
            let shown = String::from_utf8_lossy(&request[..request.len().min(300)]);
            assert!(
                answer.starts_with(&format!("HTTP/1.1 {status} ")),
                "{shown:?} gets {answer:?}"
            );
            assert!(is_one_answer(&answer), "{shown:?} gets {answer:?}");
            assert!(
                answer
                    .to_ascii_lowercase()
                    .contains("\r\nconnection: close"),
                "{shown:?} gets {answer:?}"
            );
        }
    }
    trial.logs(
        &format!("request refused status={status} "),
        ROUNDS * requests.len(),
    );
    trial.over();
}

/// Whether it is one answer as long as it says, and nothing behind.
pub(crate) fn is_one_answer(answer: &str) -> bool {
    let Some((head, body)) = answer.split_once("\r\n\r\n") else {
        return false;
    };
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("Content-Length: "));
    length.and_then(|length| length.parse().ok()) == Some(body.len())
}

/// A correct request is upgraded: what is refused elsewhere differs from it in one thing only.
#[track_caller]
pub(crate) fn each_is_upgraded(io: &'static str, requests: &[String]) {
    let trial = Trial::corecast(io, &[]);
    for request in requests {
        let mut client = Client::upgrade(tcp(trial.address()), request);
        client.round_trip("hello");
        client.close(1000);
    }
    trial.over();
}

/// The upgrade request with further header lines.
pub(crate) fn with(headers: &str) -> Vec<u8> {
    request_with("/echo", headers).into_bytes()
}

/// The upgrade request with a header's line exchanged; an empty one takes it out.
pub(crate) fn exchanged(name: &str, line: &str) -> Vec<u8> {
    let mut found = false;
    let request: String = request("/echo")
        .split_inclusive("\r\n")
        .map(|old| {
            let is = old.starts_with(name);
            found |= is;
            if is { line } else { old }
        })
        .collect();
    assert!(found, "{name} is there to be exchanged");
    request.into_bytes()
}
