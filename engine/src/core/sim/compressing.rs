//! What the observer knows of compression: what is agreed with whom, and how long each message is in each form.

use bytes::Bytes;
use corecast_protocol::deflate::{Deflater, Params};
use corecast_protocol::frame::RSV1;
use corecast_protocol::{FrameKind, encode_server};

use super::application::message;
use super::awaited::Said;
use crate::core::Deflate;
use crate::core::compression::{FAST_ABOVE, PLAIN_ABOVE};
use crate::transport::ring::simulated::Dice;

/// Messages whose frames are remembered: those that are published go to several peers.
const REMEMBERED: usize = 6;

/// What the server is told about compression.
#[derive(Clone, Copy, Debug)]
pub(super) struct Compressing {
    mode: Mode,
    level: u8,
    threshold: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Shared,
    Dedicated(u8),
}

impl Compressing {
    /// In every other run there is none.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let mode = match dice.among(0..=3) {
            0 | 1 => Mode::Off,
            2 => Mode::Shared,
            _ => Mode::Dedicated(dice.among(9..=15) as u8),
        };
        Self {
            mode,
            level: dice.among(1..=9) as u8,
            threshold: [0, 1, 8, 40, 200][dice.among(0..=4)],
        }
    }

    /// The same as the server gets it.
    pub(super) fn deflate(&self) -> Deflate {
        let deflate = match self.mode {
            Mode::Off => Deflate::off(),
            Mode::Shared => Deflate::shared(),
            Mode::Dedicated(bits) => Deflate::dedicated(bits),
        };
        deflate.level(self.level).threshold(self.threshold)
    }

    pub(super) fn is_on(&self) -> bool {
        self.mode != Mode::Off
    }

    /// Something that may be agreed with a peer.
    pub(super) fn any_params(&self, dice: &mut Dice) -> Option<Params> {
        let window = |dice: &mut Dice, least, most: u8| dice.among(least..=usize::from(most)) as u8;
        if self.mode == Mode::Off || dice.one_in(4) {
            return None;
        }
        let own = match self.mode {
            Mode::Dedicated(bits) => Some(bits).filter(|_| !dice.one_in(4)),
            _ => None,
        };
        Some(match own {
            Some(bits) => Params {
                server_no_context_takeover: dice.one_in(6),
                client_no_context_takeover: dice.one_in(3),
                server_max_window_bits: window(dice, 9, bits),
                client_max_window_bits: window(dice, 8, 15),
            },
            None => Params {
                server_no_context_takeover: true,
                client_no_context_takeover: self.mode == Mode::Shared || dice.one_in(2),
                server_max_window_bits: if dice.one_in(3) { 9 } else { 15 },
                client_max_window_bits: window(dice, 8, 15),
            },
        })
    }
}

/// A window for messages that refer to no other: there are two, whatever was agreed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Window {
    Usual,
    Small,
}

impl Window {
    fn bits(self) -> u8 {
        match self {
            Self::Usual => 15,
            Self::Small => 9,
        }
    }
}

/// In which form a peer gets messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Form {
    /// Where they stand alone; `None` is as they are.
    pub(super) alone: Option<Window>,
    /// They refer to each other unless they have to wait for the peer.
    pub(super) context: bool,
}

impl Form {
    /// For a peer with which this was agreed.
    pub(super) fn agreed(params: &Params) -> Self {
        let window = match params.server_max_window_bits {
            15 => Window::Usual,
            _ => Window::Small,
        };
        Self {
            alone: Some(window),
            context: !params.server_no_context_takeover,
        }
    }

    /// In which window a message is compressed that stands alone, and counts as such.
    pub(super) fn of_message(self, slow: bool) -> Option<Window> {
        // What refers to others counts as it is until it goes out.
        self.alone.filter(|_| slow || !self.context)
    }
}

/// Makes messages that stand alone, as the server has to.
pub(super) struct Frames {
    compressing: Compressing,
    /// By window, and whether the payload is long.
    deflaters: Vec<((Window, bool), Deflater)>,
    remembered: Vec<(Window, Said, Bytes)>,
}

impl Frames {
    pub(super) fn new(compressing: Compressing) -> Self {
        Self {
            compressing,
            deflaters: Vec::new(),
            remembered: Vec::new(),
        }
    }

    pub(super) fn compressing(&self) -> &Compressing {
        &self.compressing
    }

    /// Bytes that a message takes on the wire.
    pub(super) fn len(&mut self, window: Option<Window>, said: &Said) -> usize {
        match window {
            Some(window) if self.is_worth_it(said) => self.compressed(window, said).len(),
            _ => said.frame_len(),
        }
    }

    /// A message as it goes out.
    pub(super) fn frame(&mut self, window: Option<Window>, said: &Said) -> Bytes {
        match window {
            Some(window) if self.is_worth_it(said) => self.compressed(window, said),
            _ => plain(said),
        }
    }

    fn is_worth_it(&self, said: &Said) -> bool {
        let len = said.payload.len();
        len > 0 && len >= self.compressing.threshold && len <= PLAIN_ABOVE
    }

    fn compressed(&mut self, window: Window, said: &Said) -> Bytes {
        let mut remembered = self.remembered.iter();
        let known = remembered.find(|(of, known, _)| *of == window && known == said);
        if let Some((.., frame)) = known {
            return frame.clone();
        }
        let mut payload = Vec::new();
        let is_shorter = self
            .deflater(window, said.payload.len() > FAST_ABOVE)
            .deflate(&said.payload, &mut payload);
        let frame = match is_shorter {
            true => compressed_frame(said, &payload),
            false => plain(said),
        };
        self.remembered.truncate(REMEMBERED - 1);
        self.remembered
            .insert(0, (window, said.clone(), frame.clone()));
        frame
    }

    fn deflater(&mut self, window: Window, long: bool) -> &mut Deflater {
        let kind = (window, long);
        let found = self.deflaters.iter().position(|(of, _)| *of == kind);
        let position = found.unwrap_or_else(|| {
            let level = if long { 1 } else { self.compressing.level };
            let deflater = Deflater::new(level, window.bits());
            self.deflaters.push((kind, deflater));
            self.deflaters.len() - 1
        });
        &mut self.deflaters[position].1
    }
}

/// A message as it is.
pub(super) fn plain(said: &Said) -> Bytes {
    let mut frame = Vec::new();
    encode_server(&mut frame, message(said).opcode(), &said.payload);
    frame.into()
}

fn compressed_frame(said: &Said, payload: &[u8]) -> Bytes {
    let kind = FrameKind {
        fin: true,
        rsv: RSV1,
        opcode: message(said).opcode(),
    };
    let mut frame = Vec::new();
    encode_server(&mut frame, kind, payload);
    frame.into()
}
