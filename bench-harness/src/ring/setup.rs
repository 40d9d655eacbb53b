//! Creating the ring: flags by kernel version, and what to say when there is none.

use std::io;
use std::ptr::NonNull;

use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter};

/// io_uring cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// The system has it switched off or filtered away.
    #[error(
        "io_uring is not permitted here ({0}); allow it with `sysctl kernel.io_uring_disabled=0`, \
         in a container with a seccomp profile that permits io_uring (for Docker: \
         `--security-opt seccomp=unconfined`)"
    )]
    Forbidden(io::Error),
    /// Too old.
    #[error("io_uring lacks what the harness needs ({0}); it takes Linux 6.1 or later")]
    TooOld(io::Error),
    /// Something else, with the kernel's own words.
    #[error(
        "io_uring could not be set up: {0}; if it says memory, raise the locked-memory limit (`ulimit -l`)"
    )]
    Refused(io::Error),
}

/// Owns the `IoUring` that the parts of [`super::Ring`] borrow from.
pub(super) struct IoOwner(NonNull<IoUring>);

impl IoOwner {
    /// Newest flags first: NO_SQARRAY came with Linux 6.6, DEFER_TASKRUN with 6.1.
    pub(super) fn new(sq_entries: u32, cq_entries: u32) -> Result<Self, Unavailable> {
        let io = build(sq_entries, cq_entries, true)
            .or_else(|_| build(sq_entries, cq_entries, false))
            .map_err(|error| match error.raw_os_error() {
                Some(libc::EPERM | libc::EACCES) => Unavailable::Forbidden(error),
                // A filter may answer ENOSYS too; a kernel without io_uring certainly does.
                Some(libc::ENOSYS) => Unavailable::Forbidden(error),
                Some(libc::EINVAL) => Unavailable::TooOld(error),
                _ => Unavailable::Refused(error),
            })?;
        Ok(Self(NonNull::from(Box::leak(Box::new(io)))))
    }

    /// The three faces of the ring. To be called once, and the parts to be dropped before `self`.
    pub(super) fn parts(
        &self,
    ) -> (
        Submitter<'static>,
        SubmissionQueue<'static>,
        CompletionQueue<'static>,
    ) {
        // SAFETY: the pointer comes from a leaked box and stays valid until `drop`. The only
        // caller, `Ring::new`, calls this once, so the mutable borrow is the only one, and stores
        // the parts in fields that are dropped before this owner: they do not really live for
        // 'static, but as long as they are reachable.
        unsafe { (*self.0.as_ptr()).split() }
    }
}

impl Drop for IoOwner {
    fn drop(&mut self) {
        // SAFETY: the pointer came from a box in `new`, and is given up here, once.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

fn build(sq_entries: u32, cq_entries: u32, no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(cq_entries);
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(sq_entries)
}
