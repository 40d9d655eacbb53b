//! What a server leaves behind when it has ended: nothing.

use std::sync::mpsc::{Receiver, Sender, channel};

use corecast::{Accept, Conn, Handler, Io, Message, Reject, Request};

use crate::common::client::Client;
use crate::common::{PATIENCE, Running, next, over_every_transport, serve};

over_every_transport![
    a_core_is_dropped_with_its_handler,
    connections_are_dropped_with_their_data,
    futures_that_wait_are_dropped,
];

/// Says so when it is dropped.
struct Reporter(Sender<&'static str>, &'static str);

impl Drop for Reporter {
    fn drop(&mut self) {
        // Nobody listens any more when the test is over.
        let _ = self.0.send(self.1);
    }
}

struct App {
    reports: Sender<&'static str>,
    _own: Reporter,
}

impl Handler for App {
    type Data = Reporter;

    fn upgrade(&mut self, _request: &Request<'_>) -> Result<Accept<Reporter>, Reject> {
        Ok(Accept::new(Reporter(self.reports.clone(), "connection")))
    }

    fn message(&mut self, ws: &mut Conn<'_, Reporter>, message: Message<'_>) {
        if message == Message::Text("wait") {
            let reporter = Reporter(self.reports.clone(), "future");
            corecast::spawn(async move {
                std::future::pending::<()>().await;
                drop(reporter);
            });
            let reporter = Reporter(self.reports.clone(), "timer");
            corecast::spawn(async move {
                monoio::time::sleep(10 * PATIENCE).await;
                drop(reporter);
            });
        }
        ws.send(message);
    }
}

fn server(io: Io) -> (Running, Receiver<&'static str>) {
    let (reports, reported) = channel();
    let server = serve(io, move |_| App {
        reports: reports.clone(),
        _own: Reporter(reports.clone(), "handler"),
    });
    (server, reported)
}

fn a_core_is_dropped_with_its_handler(io: Io) {
    let (server, reported) = server(io);
    server.stop();
    server.join(PATIENCE).expect("a clean end");
    assert_eq!(next(&reported), "handler");
}

fn connections_are_dropped_with_their_data(io: Io) {
    let (server, reported) = server(io);
    let mut clients: Vec<_> = (0..3).map(|_| Client::connect(server.address())).collect();
    for client in &mut clients {
        client.round_trip("hello");
    }
    server.stop();
    server.join(PATIENCE).expect("a clean end");
    let mut ended: Vec<_> = (0..4).map(|_| next(&reported)).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["connection", "connection", "connection", "handler"]);
}

fn futures_that_wait_are_dropped(io: Io) {
    let (server, reported) = server(io);
    let mut client = Client::connect(server.address());
    client.round_trip("wait");
    server.stop();
    server.join(PATIENCE).expect("a clean end");
    let mut ended: Vec<_> = (0..4).map(|_| next(&reported)).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["connection", "future", "handler", "timer"]);
}
