//! What subscriptions cost, as an allocator sees it.

use allocation_counter::measure;
use corecast_topics::{Memory, Topics};

/// Subscriptions of each shape, about. Multiplied by no round number, so that nothing fits its container by luck.
const SUBSCRIPTIONS: u32 = 100_003;

/// The budget in bytes, growth slack included.
const BUDGET: usize = 16;

/// So many topics for each connection, and connections for each topic.
struct Shape {
    what: &'static str,
    connections: u32,
    topics_each: u32,
    topics: u32,
}

const fn shape(what: &'static str, connections: u32, topics_each: u32, topics: u32) -> Shape {
    Shape {
        what,
        connections,
        topics_each,
        topics,
    }
}

const SHAPES: &[Shape] = &[
    shape("everybody in one room", SUBSCRIPTIONS, 1, 1),
    shape(
        "one connection in every room",
        1,
        SUBSCRIPTIONS,
        SUBSCRIPTIONS,
    ),
    shape("a room for each", SUBSCRIPTIONS, 1, SUBSCRIPTIONS),
    shape("two to a room", SUBSCRIPTIONS, 1, SUBSCRIPTIONS / 2),
    shape("everybody in two rooms", SUBSCRIPTIONS / 2, 2, 2),
    shape(
        "two rooms of three",
        SUBSCRIPTIONS / 2,
        2,
        SUBSCRIPTIONS / 3,
    ),
    shape("three rooms of many", SUBSCRIPTIONS / 3, 3, 1_000),
    shape("seven rooms", SUBSCRIPTIONS / 7, 7, SUBSCRIPTIONS / 7),
    shape(
        "the longest blocks",
        SUBSCRIPTIONS / 32,
        32,
        SUBSCRIPTIONS / 32,
    ),
    shape(
        "the shortest vectors",
        SUBSCRIPTIONS / 33,
        33,
        SUBSCRIPTIONS / 33,
    ),
    shape("everybody in every room", 547, 547, 547),
];

impl Shape {
    /// Sees the table whenever the number of subscriptions has grown by a percent.
    fn fill(&self, topics: &mut Topics, mut look: impl FnMut(&Topics, usize)) {
        let (mut made, mut next) = (0, 1_000);
        for conn in 0..self.connections {
            for number in 0..self.topics_each {
                // Neighbours in a topic are no neighbours among the connections.
                let topic = (u64::from(conn) * u64::from(self.topics_each) + u64::from(number))
                    % u64::from(self.topics);
                topics.subscribe(conn, &format!("room/{topic}"));
                made += 1;
                if made >= next {
                    look(topics, made);
                    next = made + made / 100;
                }
            }
        }
        look(topics, made);
    }
}

#[test]
fn a_subscription_stays_within_its_budget_while_the_table_grows() {
    for shape in SHAPES {
        let mut worst = 0.0_f64;
        shape.fill(&mut Topics::new(), |topics, made| {
            // Pages that are not full weigh on small tables.
            if made >= 30_000 {
                worst = worst.max(topics.memory().subscriptions as f64 / made as f64);
            }
        });
        println!("{}: at most {worst:.2} bytes", shape.what);
        assert!(
            worst > 11.0,
            "{}: {worst} bytes cannot hold two halves",
            shape.what
        );
        assert!(worst <= BUDGET as f64, "{}: {worst} bytes", shape.what);
    }
}

#[test]
fn the_memory_told_is_the_memory_taken() {
    for shape in SHAPES {
        let mut told = Memory {
            subscriptions: 0,
            topics: 0,
        };
        let mut topics = None;
        let taken = measure(|| {
            let table = topics.insert(Topics::new());
            shape.fill(table, |_, _| {});
            table.pin("pinned/topic");
            table.subscribe(0, "a/*/b");
            table.set_slow(SUBSCRIPTIONS, true);
            told = table.memory();
        });
        let told = told.subscriptions + told.topics;
        assert_eq!(taken.bytes_current, told as i64, "{}", shape.what);
    }
}
