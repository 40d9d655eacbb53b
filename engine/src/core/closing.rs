//! How a connection ends: the closing handshake, the FIN behind the last byte, the slot that is free again.

use std::net::Shutdown;

use corecast_protocol::CloseCode;
use corecast_protocol::frame::Opcode;

use super::app::Ended;
use super::connection::{Flags, State};
use super::hub::Hub;

impl Hub {
    /// Starts the closing handshake (RFC 6455 §7.1.2).
    pub(crate) fn begin_close(&mut self, index: u32, code: CloseCode, reason: &str) {
        if self.conns[index].state == State::Open {
            self.push_close(index, Some(code), reason);
            self.enter(index, State::Closing);
            // The peer's answer has to be heard.
            self.resume(index);
        }
    }

    /// The peer's Close frame: answers it if ours has not been sent, and ends (§5.5.1).
    pub(crate) fn peer_closed(&mut self, index: u32, given: Option<(CloseCode, &str)>) {
        let (code, reason) = given.unwrap_or((CloseCode::NO_STATUS, ""));
        if self.conns[index].state == State::Open {
            self.push_close(index, given.map(|(code, _)| code), "");
        }
        self.end(index, code, reason, true);
        self.finish(index);
    }

    /// Fails the connection (§7.1.7): a Close frame that says why, if none was sent.
    pub(crate) fn fail(&mut self, index: u32, code: CloseCode, reason: &str) {
        if self.conns[index].state == State::Open {
            self.push_close(index, Some(code), reason);
        }
        self.end(index, code, reason, false);
        self.finish(index);
    }

    /// Queues a Close frame; `None` sends one without a code. Nothing is published to the connection any more.
    fn push_close(&mut self, index: u32, code: Option<CloseCode>, reason: &str) {
        self.unsubscribe_all(index);
        let mut payload = Vec::new();
        if let Some(code) = code {
            corecast_protocol::encode_close(&mut payload, code, reason);
        }
        self.push_control(index, Opcode::Close, &payload);
    }

    /// Reads no more; sends what is queued, then our FIN.
    pub(crate) fn finish(&mut self, index: u32) {
        if self.conns[index].state < State::Finishing {
            let conn = &mut self.conns[index];
            conn.held = None;
            conn.receiver = Default::default();
            self.enter(index, State::Finishing);
            self.lists.finishing.push(index);
            self.lists.reading.push(index);
        }
    }

    /// The peer is gone, or out of time: ends without another word.
    pub(crate) fn kill(&mut self, index: u32) {
        self.end(index, CloseCode::ABNORMAL, "", false);
        let conn = &mut self.conns[index];
        if matches!(conn.state, State::Free | State::Dead) {
            return;
        }
        conn.held = None;
        conn.receiver = Default::default();
        conn.state = State::Dead;
        self.wheel.clear(&mut self.conns, index);
        if self.conns[index].operations > 0 {
            // A reader that waits until input is wanted must learn of it.
            self.lists.reading.push(index);
            // Makes the operations in flight complete. Fails when the peer is gone already: they complete then too.
            let _ = self.conns[index].any_socket().shutdown(Shutdown::Both);
        }
        self.free_if_done(index);
    }

    /// The application's last word on a connection, once; its callback runs later in the turn.
    fn end(&mut self, index: u32, code: CloseCode, reason: &str, clean: bool) {
        let conn = &mut self.conns[index];
        if !conn.flags.has(Flags::OPENED) {
            return;
        }
        tracing::debug!(code = u16::from(code), reason, clean, "connection ended");
        conn.flags.set(Flags::OPENED, false);
        // Keeps the slot until the callback has run.
        conn.operations += 1;
        self.unsubscribe_all(index);
        self.compression.leave(index);
        self.lists.ended.push_back((
            index,
            Ended {
                code,
                reason: reason.to_owned(),
                clean,
            },
        ));
    }

    /// One operation less holds the slot.
    pub(crate) fn operation_done(&mut self, index: u32) {
        self.conns[index].operations -= 1;
        self.free_if_done(index);
    }

    fn free_if_done(&mut self, index: u32) {
        let conn = &self.conns[index];
        if conn.state == State::Dead && conn.operations == 0 {
            let surplus = conn.flags.has(Flags::SURPLUS);
            self.conns.remove(index);
            self.stats.closed(surplus);
            self.surplus -= usize::from(surplus);
            if let Some(gate) = &mut self.gate {
                gate.leave(index);
            }
        }
    }

    /// After a flush: sends our FIN where all output is gone.
    pub(crate) fn finish_writing(&mut self) {
        for index in std::mem::take(&mut self.lists.finishing) {
            let conn = &self.conns[index];
            if conn.state != State::Finishing {
                continue;
            }
            if conn.backlog.is_some() {
                // Comes back when that has been sent.
                continue;
            }
            if conn.flags.has(Flags::ENDED) {
                self.kill(index);
                continue;
            }
            match conn.any_socket().shutdown(Shutdown::Write) {
                Ok(()) => self.conns[index].state = State::Lingering,
                Err(_) => self.kill(index),
            }
        }
    }
}
