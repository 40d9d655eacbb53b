//! What is sent or ended beside the load.

use std::collections::HashMap;

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

    /// Ends a connection without further ado.
    pub(crate) fn hang_up(&mut self, slot: u32) {
        self.hang_ups.push(slot);
    }
}
