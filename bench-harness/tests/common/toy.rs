//! A small server on one thread whose every delay and every fault is known: it tells what it did.
//!
//! It takes the time of each message itself: from when it was read to when its reply was written. Where replies have to leave
//! on time to a few microseconds, it does not sleep when one is nearly due.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use tungstenite::handshake::derive_accept_key;

use super::hub::frame;
use super::servers::listener;

/// How often it looks whether it is to end.
const GLANCE: Duration = Duration::from_millis(20);

const MILLISECOND: Duration = Duration::from_millis(1);

/// The listener's key; connections count from 0.
const LISTENER: u64 = u64::MAX;

/// What is done to replies.
pub(crate) struct Behaviour {
    /// How long each is held back, by the message's number over all connections. Those of a connection stay in order.
    pub(crate) delay: Box<dyn Fn(u64) -> Duration + Send>,
    /// When a reply is due so soon, the thread does not sleep any more. Sleep takes up to a millisecond too long, and on a busy
    /// machine a thread that never sleeps has to wait for its turn.
    pub(crate) awake: Duration,
    /// What is done to every so many messages.
    pub(crate) fault: Option<(Fault, u64)>,
    /// The whole server stands still once, at that message and for so long.
    pub(crate) stall: Option<(u64, Duration)>,
    /// The processor to run on.
    pub(crate) core: Option<usize>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            delay: Box::new(|_| Duration::ZERO),
            awake: Duration::ZERO,
            fault: None,
            stall: None,
            core: None,
        }
    }
}

/// What is done to a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// It is not answered.
    Drop,
    /// It is answered twice.
    Duplicate,
    /// It is answered after the next one of its connection.
    Swap,
}

/// What was done.
#[derive(Clone, Debug, Default)]
pub(crate) struct Account {
    /// From when a message was read to when its reply was written, in nanoseconds.
    pub(crate) residence: Vec<u64>,
    /// Messages without a reply.
    pub(crate) dropped: u64,
    /// Messages with two.
    pub(crate) duplicated: u64,
    /// Messages answered after a later one.
    pub(crate) swapped: u64,
}

impl Account {
    /// A percentile of the residence, in microseconds.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let mut sorted = self.residence.clone();
        sorted.sort_unstable();
        let rank = (share * sorted.len() as f64).ceil() as usize;
        sorted[rank.clamp(1, sorted.len()) - 1] as f64 / 1e3
    }
}

/// A running toy.
pub(crate) struct Toy {
    pub(crate) address: SocketAddr,
    over: Arc<AtomicBool>,
    thread: JoinHandle<Account>,
}

impl Toy {
    /// Starts one on a free port.
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        let listener = listener();
        let address = listener.local_addr().unwrap();
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = thread::spawn(move || {
            if let Some(id) = behaviour.core {
                assert!(core_affinity::set_for_current(core_affinity::CoreId { id }));
            }
            Server::new(listener, behaviour).run(&until)
        });
        Self {
            address,
            over,
            thread,
        }
    }

    /// Ends it, and tells what it did.
    pub(crate) fn finish(self) -> Account {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    behaviour: Behaviour,
    peers: HashMap<u64, Peer>,
    /// Replies to come, with their tickets and connections, by the time they are due.
    due: BinaryHeap<Reverse<(Instant, u64, u64)>>,
    /// By ticket: when the message came, and the reply.
    waiting: HashMap<u64, (Instant, Vec<u8>)>,
    tickets: u64,
    messages: u64,
    account: Account,
}

struct Peer {
    stream: TcpStream,
    upgraded: bool,
    input: Vec<u8>,
    /// When the last of its replies so far is due.
    last: Instant,
    /// Answered after the next one.
    held: Option<(Instant, Vec<u8>)>,
}

impl Server {
    fn new(listener: TcpListener, behaviour: Behaviour) -> Self {
        listener.set_nonblocking(true).unwrap();
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap();
        let event = EpollEvent::new(EpollFlags::EPOLLIN, LISTENER);
        epoll.add(&listener, event).unwrap();
        Self {
            epoll,
            listener,
            behaviour,
            peers: HashMap::new(),
            due: BinaryHeap::new(),
            waiting: HashMap::new(),
            tickets: 0,
            messages: 0,
            account: Account::default(),
        }
    }

    fn run(mut self, over: &AtomicBool) -> Account {
        let mut events = [EpollEvent::empty(); 64];
        while !over.load(Ordering::Relaxed) {
            let count = self.epoll.wait(&mut events, self.timeout()).unwrap();
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(),
                    key => self.read(key),
                }
            }
            self.answer();
        }
        let held = self.peers.values().filter(|peer| peer.held.is_some());
        self.account.dropped += held.count() as u64;
        self.account
    }

    fn timeout(&self) -> EpollTimeout {
        let Some(Reverse((due, ..))) = self.due.peek() else {
            return EpollTimeout::try_from(GLANCE).unwrap();
        };
        let left = due.saturating_duration_since(Instant::now());
        match left.checked_sub(self.behaviour.awake) {
            None | Some(Duration::ZERO) => EpollTimeout::ZERO,
            // A timeout has whole milliseconds, rounded down.
            Some(rest) => EpollTimeout::try_from(rest.min(GLANCE) + MILLISECOND).unwrap(),
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            stream.set_nonblocking(true).unwrap();
            stream.set_nodelay(true).unwrap();
            let key = self.peers.len() as u64;
            let event = EpollEvent::new(EpollFlags::EPOLLIN, key);
            self.epoll.add(stream.as_fd(), event).unwrap();
            let peer = Peer {
                stream,
                upgraded: false,
                input: Vec::new(),
                last: Instant::now(),
                held: None,
            };
            self.peers.insert(key, peer);
        }
    }

    fn read(&mut self, key: u64) {
        let peer = self.peers.get_mut(&key).unwrap();
        let mut buffer = [0; 1 << 16];
        let count = match peer.stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Err(_) => 0,
        };
        let now = Instant::now();
        if count == 0 {
            // It has left; the entry stays, so that numbers are not used again.
            let _ = self.epoll.delete(peer.stream.as_fd());
            return;
        }
        peer.input.extend_from_slice(&buffer[..count]);
        if !peer.upgraded && !peer.upgrade() {
            return;
        }
        let mut messages = Vec::new();
        while let Some((opcode, payload)) = peer.next_frame() {
            match opcode {
                1 | 2 => messages.push(payload),
                8 => {
                    // As RFC 6455 §5.5.1 asks for: with the same code, and then the end.
                    let mut close = vec![0x88, payload.len() as u8];
                    close.extend(payload);
                    peer.write(&close);
                    let _ = peer.stream.shutdown(std::net::Shutdown::Write);
                }
                _ => {}
            }
        }
        for payload in messages {
            self.take(key, now, payload);
        }
    }

    /// A message has come: its reply is put where it belongs.
    fn take(&mut self, key: u64, now: Instant, payload: Vec<u8>) {
        let number = self.messages;
        self.messages += 1;
        if let Some((at, length)) = self.behaviour.stall
            && at == number
        {
            thread::sleep(length);
        }
        let peer = self.peers.get_mut(&key).unwrap();
        let fault = self.behaviour.fault;
        let fault = fault.filter(|(_, every)| number % every == every / 2);
        let mut reply = frame(&payload);
        match fault.map(|(fault, _)| fault) {
            Some(Fault::Drop) => {
                self.account.dropped += 1;
                return;
            }
            Some(Fault::Swap) => {
                assert!(peer.held.is_none(), "swaps are far apart");
                peer.held = Some((now, reply));
                return;
            }
            Some(Fault::Duplicate) => {
                self.account.duplicated += 1;
                reply.extend_from_within(..);
            }
            None => {}
        }
        let due = (now + (self.behaviour.delay)(number)).max(peer.last);
        peer.last = due;
        let held = peer.held.take();
        self.answer_at(due, key, now, reply);
        if let Some((since, held)) = held {
            self.account.swapped += 1;
            self.answer_at(due, key, since, held);
        }
    }

    /// Replies that are due at the same time are written in the order of the calls.
    fn answer_at(&mut self, due: Instant, key: u64, since: Instant, reply: Vec<u8>) {
        let ticket = self.tickets;
        self.tickets += 1;
        self.due.push(Reverse((due, ticket, key)));
        self.waiting.insert(ticket, (since, reply));
    }

    /// Writes the replies that are due.
    fn answer(&mut self) {
        while let Some(&Reverse((due, ticket, key))) = self.due.peek()
            && due <= Instant::now()
        {
            self.due.pop();
            let (since, reply) = self.waiting.remove(&ticket).unwrap();
            // Taken before: what the system does to send it is part of the way.
            let residence = since.elapsed().as_nanos() as u64;
            self.account.residence.push(residence);
            self.peers.get_mut(&key).unwrap().write(&reply);
        }
    }
}

impl Peer {
    /// Answers the request when it is complete. True: what follows is frames.
    fn upgrade(&mut self) -> bool {
        let head = String::from_utf8_lossy(&self.input);
        let Some(end) = head.find("\r\n\r\n") else {
            return false;
        };
        let name = "sec-websocket-key:";
        let line = head
            .lines()
            .find(|line| line.to_ascii_lowercase().starts_with(name));
        let accept = derive_accept_key(line.unwrap()[name.len()..].trim().as_bytes());
        let answer = format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {accept}\r\n\r\n"
        );
        self.write(answer.as_bytes());
        self.input.drain(..end + 4);
        self.upgraded = true;
        true
    }

    /// The next whole frame: its opcode, and its payload without the mask (RFC 6455 §5.2).
    fn next_frame(&mut self) -> Option<(u8, Vec<u8>)> {
        let (&first, &second) = (self.input.first()?, self.input.get(1)?);
        let (len, at) = match second & 0x7f {
            126 => {
                let bytes = self.input.get(2..4)?;
                (u16::from_be_bytes(bytes.try_into().unwrap()) as usize, 4)
            }
            127 => {
                let bytes = self.input.get(2..10)?;
                (u64::from_be_bytes(bytes.try_into().unwrap()) as usize, 10)
            }
            len => (usize::from(len), 2),
        };
        let key: [u8; 4] = self.input.get(at..at + 4)?.try_into().unwrap();
        let masked = self.input.get(at + 4..at + 4 + len)?;
        let payload = masked.iter().zip(key.iter().cycle());
        let payload = payload.map(|(byte, key)| byte ^ key).collect();
        self.input.drain(..at + 4 + len);
        Some((first & 0x0f, payload))
    }

    /// Replies are small against a socket's buffer: they fit, or the other side has left.
    fn write(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }
}
