//! Frames that a server sends, judged by the client's rules: no mask, no reserved bits
//! (RFC 6455 §5.1, §5.2), but for RSV1 where compression was agreed on (RFC 7692 §6). Input may be cut anywhere.

use corecast_protocol::{Header, Opcode, ProtocolError, decode_close, frame};

/// Where a connection is in its stream of frame headers.
#[derive(Debug, Default)]
pub(crate) struct FrameReader {
    /// A header or control frame that is not complete yet; empty otherwise.
    partial: Vec<u8>,
}

/// What stands next in the stream.
#[derive(Debug)]
pub(crate) enum Frame {
    /// A data frame, whose payload follows in the input. With RSV1 it begins a compressed message.
    Data(Header),
    /// A whole control frame.
    Control(Control),
}

/// A control frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// A ping, with the payload that its pong must carry.
    Ping(Vec<u8>),
    /// A pong, which nobody asked for; allowed (§5.5.3).
    Pong,
    /// The closing handshake: the code and reason as text.
    Close(String),
}

impl FrameReader {
    /// The next frame, taken off the input; call it only where a frame begins. `None`: all of the
    /// input was read, and more is needed. `deflate`: compression was agreed on.
    #[inline]
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        deflate: bool,
    ) -> Result<Option<Frame>, ProtocolError> {
        let Some(header) = self.header(input, deflate)? else {
            return Ok(None);
        };
        if header.opcode.is_control() {
            return Ok(self.control(&header, input)?.map(Frame::Control));
        }
        Ok(Some(Frame::Data(header)))
    }

    /// The next frame's header, taken off the input; control frames stay until they are complete.
    #[inline]
    fn header(
        &mut self,
        input: &mut &[u8],
        deflate: bool,
    ) -> Result<Option<Header>, ProtocolError> {
        if self.partial.is_empty() {
            if let Some(header) = Header::decode(input)? {
                take(input, usize::from(header.header_len));
                return judged(header, deflate).map(Some);
            }
            self.partial.extend_from_slice(input);
            *input = &[];
            return Ok(None);
        }
        self.split_header(input, deflate)
    }

    /// A header of which an earlier receive brought the first bytes.
    #[cold]
    fn split_header(
        &mut self,
        input: &mut &[u8],
        deflate: bool,
    ) -> Result<Option<Header>, ProtocolError> {
        loop {
            if let Some(header) = Header::decode(&self.partial)? {
                let header = judged(header, deflate)?;
                if !header.opcode.is_control() {
                    self.partial.clear();
                }
                return Ok(Some(header));
            }
            let Some((&byte, rest)) = input.split_first() else {
                return Ok(None);
            };
            self.partial.push(byte);
            *input = rest;
        }
    }

    /// The control frame after `header`; `None` when its payload is not here yet. Its bytes then
    /// wait in `partial`, header first.
    #[cold]
    fn control(
        &mut self,
        header: &Header,
        input: &mut &[u8],
    ) -> Result<Option<Control>, ProtocolError> {
        if self.partial.is_empty() {
            self.partial.extend_from_slice(&header.encode());
        }
        let whole = usize::from(header.header_len) + header.payload_len as usize;
        let missing = whole.saturating_sub(self.partial.len()).min(input.len());
        self.partial.extend_from_slice(take(input, missing));
        if self.partial.len() < whole {
            return Ok(None);
        }
        let payload = &self.partial[usize::from(header.header_len)..whole];
        debug_assert!(payload.len() <= frame::MAX_CONTROL_PAYLOAD);
        let control = match header.opcode {
            Opcode::Ping => Control::Ping(payload.to_vec()),
            Opcode::Pong => Control::Pong,
            _ => Control::Close(match decode_close(payload)? {
                None => "without a code".to_owned(),
                Some((code, "")) => code.to_string(),
                Some((code, reason)) => format!("{code} {reason:?}"),
            }),
        };
        self.partial.clear();
        Ok(Some(control))
    }
}

/// Takes the first `n` bytes off `input`.
#[inline]
pub(super) fn take<'a>(input: &mut &'a [u8], n: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(n);
    *input = rest;
    taken
}

#[inline]
fn judged(header: Header, deflate: bool) -> Result<Header, ProtocolError> {
    let begins_message = matches!(header.opcode, Opcode::Text | Opcode::Binary);
    let allowed = if deflate && begins_message {
        frame::RSV1
    } else {
        0
    };
    if header.rsv & !allowed != 0 {
        return Err(ProtocolError::ReservedBits(header.rsv));
    }
    if header.mask.is_some() {
        return Err(ProtocolError::MaskForbidden);
    }
    Ok(header)
}
