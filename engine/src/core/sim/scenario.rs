//! What a seed stands for: the server's settings, the ring's, and the peers.

use std::sync::Arc;
use std::time::Duration;

use corecast_protocol::Limits;
use corecast_protocol::handshake::HeadLimits;

use super::admission::{Allowance, HOSTS};
use super::compressing::Compressing;
use super::elsewhere::Room;
use super::stage::Play;
use crate::core::config::Config;
use crate::core::upkeep::Upkeep;
use crate::transport::ring::simulated::{Dice, Pool, Queues};

/// One run's setting.
pub(super) struct Scenario {
    pub(super) config: Config,
    /// What an address may do, as `config.addresses` has it.
    pub(super) allowance: Allowance,
    /// Hosts that the peers are spread over.
    pub(super) hosts: usize,
    pub(super) queues: Queues,
    pub(super) pool: Pool,
    pub(super) peers: usize,
    /// Turns until the faults stop.
    pub(super) turns: usize,
    /// The largest payload on either side.
    pub(super) largest: usize,
    /// The server is told to drain in the middle of it all.
    pub(super) leaves: bool,
    /// Cores of the server, of which one runs, and what may wait between each two.
    pub(super) cores: usize,
    pub(super) room: Room,
    /// Topics and policies.
    pub(super) play: Play,
    pub(super) compressing: Compressing,
}

impl Scenario {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        // Few runs move much: what they show beyond the others is how turns that are too large are cut.
        let largest = match dice.among(0..=19) {
            // Miri interprets: the shortest runs show it as much.
            _ if cfg!(miri) => 600,
            0 => 700_000,
            1..=3 => 60_000,
            4..=9 => 9_000,
            _ => 600,
        };
        let large = largest > 100_000;
        // Seldom a crowd, so that there are large flushes.
        let crowd = largest < 10_000 && dice.one_in(10) && !cfg!(miri);
        let allowance = Allowance::draw(dice);
        let play = Play::draw(dice);
        let compressing = Compressing::draw(dice);
        Self {
            config: Config {
                addresses: allowance.table(),
                deflate: compressing.deflate(),
                ..config(dice, largest, &play, crowd)
            },
            allowance,
            hosts: dice.among(1..=HOSTS),
            queues: Queues {
                submissions: [2, 5, 256][dice.among(0..=2)],
                completions: [2, 7, 4096, 4096][dice.among(0..=3)],
            },
            pool: pool(dice, largest),
            peers: match crowd {
                true => dice.among(13..=40),
                false => dice.among(1..=if large { 4 } else { 12 }),
            },
            turns: dice.among(30..=if large { 100 } else { 160 }) / if cfg!(miri) { 4 } else { 1 },
            largest,
            leaves: dice.one_in(4),
            cores: if dice.one_in(2) { 1 } else { dice.among(2..=3) },
            room: Room {
                entries: dice.among(1..=30),
                bytes: 10 + dice.up_to(8 * largest),
            },
            play,
            compressing,
        }
    }
}

fn pool(dice: &mut Dice, largest: usize) -> Pool {
    let incremental = !dice.one_in(4);
    let sizes: &[u32] = match largest {
        0..1_000 => &[64, 200, 1 << 10, 4 << 10],
        1_000..10_000 => &[1 << 10, 8 << 10, 16 << 10],
        _ => &[8 << 10, 64 << 10],
    };
    Pool {
        size: sizes[dice.among(0..=sizes.len() - 1)],
        count: 1 << dice.among(2..=4),
        incremental,
        exchange: incremental && !dice.one_in(4),
    }
}

fn config(dice: &mut Dice, largest: usize, play: &Play, crowd: bool) -> Config {
    let millis = |dice: &mut Dice, most| Duration::from_millis(50 + dice.up_to(most) as u64);
    let sometimes = |dice: &mut Dice, most| (!dice.one_in(3)).then(|| millis(dice, most));
    let max_connections = [3, 8, 1000][if crowd { 2 } else { dice.among(0..=2) }];
    Config {
        max_connections,
        slots: max_connections + dice.among(0..=20),
        limits: Limits {
            max_frame: largest as u64,
            max_message: largest as u64,
            max_fragments: dice.among(4..=40) as u32,
            ..Limits::default()
        },
        head: HeadLimits {
            max_bytes: 300,
            ..HeadLimits::default()
        },
        backlog: match dice.one_in(3) {
            // Some messages and what each counts for beside its bytes.
            true => dice.among(1_000..=2_000 + 2 * largest),
            false => 100 + dice.up_to(2 * largest),
        },
        slow: play.slow,
        flush_delay: play.settings.flush_delay(),
        topics: play.settings.options(),
        max_retained: [300, 1_000, 1 << 20][dice.among(0..=2)],
        deflate: Default::default(),
        zero_copy: (!dice.one_in(3)).then(|| 1 + dice.up_to(100)),
        handshake_timeout: millis(dice, 10_000),
        idle_timeout: sometimes(dice, 90_000),
        ping_interval: sometimes(dice, 30_000),
        close_timeout: millis(dice, 5_000),
        busy_poll: dice.one_in(8).then(|| Duration::from_micros(50)),
        upkeep: dice.one_in(4).then(|| Upkeep {
            every: millis(dice, 1_000),
            run: Arc::new(|_| {}),
        }),
        addresses: None,
    }
}

/// Payloads: stretches of fixed patterns, so that bytes which are lost, doubled or misplaced show.
pub(super) struct Patterns {
    bytes: Vec<u8>,
    text: Vec<u8>,
}

impl Patterns {
    const PERIOD: usize = 65_521;

    /// Patterns with room for payloads of this length. Half of them can be `compressed`.
    pub(super) fn new(largest: usize, compressed: bool) -> Self {
        let mut state = 1_u32;
        let mut bytes: Vec<u8> = (0..Self::PERIOD.min(2 * largest))
            .map(|_| {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 24) as u8
            })
            .collect();
        while bytes.len() < 2 * largest {
            bytes.extend_from_within(..Self::PERIOD.min(2 * largest - bytes.len()));
        }
        if compressed {
            repeat(&mut bytes);
        }
        let text = bytes.iter().map(|byte| b'a' + byte % 26).collect();
        Self { bytes, text }
    }

    pub(super) fn payload(&self, dice: &mut Dice, text: bool, len: usize) -> Vec<u8> {
        let from = match text {
            true => &self.text,
            false => &self.bytes,
        };
        let start = dice.among(0..=from.len() - len);
        from[start..start + len].to_vec()
    }
}

/// Stretches of 200 bytes become as regular as what people write.
fn repeat(bytes: &mut [u8]) {
    for stretch in bytes.chunks_mut(200).step_by(2) {
        for at in 9..stretch.len() {
            if at % 12 > 2 {
                stretch[at] = stretch[at - 9];
            }
        }
    }
}
