//! What the event loop asks of the application. The façade's routes implement it.

use std::any::Any;
use std::os::fd::BorrowedFd;

use corecast_protocol::CloseCode;
use corecast_protocol::deflate::Params;
use corecast_protocol::handshake::Request;

use super::hub::Hub;

/// A processor's number, as the operating system counts them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CoreId(pub usize);

/// A whole message, lent for the length of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// Text: valid UTF-8 (RFC 6455 §5.6).
    Text(&'a str),
    /// Bytes without further meaning.
    Binary(&'a [u8]),
}

impl<'a> Message<'a> {
    /// The payload's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }

    /// The payload's length in bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.as_bytes().len()
    }

    /// Whether the payload is empty.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn opcode(&self) -> corecast_protocol::Opcode {
        match self {
            Self::Text(_) => corecast_protocol::Opcode::Text,
            Self::Binary(_) => corecast_protocol::Opcode::Binary,
        }
    }
}

/// The answer to a request.
pub(crate) enum Decision {
    /// Becomes a WebSocket connection of a route, with its data in this slot, and what was agreed of compression.
    Accept {
        route: u16,
        data: u32,
        deflate: Option<Params>,
    },
    /// Gets the HTTP response that was written, and ends.
    Respond,
}

/// The application, on one core. Callbacks may queue output on any connection; none of them blocks.
pub(crate) trait App {
    /// Answers a request by writing the response.
    fn request(
        &mut self,
        request: &Request<'_>,
        socket: BorrowedFd<'_>,
        response: &mut Vec<u8>,
    ) -> Decision;
    /// A connection is open.
    fn open(&mut self, hub: &mut Hub, index: u32);
    /// A message arrived.
    fn message(&mut self, hub: &mut Hub, index: u32, message: Message<'_>);
    /// All that was queued has been taken by the kernel.
    fn drain(&mut self, hub: &mut Hub, index: u32);
    /// The last word on a connection that was open.
    fn close(&mut self, hub: &mut Hub, index: u32, ended: &Ended);
    /// The core's number and a connection's data, for futures that reach it by a handle.
    fn data(&mut self, route: u16, slot: u32) -> Option<(CoreId, &mut dyn Any)>;
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(crate) struct Ended {
    pub(crate) code: CloseCode,
    pub(crate) reason: String,
    /// Both Close frames were exchanged (RFC 6455 §7.1.4).
    pub(crate) clean: bool,
}
