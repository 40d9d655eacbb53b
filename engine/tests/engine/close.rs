//! How connections end: who hears what code, and what is left behind.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::mpsc::{self, Receiver, Sender};

use corecast::{
    Accept, CloseCode, Closed, Conn, ConnHandle, Handler, Io, Message, Reject, Request, SendStatus,
};

use crate::common::client::{
    BINARY, CLOSE, Client, PING, TEXT, close_payload, frame, header, request, tcp,
};
use crate::common::{Running, eventually, next, over_every_transport, serve};

over_every_transport![
    the_clients_code_comes_back,
    a_close_without_a_code_comes_back_without_one,
    invalid_close_frames_are_protocol_errors,
    the_server_closes_with_code_and_reason,
    a_reason_is_cut_at_a_character,
    a_code_that_may_not_be_sent_becomes_1011,
    both_sides_may_close_at_once,
    what_was_sent_before_the_close_arrives,
    nothing_can_be_sent_after_the_close,
    a_fin_without_close_is_1006,
    a_reset_is_1006,
    a_fin_within_a_frame_is_1006,
    data_after_the_clients_close_is_ignored,
    data_after_the_servers_close_is_ignored,
    a_handle_outlives_its_connection_harmlessly,
    closing_in_open_works,
];

/// How a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
struct End {
    code: u16,
    reason: String,
    clean: bool,
}

impl End {
    fn clean(code: u16, reason: &str) -> Self {
        let reason = reason.to_owned();
        Self {
            code,
            reason,
            clean: true,
        }
    }

    fn abnormal() -> Self {
        Self {
            code: 1006,
            reason: String::new(),
            clean: false,
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Report {
    Message(String),
    Status(SendStatus),
    Ended(End),
}

/// Echoes, or does what a message says: `close CODE REASON`.
struct Actor(Sender<Report>);

impl Handler for Actor {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.subscribe("all");
    }

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return;
        };
        self.report(Report::Message(text.to_owned()));
        let mut words = text.splitn(3, ' ');
        match (words.next(), words.next(), words.next()) {
            (Some("close"), Some(code), reason) => {
                let code = code.parse().ok().and_then(CloseCode::new);
                ws.send_text("before");
                ws.close(code.unwrap_or(CloseCode::ABNORMAL), reason.unwrap_or(""));
                self.report(Report::Status(ws.send_text("after")));
                self.report(Report::Status(ws.ping(b"after")));
                // A second one changes nothing.
                ws.close(CloseCode::POLICY, "twice");
            }
            _ => drop(ws.send(message)),
        }
    }

    fn close(&mut self, ws: &mut Conn<'_, ()>, why: Closed<'_>) {
        self.report(Report::Status(ws.send_text("in close")));
        assert!(!ws.subscribe("too late"), "nothing can be joined any more");
        assert_eq!(ws.topics().len(), 0, "subscriptions are over");
        self.report(Report::Ended(End {
            code: why.code.into(),
            reason: why.reason.to_owned(),
            clean: why.clean,
        }));
    }
}

impl Actor {
    fn report(&self, report: Report) {
        // Nobody listens any more when the test is over.
        let _ = self.0.send(report);
    }
}

fn actor(io: Io) -> (Running, Receiver<Report>) {
    let (reports, reported) = mpsc::channel();
    (serve(io, move |_| Actor(reports.clone())), reported)
}

/// The end of the next connection that ends, after everything else about it.
fn end(reports: &Receiver<Report>) -> End {
    let mut in_close = None;
    loop {
        match next(reports) {
            Report::Ended(end) => {
                assert_eq!(in_close, Some(SendStatus::Closed), "sending in `close`");
                return end;
            }
            Report::Status(status) => in_close = Some(status),
            Report::Message(_) => {}
        }
    }
}

fn the_clients_code_comes_back(io: Io) {
    let (server, reports) = actor(io);
    for (code, reason) in [
        (1000, "bye"),
        (1001, ""),
        (1003, "größer"),
        (3000, "library"),
        (4999, "application"),
    ] {
        let mut client = Client::connect(server.address());
        client.send(CLOSE, &close_payload(code, reason));
        client.expect_close(code);
        client.expect_end();
        assert_eq!(end(&reports), End::clean(code, reason));
    }
    eventually("all slots are free", || server.stats().connections == 0);
}

fn a_close_without_a_code_comes_back_without_one(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.send(CLOSE, &[]);
    client.expect(CLOSE, &[]);
    client.expect_end();
    assert_eq!(end(&reports), End::clean(1005, ""));
}

fn invalid_close_frames_are_protocol_errors(io: Io) {
    let (server, reports) = actor(io);
    for payload in [
        vec![3],
        close_payload(999, ""),
        close_payload(1004, ""),
        close_payload(1005, ""),
        close_payload(1006, ""),
        close_payload(1015, ""),
        close_payload(2999, ""),
        close_payload(5000, ""),
    ] {
        let mut client = Client::connect(server.address());
        client.send(CLOSE, &payload);
        client.expect_close(1002);
        client.expect_end();
        let end = end(&reports);
        assert_eq!((end.code, end.clean), (1002, false), "{payload:?}");
    }
    let mut client = Client::connect(server.address());
    client.send(CLOSE, &[3, 232, 0xff]);
    client.expect_close(1007);
    client.expect_end();
}

fn the_server_closes_with_code_and_reason(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.text("close 4001 no more room");
    client.expect_text("before");
    assert_eq!(client.expect_close(4001), "no more room");
    client.answer_close(4001);
    client.expect_end();
    assert_eq!(end(&reports), End::clean(4001, ""));
}

fn a_reason_is_cut_at_a_character(io: Io) {
    let (server, _reports) = actor(io);
    let mut client = Client::connect(server.address());
    // 61 characters of two bytes are 122; a half of the next would make 123.
    client.text(&format!("close 4001 {}", "ß".repeat(100)));
    client.expect_text("before");
    assert_eq!(client.expect_close(4001), "ß".repeat(61));
}

fn a_code_that_may_not_be_sent_becomes_1011(io: Io) {
    let (server, _reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.text("close 1006");
    client.expect_text("before");
    client.expect_close(1011);
}

fn both_sides_may_close_at_once(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    // The server has ours before it could see an answer to its own.
    let both = [
        frame(TEXT, b"close 4001"),
        frame(CLOSE, &close_payload(4002, "mine")),
    ];
    client.write(&both.concat());
    client.expect_text("before");
    client.expect_close(4001);
    client.expect_end();
    assert_eq!(end(&reports), End::clean(4002, "mine"));
}

fn what_was_sent_before_the_close_arrives(io: Io) {
    let (server, _reports) = actor(io);
    let mut client = Client::connect_narrow(server.address());
    let large = "x".repeat(900 << 10);
    let all = [
        frame(TEXT, large.as_bytes()),
        frame(TEXT, b"close 1000 done"),
    ];
    let mut writer = client.writer();
    let writing = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &all.concat()));
    client.expect(TEXT, large.as_bytes());
    client.expect_text("before");
    assert_eq!(client.expect_close(1000), "done");
    client.answer_close(1000);
    client.expect_end();
    writing.join().unwrap().expect("the server reads");
}

fn nothing_can_be_sent_after_the_close(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.text("close 1000");
    assert_eq!(
        next(&reports),
        Report::Message("close 1000".to_owned()),
        "it was heard"
    );
    assert_eq!(
        next(&reports),
        Report::Status(SendStatus::Closed),
        "a message"
    );
    assert_eq!(next(&reports), Report::Status(SendStatus::Closed), "a ping");
    client.expect_text("before");
    client.expect_close(1000);
    client.answer_close(1000);
    client.expect_end();
    end(&reports);
}

fn a_fin_without_close_is_1006(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.round_trip("hello");
    client.half_close();
    assert_eq!(end(&reports), End::abnormal());
    client.expect_end();
    eventually("the slot is free", || server.stats().connections == 0);
}

fn a_reset_is_1006(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.round_trip("hello");
    client.reset();
    assert_eq!(end(&reports), End::abnormal());
    eventually("the slot is free", || server.stats().connections == 0);
}

fn a_fin_within_a_frame_is_1006(io: Io) {
    let (server, reports) = actor(io);
    for bytes in [
        header(0x81, 10, true),
        frame(TEXT, b"cut short")[..9].to_vec(),
        frame(BINARY, &[7; 100_000])[..50_000].to_vec(),
    ] {
        let mut client = Client::connect(server.address());
        client.write(&bytes);
        client.half_close();
        assert_eq!(end(&reports), End::abnormal());
        client.expect_end();
    }
}

fn data_after_the_clients_close_is_ignored(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    let all = [
        frame(TEXT, b"first"),
        frame(CLOSE, &close_payload(1000, "")),
        frame(TEXT, b"too late"),
        frame(PING, b"too late"),
        // Not even a frame.
        vec![0xff; 100],
    ];
    client.write(&all.concat());
    client.expect_text("first");
    client.expect_close(1000);
    client.expect_end();
    assert_eq!(next(&reports), Report::Message("first".to_owned()));
    assert_eq!(next(&reports), Report::Status(SendStatus::Closed));
    assert_eq!(next(&reports), Report::Ended(End::clean(1000, "")));
}

fn data_after_the_servers_close_is_ignored(io: Io) {
    let (server, reports) = actor(io);
    let mut client = Client::connect(server.address());
    client.text("close 1000");
    client.expect_text("before");
    client.expect_close(1000);
    client.text("too late");
    client.send(PING, b"too late");
    client.answer_close(1000);
    client.expect_end();
    let mut messages = 0;
    loop {
        match next(&reports) {
            Report::Message(_) => messages += 1,
            Report::Ended(end) => break assert_eq!(end, End::clean(1000, "")),
            Report::Status(_) => {}
        }
    }
    assert_eq!(messages, 1, "only what came before the Close is delivered");
}

/// Keeps every connection's handle, and tells which of them still lead somewhere.
struct Keeper {
    handles: Rc<RefCell<HashMap<String, ConnHandle<String>>>>,
    reports: Sender<(String, Option<String>)>,
}

impl Handler for Keeper {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<String>, Reject> {
        Ok(Accept::new(request.path().to_owned()))
    }

    fn open(&mut self, ws: &mut Conn<'_, String>) {
        let (name, handle) = (ws.data().clone(), ws.handle());
        self.handles.borrow_mut().insert(name, handle);
    }

    /// Asks for the connection of a path.
    fn message(&mut self, ws: &mut Conn<'_, String>, message: Message<'_>) {
        let Message::Text(name) = message else {
            return;
        };
        assert!(
            ws.handle().with(|_| ()).is_none(),
            "a callback has its connection at hand"
        );
        let (name, reports) = (name.to_owned(), self.reports.clone());
        let handle = *self.handles.borrow().get(&name).expect("it was there");
        corecast::spawn(async move {
            let found = handle.with(|ws| {
                ws.send_text("found");
                ws.data().clone()
            });
            // Nobody listens any more when the test is over.
            let _ = reports.send((name, found));
        });
    }
}

fn a_handle_outlives_its_connection_harmlessly(io: Io) {
    let (reports, found) = mpsc::channel();
    let server = serve(io, move |_| Keeper {
        handles: Rc::default(),
        reports: reports.clone(),
    });
    let mut asker = Client::connect_to(server.address(), "/asker");
    let mut ask = |name: &str| {
        asker.text(name);
        next(&found)
    };
    for round in 0..20 {
        // The same slot again and again: it was the last to be freed.
        let (name, before) = (format!("/{round}"), format!("/{}", round - 1));
        let mut client = Client::connect_to(server.address(), &name);
        assert_eq!(ask(&name), (name.clone(), Some(name.clone())));
        client.expect_text("found");
        if round > 0 {
            assert_eq!(ask(&before), (before.clone(), None));
        }
        client.close(1000);
        eventually("the slot is free", || server.stats().connections == 1);
        assert_eq!(ask(&name), (name.clone(), None));
    }
}

/// Does not like anybody.
struct Doorman;

impl Handler for Doorman {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.send_text("sorry");
        ws.close(CloseCode::POLICY, "not today");
    }

    fn message(&mut self, _ws: &mut Conn<'_, ()>, message: Message<'_>) {
        panic!("a message to a connection that is closing: {message:?}");
    }
}

fn closing_in_open_works(io: Io) {
    let server = serve(io, |_| Doorman);
    let mut stream = tcp(server.address());
    let eager = [request("/").into_bytes(), frame(TEXT, b"let me in")].concat();
    std::io::Write::write_all(&mut stream, &eager).unwrap();
    let mut client = Client::opened(stream);
    client.expect_text("sorry");
    assert_eq!(client.expect_close(1008), "not today");
    client.answer_close(1008);
    client.expect_end();
    assert_eq!(server.stats().handler_panics, 0);
}
