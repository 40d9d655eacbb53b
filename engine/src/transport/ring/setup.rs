//! Creates the io_uring instance with the best flags that the running kernel takes.

use std::fmt;
use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Submissions that fit into the queue. 256 entries of 64 bytes stay in a first-level cache; a turn with
/// more sends costs one system call per 256 of them.
const SUBMISSIONS: u32 = 256;

/// Completions that fit into the queue: 16 times the submissions, since multishot receives complete
/// without one. What does not fit is kept by the kernel, at a price.
const COMPLETIONS: u32 = 16 * SUBMISSIONS;

/// What the kernel granted beyond the necessary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Features {
    /// No indirection array in front of the submission queue.
    pub(crate) no_sqarray: bool,
    /// `enter` skips the lookup of the ring's descriptor.
    pub(crate) registered_fd: bool,
}

/// Why there is no ring.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unavailable {
    /// The kernel or a seccomp profile refuses the system call.
    #[error("io_uring_setup: {}", reason(.0))]
    Setup(#[source] io::Error),
    /// Created without `DEFER_TASKRUN`: before Linux 6.1.
    #[error("the kernel is older than 6.1 (no deferred task work)")]
    TooOld,
    /// An operation is missing.
    #[error("the kernel lacks the io_uring operation {0}")]
    Operation(&'static str),
    /// The buffer ring could not be registered.
    #[error("receive buffers: {}", reason(.0))]
    Buffers(#[source] io::Error),
    /// The ring does not work as it should.
    #[error("self test: {0}")]
    SelfTest(#[source] io::Error),
}

fn reason(e: &io::Error) -> impl fmt::Display {
    match e.raw_os_error() {
        Some(libc::EPERM) => {
            "not permitted (a container's seccomp profile, or the sysctl kernel.io_uring_disabled)"
                .to_owned()
        }
        Some(libc::ENOSYS) => "the kernel has no io_uring".to_owned(),
        Some(libc::ENOMEM) => "out of locked memory (raise `ulimit -l`)".to_owned(),
        _ => e.to_string(),
    }
}

pub(super) fn create() -> Result<(IoUring, Features), Unavailable> {
    let (io, no_sqarray) = match build(true) {
        Ok(io) => (io, true),
        // NO_SQARRAY came with Linux 6.6.
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => match build(false) {
            Ok(io) => (io, false),
            Err(e) if e.raw_os_error() == Some(libc::EINVAL) => return Err(Unavailable::TooOld),
            Err(e) => return Err(Unavailable::Setup(e)),
        },
        Err(e) => return Err(Unavailable::Setup(e)),
    };
    require_operations(&io)?;
    let registered_fd = io.submitter().register_ring_fd().is_ok();
    Ok((
        io,
        Features {
            no_sqarray,
            registered_fd,
        },
    ))
}

fn build(no_sqarray: bool) -> io::Result<IoUring> {
    let mut builder = IoUring::builder();
    builder
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_cqsize(COMPLETIONS)
        .dontfork();
    if no_sqarray {
        builder.setup_no_sqarray();
    }
    builder.build(SUBMISSIONS)
}

fn require_operations(io: &IoUring) -> Result<(), Unavailable> {
    require(
        io,
        &[
            (opcode::AcceptMulti::CODE, "accept"),
            (opcode::RecvMulti::CODE, "recv"),
            (opcode::Send::CODE, "send"),
            (opcode::SendMsg::CODE, "sendmsg"),
            (opcode::AsyncCancel::CODE, "cancel"),
            (opcode::PollAdd::CODE, "poll"),
        ],
    )
}

/// What is needed besides to send without a copy.
pub(super) fn require_zero_copy(io: &IoUring) -> Result<(), Unavailable> {
    require(io, &[(opcode::SendZc::CODE, "send_zc")])
}

fn require(io: &IoUring, operations: &[(u8, &'static str)]) -> Result<(), Unavailable> {
    let mut probe = Probe::new();
    io.submitter()
        .register_probe(&mut probe)
        .map_err(Unavailable::Setup)?;
    let missing = operations
        .iter()
        .find(|&&(code, _)| !probe.is_supported(code));
    match missing {
        Some(&(_, name)) => Err(Unavailable::Operation(name)),
        None => Ok(()),
    }
}
