//! A handler that panics loses the connection at hand, and nothing else.

use std::sync::mpsc::{self, Sender};
use std::time::Duration;

use corecast::{Accept, Closed, Conn, Error, Handler, Io, Message, Reject, Request, Server};

use crate::common::client::{Client, PING, PONG, TEXT, frame, http, request};
use crate::common::{eventually, next, over_every_transport, processors, serve};

over_every_transport![
    in_message_the_connection_gets_1011,
    in_the_middle_of_a_batch_the_rest_is_dropped,
    in_upgrade_the_request_gets_500,
    in_open_the_connection_gets_1011,
    in_close_nobody_is_harmed,
    in_drain_the_connection_gets_1011,
    in_a_future_the_core_goes_on,
    in_the_making_of_a_handler_the_server_does_not_start,
];

/// Panics where the path says, and in `message` when a message says so.
struct Clumsy {
    ends: Sender<(u16, bool)>,
}

impl Handler for Clumsy {
    type Data = String;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<String>, Reject> {
        assert!(request.path() != "/upgrade", "as asked for");
        Ok(Accept::new(request.path().to_owned()))
    }

    fn open(&mut self, ws: &mut Conn<'_, String>) {
        ws.subscribe("all");
        assert!(ws.data() != "/open", "as asked for");
    }

    fn message(&mut self, ws: &mut Conn<'_, String>, message: Message<'_>) {
        match message {
            Message::Text("panic") => {
                ws.send_text("half done");
                panic!("as asked for");
            }
            Message::Text("future") => drop(corecast::spawn(async { panic!("as asked for") })),
            Message::Text("flood") => {
                ws.send_binary(&vec![7; 8 << 20]);
            }
            other => drop(ws.send(other)),
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, String>) {
        assert!(ws.data() != "/drain", "as asked for");
    }

    fn close(&mut self, ws: &mut Conn<'_, String>, why: Closed<'_>) {
        // Nobody listens any more when the test is over.
        let _ = self.ends.send((why.code.into(), why.clean));
        assert!(ws.data() != "/close", "as asked for");
    }
}

fn clumsy(io: Io) -> (crate::common::Running, mpsc::Receiver<(u16, bool)>) {
    let (ends, ended) = mpsc::channel();
    let server = serve(io, move |_| Clumsy { ends: ends.clone() });
    (server, ended)
}

fn in_message_the_connection_gets_1011(io: Io) {
    let (server, ends) = clumsy(io);
    let mut bystander = Client::connect(server.address());
    for panics in 1..=5 {
        let mut client = Client::connect(server.address());
        client.round_trip("hello");
        client.text("panic");
        client.expect_text("half done");
        client.expect_close(1011);
        client.answer_close(1011);
        client.expect_end();
        assert_eq!(next(&ends), (1011, false));
        bystander.round_trip("not my fault");
        assert_eq!(server.stats().handler_panics, panics);
    }
    eventually("only one is left", || server.stats().connections == 1);
}

fn in_the_middle_of_a_batch_the_rest_is_dropped(io: Io) {
    let (server, ends) = clumsy(io);
    let mut client = Client::connect(server.address());
    let all = [
        frame(TEXT, b"before"),
        frame(PING, b"before"),
        frame(TEXT, b"panic"),
        frame(TEXT, b"after"),
        frame(TEXT, b"panic"),
    ];
    client.write(&all.concat());
    client.expect_text("before");
    client.expect(PONG, b"before");
    client.expect_text("half done");
    client.expect_close(1011);
    client.expect_end();
    assert_eq!(next(&ends), (1011, false));
    assert_eq!(server.stats().handler_panics, 1);
}

fn in_upgrade_the_request_gets_500(io: Io) {
    let (server, _ends) = clumsy(io);
    let mut bystander = Client::connect(server.address());
    assert_eq!(http(server.address(), &request("/upgrade")).status, 500);
    assert_eq!(server.stats().handler_panics, 1);
    assert_eq!(server.stats().opened, 1);
    bystander.round_trip("not my fault");
}

fn in_open_the_connection_gets_1011(io: Io) {
    let (server, ends) = clumsy(io);
    let mut client = Client::connect_to(server.address(), "/open");
    client.expect_close(1011);
    client.expect_end();
    assert_eq!(next(&ends), (1011, false));
    drop(client);
    // Its subscription is gone with it.
    eventually("the slot is free", || server.stats().connections == 0);
    let mut heir = Client::connect(server.address());
    server.publisher().publish("all", Message::Text("news"));
    heir.expect_text("news");
    heir.round_trip("once");
}

fn in_close_nobody_is_harmed(io: Io) {
    let (server, ends) = clumsy(io);
    let mut bystander = Client::connect(server.address());
    for leave in [
        (|client| client.close(1000)) as fn(Client),
        |client| client.reset(),
        |client| client.half_close(),
    ] {
        leave(Client::connect_to(server.address(), "/close"));
        next(&ends);
        bystander.round_trip("not my fault");
    }
    eventually("the slots are free", || server.stats().connections == 1);
    assert_eq!(server.stats().handler_panics, 3);
}

fn in_drain_the_connection_gets_1011(io: Io) {
    let (server, ends) = clumsy(io);
    let mut client = Client::connect_to(server.address(), "/drain");
    client.text("flood");
    client.expect(crate::common::client::BINARY, &vec![7; 8 << 20]);
    client.expect_close(1011);
    client.expect_end();
    assert_eq!(next(&ends), (1011, false));
}

/// A future is no callback, but one that panics must not take the other connections with it either.
fn in_a_future_the_core_goes_on(io: Io) {
    let (server, _ends) = clumsy(io);
    let mut client = Client::connect(server.address());
    for _ in 0..3 {
        client.text("future");
        client.round_trip("still here");
    }
    Client::connect(server.address()).close(1000);
}

fn in_the_making_of_a_handler_the_server_does_not_start(io: Io) {
    let server = Server::bind("127.0.0.1:0").expect("loopback");
    let address = server.local_addrs()[0];
    let started = server
        .io(io)
        .cores([processors()[0]])
        .route("*", |_| -> Clumsy { panic!("as asked for") })
        .spawn();
    match started {
        Err(Error::Panicked(core)) => assert_eq!(core, processors()[0]),
        Err(e) => panic!("another error: {e}"),
        Ok(_) => panic!("it says that it runs"),
    }
    let refused = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(1));
    assert!(refused.is_err(), "nobody listens");
}
