//! What a server says first: messages that are not of the run, such as a greeting or the answer to a login.

use std::time::Duration;

use corecast_protocol::ProtocolError;

use super::frames::{Control, Frame, FrameReader, take};
use super::links::{Driver, Links};
use crate::clock::nanos;
use crate::error::BenchError;
use crate::ring::Wait;

/// Greetings may take this long once all connections are open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Where a connection is in its greeting. Messages may have any type, length and content.
#[derive(Debug, Default)]
pub(crate) struct Greeting {
    /// Messages still to come.
    awaited: u64,
    /// Payload bytes of the current data frame still to come.
    frame_left: u64,
    /// It is the last frame of its message.
    last: bool,
    frames: FrameReader,
}

impl Greeting {
    /// Of so many messages.
    pub(crate) fn of(messages: u64) -> Self {
        Self {
            awaited: messages,
            ..Self::default()
        }
    }

    /// Whether more of it must come.
    #[inline]
    pub(crate) fn is_awaited(&self) -> bool {
        self.awaited > 0
    }

    /// Reads on in `input`, up to the end of the greeting at most. Returns a control frame that came meanwhile; `None` when
    /// all of the input was read, or the greeting is over. `deflate`: compression was agreed on.
    pub(crate) fn next(
        &mut self,
        input: &mut &[u8],
        deflate: bool,
    ) -> Result<Option<Control>, ProtocolError> {
        while self.is_awaited() {
            if self.frame_left > 0 || self.last {
                let here = self.frame_left.min(input.len() as u64);
                take(input, here as usize);
                self.frame_left -= here;
                if self.frame_left > 0 {
                    return Ok(None);
                }
                if std::mem::take(&mut self.last) {
                    self.awaited -= 1;
                    continue;
                }
            }
            match self.frames.next(input, deflate)? {
                Some(Frame::Data(header)) => {
                    self.frame_left = header.payload_len;
                    self.last = header.fin;
                }
                Some(Frame::Control(control)) => return Ok(Some(control)),
                None => return Ok(None),
            }
        }
        Ok(None)
    }
}

/// Goes on until no open connection awaits its greeting.
///
/// # Errors
/// When some do not come in time, or the ring fails.
pub(crate) fn await_all(links: &mut Links, driver: &mut impl Driver) -> Result<(), BenchError> {
    let clock = links.clock();
    let end = clock.now() + nanos(PATIENCE);
    loop {
        let count = driver.not_greeted();
        if count == 0 {
            return Ok(());
        }
        if clock.now() >= end {
            return Err(BenchError::runtime(format!(
                "{count} connections have not received as many messages as --skip says within {} s of being open",
                PATIENCE.as_secs()
            )));
        }
        links.turn(Wait::AtMost(clock.until(end)), driver)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of the stream when two messages have been skipped, and what came meanwhile.
    fn skip(stream: &[u8], piece: usize) -> (Vec<u8>, Vec<Control>) {
        let mut greeting = Greeting::of(2);
        let (mut rest, mut controls) = (Vec::new(), Vec::new());
        for mut input in stream.chunks(piece) {
            while let Some(control) = greeting.next(&mut input, false).unwrap() {
                controls.push(control);
            }
            assert!(input.is_empty() || !greeting.is_awaited());
            rest.extend_from_slice(input);
        }
        assert!(!greeting.is_awaited());
        (rest, controls)
    }

    #[test]
    fn messages_of_any_kind_are_skipped_in_any_split() {
        let stream = [
            &b"\x01\x05hello\x89\x02hi\x00\x00\x80\x06 there"[..],
            b"\x82\x00",
            b"\x82\x03run",
        ]
        .concat();
        for piece in 1..=stream.len() {
            let (rest, controls) = skip(&stream, piece);
            assert_eq!(rest, b"\x82\x03run", "in pieces of {piece}");
            assert_eq!(controls, [Control::Ping(b"hi".to_vec())]);
        }
    }

    #[test]
    fn a_masked_greeting_is_an_error() {
        let mut greeting = Greeting::of(1);
        assert!(greeting.next(&mut &b"\x81\x81abcd"[..], false).is_err());
    }
}
