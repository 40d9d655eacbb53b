//! What a million subscriptions cost: bytes, and time per operation.
//!
//! ```sh
//! cargo run --release -p corecast-topics --example cost
//! ```
//!
//! Each shape runs in a process of its own. `subscription` and `topic` are bytes that the table asked its allocator
//! for; `resident` is what the process grew by for each subscription, topics included. Times are nanoseconds:
//! `look up` finds the topics that a publish goes to, `walk` reads one subscriber of them, `close` ends one of a
//! connection's subscriptions as part of all of them. `worst` is the longest single subscribe, in microseconds.

use std::env;
use std::fs;
use std::hint::black_box;
use std::io;
use std::process::Command;
use std::time::{Duration, Instant};

use corecast_topics::{Subscription, TopicId, Topics};

/// Who subscribes to what.
struct Shape {
    name: &'static str,
    connections: u32,
    /// Subscriptions of each connection.
    each: u32,
    /// The filter of a connection's subscription.
    filter: fn(&mut String, conn: u32, number: u32),
    /// A name to publish to.
    published: fn(&mut String, number: u32),
}

const SHAPES: &[Shape] = &[
    Shape {
        name: "1,000,000 connections in 1 topic",
        connections: 1_000_000,
        each: 1,
        filter: |name, _, _| name.push_str("news"),
        published: |name, _| name.push_str("news"),
    },
    Shape {
        name: "1 connection in 1,000,000 topics",
        connections: 1,
        each: 1_000_000,
        filter: |name, _, number| room(name, number),
        published: room,
    },
    Shape {
        name: "1,000,000 connections, a topic each",
        connections: 1_000_000,
        each: 1,
        filter: |name, conn, _| room(name, conn),
        published: room,
    },
    Shape {
        name: "1,000 connections in 1,000 topics",
        connections: 1_000,
        each: 1_000,
        filter: |name, _, number| room(name, number),
        published: |name, number| room(name, number % 1_000),
    },
    Shape {
        name: "100,000 connections in 10 of 100,000",
        connections: 100_000,
        each: 10,
        filter: |name, conn, number| room(name, scattered(conn * 10 + number) % 100_000),
        published: |name, number| room(name, number % 100_000),
    },
    Shape {
        name: "250,000 connections, wildcards among 4",
        connections: 250_000,
        each: 4,
        filter: |name, conn, number| match number {
            0 => room(name, conn / 10),
            1 => write(name, format_args!("room/{}/*", conn / 10)),
            2 => write(name, format_args!("*/{}/text", conn / 5)),
            _ => write(name, format_args!("room/{}/#", conn / 2)),
        },
        published: |name, number| write(name, format_args!("room/{}/text", number % 25_000)),
    },
];

fn room(name: &mut String, number: u32) {
    write(name, format_args!("room/{number}"));
}

fn write(name: &mut String, text: std::fmt::Arguments<'_>) {
    std::fmt::Write::write_fmt(name, text).expect("memory for a name");
}

/// A number for each below a million, in no apparent order.
fn scattered(number: u32) -> u32 {
    (u64::from(number) * 7_368_787 % 1_000_000) as u32
}

fn main() -> io::Result<()> {
    if let Some(shape) = env::args().nth(1) {
        let number: usize = shape.parse().map_err(io::Error::other)?;
        return SHAPES[number].measure();
    }
    println!(
        "{:38} {:>12} {:>6} {:>9} {:>10} {:>8} {:>6} {:>12} {:>6} {:>6}",
        "",
        "subscription",
        "topic",
        "resident",
        "subscribe",
        "look up",
        "walk",
        "unsubscribe",
        "close",
        "worst"
    );
    for (number, shape) in SHAPES.iter().enumerate() {
        let own = env::current_exe()?;
        let status = Command::new(own).arg(number.to_string()).status()?;
        if !status.success() {
            return Err(io::Error::other(format!("{}: {status}", shape.name)));
        }
    }
    Ok(())
}

impl Shape {
    fn subscriptions(&self) -> u32 {
        self.connections * self.each
    }

    fn measure(&self) -> io::Result<()> {
        let before = resident()?;
        let mut topics = Topics::<()>::new();
        let subscribe = self.fill(&mut topics);
        let grown = resident()?.saturating_sub(before);
        let memory = topics.memory();
        let filters = topics.len() as f64;
        let count = self.subscriptions() as f64;
        let (look_up, walk) = self.publish(&mut topics);
        let unsubscribe = self.unsubscribe_half(&mut topics);
        let close = self.close(&mut topics);
        println!(
            "{:38} {:>12.2} {:>6.0} {:>9.1} {:>10.0} {:>8.0} {:>6.1} {:>12.0} {:>6.0} {:>6.0}",
            self.name,
            memory.subscriptions as f64 / count,
            memory.topics as f64 / filters,
            grown as f64 / count,
            subscribe,
            look_up,
            walk,
            unsubscribe,
            close,
            self.worst().as_secs_f64() * 1e6,
        );
        Ok(())
    }

    /// Nanoseconds for each subscription.
    fn fill(&self, topics: &mut Topics) -> f64 {
        let mut name = String::new();
        let took = timed(|| {
            self.visit(&mut name, |conn, name| {
                topics.subscribe(conn, name);
            });
        });
        nanoseconds(took, self.subscriptions())
    }

    /// Every subscription, connection by connection.
    fn visit(&self, name: &mut String, mut found: impl FnMut(u32, &str)) {
        for conn in 0..self.connections {
            for number in 0..self.each {
                name.clear();
                (self.filter)(name, conn, number);
                found(conn, name);
            }
        }
    }

    /// Nanoseconds to find the topics of a name, and to read one subscriber of those found.
    fn publish(&self, topics: &mut Topics) -> (f64, f64) {
        const LOOK_UPS: u32 = 200_000;
        const WALKED: usize = 20_000_000;
        let (mut name, mut found) = (String::new(), Vec::new());
        let look_up = timed(|| {
            for number in 0..LOOK_UPS {
                name.clear();
                (self.published)(&mut name, scattered(number));
                receivers(topics, &name, &mut found);
            }
        });
        let mut walked = 0;
        let walk = timed(|| {
            for &id in &found {
                walked += read(topics.fast(id));
                if walked >= WALKED {
                    break;
                }
            }
        });
        (
            nanoseconds(look_up, LOOK_UPS),
            walk.as_secs_f64() * 1e9 / walked as f64,
        )
    }

    /// Nanoseconds for each of half of the subscriptions, in no apparent order.
    fn unsubscribe_half(&self, topics: &mut Topics) -> f64 {
        let mut name = String::new();
        let half = self.subscriptions() / 2;
        let took = timed(|| {
            for number in 0..half {
                let number = scattered(number);
                name.clear();
                let conn = number / self.each;
                (self.filter)(&mut name, conn, number % self.each);
                assert!(topics.unsubscribe(conn, &name).is_some());
            }
        });
        nanoseconds(took, half)
    }

    /// Nanoseconds for each of the subscriptions that are left.
    fn close(&self, topics: &mut Topics) -> f64 {
        let left = self.subscriptions() - self.subscriptions() / 2;
        let took = timed(|| {
            for number in 0..1_000_000 {
                let conn = scattered(number);
                if conn < self.connections {
                    topics.remove(conn, |name| {
                        black_box(name);
                    });
                }
            }
        });
        assert!(topics.is_empty());
        nanoseconds(took, left)
    }

    /// The longest single subscribe.
    fn worst(&self) -> Duration {
        let mut topics = Topics::<()>::new();
        let (mut name, mut worst) = (String::new(), Duration::ZERO);
        self.visit(&mut name, |conn, name| {
            let took = timed(|| {
                topics.subscribe(conn, name);
            });
            worst = worst.max(took);
        });
        worst
    }
}

/// The topics that a publish goes to.
fn receivers(topics: &mut Topics, name: &str, found: &mut Vec<TopicId>) {
    if topics.has_patterns() {
        topics.matching(name, found);
    } else {
        found.extend(topics.id(name));
    }
}

/// Reads every subscriber: how many there are.
fn read(subscribers: &[Subscription]) -> usize {
    for subscriber in subscribers {
        black_box(subscriber.conn());
    }
    subscribers.len()
}

fn timed(work: impl FnOnce()) -> Duration {
    let start = Instant::now();
    work();
    start.elapsed()
}

fn nanoseconds(took: Duration, operations: u32) -> f64 {
    took.as_secs_f64() * 1e9 / f64::from(operations)
}

/// Bytes of this process that are in memory.
fn resident() -> io::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other("/proc/self/status has no VmRSS"))
}
