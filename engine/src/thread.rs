//! A core's thread: pinned to its processor, a monoio runtime, and the event loop inside.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Sender;

use monoio::{IoUringDriver, LegacyDriver, RuntimeBuilder};
use socket2::Socket;

use crate::core::interest::Interests;
use crate::core::mailbox::Post;
use crate::core::stats::CoreStats;
use crate::core::tasks::Wake;
use crate::core::{Config, Core, CoreId, SharedCore, run_portable, run_ring};
use crate::routes::{Routes, Site};
use crate::transport::choice::Io;
use crate::transport::listener;
use crate::transport::ring::Ring;
use crate::{Error, Result};

/// Submissions of monoio's own ring where the data ring carries the connections: it serves the application's
/// futures only.
const RUNTIME_ENTRIES: u32 = 256;

/// Everything that a core's thread is given.
pub(crate) struct CoreSetup {
    pub(crate) id: CoreId,
    pub(crate) kind: Io,
    pub(crate) listeners: Vec<Socket>,
    pub(crate) post: Post,
    pub(crate) interests: Interests,
    pub(crate) stats: Arc<CoreStats>,
    pub(crate) config: Arc<Config>,
    pub(crate) site: Arc<Site>,
}

/// The processors that this process may use (`taskset`, cpusets), in ascending order.
#[must_use]
pub fn usable_processors() -> Vec<usize> {
    core_affinity::get_core_ids()
        .unwrap_or_default()
        .iter()
        .map(|core| core.id)
        .collect()
}

/// The processors to run on: those wanted, or all that this process may use.
pub(crate) fn processors(wanted: Option<&[usize]>) -> Result<Vec<usize>> {
    let allowed = usable_processors();
    let Some(wanted) = wanted else {
        return Ok(if allowed.is_empty() { vec![0] } else { allowed });
    };
    match wanted.iter().find(|processor| !allowed.contains(processor)) {
        Some(&processor) => Err(Error::Processor(processor, allowed)),
        None if wanted.is_empty() => Ok(allowed),
        None => Ok(wanted.to_vec()),
    }
}

/// Runs a core until it is done. Says on `ready` when it accepts connections, or why it never will.
pub(crate) fn run(setup: CoreSetup, ready: Sender<Result<()>>) -> Result<()> {
    let id = setup.id;
    match prepare(setup) {
        Ok(prepared) => {
            // Whoever started us waits for this.
            let _ = ready.send(Ok(()));
            drop(ready);
            prepared.run().map_err(|e| Error::Core(id.0, e))
        }
        Err(e) => {
            let _ = ready.send(Err(Error::Core(id.0, e)));
            Ok(())
        }
    }
}

struct Prepared {
    core: SharedCore,
    listeners: Vec<Socket>,
    kind: Io,
    wake: Rc<Wake>,
    ring: Option<Ring>,
}

fn prepare(setup: CoreSetup) -> io::Result<Prepared> {
    if !core_affinity::set_for_current(core_affinity::CoreId { id: setup.id.0 }) {
        tracing::warn!(
            processor = setup.id.0,
            "could not pin the core's thread; it runs unpinned"
        );
    }
    // On this thread: the ring belongs to the one that made it.
    let ring = match setup.kind {
        Io::Ring | Io::Auto => Some(Ring::new().map_err(io::Error::other)?),
        Io::Monoio | Io::Epoll => None,
    };
    let routes = Routes::new(setup.site, setup.id);
    let core = Core::new(
        setup.config,
        setup.stats,
        setup.post,
        setup.interests,
        Box::new(routes),
    );
    for socket in &setup.listeners {
        listener::listen(socket)?;
    }
    Ok(Prepared {
        core: Rc::new(RefCell::new(core)),
        listeners: setup.listeners,
        kind: setup.kind,
        wake: Wake::new()?,
        ring,
    })
}

impl Prepared {
    fn run(self) -> io::Result<()> {
        let Self {
            core,
            listeners,
            kind,
            wake,
            ring,
        } = self;
        // The loop is a task, not the runtime's main future: a main future that yields is polled again at once,
        // without a turn for the tasks.
        match (ring, kind) {
            (Some(ring), _) => RuntimeBuilder::<IoUringDriver>::new()
                .with_entries(RUNTIME_ENTRIES)
                .enable_timer()
                .build()?
                .block_on(async { monoio::spawn(run_ring(core, ring, listeners, wake)).await }),
            (None, Io::Epoll) => RuntimeBuilder::<LegacyDriver>::new()
                .enable_timer()
                .build()?
                .block_on(async { monoio::spawn(run_portable(core, listeners, wake)).await }),
            (None, _) => RuntimeBuilder::<IoUringDriver>::new()
                .enable_timer()
                .build()?
                .block_on(async { monoio::spawn(run_portable(core, listeners, wake)).await }),
        }
    }
}
