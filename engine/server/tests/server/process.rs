//! How the server starts and ends: exit codes, signals, and the flags that the apps see.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Instant;

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::running::{PATIENCE, Running, close_code, run, text};

#[test]
fn it_says_where_it_listens_and_what_to_try_next() {
    let server = Running::start(&["--cores", "1"]);
    let text = &server.announcement;
    assert!(text.contains("on 1 core, I/O: "), "{text}");
    let next = format!("corecast-bench -- echo ws://{}/echo", server.addr);
    assert!(text.contains(&next), "{text}");
}

#[test]
fn every_address_is_served() {
    let server = Running::start(&["-l", "127.0.0.1:0"]);
    let lines = server
        .announcement
        .lines()
        .filter_map(|line| line.strip_prefix("listening "));
    let addrs: Vec<&str> = lines.map(str::trim).collect();
    assert_eq!(addrs.len(), 2);
    for addr in addrs {
        let stream = TcpStream::connect(addr).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let (mut client, _) = tungstenite::client(format!("ws://{addr}/echo"), stream).unwrap();
        client.send(Message::text("here")).unwrap();
        assert_eq!(text(&mut client), "here");
    }
}

#[test]
fn one_app_serves_every_path() {
    let server = Running::start(&["--app", "echo"]);
    let mut client = server.connect("/any/path?at=all");
    client.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut client), "hello");
    let server = Running::start(&["--app", "topics"]);
    let mut client = server.connect("/elsewhere?sub=a&pub=a");
    client.send(Message::text("hello")).unwrap();
    assert_eq!(text(&mut client), "hello");
}

#[test]
fn pages_from_elsewhere_are_refused() {
    let server = Running::start(&["--origin", "https://example.org", "--origin", "http://a:1"]);
    let connect = |origin| server.try_connect("/echo", &[("Origin", origin)]).map(drop);
    assert_eq!(connect("https://example.org"), Ok(()));
    assert_eq!(connect("http://a:1"), Ok(()));
    assert_eq!(connect("http://example.org"), Err(403));
    assert_eq!(server.try_connect("/echo", &[]).map(drop), Ok(()));
    let server = Running::start(&["--require-origin"]);
    assert_eq!(server.try_connect("/echo", &[]).map(drop), Err(403));
    let server = Running::start(&[]);
    let anywhere = server.try_connect("/echo", &[("Origin", "http://anywhere")]);
    assert_eq!(anywhere.map(drop), Ok(()));
}

#[test]
fn an_address_with_too_many_connections_is_refused() {
    let server = Running::start(&["--max-per-address", "2"]);
    let _inside = [server.connect("/echo"), server.connect("/chat")];
    assert_eq!(server.try_connect("/echo", &[]).map(drop), Err(429));
    let server = Running::start(&["--handshake-rate", "1/s"]);
    let _inside = server.connect("/echo");
    // However slow the machine: more often than once a second.
    let refused = (0..20).any(|_| server.try_connect("/echo", &[]).map(drop) == Err(429));
    assert!(refused, "20 connections in a row");
}

#[test]
fn the_limits_of_requests_can_be_set() {
    let server = Running::start(&[
        "--max-head",
        "1k",
        "--max-headers",
        "10",
        "--handshake-timeout",
        "200ms",
    ]);
    let connect = |headers: &[_]| server.try_connect("/echo", headers).map(drop);
    let long = "x".repeat(1 << 10);
    assert_eq!(connect(&[("X", &long)]), Err(431));
    assert_eq!(connect(&[("X", "y"); 10]), Err(431));
    assert_eq!(connect(&[("X", "y")]), Ok(()));
    let mut slow = TcpStream::connect(server.addr).unwrap();
    slow.set_read_timeout(Some(PATIENCE)).unwrap();
    slow.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
}

#[test]
fn an_address_in_use_is_a_runtime_failure_that_names_it() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (code, stderr) = run(&["-l", &addr]);
    assert_eq!(code, Some(1), "{stderr}");
    assert!(stderr.contains(&addr), "{stderr}");
}

#[test]
fn bad_flags_and_configuration_exit_with_2() {
    let path = std::env::temp_dir().join(format!("corecast-process-{}.toml", std::process::id()));
    fs::write(&path, "\nmax_mesage = '1k'\n").unwrap();
    let (code, stderr) = run(&["-c", path.to_str().unwrap()]);
    fs::remove_file(&path).unwrap();
    assert_eq!(code, Some(2), "{stderr}");
    assert!(
        stderr.contains(":2: unknown key") && stderr.contains("`max-message`"),
        "{stderr}"
    );
    let (code, stderr) = run(&["--bcklog", "1m"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("'--backlog'"), "{stderr}");
    let (code, stderr) = run(&["--cores", "8191-8191"]);
    assert_eq!(code, Some(2), "{stderr}");
    assert!(stderr.contains("processor 8191"), "{stderr}");
}

#[test]
fn the_configuration_file_sets_what_flags_do_not() {
    let path = std::env::temp_dir().join(format!("corecast-file-{}.toml", std::process::id()));
    fs::write(&path, "app = 'echo'\nmax-message = '1k'\ncores = 1\n").unwrap();
    let server = Running::start(&["-c", path.to_str().unwrap(), "--max-message", "2k"]);
    fs::remove_file(&path).unwrap();
    let mut client = server.connect("/");
    client.send(Message::binary(vec![0_u8; 2 << 10])).unwrap();
    assert_eq!(client.read().unwrap().len(), 2 << 10);
    client
        .send(Message::binary(vec![0_u8; (2 << 10) + 1]))
        .unwrap();
    assert_eq!(close_code(&mut client), CloseCode::Size);
}

#[test]
fn sigint_ends_an_idle_server_at_once() {
    let server = Running::start(&["--shutdown-deadline", "5m"]);
    let client = server.connect("/echo");
    drop(client);
    let start = Instant::now();
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0));
    assert!(start.elapsed() < PATIENCE / 2);
}
