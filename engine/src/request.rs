//! The request that a connection begins with.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::fd::BorrowedFd;

use corecast_protocol::handshake;
use socket2::SockRef;

/// An upgrade request that satisfies RFC 6455 §4.2.1, lent to [`Handler::upgrade`](crate::Handler::upgrade).
#[derive(Debug)]
pub struct Request<'a> {
    head: &'a handshake::Request<'a>,
    socket: BorrowedFd<'a>,
}

impl<'a> Request<'a> {
    pub(crate) fn new(head: &'a handshake::Request<'a>, socket: BorrowedFd<'a>) -> Self {
        Self { head, socket }
    }

    /// The path, not decoded; starts with `/`.
    #[must_use]
    pub fn path(&self) -> &'a str {
        self.head.path()
    }

    /// What follows the first `?`, not decoded.
    #[must_use]
    pub fn query_string(&self) -> Option<&'a str> {
        self.head.query_string()
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<Cow<'a, str>> {
        self.head.query(name)
    }

    /// All values of a query parameter in order, decoded.
    pub fn query_all<'n>(&self, name: &'n str) -> impl Iterator<Item = Cow<'a, str>> + use<'a, 'n> {
        self.head.query_all(name)
    }

    /// The first value of a header, its name in any case; `None` too when the value is not UTF-8.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&'a str> {
        self.head.header(name)
    }

    /// All headers in order, names as sent.
    pub fn headers(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> + use<'a> {
        self.head.headers()
    }

    /// The `Host` that the client asked for.
    #[must_use]
    pub fn host(&self) -> Option<&'a str> {
        self.head.host()
    }

    /// The page that a browser connects from (RFC 6455 §10.2); other clients rarely send it.
    #[must_use]
    pub fn origin(&self) -> Option<&'a str> {
        self.head.origin()
    }

    /// The subprotocols that the client offers, in its order of preference.
    pub fn subprotocols(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.head.subprotocols()
    }

    /// The peer's address; `None` when it is gone already. Costs a system call.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        SockRef::from(&self.socket).peer_addr().ok()?.as_socket()
    }
}
