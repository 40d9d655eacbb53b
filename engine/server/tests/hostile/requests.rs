//! What is no request, or an odd one, and what follows one.

use std::io::{Read, Write};

use crate::ask::{answer, ask, each_is_refused, is_one_answer};
use crate::client::{Client, http, request, tcp};
use crate::payload::pattern;
use crate::trial::Trial;

crate::rows![
    target_huge,
    target_odd,
    target_absolute,
    target_traversal,
    query_absurd,
    method_absurd,
    http_version_odd,
    http2_preface,
    tls_client_hello,
    noise_instead_of_request,
    empty_lines_first,
    pipelined_after_refusal,
    pipelined_after_page,
];

fn target_huge(io: &'static str) {
    let requests = [
        request(&format!("/{}", "x".repeat(9_000))).into_bytes(),
        request(&format!("/{}", "x".repeat(100_000))).into_bytes(),
        request(&format!("/echo?{}", "a=b&".repeat(20_000))).into_bytes(),
        [b"GET /".to_vec(), vec![b'x'; 20_000]].concat(),
    ];
    each_is_refused(io, 431, &requests);
}

/// Targets of other forms than a path or an http URI, and characters that no target has (RFC 9112 §3.2).
fn target_odd(io: &'static str) {
    let targets = [
        "*",
        "echo",
        "localhost:80",
        "ftp://a/echo",
        "http://",
        "/a#b",
        "\\echo",
        "/ä",
        "/a b",
    ];
    let requests: Vec<_> = targets
        .iter()
        .map(|target| request(target).into_bytes())
        .chain([
            b"GET /\xff\xfe HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"GET  /echo HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"GET\t/echo\tHTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
            b"GET /echo  HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        ])
        .collect();
    each_is_refused(io, 400, &requests);
}

/// As proxies send it: the path of an absolute URI is what counts.
fn target_absolute(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for target in [
        "http://localhost/echo",
        "ws://elsewhere:81/echo?a=b",
        "HTTP://localhost/echo",
    ] {
        let mut client = Client::upgrade(tcp(trial.address()), &request(target));
        client.round_trip("hello");
        client.close(1000);
    }
    assert_eq!(
        http(trial.address(), &request("http://localhost/nothing")).status,
        404
    );
    trial.over();
}

/// Paths that would lead elsewhere if they were ever resolved: nothing is, so nothing is there.
fn target_traversal(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let paths = [
        "/../echo",
        "/x/../echo",
        "/./echo",
        "//echo",
        "/echo/",
        "/echo/..",
        "/%2e%2e/echo",
        "/%65cho",
        "/../../../../etc/passwd",
        "/..%2f..%2fetc%2fpasswd",
        "/ECHO",
        "/echo;a=b",
        "/echo%00",
        "//",
        "//evil.example/echo",
        "//evil.example@localhost/echo",
    ];
    for path in paths {
        assert_eq!(http(trial.address(), &request(path)).status, 404, "{path}");
    }
    trial.over();
}

/// Queries with thousands of parameters, escapes that are none, and no UTF-8.
fn query_absurd(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let queries = [
        "&".repeat(7000),
        "=".repeat(7000),
        "sub&".repeat(1700),
        "%".repeat(7000),
        "sub=%f".repeat(1100),
        "%ff%fe=%00".repeat(600),
        "a=b&".repeat(1700),
    ];
    for query in &queries {
        let mut stream = tcp(trial.address());
        let request = request(&format!("/topics?{query}"));
        stream
            .write_all(request.as_bytes())
            .expect("the server reads");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        assert!(
            [b"HTTP/1.1 101", b"HTTP/1.1 400"].contains(&&status),
            "{query:.20}"
        );
    }
    // More topics than one connection may have, and longer names.
    let many: String = (0..500).map(|n| format!("&sub={n}")).collect();
    let long = format!("sub={}", "x".repeat(5000));
    for query in [many, long, "sub=".to_owned(), "pub=a&pub=b".to_owned()] {
        let response = http(trial.address(), &request(&format!("/topics?{query}")));
        assert_eq!(response.status, 400, "{query:.40}");
    }
    trial.over();
}

fn method_absurd(io: &'static str) {
    let rest = " /echo HTTP/1.1\r\nHost: a\r\n\r\n";
    let broken = [
        "", " ", "G(T", "GET,", "\"GET\"", "G\\T", "GET:", "{", "<GET>", "\u{e4}",
    ];
    let requests: Vec<_> = broken
        .iter()
        .map(|method| format!("{method}{rest}").into_bytes())
        .collect();
    each_is_refused(io, 400, &requests);
    each_is_refused(
        io,
        405,
        &[format!("{}{rest}", "M".repeat(5000)).into_bytes()],
    );
    each_is_refused(
        io,
        431,
        &[format!("{}{rest}", "M".repeat(50_000)).into_bytes()],
    );
}

fn http_version_odd(io: &'static str) {
    let first = |version: &str| format!("GET /echo {version}\r\nHost: a\r\n\r\n").into_bytes();
    each_is_refused(
        io,
        505,
        &["HTTP/2.0", "HTTP/1.2", "HTTP/0.9", "HTTP/3.0", "HTTP/9.9"].map(first),
    );
    let words = [
        "HTTP",
        "HTTP/",
        "HTTP/1",
        "http/1.1",
        "HTTP/1.1x",
        "HTTP/01.1",
        "HTTP/1.10",
        "HTPP/1.1",
        "RTSP/1.0",
        "",
    ];
    each_is_refused(io, 400, &words.map(first));
    each_is_refused(
        io,
        400,
        &[
            b"GET /echo\r\n\r\n".to_vec(),
            b"HTTP/1.1 200 OK\r\nHost: a\r\n\r\n".to_vec(),
        ],
    );
}

/// A client that speaks HTTP/2 from the first byte.
fn http2_preface(io: &'static str) {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    let settings = [&preface[..], &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    each_is_refused(io, 505, &[preface, settings]);
}

/// A client that speaks TLS to a plain port.
fn tls_client_hello(io: &'static str) {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.extend((0..500).map(|at| (at * 7) as u8));
    each_is_refused(
        io,
        400,
        &[hello, vec![0x16, 3, 1], vec![0x80, 0x2e, 1, 3, 1]],
    );
}

fn noise_instead_of_request(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for round in 0..60 {
        let noise = pattern(round, 20 + round as usize * 50);
        let mut stream = tcp(trial.address());
        stream.write_all(&noise).expect("the server reads");
        stream
            .shutdown(std::net::Shutdown::Write)
            .expect("it is open");
        let answer = answer(stream);
        assert!(
            answer.is_empty() || answer.starts_with("HTTP/1.1 400 "),
            "{noise:?} gets {answer}"
        );
    }
    trial.over();
}

/// Empty lines before a request are skipped (RFC 9112 §2.2), but not without end.
fn empty_lines_first(io: &'static str) {
    each_is_refused(io, 431, &[b"\r\n".repeat(10_000)]);
    let trial = Trial::corecast(io, &[]);
    let mut client = Client::upgrade(tcp(trial.address()), &format!("\r\n{}", request("/echo")));
    client.round_trip("hello");
    client.close(1000);
    trial.over();
}

/// Whatever follows a refused request is not a request any more: one answer, then the end.
fn pipelined_after_refusal(io: &'static str) {
    let good = request("/echo").into_bytes();
    let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec();
    let refused = |first: &[u8], status| {
        let behind = [&good, &page, &page].map(|next| [first, next].concat());
        each_is_refused(io, status, &behind);
    };
    refused(
        b"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        405,
    );
    refused(b"GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n", 404);
    refused(b"GET /echo HTTP/1.1\r\n\r\n", 400);
}

fn pipelined_after_page(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let page = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";
    for next in [&page.repeat(50)[..], request("/echo").as_bytes()] {
        let answer = ask(&trial, &[page, next].concat());
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(is_one_answer(&answer), "{answer}");
    }
    trial.over();
}
