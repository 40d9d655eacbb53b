//! The address to measure.

use std::fmt;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::str::FromStr;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::BenchError;
use crate::report::secrets;

/// An address of a name that has several may take this long to accept a connection.
const TRIAL: Duration = Duration::from_secs(2);

/// Where to connect and what to speak there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Target {
    /// What is spoken on the connection.
    pub(crate) wire: Wire,
    /// `HOST:PORT` as typed; also the `Host` header.
    pub(crate) authority: String,
    /// Path and query of the WebSocket; `/` when none is given.
    pub(crate) path: String,
}

/// What is spoken on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Wire {
    /// WebSocket over plain TCP (`ws://`).
    WebSocket,
    /// Bytes that come back as they are (`tcp://`): the floor.
    Raw,
}

/// `HOST:PORT`: one more address of a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Authority(String);

impl FromStr for Authority {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.contains(['/', '?']) {
            return Err("expected HOST:PORT, without a scheme or a path".into());
        }
        with_port(text, Wire::Raw).map(Self)
    }
}

impl Target {
    /// The same at another address.
    pub(crate) fn at(&self, authority: &Authority) -> Self {
        Self {
            authority: authority.0.clone(),
            ..self.clone()
        }
    }

    /// Looks the host up. Of several addresses that `usable` allows, the first one counts that takes a connection: a name
    /// such as `localhost` may have one that nobody listens on. Where there is only one, nothing is tried.
    ///
    /// # Errors
    /// When the name is not known, or has no usable address.
    pub(crate) fn resolve(
        &self,
        usable: impl Fn(&SocketAddr) -> bool,
    ) -> Result<SocketAddr, BenchError> {
        let failed = |why: &dyn fmt::Display| {
            BenchError::runtime(format!("cannot look up {}: {why}", self.authority))
        };
        let all = self.authority.to_socket_addrs().map_err(|e| failed(&e))?;
        let addresses: Vec<SocketAddr> = all.filter(usable).collect();
        one_of(&addresses).ok_or_else(|| failed(&"it has no address of the kind of --source-ip"))
    }
}

impl FromStr for Target {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (scheme, rest) = text
            .split_once("://")
            .ok_or("expected ws://HOST:PORT/PATH or tcp://HOST:PORT")?;
        let wire = match scheme {
            "ws" => Wire::WebSocket,
            "tcp" => Wire::Raw,
            "wss" => return Err("TLS is not measured: use ws:// on the server's plain port".into()),
            other => {
                return Err(format!(
                    "unknown scheme {other}://, expected ws:// or tcp://"
                ));
            }
        };
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        if path.contains(|c: char| c.is_ascii_control() || c == ' ' || c == '#') {
            return Err(
                "the path must not contain spaces, control characters or a fragment".into(),
            );
        }
        if wire == Wire::Raw && !matches!(path, "" | "/") {
            return Err("tcp:// takes HOST:PORT only, there are no paths".into());
        }
        Ok(Self {
            wire,
            authority: with_port(authority, wire)?,
            path: match path {
                "" => "/".to_owned(),
                path if path.starts_with('?') => format!("/{path}"),
                path => path.to_owned(),
            },
        })
    }
}

/// For people and files: without what looks like a secret in the query.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wire {
            Wire::WebSocket => {
                let path = secrets::hide_in_address(&self.path);
                write!(f, "ws://{}{path}", self.authority)
            }
            Wire::Raw => write!(f, "tcp://{}", self.authority),
        }
    }
}

/// The first address that takes a connection. If none does, the first: the run tells why.
fn one_of(addresses: &[SocketAddr]) -> Option<SocketAddr> {
    let takes_a_connection =
        |address: &&SocketAddr| TcpStream::connect_timeout(address, TRIAL).is_ok();
    let found = match addresses {
        [_] => None,
        several => several.iter().find(takes_a_connection),
    };
    found.or(addresses.first()).copied()
}

/// `ws://` means port 80 when none is given (RFC 6455 §3); `tcp://` has no default.
fn with_port(authority: &str, wire: Wire) -> Result<String, String> {
    // The colons of a bracketed IPv6 address are no port separator.
    let after_host = authority.rfind(']').map_or(0, |i| i + 1);
    let (host, port) = match authority[after_host..].rfind(':') {
        Some(i) => (
            &authority[..after_host + i],
            Some(&authority[after_host + i + 1..]),
        ),
        None => (authority, None),
    };
    if host.is_empty() || host.contains(['@', ' ']) {
        return Err("expected a host name or address before the port".into());
    }
    match (port, wire) {
        (Some(port), _) => match port.parse::<u16>() {
            Ok(1..) => Ok(authority.to_owned()),
            _ => Err(format!("{port:?} is not a port number (1 to 65535)")),
        },
        (None, Wire::WebSocket) => Ok(format!("{authority}:80")),
        (None, Wire::Raw) => Err("the port is missing: HOST:PORT".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> String {
        text.parse::<Target>().unwrap().to_string()
    }

    #[test]
    fn websocket_addresses() {
        assert_eq!(
            parsed("ws://127.0.0.1:9001/echo"),
            "ws://127.0.0.1:9001/echo"
        );
        assert_eq!(parsed("ws://localhost:9001"), "ws://localhost:9001/");
        assert_eq!(parsed("ws://localhost"), "ws://localhost:80/");
        assert_eq!(parsed("ws://[::1]:9001?sub=a"), "ws://[::1]:9001/?sub=a");
        assert_eq!(parsed("ws://[::1]/x"), "ws://[::1]:80/x");
        assert_eq!(parsed("ws://h/?a=1&token=b"), "ws://h:80/?a=1&token=…");
    }

    #[test]
    fn raw_addresses() {
        assert_eq!(parsed("tcp://127.0.0.1:9100"), "tcp://127.0.0.1:9100");
        assert!("tcp://127.0.0.1".parse::<Target>().is_err());
        assert!("tcp://127.0.0.1:9100/path".parse::<Target>().is_err());
    }

    #[test]
    fn of_several_addresses_one_that_takes_connections_counts() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        // A port that is nobody's since TCPMUX.
        let nobody = "127.0.0.1:1".parse().unwrap();
        assert_eq!(one_of(&[nobody, address]), Some(address));
        assert_eq!(one_of(&[nobody]), Some(nobody));
        assert_eq!(one_of(&[nobody, nobody]), Some(nobody));
        assert_eq!(one_of(&[]), None);
        let name = format!("ws://localhost:{}/", address.port());
        let target: Target = name.parse().unwrap();
        // Where localhost is ::1, too, nobody listens there.
        assert_eq!(target.resolve(|_| true).unwrap(), address);
        assert_eq!(target.resolve(SocketAddr::is_ipv4).unwrap(), address);
        let error = target.resolve(|_| false).unwrap_err().to_string();
        assert!(error.contains("--source-ip"), "{error}");
    }

    #[test]
    fn a_server_may_have_more_addresses() {
        let url: Target = "ws://a:1/echo".parse().unwrap();
        assert_eq!(url.at(&"b:2".parse().unwrap()).to_string(), "ws://b:2/echo");
        for text in ["b", "ws://b:2", "b:2/echo", ":2"] {
            assert!(text.parse::<Authority>().is_err(), "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "127.0.0.1:9001",
            "http://x/",
            "wss://x/",
            "ws://",
            "ws://:80/",
            "ws://x:0/",
            "ws://x:99999/",
            "ws://x:1/a b",
        ] {
            assert!(text.parse::<Target>().is_err(), "{text}");
        }
    }
}
