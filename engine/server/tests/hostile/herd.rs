//! Thousands of connections at once.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::client::{request_with, tcp};

/// Descriptors of this process that other tests may need meanwhile, where there are many.
const SPARE: u64 = 1000;

/// Requests that are sent before the first answer is read: less than a listener's queue.
const BATCH: usize = 128;

/// Open connections. One herd at a time, so that several do not exceed the descriptors together.
pub(crate) struct Herd {
    pub(crate) streams: Vec<TcpStream>,
    _alone: MutexGuard<'static, ()>,
}

impl Herd {
    /// Opens so many connections, or as many as the descriptors allow, which is said then.
    pub(crate) fn connect(address: SocketAddr, path: &str, wanted: usize) -> Self {
        Self::connect_with(address, path, "", wanted)
    }

    /// The same with further header lines.
    pub(crate) fn connect_with(
        address: SocketAddr,
        path: &str,
        headers: &str,
        wanted: usize,
    ) -> Self {
        Self::connect_by(BATCH, address, &request_with(path, headers), wanted)
    }

    /// The same, with all requests sent before the first answer is read.
    pub(crate) fn connect_at_once(address: SocketAddr, path: &str, wanted: usize) -> Self {
        Self::connect_by(usize::MAX, address, &request_with(path, ""), wanted)
    }

    fn connect_by(batch: usize, address: SocketAddr, request: &str, wanted: usize) -> Self {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
        let count = affordable(wanted);
        let mut streams = Vec::with_capacity(count);
        while streams.len() < count {
            let opening: Vec<_> = (0..batch.min(count - streams.len()))
                .map(|_| {
                    let mut stream = tcp(address);
                    stream
                        .write_all(request.as_bytes())
                        .expect("the server reads");
                    stream
                })
                .collect();
            opening.iter().for_each(read_head);
            streams.extend(opening);
        }
        Self {
            streams,
            _alone: alone,
        }
    }

    /// Sends the same bytes on every connection.
    pub(crate) fn write(&mut self, bytes: &[u8]) {
        self.try_write(bytes).expect("the server reads");
    }

    /// The same, up to the first that has ended.
    pub(crate) fn try_write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut streams = self.streams.iter_mut();
        streams.try_for_each(|stream| stream.write_all(bytes))
    }

    /// Reads so many bytes from every connection, which must be these.
    #[track_caller]
    pub(crate) fn expect(&mut self, bytes: &[u8]) {
        let mut found = vec![0; bytes.len()];
        for (number, stream) in self.streams.iter_mut().enumerate() {
            stream
                .read_exact(&mut found)
                .unwrap_or_else(|e| panic!("connection {number}: {e}"));
            assert!(found == bytes, "connection {number} gets something else");
        }
    }
}

/// Why there cannot be so many connections, if so: this process and the server, which has the same limit, both have them.
pub(crate) fn unaffordable(wanted: usize) -> Option<String> {
    let limit = corecast::raise_descriptor_limit();
    let most = most_connections(limit);
    (most < wanted).then(|| {
        format!(
            "{most} connections instead of {wanted}: there are {limit} descriptors (ulimit -Hn)"
        )
    })
}

fn most_connections(limit: u64) -> usize {
    usize::try_from(limit - SPARE.min(limit / 4)).unwrap_or(usize::MAX)
}

fn affordable(wanted: usize) -> usize {
    let limit = corecast::raise_descriptor_limit();
    if let Some(fewer) = unaffordable(wanted) {
        eprintln!("{fewer}");
    }
    let count = wanted.min(most_connections(limit));
    assert!(
        count >= 500,
        "{limit} descriptors are too few to show anything: raise `ulimit -n`"
    );
    count
}

/// Reads a 101 and nothing behind it.
fn read_head(mut stream: &TcpStream) {
    let mut head = Vec::new();
    let mut piece = [0; 256];
    while !head.ends_with(b"\r\n\r\n") {
        match stream.read(&mut piece).expect("an answer to the handshake") {
            0 => panic!("the server hangs up: {}", String::from_utf8_lossy(&head)),
            read => head.extend_from_slice(&piece[..read]),
        }
    }
    assert!(
        head.starts_with(b"HTTP/1.1 101 "),
        "{}",
        String::from_utf8_lossy(&head)
    );
}
