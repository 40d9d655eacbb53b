//! Limits per peer address: how many connections it may have, and how often it may come.
//!
//! One table for all cores, looked at when a connection is accepted and when it ends, never in between. Without
//! limits there is no table, and nobody asks for a peer's address.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::defaults;
use super::seldom::Seldom;

/// Locks that the addresses are spread over, so that cores rarely meet at one.
const SHARDS: usize = 64;

/// Addresses that a shard remembers before it forgets those without connections. See [`Shard::bound`].
const PER_SHARD: usize = defaults::MAX_ADDRESSES / SHARDS;

/// What one address may do; `None` is without limit.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AddressLimits {
    pub(crate) connections: Option<usize>,
    pub(crate) rate: Option<Rate>,
}

impl AddressLimits {
    /// A table that enforces them, if there is anything to enforce.
    pub(crate) fn table(self) -> Option<Arc<AddressTable>> {
        let any = self.connections.is_some() || self.rate.is_some();
        any.then(|| Arc::new(AddressTable::new(self, Instant::now())))
    }
}

/// A token bucket's size and refill.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    /// Nanoseconds until a token that was taken is there again.
    interval: u64,
    burst: u64,
}

impl Rate {
    /// At least one of each.
    pub(crate) fn new(per_second: u32, burst: u32) -> Self {
        Self {
            interval: 1_000_000_000 / u64::from(per_second.max(1)),
            burst: u64::from(burst.max(1)),
        }
    }

    /// Takes a token at the time `now` from a bucket that would be full at `full_at`, and gives the time at which it will be full
    /// then. `None` when it is empty. (The bucket in one number is known as the generic cell rate algorithm.)
    fn take(self, full_at: u64, now: u64) -> Option<u64> {
        let full_at = full_at.max(now) + self.interval;
        (full_at - now <= self.interval * self.burst).then_some(full_at)
    }
}

/// What counts as one address: an IPv4 address, also one mapped into IPv6, or an IPv6 network of 64 bits, all of which one
/// host may use (RFC 7721 §4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key(u64);

impl Key {
    fn new(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            // Of the networks below 2^32 only that of ::1 is in use, and 0.0.0.0 is nobody's address.
            IpAddr::V4(ip) => Self(u64::from(u32::from(ip))),
            IpAddr::V6(ip) => Self((u128::from(ip) >> 64) as u64),
        }
    }
}

/// The addresses of all cores' peers.
#[derive(Debug)]
pub(crate) struct AddressTable {
    limits: AddressLimits,
    started: Instant,
    hasher: RandomState,
    shards: Box<[Mutex<Shard>]>,
}

impl AddressTable {
    fn new(limits: AddressLimits, started: Instant) -> Self {
        Self {
            limits,
            started,
            hasher: RandomState::new(),
            shards: (0..SHARDS).map(|_| Mutex::default()).collect(),
        }
    }

    /// Counts a connection in, unless its address has too many or comes too often.
    fn admit(&self, key: Key, now: Instant) -> bool {
        let now = now.saturating_duration_since(self.started).as_nanos() as u64;
        let mut shard = self.shard(key);
        // Another core's clock may be ahead by a tick.
        shard.latest = shard.latest.max(now);
        if !shard.peers.contains_key(&key) && shard.peers.len() >= shard.bound() {
            shard.make_room();
        }
        let peer = shard.peers.entry(key).or_default();
        let max = self.limits.connections.unwrap_or(usize::MAX);
        if peer.connections as usize >= max {
            return false;
        }
        if let Some(rate) = self.limits.rate {
            let Some(full_at) = rate.take(peer.full_at, now) else {
                return false;
            };
            peer.full_at = full_at;
        }
        peer.connections += 1;
        shard.connections += 1;
        true
    }

    /// Counts a connection out.
    fn leave(&self, key: Key) {
        let mut shard = self.shard(key);
        let Some(peer) = shard.peers.get_mut(&key) else {
            debug_assert!(false, "an address with a connection is not forgotten");
            return;
        };
        peer.connections -= 1;
        if peer.connections == 0 && self.limits.rate.is_none() {
            shard.peers.remove(&key);
        }
        shard.connections -= 1;
        if shard.peers.len() > shard.bound() {
            shard.make_room();
        }
        shard.shrink();
    }

    /// Connections that are counted for an address.
    #[cfg(test)]
    pub(crate) fn connections_of(&self, ip: IpAddr) -> usize {
        let key = Key::new(ip);
        let counted = self.shard(key).peers.get(&key).copied();
        counted.unwrap_or_default().connections as usize
    }

    /// Connections that are counted, of all addresses together.
    #[cfg(test)]
    pub(crate) fn connections(&self) -> usize {
        let of_shard = |shard: &Mutex<Shard>| {
            let shard = shard.lock().unwrap_or_else(PoisonError::into_inner);
            let peers = shard.peers.values();
            peers.map(|peer| peer.connections as usize).sum::<usize>()
        };
        self.shards.iter().map(of_shard).sum()
    }

    fn shard(&self, key: Key) -> MutexGuard<'_, Shard> {
        let shard = self.hasher.hash_one(key) as usize % SHARDS;
        // A panic while it was locked has left nothing half done.
        self.shards[shard]
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Debug, Default)]
struct Shard {
    peers: HashMap<Key, Peer>,
    /// Of all its peers together.
    connections: usize,
    /// The latest time at which a connection came, in nanoseconds of the table's time.
    latest: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Peer {
    connections: u32,
    /// When its bucket is full again, in nanoseconds of the table's time.
    full_at: u64,
}

impl Shard {
    /// Addresses at most: twice as many as connections, or [`PER_SHARD`].
    fn bound(&self) -> usize {
        PER_SHARD.max(2 * self.connections)
    }

    /// Keeps the table in bounds: forgets those that are as good as new, and if they are still more than half of the bound, all that
    /// have no connection; these may then come again sooner than they should. A pass over the shard leaves half of
    /// the bound or less, so it is paid for by the connections that have come or gone since the one before: at least half as
    /// many as there are addresses now.
    fn make_room(&mut self) {
        let now = self.latest;
        self.peers
            .retain(|_, peer| peer.connections > 0 || peer.full_at > now);
        if self.peers.len() > self.bound() / 2 {
            self.peers.retain(|_, peer| peer.connections > 0);
        }
    }

    /// Gives memory back once there is room for four times the bound, which the map does not take on its way up.
    fn shrink(&mut self) {
        let bound = self.bound();
        if self.peers.capacity() > 4 * bound {
            self.peers.shrink_to(bound);
        }
    }
}

/// A core's view of the table: who came in by which slot, and how many were refused.
#[derive(Debug)]
pub(crate) struct Gate {
    table: Arc<AddressTable>,
    /// By connection slot.
    inside: Vec<Option<Key>>,
    refusals: Seldom,
}

impl Gate {
    pub(crate) fn new(table: Arc<AddressTable>) -> Self {
        Self {
            table,
            inside: Vec::new(),
            refusals: Seldom::default(),
        }
    }

    /// Counts a connection in; `None` when its address is over a limit, which the log tells of now and then.
    pub(crate) fn admit(&mut self, ip: IpAddr, now: Instant) -> Option<Key> {
        let key = Key::new(ip);
        if self.table.admit(key, now) {
            return Some(key);
        }
        if let Some(refused) = self.refusals.happened(now) {
            tracing::warn!(
                address = %ip,
                refused,
                "an address has too many connections or comes too often; told once a minute and core at most"
            );
        }
        None
    }

    /// The connection has this slot until [`Self::leave`].
    pub(crate) fn enter(&mut self, index: u32, key: Key) {
        let slot = index as usize;
        if slot >= self.inside.len() {
            self.inside.resize(slot + 1, None);
        }
        self.inside[slot] = Some(key);
    }

    /// Counts a connection out that was counted in and has no slot.
    pub(crate) fn turn_away(&self, key: Key) {
        self.table.leave(key);
    }

    /// Counts out the connection of this slot, if it was counted in.
    pub(crate) fn leave(&mut self, index: u32) {
        let inside = self.inside.get_mut(index as usize);
        if let Some(key) = inside.and_then(Option::take) {
            self.table.leave(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn key(ip: &str) -> Key {
        Key::new(ip.parse().unwrap())
    }

    fn table(connections: Option<usize>, rate: Option<Rate>, started: Instant) -> AddressTable {
        AddressTable::new(AddressLimits { connections, rate }, started)
    }

    /// As many addresses as are promised where there are so many connections, and no more memory than for four times as many.
    #[track_caller]
    fn assert_in_bounds(table: &AddressTable, connections: usize) {
        let mut counted = 0;
        for (index, shard) in table.shards.iter().enumerate() {
            let shard = shard.lock().unwrap();
            let of_peers = shard.peers.values().map(|peer| peer.connections as usize);
            assert_eq!(of_peers.sum::<usize>(), shard.connections, "shard {index}");
            let (bound, room) = (PER_SHARD.max(2 * shard.connections), shard.peers.capacity());
            assert!(
                shard.peers.len() <= bound,
                "{} addresses",
                shard.peers.len()
            );
            assert!(
                room <= 4 * bound,
                "shard {index} has room for {room} addresses"
            );
            counted += shard.connections;
        }
        assert_eq!(counted, connections);
    }

    #[test]
    fn addresses_of_one_host_count_as_one() {
        assert_eq!(key("192.0.2.1"), key("::ffff:192.0.2.1"));
        assert_ne!(key("192.0.2.1"), key("192.0.2.2"));
        assert_eq!(key("2001:db8:1:2::1"), key("2001:db8:1:2:ffff::9"));
        assert_ne!(key("2001:db8:1:2::1"), key("2001:db8:1:3::1"));
        assert_ne!(key("::1"), key("127.0.0.1"));
    }

    #[test]
    fn an_address_has_so_many_connections_and_no_more() {
        let now = Instant::now();
        let table = table(Some(2), None, now);
        let (one, other) = (key("192.0.2.1"), key("192.0.2.2"));
        assert!(table.admit(one, now) && table.admit(one, now));
        assert!(!table.admit(one, now));
        assert!(table.admit(other, now), "the others are not affected");
        table.leave(one);
        assert!(table.admit(one, now));
        assert!(!table.admit(one, now));
        for left in [one, one, other] {
            table.leave(left);
        }
        assert!(
            table
                .shards
                .iter()
                .all(|s| s.lock().unwrap().peers.is_empty())
        );
    }

    #[test]
    fn a_bucket_holds_a_burst_and_fills_with_time() {
        let start = Instant::now();
        let table = table(None, Some(Rate::new(4, 3)), start);
        let one = key("192.0.2.1");
        let admitted =
            |after: Duration| (0..10).filter(|_| table.admit(one, start + after)).count();
        assert_eq!(admitted(Duration::ZERO), 3);
        assert_eq!(admitted(SECOND / 4 - Duration::from_nanos(1)), 0);
        assert_eq!(admitted(SECOND / 4), 1);
        assert_eq!(admitted(SECOND), 3);
        assert_eq!(admitted(3600 * SECOND), 3, "never more than the burst");
        // Another core's clock may be behind by a tick.
        assert!(!table.admit(one, start + 3600 * SECOND - Duration::from_millis(32)));
        assert!(table.admit(key("192.0.2.2"), start));
    }

    #[test]
    fn leaving_gives_no_token_back() {
        let start = Instant::now();
        let table = table(Some(10), Some(Rate::new(1, 2)), start);
        let one = key("192.0.2.1");
        for _ in 0..2 {
            assert!(table.admit(one, start));
            table.leave(one);
        }
        assert!(!table.admit(one, start));
        assert!(table.admit(one, start + SECOND));
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of steps without unsafe code")]
    fn a_flood_of_addresses_fills_no_memory() {
        let start = Instant::now();
        let table = table(None, Some(Rate::new(1, 1)), start);
        let inside: Vec<_> = (0..1000).map(|n| Key(1 << 40 | n)).collect();
        assert!(inside.iter().all(|&key| table.admit(key, start)));
        for n in 0..1_000_000 {
            let passing = Key(1 << 41 | n);
            assert!(table.admit(passing, start));
            table.leave(passing);
        }
        assert_in_bounds(&table, 1000);
        assert!(
            !inside.iter().any(|&key| table.admit(key, start)),
            "whoever has a connection is not forgotten"
        );
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of steps without unsafe code")]
    fn the_table_grows_with_connections_and_forgets_none() {
        let now = Instant::now();
        let table = table(Some(1), Some(Rate::new(1000, 1000)), now);
        let keys: Vec<_> = (0..200_000).map(|n| Key(1 << 40 | n)).collect();
        assert!(keys.iter().all(|&key| table.admit(key, now)));
        assert!(!keys.iter().any(|&key| table.admit(key, now)));
        assert_in_bounds(&table, 200_000);
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of steps without unsafe code")]
    fn the_table_shrinks_when_connections_leave() {
        let now = Instant::now();
        // The slow bucket keeps every address that has come; without one they go at once.
        for rate in [None, Some(Rate::new(1, 1)), Some(Rate::new(1000, 1000))] {
            let table = table(Some(2), rate, now);
            let keys: Vec<_> = (0..200_000).map(|n| Key(1 << 40 | n)).collect();
            assert!(keys.iter().all(|&key| table.admit(key, now)));
            for (left, &key) in (1..).zip(&keys) {
                table.leave(key);
                if left % 20_000 == 0 {
                    assert_in_bounds(&table, keys.len() - left);
                }
            }
        }
    }

    #[test]
    #[cfg_attr(miri, ignore = "hundreds of thousands of steps without unsafe code")]
    fn connections_that_come_and_go_cost_few_passes() {
        let start = Instant::now();
        let table = table(None, Some(Rate::new(1, 1)), start);
        let keys: Vec<_> = (0..100_000).map(|n| Key(1 << 40 | n)).collect();
        assert!(keys.iter().all(|&key| table.admit(key, start)));
        let (mut steps, mut passed_over) = (0, 0);
        let mut step = |key, step: &dyn Fn(Key)| {
            let before = table.shard(key).peers.len();
            step(key);
            steps += 1;
            // With a bucket that is not full, only a pass forgets.
            if table.shard(key).peers.len() < before {
                passed_over += before;
            }
        };
        let admit = |key| assert!(table.admit(key, start));
        let leave = |key| table.leave(key);
        // First the bound falls, then the addresses go up and down beneath it.
        for &key in &keys[50_000..] {
            step(key, &leave);
        }
        for n in 0..200_000 {
            step(Key(1 << 41 | n), &admit);
            step(Key(1 << 41 | n), &leave);
        }
        for &key in &keys[..50_000] {
            step(key, &leave);
        }
        assert!(passed_over > 0, "the passes were seen");
        assert!(passed_over <= 2 * steps, "{passed_over} in {steps} steps");
        assert_in_bounds(&table, 0);
    }

    #[test]
    fn without_limits_there_is_no_table() {
        assert!(AddressLimits::default().table().is_none());
    }
}
