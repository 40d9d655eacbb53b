//! The limit on open descriptors.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::error::BenchError;

/// Descriptors beside the connections: standard streams, rings, files of /proc.
const SPARE_DESCRIPTORS: u64 = 64;

/// Connections that a process may have.
///
/// # Errors
/// The system's.
pub(crate) fn most_connections() -> Result<u64, BenchError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    Ok(hard.saturating_sub(SPARE_DESCRIPTORS))
}

/// Processes that `connections` take, as each may have only so many.
///
/// # Errors
/// The system's.
pub(crate) fn processes_for(connections: u64) -> Result<u64, BenchError> {
    Ok(connections.div_ceil(most_connections()?.max(1)).max(1))
}

/// Raises this process's soft limit so that `connections` sockets fit.
///
/// # Errors
/// When the hard limit is lower; the message says how to raise it.
pub(crate) fn allow_connections(connections: u64) -> Result<(), BenchError> {
    let needed = connections.saturating_add(SPARE_DESCRIPTORS);
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    if needed <= soft {
        return Ok(());
    }
    if needed > hard {
        return Err(BenchError::usage(format!(
            "{connections} connections need {needed} descriptors, this process may have {hard}; \
             raise the hard limit (as root: `ulimit -Hn {needed}`, or LimitNOFILE= in the unit, or \
             nofile in /etc/security/limits.conf), take several processes (--processes, --agents), or ask for at most \
             {} connections",
            most_connections()?
        )));
    }
    raise_descriptors()
}

/// Raises this process's soft limit to its hard limit.
///
/// # Errors
/// The system's.
pub(crate) fn raise_descriptors() -> Result<(), BenchError> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).map_err(std::io::Error::from)?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).map_err(std::io::Error::from)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_hard_limit_forbids_is_explained() {
        let message = allow_connections(u64::MAX / 2).unwrap_err().to_string();
        assert!(message.contains("ulimit -Hn"), "{message}");
        allow_connections(1).unwrap();
    }

    #[test]
    fn processes_are_as_many_as_needed() {
        let most = most_connections().unwrap();
        assert_eq!(processes_for(1).unwrap(), 1);
        assert_eq!(processes_for(most).unwrap(), 1);
        assert_eq!(processes_for(most + 1).unwrap(), 2);
    }
}
