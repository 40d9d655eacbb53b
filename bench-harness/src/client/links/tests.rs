use std::net::{SocketAddr, TcpListener};

use super::*;
use crate::cli::HandshakeArgs;
use crate::client::dial::Failures;
use crate::client::sources::SourceIp;
use crate::client::team::{self, Places};

/// Counts what became of connections.
#[derive(Default)]
struct Fates {
    opened: u32,
    ended: u32,
    failures: [Failures; 2],
}

impl Driver for Fates {
    fn opened(&mut self, _slot: u32, _times: OpenTimes, _now: Nanos, _out: &mut Outbox) {
        self.opened += 1;
    }

    fn received(
        &mut self,
        _slot: u32,
        _bytes: &mut [u8],
        _now: Nanos,
        _out: &mut Outbox,
    ) -> Result<(), String> {
        Ok(())
    }

    fn writable(&mut self, _slot: u32) {}

    fn ended(&mut self, _slot: u32, _opened: bool, _end: End, _now: Nanos) {
        self.ended += 1;
    }

    fn failures(&self) -> [&Failures; 2] {
        [&self.failures[0], &self.failures[1]]
    }
}

/// Does `work` with one connection to an address, on a thread of its own.
fn with_one(address: SocketAddr, work: impl Fn(Links<'_>) -> Result<(), BenchError> + Sync) {
    let target: Target = format!("tcp://{address}").parse().unwrap();
    let flags = HandshakeArgs::default();
    let wishes = || Wishes::new(&target, &flags).unwrap();
    let worked = team::run(
        &Places::alone(&[]),
        Clock::start(),
        |member| {
            let sources = Sources::new(&SourceIp::Auto, address, 1, 0);
            let rng = Rng::new(1, 1);
            let links = Links::new(&target, wishes(), address, sources, 1, rng, &member)?;
            work(links)
        },
        |_, _| Ok(()),
    );
    worked.unwrap();
}

/// Turns until the connection has ended.
fn turn_until_ended(links: &mut Links<'_>, fates: &mut Fates) -> Result<(), BenchError> {
    let clock = links.clock();
    let end = clock.now() + 60_000_000_000;
    while fates.ended == 0 && clock.now() < end {
        links.turn(Wait::AtMost(Duration::from_millis(100)), fates)?;
    }
    assert_eq!((fates.ended, fates.opened, links.opening()), (1, 0, 0));
    Ok(())
}

#[test]
fn a_slot_is_free_only_when_its_connect_is_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    with_one(listener.local_addr().unwrap(), |mut links| {
        let mut fates = Fates::default();
        links.dial(0)?;
        links.fail(0, End::Closed);
        let now = links.clock().now();
        links.remove(&mut fates, now);
        assert_eq!(fates.ended, 0, "the connect is still to be submitted");
        turn_until_ended(&mut links, &mut fates)?;
        // It can be used again.
        links.dial(0)?;
        while fates.opened == 0 {
            links.turn(Wait::AtMost(Duration::from_millis(100)), &mut fates)?;
        }
        Ok(())
    });
}

#[test]
fn a_connection_that_nobody_answers_can_be_given_up() {
    // Of a listener whose backlog is full the kernel answers no further SYN.
    let listener =
        socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    let any: SocketAddr = "127.0.0.1:0".parse().unwrap();
    listener.bind(&any.into()).unwrap();
    listener.listen(0).unwrap();
    let address = listener.local_addr().unwrap().as_socket().unwrap();
    let _queued = std::net::TcpStream::connect(address).unwrap();
    with_one(address, |mut links| {
        let mut fates = Fates::default();
        links.dial(0)?;
        links.turn(Wait::AtMost(Duration::from_millis(50)), &mut fates)?;
        assert_eq!((links.opening(), fates.opened), (1, 0), "nobody answers");
        links.give_up_opening(Duration::from_secs(1));
        turn_until_ended(&mut links, &mut fates)
    });
}
