//! A handler that pauses hears nothing, loses nothing, and holds its peer back.

use std::io::{ErrorKind, Write};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::Duration;

use corecast::{
    Accept, CloseCode, Closed, Conn, ConnHandle, Handler, Io, Message, Reject, Request,
};

use crate::common::client::{BINARY, Client, TEXT, frame, request, tcp};
use crate::common::payload::pattern;
use crate::common::{PATIENCE, Running, next, over_every_transport, quiet, serve};

over_every_transport![
    nothing_is_delivered_while_paused,
    pausing_in_open_holds_the_first_frames,
    a_paused_peer_is_held_back_by_tcp,
    nothing_is_lost_over_many_pauses,
    resuming_at_once_is_as_if_nothing_was,
    a_paused_connection_closes_cleanly,
    a_paused_connection_drains_when_the_server_does,
    frames_before_a_fin_survive_a_pause,
];

/// Long enough for anything wrong to be delivered.
const A_WHILE: Duration = Duration::from_millis(150);

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Paused,
    /// The bytes of a message.
    Message(Vec<u8>),
    Ended(u16, bool),
}

/// Pauses a connection when it says so, or in `open` at the path `/paused`. A connection at `/control` resumes and
/// closes it.
struct Pauser {
    reports: Sender<Report>,
    paused: Option<ConnHandle<String>>,
}

impl Handler for Pauser {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<String>, Reject> {
        Ok(Accept::new(request.path().to_owned()))
    }

    fn open(&mut self, ws: &mut Conn<'_, String>) {
        if ws.data() == "/paused" {
            self.pause(ws);
        }
    }

    fn message(&mut self, ws: &mut Conn<'_, String>, message: Message<'_>) {
        match message {
            Message::Text("pause") => self.pause(ws),
            Message::Text("blink") => {
                ws.pause();
                ws.resume();
            }
            Message::Text("resume") => self.at_paused(|ws| ws.resume()),
            Message::Text("close") => {
                self.at_paused(|ws| ws.close(CloseCode::NORMAL, "while paused"));
            }
            other => self.report(Report::Message(other.as_bytes().to_owned())),
        }
    }

    fn close(&mut self, ws: &mut Conn<'_, String>, why: Closed<'_>) {
        if ws.data() != "/control" {
            self.report(Report::Ended(why.code.into(), why.clean));
        }
    }
}

impl Pauser {
    fn pause(&mut self, ws: &mut Conn<'_, String>) {
        ws.pause();
        self.paused = Some(ws.handle());
        self.report(Report::Paused);
    }

    fn at_paused(&self, f: fn(&mut Conn<'_, String>)) {
        let handle = self.paused.expect("a connection that paused");
        corecast::spawn(async move { handle.with(f).expect("it is open") });
    }

    fn report(&self, report: Report) {
        // Nobody listens any more when the test is over.
        let _ = self.reports.send(report);
    }
}

fn pauser(io: Io) -> (Running, Client, Receiver<Report>) {
    let (reports, reported) = mpsc::channel();
    let server = serve(io, move |_| Pauser {
        reports: reports.clone(),
        paused: None,
    });
    let control = Client::connect_to(server.address(), "/control");
    (server, control, reported)
}

/// Message `n` of many.
fn numbered(n: u64) -> Vec<u8> {
    pattern(n, 1 + (n * 37 % 3000) as usize)
}

fn numbered_frames(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| frame(BINARY, &numbered(n))).collect()
}

#[track_caller]
fn expect_numbered(reports: &Receiver<Report>, numbers: std::ops::Range<u64>) {
    for n in numbers {
        assert!(next(reports) == Report::Message(numbered(n)), "message {n}");
    }
}

/// More than the engine takes at once follows the message that makes it pause.
fn nothing_is_delivered_while_paused(io: Io) {
    let (server, mut control, reports) = pauser(io);
    for _ in 0..5 {
        let mut client = Client::connect(server.address());
        let mut writer = client.writer();
        // Made beforehand: it is long work for a build that checks itself, and is to arrive before the resume.
        let all = [frame(TEXT, b"pause"), numbered_frames(0..1000)].concat();
        let writing = std::thread::spawn(move || {
            writer.write_all(&all).expect("the server reads");
        });
        assert_eq!(next(&reports), Report::Paused);
        quiet(&reports, A_WHILE);
        control.text("resume");
        expect_numbered(&reports, 0..1000);
        writing.join().unwrap();
        client.send(crate::common::client::CLOSE, &[]);
        assert_eq!(next(&reports), Report::Ended(1005, true));
    }
}

fn pausing_in_open_holds_the_first_frames(io: Io) {
    let (server, mut control, reports) = pauser(io);
    let mut stream = tcp(server.address());
    let eager = [request("/paused").into_bytes(), numbered_frames(0..3)];
    stream.write_all(&eager.concat()).unwrap();
    let mut client = Client::opened(stream);
    assert_eq!(next(&reports), Report::Paused);
    quiet(&reports, A_WHILE);
    client.write(&numbered_frames(3..5));
    quiet(&reports, A_WHILE);
    control.text("resume");
    expect_numbered(&reports, 0..5);
    client.close(1000);
}

fn a_paused_peer_is_held_back_by_tcp(io: Io) {
    // Above what both sides' socket buffers and the engine's receive buffers take together.
    const LIMIT: usize = 64 << 20;
    let (server, mut control, reports) = pauser(io);
    let mut client = Client::connect(server.address());
    client.text("pause");
    assert_eq!(next(&reports), Report::Paused);
    let message = frame(BINARY, &pattern(1, 100_000));
    client
        .stream()
        .set_write_timeout(Some(A_WHILE))
        .expect("a timeout");
    let (mut written, mut rest) = (0, message.as_slice());
    loop {
        match client.stream().write(rest) {
            Ok(n) => {
                written += n;
                rest = match &rest[n..] {
                    [] => &message,
                    rest => rest,
                };
            }
            Err(e) => break assert_eq!(e.kind(), ErrorKind::WouldBlock),
        }
        assert!(written < LIMIT, "the server takes everything");
    }
    quiet(&reports, A_WHILE);
    client
        .stream()
        .set_write_timeout(Some(PATIENCE))
        .expect("a timeout");
    control.text("resume");
    if rest.len() < message.len() {
        client.write(rest);
    }
    for n in 0..written.div_ceil(message.len()) {
        assert!(
            next(&reports) == Report::Message(pattern(1, 100_000)),
            "message {n}"
        );
    }
    client.close(1000);
}

fn nothing_is_lost_over_many_pauses(io: Io) {
    const ROUNDS: u64 = 50;
    let (server, mut control, reports) = pauser(io);
    let client = Client::connect(server.address());
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || {
        for round in 0..ROUNDS {
            let all = [
                numbered_frames(round * 40..round * 40 + 40),
                frame(TEXT, b"pause"),
            ];
            writer.write_all(&all.concat()).expect("the server reads");
        }
    });
    for round in 0..ROUNDS {
        expect_numbered(&reports, round * 40..round * 40 + 40);
        assert_eq!(next(&reports), Report::Paused);
        quiet(&reports, Duration::from_millis(2));
        control.text("resume");
    }
    writing.join().unwrap();
    client.close(1000);
}

fn resuming_at_once_is_as_if_nothing_was(io: Io) {
    let (server, _control, reports) = pauser(io);
    let mut client = Client::connect(server.address());
    for n in 0..200 {
        client.text("blink");
        client.write(&numbered_frames(n..n + 1));
    }
    expect_numbered(&reports, 0..200);
    client.close(1000);
}

/// A close has to be answered, so the peer has to be heard.
fn a_paused_connection_closes_cleanly(io: Io) {
    for held in [false, true] {
        let (server, mut control, reports) = pauser(io);
        let mut client = Client::connect(server.address());
        client.text("pause");
        if held {
            client.write(&numbered_frames(0..3));
        }
        assert_eq!(next(&reports), Report::Paused);
        quiet(&reports, A_WHILE);
        control.text("close");
        assert_eq!(client.expect_close(1000), "while paused");
        client.answer_close(1000);
        client.expect_end();
        assert_eq!(next(&reports), Report::Ended(1000, true));
    }
}

fn a_paused_connection_drains_when_the_server_does(io: Io) {
    let (server, _control, reports) = pauser(io);
    let mut client = Client::connect(server.address());
    client.text("pause");
    assert_eq!(next(&reports), Report::Paused);
    quiet(&reports, A_WHILE);
    server.drain(PATIENCE);
    client.expect_close(1001);
    client.answer_close(1001);
    client.expect_end();
    assert_eq!(next(&reports), Report::Ended(1001, true));
}

fn frames_before_a_fin_survive_a_pause(io: Io) {
    let (server, mut control, reports) = pauser(io);
    let mut client = Client::connect(server.address());
    let all = [frame(TEXT, b"pause"), numbered_frames(0..10)];
    client.write(&all.concat());
    client.half_close();
    assert_eq!(next(&reports), Report::Paused);
    quiet(&reports, A_WHILE);
    control.text("resume");
    expect_numbered(&reports, 0..10);
    assert_eq!(next(&reports), Report::Ended(1006, false));
}
