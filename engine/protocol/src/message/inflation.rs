//! How a peer compresses, and what inflating takes (RFC 7692 §7.1, §7.2.2).

use std::sync::Arc;

use crate::deflate::{INFLATER_BYTES, Inflater, STEP_INPUT, STEP_OUTPUT, Step, TAIL, Window};
use crate::error::ProtocolError;

/// Messages of one core that hold more than one step of what they inflate to, at most: so many connections that send
/// little which becomes much at the same time take no more memory than a few.
pub const INFLATING_AT_ONCE: usize = 4;

/// Idle inflaters that are kept: for messages of one step, and for a longer one.
const MAX_IDLE: usize = 2;

/// Whether the peer may compress its messages, and what they may refer to (RFC 7692 §7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Inflation {
    /// No compression: RSV1 is a protocol error.
    #[default]
    Off,
    /// Each message stands alone: no context takeover (§7.1.1). Costs no memory between messages.
    Whole,
    /// A message may refer to the end of earlier ones, which is kept: as much as the peer has sent, up to
    /// 2^`window_bits` bytes.
    Context {
        /// Base-2 logarithm of the peer's window (§7.1.2), 8 to 15. Of 8, 9 is made, as compressors of the zlib family
        /// do.
        window_bits: u8,
    },
}

/// An [`Inflation`] with the memory that it takes.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    Off,
    Whole,
    Context(Box<Window>),
}

impl From<Inflation> for Mode {
    fn from(inflation: Inflation) -> Self {
        match inflation {
            Inflation::Off => Self::Off,
            Inflation::Whole => Self::Whole,
            Inflation::Context { window_bits } => Self::Context(Box::new(Window::new(window_bits))),
        }
    }
}

impl Mode {
    /// Whether messages may be compressed.
    pub(super) fn is_on(&self) -> bool {
        !matches!(self, Self::Off)
    }

    /// Bytes of heap.
    pub(super) fn heap_bytes(&self) -> usize {
        match self {
            Self::Off | Self::Whole => 0,
            Self::Context(window) => window.heap_bytes(),
        }
    }

    /// What messages may refer to.
    pub(super) fn window(&self) -> Option<&Window> {
        match self {
            Self::Off | Self::Whole => None,
            Self::Context(window) => Some(window),
        }
    }

    /// The same, to go on with.
    pub(super) fn window_mut(&mut self) -> Option<&mut Window> {
        match self {
            Self::Off | Self::Whole => None,
            Self::Context(window) => Some(window),
        }
    }
}

/// What inflating takes beside the messages themselves: one for all receivers of a core.
#[derive(Debug, Default)]
pub(super) struct InflatePool {
    idle: Vec<Inflater>,
    /// What one step makes.
    scratch: Vec<u8>,
    /// For the compressed bytes of a frame that lies whole in the input.
    compressed: Vec<u8>,
    /// Its clones are the permits that are out.
    permits: Arc<()>,
}

/// Leave to hold more than one step of a message. Goes back when it is dropped.
#[derive(Debug)]
pub(super) struct Permit(#[expect(dead_code, reason = "to have it is all")] Arc<()>);

impl InflatePool {
    /// `None`: too many are out. What this says stays true until the next call: permits come from here alone.
    pub(super) fn permit(&self) -> Option<Permit> {
        let out = Arc::strong_count(&self.permits) - 1;
        (out < INFLATING_AT_ONCE).then(|| Permit(Arc::clone(&self.permits)))
    }

    /// An inflater at the beginning of a message.
    pub(super) fn inflater(&mut self, mode: &Mode) -> Inflater {
        let mut inflater = self.idle.pop().unwrap_or_else(Inflater::new);
        inflater.begin(mode.window());
        inflater
    }

    /// Takes an inflater back.
    pub(super) fn put(&mut self, inflater: Inflater) {
        if self.idle.len() < MAX_IDLE {
            self.idle.push(inflater);
        }
    }

    /// Takes a step that makes at most `room` bytes, and gives these, too.
    pub(super) fn step(
        &mut self,
        inflater: &mut Inflater,
        rest: &[u8],
        room: u64,
    ) -> Result<(Step, &[u8]), ProtocolError> {
        self.scratch.resize(STEP_OUTPUT, 0);
        let room = room.min(STEP_OUTPUT as u64) as usize;
        let step = inflater.step(rest, &mut self.scratch[..room])?;
        Ok((step, self.made(&step)))
    }

    /// What the last step made.
    pub(super) fn made(&self, step: &Step) -> &[u8] {
        &self.scratch[..step.made]
    }

    /// An empty buffer for a short message, compressed, with room for what is added to it.
    pub(super) fn take_compressed(&mut self) -> Vec<u8> {
        let mut buffer = std::mem::take(&mut self.compressed);
        buffer.clear();
        buffer.reserve_exact(STEP_INPUT + TAIL.len());
        buffer
    }

    /// Takes that buffer back.
    pub(super) fn give_compressed(&mut self, buffer: Vec<u8>) {
        self.compressed = buffer;
    }

    /// Frees everything but the count of permits.
    pub(super) fn release(&mut self) {
        *self = Self {
            permits: Arc::clone(&self.permits),
            ..Self::default()
        };
    }

    /// Bytes of heap.
    pub(super) fn heap_bytes(&self) -> usize {
        self.idle.len() * INFLATER_BYTES + self.scratch.capacity() + self.compressed.capacity()
    }
}
