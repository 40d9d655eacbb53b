//! Limits per peer address.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::thread::sleep;
use std::time::{Duration, Instant};

use corecast::{Io, Server};

use crate::common::client::{Client, Response, read_response, request, tcp, tcp_from};
use crate::common::{Echo, Running, eventually, over_every_transport, processors, start};

over_every_transport![
    an_address_has_so_many_connections,
    an_address_comes_so_often,
    far_past_the_limit_others_are_served,
    cores_count_together,
    an_address_that_is_refused_takes_no_place,
];

const US: [u8; 4] = [127, 0, 0, 1];
const OTHERS: [u8; 4] = [127, 0, 0, 2];

fn server(io: Io, settings: impl FnOnce(Server) -> Server) -> Running {
    start(io, |server| settings(server).route("*", |_| Echo))
}

fn open(source: [u8; 4], address: SocketAddr) -> Client {
    Client::upgrade(tcp_from(source, address), &request("/"))
}

/// What a request from an address is answered.
fn answer(source: [u8; 4], address: SocketAddr) -> Response {
    let mut stream = tcp_from(source, address);
    stream
        .write_all(request("/").as_bytes())
        .expect("a request");
    read_response(stream)
}

fn an_address_has_so_many_connections(io: Io) {
    let server = server(io, |server| server.max_connections_per_address(2));
    let address = server.address();
    let mut first = open(US, address);
    let mut second = open(US, address);
    for limited in 1..=3 {
        let refused = answer(US, address);
        assert_eq!(refused.status, 429);
        assert_eq!(refused.header("Retry-After"), Some("1"));
        assert_eq!(refused.header("Connection"), Some("close"));
        assert_eq!(server.stats().limited, limited);
    }
    let mut other = open(OTHERS, address);
    for client in [&mut first, &mut second, &mut other] {
        client.round_trip("still in");
    }
    first.close(1000);
    eventually("a place is free", || server.stats().connections == 2);
    open(US, address).round_trip("now me");
    let stats = server.stats();
    assert_eq!((stats.accepted, stats.refused), (4, 0));
}

fn an_address_comes_so_often(io: Io) {
    let server = server(io, |server| server.handshake_rate_per_address(1, 3));
    let address = server.address();
    let start = Instant::now();
    let admitted = (0..10).filter(|_| {
        let mut stream = tcp_from(US, address);
        stream
            .write_all(request("/").as_bytes())
            .expect("a request");
        let mut status = [0; 12];
        stream.read_exact(&mut status).expect("an answer");
        match &status {
            b"HTTP/1.1 101" => true,
            b"HTTP/1.1 429" => false,
            other => panic!("{}", String::from_utf8_lossy(other)),
        }
    });
    let admitted = admitted.count() as u64;
    let most = 3 + start.elapsed().as_secs() + 1;
    assert!((3..=most).contains(&admitted), "{admitted}, at most {most}");
    assert_eq!(server.stats().limited, 10 - admitted);
    open(OTHERS, address).round_trip("not affected");
    // A second's worth, and a tick of the clock of deadlines.
    sleep(Duration::from_millis(1100));
    open(US, address).round_trip("welcome again");
}

/// More than are answered: the rest is closed, and all is well afterwards.
fn far_past_the_limit_others_are_served(io: Io) {
    const FLOOD: u64 = 200;
    let server = server(io, |server| server.max_connections_per_address(1));
    let address = server.address();
    let mut inside = open(US, address);
    let flood: Vec<TcpStream> = (0..FLOOD)
        .map(|_| {
            let mut stream = tcp(address);
            // The kernel may keep a silent connection to itself for a while.
            stream.write_all(b"G").expect("a byte");
            stream
        })
        .collect();
    eventually("all are refused", || server.stats().limited == FLOOD);
    assert_eq!(server.stats().connections, 1, "none of them counts");
    inside.round_trip("not disturbed");
    open(OTHERS, address).round_trip("nor I");
    drop(flood);
    inside.close(1000);
    eventually("a place is free", || server.stats().connections == 0);
    open(US, address).round_trip("well again");
}

fn cores_count_together(io: Io) {
    let Some(&cores) = processors().first_chunk::<2>() else {
        return eprintln!("skipped: this process may use one processor only");
    };
    let server = server(io, |server| {
        server.cores(cores).max_connections_per_address(8)
    });
    let address = server.address();
    let mut clients: Vec<_> = (0..8).map(|_| open(US, address)).collect();
    for _ in 0..20 {
        assert_eq!(answer(US, address).status, 429);
    }
    clients.pop().expect("eight").close(1000);
    eventually("a place is free", || server.stats().connections == 7);
    open(US, address).round_trip("on any core");
}

fn an_address_that_is_refused_takes_no_place(io: Io) {
    let server = server(io, |server| {
        server.max_connections(2).max_connections_per_address(1)
    });
    let address = server.address();
    let _inside = open(US, address);
    for _ in 0..10 {
        assert_eq!(answer(US, address).status, 429);
    }
    let mut other = open(OTHERS, address);
    other.round_trip("the second place");
    let third = answer([127, 0, 0, 3], address);
    assert_eq!(third.status, 503, "the limit of all comes first");
    other.close(1000);
    eventually("a place is free", || server.stats().connections == 1);
    // The refusal has not counted against it.
    open([127, 0, 0, 3], address).round_trip("my turn");
}
