//! What each side of a connection may expect of the other, and a reader of the server's bytes that knows nothing of
//! the engine's.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};

use super::admission::Standing;

/// A data message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) text: bool,
    pub(super) payload: Bytes,
}

/// One connection, as an omniscient observer sees it.
#[derive(Default)]
pub(super) struct Conversation {
    /// When it was accepted, since the start.
    pub(super) accepted: Option<Duration>,
    pub(super) standing: Standing,
    /// The peer's messages that the application has not been given.
    pub(super) to_application: VecDeque<Said>,
    /// The application's messages that were accepted and that the kernel has not taken.
    pub(super) to_peer: VecDeque<Said>,
    /// Pings of the peer that were not answered, and of the application that were not sent.
    pub(super) pings_of_peer: VecDeque<Bytes>,
    pub(super) pings_of_application: VecDeque<Bytes>,
    /// The response that the application has written.
    pub(super) response: Option<Bytes>,
    pub(super) opened: bool,
    pub(super) closed: bool,
    /// With which `close` told of the end.
    pub(super) code: u16,
    /// The application, or the server on its own, has begun to close it.
    pub(super) ended_by_server: bool,
    /// The `drain` callback has to come, or `close`.
    pub(super) owed_drain: bool,
    wire: Wire,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("to_application", &self.to_application.len())
            .field("to_peer", &self.to_peer.len())
            .field("pings_of_peer", &self.pings_of_peer.len())
            .field("pings_of_application", &self.pings_of_application.len())
            .field("owed_drain", &self.owed_drain)
            .field("unread", &self.wire.unread.len())
            .finish_non_exhaustive()
    }
}

/// How far the server's bytes have been read.
#[derive(Default)]
struct Wire {
    unread: BytesMut,
    past_response: bool,
    /// The connection was refused: everything is one response.
    refused: bool,
    /// A Close frame went out: nothing may follow.
    closed: bool,
    /// Messages of other cores that came by, in their order.
    mail: usize,
}

/// What other cores have published.
pub(super) type Mailed = Vec<Bytes>;

impl Conversation {
    /// Whether all that was accepted is on its way, to the last byte.
    pub(super) fn is_complete(&self) -> bool {
        let response_is_out = self.response.is_none() || self.wire.past_response;
        self.to_peer.is_empty() && self.wire.unread.is_empty() && response_is_out
    }

    /// Whether everything that was said to either side has arrived, control frames included.
    pub(super) fn is_settled(&self) -> bool {
        let pings = self.pings_of_peer.len() + self.pings_of_application.len();
        self.is_complete() && self.to_application.is_empty() && pings == 0 && !self.owed_drain
    }

    /// Checks bytes that the kernel has taken for the peer.
    pub(super) fn on_wire(&mut self, bytes: &[u8], mailed: &Mailed) -> Result<(), String> {
        self.wire.unread.extend_from_slice(bytes);
        if !self.wire.past_response && !self.pass_response()? {
            return Ok(());
        }
        while let Some(frame) = next_frame(&mut self.wire.unread)? {
            self.on_frame(frame, mailed)?;
        }
        Ok(())
    }

    /// Whether frames may follow now.
    fn pass_response(&mut self) -> Result<bool, String> {
        let unread = &mut self.wire.unread;
        if self.wire.refused {
            unread.clear();
            return Ok(false);
        }
        let expected: &[u8] = match &self.response {
            Some(response) => response,
            None => b"HTTP/1.1 ",
        };
        let common = unread.len().min(expected.len());
        if unread[..common] != expected[..common] {
            return Err(format!("not the response: {:?}", &unread[..common.min(64)]));
        }
        if common < expected.len() {
            return Ok(false);
        }
        if self.opened {
            unread.advance(common);
            self.wire.past_response = true;
        } else {
            unread.clear();
            self.wire.refused = true;
            // All of a response that was written by the application is there.
            self.wire.past_response = self.response.is_some();
        }
        Ok(self.opened)
    }

    fn on_frame(&mut self, (opcode, payload): (u8, Bytes), mailed: &Mailed) -> Result<(), String> {
        if self.wire.closed {
            return Err(format!("a frame of opcode {opcode} after a Close frame"));
        }
        match opcode {
            1 | 2 => self.on_message(
                Said {
                    text: opcode == 1,
                    payload,
                },
                mailed,
            ),
            8 => {
                self.wire.closed = true;
                Ok(())
            }
            9 if payload.is_empty() => Ok(()),
            9 => match self.pings_of_application.pop_front() {
                Some(expected) if expected == payload => Ok(()),
                other => Err(format!("a ping out of order: {payload:?} for {other:?}")),
            },
            10 => loop {
                // A pong may answer the latest of several pings (§5.5.3).
                match self.pings_of_peer.pop_front() {
                    Some(ping) if ping == payload => return Ok(()),
                    Some(_) => {}
                    None => return Err(format!("a pong to no ping: {payload:?}")),
                }
            },
            _ => Err(format!("opcode {opcode}")),
        }
    }

    fn on_message(&mut self, said: Said, mailed: &Mailed) -> Result<(), String> {
        if self.to_peer.front() == Some(&said) {
            self.to_peer.pop_front();
            return Ok(());
        }
        let later = mailed.iter().skip(self.wire.mail);
        if let Some(ahead) = later.clone().position(|mail| *mail == said.payload) {
            self.wire.mail += ahead + 1;
            return Ok(());
        }
        Err(format!(
            "a message that is not the next one: {} bytes {:?} instead of {:?}",
            said.payload.len(),
            &said.payload[..said.payload.len().min(24)],
            self.to_peer.front().map(|next| (
                next.payload.len(),
                next.payload.slice(..next.payload.len().min(24))
            )),
        ))
    }
}

/// The frame at the front, if all of it is there: its opcode and payload. A server's frames are whole messages,
/// unmasked, without reserved bits, and their lengths take the shortest form (RFC 6455 §5.1, §5.2).
fn next_frame(unread: &mut BytesMut) -> Result<Option<(u8, Bytes)>, String> {
    let &[first, second, ..] = &unread[..] else {
        return Ok(None);
    };
    if first & 0xF0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("not a server's frame: {first:#04x} {second:#04x}"));
    }
    let (header, len) = match second {
        126 => match unread[2..].first_chunk() {
            Some(&bytes) => (4, u64::from(u16::from_be_bytes(bytes))),
            None => return Ok(None),
        },
        127 => match unread[2..].first_chunk() {
            Some(&bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let shortest = match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    if header != shortest {
        return Err(format!("{len} bytes in a header of {header}"));
    }
    if ((unread.len() - header) as u64) < len {
        return Ok(None);
    }
    unread.advance(header);
    Ok(Some((first & 0x0F, unread.split_to(len as usize).freeze())))
}
