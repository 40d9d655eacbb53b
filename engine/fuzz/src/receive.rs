//! A receiver that is fed a stream in pieces, and what came of it.

use std::borrow::Cow;

use corecast_protocol::{
    CloseCode, Event, Inflation, Input, Limits, ProtocolError, Receiver, Role, Shared,
};

/// An event that outlives its input.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// A whole text message.
    Text(String),
    /// A whole binary message.
    Binary(Vec<u8>),
    /// A fragment that ends no message.
    Fragment,
    /// A ping and its payload.
    Ping(Vec<u8>),
    /// A pong and its payload.
    Pong(Vec<u8>),
    /// The closing handshake.
    Close(Option<(CloseCode, String)>),
    /// The rule that the stream broke.
    Failed(ProtocolError),
}

impl From<Event<'_>> for Got {
    fn from(event: Event<'_>) -> Self {
        match event {
            Event::Text(text) => Self::Text(text.into_owned()),
            Event::Binary(bytes) => Self::Binary(bytes.into_owned()),
            Event::Fragment => Self::Fragment,
            Event::Inflating { .. } => unreachable!("what a message takes, not what it is"),
            Event::Ping(payload) => Self::Ping(payload.to_vec()),
            Event::Pong(payload) => Self::Pong(payload.to_vec()),
            Event::Close(close) => Self::Close(close.map(|(code, why)| (code, why.to_owned()))),
        }
    }
}

/// One receiver, fed from buffers that are freed after each piece.
#[derive(Debug)]
pub struct Peer {
    shared: Shared,
    receiver: Receiver,
    /// Whether buffers of assembled messages are given back.
    recycle: bool,
    /// Bytes that the peer's compression may make the receiver hold between messages.
    window: usize,
    fed: usize,
    /// Of the message in assembly.
    fragments: u32,
    got: Vec<(Got, usize)>,
}

/// Bytes that a receiver may hold beside those of the message in assembly: the box around it, and
/// the smallest buffer.
const HELD_ANYWAY: usize = 512;

/// How many times what has arrived a receiver may hold: a vector that doubles, or a spare buffer.
const HELD_PER_BYTE: usize = 16;

impl Peer {
    /// At the first byte after the opening handshake.
    #[must_use]
    pub const fn new(role: Role, limits: Limits, recycle: bool) -> Self {
        Self {
            shared: Shared::new(role, limits),
            receiver: Receiver::new(),
            recycle,
            window: 0,
            fed: 0,
            fragments: 0,
            got: Vec::new(),
        }
    }

    /// The same, with what was negotiated about compression.
    #[must_use]
    pub fn inflating(role: Role, limits: Limits, recycle: bool, inflation: Inflation) -> Self {
        let window = match inflation {
            Inflation::Context { window_bits } => 1 << window_bits.max(9),
            Inflation::Off | Inflation::Whole => 0,
        };
        Self {
            receiver: Receiver::with_inflation(inflation),
            window,
            ..Self::new(role, limits, recycle)
        }
    }

    /// Feeds one piece until the receiver asks for more.
    ///
    /// # Panics
    /// When the receiver does not use up the piece, goes on after its end, takes more fragments than it may, or
    /// holds memory that the bytes so far do not justify.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut bytes = piece.to_vec();
        let mut input = Input::new(&mut bytes);
        loop {
            let mut used = None;
            let got = match self.receiver.poll(&mut self.shared, &mut input) {
                Ok(None) => break,
                Ok(Some(Event::Text(Cow::Owned(text)))) => {
                    let got = Got::Text(text.clone());
                    used = Some(text.into_bytes());
                    got
                }
                Ok(Some(Event::Binary(Cow::Owned(bytes)))) => {
                    let got = Got::Binary(bytes.clone());
                    used = Some(bytes);
                    got
                }
                Ok(Some(Event::Inflating { bytes })) => {
                    assert_ne!(bytes, 0, "the only receiver waits for others");
                    continue;
                }
                Ok(Some(event)) => event.into(),
                Err(error) => Got::Failed(error),
            };
            assert!(!self.has_ended(), "{got:?} after {:?}", self.got.last());
            self.count_fragments(&got);
            self.got.push((got, self.fed + input.consumed()));
            if let Some(buffer) = used.filter(|_| self.recycle) {
                self.shared.recycle(buffer);
            }
        }
        assert_eq!(input.remaining(), 0, "asks for more with input left");
        assert_eq!(input.consumed(), piece.len());
        self.fed += piece.len();
        let held = self.receiver.buffered();
        let arrived = self.fed - self.message_at();
        assert!(
            held <= HELD_ANYWAY + self.window + HELD_PER_BYTE * arrived,
            "{held} bytes held for {arrived} that have arrived"
        );
    }

    /// A message has as many fragments as are allowed, and is refused for no fewer.
    fn count_fragments(&mut self, got: &Got) {
        let allowed = self.shared.limits.max_fragments;
        match got {
            Got::Fragment => self.fragments += 1,
            Got::Text(_) | Got::Binary(_) => {
                assert!(self.fragments < allowed, "a message of too many fragments");
                self.fragments = 0;
            }
            Got::Failed(ProtocolError::TooManyFragments { limit }) => {
                assert_eq!((self.fragments, *limit), (allowed, allowed));
            }
            _ => {}
        }
        assert!(self.fragments <= allowed, "too many fragments");
    }

    /// Where the message in assembly may have begun: at the end of the last one.
    fn message_at(&self) -> usize {
        let ended = |got: &Got| matches!(got, Got::Text(_) | Got::Binary(_));
        let last = self.got.iter().rfind(|(got, _)| ended(got));
        last.map_or(0, |&(_, end)| end)
    }

    /// Events so far, each with the bytes of the stream that were read when it came. Of
    /// [`Got::Failed`] that number says little: how much of a bad frame is read depends on the cut.
    #[must_use]
    pub fn got(&self) -> &[(Got, usize)] {
        &self.got
    }

    /// Whether nothing of a frame or message is held.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.receiver.is_idle()
    }

    /// Whether a Close or an error has come.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.got.last(), Some((Got::Close(_) | Got::Failed(_), _)))
    }
}
