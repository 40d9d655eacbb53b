//! Connections that run errands: a test hands over a closure, and a callback of the connection runs it.
//!
//! So a test says in one place what happens in a callback, and gets back what it saw there.

use std::collections::HashMap;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};

use corecast::{Accept, Conn, CoreId, Handler, Io, Message, Reject, Request, Server};

use super::client::{BINARY, Client, Frame, PING, PONG, narrow_tcp, request_with, tcp};
use super::{Running, next, processors, serve_with};

/// What a connection's own callbacks have seen.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// `buffered` in each `drain`.
    pub(crate) drains: Vec<usize>,
}

/// What a client offers about compression: with [`corecast::Deflate::dedicated`] each gets its messages in a form of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Offers {
    Nothing,
    /// Messages that stand alone.
    Alone,
    /// The same within a small window.
    AloneAndSmall,
    /// Messages that refer to earlier ones.
    Context,
}

impl Offers {
    pub(crate) const ALL: [Self; 4] = [
        Self::Nothing,
        Self::Alone,
        Self::AloneAndSmall,
        Self::Context,
    ];

    /// The request's header, or nothing.
    pub(crate) fn header(self) -> &'static str {
        match self {
            Self::Nothing => "",
            Self::Alone => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover\r\n"
            }
            Self::AloneAndSmall => {
                "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; \
                 server_max_window_bits=10\r\n"
            }
            Self::Context => {
                "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n"
            }
        }
    }
}

type Errand = Box<dyn FnOnce(&mut Conn<'_, Seen>) + Send>;

/// The closures that wait for the message which names them.
#[derive(Clone, Default)]
struct Waiting {
    errands: Arc<Mutex<HashMap<u64, Errand>>>,
    next: Arc<AtomicU64>,
}

impl Waiting {
    fn add(&self, errand: Errand) -> u64 {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        errands.insert(number, errand);
        number
    }

    fn take(&self, number: u64) -> Errand {
        let mut errands = self.errands.lock().unwrap_or_else(PoisonError::into_inner);
        errands.remove(&number).expect("an errand runs once")
    }
}

impl Handler for Waiting {
    type Data = Seen;

    fn upgrade(&mut self, _request: &Request<'_>) -> Result<Accept<Seen>, Reject> {
        Ok(Accept::new(Seen::default()))
    }

    fn message(&mut self, ws: &mut Conn<'_, Seen>, message: Message<'_>) {
        let number = message.as_bytes().first_chunk().expect("a number");
        self.take(u64::from_be_bytes(*number))(ws);
    }

    fn drain(&mut self, ws: &mut Conn<'_, Seen>) {
        let buffered = ws.buffered();
        ws.data_mut().drains.push(buffered);
    }
}

/// A server whose connections run errands.
pub(crate) struct Errands {
    server: Running,
    waiting: Waiting,
}

impl Errands {
    /// On one core, unless the settings say otherwise.
    pub(crate) fn serve(io: Io, settings: impl FnOnce(Server) -> Server) -> Self {
        let waiting = Waiting::default();
        let route = waiting.clone();
        let server = serve_with(io, settings, move |_| route.clone());
        Self { server, waiting }
    }

    /// On two cores, if this machine lets us have them.
    pub(crate) fn serve_on_two_cores(
        io: Io,
        settings: impl FnOnce(Server) -> Server,
    ) -> Option<Self> {
        let Some(&cores) = processors().first_chunk::<2>() else {
            eprintln!("skipped: this process may use one processor only");
            return None;
        };
        Some(Self::serve(io, |server| settings(server).cores(cores)))
    }

    pub(crate) fn member(&self) -> Member {
        self.enrol(Client::connect(self.address()))
    }

    /// One that receives into a small buffer, so that the server soon feels when it does not read.
    pub(crate) fn narrow_member(&self) -> Member {
        self.enrol(Client::connect_narrow(self.address()))
    }

    /// One that offers this; and receives into a small buffer, or not.
    pub(crate) fn member_that(&self, offers: Offers, narrow: bool) -> Member {
        let stream = match narrow {
            true => narrow_tcp(self.address()),
            false => tcp(self.address()),
        };
        let request = request_with("/", offers.header());
        let member = self.enrol(Client::upgrade(stream, &request));
        let agreed = member.agreed().is_some();
        assert_eq!(agreed, offers != Offers::Nothing, "{}", member.head);
        member
    }

    /// So many on each of two cores; the kernel spreads connections.
    pub(crate) fn members_on_two_cores(&self, each: usize) -> [Vec<Member>; 2] {
        let mut members = [Vec::new(), Vec::new()];
        let first = CoreId(processors()[0]);
        for _ in 0..200 {
            let member = self.member();
            let on = &mut members[usize::from(member.core != first)];
            if on.len() < each {
                on.push(member);
            }
            if members.iter().all(|members| members.len() == each) {
                return members;
            }
        }
        panic!("200 connections, and not {each} on each core");
    }

    fn enrol(&self, client: Client) -> Member {
        let mut member = Member {
            client,
            waiting: self.waiting.clone(),
            core: CoreId(0),
        };
        member.core = member.run(|ws| ws.core());
        member
    }
}

impl Deref for Errands {
    type Target = Running;

    fn deref(&self) -> &Running {
        &self.server
    }
}

/// A client whose connection runs errands. Nothing is sent to it but by them.
pub(crate) struct Member {
    client: Client,
    waiting: Waiting,
    /// The core that it is on.
    pub(crate) core: CoreId,
}

impl Member {
    /// Runs a closure in a callback of the connection, and gives its result.
    #[track_caller]
    pub(crate) fn run<R: Send + 'static>(
        &mut self,
        errand: impl FnOnce(&mut Conn<'_, Seen>) -> R + Send + 'static,
    ) -> R {
        next(&self.begin(errand))
    }

    /// The same, without waiting for it.
    pub(crate) fn begin<R: Send + 'static>(
        &mut self,
        errand: impl FnOnce(&mut Conn<'_, Seen>) -> R + Send + 'static,
    ) -> Receiver<R> {
        let (done, is_done) = mpsc::channel();
        let number = self.waiting.add(Box::new(move |ws| {
            // Nobody waits any more when the test is over.
            let _ = done.send(errand(ws));
        }));
        self.client.send(BINARY, &number.to_be_bytes());
        is_done
    }

    /// Subscribes to topics that it was not subscribed to.
    #[track_caller]
    pub(crate) fn subscribe(&mut self, filters: &[&str]) {
        let filters: Vec<String> = filters.iter().map(|&filter| filter.to_owned()).collect();
        let new = self.run(move |ws| {
            let mut new = filters.iter().map(|filter| ws.subscribe(filter));
            new.all(|new| new)
        });
        assert!(new, "subscribed already");
    }

    /// Reads all that the server has for it: no frame is dropped for a ping, and its answer overtakes none.
    #[track_caller]
    pub(crate) fn read_all(&mut self) -> Vec<Frame> {
        self.send(PING, b"all");
        let mut frames = Vec::new();
        loop {
            let frame = self.frame();
            if frame.opcode == PONG && frame.payload == b"all" {
                return frames;
            }
            frames.push(frame);
        }
    }

    /// The texts among all that the server has for it, which must be nothing but texts.
    #[track_caller]
    pub(crate) fn read_texts(&mut self) -> Vec<String> {
        let frames = self.read_all().into_iter();
        let texts = frames.map(|frame| {
            assert_eq!(frame.opcode, super::client::TEXT, "{frame:?}");
            String::from_utf8(frame.payload).expect("text")
        });
        texts.collect()
    }

    /// The connection without its errands.
    pub(crate) fn into_client(self) -> Client {
        self.client
    }
}

impl Deref for Member {
    type Target = Client;

    fn deref(&self) -> &Client {
        &self.client
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut Client {
        &mut self.client
    }
}
