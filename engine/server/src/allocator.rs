//! The allocator, and how it gives memory back.

// A leaf with one foreign call: the binding crate has no safe form of it.
#![allow(unsafe_code)]

use std::time::Duration;

use corecast::Server;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a core that has worked gives memory back. The allocator would do so by itself only when it is asked for
/// more: a server that fell silent after a storm would keep all that the storm took.
const EVERY: Duration = Duration::from_secs(5);

/// Has every core give back what it has freed, some seconds after it was busy.
pub(crate) fn give_back_regularly(server: Server) -> Server {
    server.upkeep(EVERY, |_| {
        // By force: even what was freed just now goes, and the last empty page of every size, of which the allocator keeps
        // one otherwise, up to 4 MiB large. A busy core makes them again, which costs it a few faults every some seconds.
        // SAFETY: it takes no pointer, and may be called by any thread at any time: it frees nothing that is in use.
        unsafe { libmimalloc_sys::mi_collect(true) };
    })
}
