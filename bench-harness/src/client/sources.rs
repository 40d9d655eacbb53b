//! Source addresses: one address has only so many ports towards one server.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use nix::sys::socket::{setsockopt, sockopt};
use socket2::{Domain, Protocol, Socket, Type};

/// Connections from one source address. The default ephemeral range has 28,232 ports
/// (`net.ipv4.ip_local_port_range`), and picking one gets slow as they run out.
const PER_ADDRESS: u64 = 16_000;

/// Most addresses that `auto` uses: 127.0.0.1 to 127.0.0.250.
const MAX_AUTO: u64 = 250;

/// `--source-ip`: where connections come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SourceIp {
    /// As many of 127.0.0.1, 127.0.0.2, … as needed towards a loopback server; else the system's choice.
    Auto,
    /// These in turn.
    List(Vec<IpAddr>),
}

impl FromStr for SourceIp {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "auto" {
            return Ok(Self::Auto);
        }
        text.split(',')
            .map(|part| {
                part.parse().map_err(|_| {
                    format!(
                        "{part:?} is no IP address; expected auto or addresses separated by commas"
                    )
                })
            })
            .collect::<Result<_, _>>()
            .map(Self::List)
    }
}

impl SourceIp {
    /// Whether connections to this address can come from there.
    pub(crate) fn reaches(&self, server: &SocketAddr) -> bool {
        match self {
            Self::Auto => true,
            Self::List(list) => list
                .iter()
                .all(|source| source.is_ipv4() == server.is_ipv4()),
        }
    }
}

/// Makes sockets bound to the source addresses in turn.
#[derive(Clone, Debug)]
pub(crate) struct Sources {
    domain: Domain,
    addresses: Vec<IpAddr>,
    next: usize,
}

impl Sources {
    /// For so many connections to `server`, beginning with address number `first`.
    pub(crate) fn new(
        choice: &SourceIp,
        server: SocketAddr,
        connections: u64,
        first: usize,
    ) -> Self {
        let addresses = match (choice, server.ip()) {
            (SourceIp::List(list), _) => list.clone(),
            (SourceIp::Auto, IpAddr::V4(ip)) if ip.is_loopback() => {
                let needed = connections.div_ceil(PER_ADDRESS).min(MAX_AUTO);
                let address = |n| IpAddr::V4(Ipv4Addr::new(127, 0, 0, n as u8));
                // One is what the system would choose anyway.
                if needed > 1 {
                    (1..=needed).map(address).collect()
                } else {
                    Vec::new()
                }
            }
            (SourceIp::Auto, _) => Vec::new(),
        };
        let next = first.checked_rem(addresses.len()).unwrap_or(0);
        Self {
            domain: Domain::for_address(server),
            addresses,
            next,
        }
    }

    /// A TCP socket, ready to connect.
    ///
    /// # Errors
    /// The system's, with what to do about the usual one (no descriptors left).
    pub(crate) fn socket(&mut self) -> io::Result<Socket> {
        let socket = Socket::new(self.domain, Type::STREAM, Some(Protocol::TCP))?;
        socket.set_tcp_nodelay(true)?;
        if let Some(&address) = self.addresses.get(self.next) {
            self.next = (self.next + 1) % self.addresses.len();
            if address.is_ipv4() {
                // The port is then chosen at connect time, when the destination is known, and may
                // be in use towards other destinations: ip(7).
                setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
            }
            let bound = socket.bind(&SocketAddr::new(address, 0).into());
            bound.map_err(|error| {
                let text =
                    format!("--source-ip {address}: {error}; is it an address of this machine?");
                io::Error::new(error.kind(), text)
            })?;
        }
        Ok(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn auto(server: &str, connections: u64) -> usize {
        Sources::new(&SourceIp::Auto, server.parse().unwrap(), connections, 0)
            .addresses
            .len()
    }

    #[test]
    fn auto_takes_as_many_loopback_addresses_as_needed() {
        assert_eq!(auto("127.0.0.1:80", 16_000), 0);
        // More than one address has ports for, by far.
        assert_eq!(auto("127.0.0.1:80", 28_233), 2);
        assert_eq!(auto("127.0.0.2:80", 28_233), 2);
        assert_eq!(auto("127.0.0.1:80", 100_000), 7);
        assert_eq!(auto("127.0.0.1:80", 100_000_000), 250);
        assert_eq!(auto("10.0.0.1:80", 100_000), 0);
        assert_eq!(auto("[::1]:80", 100_000), 0);
    }

    #[test]
    fn lists_are_parsed() {
        let list = "127.0.0.2,127.0.0.3".parse::<SourceIp>().unwrap();
        assert_eq!(
            list,
            SourceIp::List(vec![
                "127.0.0.2".parse().unwrap(),
                "127.0.0.3".parse().unwrap()
            ])
        );
        assert!("127.0.0.x".parse::<SourceIp>().is_err());
    }

    #[test]
    fn sources_reach_servers_of_their_kind() {
        let list: SourceIp = "127.0.0.2,127.0.0.3".parse().unwrap();
        assert!(list.reaches(&"127.0.0.1:80".parse().unwrap()));
        assert!(!list.reaches(&"[::1]:80".parse().unwrap()));
        assert!(SourceIp::Auto.reaches(&"[::1]:80".parse().unwrap()));
    }

    #[test]
    fn an_address_of_another_machine_is_named() {
        let choice = "192.0.2.1".parse().unwrap();
        let mut sources = Sources::new(&choice, "127.0.0.1:80".parse().unwrap(), 1, 0);
        let error = sources.socket().unwrap_err().to_string();
        assert!(error.contains("--source-ip 192.0.2.1"), "{error}");
    }

    #[test]
    fn sockets_come_from_the_addresses_in_turn() {
        let choice = "127.0.0.2,127.0.0.3".parse().unwrap();
        let mut sources = Sources::new(&choice, "127.0.0.1:80".parse().unwrap(), 10, 3);
        let ips: Vec<_> = (0..3)
            .map(|_| {
                sources
                    .socket()
                    .unwrap()
                    .local_addr()
                    .unwrap()
                    .as_socket()
                    .unwrap()
                    .ip()
                    .to_string()
            })
            .collect();
        assert_eq!(ips, ["127.0.0.3", "127.0.0.2", "127.0.0.3"]);
    }
}
