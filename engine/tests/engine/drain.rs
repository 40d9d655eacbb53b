//! How servers start and end.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use corecast::{Closed, Conn, Error, Handler, Io, Message, Server};

use crate::common::client::{Client, http, narrow_tcp, request, tcp};
use crate::common::{
    Echo, PATIENCE, Running, eventually, next, over_every_transport, processors, serve, serve_with,
    start,
};

over_every_transport![
    draining_closes_with_1001_and_ends_early,
    draining_takes_its_time_with_many,
    nobody_gets_in_while_it_drains,
    whoever_does_not_answer_is_cut_at_the_deadline,
    draining_lets_queued_output_out,
    handshakes_in_progress_end_with_the_drain,
    a_drain_can_be_hastened,
    stopping_cuts_at_once,
    an_empty_server_ends_at_once,
    the_address_is_free_again_afterwards,
    an_address_in_use_is_an_error,
    several_addresses_are_served,
    it_starts_only_with_what_it_needs,
    two_cores_drain,
];

const SOON: Duration = Duration::from_secs(2);

/// Echoes, and reports how connections end.
struct Reporter(mpsc::Sender<(u16, bool)>);

impl Handler for Reporter {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        match message {
            Message::Text("flood") => drop(ws.send_binary(&vec![7; 8 << 20])),
            other => drop(ws.send(other)),
        }
    }

    fn close(&mut self, _ws: &mut Conn<'_, ()>, why: Closed<'_>) {
        // Nobody listens any more when the test is over.
        let _ = self.0.send((why.code.into(), why.clean));
    }
}

fn reporter(io: Io) -> (Running, mpsc::Receiver<(u16, bool)>) {
    let (ends, ended) = mpsc::channel();
    // What is queued before a Close goes out within this time, too: a busy machine may need it.
    let patient = |server: Server| server.close_timeout(PATIENCE);
    (
        serve_with(io, patient, move |_| Reporter(ends.clone())),
        ended,
    )
}

/// Whether a connection is refused: nobody listens.
fn is_refused(address: SocketAddr) -> bool {
    TcpStream::connect_timeout(&address, PATIENCE)
        .is_err_and(|e| e.kind() == ErrorKind::ConnectionRefused)
}

fn draining_closes_with_1001_and_ends_early(io: Io) {
    let (server, ends) = reporter(io);
    let address = server.address();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    let start = Instant::now();
    server.drain(Duration::from_secs(30));
    for client in &mut clients {
        client.expect_close(1001);
        client.answer_close(1001);
        client.expect_end();
        assert_eq!(next(&ends), (1001, true));
    }
    drop(clients);
    server.join(SOON).expect("a clean end");
    assert!(start.elapsed() < Duration::from_secs(10));
    assert!(is_refused(address));
}

/// Clients that are all told at once would all come back at once.
fn draining_takes_its_time_with_many(io: Io) {
    const CONNECTIONS: usize = 480;
    corecast::raise_descriptor_limit();
    let (server, _ends) = reporter(io);
    let address = server.address();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| Client::connect(address)).collect();
    let start = Instant::now();
    server.drain(Duration::from_secs(40));
    // Its turn comes last, and until then it works.
    let last = clients.last_mut().expect("many");
    last.round_trip("still here");
    let mut told = 0;
    for client in &mut clients {
        client.expect_close(1001);
        told += 1;
        // At most 32 in a tick of 32 ms, of which the first may have begun before.
        let ticks = start.elapsed().as_millis() / 32 + 2;
        assert!(
            told as u128 <= 32 * ticks,
            "{told} in {:?}",
            start.elapsed()
        );
        client.answer_close(1001);
        client.expect_end();
    }
    assert!(start.elapsed() < Duration::from_secs(20));
    drop(clients);
    server.join(SOON).expect("a clean end");
}

fn nobody_gets_in_while_it_drains(io: Io) {
    let (server, _ends) = reporter(io);
    let mut staying = Client::connect(server.address());
    server.drain(SOON);
    staying.expect_close(1001);
    assert!(is_refused(server.address()), "somebody still listens");
    staying.answer_close(1001);
    staying.expect_end();
    drop(staying);
    server.join(SOON).expect("a clean end");
}

fn whoever_does_not_answer_is_cut_at_the_deadline(io: Io) {
    const DEADLINE: Duration = Duration::from_millis(300);
    let (server, ends) = reporter(io);
    let mut silent = Client::connect(server.address());
    let start = Instant::now();
    server.drain(DEADLINE);
    silent.expect_close(1001);
    silent.expect_cut();
    let time = start.elapsed();
    assert!((DEADLINE..DEADLINE + SOON).contains(&time), "{time:?}");
    assert_eq!(next(&ends), (1006, false));
    server.join(SOON).expect("a clean end");
}

fn draining_lets_queued_output_out(io: Io) {
    let (server, ends) = reporter(io);
    let mut client = Client::upgrade(narrow_tcp(server.address()), &request("/"));
    client.text("flood");
    // The first bytes are here, the others wait in the server.
    let mut first = [0];
    client.stream().peek(&mut first).expect("a first byte");
    server.drain(PATIENCE);
    client.expect(crate::common::client::BINARY, &vec![7; 8 << 20]);
    client.expect_close(1001);
    client.answer_close(1001);
    client.expect_end();
    assert_eq!(next(&ends), (1001, true));
    drop(client);
    server.join(SOON).expect("a clean end");
}

fn handshakes_in_progress_end_with_the_drain(io: Io) {
    let (server, _ends) = reporter(io);
    let mut silent = tcp(server.address());
    let mut begun = tcp(server.address());
    std::io::Write::write_all(&mut begun, b"GET / HTTP/1.1\r\n").unwrap();
    // The kernel may keep the silent one to itself for a while.
    eventually("both are in", || server.stats().connections == 2);
    server.drain(Duration::from_secs(30));
    for stream in [&mut silent, &mut begun] {
        let end = std::io::Read::read(stream, &mut [0; 100]);
        assert!(
            matches!(&end, Ok(0)) || end.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset),
            "they are cut"
        );
    }
    server.join(SOON).expect("a clean end");
}

fn a_drain_can_be_hastened(io: Io) {
    let (server, _ends) = reporter(io);
    let mut silent = Client::connect(server.address());
    server.drain(Duration::from_secs(30));
    silent.expect_close(1001);
    server.drain(Duration::from_millis(50));
    silent.expect_cut();
    server.join(SOON).expect("a clean end");
}

fn stopping_cuts_at_once(io: Io) {
    let (server, ends) = reporter(io);
    let address = server.address();
    let mut clients: Vec<_> = (0..5).map(|_| Client::connect(address)).collect();
    server.stop();
    server.join(SOON).expect("a clean end");
    for client in &mut clients {
        assert_eq!(next(&ends), (1006, false));
        // A last Close frame may have gone out.
        while client.try_frame().is_ok() {}
        client.expect_cut();
    }
    assert!(is_refused(address));
}

fn an_empty_server_ends_at_once(io: Io) {
    for drain in [true, false] {
        let server = serve(io, |_| Echo);
        let address = server.address();
        if drain {
            server.drain(Duration::from_secs(30));
        } else {
            server.stop();
        }
        server.join(SOON).expect("a clean end");
        assert!(is_refused(address), "somebody still listens");
    }
}

fn the_address_is_free_again_afterwards(io: Io) {
    let server = serve(io, |_| Echo);
    let address = server.address();
    for _ in 0..3 {
        // Closed from the server's side: its end of the connection stays in TIME_WAIT.
        let mut client = Client::connect(address);
        client.round_trip("hello");
        let server = Server::bind(address);
        assert!(matches!(server, Err(Error::Bind(..))), "it is in use");
    }
    let mut client = Client::connect(address);
    server.drain(PATIENCE);
    client.expect_close(1001);
    client.answer_close(1001);
    client.expect_end();
    drop(client);
    server.join(SOON).expect("a clean end");
    let server = Server::bind(address).expect("the address is free");
    let server = server
        .io(io)
        .cores([processors()[0]])
        .route("*", |_| Echo)
        .spawn();
    let server = server.expect("the server starts");
    Client::connect(address).close(1000);
    server.stop();
    server.join().expect("a clean end");
}

fn an_address_in_use_is_an_error(io: Io) {
    let server = serve(io, |_| Echo);
    let address = server.address();
    let Err(e) = Server::bind(address) else {
        panic!("a second server on {address}");
    };
    assert!(matches!(&e, Error::Bind(at, _) if *at == address), "{e}");
    assert!(e.to_string().contains("another process"), "{e}");
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = other.local_addr().unwrap();
    assert!(matches!(Server::bind(taken), Err(Error::Bind(at, _)) if at == taken));
    // Bound is taken, also before it runs.
    let waiting = Server::bind("127.0.0.1:0").unwrap();
    let second = Server::bind(waiting.local_addrs()[0]);
    assert!(matches!(second, Err(Error::Bind(..))), "bound twice");
    Client::connect(address).close(1000);
}

fn several_addresses_are_served(io: Io) {
    let server = start(io, |server| {
        server
            .also_bind("127.0.0.2:0")
            .expect("all of 127/8 is loopback")
            .route("*", |_| Echo)
    });
    let addresses = server.local_addrs().to_vec();
    assert_eq!(addresses.len(), 2);
    for &address in &addresses {
        Client::connect(address).close(1000);
    }
    server.drain(PATIENCE);
    server.join(SOON).expect("a clean end");
    assert!(addresses.into_iter().all(is_refused));
}

fn it_starts_only_with_what_it_needs(io: Io) {
    let bound = || Server::bind("127.0.0.1:0").expect("loopback").io(io);
    assert!(matches!(bound().spawn(), Err(Error::NoRoute)));
    let nowhere = bound().cores([100_000]).route("*", |_| Echo).spawn();
    assert!(matches!(nowhere, Err(Error::Processor(100_000, _))));
    assert!(matches!(
        Server::bind("no address"),
        Err(Error::Address(..))
    ));
    let origin = bound().allow_origin("example.org").route("*", |_| Echo);
    assert!(matches!(origin.spawn(), Err(Error::Origin(_))));
    let server = serve(io, |_| Echo);
    assert_eq!((server.io().kind, &server.io().fallback), (io, &None));
}

fn two_cores_drain(io: Io) {
    let Some(&cores) = processors().first_chunk::<2>() else {
        return eprintln!("skipped: this process may use one processor only");
    };
    let server = serve_with(io, |server| server.cores(cores), |_| Echo);
    let address = server.address();
    let mut clients: Vec<_> = (0..20).map(|_| Client::connect(address)).collect();
    assert_eq!(
        http(address, &request("/").replace("GET", "PUT")).status,
        405
    );
    server.drain(PATIENCE);
    for client in &mut clients {
        client.expect_close(1001);
        client.answer_close(1001);
        client.expect_end();
    }
    drop(clients);
    server.join(SOON).expect("a clean end");
    assert!(is_refused(address));
}
