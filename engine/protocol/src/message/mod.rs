//! From bytes to messages: masking, fragments, UTF-8, limits (RFC 6455 §5.3–§5.6, §8.1).
//!
//! A frame that lies whole in the input is unmasked where it is and lent, without a copy or an
//! allocation. Anything else (a frame cut by the end of the input, a fragmented message) goes
//! through an assembly, which exists only while it is needed.
//!
//! Compressed messages (RFC 7692 §6) give the same events; large ones are inflated step by step.

mod assembly;
mod inflating;
mod inflation;
mod payload;
mod shared;

use std::borrow::Cow;

use crate::close::{CloseCode, decode_close};
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode};

use assembly::{Assembly, Ready};
use inflating::{FrameInflated, inflate_frame};
use inflation::Mode;
pub use inflation::{INFLATING_AT_ONCE, Inflation};
use payload::Whole;
pub use shared::{Limits, Role, Shared};

/// What the peer sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A whole text message: borrowed from the input, or owned when it had to be assembled.
    /// Give the owned one back with [`Shared::recycle`] when it is done with.
    Text(Cow<'a, str>),
    /// A whole binary message: borrowed or owned as with text.
    Binary(Cow<'a, [u8]>),
    /// One more fragment of a message that is not whole yet (§5.4). Nothing to do but to count: fragments
    /// can be as short as empty, so work is bounded by their number, not by their bytes.
    Fragment,
    /// So many bytes more of a compressed message have been inflated, or read for it if these are more, and it is not
    /// whole yet. Work to be counted: the message goes on in the next poll, which may come with empty input
    /// ([`Receiver::is_inflating`]); input behind it stays where it is. 0 says that nothing was done, because too many messages of this core are large and
    /// in progress: poll again when others have had their turn.
    Inflating {
        /// Bytes of work.
        bytes: usize,
    },
    /// A ping: answer with a pong that carries the same payload (§5.5.2).
    Ping(&'a [u8]),
    /// A pong (§5.5.3).
    Pong(&'a [u8]),
    /// The closing handshake, with code and reason if the peer gave any. Everything after it
    /// is ignored (§5.5.1): further polls use up their input and return `None`.
    Close(Option<(CloseCode, &'a str)>),
}

/// Received bytes and how far they have been read.
///
/// The bytes are unmasked in place, which is why they are borrowed mutably.
#[derive(Debug)]
pub struct Input<'b> {
    bytes: &'b mut [u8],
    position: usize,
}

impl<'b> Input<'b> {
    /// All of `bytes`, nothing read yet.
    #[inline]
    pub fn new(bytes: &'b mut [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Bytes not read yet.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Bytes read so far.
    #[inline]
    pub fn consumed(&self) -> usize {
        self.position
    }

    #[inline]
    fn rest(&self) -> &[u8] {
        &self.bytes[self.position..]
    }

    /// The next bytes, at most `max` of them.
    #[inline]
    fn take(&mut self, max: usize) -> &mut [u8] {
        let start = self.position;
        self.position += max.min(self.remaining());
        &mut self.bytes[start..self.position]
    }
}

/// One connection's incoming side: bytes in, [`Event`]s out.
///
/// Costs 16 bytes while no frame or message is in progress, beside what a peer's later messages may refer to
/// ([`Inflation::Context`]).
#[derive(Debug, Default)]
pub struct Receiver {
    state: State,
}

#[derive(Debug)]
enum State {
    /// Between messages: the next byte is the first of a frame.
    Idle(Mode),
    /// In mid-frame or mid-message.
    Busy(Box<Assembly>),
    /// After a Close frame or an error: input is ignored.
    Closed,
}

impl Default for State {
    fn default() -> Self {
        Self::Idle(Mode::Off)
    }
}

/// Every idle connection holds one.
const _: () = assert!(size_of::<Receiver>() <= 16);

impl Receiver {
    /// A receiver at the first byte after the opening handshake.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: State::Idle(Mode::Off),
        }
    }

    /// The same, with what was negotiated about the peer's compression.
    ///
    /// # Panics
    /// When window bits are not in 8..=15.
    #[must_use]
    pub fn with_inflation(inflation: Inflation) -> Self {
        Self {
            state: State::Idle(inflation.into()),
        }
    }

    /// The next event in `input`.
    ///
    /// `None` says that the input is used up; what it held of an unfinished frame is now in the
    /// receiver's own memory, so the input's buffer is free. Call until `None`, or until
    /// [`Event::Inflating`] of 0 bytes, and then again in a later turn.
    ///
    /// # Errors
    /// The rule or limit that the peer broke. The connection is failed (§7.1.7): from then on
    /// the receiver ignores its input.
    #[inline]
    pub fn poll<'a>(
        &'a mut self,
        shared: &mut Shared,
        input: &'a mut Input<'_>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if !matches!(self.state, State::Idle(_)) {
            self.settle();
        }
        if matches!(self.state, State::Idle(_)) {
            if input.remaining() == 0 {
                return Ok(None);
            }
            match whole_frame(shared, input) {
                Ok(Some(header)) => return self.lend(&header, input),
                // It may be compressed: not for here, where every instruction counts.
                Ok(None) | Err(ProtocolError::ReservedBits(_)) => {}
                Err(error) => return self.fail(error),
            }
        }
        self.poll_assembly(shared, input)
    }

    /// Whether no part of a frame or message is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        match &self.state {
            State::Idle(_) | State::Closed => true,
            State::Busy(assembly) => assembly.is_empty(),
        }
    }

    /// Whether a compressed message has arrived and is not inflated yet: then a poll has work to do without input, too.
    #[must_use]
    pub fn is_inflating(&self) -> bool {
        match &self.state {
            State::Idle(_) | State::Closed => false,
            State::Busy(assembly) => assembly.is_inflating(),
        }
    }

    /// Gives back what a message in the middle of being inflated holds beside its compressed bytes. It begins anew in the
    /// next poll. For a connection that will not be polled for some time, which would keep other connections' messages
    /// waiting: few of a core can be in progress.
    pub fn suspend_inflating(&mut self) {
        if let State::Busy(assembly) = &mut self.state {
            assembly.suspend_inflating();
        }
    }

    /// Bytes of heap that the receiver holds, for memory accounting.
    #[must_use]
    pub fn buffered(&self) -> usize {
        match &self.state {
            State::Idle(mode) => mode.heap_bytes(),
            State::Closed => 0,
            State::Busy(assembly) => assembly.heap_bytes(),
        }
    }

    /// Lends a frame that lies whole at the front of the input.
    #[inline]
    fn lend<'a>(
        &mut self,
        header: &Header,
        input: &'a mut Input<'_>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        input.take(header.header_len.into());
        let payload = input.take(header.payload_len as usize);
        match header.opcode {
            Opcode::Binary => {
                unmask(payload, header.mask);
                Ok(Some(Event::Binary(Cow::Borrowed(payload))))
            }
            Opcode::Text => match text(payload, header.mask) {
                Ok(text) => Ok(Some(Event::Text(Cow::Borrowed(text)))),
                Err(_) => self.fail(ProtocolError::InvalidUtf8),
            },
            control => {
                unmask(payload, header.mask);
                match control_event(control, payload) {
                    Ok(event) => {
                        if control == Opcode::Close {
                            self.state = State::Closed;
                        }
                        Ok(Some(event))
                    }
                    Err(error) => self.fail(error),
                }
            }
        }
    }

    /// The way of everything that does not lie whole in the input.
    #[inline(never)]
    fn poll_assembly<'a>(
        &'a mut self,
        shared: &mut Shared,
        input: &mut Input<'_>,
    ) -> Result<Option<Event<'a>>, ProtocolError> {
        if let State::Idle(mode) = &mut self.state {
            match inflate_frame(mode, shared, input) {
                Ok(Some(FrameInflated::Whole(whole))) => return Ok(Some(whole.into())),
                Ok(Some(FrameInflated::Begun(inflating, bytes))) => {
                    let mode = std::mem::take(mode);
                    self.state = State::Busy(Box::new(Assembly::inflating(mode, inflating)));
                    return Ok(Some(Event::Inflating { bytes }));
                }
                Ok(None) => {
                    let mode = std::mem::take(mode);
                    self.state = State::Busy(Box::new(Assembly::new(mode)));
                }
                Err(error) => return self.fail(error),
            }
        }
        let State::Busy(assembly) = &mut self.state else {
            input.take(usize::MAX);
            return Ok(None);
        };
        match assembly.poll(shared, input) {
            Ok(None) => Ok(None),
            Ok(Some(Ready::Message(whole))) => Ok(Some(whole.into())),
            Ok(Some(Ready::Fragment)) => Ok(Some(Event::Fragment)),
            Ok(Some(Ready::Inflating(bytes))) => Ok(Some(Event::Inflating { bytes })),
            Ok(Some(Ready::Control(opcode))) => self.lend_control(opcode),
            Err(error) => self.fail(error),
        }
    }

    /// Lends a control frame out of the assembly.
    fn lend_control(&mut self, opcode: Opcode) -> Result<Option<Event<'_>>, ProtocolError> {
        let State::Busy(assembly) = &self.state else {
            unreachable!("the assembly has just handed out a control frame");
        };
        // Only a Close can be wrong, and after one the assembly counts as closed in any case.
        control_event(opcode, assembly.control()).map(Some)
    }

    /// Leaves the assembly once the event that borrowed from it is gone.
    #[inline(never)]
    fn settle(&mut self) {
        if let State::Busy(assembly) = &mut self.state {
            if assembly.is_closed() {
                self.state = State::Closed;
            } else if assembly.is_empty() {
                self.state = State::Idle(assembly.take_mode());
            }
        }
    }

    #[cold]
    fn fail<'a>(&mut self, error: ProtocolError) -> Result<Option<Event<'a>>, ProtocolError> {
        self.state = State::Closed;
        Err(error)
    }
}

impl From<Whole> for Event<'_> {
    fn from(whole: Whole) -> Self {
        match whole {
            Whole::Text(text) => Self::Text(Cow::Owned(text)),
            Whole::Binary(bytes) => Self::Binary(Cow::Owned(bytes)),
        }
    }
}

/// The header of the frame at the front of the input, if it is a whole message or control
/// frame that lies completely in the input and can be lent as it is.
#[inline]
fn whole_frame(shared: &Shared, input: &Input<'_>) -> Result<Option<Header>, ProtocolError> {
    let rest = input.rest();
    let Some(header) = Header::decode(rest)? else {
        return Ok(None);
    };
    shared.check(&header, None, false)?;
    let after_header = (rest.len() - usize::from(header.header_len)) as u64;
    Ok((header.fin && header.payload_len <= after_header).then_some(header))
}

#[inline]
fn unmask(payload: &mut [u8], mask: Option<[u8; 4]>) {
    if let Some(key) = mask {
        corecast_simd::unmask(payload, key, 0);
    }
}

#[inline]
fn text(payload: &mut [u8], mask: Option<[u8; 4]>) -> Result<&str, corecast_simd::InvalidUtf8> {
    match mask {
        Some(key) => corecast_simd::unmask_text(payload, key),
        None => corecast_simd::validate(payload),
    }
}

#[inline]
fn control_event(opcode: Opcode, payload: &[u8]) -> Result<Event<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Event::Ping(payload)),
        Opcode::Pong => Ok(Event::Pong(payload)),
        _ => decode_close(payload).map(Event::Close),
    }
}

#[cfg(test)]
mod tests;
