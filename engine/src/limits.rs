//! Limits of the process that bound how many connections it can have.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's soft limit on descriptors to its hard limit, and gives the limit that is now in force
/// (`u64::MAX` where there is none). Every connection takes one descriptor.
pub fn raise_descriptor_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // On failure the limit stays what it was, which is what is returned.
        let _ = setrlimit(
            Resource::Nofile,
            Rlimit {
                current: limit.maximum,
                ..limit
            },
        );
    }
    descriptor_limit()
}

/// The soft limit on descriptors.
pub(crate) fn descriptor_limit() -> u64 {
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
