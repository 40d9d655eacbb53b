//! Frames and messages that do not lie whole in one input.

use super::Input;
use super::inflating::{Inflated, Inflating};
use super::inflation::Mode;
use super::payload::{Payload, Whole};
use super::shared::{Progress, Shared, begins_compressed};
use crate::deflate::TAIL;
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, Opcode};

/// A frame or message in progress.
#[derive(Debug)]
pub(super) struct Assembly {
    /// The first `head_len` bytes of a header that is not whole.
    head: [u8; MAX_HEADER_LEN],
    head_len: u8,
    /// The frame whose payload is arriving.
    frame: Option<Frame>,
    /// The message whose fragments are arriving.
    message: Option<Message>,
    /// The message that has arrived, and is being inflated. Nothing is read until that is done.
    inflating: Option<Inflating>,
    /// Whether messages may be compressed, and what they refer to.
    mode: Mode,
    /// The payload of the control frame that is arriving or is lent, `control_len` bytes.
    control: [u8; MAX_CONTROL_PAYLOAD],
    control_len: u8,
    closed: bool,
}

/// A frame whose header has been read.
#[derive(Debug, Clone, Copy)]
struct Frame {
    fin: bool,
    opcode: Opcode,
    mask: Option<[u8; 4]>,
    /// Key byte (0 to 3) that masks the next payload byte.
    phase: usize,
    /// Payload bytes still to come.
    remaining: u64,
}

/// A message so far.
#[derive(Debug)]
struct Message {
    opcode: Opcode,
    is_compressed: bool,
    /// As it came: text that is compressed is not judged here.
    payload: Payload,
    /// Data frames so far.
    fragments: u32,
}

/// What an assembly hands out.
#[derive(Debug)]
pub(super) enum Ready {
    Message(Whole),
    /// More follow.
    Fragment,
    /// See [`Inflated::Part`].
    Inflating(usize),
    /// Its payload is [`Assembly::control`].
    Control(Opcode),
}

impl Assembly {
    /// Nothing in progress yet.
    pub(super) fn new(mode: Mode) -> Self {
        Self {
            head: [0; MAX_HEADER_LEN],
            head_len: 0,
            frame: None,
            message: None,
            inflating: None,
            mode,
            control: [0; MAX_CONTROL_PAYLOAD],
            control_len: 0,
            closed: false,
        }
    }

    /// A message that is being inflated.
    pub(super) fn inflating(mode: Mode, inflating: Inflating) -> Self {
        Self {
            inflating: Some(inflating),
            ..Self::new(mode)
        }
    }

    /// Reads on until a frame is whole, or the input is used up; or goes on inflating.
    pub(super) fn poll(
        &mut self,
        shared: &mut Shared,
        input: &mut Input<'_>,
    ) -> Result<Option<Ready>, ProtocolError> {
        if let Some(inflating) = self.inflating.take() {
            return self.inflate(inflating, shared).map(Some);
        }
        let mut frame = match self.frame.take() {
            Some(frame) => frame,
            None => match self.read_header(shared, input)? {
                Some(frame) => frame,
                None => return Ok(None),
            },
        };
        self.read_payload(&mut frame, shared, input)?;
        if frame.remaining > 0 {
            self.frame = Some(frame);
            return Ok(None);
        }
        self.end_frame(&frame, shared).map(Some)
    }

    /// Whether no part of a frame or message is held.
    pub(super) fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none() && !self.is_inflating()
    }

    /// Whether the next poll goes on inflating, with or without input.
    pub(super) fn is_inflating(&self) -> bool {
        self.inflating.is_some()
    }

    /// Gives up what has been inflated of a long message.
    pub(super) fn suspend_inflating(&mut self) {
        if let Some(inflating) = &mut self.inflating {
            inflating.suspend();
        }
    }

    /// Whether messages may be compressed, and what they refer to: for when the assembly is not needed any more.
    pub(super) fn take_mode(&mut self) -> Mode {
        std::mem::take(&mut self.mode)
    }

    /// Whether the frame handed out last was a Close.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The payload of the control frame handed out last.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..self.control_len.into()]
    }

    /// Bytes of heap: this box, the message's buffers, and what later messages may refer to.
    pub(super) fn heap_bytes(&self) -> usize {
        let message = self.message.as_ref();
        let inflating = self.inflating.as_ref();
        size_of::<Self>()
            + message.map_or(0, |message| message.payload.capacity())
            + inflating.map_or(0, Inflating::heap_bytes)
            + self.mode.heap_bytes()
    }

    /// `None`: the header is not whole yet, and the input is used up.
    fn read_header(
        &mut self,
        shared: &Shared,
        input: &mut Input<'_>,
    ) -> Result<Option<Frame>, ProtocolError> {
        let held = usize::from(self.head_len);
        let seen = input.rest();
        let added = seen.len().min(MAX_HEADER_LEN - held);
        self.head[held..held + added].copy_from_slice(&seen[..added]);
        let Some(header) = Header::decode(&self.head[..held + added])? else {
            self.head_len += added as u8;
            input.take(added);
            return Ok(None);
        };
        input.take(usize::from(header.header_len) - held);
        self.head_len = 0;
        let progress = self.message.as_ref().map(Message::progress);
        shared.check(&header, progress, self.mode.is_on())?;
        Ok(Some(self.begin_frame(&header)))
    }

    fn begin_frame(&mut self, header: &Header) -> Frame {
        if header.opcode.is_control() {
            self.control_len = 0;
        } else {
            let message = self.message.get_or_insert_with(|| Message::new(header));
            message.fragments += 1;
        }
        Frame {
            fin: header.fin,
            opcode: header.opcode,
            mask: header.mask,
            phase: 0,
            remaining: header.payload_len,
        }
    }

    fn read_payload(
        &mut self,
        frame: &mut Frame,
        shared: &mut Shared,
        input: &mut Input<'_>,
    ) -> Result<(), ProtocolError> {
        let wanted = usize::try_from(frame.remaining).unwrap_or(usize::MAX);
        let piece = input.take(wanted);
        if let Some(message) = self.message.as_mut().filter(|_| !frame.opcode.is_control()) {
            message.push(piece, frame, shared)?;
        } else {
            let start = usize::from(self.control_len);
            self.control[start..start + piece.len()].copy_from_slice(piece);
            self.control_len += piece.len() as u8;
        }
        frame.phase = (frame.phase + piece.len()) % 4;
        frame.remaining -= piece.len() as u64;
        Ok(())
    }

    fn end_frame(&mut self, frame: &Frame, shared: &mut Shared) -> Result<Ready, ProtocolError> {
        if frame.opcode.is_control() {
            if let Some(key) = frame.mask {
                corecast_simd::unmask(&mut self.control[..self.control_len.into()], key, 0);
            }
            self.closed = frame.opcode == Opcode::Close;
            return Ok(Ready::Control(frame.opcode));
        }
        let Some(message) = self.message.take_if(|_| frame.fin) else {
            return Ok(Ready::Fragment);
        };
        match message.payload.finish()? {
            Whole::Binary(compressed) if message.is_compressed => {
                self.inflate(Inflating::new(message.opcode, compressed), shared)
            }
            whole => Ok(Ready::Message(whole)),
        }
    }

    fn inflate(
        &mut self,
        mut inflating: Inflating,
        shared: &mut Shared,
    ) -> Result<Ready, ProtocolError> {
        match inflating.poll(&mut self.mode, shared)? {
            Inflated::Whole(whole) => {
                shared.recycle(inflating.into_buffer());
                Ok(Ready::Message(whole))
            }
            Inflated::Part(bytes) => {
                self.inflating = Some(inflating);
                Ok(Ready::Inflating(bytes))
            }
        }
    }
}

impl Message {
    /// The message that begins with this frame.
    fn new(header: &Header) -> Self {
        let is_compressed = begins_compressed(header);
        let payload = if header.opcode == Opcode::Text && !is_compressed {
            Payload::text()
        } else {
            Payload::binary()
        };
        Self {
            opcode: header.opcode,
            is_compressed,
            payload,
            fragments: 0,
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes: self.payload.len() as u64,
            fragments: self.fragments,
            compressed: self.is_compressed,
        }
    }

    /// Appends the next piece of `frame`.
    fn push(
        &mut self,
        piece: &[u8],
        frame: &Frame,
        shared: &mut Shared,
    ) -> Result<(), ProtocolError> {
        if piece.is_empty() {
            return Ok(());
        }
        let ceiling = self.ceiling(frame, shared);
        self.payload.make_room(piece.len(), ceiling, shared);
        let mask = frame.mask.map(|key| (key, frame.phase));
        self.payload.push(piece, mask)
    }

    /// Bytes that the payload's buffer will hold at most: in the last frame that is known.
    fn ceiling(&self, frame: &Frame, shared: &Shared) -> u64 {
        let tail = if self.is_compressed { TAIL.len() } else { 0 } as u64;
        match (frame.fin, self.is_compressed) {
            (true, _) => self.payload.len() as u64 + frame.remaining + tail,
            (false, true) => shared.limits.for_compressed().max_message,
            (false, false) => shared.limits.max_message,
        }
    }
}
