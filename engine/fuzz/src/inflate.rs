//! Compressed messages (RFC 7692), however the stream is cut: what a compressor was given, or what another inflater makes
//! of bytes that no compressor made.
//!
//! Input: settings (see the constants), the window's bits if `CONTEXT`, piece sizes, masking key, then messages: see
//! `messages`.

use corecast_protocol::{Inflation, Limits, ProtocolError, Role};

use crate::input::{Reader, cut};
use crate::receive::{Got, Peer};

use messages::{Message, Messages};
use other_inflater::{Inflated, OtherInflater};

mod messages;
mod other_inflater;

/// Settings: the receiver is a client. Otherwise it is a server.
const CLIENT: u8 = 1;
/// Settings: messages refer to earlier ones.
const CONTEXT: u8 = 2;
/// Settings: [`SMALL`] limits. Otherwise [`LARGE`].
const TIGHT: u8 = 4;
/// Settings: buffers of messages are used again.
const RECYCLE: u8 = 8;

/// Streams up to this length are fed byte by byte, too.
const BYTE_BY_BYTE: usize = 1000;

/// Limits that short streams reach.
const SMALL: Limits = Limits {
    max_frame: 1000,
    max_message: 1500,
    max_fragments: 6,
    max_inflation: Limits::DEFAULT_MAX_INFLATION,
};

/// Limits that messages of several steps reach.
const LARGE: Limits = Limits {
    max_frame: 100_000,
    max_message: 100_000,
    max_fragments: 100,
    max_inflation: Limits::DEFAULT_MAX_INFLATION,
};

/// Sends the messages whole, in the input's pieces and, if they are short enough, byte by byte.
///
/// # Panics
/// When what is received is not what was sent; when it depends on the cut; when it is judged differently than by
/// `miniz_oxide`.
pub fn check(data: &[u8]) {
    let case = Case::read(data);
    let whole = case.receive(&[]);
    case.judge(&whole);
    assert_eq!(case.receive(&case.sizes), whole, "in pieces");
    if case.messages.stream.len() <= BYTE_BY_BYTE {
        assert_eq!(case.receive(&[1]), whole, "byte by byte");
    }
}

/// Messages, and who receives them how.
struct Case {
    role: Role,
    limits: Limits,
    recycle: bool,
    inflation: Inflation,
    sizes: Vec<usize>,
    messages: Messages,
}

impl Case {
    fn read(data: &[u8]) -> Self {
        let mut reader = Reader::new(data);
        let settings = reader.byte();
        let is = |bit| settings & bit != 0;
        let inflation = if is(CONTEXT) {
            Inflation::Context {
                window_bits: 8 + reader.byte() % 8,
            }
        } else {
            Inflation::Whole
        };
        let sizes = reader.sizes();
        let key = reader.array();
        let (role, key) = if is(CLIENT) {
            (Role::Client, None)
        } else {
            (Role::Server, Some(key))
        };
        Self {
            role,
            limits: if is(TIGHT) { SMALL } else { LARGE },
            recycle: is(RECYCLE),
            inflation,
            sizes,
            messages: Messages::read(reader, inflation, key),
        }
    }

    fn receive(&self, sizes: &[usize]) -> Vec<Got> {
        let mut peer = Peer::inflating(self.role, self.limits, self.recycle, self.inflation);
        for piece in cut(&self.messages.stream, sizes) {
            peer.feed(piece);
        }
        let got = peer.got().iter().map(|(got, _)| got.clone());
        got.filter(|got| *got != Got::Fragment).collect()
    }

    /// Compares what came with what was sent, message by message, up to the first that is refused.
    fn judge(&self, got: &[Got]) {
        let mut got = got.iter();
        let mut inflater = OtherInflater::new(self.inflation);
        for message in &self.messages.list {
            let inflated = if message.is_compressed {
                // One byte more than may be accepted tells that it is too much.
                inflater.inflate(&message.payload, self.limits.max_message as usize + 1)
            } else {
                Inflated::Whole(message.payload.clone())
            };
            self.judge_made(message, &inflated);
            match got.next() {
                Some(Got::Failed(error)) => {
                    self.judge_refusal(message, &inflated, *error);
                    assert_eq!(got.next(), None, "after {error}");
                    return;
                }
                Some(Got::Text(text)) => {
                    assert!(message.is_text);
                    self.judge_accepted(message, &inflated, text.as_bytes());
                }
                Some(Got::Binary(bytes)) => {
                    assert!(!message.is_text);
                    self.judge_accepted(message, &inflated, bytes);
                }
                other => panic!("{other:?} instead of a message"),
            }
        }
        assert_eq!(got.next(), None, "more than was sent");
    }

    /// What a compressor made is what it was given, also to the other inflater.
    fn judge_made(&self, message: &Message, inflated: &Inflated) {
        let Some(content) = &message.content else {
            return;
        };
        match inflated {
            Inflated::Whole(bytes) => assert!(bytes == content, "the other inflater is wrong"),
            Inflated::TooLong(_) => assert!(content.len() as u64 > self.limits.max_message),
            Inflated::Broken(_) => panic!("the other inflater refuses what a compressor made"),
        }
    }

    fn judge_accepted(&self, message: &Message, inflated: &Inflated, received: &[u8]) {
        match inflated {
            Inflated::Whole(bytes) => assert!(received == bytes, "other bytes"),
            other => panic!("accepted, but {other:?}"),
        }
        assert!(received.len() as u64 <= self.limits.max_message);
        assert!(message.fragments <= self.limits.max_fragments as usize);
    }

    fn judge_refusal(&self, message: &Message, inflated: &Inflated, error: ProtocolError) {
        let limits = &self.limits;
        let made = match inflated {
            Inflated::Whole(bytes) | Inflated::TooLong(bytes) | Inflated::Broken(bytes) => bytes,
        };
        let len = made.len() as u64;
        let on_the_wire = message.payload.len() as u64;
        match error {
            ProtocolError::InvalidDeflate => {
                assert!(matches!(inflated, Inflated::Broken(_)), "not broken");
            }
            ProtocolError::InvalidUtf8 => {
                let broken = matches!(inflated, Inflated::Broken(_));
                assert!(message.is_text && (broken || std::str::from_utf8(made).is_err()));
            }
            // Either what it inflates to, or what it is before.
            ProtocolError::MessageTooBig { announced, limit } if limit == limits.max_message => {
                assert!(announced > limit && len > limit);
            }
            ProtocolError::MessageTooBig { announced, limit } => {
                assert!(announced > limit && on_the_wire > limit && limit > limits.max_message);
            }
            ProtocolError::FrameTooBig { announced, limit } => {
                assert!(announced > limit && on_the_wire > limit && limit >= limits.max_frame);
            }
            ProtocolError::TooManyFragments { limit } => {
                assert!(message.fragments > limit as usize);
            }
            other => panic!("{other}"),
        }
    }
}
