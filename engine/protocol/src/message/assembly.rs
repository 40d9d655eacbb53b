//! Frames and messages that do not lie whole in one input.

use corecast_simd::TextBuf;

use super::Input;
use super::shared::{Progress, Shared};
use crate::error::ProtocolError;
use crate::frame::{Header, MAX_CONTROL_PAYLOAD, MAX_HEADER_LEN, Opcode};

/// Smallest buffer that is worth allocating, so that a dribbled message does not start with a
/// series of tiny ones. Never more than the frame still needs.
const MIN_BUFFER: usize = 64;

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

/// The data of a message so far.
#[derive(Debug)]
struct Message {
    data: Data,
    /// Bytes that `data` can hold without growing.
    capacity: usize,
    /// Data frames so far.
    fragments: u32,
}

#[derive(Debug)]
enum Data {
    Text(TextBuf),
    Binary(Vec<u8>),
}

/// What an assembly hands out.
#[derive(Debug)]
pub(super) enum Ready {
    Text(String),
    Binary(Vec<u8>),
    /// More follow.
    Fragment,
    /// Its payload is [`Assembly::control`].
    Control(Opcode),
}

impl Default for Assembly {
    fn default() -> Self {
        Self {
            head: [0; MAX_HEADER_LEN],
            head_len: 0,
            frame: None,
            message: None,
            control: [0; MAX_CONTROL_PAYLOAD],
            control_len: 0,
            closed: false,
        }
    }
}

impl Assembly {
    /// Reads on until a frame is whole, or the input is used up.
    pub(super) fn poll(
        &mut self,
        shared: &mut Shared,
        input: &mut Input<'_>,
    ) -> Result<Option<Ready>, ProtocolError> {
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
        self.end_frame(&frame).map(Some)
    }

    /// Whether no part of a frame or message is held.
    pub(super) fn is_empty(&self) -> bool {
        self.head_len == 0 && self.frame.is_none() && self.message.is_none()
    }

    /// Whether the frame handed out last was a Close.
    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// The payload of the control frame handed out last.
    pub(super) fn control(&self) -> &[u8] {
        &self.control[..self.control_len.into()]
    }

    /// Bytes of heap: this box and the message's buffer.
    pub(super) fn heap_bytes(&self) -> usize {
        let message = self.message.as_ref().map_or(0, |message| message.capacity);
        size_of::<Self>() + message
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
        shared.check(&header, self.message.as_ref().map(Message::progress))?;
        Ok(Some(self.begin_frame(&header)))
    }

    fn begin_frame(&mut self, header: &Header) -> Frame {
        if header.opcode.is_control() {
            self.control_len = 0;
        } else {
            let message = self
                .message
                .get_or_insert_with(|| Message::new(header.opcode));
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

    fn end_frame(&mut self, frame: &Frame) -> Result<Ready, ProtocolError> {
        if frame.opcode.is_control() {
            if let Some(key) = frame.mask {
                corecast_simd::unmask(&mut self.control[..self.control_len.into()], key, 0);
            }
            self.closed = frame.opcode == Opcode::Close;
            return Ok(Ready::Control(frame.opcode));
        }
        match self.message.take_if(|_| frame.fin) {
            Some(message) => message.finish(),
            None => Ok(Ready::Fragment),
        }
    }
}

impl Message {
    fn new(opcode: Opcode) -> Self {
        let data = match opcode {
            Opcode::Text => Data::Text(TextBuf::default()),
            _ => Data::Binary(Vec::new()),
        };
        Self {
            data,
            capacity: 0,
            fragments: 0,
        }
    }

    fn len(&self) -> usize {
        match &self.data {
            Data::Text(text) => text.len(),
            Data::Binary(bytes) => bytes.len(),
        }
    }

    fn progress(&self) -> Progress {
        Progress {
            bytes: self.len() as u64,
            fragments: self.fragments,
        }
    }

    /// Appends the next piece of `frame`, unmasked; text fails at the first byte that cannot
    /// be UTF-8 any more (§8.1).
    fn push(
        &mut self,
        piece: &[u8],
        frame: &Frame,
        shared: &mut Shared,
    ) -> Result<(), ProtocolError> {
        if piece.is_empty() {
            return Ok(());
        }
        self.make_room(piece.len(), frame, shared);
        let mask = frame.mask.map(|key| (key, frame.phase));
        match &mut self.data {
            Data::Text(text) => text
                .push(piece, mask)
                .map_err(|_| ProtocolError::InvalidUtf8),
            Data::Binary(bytes) => {
                match mask {
                    Some((key, phase)) => {
                        corecast_simd::unmask_append(bytes, piece, key, phase);
                    }
                    None => bytes.extend_from_slice(piece),
                }
                Ok(())
            }
        }
    }

    /// Makes room for `more` bytes by doubling: what is held follows what has arrived, never
    /// what a header announces. The last frame's announcement is a ceiling.
    fn make_room(&mut self, more: usize, frame: &Frame, shared: &mut Shared) {
        if self.capacity == 0 {
            self.start_with(shared.take_spare(more));
        }
        let len = self.len();
        let needed = len + more;
        if needed <= self.capacity {
            return;
        }
        let ceiling = if frame.fin {
            len as u64 + frame.remaining
        } else {
            shared.limits.max_message
        };
        let ceiling = usize::try_from(ceiling).unwrap_or(usize::MAX);
        let doubled = (self.capacity * 2).max(MIN_BUFFER);
        self.capacity = needed.max(doubled.min(ceiling));
        match &mut self.data {
            Data::Text(text) => text.reserve(self.capacity - len),
            Data::Binary(bytes) => bytes.reserve_exact(self.capacity - len),
        }
    }

    fn start_with(&mut self, buffer: Vec<u8>) {
        self.capacity = buffer.capacity();
        match &mut self.data {
            Data::Text(text) => *text = TextBuf::with_buffer(buffer),
            Data::Binary(bytes) => *bytes = buffer,
        }
    }

    fn finish(self) -> Result<Ready, ProtocolError> {
        match self.data {
            Data::Text(text) => match text.finish() {
                Ok(text) => Ok(Ready::Text(text)),
                Err(_) => Err(ProtocolError::InvalidUtf8),
            },
            Data::Binary(bytes) => Ok(Ready::Binary(bytes)),
        }
    }
}
