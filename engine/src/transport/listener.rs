//! Listening sockets: one per core and address, sharing the address (SO_REUSEPORT).

use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;
use std::time::Duration;

use socket2::{Domain, Protocol, SockAddr, Socket, Type};

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const QUEUE: i32 = 4096;

/// How long the kernel keeps a new connection to itself until its first bytes are here. In WebSocket the client
/// speaks first, so that nearly every connection comes with its request, and is accepted and read in one go:
/// a tenth less processor time per handshake. One that stays silent comes after this time, and then has its deadline.
const DEFER_ACCEPT: Duration = Duration::from_secs(1);

/// Bytes that the kernel takes for a connection beyond what it can send at once. More would only wait in the socket, up to
/// several MiB, where no policy for slow connections reaches it.
const NOTSENT: libc::c_int = 256 << 10;

/// Binds a core's listener. It takes connections once [`listen`] is called.
///
/// What accepted sockets inherit is set here and in [`listen`]: TCP_NODELAY, since frames are sent whole and must not wait for one
/// another, and TCP_NOTSENT_LOWAT.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    if address.is_ipv6() {
        // One address means one address: bind both for both.
        socket.set_only_v6(true)?;
    }
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Asks the kernel to hand connections whose packets arrive on processor `cpu` to this listener.
pub(crate) fn steer(socket: &Socket, cpu: usize) -> io::Result<()> {
    socket.set_cpu_affinity(cpu)
}

/// Begins to take connections.
pub(crate) fn listen(socket: &Socket) -> io::Result<()> {
    let seconds = DEFER_ACCEPT.as_secs() as libc::c_int;
    set_tcp_option(socket, libc::TCP_DEFER_ACCEPT, seconds)?;
    set_tcp_option(socket, libc::TCP_NOTSENT_LOWAT, NOTSENT)?;
    socket.listen(QUEUE)
}

#[allow(unsafe_code)]
fn set_tcp_option(socket: &Socket, option: libc::c_int, value: libc::c_int) -> io::Result<()> {
    // SAFETY: the option's value is a C int, which `value` is for the length of the call.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            option,
            (&raw const value).cast(),
            size_of_val(&value) as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Makes sure that nobody listens on an address: with SO_REUSEPORT a second server of the same user would
/// share it unnoticed, and take every other connection.
pub(crate) fn ensure_free(address: SocketAddr) -> io::Result<()> {
    let probe = Socket::new(
        Domain::for_address(address),
        Type::STREAM.cloexec(),
        Some(Protocol::TCP),
    )?;
    probe.set_reuse_address(true)?;
    if address.is_ipv6() {
        probe.set_only_v6(true)?;
    }
    probe.bind(&SockAddr::from(address))
}
