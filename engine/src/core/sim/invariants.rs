//! What must hold after every turn, and at the end.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use corecast_protocol::CloseCode;

use super::flushing::{check_batches, check_taken};
use super::stage::Stage;
use super::topics::FILTERS;
use crate::core::backlog::PLACE_BYTES;
use crate::core::connection::{Connection, Flags, State};
use crate::core::fanout::TURN_BATCHES;
use crate::core::ring_loop::Pump;
use crate::core::timers::{TICK, ticks};
use crate::core::{Config, Core, SURPLUS_CONNECTIONS, TURN_OUTPUT};
use crate::transport::ring::simulated::{LinkId, Pool, SimulatedKernel, World};
use crate::transport::ring::{Op, Token};
use crate::transport::socket::Socket;

/// Compares the engine with the world after each turn.
pub(super) struct Invariants {
    /// Bytes of all receive buffers.
    pool: usize,
    /// Messages that were dropped until the last turn.
    dropped: u64,
    /// Connections as they were after the last turn: by link, their state and when they were heard.
    before: HashMap<LinkId, (State, u32)>,
    /// Links whose FIN has been looked at.
    finished: Vec<bool>,
    /// Turns in a row in which nothing happened and nothing was waited for.
    spinning: u32,
}

/// Turns in a row that may find nothing to do.
const IDLE_TURNS: u32 = 40;

impl Invariants {
    pub(super) fn new(pool: Pool) -> Self {
        Self {
            pool: pool.size as usize * usize::from(pool.count),
            dropped: 0,
            before: HashMap::new(),
            finished: Vec::new(),
            spinning: 0,
        }
    }

    /// After a turn that began at this time.
    pub(super) fn check(
        &mut self,
        core: &Core,
        pump: &Pump<SimulatedKernel>,
        world: &mut World,
        stage: &mut Stage,
        began: Duration,
    ) {
        note_overdue(core, world, stage);
        note_ended_backlogs(world, stage);
        self.check_wire(world, stage)
            .and_then(|()| check_batches(core, stage, began))
            .and_then(|()| check_output(core, stage))
            .and_then(|()| check_subscriptions(core, stage))
            .and_then(|()| self.check_ends(core, world, stage))
            .and_then(|()| check_contexts(core, stage))
            .and_then(|()| check_operations(core, pump))
            .and_then(|()| check_buffers(pump))
            .and_then(|()| check_memory(core, stage, self.pool))
            .unwrap_or_else(|what| world.log.violation(|| what));
        note_backlogs(core, world, stage);
    }

    /// Notes a turn that did not sleep and brought nothing: there may be a few in a row.
    pub(super) fn check_progress(&mut self, world: &mut World, progress: bool, slept: bool) {
        self.spinning = if progress || slept {
            0
        } else {
            self.spinning + 1
        };
        if self.spinning > IDLE_TURNS {
            world.log.violation(|| "the loop spins".to_owned());
        }
    }

    /// The bytes that were taken are the frames that were queued; at a FIN, all of them.
    fn check_wire(&mut self, world: &mut World, stage: &mut Stage) -> Result<(), String> {
        self.finished.resize(world.links.len(), false);
        for id in 0..world.links.len() {
            let tape = world.links[id].tape.split();
            let conversation = &mut stage.conversations[id];
            let named = |what| format!("connection {id}: {what}");
            conversation.on_wire(&tape, &stage.mailed).map_err(named)?;
            let due = conversation.due.take();
            check_taken(world, id as LinkId, due).map_err(named)?;
            if world.links[id].finished_writing && !self.finished[id] {
                self.finished[id] = true;
                if !conversation.is_complete() || !conversation.is_answered() {
                    return Err(format!(
                        "connection {id} was shut down with output unsent: {conversation:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// No connection ends without a reason: the peer's FIN or RST, an error, a deadline.
    fn check_ends(&mut self, core: &Core, world: &World, stage: &Stage) -> Result<(), String> {
        let hub = &core.hub;
        let dropped = hub.stats.dropped.get();
        let overflowed = std::mem::replace(&mut self.dropped, dropped) != dropped;
        let now = hub.wheel.now();
        let mut current = HashMap::new();
        for index in hub.conns.indices() {
            let conn = &hub.conns[index];
            if conn.state != State::Dead {
                current.insert(link_of(conn), (conn.state, conn.heard));
            }
        }
        for (id, (state, heard)) in std::mem::replace(&mut self.before, current) {
            let link = &world.links[id as usize];
            let ended = !self.before.contains_key(&id);
            let excused = link.fin_in || link.reset || link.failed || hub.closed;
            let silent = now.saturating_sub(heard);
            let timed_out = match state {
                State::Handshake => silent >= ticks(hub.config.handshake_timeout) || hub.leaving,
                State::Open => false,
                _ => silent >= ticks(hub.config.close_timeout),
            };
            if ended && !excused && !timed_out {
                return Err(format!(
                    "connection {id} ended in state {state:?}, {silent} ticks after it was heard"
                ));
            }
            // What came before a FIN is handled, unless the server had begun to close.
            let conversation = &stage.conversations[id as usize];
            let idle = hub.config.idle_timeout;
            let by_peer = ended && link.fin_in && !link.reset && !link.failed;
            let by_server = conversation.ended_by_server
                || overflowed
                || hub.leaving
                || idle.is_some_and(|limit| silent >= ticks(limit));
            let said_all = conversation.to_application.is_empty();
            let abnormal = conversation.code == u16::from(CloseCode::ABNORMAL);
            if state == State::Open && by_peer && abnormal && !by_server && !said_all {
                return Err(format!("connection {id} ended too early: {conversation:?}"));
            }
        }
        Ok(())
    }

    /// Nothing is left of anybody.
    pub(super) fn check_end(core: &Core, pump: &Pump<SimulatedKernel>) -> Result<(), String> {
        let hub = &core.hub;
        let left: Vec<Token> = pump
            .ring
            .in_flight()
            .filter(|token| !matches!(token.op(), Some(Op::Accept | Op::Bell)))
            .collect();
        let (_, held, _) = pump.ring.buffers().census();
        let addresses = hub.config.addresses.as_ref();
        let facts = [
            ("connections", hub.conns.len()),
            ("surplus connections", hub.surplus),
            ("operations", left.len()),
            ("owned sends", pump.ring.owned().count()),
            ("receive buffers", held),
            ("completions", pump.ring.kernel().unfetched()),
            ("starved receives", pump.starved.len()),
            ("topics", hub.topics.len()),
            ("timers", usize::from(hub.wheel.next().is_some())),
            ("lists", usize::from(!hub.lists.is_empty())),
            ("output", hub.output.dirty().len()),
            ("contexts", hub.compression.contexts()),
            ("counted connections", hub.stats.total() as usize),
            (
                "connections of addresses",
                addresses.map_or(0, |table| table.connections()),
            ),
        ];
        match facts.iter().find(|(_, count)| *count > 0) {
            Some((what, count)) => Err(format!("{count} {what} left at the end")),
            None => Ok(()),
        }
    }
}

pub(super) fn link_of(conn: &Connection) -> LinkId {
    match conn.any_socket() {
        Socket::Simulated(handle) => handle.link().expect("a connection, not the listener"),
        other => unreachable!("{other:?} in a simulation"),
    }
}

/// Whose head may be told now that it did not arrive in time.
fn note_overdue(core: &Core, world: &World, stage: &mut Stage) {
    let timeout = core.hub.config.handshake_timeout;
    for conversation in &mut stage.conversations {
        // Deadlines are counted in ticks, from the beginning of the one in which it was accepted.
        let since = conversation.accepted.map(|accepted| world.time - accepted);
        conversation.overdue = since.is_some_and(|since| since + TICK >= timeout);
    }
}

/// Where there is a backlog, pongs may wait in it and be replaced.
fn note_backlogs(core: &Core, world: &World, stage: &mut Stage) {
    let conns = &core.hub.conns;
    for index in conns.indices() {
        let id = link_of(&conns[index]) as usize;
        let conversation = &mut stage.conversations[id];
        conversation.slow = conns[index].backlog.is_some();
        if conversation.slow {
            conversation.note_backlog(world.links[id].received);
        }
    }
}

/// The same for what a backlog was for in the turn that ended it.
fn note_ended_backlogs(world: &World, stage: &mut Stage) {
    let conversations = stage.conversations.iter_mut().zip(&world.links);
    for (conversation, link) in conversations.filter(|(conversation, _)| conversation.slow) {
        conversation.note_pings(link.received);
    }
}

/// Where nothing is buffered, all that was accepted has been taken, unless it was thrown away.
fn check_output(core: &Core, stage: &mut Stage) -> Result<(), String> {
    let hub = &core.hub;
    for index in hub.conns.indices() {
        let conn = &hub.conns[index];
        let id = link_of(conn);
        let empty = conn.state != State::Dead && hub.buffered(index) == 0;
        if empty {
            let settled = stage.conversations[id as usize].settle();
            settled.map_err(|what| format!("connection {id}: {what}"))?;
        }
    }
    Ok(())
}

/// Every open connection is subscribed to what the application has asked for.
fn check_subscriptions(core: &Core, stage: &Stage) -> Result<(), String> {
    let hub = &core.hub;
    for index in hub.conns.indices() {
        let conn = &hub.conns[index];
        let id = link_of(conn);
        let asked = &stage.conversations[id as usize].filters;
        let asked: BTreeSet<&str> = asked.iter().map(|&filter| FILTERS[filter].0).collect();
        let is: BTreeSet<&str> = hub.topics.topics_of(index).collect();
        let right = match conn.is_open() {
            true => is == asked,
            false => is.is_empty(),
        };
        if !right || (!is.is_empty() && hub.topics.is_slow(index) != conn.backlog.is_some()) {
            return Err(format!(
                "connection {id} asked for {asked:?} and is subscribed to {is:?}"
            ));
        }
    }
    Ok(())
}

/// There is a compressor for each connection that was promised one, until the application has heard of its end.
fn check_contexts(core: &Core, stage: &Stage) -> Result<(), String> {
    let hub = &core.hub;
    let mut there = hub.conns.indices();
    there.retain(|&index| {
        let conn = &hub.conns[index];
        let form = stage.conversations[link_of(conn) as usize].form;
        conn.flags.has(Flags::OPENED) && form.context
    });
    match (hub.compression.contexts(), there.len()) {
        (contexts, there) if contexts == there => Ok(()),
        (contexts, there) => Err(format!("{contexts} contexts for {there} connections")),
    }
}

/// Every operation that a connection counts is in flight, and the other way round.
fn check_operations(core: &Core, pump: &Pump<SimulatedKernel>) -> Result<(), String> {
    let hub = &core.hub;
    let mut in_flight: HashMap<u32, Vec<Token>> = HashMap::new();
    for token in pump.ring.in_flight() {
        if matches!(token.op(), Some(Op::Recv | Op::Drain)) {
            in_flight.entry(token.index()).or_default().push(token);
        }
    }
    let owned = pump.ring.owned().count();
    let drains = in_flight.values().flatten();
    if drains.filter(|token| token.op() == Some(Op::Drain)).count() != owned {
        return Err(format!("{owned} owned sends are not those in flight"));
    }
    for index in hub.conns.indices() {
        let conn = &hub.conns[index];
        let tokens = in_flight.remove(&index).unwrap_or_default();
        let flags = [(Op::Recv, Flags::RECEIVING), (Op::Drain, Flags::DRAINING)];
        let agree = flags.iter().all(|&(op, flag)| {
            let token = Token::new(op, index, conn.generation);
            conn.flags.has(flag) == tokens.contains(&token)
        });
        // A `close` callback that is due holds the slot as well.
        let ended = hub.lists.ended.iter().filter(|(of, _)| *of == index);
        if !agree || tokens.len() + ended.count() != usize::from(conn.operations) {
            return Err(format!(
                "slot {index} counts {} operations, {:?}; in flight: {tokens:?}",
                conn.operations, conn.flags
            ));
        }
    }
    match in_flight.is_empty() {
        true => Ok(()),
        false => Err(format!("operations of free slots: {in_flight:?}")),
    }
}

/// Each buffer is in one place, and the kernel's view is the engine's.
fn check_buffers(pump: &Pump<SimulatedKernel>) -> Result<(), String> {
    let (published, held, free) = pump.ring.buffers().census();
    if published != pump.ring.kernel().published() {
        return Err("the kernel has other buffers than the engine believes".to_owned());
    }
    let all = published.len() + held + free;
    match pump.ring.buffers().count() == all {
        true => Ok(()),
        false => Err(format!(
            "{all} receive buffers: {published:?}, {held}, {free}"
        )),
    }
}

/// Bytes that inflating a long message takes beside the message.
const INFLATER: usize = 49 << 10;

/// Bytes that inflating keeps for the next message.
const INFLATING_KEPT: usize = 180 << 10;

/// Bytes that a frame's header and a Close frame take at most.
const OVERHEAD: usize = 10 + 2 + 125;

/// The sum in ARCHITECTURE.md, owner by owner.
fn check_memory(core: &Core, stage: &Stage, pool: usize) -> Result<(), String> {
    let hub = &core.hub;
    let config: &Config = &hub.config;
    let slots = config.max_connections + SURPLUS_CONNECTIONS;
    let within = |what: &str, bytes: usize, bound: usize| match bytes <= bound {
        true => Ok(()),
        false => Err(format!("{what}: {bytes} bytes, and {bound} are declared")),
    };
    within("connections", hub.conns.len(), slots)?;
    within("spare buffers", core.shared.spare_bytes(), 16 << 20)?;
    within("inflating", core.shared.inflate_bytes(), INFLATING_KEPT)?;
    within("arena", hub.output.arena_bytes(), 1 << 20)?;
    // What is reached with the last callback, and what callbacks make that no input leads to.
    let batches = TURN_BATCHES + 12 * (stage.largest + OVERHEAD);
    within("batches", hub.output.batches.bytes(), batches)?;
    within("retained", hub.retained.bytes(), config.max_retained)?;
    for index in hub.conns.indices() {
        let conn = &hub.conns[index];
        let assembly = conn.receiver.buffered();
        let most = config.limits.max_message as usize;
        let agreed = &stage.conversations[link_of(conn) as usize].agreed;
        // As it came, what it has become so far, what that takes, and what later messages may refer to.
        let inflating = agreed.map_or(0, |agreed| {
            most + most / 8 + 256 + INFLATER + (1 << agreed.client_max_window_bits.max(9))
        });
        within("assembly", assembly, 2 * most + 512 + inflating)?;
        let held = conn.held.as_ref().map_or(0, |held| held.len());
        let most = if conn.state == State::Handshake {
            config.head.max_bytes
        } else {
            0
        };
        within("held input", held, most + 2 * pool)?;
        if conn
            .backlog
            .as_ref()
            .is_some_and(|backlog| backlog.is_empty())
        {
            return Err(format!(
                "slot {index} has an empty backlog, which nobody drains"
            ));
        }
        // The limit, what one turn makes, and one message beyond each.
        let own = stage.conversations[link_of(conn) as usize].backlog_limit;
        let limit = config.backlog.max(own) + TURN_OUTPUT + 2 * (stage.largest + OVERHEAD);
        within("backlog", hub.buffered(index), limit)?;
        // Places of what joined it, and keys that are gone.
        let memory = conn.backlog.as_ref().map_or(0, |backlog| backlog.memory());
        within("backlog's memory", memory, limit + 32 * PLACE_BYTES)?;
    }
    Ok(())
}
