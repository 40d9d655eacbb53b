//! A running server: watching it, ending it.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::core::CoreId;
use crate::core::mailbox::{Mail, Mailboxes};
use crate::core::stats::CoreStats;
use crate::core::sync::AtomicU64;
use crate::publisher::Publisher;
use crate::thread::{self, CoreSetup};
use crate::transport::choice::IoChoice;
use crate::{Error, Result};

/// A running server. Dropping this leaves it running.
#[derive(Debug)]
pub struct ServerHandle {
    addresses: Vec<SocketAddr>,
    io: IoChoice,
    threads: Vec<CoreThread>,
    control: Control,
    publisher: Publisher,
}

impl ServerHandle {
    pub(crate) fn new(
        addresses: Vec<SocketAddr>,
        io: IoChoice,
        threads: Vec<CoreThread>,
        control: Control,
        publisher: Publisher,
    ) -> Self {
        Self {
            addresses,
            io,
            threads,
            control,
            publisher,
        }
    }

    /// The addresses that it listens on, with their real ports.
    #[must_use]
    pub fn local_addrs(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The transport that it runs on.
    #[must_use]
    pub fn io(&self) -> &IoChoice {
        &self.io
    }

    /// How many cores it runs on.
    #[must_use]
    pub fn cores(&self) -> usize {
        self.threads.len()
    }

    /// Publishes to its topics from any thread.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        self.publisher.clone()
    }

    /// Watches and ends it from any thread, while this one joins it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// As [`Control::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.control.stats()
    }

    /// As [`Control::drain`].
    pub fn drain(&self, deadline: Duration) {
        self.control.drain(deadline);
    }

    /// As [`Control::stop`].
    pub fn stop(&self) {
        self.control.stop();
    }

    /// Waits until every core has ended. One that fails ends the others.
    ///
    /// # Errors
    /// A core's loop failed, or its thread panicked.
    pub fn join(self) -> Result<()> {
        let mut result = Ok(());
        for (id, thread) in self.threads {
            let ended = thread.join().unwrap_or(Err(Error::Panicked(id.0)));
            result = result.and(ended);
        }
        result
    }
}

/// Nobody waits longer, and no clock overflows.
const LONGEST_DRAIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Watches and ends a running server from any thread.
#[derive(Clone, Debug)]
pub struct Control {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    mailboxes: Mailboxes,
    stats: Vec<Arc<CoreStats>>,
    total: Arc<AtomicU64>,
}

impl Control {
    pub(crate) fn new(
        mailboxes: Mailboxes,
        stats: Vec<Arc<CoreStats>>,
        total: Arc<AtomicU64>,
    ) -> Self {
        Self {
            shared: Arc::new(Shared {
                mailboxes,
                stats,
                total,
            }),
        }
    }

    /// What the server has done so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let sum = |counter: fn(&CoreStats) -> u64| {
            self.shared.stats.iter().map(|core| counter(core)).sum()
        };
        Stats {
            connections: self.shared.total.load(Ordering::Relaxed),
            accepted: sum(|core| core.accepted.get()),
            opened: sum(|core| core.opened.get()),
            refused: sum(|core| core.refused.get()),
            limited: sum(|core| core.limited.get()),
            dropped: sum(|core| core.dropped.get()),
            handler_panics: sum(|core| core.panics.get()),
            ring_overflows: sum(|core| core.ring_overflows.get()),
            compressed: sum(|core| core.compressed.get()),
            zero_copy_sends: sum(|core| core.zero_copy_sends.get()),
            zero_copy_bytes: sum(|core| core.zero_copy_bytes.get()),
        }
    }

    /// Begins to end: accepts no more, closes every connection with 1001 (going away), and cuts what is left after
    /// `deadline`. Returns at once; [`ServerHandle::join`] waits.
    ///
    /// The listeners close and unfinished handshakes are cut at once. Open connections are closed one after the other in the
    /// first half of the time, at no less than 32 per core and 32 ms, so that their clients do not come back all at once;
    /// until its turn comes a connection works on. The second half is for the peers' answers.
    ///
    /// A further call can only bring the end forward.
    pub fn drain(&self, deadline: Duration) {
        let end = Instant::now() + deadline.min(LONGEST_DRAIN);
        order(&self.shared.mailboxes, &Mail::Drain(end));
    }

    /// Ends at once: connections are cut.
    pub fn stop(&self) {
        order(&self.shared.mailboxes, &Mail::Stop);
    }
}

fn order(mailboxes: &Mailboxes, mail: &Mail) {
    for mailbox in mailboxes.iter() {
        // Orders are always taken.
        let _ = mailbox.post(mail.clone());
    }
}

/// Counters of a running server, all since it started but for the first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Connections at present, those included that are opening or closing.
    pub connections: u64,
    /// Connections accepted within the limit.
    pub accepted: u64,
    /// Upgrades that succeeded.
    pub opened: u64,
    /// Connections past the limit, which were answered with 503 or cut.
    pub refused: u64,
    /// Connections past the limits of their address, which were answered with 429 or cut.
    pub limited: u64,
    /// Messages that a full backlog would not take.
    pub dropped: u64,
    /// Callbacks that panicked.
    pub handler_panics: u64,
    /// Turns of a core that had more completions than its ring's queue holds. Nothing is lost by that; it takes further
    /// system calls. Always 0 without the ring.
    pub ring_overflows: u64,
    /// How often a message was compressed: what is published, once for all subscribers of a core who share a form.
    pub compressed: u64,
    /// Sends that were given to the kernel to do without a copy ([`Server::zero_copy`](crate::Server::zero_copy)), those
    /// included for which it could not lock memory.
    pub zero_copy_sends: u64,
    /// Bytes of those that peers have not acknowledged, as far as the cores have heard.
    pub zero_copy_bytes: u64,
}

/// A core's thread.
pub(crate) type CoreThread = (CoreId, JoinHandle<Result<()>>);

/// Starts the cores' threads, and waits until each is ready. If one fails, none stays.
pub(crate) fn start(setups: Vec<CoreSetup>, mailboxes: &Mailboxes) -> Result<Vec<CoreThread>> {
    let (ready, is_ready) = mpsc::channel();
    let mut threads = Vec::new();
    let mut failed = None;
    for setup in setups {
        let (id, ready) = (setup.id, ready.clone());
        let mut others = StopOthers {
            mailboxes: Arc::clone(mailboxes),
            needed: true,
        };
        let thread = std::thread::Builder::new()
            .name(format!("corecast-{}", id.0))
            .spawn(move || {
                let result = thread::run(setup, ready);
                others.answer(&result);
                result
            });
        match thread {
            Ok(thread) => threads.push((id, thread)),
            Err(e) => failed = Some(Error::Core(id.0, e)),
        }
    }
    drop(ready);
    for _ in &threads {
        match is_ready.recv() {
            Ok(Ok(())) => {}
            Ok(Err(e)) => failed = Some(e),
            // A thread panicked before it was ready; joining it says which.
            Err(mpsc::RecvError) => {
                failed.get_or_insert(Error::Panicked(threads[0].0.0));
                break;
            }
        }
    }
    let Some(mut error) = failed else {
        return Ok(threads);
    };
    order(mailboxes, &Mail::Stop);
    for (id, thread) in threads {
        if thread.join().is_err() {
            error = Error::Panicked(id.0);
        }
    }
    Err(error)
}

/// Ends the other cores when one fails or panics: a server that answers on some of its cores only would
/// leave its clients to chance.
struct StopOthers {
    mailboxes: Mailboxes,
    needed: bool,
}

impl StopOthers {
    fn answer(&mut self, result: &Result<()>) {
        self.needed = result.is_err();
    }
}

impl Drop for StopOthers {
    fn drop(&mut self) {
        if self.needed {
            order(&self.mailboxes, &Mail::Stop);
        }
    }
}
