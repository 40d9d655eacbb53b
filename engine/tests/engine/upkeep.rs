//! What is done now and then comes after work, and only then.

use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use corecast::{Activity, Conn, Handler, Io, Message, Server};

use crate::common::client::Client;
use crate::common::{Echo, Running, eventually, next, over_every_transport, quiet, serve_with};

over_every_transport![
    it_follows_work_and_ends_with_it,
    late_work_counts,
    an_endless_interval_is_never,
    a_busy_core_sees_it_regularly,
    a_panic_in_it_is_counted_and_it_comes_again,
];

const EVERY: Duration = Duration::from_millis(300);

/// A server whose upkeep says when it runs, and what it is told.
fn keeping_up<H: Handler>(io: Io, handler: fn() -> H) -> (Running, Receiver<(Instant, Activity)>) {
    let (ran, reports) = mpsc::channel();
    let settings = move |server: Server| {
        server.upkeep(EVERY, move |activity| {
            // Nobody listens any more at the end of a test.
            let _ = ran.send((Instant::now(), activity));
        })
    };
    (serve_with(io, settings, move |_| handler()), reports)
}

fn it_follows_work_and_ends_with_it(io: Io) {
    let (server, reports) = keeping_up(io, || Echo);
    quiet(&reports, EVERY * 2);
    let before = Instant::now();
    let mut client = Client::connect(server.address());
    client.round_trip("work");
    let after = Instant::now();
    let (ran, mut activity) = next(&reports);
    assert!(ran >= before + EVERY, "not at once");
    // Late only as the machine is.
    assert!(ran - after < EVERY + Duration::from_secs(2));
    // Once more, if that was sooner after the last of the work.
    let mut last = ran;
    while activity == Activity::Busy {
        let again;
        (again, activity) = next(&reports);
        assert!(again - last >= EVERY, "not too often");
        last = again;
    }
    quiet(&reports, EVERY * 3);
    client.round_trip("more work");
    next(&reports);
}

/// What application futures and peers that read late do is work too.
fn late_work_counts(io: Io) {
    let (server, reports) = keeping_up(io, || Late);
    let mut client = Client::connect(server.address());
    client.text("later");
    client.expect_text("now");
    let sent = Instant::now();
    while next(&reports).0 < sent {}
}

/// Answers from a future, long after the message.
struct Late;

impl Handler for Late {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, _: Message<'_>) {
        let handle = ws.handle();
        corecast::spawn(async move {
            monoio::time::sleep(EVERY * 4).await;
            // The test notices if it is gone.
            let _ = handle.with(|ws| ws.send_text("now"));
        });
    }
}

fn an_endless_interval_is_never(io: Io) {
    let settings = |server: Server| server.upkeep(Duration::MAX, |_| panic!("never"));
    let server = serve_with(io, settings, |_| Echo);
    Client::connect(server.address()).round_trip("work");
    assert_eq!(server.stats().handler_panics, 0);
}

fn a_busy_core_sees_it_regularly(io: Io) {
    let (server, reports) = keeping_up(io, || Echo);
    let mut client = Client::connect(server.address());
    let start = Instant::now();
    let mut seen = Vec::new();
    while seen.len() < 4 {
        client.round_trip("work");
        seen.extend(reports.try_iter().map(|(ran, _)| ran));
        assert!(start.elapsed() < Duration::from_secs(20), "{seen:?}");
    }
    for pair in seen.windows(2) {
        assert!(pair[1] - pair[0] >= EVERY, "{seen:?}");
    }
}

fn a_panic_in_it_is_counted_and_it_comes_again(io: Io) {
    let settings = |server: Server| server.upkeep(Duration::from_millis(20), |_| panic!("as told"));
    let server = serve_with(io, settings, |_| Echo);
    let mut client = Client::connect(server.address());
    for panics in 1..=3 {
        client.round_trip("work");
        eventually("the panic is counted", || {
            server.stats().handler_panics >= panics
        });
    }
    client.round_trip("still there");
}
