//! Errors of a run, and the exit codes.

use std::process::ExitCode;

use crate::ring::Unavailable;

/// Why a command could not do its work.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BenchError {
    /// Flags that contradict each other or the machine (exit code 2).
    #[error("{0}")]
    Usage(String),
    /// Anything that went wrong while running (exit code 1).
    #[error("{0}")]
    Runtime(String),
    /// Another part of the run failed and says why (exit code 1).
    #[error("the run was called off")]
    CalledOff,
    /// The user has stopped the run, by this signal or a key that stands for it (exit code 128 and the signal's number, as
    /// shells have it).
    #[error("stopped; a run that is not complete has no result")]
    Stopped(u8),
    /// No io_uring (exit code 1).
    #[error(transparent)]
    Ring(#[from] Unavailable),
    /// A system call that should not fail did (exit code 1).
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

impl BenchError {
    /// An error of the user's flags.
    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self::Usage(message.into())
    }

    /// An error while running.
    pub(crate) fn runtime(message: impl Into<String>) -> Self {
        Self::Runtime(message.into())
    }

    /// The process's exit code.
    pub(crate) fn exit_code(&self) -> ExitCode {
        match self {
            Self::Usage(_) => ExitCode::from(2),
            Self::Stopped(signal) => ExitCode::from(128 + signal),
            _ => ExitCode::from(1),
        }
    }
}

/// How a command ended that did its work.
///
/// In ascending order: of several, the last tells most.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Verdict {
    /// The figures can be used (exit code 0).
    Valid,
    /// The figures are worse than those of the baseline (exit code 4).
    Regression,
    /// The figures can be used, and are not what was expected (exit code 3).
    Unmet,
    /// The run was measured, but its figures must not be used (exit code 5).
    Invalid,
}

impl From<Verdict> for ExitCode {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Valid => Self::SUCCESS,
            Verdict::Unmet => Self::from(3),
            Verdict::Regression => Self::from(4),
            Verdict::Invalid => Self::from(5),
        }
    }
}
