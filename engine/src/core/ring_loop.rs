//! The loop over the data ring: one `enter` per turn takes the turn's sends and brings the next
//! turn's completions.

use std::collections::VecDeque;
use std::io;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use io_uring::IoUring;
use socket2::Socket as Socket2;

use super::connection::{Flags, State};
use super::gather::Gather;
use super::output::Received;
use super::seldom::Seldom;
use super::tasks::{self, Wake};
use super::{ACCEPT_REST, ACCEPTING_RESTS, Core, SharedCore, TURN_INPUT, is_passing};
use crate::transport::ring::{
    BufferRing, Chunk, Completion, Kernel, MAX_PIECES, Op, Ring, Then, Token, Wait,
};
use crate::transport::socket::Socket;

impl Received for BufferRing {
    fn bytes(&self, chunk: Chunk) -> &[u8] {
        Self::bytes(self, chunk)
    }
}

/// Receives that found no buffer and are tried again in one turn: more than a pool's worth would only
/// fail again.
const STARVED_PER_TURN: usize = 256;

/// How often the runtime is made to look at its timers and its own I/O while the ring keeps the loop busy: its timers
/// have ticks of a millisecond.
const PARK_EVERY: Duration = Duration::from_millis(1);

/// Runs a core over its ring until it is done.
pub(crate) async fn run_ring(
    core: SharedCore,
    mut ring: Ring,
    listeners: Vec<Socket2>,
    wake: Rc<Wake>,
) -> io::Result<()> {
    let _entered = tasks::enter(&core, &wake);
    let sleeper = Sleeper::new(wake)?;
    if core.borrow().hub.config.zero_copy.is_some() {
        allow_zero_copy(&mut ring, &core.borrow());
    }
    let listeners = listeners
        .into_iter()
        .map(|listener| Socket::Ring(OwnedFd::from(listener)));
    let mut pump = Pump::new(
        ring,
        listeners.collect(),
        core.borrow().hub.config.busy_poll,
    );
    pump.ring.uring().register_eventfd(sleeper.wake.eventfd())?;
    pump.ring.uring().signal_eventfd(false);
    pump.watch_bell(&core.borrow())?;
    let mut parked = Instant::now();
    loop {
        let progress = pump.turn(&mut core.borrow_mut())?;
        if core.borrow().is_done() {
            return Ok(());
        }
        if tasks::any() {
            tasks::yield_now().await;
            if parked.elapsed() >= PARK_EVERY {
                sleeper.park().await?;
                parked = Instant::now();
            }
            if !progress {
                pump.sleep_in_runtime(&core, &sleeper).await?;
            }
        }
    }
}

/// Copies are as good as no copies, if slower: the log says so, once.
fn allow_zero_copy(ring: &mut Ring, core: &Core) {
    if let Err(reason) = ring.allow_zero_copy()
        && core.hub.post.own() == 0
    {
        tracing::warn!(%reason, "sends cannot be done without a copy here; zero_copy is ignored");
    }
}

/// A listener's multishot accept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Accepting {
    Idle,
    Armed,
    /// Out of descriptors or memory until then.
    RestingUntil(Instant),
}

/// Moves completions into a core, and its output into the ring. Asks the ring for the time, never the system.
pub(super) struct Pump<K: Kernel> {
    pub(super) ring: Ring<K>,
    listeners: Vec<Socket>,
    accepting: Vec<Accepting>,
    completions: Vec<Completion>,
    /// Receives that found no buffer.
    pub(super) starved: VecDeque<u32>,
    rests: Seldom,
    gather: Gather,
    busy_poll: Option<Duration>,
    last_progress: Instant,
}

impl<K: Kernel> Pump<K> {
    pub(super) fn new(ring: Ring<K>, listeners: Vec<Socket>, busy_poll: Option<Duration>) -> Self {
        Self {
            last_progress: ring.now(),
            ring,
            accepting: vec![Accepting::Idle; listeners.len()],
            listeners,
            completions: Vec::new(),
            starved: VecDeque::new(),
            rests: Seldom::default(),
            gather: Gather::new(),
            busy_poll,
        }
    }

    /// One turn. Says whether anything was completed.
    pub(super) fn turn(&mut self, core: &mut Core) -> io::Result<bool> {
        let now = self.ring.now();
        core.begin_turn(now);
        core.settle();
        let gathered = self.gather(core, now)?;
        self.submit(core, now)?;
        // It may have slept.
        let now = self.ring.now();
        core.advance(now);

        let mut completions = std::mem::take(&mut self.completions);
        self.ring.take_completions(&mut completions);
        self.count(core);
        // The turn's sends are over when all that fell short are known, and their memory is free only then.
        for completion in completions
            .iter()
            .filter(|c| c.token().op() == Some(Op::Send))
        {
            self.on_short_send(core, completion);
        }
        core.end_turn();
        core.hub.finish_writing();

        let progress = gathered || !completions.is_empty();
        if progress {
            core.worked(now);
        }
        for completion in completions.drain(..) {
            self.on_completion(core, completion)?;
        }
        self.completions = completions;
        core.settle();
        if progress && self.busy_poll.is_some() {
            self.last_progress = now;
        }
        Ok(progress)
    }

    /// Passes on what the ring has counted.
    fn count(&mut self, core: &Core) {
        let stats = &core.hub.stats;
        match self.ring.take_overflows() {
            0 => {}
            times => stats.ring_overflows.add(times),
        }
        if self.ring.lends() {
            let lending = self.ring.take_lending();
            stats.zero_copy_sends.add(lending.sends);
            stats.zero_copy_bytes.set(lending.bytes as u64);
        }
    }

    /// Looks for further input before a large flush: what it leads to goes out with it. Says whether there was any.
    fn gather(&mut self, core: &mut Core, now: Instant) -> io::Result<bool> {
        if core.hub.output.batches.is_empty() {
            return Ok(false);
        }
        let Some(budget) = self.gather.budget(core.hub.sends_ahead(now)) else {
            return Ok(false);
        };
        let mut found = false;
        let mut completions = std::mem::take(&mut self.completions);
        while !core.hub.crowded && self.ring.now() - now < budget {
            self.ring.uring().batch().submit(Wait::No)?;
            // What arrives now counts from now, as in every turn.
            core.advance(self.ring.now());
            self.ring.look_at_completions(&mut completions);
            found |= !completions.is_empty();
            for completion in completions.drain(..) {
                self.on_completion(core, completion)?;
            }
            core.settle();
        }
        self.completions = completions;
        self.gather.looked(found);
        Ok(found)
    }

    /// Arms what wants to be armed, and enters the kernel with the turn's sends.
    fn submit(&mut self, core: &mut Core, now: Instant) -> io::Result<()> {
        self.ring.rotate();
        core.hub.flush(now);
        core.hub.post_parcels();
        core.hub.post.ring();
        self.spill(core);
        self.arm_accepts(core, now)?;
        self.arm_receives(core)?;
        self.send_backlogs(core)?;
        // A large flush is measured, so it does not sleep; the next turn does if there is nothing else.
        let sends = core.hub.output.dirty().len();
        let measured = Gather::is_large(sends).then(|| self.ring.now());
        let wait = match measured {
            Some(_) => Wait::No,
            None => self.wait(core, now),
        };

        let submitted = self.send(core, now, wait);
        core.hub.post.wake();
        if let Some(began) = measured {
            self.gather.flushed(sends, self.ring.now() - began);
        }
        submitted
    }

    /// Enters the kernel with the turn's sends.
    fn send(&mut self, core: &mut Core, now: Instant, wait: Wait) -> io::Result<()> {
        let config = &core.hub.config;
        let lend_from = match config.zero_copy {
            Some(min_bytes) if self.ring.lends() => {
                core.hub.output.batches.share_flushed(min_bytes);
                min_bytes
            }
            _ => usize::MAX,
        };
        let (uring, buffers) = self.ring.split();
        let mut batch = uring.batch();
        let output = &core.hub.output;
        for &index in output.dirty() {
            let conn = &core.hub.conns[index];
            let bytes = conn.pending.bytes(output.turn());
            if bytes == 0 || conn.state == State::Dead {
                continue;
            }
            let token = Token::new(Op::Send, index, conn.generation);
            let then = match conn.state {
                State::Finishing => Then::Shutdown,
                _ => Then::More,
            };
            if bytes >= lend_from
                && then == Then::More
                && batch.may_lend(token, bytes, config.backlog, now)
                && let Some(bytes) = output.whole(conn.pending)
            {
                batch.lend(token, conn.socket(), bytes);
                continue;
            }
            batch.send(
                token,
                conn.socket(),
                output.pieces(conn.pending, buffers),
                then,
            );
        }
        batch.submit(wait)
    }

    /// Output that cannot be sent inline joins its connection's backlog.
    fn spill(&mut self, core: &mut Core) {
        let turn = core.hub.output.turn();
        for position in 0..core.hub.output.dirty().len() {
            let index = core.hub.output.dirty()[position];
            let conn = &core.hub.conns[index];
            if conn.state == State::Dead || conn.pending.bytes(turn) == 0 {
                continue;
            }
            if conn.backlog.is_some() || conn.pending.pieces(turn) > MAX_PIECES {
                core.hub.join_backlog(index, 0, self.ring.buffers());
            }
        }
    }

    /// Sleeps in the ring itself unless there is work, or the runtime has tasks that must not wait.
    fn wait(&self, core: &Core, now: Instant) -> Wait {
        let spins = self
            .busy_poll
            .is_some_and(|limit| now - self.last_progress < limit);
        let lists = &core.hub.lists;
        let work = core.has_input()
            || !lists.ended.is_empty()
            || !lists.finishing.is_empty()
            || !lists.drained.is_empty()
            || !self.starved.is_empty()
            // Brought by the submission before a sleep in the runtime.
            || self.ring.has_completions();
        if spins || work || tasks::any() || core.is_done() || !core.hub.post.try_sleep() {
            return Wait::No;
        }
        Wait::For(self.time_to_sleep(core, now))
    }

    fn time_to_sleep(&self, core: &Core, now: Instant) -> Option<Duration> {
        let rest = self
            .accepting
            .iter()
            .filter_map(|accepting| match accepting {
                Accepting::RestingUntil(end) => Some(end.saturating_duration_since(now)),
                Accepting::Idle | Accepting::Armed => None,
            });
        rest.chain(core.time_to_sleep(now)).min()
    }

    pub(super) fn watch_bell(&mut self, core: &Core) -> io::Result<()> {
        self.ring
            .uring()
            .watch(Token::new(Op::Bell, 0, 0), core.hub.post.bell())
    }

    fn arm_accepts(&mut self, core: &Core, now: Instant) -> io::Result<()> {
        if core.hub.leaving {
            self.stop_accepting();
            return Ok(());
        }
        for (index, accepting) in self.accepting.iter_mut().enumerate() {
            let due = match accepting {
                Accepting::Idle => true,
                Accepting::Armed => false,
                Accepting::RestingUntil(end) => now >= *end,
            };
            if due {
                let token = Token::new(Op::Accept, index as u32, 0);
                self.ring
                    .uring()
                    .accept(token, self.listeners[index].as_fd())?;
                *accepting = Accepting::Armed;
            }
        }
        Ok(())
    }

    /// Closes the listeners. An armed accept would keep its socket listening, so they are shut down first.
    fn stop_accepting(&mut self) {
        for listener in self.listeners.drain(..) {
            // Fails only if it does not listen.
            let _ = listener.shutdown(Shutdown::Both);
        }
        self.accepting.clear();
    }

    /// Brings the receives in line with the connections' wishes.
    fn arm_receives(&mut self, core: &mut Core) -> io::Result<()> {
        let available = self.ring.buffers().available();
        if available {
            let again = self.starved.len().min(STARVED_PER_TURN);
            core.hub.lists.reading.extend(self.starved.drain(..again));
        }
        for index in std::mem::take(&mut core.hub.lists.reading) {
            let conn = &mut core.hub.conns[index];
            let wants = conn.wants_input() && !conn.flags.has(Flags::ENDED);
            let token = Token::new(Op::Recv, index, conn.generation);
            if wants && !conn.flags.has(Flags::RECEIVING) {
                if !available {
                    self.starved.push_back(index);
                    continue;
                }
                conn.flags.set(Flags::RECEIVING, true);
                conn.operations += 1;
                self.ring.uring().recv(token, conn.socket())?;
            } else if !wants
                && conn.flags.has(Flags::RECEIVING)
                && !conn.flags.has(Flags::CANCELLING)
                && conn.state != State::Dead
            {
                conn.flags.set(Flags::CANCELLING, true);
                let of = token;
                let token = Token::new(Op::Cancel, index, conn.generation);
                self.ring.uring().cancel(token, of)?;
            }
        }
        Ok(())
    }

    fn send_backlogs(&mut self, core: &mut Core) -> io::Result<()> {
        for index in std::mem::take(&mut core.hub.lists.draining) {
            if let Some((id, bytes)) = core.hub.next_backlog_send(index) {
                let token = Token::new(Op::Drain, index, id.generation);
                let socket = core.hub.conns[index].socket();
                self.ring.uring().send_owned(token, socket, bytes)?;
            }
        }
        Ok(())
    }

    /// An inline send that did not take everything.
    fn on_short_send(&mut self, core: &mut Core, completion: &Completion) {
        let index = completion.token().index();
        if !is_current(core, completion.token()) {
            return;
        }
        match completion.result() {
            sent if sent >= 0 => core
                .hub
                .join_backlog(index, sent as usize, self.ring.buffers()),
            e if e == -libc::EAGAIN => core.hub.join_backlog(index, 0, self.ring.buffers()),
            _ => core.hub.kill(index),
        }
    }

    fn on_completion(&mut self, core: &mut Core, completion: Completion) -> io::Result<()> {
        match completion.token().op() {
            Some(Op::Recv) => self.on_receive(core, &completion),
            Some(Op::Accept) => self.on_accept(core, completion),
            Some(Op::Drain) if is_current(core, completion.token()) => {
                let result = usize::try_from(completion.result()).map_err(|_| -completion.result());
                core.on_backlog_sent(completion.token().index(), result);
            }
            Some(Op::Bell) if !completion.more() => self.watch_bell(core)?,
            // Mail is looked for in every turn; sends were dealt with; a cancelled receive says so itself.
            _ => {}
        }
        Ok(())
    }

    #[inline]
    fn on_receive(&mut self, core: &mut Core, completion: &Completion) {
        let index = completion.token().index();
        if !is_current(core, completion.token()) {
            return;
        }
        if let Some(chunk) = completion.chunk().filter(|chunk| chunk.len > 0) {
            core.on_bytes(index, self.ring.buffers_mut().bytes_mut(chunk), Some(chunk));
        }
        if !completion.more() {
            self.on_receive_ended(core, completion.token(), completion.result());
        }
    }

    fn on_receive_ended(&mut self, core: &mut Core, token: Token, result: i32) {
        let index = token.index();
        let turn = core.hub.output.turn();
        let conn = &mut core.hub.conns[index];
        let got_nothing = conn.share.left(turn) == TURN_INPUT;
        conn.flags.set(Flags::RECEIVING, false);
        conn.flags.set(Flags::CANCELLING, false);
        // First, so that a connection that ends here needs no shutdown to make its operations end.
        core.hub.operation_done(index);
        if !is_current(core, token) {
            return;
        }
        match -result {
            0 => core.on_end(index),
            // Whoever got nothing comes first: one that always takes all there is would do so for ever.
            libc::ENOBUFS if got_nothing => self.starved.push_front(index),
            libc::ENOBUFS => self.starved.push_back(index),
            // Cut short by a full completion queue, or cancelled: armed again if it is still wanted.
            ended if ended < 0 || ended == libc::ECANCELED => core.hub.lists.reading.push(index),
            _ => core.hub.kill(index),
        }
    }

    fn on_accept(&mut self, core: &mut Core, completion: Completion) {
        let listener = completion.token().index() as usize;
        if !completion.more()
            && let Some(accepting) = self.accepting.get_mut(listener)
        {
            *accepting = Accepting::Idle;
        }
        match self.ring.accepted(completion) {
            // Without a place for it the socket is closed here, and counted as refused.
            Ok(socket) => drop(core.accept(socket)),
            Err(e) => self.on_accept_failed(listener, &e),
        }
    }

    fn on_accept_failed(&mut self, listener: usize, e: &io::Error) {
        if !is_passing(e)
            && let Some(accepting) = self.accepting.get_mut(listener)
        {
            let now = self.ring.now();
            *accepting = Accepting::RestingUntil(now + ACCEPT_REST);
            if let Some(times) = self.rests.happened(now) {
                tracing::warn!(error = %e, times, "{ACCEPTING_RESTS}");
            }
        }
    }
}

impl Pump<IoUring> {
    /// Sleeps on the ring's eventfd, so that the runtime's tasks go on meanwhile.
    async fn sleep_in_runtime(&mut self, core: &SharedCore, sleeper: &Sleeper) -> io::Result<()> {
        let time = {
            let core = core.borrow();
            if core.has_work() || !self.starved.is_empty() {
                return Ok(());
            }
            self.time_to_sleep(&core, self.ring.now())
        };
        self.ring.uring().signal_eventfd(true);
        sleeper.wake.set_asleep(true);
        // What completed before the eventfd was on has not signalled it.
        self.ring.uring().batch().submit(Wait::No)?;
        if !self.ring.has_completions() && core.borrow().hub.post.try_sleep() {
            sleeper.sleep(time).await?;
            core.borrow().hub.post.wake();
        }
        sleeper.wake.set_asleep(false);
        self.ring.uring().signal_eventfd(false);
        Ok(())
    }
}

#[inline]
fn is_current(core: &Core, token: Token) -> bool {
    let conn = &core.hub.conns[token.index()];
    conn.generation == token.generation() && conn.state != State::Free
}

/// Lets the pump sleep in monoio, on the eventfd that the ring and this thread's futures signal.
struct Sleeper {
    wake: Rc<Wake>,
    readable: monoio::net::UnixStream,
}

impl Sleeper {
    fn new(wake: Rc<Wake>) -> io::Result<Self> {
        // monoio has no type for an eventfd; all it is asked for here is to wait for readiness.
        let eventfd = UnixStream::from(wake.eventfd().try_clone_to_owned()?);
        Ok(Self {
            wake,
            readable: monoio::net::UnixStream::from_std(eventfd)?,
        })
    }

    /// Has the runtime run out of tasks once: only then it looks at its timers.
    async fn park(&self) -> io::Result<()> {
        self.wake.set_asleep(true);
        tasks::wake_loop();
        let woken = self.readable.readable(false).await;
        self.wake.set_asleep(false);
        woken
    }

    async fn sleep(&self, time: Option<Duration>) -> io::Result<()> {
        let ready = self.readable.readable(false);
        match time {
            None => ready.await,
            // Time's up is as good a reason to wake as any.
            Some(time) => monoio::time::timeout(time, ready).await.unwrap_or(Ok(())),
        }
    }
}
