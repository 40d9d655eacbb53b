//! What it does on each of its transports; the topics have a file of their own.

use std::io::Write;
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};

use crate::running::{Client, PATIENCE, Running, close_code, text};

on_each_io! {
    every_message_comes_back
    a_clients_close_is_answered_with_its_code
    a_peer_that_does_not_read_is_not_read_from
    chat_rooms_carry_what_is_said
    chat_errors_say_what_and_where
    the_page_answers_plain_http
    sigterm_closes_with_going_away
    a_draining_server_takes_no_new_connection
    the_deadline_ends_what_does_not_close
    a_second_signal_ends_at_once
    settings_reach_the_engine
}

fn every_message_comes_back(io: &str) {
    let server = Running::start(&["--io", io]);
    let name = match io {
        "ring" => "I/O: io_uring (data ring)\n",
        "monoio" => "I/O: monoio over io_uring\n",
        _ => "I/O: monoio over epoll\n",
    };
    assert!(
        server.announcement.contains(name),
        "{}",
        server.announcement
    );
    let mut client = server.connect("/echo");
    let messages = [
        Message::text(""),
        Message::text("hällo ⚙"),
        Message::binary(vec![0_u8; 0]),
        Message::binary((0..=255).collect::<Vec<u8>>()),
        Message::binary(vec![7_u8; 60_000]),
        Message::text("é".repeat(2 << 20)),
    ];
    for message in messages {
        client.send(message.clone()).unwrap();
        assert!(client.read().unwrap() == message, "{} bytes", message.len());
    }
    client.send(Message::Ping("are you there".into())).unwrap();
    assert_eq!(
        client.read().unwrap(),
        Message::Pong("are you there".into())
    );
}

fn a_clients_close_is_answered_with_its_code(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut client = server.connect("/echo");
    let code = CloseCode::from(3042);
    client
        .close(Some(CloseFrame {
            code,
            reason: "bye".into(),
        }))
        .unwrap();
    assert_eq!(close_code(&mut client), code);
}

fn a_peer_that_does_not_read_is_not_read_from(io: &str) {
    const MESSAGES: u32 = 8_000;
    const SIZE: usize = 8 << 10;
    let server = Running::start(&["--io", io, "--cores", "1", "--backlog", "1m"]);
    let before = server.anonymous_memory();
    let mut reader = server.connect("/echo");
    let stream = reader.get_ref().try_clone().unwrap();
    let sent = Arc::new(AtomicU32::new(0));
    let counter = Arc::clone(&sent);
    let writer = thread::spawn(move || {
        let mut writer = Client::from_raw_socket(stream, Role::Client, None);
        for number in 0..MESSAGES {
            let mut payload = vec![0_u8; SIZE];
            payload[..4].copy_from_slice(&number.to_be_bytes());
            writer.send(Message::binary(payload)).unwrap();
            counter.store(number + 1, Relaxed);
        }
    });
    let taken = until_it_stands_still(&sent);
    assert!(
        taken < MESSAGES,
        "all {} MiB were taken",
        (MESSAGES as usize * SIZE) >> 20
    );
    // What was freed on the way goes back to the system some seconds later.
    until_memory(&server, |memory| memory < before + (16 << 20));
    for number in 0..MESSAGES {
        let message = reader.read().unwrap();
        assert_eq!(
            message.into_data()[..4],
            number.to_be_bytes(),
            "in order, none missing"
        );
    }
    writer.join().unwrap();
}

fn until_memory(server: &Running, is_right: impl Fn(usize) -> bool) {
    let patience = Instant::now() + Duration::from_secs(60);
    while !is_right(server.anonymous_memory()) {
        let memory = server.anonymous_memory();
        assert!(Instant::now() < patience, "{memory} bytes are in use");
        thread::sleep(Duration::from_millis(100));
    }
}

fn until_it_stands_still(count: &AtomicU32) -> u32 {
    let mut seen = 0;
    loop {
        thread::sleep(Duration::from_millis(300));
        let now = count.load(Relaxed);
        if now > 0 && now == seen {
            return now;
        }
        seen = now;
    }
}

fn chat_rooms_carry_what_is_said(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut ada = server.connect("/chat?name=ada");
    let mut bob = server.connect("/chat?name=bob");
    for client in [&mut ada, &mut bob] {
        client.send(Message::text(r#"{"join":"tea"}"#)).unwrap();
        assert_eq!(text(client), r#"{"joined":"tea"}"#);
    }
    bob.send(Message::text(r#"{"last":"tea"}"#)).unwrap();
    assert_eq!(text(&mut bob), r#"{"last":"tea","from":null,"said":null}"#);
    ada.send(Message::text(
        r#"{"say":"milk \u2615 \"first\"","in":"tea"}"#,
    ))
    .unwrap();
    for client in [&mut ada, &mut bob] {
        let expected = "{\"in\":\"tea\",\"from\":\"ada\",\"said\":\"milk ☕ \\\"first\\\"\"}";
        assert_eq!(text(client), expected);
    }
    ada.send(Message::text(r#"{"leave":"tea"}"#)).unwrap();
    assert_eq!(text(&mut ada), r#"{"left":"tea"}"#);
    bob.send(Message::text(r#"{"last":"tea"}"#)).unwrap();
    assert!(text(&mut bob).starts_with(r#"{"last":"tea","from":"ada","said":"milk"#));
    // A room is forgotten with its last member, whether that leaves or goes away.
    drop(bob);
    let mut eve = server.connect("/chat");
    let mut tries = 0;
    loop {
        eve.send(Message::text(r#"{"last":"tea"}"#)).unwrap();
        if text(&mut eve) == r#"{"last":"tea","from":null,"said":null}"# {
            break;
        }
        tries += 1;
        assert!(tries < 1_000, "the room outlives its members");
        thread::sleep(Duration::from_millis(5));
    }
}

fn chat_errors_say_what_and_where(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut client = server.connect("/chat");
    let mut ask = |command: &str| {
        client.send(Message::text(command)).unwrap();
        text(&mut client)
    };
    assert_eq!(
        ask(r#"{"join":7}"#),
        r#"{"error":"must be a string","at":"join"}"#
    );
    assert_eq!(
        ask(r#"{"say":"x","in":"a"}"#),
        r#"{"error":"join the room first","at":"in"}"#
    );
    assert_eq!(
        ask(r#"{"leave":"a"}"#),
        r#"{"error":"not in this room","at":"leave"}"#
    );
    // Each would be let in on what is said in other rooms.
    for pattern in ["*", "#", "a/#", "*/a", "a/*/b"] {
        let answer = ask(&format!(r#"{{"join":"{pattern}"}}"#));
        assert!(answer.contains(r#""at":"join""#), "{pattern}: {answer}");
    }
    assert_eq!(ask(r##"{"join":"c#"}"##), r##"{"joined":"c#"}"##);
    assert_eq!(ask(r##"{"leave":"c#"}"##), r##"{"left":"c#"}"##);
    assert_eq!(
        ask(r#"{"join":nul}"#),
        r#"{"error":"this is not JSON","at":8}"#
    );
    for room in 0..32 {
        assert_eq!(
            ask(&format!("{{\"join\":\"{room}\"}}")),
            format!("{{\"joined\":\"{room}\"}}")
        );
    }
    assert!(ask(r#"{"join":"one more"}"#).contains("leave a room first"));
    assert_eq!(ask(r#"{"leave":"0"}"#), r#"{"left":"0"}"#);
    assert_eq!(
        ask(r#"{"join":"1"}"#),
        r#"{"error":"already in this room","at":"join"}"#
    );
    assert_eq!(server.try_connect("/chat?name=", &[]).unwrap_err(), 400);
}

fn the_page_answers_plain_http(io: &str) {
    let server = Running::start(&["--io", io]);
    let answer = server.http("GET", "/");
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && head.contains("text/html"),
        "{head}"
    );
    assert!(body.contains(include_str!("../../src/pages/rooms/main.js")));
    let console = server.http("GET", "/console");
    assert!(console.contains(include_str!("../../src/pages/console/console.js")));
    let (head, body) = server
        .http("HEAD", "/")
        .split_once("\r\n\r\n")
        .map(own)
        .unwrap();
    assert!(
        head.starts_with("HTTP/1.1 200 ") && body.is_empty(),
        "{head}"
    );
    assert!(server.http("GET", "/nowhere").starts_with("HTTP/1.1 404 "));
    assert_eq!(server.try_connect("/nowhere", &[]).unwrap_err(), 404);
}

fn own((head, body): (&str, &str)) -> (String, String) {
    (head.to_owned(), body.to_owned())
}

fn sigterm_closes_with_going_away(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut clients = [
        server.connect("/echo"),
        server.connect("/topics"),
        server.connect("/chat"),
    ];
    server.signal("TERM");
    for client in &mut clients {
        assert_eq!(close_code(client), CloseCode::Away);
    }
    assert_eq!(server.end().code(), Some(0));
}

fn a_draining_server_takes_no_new_connection(io: &str) {
    let mut server = Running::start(&["--io", io, "--shutdown-deadline", "5m"]);
    let silent = server.connect("/echo");
    server.signal("TERM");
    let start = Instant::now();
    while TcpStream::connect(server.addr).is_ok() {
        assert!(start.elapsed() < PATIENCE, "it still accepts");
        thread::sleep(Duration::from_millis(5));
    }
    assert!(
        server.is_running(),
        "it waits for the client to answer the close"
    );
    let start = Instant::now();
    drop(silent);
    assert_eq!(server.end().code(), Some(0));
    // Because the client is gone, not because the close timeout (5 s) is over.
    assert!(
        start.elapsed() < Duration::from_secs(4),
        "{:?}",
        start.elapsed()
    );
}

fn the_deadline_ends_what_does_not_close(io: &str) {
    let server = Running::start(&["--io", io, "--shutdown-deadline", "300ms"]);
    let _silent = server.connect("/echo");
    let start = Instant::now();
    server.signal("TERM");
    assert_eq!(server.end().code(), Some(0));
    assert!(
        start.elapsed() >= Duration::from_millis(250),
        "{:?}",
        start.elapsed()
    );
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

fn a_second_signal_ends_at_once(io: &str) {
    let mut server = Running::start(&["--io", io, "--shutdown-deadline", "5m"]);
    let _silent = server.connect("/echo");
    // A peer in the middle of its handshake holds nothing up either.
    let mut half = TcpStream::connect(server.addr).unwrap();
    half.write_all(b"GET /echo HTTP/1.1\r\n").unwrap();
    server.signal("TERM");
    thread::sleep(Duration::from_millis(300));
    assert!(server.is_running());
    let start = Instant::now();
    server.signal("INT");
    assert_eq!(server.end().code(), Some(0));
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
}

fn settings_reach_the_engine(io: &str) {
    let server = Running::start(&[
        "--io",
        io,
        "--cores",
        "1",
        "--max-connections",
        "2",
        "--max-message",
        "1k",
    ]);
    let mut first = server.connect("/echo");
    let _second = server.connect("/echo");
    assert_eq!(server.try_connect("/echo", &[]).unwrap_err(), 503);
    first.send(Message::binary(vec![0_u8; 1024])).unwrap();
    assert_eq!(first.read().unwrap().len(), 1024);
    first.send(Message::binary(vec![0_u8; 1025])).unwrap();
    assert_eq!(close_code(&mut first), CloseCode::Size);
}
