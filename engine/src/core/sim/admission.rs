//! Who may come in, as somebody counts who sees only which connections there are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::Duration;

use super::invariants::link_of;
use super::stage::Stage;
use crate::core::Core;
use crate::core::addresses::{AddressLimits, AddressTable, Rate};
use crate::core::connection::{Connection, Flags};
use crate::core::timers::TICK;
use crate::transport::ring::simulated::{Dice, World};

/// Hosts that peers may have.
pub(super) const HOSTS: usize = ADDRESSES.len();

/// Two addresses of each host, which count as one: an IPv4 address as such and mapped into IPv6, or two of one IPv6
/// network.
const ADDRESSES: [[IpAddr; 2]; 4] = [v4(1), v6(2), v4(2), v6(3)];

const fn v4(host: u8) -> [IpAddr; 2] {
    let ip = Ipv4Addr::new(192, 0, 2, host);
    [IpAddr::V4(ip), IpAddr::V6(ip.to_ipv6_mapped())]
}

const fn v6(network: u16) -> [IpAddr; 2] {
    let first = Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0, 0, 0, 1);
    let last = Ipv6Addr::new(0x2001, 0xdb8, 1, network, 0xffff, 0, 0, 9);
    [IpAddr::V6(first), IpAddr::V6(last)]
}

/// An address of one of the first `hosts` hosts.
pub(super) fn any_address(dice: &mut Dice, hosts: usize) -> IpAddr {
    ADDRESSES[dice.among(0..=hosts - 1)][dice.among(0..=1)]
}

fn host_of(ip: IpAddr) -> usize {
    let host = ADDRESSES.iter().position(|of_host| of_host.contains(&ip));
    host.expect("a peer's address")
}

/// What a host may do; `None` is without limit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Allowance {
    connections: Option<usize>,
    /// Connections per second, and in a burst.
    rate: Option<(u32, u32)>,
}

impl Allowance {
    /// Mostly there are no limits.
    pub(super) fn draw(dice: &mut Dice) -> Self {
        let limited = dice.one_in(3);
        let connections = dice.among(1..=4);
        let rate = (dice.among(1..=30) as u32, dice.among(1..=4) as u32);
        Self {
            connections: (limited && !dice.one_in(3)).then_some(connections),
            rate: (limited && dice.one_in(2)).then_some(rate),
        }
    }

    /// The engine's table of these limits. Its time has to begin before the core's.
    pub(super) fn table(self) -> Option<Arc<AddressTable>> {
        let limits = AddressLimits {
            connections: self.connections,
            rate: self.rate.map(|(rate, burst)| Rate::new(rate, burst)),
        };
        limits.table()
    }
}

/// How the server took a connection in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Standing {
    #[default]
    Within,
    /// Past the limit of all connections, or while the server leaves.
    Surplus,
    /// Past the limits of its address.
    Limited,
}

impl Standing {
    fn of(conn: &Connection) -> Self {
        match (
            conn.flags.has(Flags::LIMITED),
            conn.flags.has(Flags::SURPLUS),
        ) {
            (true, _) => Self::Limited,
            (false, true) => Self::Surplus,
            (false, false) => Self::Within,
        }
    }
}

/// Counts connections, turn by turn.
pub(super) struct Admission {
    allowance: Allowance,
    hosts: [Host; HOSTS],
}

/// When a connection was let in, in nanoseconds: the clock may have gone on in the course of a turn.
#[derive(Clone, Copy, Debug)]
struct Entered {
    earliest: u64,
    latest: u64,
}

/// The server counts in ticks.
fn in_ticks(time: Duration) -> u64 {
    let tick = TICK.as_nanos() as u64;
    time.as_nanos() as u64 / tick * tick
}

#[derive(Default)]
struct Host {
    /// Connections within the limits, after the last turn.
    inside: usize,
    /// Those that came in with this turn.
    entered: usize,
    /// When each of its connections was let in.
    entries: Vec<Entered>,
    /// The same for those that had gone when the turn was over: they may have been let in. How many came with this turn.
    unseen: Vec<Entered>,
    unseen_now: usize,
}

impl Admission {
    pub(super) fn new(allowance: Allowance) -> Self {
        Self {
            allowance,
            hosts: Default::default(),
        }
    }

    /// Checks that nobody came in who had to stay outside, or the other way round, and that all who are there count.
    pub(super) fn check(&mut self, core: &Core, world: &mut World, stage: &mut Stage) {
        let refused = self.note_entries(core, world, stage);
        self.check_refused(core, &refused)
            .and_then(|()| self.check_entered())
            .and_then(|()| self.check_inside(core, world))
            .unwrap_or_else(|what| world.log.violation(|| what));
    }

    /// Notes the connections that are new. Gives the hosts of those that are to be sent away, with their
    /// standing and the time.
    fn note_entries(
        &mut self,
        core: &Core,
        world: &World,
        stage: &mut Stage,
    ) -> Vec<(usize, Standing, u64)> {
        let hub = &core.hub;
        let mut refused = Vec::new();
        for host in &mut self.hosts {
            host.entered = 0;
            host.unseen_now = 0;
        }
        for index in hub.conns.indices() {
            let conn = &hub.conns[index];
            let id = link_of(conn) as usize;
            let conversation = &mut stage.conversations[id];
            if conversation.accepted.is_some() {
                continue;
            }
            conversation.accepted = world.links[id].accepted_at;
            conversation.standing = Standing::of(conn);
            let host = host_of(world.links[id].address);
            let entered = Entered {
                earliest: in_ticks(world.links[id].accepted_at.unwrap_or_default()),
                latest: in_ticks(TICK * conn.heard),
            };
            match conversation.standing {
                Standing::Within => {
                    self.hosts[host].entered += 1;
                    self.hosts[host].entries.push(entered);
                }
                standing => refused.push((host, standing, entered.earliest)),
            }
        }
        self.note_unseen(world, stage);
        refused
    }

    /// Notes the connections that have come and gone within a turn.
    fn note_unseen(&mut self, world: &World, stage: &mut Stage) {
        for (link, conversation) in world.links.iter().zip(&mut stage.conversations) {
            if let Some(at) = link.accepted_at
                && link.closed
                && conversation.accepted.is_none()
            {
                conversation.accepted = Some(at);
                let host = &mut self.hosts[host_of(link.address)];
                host.unseen.push(Entered {
                    earliest: in_ticks(at),
                    latest: in_ticks(world.time),
                });
                host.unseen_now += 1;
            }
        }
    }

    /// Whoever is refused is one too many. When in the turn it came is not known, so all who were there before count,
    /// and all who came with it.
    fn check_refused(&self, core: &Core, refused: &[(usize, Standing, u64)]) -> Result<(), String> {
        let hub = &core.hub;
        let most = |host: &Host| host.inside + host.entered + host.unseen_now;
        for &(number, standing, at) in refused {
            let host = &self.hosts[number];
            let Allowance { connections, rate } = self.allowance;
            let with_reason = match standing {
                Standing::Within => true,
                Standing::Surplus => {
                    let all: usize = self.hosts.iter().map(most).sum();
                    hub.leaving || all >= hub.config.max_connections
                }
                Standing::Limited => {
                    connections.is_some_and(|max| most(host) >= max)
                        || rate.is_some_and(|rate| host.may_be_over(rate, at))
                }
            };
            if !with_reason {
                let Host {
                    inside,
                    entered,
                    unseen,
                    unseen_now,
                    ..
                } = host;
                return Err(format!(
                    "a connection of host {number} is {standing:?} at {at}: {inside} inside, {entered} entered, \
                     {unseen_now} gone, all that entered {:?}, unseen {unseen:?}, {:?}",
                    host.entries, self.allowance
                ));
            }
        }
        Ok(())
    }

    fn check_entered(&self) -> Result<(), String> {
        let Some(rate) = self.allowance.rate else {
            return Ok(());
        };
        match self.hosts.iter().position(|host| host.is_over(rate)) {
            Some(number) => Err(format!("host {number} comes too often")),
            None => Ok(()),
        }
    }

    /// The engine's table counts who is there, and no host has too many.
    fn check_inside(&mut self, core: &Core, world: &World) -> Result<(), String> {
        let hub = &core.hub;
        let mut inside = [0; HOSTS];
        for index in hub.conns.indices() {
            let conn = &hub.conns[index];
            if Standing::of(conn) == Standing::Within {
                inside[host_of(world.links[link_of(conn) as usize].address)] += 1;
            }
        }
        for (host, &inside) in self.hosts.iter_mut().zip(&inside) {
            host.inside = inside;
        }
        let Some(table) = &hub.config.addresses else {
            return Ok(());
        };
        let counted = ADDRESSES.map(|of_host| table.connections_of(of_host[0]));
        if counted != inside || table.connections() != inside.iter().sum() {
            let all = table.connections();
            return Err(format!(
                "hosts have {inside:?} connections, {counted:?} count, {all} in all"
            ));
        }
        match self.allowance.connections {
            Some(max) if inside.iter().any(|&inside| inside > max) => Err(format!(
                "hosts have {inside:?} connections, and {max} are allowed"
            )),
            _ => Ok(()),
        }
    }
}

impl Host {
    /// Whether more came in some stretch of time until the last entry than a burst and what the rate gives in that time,
    /// whenever exactly they did.
    fn is_over(&self, (per_second, burst): (u32, u32)) -> bool {
        let interval = 1_000_000_000 / u64::from(per_second);
        let last = self.entries.last().map_or(0, |last| last.latest);
        let over = |(position, since): (usize, &Entered)| {
            let came = (self.entries.len() - position) as u64;
            came * interval > u64::from(burst) * interval + (last - since.earliest)
        };
        self.entries.iter().enumerate().any(over)
    }

    /// Whether one more, at this time at the earliest, may have been too many, also for the sake of those who were not seen.
    fn may_be_over(&self, (per_second, burst): (u32, u32), at: u64) -> bool {
        let interval = 1_000_000_000 / u64::from(per_second);
        let mut times: Vec<u64> = self
            .entries
            .iter()
            .chain(&self.unseen)
            .map(|e| e.latest)
            .collect();
        times.sort_unstable();
        let over = |(position, since): (usize, &u64)| {
            let came = (times.len() - position + 1) as u64;
            came * interval > u64::from(burst) * interval + at.saturating_sub(*since)
        };
        times.iter().enumerate().any(over)
    }
}
