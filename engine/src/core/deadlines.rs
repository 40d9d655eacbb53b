//! Input, deadlines and the state that ties them together.

use std::time::Duration;

use corecast_protocol::CloseCode;

use super::connection::{Flags, State};
use super::hub::Hub;
use super::timers::ticks;

impl Hub {
    /// Enters a state, whose deadline counts from now.
    pub(crate) fn enter(&mut self, index: u32, state: State) {
        let now = self.wheel.now();
        let conn = &mut self.conns[index];
        conn.state = state;
        conn.heard = now;
        self.set_timer(index);
    }

    /// Puts a connection under its nearest deadline.
    pub(crate) fn set_timer(&mut self, index: u32) {
        match self.deadline(index) {
            Some(due) => self.wheel.set(&mut self.conns, index, due),
            None => self.wheel.clear(&mut self.conns, index),
        }
    }

    fn deadline(&self, index: u32) -> Option<u32> {
        let conn = &self.conns[index];
        let after = |limit: Duration| conn.heard.saturating_add(ticks(limit));
        match conn.state {
            State::Free | State::Dead => None,
            State::Handshake => Some(after(self.config.handshake_timeout)),
            State::Open => {
                let idle = self.config.idle_timeout.map(after);
                let ping = self.config.ping_interval.map(|interval| {
                    if conn.flags.has(Flags::PINGED) {
                        self.wheel.now().saturating_add(ticks(interval))
                    } else {
                        after(interval)
                    }
                });
                idle.into_iter().chain(ping).min()
            }
            State::Closing | State::Finishing | State::Lingering => {
                Some(after(self.config.close_timeout))
            }
        }
    }

    /// A connection's entry in the wheel came due.
    pub(crate) fn timer_fired(&mut self, index: u32) {
        let now = self.wheel.now();
        let silent = now.saturating_sub(self.conns[index].heard);
        let over = |limit: Duration| silent >= ticks(limit);
        match self.conns[index].state {
            State::Free | State::Dead => return,
            State::Handshake if over(self.config.handshake_timeout) => {
                return self.handshake_timed_out(index);
            }
            State::Open if self.config.idle_timeout.is_some_and(over) => {
                return self.begin_close(index, CloseCode::GOING_AWAY, "idle timeout");
            }
            State::Open if self.config.ping_interval.is_some_and(over) => {
                self.ping(index, &[]);
                self.conns[index].flags.set(Flags::PINGED, true);
            }
            State::Closing | State::Finishing | State::Lingering
                if over(self.config.close_timeout) =>
            {
                return self.kill(index);
            }
            _ => {}
        }
        self.set_timer(index);
    }

    pub(crate) fn pause(&mut self, index: u32) {
        // In a later state the peer's Close frame has to be heard.
        if self.conns[index].is_open() {
            let conn = &mut self.conns[index];
            conn.flags.set(Flags::PAUSED, true);
            // Others are waiting for its place.
            conn.receiver.suspend_inflating();
            self.lists.reading.push(index);
        }
    }

    pub(crate) fn resume(&mut self, index: u32) {
        self.conns[index].flags.set(Flags::PAUSED, false);
        self.make_ready(index);
        self.lists.reading.push(index);
    }

    /// Queues a connection whose held input may be processed.
    pub(crate) fn make_ready(&mut self, index: u32) {
        let conn = &mut self.conns[index];
        let may = matches!(conn.state, State::Open | State::Closing)
            && conn.held.is_some()
            && !conn.flags.has(Flags::PAUSED)
            && !conn.flags.has(Flags::READY);
        if may {
            conn.flags.set(Flags::READY, true);
            self.lists.ready.push_back(index);
        }
    }
}
