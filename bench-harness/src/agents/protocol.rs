//! What coordinator and agent say to each other: JSON, each message preceded by its length in four bytes, big-endian.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use socket2::{SockRef, TcpKeepalive};

use super::Order;
use super::census::Sent;
use crate::client::dial::Failures;
use crate::client::team::Report;
use crate::clock::Nanos;
use crate::procfs::ThreadTimes;
use crate::telemetry::progress::{Counts, Cut};

/// Raised with every change of the messages. Coordinator and agent must agree.
pub(super) const PROTOCOL: u32 = 2;

/// The version of the program, and what it was built from. Both sides must have the same, since the flags of commands go over
/// the wire: one that an agent of another build does not know would be left out without a word.
pub(super) const VERSION: &str = concat!(env!("CARGO_PKG_VERSION"), "+", env!("SOURCES"));

/// Messages before the other side has proved itself are at most so long: they hold a few words.
pub(super) const STRANGER_LIMIT: u32 = 4 << 10;

/// Bytes of a message that are read at once.
const PIECE: usize = 64 << 10;

/// An order is at most so long: command lines, with headers, are at most megabytes.
pub(super) const ORDER_LIMIT: u32 = 4 << 20;

/// What an agent brings home is at most so long: histograms, of which one takes some kilobytes, and reasons of failures.
pub(super) const OUTCOME_LIMIT: u32 = 256 << 20;

/// A message must leave within this time: the other side reads all the time.
const SENDING: Duration = Duration::from_secs(30);

/// Whoever waits for a message looks so often whether it still should.
const ATTENTION: Duration = Duration::from_millis(100);

/// A machine that has vanished is noticed after a silence of so long…
const SILENCE: Duration = Duration::from_secs(10);

/// …when so many questions, this far apart, have not been answered.
const PROBES: (u32, Duration) = (3, Duration::from_secs(5));

/// An agent's messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum FromAgent {
    /// The first message.
    Hello(Hello),
    /// The coordinator is who it says, and the agent is free.
    Welcome,
    /// The agent's monotonic clock.
    Time { at: Nanos },
    /// All its threads have come to a rendezvous.
    Met { reports: Vec<Report> },
    /// What its threads show, and the time on the run's clock.
    Looked { at: Nanos, threads: Vec<Look> },
    /// What its threads contribute to the sum.
    Contributed { part: u64 },
    /// Its subscribers have to know what was published by this time of its clock.
    Asked { at: Nanos },
    /// Publishers that have sent more than was last said, and how much in all. A count may take several of these.
    Published { sent: Vec<Sent> },
    /// That is all that its publishers had sent when it was asked to count.
    Counted,
    /// That is all that its publishers will ever have sent.
    Finished,
    /// What its threads bring home.
    Done { outcomes: Vec<serde_json::Value> },
    /// It cannot go on.
    Failed { text: String },
}

/// What an agent is.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hello {
    pub(super) protocol: u32,
    pub(super) version: String,
    /// Which start of which machine: those who agree share a monotonic clock.
    pub(super) boot: String,
    /// Connections that it can hold.
    pub(super) connections: u64,
    /// To be signed with the secret.
    pub(super) challenge: String,
}

/// What a thread shows.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Look {
    pub(super) counts: Counts,
    pub(super) failures: Failures,
    pub(super) times: ThreadTimes,
    pub(super) lag: Option<Nanos>,
    pub(super) cuts: Vec<Cut>,
}

/// A coordinator's messages.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum ToAgent {
    /// The answer to Hello.
    Join {
        protocol: u32,
        version: String,
        signature: String,
    },
    /// Asks for the agent's clock.
    Time,
    /// Begins a run.
    Start(Box<Start>),
    /// Lets all threads go on.
    Go { at: Nanos },
    /// Asks for what the threads show.
    Look,
    /// The sum over all agents.
    Total { sum: u64 },
    /// Asks how much its publishers have sent.
    Count,
    /// Publishers of any agent that have sent more than was last said.
    Published { sent: Vec<Sent> },
    /// All was said that had been sent at this time of its clock, at which it asked; or, for the end of time, that ever will be.
    Known { at: Nanos },
}

/// What an agent has to do.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Start {
    pub(super) order: Order,
    /// The run's number.
    pub(super) run: u32,
    /// The run's epoch on the agent's monotonic clock.
    pub(super) epoch: Nanos,
    /// Its threads' processors; empty: one thread that is not pinned.
    pub(super) cores: Vec<usize>,
    /// The number of its first thread in the run, and the threads of the run.
    pub(super) first: usize,
    pub(super) count: usize,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) struct Reader(TcpStream);

/// The sending half, which several threads may use.
#[derive(Debug)]
pub(super) struct Writer(Mutex<TcpStream>);

/// Both halves of a connection.
///
/// # Errors
/// The system's.
pub(super) fn halves(stream: TcpStream) -> io::Result<(Reader, Writer)> {
    stream.set_nodelay(true)?;
    stream.set_write_timeout(Some(SENDING))?;
    let keepalive = TcpKeepalive::new()
        .with_time(SILENCE)
        .with_interval(PROBES.1)
        .with_retries(PROBES.0);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    Ok((Reader(stream.try_clone()?), Writer(Mutex::new(stream))))
}

impl Reader {
    /// The next message; waits for it.
    ///
    /// # Errors
    /// When the connection has ended, or the message is too long or not understood.
    pub(super) fn receive<T: DeserializeOwned>(&mut self, limit: u32) -> io::Result<T> {
        let message = self.receive_unless(limit, || false)?;
        Ok(message.expect("it was waited for"))
    }

    /// The next message; `None` when `over` before one begins.
    ///
    /// # Errors
    /// Those of [`Self::receive`].
    pub(super) fn receive_unless<T: DeserializeOwned>(
        &mut self,
        limit: u32,
        over: impl Fn() -> bool,
    ) -> io::Result<Option<T>> {
        self.0.set_read_timeout(Some(ATTENTION))?;
        let mut header = [0; 4];
        loop {
            match self.0.read(&mut header[..1]) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => break,
                Err(error) if is_pause(&error) && over() => return Ok(None),
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        self.read_on(&mut header[1..], &over)?;
        let len = checked(header, limit)?;
        let mut body = Vec::new();
        // Grows with what comes: a length alone reserves nothing.
        while body.len() < len as usize {
            let from = body.len();
            body.resize((len as usize).min(from + PIECE), 0);
            self.read_on(&mut body[from..], &over)?;
        }
        parse(&body, len).map(Some)
    }

    /// Fills the rest of a message. When nothing comes of it and it is `over`, that is the end.
    fn read_on(&mut self, mut rest: &mut [u8], over: &impl Fn() -> bool) -> io::Result<()> {
        while !rest.is_empty() {
            match self.0.read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = &mut rest[count..],
                Err(error) if is_pause(&error) && over() => {
                    return Err(io::ErrorKind::TimedOut.into());
                }
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Reads what comes until the other side ends, and forgets it: a connection that is closed with something unread
    /// is reset, which destroys what is on the way to the other side.
    pub(super) fn drain(&mut self, deadline: Instant) {
        while self.fill_by(&mut [0], deadline).is_ok() {}
    }

    /// The next message, which has to be there in all by `deadline`.
    ///
    /// # Errors
    /// Those of [`Self::receive`], and [`io::ErrorKind::TimedOut`].
    pub(super) fn receive_by<T: DeserializeOwned>(
        &mut self,
        limit: u32,
        deadline: Instant,
    ) -> io::Result<T> {
        let mut header = [0; 4];
        self.fill_by(&mut header, deadline)?;
        let len = checked(header, limit)?;
        let mut body = vec![0; len.min(STRANGER_LIMIT) as usize];
        let mut filled = 0;
        while filled < len as usize {
            let room = (len as usize).min(filled + STRANGER_LIMIT as usize);
            body.resize(room, 0);
            self.fill_by(&mut body[filled..], deadline)?;
            filled = room;
        }
        body.truncate(filled);
        parse(&body, len)
    }

    fn fill_by(&mut self, mut rest: &mut [u8], deadline: Instant) -> io::Result<()> {
        while !rest.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.0.set_read_timeout(Some(left))?;
            match self.0.read(rest) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => rest = &mut rest[count..],
                Err(error) if is_pause(&error) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Writer {
    /// Sends a message.
    ///
    /// # Errors
    /// The system's.
    pub(super) fn send(&self, message: &impl Serialize) -> io::Result<()> {
        let mut bytes = vec![0; 4];
        serde_json::to_writer(&mut bytes, message)?;
        let len = u32::try_from(bytes.len() - 4).map_err(|_| invalid("a message is too long"))?;
        bytes[..4].copy_from_slice(&len.to_be_bytes());
        self.lock().write_all(&bytes)
    }

    /// Nothing more will be sent.
    pub(super) fn finish(&self) {
        // Fails when the other side was first.
        let _ = self.lock().shutdown(Shutdown::Write);
    }

    /// Ends the connection, both ways.
    pub(super) fn end(&self) {
        // Fails when the other side was first.
        let _ = self.lock().shutdown(Shutdown::Both);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, TcpStream> {
        self.0.lock().expect("nobody panics while sending")
    }
}

/// Nothing has come in the time given, or a signal has.
fn is_pause(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}

fn checked(header: [u8; 4], limit: u32) -> io::Result<u32> {
    let len = u32::from_be_bytes(header);
    if len > limit {
        return Err(invalid(format!(
            "a message of {len} bytes is announced, at most {limit} are allowed"
        )));
    }
    Ok(len)
}

fn parse<T: DeserializeOwned>(body: &[u8], len: u32) -> io::Result<T> {
    if body.len() < len as usize {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    serde_json::from_slice(body).map_err(|error| invalid(format!("not understood: {error}")))
}

fn invalid(text: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text.into())
}
