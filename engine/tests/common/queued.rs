//! What waits in the kernel's buffers.

use std::fs;
use std::net::{IpAddr, SocketAddr};

/// Bytes that wait in a socket to be acknowledged, and to be read, as `/proc/net/tcp` says.
pub(crate) fn queued_bytes(local: SocketAddr, remote: SocketAddr) -> Option<(u64, u64)> {
    let shown = |address: SocketAddr| match address.ip() {
        IpAddr::V4(ip) => {
            let ip = u32::from_ne_bytes(ip.octets());
            format!("{ip:08X}:{:04X}", address.port())
        }
        IpAddr::V6(_) => unreachable!("the tests use IPv4"),
    };
    let ends = format!(" {} {} ", shown(local), shown(remote));
    let sockets = fs::read_to_string("/proc/net/tcp").expect("the kernel lists its sockets");
    let (_, rest) = sockets.split_once(&ends)?;
    let (_, rest) = rest.split_once(' ')?;
    let (unsent, unread) = rest.split_once(' ')?.0.split_once(':')?;
    let number = |digits| u64::from_str_radix(digits, 16).ok();
    Some((number(unsent)?, number(unread)?))
}
