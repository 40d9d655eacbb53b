//! How a connection begins: whether it may stay, the bytes of its request, and the answer.

use std::panic::{AssertUnwindSafe, catch_unwind};

use corecast_protocol::Receiver;
use corecast_protocol::handshake::{
    HeaderSlots, Parsed, Refusal, Request, is_head_method, may_end_head, parse_request,
};

use super::addresses::Key;
use super::app::Decision;
use super::compression::{Wire, inflation};
use super::connection::{Flags, State};
use super::hub::Hub;
use super::slab::ConnId;
use super::timers::TICK;
use super::{Core, SURPLUS_CONNECTIONS};
use crate::transport::ring::Chunk;
use crate::transport::socket::Socket;

/// The memory for responses stays from one to the next up to this size: more than any refusal or upgrade needs, less than
/// a page may.
const RESPONSE_KEPT: usize = 4 << 10;

/// Accepting.
impl Core {
    /// Takes a new connection in. `None` when there is no place for it at all.
    pub(super) fn accept(&mut self, socket: Socket) -> Option<ConnId> {
        let standing = self.standing(&socket);
        let hub = &mut self.hub;
        let surplus = !matches!(standing, Standing::Within(_));
        match standing {
            Standing::Within(_) => {}
            Standing::Limited => hub.stats.limited.add(1),
            Standing::Surplus | Standing::Unwanted => hub.stats.refused.add(1),
        }
        let place = match standing {
            Standing::Within(_) => true,
            Standing::Surplus | Standing::Limited => hub.surplus < SURPLUS_CONNECTIONS,
            Standing::Unwanted => false,
        };
        let now = hub.wheel.now();
        let id = place.then(|| hub.conns.insert(socket, now)).flatten();
        let Some(id) = id else {
            if let Standing::Within(key) = standing {
                hub.stats.closed(false);
                hub.stats.refused.add(1);
                if let (Some(key), Some(gate)) = (key, &hub.gate) {
                    gate.turn_away(key);
                }
            }
            return None;
        };
        if surplus {
            hub.surplus += 1;
        } else {
            hub.stats.accepted.add(1);
        }
        if let (Standing::Within(Some(key)), Some(gate)) = (standing, &mut hub.gate) {
            gate.enter(id.index, key);
        }
        let flags = &mut hub.conns[id.index].flags;
        flags.set(Flags::SURPLUS, surplus);
        flags.set(Flags::LIMITED, matches!(standing, Standing::Limited));
        hub.set_timer(id.index);
        hub.lists.reading.push(id.index);
        Some(id)
    }

    /// Whether a new connection may stay. One that may is counted in.
    fn standing(&mut self, socket: &Socket) -> Standing {
        let hub = &mut self.hub;
        if hub.closed {
            return Standing::Unwanted;
        }
        if hub.leaving || !hub.stats.count_in() {
            return Standing::Surplus;
        }
        let Some(gate) = &mut hub.gate else {
            return Standing::Within(None);
        };
        let now = self.started + TICK * hub.wheel.now();
        let admitted = socket.peer_ip().map(|ip| gate.admit(ip, now));
        if let Some(Some(key)) = admitted {
            return Standing::Within(Some(key));
        }
        hub.stats.closed(false);
        match admitted {
            Some(_) => Standing::Limited,
            // Gone again.
            None => Standing::Unwanted,
        }
    }
}

/// Whether a new connection may stay.
#[derive(Clone, Copy)]
enum Standing {
    /// With its address, where addresses count.
    Within(Option<Key>),
    /// Past the limit of all connections, or the server is on its way out.
    Surplus,
    /// Past the limits of its address.
    Limited,
    /// Not even to be told so.
    Unwanted,
}

/// The request.
impl Core {
    /// Bytes of a request head.
    pub(super) fn on_head(&mut self, index: u32, bytes: &mut [u8], chunk: Option<Chunk>) {
        let Some(mut held) = self.hub.conns[index].held.take() else {
            let consumed = self.handshake(index, bytes);
            if self.hub.conns[index].state == State::Handshake {
                self.hub.conns[index]
                    .held
                    .get_or_insert_default()
                    .append(bytes);
            } else if consumed < bytes.len() {
                let chunk = chunk.map(|chunk| chunk.skip(consumed));
                self.on_bytes(index, &mut bytes[consumed..], chunk);
            }
            return;
        };
        held.append(bytes);
        let limits = &self.hub.config.head;
        if !may_end_head(held.rest(), bytes.len(), limits) {
            self.hub.conns[index].held = Some(held);
            return;
        }
        let consumed = self.handshake(index, held.rest());
        if self.hub.conns[index].state == State::Handshake {
            self.hub.conns[index].held = Some(held);
        } else if consumed < held.rest().len() {
            self.on_bytes(index, &mut held.rest()[consumed..], None);
        }
    }

    /// Answers a request if its head is whole. Gives the head's length.
    fn handshake(&mut self, index: u32, bytes: &[u8]) -> usize {
        #[cfg(test)]
        {
            self.heads_parsed += 1;
        }
        let mut slots = HeaderSlots::new();
        let limits = self.hub.config.head;
        match parse_request(bytes, &mut slots, &limits) {
            Ok(Parsed::Partial) => 0,
            Ok(Parsed::Complete(request, len)) => {
                if self.hub.conns[index].flags.has(Flags::SURPLUS) {
                    let refusal = self.hub.surplus_refusal(index);
                    self.hub.refuse(index, refusal, request.method() == "HEAD");
                } else {
                    self.answer(index, &request);
                }
                len
            }
            Err(refusal) => {
                self.hub.refuse(index, &refusal, is_head_method(bytes));
                bytes.len()
            }
        }
    }

    fn answer(&mut self, index: u32, request: &Request<'_>) {
        let mut response = std::mem::take(&mut self.response);
        response.clear();
        let (app, conn) = (&mut self.app, &self.hub.conns[index]);
        let decision = catch_unwind(AssertUnwindSafe(|| {
            app.request(request, conn.socket(), &mut response)
        }));
        let Ok(decision) = decision else {
            self.count_panic(index);
            let refusal = Refusal::new(500, "the application failed");
            return self.hub.refuse(index, &refusal, request.method() == "HEAD");
        };
        let conn = &mut self.hub.conns[index];
        self.hub.output.push_bytes(index, &mut conn.pending, |out| {
            out.extend_from_slice(&response)
        });
        response.shrink_to(RESPONSE_KEPT);
        self.response = response;
        let conn = &mut self.hub.conns[index];
        match decision {
            Decision::Respond => self.hub.finish(index),
            Decision::Accept {
                route,
                data,
                deflate,
            } => {
                (conn.route, conn.data) = (route, data);
                conn.receiver = Receiver::new();
                if let Some(params) = deflate {
                    conn.receiver = Receiver::with_inflation(inflation(&params));
                    conn.wire = Wire::agreed(&params);
                    self.hub.compression.enter(index, &params);
                }
                conn.flags.set(Flags::OPENED, true);
                self.hub.stats.opened.add(1);
                self.hub.enter(index, State::Open);
                self.call(index, |app, hub| app.open(hub, index));
            }
        }
    }
}

impl Hub {
    /// Answers a request that gets no WebSocket, and ends.
    fn refuse(&mut self, index: u32, refusal: &Refusal, head_only: bool) {
        tracing::debug!(
            status = refusal.status,
            reason = refusal.reason,
            "request refused"
        );
        let pending = &mut self.conns[index].pending;
        self.output
            .push_bytes(index, pending, |out| match head_only {
                true => refusal.encode_head(out),
                false => refusal.encode(out),
            });
        self.finish(index);
    }

    /// What a connection past a limit is answered.
    fn surplus_refusal(&self, index: u32) -> &'static Refusal {
        match self.conns[index].flags.has(Flags::LIMITED) {
            true => &Refusal::TOO_MANY_REQUESTS,
            false => &Refusal::OVERLOADED,
        }
    }

    pub(super) fn handshake_timed_out(&mut self, index: u32) {
        let Some(mut held) = self.conns[index].held.take() else {
            return self.kill(index);
        };
        let refusal = Refusal::new(408, "the request head did not arrive in time");
        self.refuse(index, &refusal, is_head_method(held.rest()));
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::core::bare;
    use crate::core::config::Config;

    fn core() -> Core {
        bare::core(Config::default())
    }

    /// Gives a new connection these bytes one by one, until it is answered. Gives the bytes taken, and how often they were
    /// parsed.
    fn dribble(core: &mut Core, head: &[u8]) -> (usize, usize) {
        let (ours, _peer) = UnixStream::pair().expect("two sockets");
        let id = core.accept(Socket::Ring(OwnedFd::from(ours)));
        let index = id.expect("a place").index;
        let before = core.heads_parsed;
        let mut taken = 0;
        for &byte in head {
            core.on_bytes(index, &mut [byte], None);
            taken += 1;
            if core.hub.conns[index].state != State::Handshake {
                break;
            }
        }
        (taken, core.heads_parsed - before)
    }

    #[test]
    fn a_dribbled_head_is_parsed_at_its_begin_and_at_its_end() {
        // At a line's end the head could be over: many lines are what makes a reader start over most often.
        let lines = format!("GET / HTTP/1.1\r\nHost: a\r\n{}", "X:\r\n".repeat(60));
        let whole = format!("{lines}\r\n");
        assert_eq!(dribble(&mut core(), whole.as_bytes()), (whole.len(), 2));
        // To the limit, which is part of the head.
        let limit = core().hub.config.head.max_bytes;
        let endless = format!("{lines}Y: {}", "y".repeat(limit));
        assert_eq!(dribble(&mut core(), endless.as_bytes()), (limit, 2));
    }
}
