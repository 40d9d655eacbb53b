//! What is sent or ended beside the load.

use std::collections::HashMap;

use corecast_protocol::{CloseCode, Opcode, encode_client, encode_close_client};

use crate::client::frames::Control;

/// Mask key of control frames: any will do, they are few.
const CONTROL_KEY: [u8; 4] = [0x1f, 0x8b, 0x5c, 0xa7];

/// Bytes of pongs that wait on one connection, at most.
const MAX_PONGS: usize = 4096;

/// What a driver wants sent or ended; done at the end of the turn.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub(super) frames: Vec<(u32, Vec<u8>)>,
    /// By connection, one behind the other.
    pub(super) pongs: HashMap<u32, Vec<u8>>,
    pub(super) hang_ups: Vec<u32>,
}

impl Outbox {
    /// Sends bytes of their own, such as a control frame, when nothing else is under way.
    pub(crate) fn send(&mut self, slot: u32, frame: Vec<u8>) {
        self.frames.push((slot, frame));
    }

    /// Answers a ping. Of pongs that cannot be sent only the latest is owed (RFC 6455 §5.5.3): a server that sends pings and does not
    /// read must not make these many.
    pub(crate) fn pong(&mut self, slot: u32, frame: &[u8]) {
        let waiting = self.pongs.entry(slot).or_default();
        if waiting.len() + frame.len() > MAX_PONGS {
            waiting.clear();
        }
        waiting.extend_from_slice(frame);
    }

    /// Says goodbye (RFC 6455 §7.1.2).
    pub(crate) fn close(&mut self, slot: u32) {
        let mut frame = Vec::new();
        encode_close_client(&mut frame, CloseCode::NORMAL, "", CONTROL_KEY);
        self.send(slot, frame);
    }

    /// Does what a control frame of the server asks for.
    ///
    /// # Errors
    /// The server closes the connection, with its code.
    pub(crate) fn heed(&mut self, slot: u32, control: Control) -> Result<(), String> {
        match control {
            Control::Ping(payload) => {
                let mut pong = Vec::new();
                encode_client(&mut pong, Opcode::Pong, &payload, CONTROL_KEY);
                self.pong(slot, &pong);
                Ok(())
            }
            Control::Pong => Ok(()),
            Control::Close(code) => Err(format!("the server closed the connection: {code}")),
        }
    }

    /// Ends a connection without further ado.
    pub(crate) fn hang_up(&mut self, slot: u32) {
        self.hang_ups.push(slot);
    }
}
