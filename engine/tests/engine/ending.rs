//! What a server leaves behind when it has ended: nothing.

use std::rc::Rc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use corecast::{Accept, Conn, Handler, Io, Message, Reject, Request};

use crate::common::client::Client;
use crate::common::{PATIENCE, Running, next, over_every_transport, serve};

over_every_transport![
    a_core_is_dropped_with_its_handler,
    connections_are_dropped_with_their_data,
    futures_that_wait_are_dropped,
    a_future_is_dropped_although_one_before_it_panicked,
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
        if message == Message::Text("replace") {
            replace_one_that_panics(self.reports.clone());
        }
        ws.send(message);
    }
}

/// Spawns a future that panics, then one that waits, and only then lets go of the first.
fn replace_one_that_panics(reports: Sender<&'static str>) {
    corecast::spawn(async move {
        let panics = Reporter(reports.clone(), "panicked");
        let lives = Rc::new(());
        let alive = Rc::downgrade(&lives);
        let first = corecast::spawn(async move {
            let _dropped_together = (panics, lives);
            panic!("as asked for");
        });
        while alive.strong_count() > 0 {
            monoio::time::sleep(Duration::from_millis(1)).await;
        }
        let waits = Reporter(reports.clone(), "timer");
        corecast::spawn(async move {
            monoio::time::sleep(10 * PATIENCE).await;
            drop(waits);
        });
        drop(first);
        drop(Reporter(reports, "replaced"));
    });
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

fn a_future_is_dropped_although_one_before_it_panicked(io: Io) {
    let (server, reported) = server(io);
    let mut client = Client::connect(server.address());
    client.round_trip("replace");
    assert_eq!(next(&reported), "panicked");
    assert_eq!(next(&reported), "replaced");
    server.stop();
    server.join(PATIENCE).expect("a clean end");
    let mut ended: Vec<_> = (0..3).map(|_| next(&reported)).collect();
    ended.sort_unstable();
    assert_eq!(ended, ["connection", "handler", "timer"]);
}
