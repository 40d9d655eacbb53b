//! A compressed message, from the time when it is whole (RFC 7692 §7.2.2).
//!
//! It has been gathered compressed, so a connection in mid-message holds no inflater. It is inflated in steps, each of
//! bounded work. Most messages take one, with memory that the core's receivers share. A longer one needs a permit, and
//! then holds what it has inflated so far.

use super::Input;
use super::inflation::{InflatePool, Mode, Permit};
use super::payload::{Payload, Whole};
use super::shared::{Limits, Shared};
use crate::deflate::{INFLATER_BYTES, Inflater, STEP_INPUT, Step, TAIL, Window};
use crate::error::ProtocolError;
use crate::frame::{Header, Opcode, RSV1};

/// What inflating has come to.
#[derive(Debug)]
pub(super) enum Inflated {
    Whole(Whole),
    /// There is more to do. So much has been done, in bytes made, or read if these are more; 0 if a permit is waited for.
    Part(usize),
}

/// A compressed message that is being inflated.
#[derive(Debug)]
pub(super) struct Inflating {
    is_text: bool,
    /// [`TAIL`] is behind it.
    compressed: Vec<u8>,
    /// Whether one step was tried, and is not enough.
    is_long: bool,
    long: Option<Box<Long>>,
}

/// What a message of more than one step holds.
#[derive(Debug)]
struct Long {
    inflater: Inflater,
    /// Compressed bytes read.
    read: usize,
    output: Payload,
    /// What later messages will refer to. A copy: the message may have to begin anew.
    window: Option<Window>,
    _permit: Permit,
}

impl Inflating {
    /// A message whose first frame has this opcode; `compressed` is its whole payload.
    pub(super) fn new(opcode: Opcode, mut compressed: Vec<u8>) -> Self {
        if compressed.is_empty() {
            // Not even the block that §7.2.3.6 wants. Other receivers find nothing wrong with it.
            compressed.push(0);
        }
        compressed.reserve_exact(TAIL.len());
        compressed.extend_from_slice(&TAIL);
        Self {
            is_text: opcode == Opcode::Text,
            compressed,
            is_long: false,
            long: None,
        }
    }

    /// Takes one step.
    pub(super) fn poll(
        &mut self,
        mode: &mut Mode,
        shared: &mut Shared,
    ) -> Result<Inflated, ProtocolError> {
        let mut pool = shared.lend_pool();
        let inflated = if self.is_long {
            self.next_step(mode, &mut pool, shared)
        } else {
            self.first_step(mode, &mut pool, shared)
        };
        shared.return_pool(pool);
        inflated
    }

    /// Gives up what a long message holds: it begins anew when it has a permit again.
    pub(super) fn suspend(&mut self) {
        self.long = None;
    }

    /// Takes a buffer of its own, no larger than need be, and gives the one that it had.
    fn leave_buffer(&mut self) -> Vec<u8> {
        let own = self.compressed.clone();
        std::mem::replace(&mut self.compressed, own)
    }

    /// The buffer that held the message compressed.
    pub(super) fn into_buffer(self) -> Vec<u8> {
        self.compressed
    }

    /// Bytes of heap.
    pub(super) fn heap_bytes(&self) -> usize {
        let long = self.long.as_ref().map_or(0, |long| {
            let window = long.window.as_ref().map_or(0, Window::heap_bytes);
            size_of::<Long>() + INFLATER_BYTES + long.output.capacity() + window
        });
        self.compressed.capacity() + long
    }

    /// What this makes of a message that takes more and gets no permit is thrown away, and made again later.
    fn first_step(
        &mut self,
        mode: &mut Mode,
        pool: &mut InflatePool,
        shared: &mut Shared,
    ) -> Result<Inflated, ProtocolError> {
        let bound = self.bound(&shared.limits);
        let mut inflater = pool.inflater(mode);
        let (step, made) = pool.step(&mut inflater, &self.compressed, bound.room(0))?;
        bound.check(made.len() as u64)?;
        if step.whole {
            let whole = self.short(made, shared)?;
            if let Some(window) = mode.window_mut() {
                window.remember(&step, made);
            }
            pool.put(inflater);
            return Ok(Inflated::Whole(whole));
        }
        self.is_long = true;
        match pool.permit() {
            Some(permit) => {
                let mut long = self.begin_long(mode, inflater, permit);
                long.keep(&step, pool.made(&step), &bound, shared)?;
                self.long = Some(long);
            }
            None => pool.put(inflater),
        }
        Ok(Inflated::Part(work(&step)))
    }

    fn next_step(
        &mut self,
        mode: &mut Mode,
        pool: &mut InflatePool,
        shared: &mut Shared,
    ) -> Result<Inflated, ProtocolError> {
        let bound = self.bound(&shared.limits);
        let mut long = match self.long.take() {
            Some(long) => long,
            None => match pool.permit() {
                Some(permit) => self.begin_long(mode, pool.inflater(mode), permit),
                None => return Ok(Inflated::Part(0)),
            },
        };
        let rest = &self.compressed[long.read..];
        let room = bound.room(long.output.len() as u64);
        let (step, made) = pool.step(&mut long.inflater, rest, room)?;
        long.keep(&step, made, &bound, shared)?;
        if step.whole {
            if let (Some(window), Some(moved_on)) = (mode.window_mut(), long.window) {
                *window = moved_on;
            }
            pool.put(long.inflater);
            return long.output.finish().map(Inflated::Whole);
        }
        self.long = Some(long);
        Ok(Inflated::Part(work(&step)))
    }

    /// A message that one step has made.
    fn short(&self, made: &[u8], shared: &mut Shared) -> Result<Whole, ProtocolError> {
        let mut output = self.output();
        output.start_with(shared.take_fitting(made.len()));
        output.push(made, None)?;
        output.finish()
    }

    fn begin_long(&self, mode: &Mode, inflater: Inflater, permit: Permit) -> Box<Long> {
        Box::new(Long {
            inflater,
            read: 0,
            output: self.output(),
            window: mode.window().cloned(),
            _permit: permit,
        })
    }

    fn output(&self) -> Payload {
        if self.is_text {
            Payload::text()
        } else {
            Payload::binary()
        }
    }

    fn bound(&self, limits: &Limits) -> Bound {
        Bound::new(limits, (self.compressed.len() - TAIL.len()) as u64)
    }
}

impl Long {
    /// Takes over what a step has made.
    fn keep(
        &mut self,
        step: &Step,
        made: &[u8],
        bound: &Bound,
        shared: &mut Shared,
    ) -> Result<(), ProtocolError> {
        bound.check((self.output.len() + made.len()) as u64)?;
        self.read += step.read;
        self.output.make_room(made.len(), bound.most(), shared);
        self.output.push(made, None)?;
        if let Some(window) = &mut self.window {
            window.remember(step, made);
        }
        Ok(())
    }
}

/// Bytes that a message may inflate to.
#[derive(Debug)]
struct Bound {
    max_message: u64,
    /// What [`Limits::max_inflation`] makes of the message's compressed bytes.
    by_ratio: u64,
    max_inflation: u32,
}

/// Bytes of a message that may be inflated whatever they come of: a few are no bomb, and what is small or of one piece, as
/// an empty form or a blank picture, is compressed better than anything else.
const RATIO_FREE: u64 = 1 << 20;

impl Bound {
    fn new(limits: &Limits, compressed: u64) -> Self {
        let by_ratio = compressed.saturating_mul(limits.max_inflation.into());
        Self {
            max_message: limits.max_message,
            by_ratio: by_ratio.max(RATIO_FREE),
            max_inflation: limits.max_inflation,
        }
    }

    fn most(&self) -> u64 {
        self.max_message.min(self.by_ratio)
    }

    /// What a step may make of a message that has `made` bytes: enough to see that it is too long, and no more.
    fn room(&self, made: u64) -> u64 {
        self.most().saturating_sub(made).saturating_add(1)
    }

    fn check(&self, made: u64) -> Result<(), ProtocolError> {
        if made > self.max_message {
            return Err(ProtocolError::MessageTooBig {
                announced: made,
                limit: self.max_message,
            });
        }
        if made > self.by_ratio {
            return Err(ProtocolError::InflationTooHigh {
                limit: self.max_inflation,
            });
        }
        Ok(())
    }
}

/// See [`Inflated::Part`].
fn work(step: &Step) -> usize {
    step.made.max(step.read)
}

/// What a compressed frame that lies whole in the input has come to.
#[derive(Debug)]
pub(super) enum FrameInflated {
    Whole(Whole),
    /// The message goes on, and so much has been done: see [`Inflated::Part`].
    Begun(Inflating, usize),
}

/// Inflates the message at the front of the input, if it is one compressed frame, lies whole in the input and is short.
pub(super) fn inflate_frame(
    mode: &mut Mode,
    shared: &mut Shared,
    input: &mut Input<'_>,
) -> Result<Option<FrameInflated>, ProtocolError> {
    let Some(header) = short_frame(mode, shared, input)? else {
        return Ok(None);
    };
    input.take(header.header_len.into());
    let payload = input.take(header.payload_len as usize);
    let mut compressed = shared.pool().take_compressed();
    match header.mask {
        Some(key) => {
            corecast_simd::unmask_append(&mut compressed, payload, key, 0);
        }
        None => compressed.extend_from_slice(payload),
    }
    let mut inflating = Inflating::new(header.opcode, compressed);
    Ok(Some(match inflating.poll(mode, shared)? {
        Inflated::Whole(whole) => {
            shared.pool().give_compressed(inflating.into_buffer());
            FrameInflated::Whole(whole)
        }
        Inflated::Part(bytes) => {
            shared.pool().give_compressed(inflating.leave_buffer());
            FrameInflated::Begun(inflating, bytes)
        }
    }))
}

fn short_frame(
    mode: &Mode,
    shared: &Shared,
    input: &Input<'_>,
) -> Result<Option<Header>, ProtocolError> {
    if !mode.is_on() {
        return Ok(None);
    }
    let rest = input.rest();
    let Some(header) = Header::decode(rest)?.filter(|header| header.fin && header.rsv == RSV1)
    else {
        return Ok(None);
    };
    shared.check(&header, None, true)?;
    let after_header = rest.len() - usize::from(header.header_len);
    let whole = header.payload_len <= after_header.min(STEP_INPUT) as u64;
    Ok(whole.then_some(header))
}
