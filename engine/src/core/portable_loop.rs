//! The loop over monoio's sockets: a task per listener and per connection, one for deadlines and mail.
//!
//! The connection code is the ring's; only the order differs: what a read leads to is sent as soon as it is handled,
//! while the bytes that were read are still in place.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io::{self, IoSlice};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use monoio::io::AsyncWriteRent;
use monoio::task::JoinHandle;
use socket2::{SockRef, Socket as Socket2};

use super::connection::{Flags, State};
use super::gather::Gather;
use super::output::Received;
use super::seldom::Seldom;
use super::slab::ConnId;
use super::tasks::{self, Wake};
use super::{ACCEPT_REST, ACCEPTING_RESTS, Core, SharedCore, is_passing};
use crate::transport::portable::{Listener, Reader};
use crate::transport::ring::{Chunk, MAX_PIECES};
use crate::transport::socket::{Socket, Writer};

/// A read of at least so many bytes says that more may be there already.
const YIELD_BYTES: usize = 16 << 10;

/// Runs a core over monoio's sockets until it is done.
pub(crate) async fn run_portable(
    core: SharedCore,
    listeners: Vec<Socket2>,
    wake: Rc<Wake>,
) -> io::Result<()> {
    let _entered = tasks::enter(&core, &wake);
    let bell = core.borrow().hub.post.bell().try_clone_to_owned()?;
    let bell = monoio::net::UnixStream::from_std(UnixStream::from(bell))?;
    let nudge = wake.eventfd().try_clone_to_owned()?;
    let nudge = monoio::net::UnixStream::from_std(UnixStream::from(nudge))?;
    let driver = Rc::new(Driver {
        core,
        paused: RefCell::default(),
        listening: RefCell::default(),
        yielding: RefCell::default(),
        planned: Cell::default(),
        planned_flush: Cell::default(),
    });
    let mut accepting = Vec::new();
    for listener in listeners {
        driver.listening.borrow_mut().push(listener.try_clone()?);
        let accept = accept(Rc::clone(&driver), Listener::new(listener)?);
        accepting.push(monoio::spawn(accept));
    }
    loop {
        let sleep = {
            let core = &mut *driver.core.borrow_mut();
            core.begin_turn(Instant::now());
            // Before anybody is told that the server ends.
            if core.hub.leaving {
                driver.stop_accepting();
            }
            driver.carry_out(core, &[]);
            // A task that still waits when the runtime ends is never dropped, nor what it holds: the core.
            if core.is_done() && accepting.iter().all(JoinHandle::is_finished) {
                return Ok(());
            }
            driver.planned.set(core.hub.wheel.next_tick());
            driver.planned_flush.set(core.hub.output.batches.next_due());
            match core.has_work() || !core.hub.post.try_sleep() {
                true => Some(Duration::ZERO),
                false => core.time_to_sleep(Instant::now()),
            }
        };
        wake.set_asleep(true);
        // Why it woke makes no difference: the turn looks at everything.
        let signal = || either(bell.readable(false), nudge.readable(false));
        match sleep {
            Some(Duration::ZERO) => others_turn(&nudge).await,
            Some(time) => drop(monoio::time::timeout(time, signal()).await),
            None => signal().await,
        }
        wake.set_asleep(false);
        {
            let post = &driver.core.borrow().hub.post;
            post.wake();
            post.silence();
        }
        for reader in driver.yielding.borrow_mut().drain(..) {
            reader.wake();
        }
    }
}

/// Lets the runtime run what is ready, look for I/O and at its timers, and come back.
///
/// The nudge that brings it back may come only once it is awaited: on epoll, one that is there already is no reason to
/// wait, and nobody else would get a turn before all work is done.
async fn others_turn(nudge: &monoio::net::UnixStream) {
    let mut nudged = std::pin::pin!(nudge.readable(false));
    let mut is_awaited = false;
    std::future::poll_fn(|context| {
        let polled = nudged.as_mut().poll(context);
        if polled.is_pending() && !std::mem::replace(&mut is_awaited, true) {
            tasks::wake_loop();
        }
        polled.map(drop)
    })
    .await;
}

/// Waits for either of two futures, and drops both.
async fn either(a: impl Future, b: impl Future) {
    let (mut a, mut b) = (std::pin::pin!(a), std::pin::pin!(b));
    std::future::poll_fn(|context| {
        if a.as_mut().poll(context).is_ready() || b.as_mut().poll(context).is_ready() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}

/// The bytes of the read at hand, as the only receive buffer there is.
impl Received for [u8] {
    fn bytes(&self, chunk: Chunk) -> &[u8] {
        &self[chunk.offset as usize..][..chunk.len as usize]
    }
}

struct Driver {
    core: SharedCore,
    /// Readers that wait until input is wanted again.
    paused: RefCell<HashMap<u32, Waker>>,
    /// The listeners, to end the tasks that accept from them.
    listening: RefCell<Vec<Socket2>>,
    /// Readers that let the others go first.
    yielding: RefCell<Vec<Waker>>,
    /// The deadline that the main task sleeps towards, as a tick.
    planned: Cell<Option<u32>>,
    /// When it will send, at the latest, what is published for a later time.
    planned_flush: Cell<Option<Instant>>,
}

/// Whether something comes due before what is planned for.
fn is_sooner<T: Ord>(due: Option<T>, planned: Option<T>) -> bool {
    due.is_some_and(|due| planned.is_none_or(|planned| due < planned))
}

async fn accept(driver: Rc<Driver>, listener: Listener) {
    let mut rests = Seldom::default();
    loop {
        match listener.accept().await {
            Ok((reader, socket)) => driver.take_in(reader, socket),
            Err(_) if driver.core.borrow().hub.leaving => return tasks::wake_loop(),
            Err(e) if is_passing(&e) => {}
            Err(e) => {
                if let Some(times) = rests.happened(Instant::now()) {
                    tracing::warn!(error = %e, times, "{ACCEPTING_RESTS}");
                }
                monoio::time::sleep(ACCEPT_REST).await;
            }
        }
    }
}

impl Driver {
    /// Ends the pending accepts with an error, and with them the tasks that wait for them.
    fn stop_accepting(&self) {
        for listener in self.listening.borrow_mut().drain(..) {
            // Fails only if it does not listen.
            let _ = listener.shutdown(Shutdown::Both);
        }
    }

    fn take_in(self: &Rc<Self>, reader: Reader, socket: Socket) {
        let core = &mut *self.core.borrow_mut();
        core.advance(Instant::now());
        if let Some(id) = core.accept(socket) {
            let conn = &mut core.hub.conns[id.index];
            conn.flags.set(Flags::RECEIVING, true);
            conn.operations += 1;
            monoio::spawn(read(Rc::clone(self), id, reader));
        }
        self.wake_if_due(core);
    }

    /// Wakes the main task where it has something to do before it would wake by itself.
    fn wake_if_due(&self, core: &Core) {
        let sooner = is_sooner(core.hub.wheel.next_tick(), self.planned.get())
            || is_sooner(core.hub.output.batches.next_due(), self.planned_flush.get());
        if sooner || core.has_work() || core.is_done() {
            tasks::wake_loop();
        }
    }

    /// Handles what a read brought, and says whether to go on.
    fn on_read(self: &Rc<Self>, id: ConnId, read: io::Result<&mut [u8]>) -> bool {
        let core = &mut *self.core.borrow_mut();
        let now = Instant::now();
        core.advance(now);
        if core.worked(now) {
            tasks::wake_loop();
        }
        let index = id.index;
        let goes_on = match read {
            Ok([]) => {
                core.on_end(index);
                false
            }
            Ok(bytes) => {
                let chunk = Chunk {
                    buffer: 0,
                    offset: 0,
                    len: bytes.len() as u32,
                };
                core.on_bytes(index, bytes, Some(chunk));
                self.carry_out(core, bytes);
                true
            }
            Err(_) => {
                core.hub.kill(index);
                false
            }
        };
        let goes_on = goes_on && core.hub.conns[index].state != State::Dead;
        if !goes_on {
            core.hub.conns[index].flags.set(Flags::RECEIVING, false);
            core.hub.operation_done(index);
            self.carry_out(core, &[]);
        }
        goes_on
    }

    /// Sends the output, and does what the callbacks left to do.
    fn carry_out(self: &Rc<Self>, core: &mut Core, received: &[u8]) {
        core.settle();
        // What a read has published to many waits for the main task's turn: other reads that are ready come first, and what
        // they publish leaves with it. Not if it is much: with theirs it might be more than anybody may have waiting.
        let now = core.hub.now;
        let waits = !received.is_empty() && !core.hub.crowded;
        if !(waits && Gather::is_large(core.hub.sends_ahead(now))) {
            core.hub.flush(now);
        }
        core.hub.post_parcels();
        // Before callbacks publish again: it ends what was reserved for these.
        core.hub.post.ring();
        for position in 0..core.hub.output.dirty().len() {
            let index = core.hub.output.dirty()[position];
            send(core, index, received);
        }
        core.end_turn();
        core.hub.finish_writing();
        core.settle();
        for index in std::mem::take(&mut core.hub.lists.draining) {
            self.start_drain(core, index);
        }
        for index in std::mem::take(&mut core.hub.lists.reading) {
            if let Some(reader) = self.paused.borrow_mut().remove(&index) {
                reader.wake();
            }
        }
        // A deadline before the one that the main task sleeps towards, input that was held for
        // fairness, output of a callback that ran just now: its turn, after the other connections'.
        self.wake_if_due(core);
    }

    fn start_drain(self: &Rc<Self>, core: &mut Core, index: u32) {
        if let Some((id, bytes)) = core.hub.next_backlog_send(index)
            && let Socket::Portable(writer) = core.hub.conns[index].any_socket()
        {
            monoio::spawn(drain(Rc::clone(self), id, writer.clone(), bytes));
        }
    }

    /// Waits until the main task has had its turn. It comes by way of the eventfd, so that the runtime looks for I/O and
    /// at its timers meanwhile, which it does not while a task is ready at once.
    async fn next_round(&self) {
        let mut waited = false;
        std::future::poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            self.yielding.borrow_mut().push(context.waker().clone());
            tasks::wake_loop();
            Poll::Pending
        })
        .await;
    }

    /// Waits until input is wanted. `false` when the connection is over.
    async fn wanted(&self, id: ConnId) -> bool {
        std::future::poll_fn(|context| {
            let core = self.core.borrow();
            let conn = &core.hub.conns[id.index];
            if conn.state == State::Dead {
                return Poll::Ready(false);
            }
            if conn.wants_input() {
                return Poll::Ready(true);
            }
            self.paused
                .borrow_mut()
                .insert(id.index, context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

async fn read(driver: Rc<Driver>, id: ConnId, mut reader: Reader) {
    loop {
        let read = match driver.wanted(id).await {
            true => reader.read().await,
            false => Ok(&mut [][..]),
        };
        let much = read.as_ref().is_ok_and(|bytes| bytes.len() >= YIELD_BYTES);
        if !driver.on_read(id, read) {
            return;
        }
        if much {
            // There may be more at once, and more after that: the others first.
            driver.next_round().await;
        }
    }
}

/// Sends a backlog's front, waiting for room as long as it takes.
#[expect(
    clippy::await_holding_refcell_ref,
    reason = "one drain at a time per connection"
)]
async fn drain(driver: Rc<Driver>, id: ConnId, writer: Writer, mut bytes: Bytes) {
    let mut sent = 0;
    let result = loop {
        let (written, rest) = {
            let mut half = writer.half().borrow_mut();
            half.write(bytes).await
        };
        match written {
            Ok(n) if n < rest.len() => {
                sent += n;
                bytes = rest.slice(n..);
            }
            Ok(n) => break Ok(sent + n),
            Err(e) => break Err(e.raw_os_error().unwrap_or(libc::EIO)),
        }
    };
    let core = &mut *driver.core.borrow_mut();
    core.on_backlog_sent(id.index, result);
    if core.worked(Instant::now()) {
        tasks::wake_loop();
    }
    driver.carry_out(core, &[]);
}

/// Sends a connection's output of this turn; what the socket does not take joins its backlog.
fn send(core: &mut Core, index: u32, received: &[u8]) {
    let output = &core.hub.output;
    let conn = &core.hub.conns[index];
    let total = conn.pending.bytes(output.turn());
    if total == 0 || conn.state == State::Dead {
        return;
    }
    if conn.backlog.is_some() {
        return core.hub.join_backlog(index, 0, received);
    }
    let pieces: Vec<_> = output
        .pieces(conn.pending, received)
        .take(MAX_PIECES)
        .map(IoSlice::new)
        .collect();
    // In its last turn the bytes wait for the FIN, which follows at once.
    let last = if conn.state == State::Finishing {
        libc::MSG_MORE
    } else {
        0
    };
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL | last;
    match SockRef::from(&conn.socket().as_fd()).send_vectored_with_flags(&pieces, flags) {
        Ok(sent) if sent == total => {}
        Ok(sent) => core.hub.join_backlog(index, sent, received),
        Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
            core.hub.join_backlog(index, 0, received)
        }
        Err(_) => core.hub.kill(index),
    }
}
