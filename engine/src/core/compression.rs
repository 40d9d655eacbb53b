//! permessage-deflate on the way out (RFC 7692): in which form each connection gets its messages, and a core's compressors.
//!
//! A message is compressed once per *wire form*, not once per connection: whoever keeps no context from one message to the
//! next gets the same bytes as all others of its form. Only connections with a context of their own are served apart.

use std::collections::HashMap;
use std::sync::Arc;

use corecast_protocol::Limits;
use corecast_protocol::deflate::{Acceptance, Context, Deflater, Params};
use corecast_protocol::frame::{FrameKind, Opcode, RSV1};
use corecast_protocol::message::Inflation;

use super::stats::CoreStats;

/// The smallest window that a compressor can be held to, and the largest.
const WINDOW_BITS: std::ops::RangeInclusive<u8> = 9..=15;

/// Payloads above this are compressed at the fastest level: at the usual one a megabyte would take ten milliseconds, in
/// which everybody else on the core waits. Fewer in the simulation, which has few messages of that size.
pub(super) const FAST_ABOVE: usize = if cfg!(test) { 2 << 10 } else { 256 << 10 };

/// Payloads above this are not compressed: even at the fastest level it would take longer than a message may.
/// Fewer in the simulation.
pub(super) const PLAIN_ABOVE: usize = if cfg!(test) { 32 << 10 } else { 4 << 20 };

/// What compresses the payloads above [`FAST_ABOVE`].
const FAST_LEVEL: u8 = 1;

/// Memory for compressed payloads that is kept from one message to the next.
const SCRATCH_KEPT: usize = 256 << 10;

/// How messages are compressed for clients that offer permessage-deflate (RFC 7692): see
/// [`Server::deflate`](crate::Server::deflate).
///
/// ```
/// use corecast::{Deflate, Server};
///
/// # fn main() -> corecast::Result<()> {
/// let server = Server::bind("127.0.0.1:0")?.deflate(Deflate::shared().threshold(1024));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deflate {
    mode: Mode,
    level: u8,
    threshold: usize,
    pub(crate) max_ratio: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    Off,
    Shared,
    Dedicated { window_bits: u8 },
}

impl Deflate {
    /// No compression: the extension is not agreed to.
    #[must_use]
    pub const fn off() -> Self {
        Self {
            mode: Mode::Off,
            level: 6,
            threshold: 256,
            max_ratio: Limits::DEFAULT_MAX_INFLATION,
        }
    }

    /// Each message is compressed by itself (`server_no_context_takeover` and `client_no_context_takeover`, §7.1.1). The
    /// compressors belong to the core, so a connection takes no memory for it, and what is published is compressed once for
    /// all subscribers.
    #[must_use]
    pub const fn shared() -> Self {
        Self {
            mode: Mode::Shared,
            ..Self::off()
        }
    }

    /// Each connection has contexts of its own, in which a message refers to earlier ones: many small messages become much
    /// smaller. It takes memory: for each connection as much as it was sent and has sent, each up to a window of 2 to the power of
    /// `window_bits` bytes (9 to 15). And time: the window is read anew for each message, with 12 bits some microseconds, with
    /// 15 some tens of them; and what is published is compressed for each subscriber. Clients that ask for it are served as
    /// in [`shared`](Self::shared).
    #[must_use]
    pub const fn dedicated(window_bits: u8) -> Self {
        let window_bits = match window_bits {
            ..9 => 9,
            9..=15 => window_bits,
            _ => 15,
        };
        Self {
            mode: Mode::Dedicated { window_bits },
            // With a context even a few bytes have something to refer to.
            threshold: 32,
            ..Self::off()
        }
    }

    /// From 1, the fastest, to 9, the smallest (6). Payloads above 256 KiB are compressed at level 1, and those above 4 MiB not at
    /// all: the core's other connections wait meanwhile.
    #[must_use]
    pub const fn level(mut self, level: u8) -> Self {
        self.level = match level {
            0 => 1,
            1..=9 => level,
            _ => 9,
        };
        self
    }

    /// Payloads of fewer bytes go out as they are (256; 32 where connections have contexts of their own): they would hardly
    /// become smaller.
    #[must_use]
    pub const fn threshold(mut self, bytes: usize) -> Self {
        self.threshold = bytes;
        self
    }

    /// How many times its size a received message may become, once it is larger than a mebibyte (256). More ends the connection with
    /// 1009. Deflate cannot go beyond 1,032; what people write seldom gets to 20.
    #[must_use]
    pub const fn max_ratio(mut self, ratio: u32) -> Self {
        self.max_ratio = if ratio == 0 { 1 } else { ratio };
        self
    }

    /// Whether the extension is agreed to at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        !matches!(self.mode, Mode::Off)
    }

    /// What is agreed to.
    pub(crate) fn acceptance(&self) -> Option<Acceptance> {
        match self.mode {
            Mode::Off => None,
            Mode::Shared => Some(Acceptance::shared()),
            Mode::Dedicated { window_bits } => Some(Acceptance::dedicated(window_bits)),
        }
    }
}

impl Default for Deflate {
    fn default() -> Self {
        Self::off()
    }
}

/// In which form a connection gets messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Wire {
    /// As they are.
    #[default]
    Plain,
    /// Each compressed by itself, with the usual window.
    Deflate,
    /// The same with the smallest window, for clients that asked for any smaller one.
    DeflateSmall,
    /// Compressed with a context of its own.
    Own,
}

impl Wire {
    /// Forms in which a message is compressed once for everybody.
    pub(crate) const COMPRESSED_ONCE: [Self; 2] = [Self::Deflate, Self::DeflateSmall];
    /// Forms that are the same for everybody who has them.
    pub(crate) const COMMON: usize = 3;

    /// How messages go to a client with whom this was agreed.
    pub(crate) fn agreed(params: &Params) -> Self {
        match params.server_no_context_takeover {
            true => Self::without_context(params.server_max_window_bits),
            false => Self::Own,
        }
    }

    fn without_context(window_bits: u8) -> Self {
        match window_bits {
            15.. => Self::Deflate,
            _ => Self::DeflateSmall,
        }
    }

    /// The place of a common form among all of them.
    pub(crate) fn place(self) -> usize {
        debug_assert_ne!(self, Self::Own, "it has nothing in common with others");
        self as usize
    }
}

/// How the messages of a client are read with whom this was agreed.
pub(crate) fn inflation(params: &Params) -> Inflation {
    match params.client_no_context_takeover {
        true => Inflation::Whole,
        false => Inflation::Context {
            window_bits: params.client_max_window_bits,
        },
    }
}

/// Sizes of windows that a compressor can be held to.
const WINDOWS: usize = (*WINDOW_BITS.end() - *WINDOW_BITS.start()) as usize + 1;

/// A core's compressors. They are made when they are first needed.
pub(crate) struct Compression {
    settings: Deflate,
    stats: Arc<CoreStats>,
    /// At the usual level and at the fastest, by the bits of their window.
    usual: [Option<Box<Deflater>>; WINDOWS],
    fast: [Option<Box<Deflater>>; WINDOWS],
    /// Of connections with a context of their own.
    own: HashMap<u32, Own>,
    /// What was compressed last.
    scratch: Vec<u8>,
}

/// What a connection's next message may refer to.
struct Own {
    window_bits: u8,
    context: Context,
}

impl Compression {
    pub(crate) fn new(settings: Deflate, stats: Arc<CoreStats>) -> Self {
        Self {
            settings,
            stats,
            usual: Default::default(),
            fast: Default::default(),
            own: HashMap::new(),
            scratch: Vec::new(),
        }
    }

    /// Whether clients are agreed with at all.
    pub(crate) fn is_on(&self) -> bool {
        self.settings.is_on()
    }

    /// A connection is open, with whom this was agreed.
    pub(crate) fn enter(&mut self, index: u32, params: &Params) {
        if Wire::agreed(params) == Wire::Own {
            let own = Own {
                window_bits: params.server_max_window_bits,
                context: Context::new(),
            };
            self.own.insert(index, own);
        }
    }

    /// A connection has ended.
    pub(crate) fn leave(&mut self, index: u32) {
        self.own.remove(&index);
    }

    /// Connections with a context of their own.
    #[cfg(test)]
    pub(crate) fn contexts(&self) -> usize {
        self.own.len()
    }

    /// What is sent to a connection from now on refers to nothing that it was sent before.
    pub(crate) fn forget(&mut self, index: u32) {
        if let Some(own) = self.own.get_mut(&index) {
            own.context.forget();
        }
    }

    /// The form of messages to a connection that has a backlog, where messages may be dropped: none may refer to another.
    pub(crate) fn without_context(&self, index: u32, wire: Wire) -> Wire {
        match (wire, self.own.get(&index)) {
            (Wire::Own, Some(own)) => Wire::without_context(own.window_bits),
            (Wire::Own, None) => Wire::Plain,
            (common, _) => common,
        }
    }

    /// A message as everybody gets it whose form this is: the first byte of its frame, and the payload.
    #[inline]
    pub(crate) fn common<'a>(
        &'a mut self,
        wire: Wire,
        opcode: Opcode,
        payload: &'a [u8],
    ) -> (FrameKind, &'a [u8]) {
        match wire {
            Wire::Plain => (opcode.into(), payload),
            _ if !self.is_worth_it(payload) => (opcode.into(), payload),
            _ => self.compress(wire, opcode, payload),
        }
    }

    /// A message as one connection gets it, which has no backlog.
    #[inline]
    pub(crate) fn of<'a>(
        &'a mut self,
        index: u32,
        wire: Wire,
        opcode: Opcode,
        payload: &'a [u8],
    ) -> (FrameKind, &'a [u8]) {
        match wire {
            Wire::Own if self.is_worth_it(payload) => self.compress_own(index, opcode, payload),
            Wire::Own => (opcode.into(), payload),
            _ => self.common(wire, opcode, payload),
        }
    }

    fn is_worth_it(&self, payload: &[u8]) -> bool {
        (self.settings.threshold.max(1)..=PLAIN_ABOVE).contains(&payload.len())
    }

    fn compress<'a>(
        &'a mut self,
        wire: Wire,
        opcode: Opcode,
        payload: &'a [u8],
    ) -> (FrameKind, &'a [u8]) {
        let window_bits = match wire {
            Wire::DeflateSmall => *WINDOW_BITS.start(),
            _ => *WINDOW_BITS.end(),
        };
        clear(&mut self.scratch);
        self.stats.compressed.add(1);
        let deflater = match payload.len() > FAST_ABOVE {
            true => deflater(&mut self.fast, FAST_LEVEL, window_bits),
            false => deflater(&mut self.usual, self.settings.level, window_bits),
        };
        match deflater.deflate(payload, &mut self.scratch) {
            true => (compressed(opcode), &self.scratch),
            false => (opcode.into(), payload),
        }
    }

    fn compress_own<'a>(
        &'a mut self,
        index: u32,
        opcode: Opcode,
        payload: &'a [u8],
    ) -> (FrameKind, &'a [u8]) {
        let Some(own) = self.own.get_mut(&index) else {
            return (opcode.into(), payload);
        };
        clear(&mut self.scratch);
        self.stats.compressed.add(1);
        let deflater = match payload.len() > FAST_ABOVE {
            true => deflater(&mut self.fast, FAST_LEVEL, own.window_bits),
            false => deflater(&mut self.usual, self.settings.level, own.window_bits),
        };
        match deflater.deflate_with(&mut own.context, payload, &mut self.scratch) {
            true => (compressed(opcode), &self.scratch),
            false => (opcode.into(), payload),
        }
    }
}

/// The compressor for a window.
fn deflater(
    deflaters: &mut [Option<Box<Deflater>>; WINDOWS],
    level: u8,
    window_bits: u8,
) -> &mut Deflater {
    let bits = window_bits.clamp(*WINDOW_BITS.start(), *WINDOW_BITS.end());
    let place = &mut deflaters[usize::from(bits - WINDOW_BITS.start())];
    place.get_or_insert_with(|| Box::new(Deflater::new(level, bits)))
}

fn clear(scratch: &mut Vec<u8>) {
    scratch.clear();
    scratch.shrink_to(SCRATCH_KEPT);
}

/// A whole message that is compressed (§6).
fn compressed(opcode: Opcode) -> FrameKind {
    FrameKind {
        fin: true,
        rsv: RSV1,
        opcode,
    }
}
