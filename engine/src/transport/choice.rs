//! Which transport a server runs on, and why.

use std::fmt;
use std::str::FromStr;

use super::ring::Ring;

/// The transport that is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Io {
    /// The ring where the kernel allows it, or else monoio's choice.
    #[default]
    Auto,
    /// The data ring; an error where it cannot be had.
    Ring,
    /// Monoio's sockets over monoio's io_uring driver.
    Monoio,
    /// Monoio's sockets over epoll.
    Epoll,
}

/// The transport that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IoChoice {
    /// Never [`Io::Auto`].
    pub kind: Io,
    /// Why it is not the ring, if the ring was wanted and could not be had.
    pub fallback: Option<String>,
}

/// An I/O that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown I/O `{0}`: it is auto, ring, monoio or epoll")]
pub struct UnknownIo(String);

impl FromStr for Io {
    type Err = UnknownIo;

    fn from_str(name: &str) -> Result<Self, UnknownIo> {
        Ok(match name {
            "auto" => Self::Auto,
            "ring" => Self::Ring,
            "monoio" => Self::Monoio,
            "epoll" => Self::Epoll,
            _ => return Err(UnknownIo(name.to_owned())),
        })
    }
}

impl fmt::Display for Io {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ring => "ring",
            Self::Monoio => "monoio",
            Self::Epoll => "epoll",
        })
    }
}

impl fmt::Display for IoChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Io::Auto | Io::Ring => f.write_str("io_uring (data ring)")?,
            Io::Monoio => f.write_str("monoio over io_uring")?,
            Io::Epoll => f.write_str("monoio over epoll")?,
        }
        match &self.fallback {
            Some(reason) => write!(f, ", not the data ring: {reason}"),
            None => Ok(()),
        }
    }
}

/// Finds out what can be had by trying it, on a thread that ends with the trial.
///
/// # Errors
/// The reason why a transport that was asked for by name cannot be had.
pub(crate) fn choose(wanted: Io) -> Result<IoChoice, String> {
    let ring = || {
        std::thread::spawn(|| Ring::new().map(drop).map_err(|e| e.to_string()))
            .join()
            .unwrap_or_else(|_| Err("the trial of the ring panicked".to_owned()))
    };
    let uring = monoio::utils::detect_uring;
    Ok(match wanted {
        Io::Epoll => IoChoice {
            kind: Io::Epoll,
            fallback: None,
        },
        Io::Monoio if uring() => IoChoice {
            kind: Io::Monoio,
            fallback: None,
        },
        Io::Monoio => return Err("io_uring cannot be had here; use --io epoll".to_owned()),
        Io::Ring => match ring() {
            Ok(()) => IoChoice {
                kind: Io::Ring,
                fallback: None,
            },
            Err(reason) => return Err(reason),
        },
        Io::Auto => match ring() {
            Ok(()) => IoChoice {
                kind: Io::Ring,
                fallback: None,
            },
            Err(reason) if uring() => IoChoice {
                kind: Io::Monoio,
                fallback: Some(reason),
            },
            Err(reason) => IoChoice {
                kind: Io::Epoll,
                fallback: Some(reason),
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written_alike() {
        for io in [Io::Auto, Io::Ring, Io::Monoio, Io::Epoll] {
            assert_eq!(io.to_string().parse(), Ok(io));
        }
        let message = "uring".parse::<Io>().unwrap_err().to_string();
        assert_eq!(
            message,
            "unknown I/O `uring`: it is auto, ring, monoio or epoll"
        );
    }

    #[test]
    fn epoll_can_always_be_had() {
        assert_eq!(
            choose(Io::Epoll),
            Ok(IoChoice {
                kind: Io::Epoll,
                fallback: None
            })
        );
        assert_ne!(choose(Io::Auto).unwrap().kind, Io::Auto);
    }
}
