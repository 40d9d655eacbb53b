//! The end of the server itself.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{CLOSE, Client, TEXT, close_payload, frame, tcp};
use crate::eventually;
use crate::herd::Herd;
use crate::process::{Process, Program};

crate::rows![sigterm_drain, sigterm_unanswered];

/// SIGTERM under load: nobody gets in any more, 1001 to all, spread over time so that they do not all come back at once,
/// and the process ends early when all have closed.
fn sigterm_drain(io: &'static str) {
    let args = ["--io", io, "--cores", "1", "--shutdown-deadline", "10s"];
    let mut process = Process::start(Program::Corecast, &args);
    let mut herd = Herd::connect(process.address, "/echo", 1_000);
    let address = process.address;
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let client = Client::connect_to(address, "/echo");
            thread::spawn(move || echo_to_the_end(client))
        })
        .collect();
    herd.write(&frame(TEXT, b"before"));
    herd.expect(b"\x81\x06before");
    let start = Instant::now();
    process.signal("TERM");
    eventually("nobody gets in", || {
        TcpStream::connect(address).is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
    });
    assert!(
        start.elapsed() < Duration::from_secs(3),
        "the listeners close at once"
    );
    let mut closes: Vec<Duration> = Vec::new();
    for stream in &mut herd.streams {
        let mut close = [0; 4];
        stream.read_exact(&mut close).expect("a Close frame");
        assert_eq!((close[0], &close[2..]), (0x88, &1001_u16.to_be_bytes()[..]));
        closes.push(start.elapsed());
        stream
            .write_all(&frame(CLOSE, &close_payload(1001, "")))
            .expect("it waits for the answer");
    }
    let (first, last) = (closes[0], closes[closes.len() - 1]);
    assert!(
        last - first > Duration::from_millis(250),
        "all at once: {first:?} to {last:?}"
    );
    drop(herd);
    for busy in busy {
        busy.join().expect("it was served to the end");
    }
    assert_eq!(process.end().code(), Some(0));
    assert!(
        start.elapsed() < Duration::from_secs(9),
        "it waits for nobody: {:?}",
        start.elapsed()
    );
    assert!(!process.log().iter().any(|line| line.contains("panicked")));
}

/// Echoes until the server closes with 1001, and does its part then.
fn echo_to_the_end(mut client: Client) {
    for round in 0.. {
        let text = format!("round {round}");
        client.text(&text);
        let answer = client.frame();
        if answer.opcode == CLOSE {
            assert_eq!(answer.close_code().map(|(code, _)| code), Some(1001));
            client.answer_close(1001);
            return client.expect_end();
        }
        assert_eq!(answer.payload, text.as_bytes());
    }
}

/// Peers that do not answer, do not read, or have not finished their request: cut at the deadline, and not before.
fn sigterm_unanswered(io: &'static str) {
    const DEADLINE: Duration = Duration::from_secs(1);
    let args = ["--io", io, "--cores", "1", "--shutdown-deadline", "1s"];
    let mut process = Process::start(Program::Corecast, &args);
    let mut mute: Vec<_> = (0..20)
        .map(|_| Client::connect_to(process.address, "/echo"))
        .collect();
    let mut half = tcp(process.address);
    half.write_all(b"GET / HTTP/1.1\r\nHost: a")
        .expect("the server reads");
    let deaf = Client::upgrade(
        crate::client::narrow_tcp(process.address),
        &crate::client::request("/echo"),
    );
    deaf.writer()
        .write_all(&frame(TEXT, &[b'x'; 8 << 20]))
        .expect("the server reads");
    let start = Instant::now();
    process.signal("TERM");
    for client in &mut mute {
        client.expect_close(1001);
    }
    for client in &mut mute {
        client.expect_cut();
    }
    assert_eq!(process.end().code(), Some(0));
    let time = start.elapsed();
    assert!(
        (DEADLINE - Duration::from_millis(100)..DEADLINE + Duration::from_secs(3)).contains(&time),
        "{time:?}"
    );
}
