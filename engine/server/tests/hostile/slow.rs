//! Peers that take their time, and those that take places.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::client::{Client, http, request, reset_when_dropped, tcp, tcp_from};

use crate::ask::answer;
use crate::trial::{MEMORY, Trial};
use crate::{PATIENCE, eventually};

crate::rows![
    slowloris,
    silent_connections,
    rst_in_handshake,
    connect_and_reset,
    refusal_not_read,
    address_connections,
    address_handshakes,
    max_connections_exceeded,
    connection_churn,
    idle_while_paused,
];

/// One byte at a time, each well within any timeout between bytes: the whole head has one deadline. The bytes go on while
/// the answer is awaited, so that a deadline which moves with them would never come.
fn slowloris(io: &'static str) {
    const DEADLINE: Duration = Duration::from_millis(600);
    /// The clock of deadlines has ticks of 32 ms.
    const EARLY: Duration = Duration::from_millis(40);
    /// A busy machine.
    const LATE: Duration = Duration::from_secs(2);
    let trial = Trial::corecast(io, &["--handshake-timeout", "600ms"]);
    // The kernel hands a connection over with its first byte: only then its time runs.
    let streams: Vec<_> = (0..40)
        .map(|_| (Instant::now(), tcp(trial.address())))
        .collect();
    let (over, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let dribbler = scope.spawn(|| dribble(&streams, &over, &rounds));
        let answers: Vec<_> = streams
            .iter()
            .map(|(start, stream)| (first_bytes(stream), start.elapsed()))
            .collect();
        let rounds = rounds.load(Ordering::Relaxed);
        over.store(true, Ordering::Relaxed);
        dribbler.join().expect("the dribble");
        for (status, time) in answers {
            assert_eq!(status.expect("an answer at the deadline"), *b"HTTP/1.1 408");
            assert!(
                (DEADLINE - EARLY..DEADLINE + LATE).contains(&time),
                "after {time:?}"
            );
        }
        assert!(rounds >= 5, "they dribbled {rounds} bytes each");
    });
    drop(streams);
    trial.logs("request refused status=408 ", 40);
    trial.over();
}

/// Sends a head without end on each, a byte a time. The server still reads after its answer, so that nothing fails before.
fn dribble(streams: &[(Instant, TcpStream)], over: &AtomicBool, rounds: &AtomicUsize) {
    let head = request("/echo").replace("\r\n\r\n", "\r\nX-Slow: ");
    for byte in head.bytes().chain(std::iter::repeat(b'a')) {
        for (_, stream) in streams {
            let mut stream: &TcpStream = stream;
            if stream.write_all(&[byte]).is_err() {
                return;
            }
        }
        rounds.fetch_add(1, Ordering::Relaxed);
        if over.load(Ordering::Relaxed) {
            return;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// As much of an answer as tells its status.
fn first_bytes(mut stream: &TcpStream) -> io::Result<[u8; 12]> {
    let mut status = [0; 12];
    stream.read_exact(&mut status)?;
    Ok(status)
}

/// Connections without a word, and with half a head: gone at the deadline, the first kind without an answer.
fn silent_connections(io: &'static str) {
    let trial = Trial::corecast(io, &["--handshake-timeout", "300ms"]);
    let silent: Vec<_> = (0..150).map(|_| tcp(trial.address())).collect();
    let half: Vec<_> = (0..150)
        .map(|_| {
            let mut stream = tcp(trial.address());
            stream
                .write_all(b"GET /echo HTTP/1.1\r\nHost: a\r\n")
                .expect("the server reads");
            stream
        })
        .collect();
    for stream in half {
        let answer = answer(stream);
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    }
    // The kernel keeps a silent connection to itself for a second or two; then it has its deadline.
    for stream in silent {
        assert_eq!(answer(stream), "");
    }
    trial.logs("request refused status=408 ", 150);
    trial.over();
}

fn rst_in_handshake(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    let whole = request("/echo");
    for round in 0..200 {
        let mut stream = tcp(trial.address());
        let cut = round * whole.len() / 199;
        stream
            .write_all(&whole.as_bytes()[..cut])
            .expect("the server reads");
        reset_when_dropped(&stream);
    }
    trial.over();
}

/// Connections that are reset as soon as they stand: accepting goes on.
fn connect_and_reset(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for _ in 0..500 {
        reset_when_dropped(&tcp(trial.address()));
    }
    for _ in 0..100 {
        drop(tcp(trial.address()));
    }
    trial.connect().close(1000);
    trial.logs("accepting rests", 0);
    trial.over();
}

/// A peer that neither reads its refusal nor closes: the socket goes with the close timeout.
fn refusal_not_read(io: &'static str) {
    let trial = Trial::victim(io, &["--close-timeout", "300ms"]);
    let before = trial.process.descriptors();
    let streams: Vec<_> = (0..50)
        .map(|_| {
            let mut stream = tcp(trial.address());
            stream
                .write_all(b"BROKEN\r\n\r\n")
                .expect("the server reads");
            stream
        })
        .collect();
    eventually("the sockets go", || trial.process.descriptors() <= before);
    drop(streams);
    trial.over();
}

/// A connection from another address of loopback than the witness's.
fn from_elsewhere(trial: &Trial) -> TcpStream {
    tcp_from([127, 0, 0, 2], trial.address())
}

/// The status of the answer to an upgrade request; none where the connection is cut without a word.
fn status(mut stream: &TcpStream) -> Option<u16> {
    stream.write_all(request("/echo").as_bytes()).ok()?;
    let mut line = [0; 12];
    stream.read_exact(&mut line).ok()?;
    std::str::from_utf8(&line[9..]).ok()?.parse().ok()
}

fn address_connections(io: &'static str) {
    let trial = Trial::corecast(io, &["--max-per-address", "10"]);
    for _ in 0..3 {
        let inside: Vec<_> = (0..10).map(|_| from_elsewhere(&trial)).collect();
        assert!(inside.iter().all(|stream| status(stream) == Some(101)));
        for _ in 0..30 {
            assert_eq!(status(&from_elsewhere(&trial)), Some(429));
        }
        // Without a word they take no places that others need.
        let crowd: Vec<_> = (0..150).map(|_| from_elsewhere(&trial)).collect();
        trial.connect().close(1000);
        drop((inside, crowd));
        eventually("there is room again", || {
            status(&from_elsewhere(&trial)) == Some(101)
        });
        eventually("only the witness is left", || {
            trial.process.descriptors() <= trial.descriptors_before()
        });
    }
    trial.over();
}

fn address_handshakes(io: &'static str) {
    let trial = Trial::corecast(io, &["--handshake-rate", "20"]);
    let start = Instant::now();
    let (mut upgraded, mut limited) = (0, 0);
    for _ in 0..400 {
        let stream = from_elsewhere(&trial);
        match status(&stream) {
            Some(101) => upgraded += 1,
            Some(429) => {
                limited += 1;
                assert!(answer(stream).contains("\r\nRetry-After: "));
            }
            other => panic!("{other:?}"),
        }
    }
    // So many a second, and what was saved up before the first: a second's worth or a few.
    let most = 20.0 * (start.elapsed().as_secs_f64() + 5.0);
    assert!(
        f64::from(upgraded) <= most,
        "{upgraded} of 400 in {:?}",
        start.elapsed()
    );
    assert!(
        upgraded >= 10 && limited > 0,
        "{upgraded} upgraded, {limited} limited"
    );
    trial.connect().close(1000);
    trial.over();
}

fn max_connections_exceeded(io: &'static str) {
    let trial = Trial::corecast(io, &["--max-connections", "20"]);
    for _ in 0..3 {
        // The witness is the first.
        let mut inside: Vec<_> = (0..19).map(|_| trial.connect()).collect();
        for _ in 0..20 {
            let response = http(trial.address(), &request("/echo"));
            assert_eq!(response.status, 503, "{}", response.head);
            assert!(
                response.header("Retry-After").is_some(),
                "{}",
                response.head
            );
        }
        // Without a word they take no place either: at most so many are told, the others are cut.
        let crowd: Vec<_> = (0..150).map(|_| tcp(trial.address())).collect();
        for client in &mut inside {
            client.round_trip("inside");
        }
        drop(crowd);
        inside.into_iter().for_each(|client| client.close(1000));
        eventually("there is room again", || {
            let mut stream = tcp(trial.address());
            let asked = stream.write_all(request("/echo").as_bytes());
            let mut status = [0; 12];
            let answered = asked.and_then(|()| stream.read_exact(&mut status));
            answered.is_ok() && &status == b"HTTP/1.1 101"
        });
        eventually("only the witness is left", || {
            trial.process.descriptors() <= trial.descriptors_before()
        });
    }
    trial.over();
}

/// Connections come and go, each in another way; nothing of them stays.
fn connection_churn(io: &'static str) {
    let trial = Trial::corecast(io, &[]);
    for round in 0..400 {
        match round % 4 {
            0 => trial.connect().close(1000),
            1 => drop(trial.connect()),
            2 => trial.connect().reset(),
            _ => {
                let mut client = trial.connect();
                client.round_trip("hello");
                client.half_close();
                client.expect_cut();
            }
        }
    }
    trial.over();
}

/// The application has stopped reading from a peer that floods it: TCP holds the peer back, memory stays bounded, and
/// the idle timeout ends it.
fn idle_while_paused(io: &'static str) {
    let trial = Trial::victim(
        io,
        &[
            "--idle-timeout",
            "1s",
            "--ping-interval",
            "0",
            "--close-timeout",
            "300ms",
        ],
    );
    let client = Client::connect_to(trial.address(), "/pause");
    let mut writer = client.writer();
    writer.set_write_timeout(Some(PATIENCE)).expect("a timeout");
    let start = Instant::now();
    let mut written = 0;
    let piece = vec![7; 64 << 10];
    while let Ok(more @ 1..) = writer.write(&piece) {
        written += more;
        // Once the idle timeout has ended it, what it sends is thrown away.
        let ended = trial.logged("closed peer=Pause") > 0;
        assert!(ended || written < 64 << 20, "a paused peer is read from");
        assert!(start.elapsed() < PATIENCE, "it never ends");
    }
    assert!(trial.grown() < 2 * MEMORY, "{}", trial.grown());
    drop((client, writer));
    trial.logs("peer=Pause(None) code=", 1);
    trial.over();
}
