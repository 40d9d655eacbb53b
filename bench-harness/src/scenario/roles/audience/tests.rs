//! A run of several processes in miniature: subscribers, publishers, a server and a coordinator, whose steps come in any
//! order, with messages between them that take their time.

use std::collections::VecDeque;

use proptest::prelude::*;

use super::*;
use crate::agents::Census;
use crate::agents::census::{Curiosity, Sent};
use crate::agents::exchange::{Exchange, Said, Step};
use crate::rng::Rng;

const MILLI: Nanos = 1_000_000;

/// What a server does to deliveries, on average to one in so many.
#[derive(Clone, Copy, Debug, Default)]
struct Treatment {
    drop: Option<u64>,
    repeat: Option<u64>,
    swap: Option<u64>,
}

/// Lost, duplicated and reordered.
type Faults = [u64; 3];

/// A process: its end of the connection with the coordinator, and its threads, of which there is one.
struct Process<'a> {
    census: &'a Census,
    audience: Audience<'a>,
    curiosity: Curiosity,
    /// What its clock shows beyond the world's.
    ahead: Nanos,
    told: bool,
    finished: bool,
    said: VecDeque<Said>,
    heard: VecDeque<Word>,
}

/// What a coordinator says.
enum Word {
    Count,
    Sent(Vec<Sent>),
    Known(Nanos),
}

/// A subscriber, as the server and the world see it.
struct Guest {
    process: usize,
    place: u32,
    topic: usize,
    /// When its upgrade is complete, and when the server has it in the topic; `None`: it is away.
    opens: Option<Nanos>,
    served_from: Nanos,
    open: bool,
    /// It was there at the begin.
    early: bool,
    /// It will not leave.
    stays: bool,
    /// By publisher: what is on the way, whether anything has been, and whether the last of it was sent after the subscriber had
    /// settled, and comes once.
    queues: Vec<VecDeque<u32>>,
    begun: Vec<bool>,
    solid: Vec<bool>,
}

struct World<'a> {
    rng: Rng,
    now: Nanos,
    processes: Vec<Process<'a>>,
    exchange: Exchange,
    guests: Vec<Guest>,
    topics: usize,
    treatment: Treatment,
    /// What the server has done, and what subscribers have noticed.
    done: Faults,
    noticed: [i64; 3],
    /// Deliveries that came.
    received: u64,
}

/// The run's dimensions.
#[derive(Clone, Copy, Debug)]
struct Dimensions {
    processes: usize,
    publishers: usize,
    subscribers: usize,
    topics: usize,
}

impl<'a> World<'a> {
    fn new(seed: u64, all: Dimensions, treatment: Treatment, censuses: &'a [Census]) -> Self {
        let mut rng = Rng::new(seed, 0);
        let process = |(index, census): (usize, &'a Census)| {
            let share = Share {
                index,
                count: all.processes,
            };
            let seats = share.of(all.subscribers as u64) as u32;
            let published = Published::new(census, 0, all.publishers);
            Process {
                census,
                audience: Audience::new(published, share, seats, all.topics),
                curiosity: Curiosity::default(),
                ahead: rng.below(9_999_999) * MILLI,
                told: false,
                finished: false,
                said: VecDeque::new(),
                heard: VecDeque::new(),
            }
        };
        let processes: Vec<Process<'a>> = censuses.iter().enumerate().map(process).collect();
        let guest = |number: usize| Guest {
            process: number % all.processes,
            place: (number / all.processes) as u32,
            topic: number % all.topics,
            opens: None,
            served_from: 0,
            open: false,
            early: false,
            stays: false,
            queues: vec![VecDeque::new(); all.publishers],
            begun: vec![false; all.publishers],
            solid: vec![false; all.publishers],
        };
        Self {
            guests: (0..all.subscribers).map(guest).collect(),
            exchange: Exchange::new(all.processes),
            topics: all.topics,
            now: 0,
            done: [0; 3],
            noticed: [0; 3],
            received: 0,
            rng,
            processes,
            treatment,
        }
    }

    fn draw(&mut self, limit: u64) -> u64 {
        self.rng.below(limit)
    }

    fn one_in(&mut self, count: Option<u64>) -> bool {
        count.is_some_and(|count| self.draw(count) == 0)
    }

    /// Some subscribers are there when it begins.
    fn begin(&mut self) {
        for number in 0..self.guests.len() {
            if self.draw(2) == 0 {
                self.dial(number);
                self.guests[number].early = true;
            }
        }
        let latest = self.guests.iter().filter_map(|guest| guest.opens).max();
        self.now = latest.unwrap_or(0);
        self.open();
        self.now += nanos(SETTLE);
        self.processes.iter_mut().for_each(|it| it.audience.begin());
    }

    fn dial(&mut self, number: usize) {
        let (opening, joining) = (self.draw(200) * MILLI, self.draw(399) * MILLI);
        let guest = &mut self.guests[number];
        guest.opens = Some(self.now + opening);
        // Before the upgrade is seen, or after it.
        guest.served_from = self.now + joining.min(opening + nanos(SETTLE) - 1);
        guest.begun.fill(false);
        guest.solid.fill(false);
    }

    fn open(&mut self) {
        for guest in &mut self.guests {
            if !guest.open && guest.opens.is_some_and(|time| time <= self.now) {
                guest.open = true;
                let process = &mut self.processes[guest.process];
                process.audience.join(guest.place, self.now + process.ahead);
            }
        }
    }

    fn hang_up(&mut self, number: usize) {
        let guest = &mut self.guests[number];
        if guest.open && !guest.stays {
            (guest.open, guest.opens, guest.early) = (false, None, false);
            guest.queues.iter_mut().for_each(VecDeque::clear);
            let process = &mut self.processes[guest.process];
            process.audience.leave(guest.place);
        }
    }

    fn has_settled(&self, guest: &Guest) -> bool {
        let audience = &self.processes[guest.process].audience;
        guest.open && audience.seats[guest.place as usize].settled
    }

    /// A publisher sends; the server does what it does.
    fn publish(&mut self, publisher: usize) {
        let process = &self.processes[publisher % self.processes.len()];
        if process.told {
            return;
        }
        let number = process.census.sent(publisher);
        process.census.sends(publisher, number + 1);
        for at in 0..self.guests.len() {
            let guest = &self.guests[at];
            let served = guest.opens.is_some() && guest.served_from <= self.now;
            if !served || guest.topic != publisher % self.topics {
                continue;
            }
            // What happens to others, nobody can know of.
            let settled = guest.early || self.has_settled(guest);
            let noticed = guest.stays && (settled || guest.begun[publisher]);
            let (empty, solid) = (guest.queues[publisher].is_empty(), guest.solid[publisher]);
            let (drop, repeat, swap) = (
                noticed && self.one_in(self.treatment.drop),
                noticed && self.one_in(self.treatment.repeat),
                noticed && solid && !empty && self.one_in(self.treatment.swap),
            );
            let guest = &mut self.guests[at];
            let queue = &mut guest.queues[publisher];
            if drop {
                self.done[0] += 1;
                continue;
            }
            guest.begun[publisher] = true;
            guest.solid[publisher] = settled;
            if swap && queue.back() == Some(&(number - 1)) {
                queue.insert(queue.len() - 1, number);
                self.done[2] += 1;
                continue;
            }
            queue.push_back(number);
            if repeat {
                queue.push_back(number);
                guest.solid[publisher] = false;
                self.done[1] += 1;
            }
        }
    }

    /// The next message on one of a subscriber's ways comes.
    fn deliver(&mut self, number: usize) {
        let first = self.draw(self.guests[number].queues.len() as u64) as usize;
        let guest = &mut self.guests[number];
        let queues = guest.queues.len();
        let ways = (0..queues).map(|step| (first + step) % queues);
        let Some(way) = ways
            .clone()
            .find(|&way| guest.open && !guest.queues[way].is_empty())
        else {
            return;
        };
        let message = guest.queues[way].pop_front().unwrap();
        let audience = &mut self.processes[guest.process].audience;
        let heard = audience.hear(guest.place, way as u32, message).unwrap();
        self.received += 1;
        match heard.expect("it is there") {
            Heard::New { missed } => self.noticed[0] += missed as i64,
            Heard::Late { missed } => {
                self.noticed[0] += missed as i64 - 1;
                self.noticed[2] += 1;
            }
            Heard::Duplicate => self.noticed[1] += 1,
        }
    }

    fn settle(&mut self, process: usize) {
        let process = &mut self.processes[process];
        let (_, missed) = process.audience.settle(self.now + process.ahead);
        self.noticed[0] += missed as i64;
    }

    /// What an agent does beside its threads.
    fn tick(&mut self, process: usize) {
        let process = &mut self.processes[process];
        if process.finished || !process.census.is_shared() {
            return;
        }
        if process.census.is_over() {
            process.finished = true;
            process.count();
            process.said.push_back(Said::Finished);
        } else if let Some(at) = process
            .curiosity
            .ask(process.census, self.now + process.ahead)
        {
            process.said.push_back(Said::Asked(at));
        }
    }

    fn coordinate(&mut self, agent: usize) {
        let Some(said) = self.processes[agent].said.pop_front() else {
            return;
        };
        self.exchange.hear(agent, said);
        let processes = &mut self.processes;
        let act = |step| {
            match step {
                Step::Count => processes
                    .iter_mut()
                    .for_each(|process| process.heard.push_back(Word::Count)),
                Step::PassOn { sent, known } => {
                    for (process, known) in processes.iter_mut().zip(known) {
                        process.heard.push_back(Word::Sent(sent.clone()));
                        process.heard.extend(known.map(Word::Known));
                    }
                }
            }
            Ok::<(), ()>(())
        };
        self.exchange.go_on(act).unwrap();
    }

    /// Anything, somewhere.
    fn step(&mut self, publishers: usize) {
        self.now += self.draw(8) * MILLI;
        self.open();
        let process = self.draw(self.processes.len() as u64) as usize;
        let guest = self.draw(self.guests.len() as u64) as usize;
        match self.draw(16) {
            0..=4 => {
                let publisher = self.draw(publishers as u64) as usize;
                self.publish(publisher);
            }
            5..=9 => self.deliver(guest),
            10 => self.settle(process),
            11 => self.tick(process),
            12..=13 => self.coordinate(process),
            14 => self.processes[process].listen(),
            _ => match self.guests[guest].opens.is_some() {
                false => self.dial(guest),
                true if self.draw(4) == 0 => self.guests[guest].stays = true,
                true => self.hang_up(guest),
            },
        }
    }

    /// Everybody sends the last message, at some time or other, and what is on the way comes.
    fn end(mut self, publishers: usize) -> (Faults, [i64; 3], u64) {
        for _ in 0..200 {
            let process = self.draw(self.processes.len() as u64) as usize;
            if !std::mem::replace(&mut self.processes[process].told, true) {
                self.processes[process].census.tell();
            }
            let publisher = self.draw(publishers as u64) as usize;
            self.publish(publisher);
            self.deliver(publisher % self.guests.len());
        }
        let is_complete = |it: &Process<'_>| it.told && it.census.is_complete();
        for round in 0.. {
            assert!(round < 10_000, "the processes never agree");
            self.now += MILLI;
            self.open();
            for process in 0..self.processes.len() {
                if !std::mem::replace(&mut self.processes[process].told, true) {
                    self.processes[process].census.tell();
                }
                self.tick(process);
                self.coordinate(process);
                self.processes[process].listen();
            }
            if self.processes.iter().all(is_complete) {
                break;
            }
        }
        for number in 0..self.guests.len() {
            while self.guests[number].open
                && self.guests[number].queues.iter().any(|way| !way.is_empty())
            {
                self.deliver(number);
            }
            let process = self.guests[number].process;
            self.settle(process);
        }
        for process in &mut self.processes {
            self.noticed[0] += process.audience.close() as i64;
        }
        (self.done, self.noticed, self.received)
    }
}

impl Process<'_> {
    fn count(&mut self) {
        let said = &mut self.said;
        let say = |sent| {
            said.push_back(Said::Sent(sent));
            Ok::<(), ()>(())
        };
        self.census.pass_on(say).unwrap();
    }

    /// Takes in what the coordinator says.
    fn listen(&mut self) {
        match self.heard.pop_front() {
            Some(Word::Count) => {
                self.count();
                self.said.push_back(Said::Counted);
            }
            Some(Word::Sent(news)) => self.census.learn(&news).unwrap(),
            Some(Word::Known(time)) => self.census.know(time),
            None => {}
        }
    }
}

/// Plays it. Returns what the server did, what was noticed, and how much came.
fn play(seed: u64, all: Dimensions, treatment: Treatment) -> (Faults, [i64; 3], u64) {
    let alone = all.processes == 1;
    let census = |_| Census::new(all.publishers, 1, alone);
    let censuses: Vec<Census> = (0..all.processes).map(census).collect();
    let mut world = World::new(seed, all, treatment, &censuses);
    world.begin();
    for _ in 0..3_000 {
        world.step(all.publishers);
    }
    world.end(all.publishers)
}

fn dimensions() -> impl Strategy<Value = Dimensions> {
    (1..4_usize, 1..6_usize, 2..9_usize, 1..3_usize).prop_map(
        |(processes, publishers, subscribers, topics)| Dimensions {
            processes,
            publishers: publishers.max(topics),
            subscribers,
            topics,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_is_missing_where_nothing_was_lost(seed: u64, all in dimensions()) {
        let (_, noticed, _) = play(seed, all, Treatment::default());
        prop_assert_eq!(noticed, [0; 3]);
    }

    #[test]
    fn what_the_server_does_is_noticed_exactly(seed: u64, all in dimensions()) {
        let treatment = Treatment { drop: Some(9), repeat: Some(15), swap: Some(3) };
        let (done, noticed, _) = play(seed, all, treatment);
        prop_assert_eq!(done.map(|count| count as i64), noticed);
    }
}

/// The model does what it is for.
#[test]
fn there_is_enough_to_notice() {
    let all = Dimensions {
        processes: 3,
        publishers: 4,
        subscribers: 6,
        topics: 2,
    };
    let treatment = Treatment {
        drop: Some(9),
        repeat: Some(15),
        swap: Some(3),
    };
    let (done, _, received) = play(1, all, treatment);
    assert!(received > 500, "{received}");
    assert!(done.iter().all(|&count| count > 5), "{done:?}");
}

fn audience<'a>(census: &'a Census, publishers: usize) -> Audience<'a> {
    let share = Share { index: 0, count: 2 };
    let mut audience = Audience::new(Published::new(census, 0, publishers), share, 1, 1);
    audience.begin();
    audience
}

/// The count tells that messages were sent after the subscriber had settled, before the first one that came.
#[test]
fn what_was_missed_before_the_count_came_is_found() {
    let census = Census::new(1, 1, false);
    let mut audience = audience(&census, 1);
    audience.join(0, 0);
    let settled = nanos(SETTLE);
    assert_eq!(audience.settle(0), (settled, 0));
    assert_eq!(audience.settle(settled), (settled + nanos(GLANCE), 0));
    let new = Ok(Some(Heard::New { missed: 0 }));
    assert_eq!(audience.hear(0, 0, 20), new);
    census.learn(&[(0, 17)]).unwrap();
    census.know(settled);
    assert_eq!(audience.settle(settled), (Nanos::MAX, 3));
    assert_eq!(audience.hear(0, 0, 18), Ok(Some(Heard::Late { missed: 0 })));
    assert_eq!(audience.hear(0, 0, 21), new);
    census.learn(&[(0, 24)]).unwrap();
    census.know(Nanos::MAX);
    assert_eq!(audience.close(), 2);
}

/// What came before the count may be older than it, and out of order.
#[test]
fn older_messages_show_when_a_subscriber_had_joined() {
    let census = Census::new(2, 1, false);
    let mut audience = audience(&census, 2);
    audience.join(0, 0);
    assert_eq!(audience.hear(0, 0, 9), Ok(Some(Heard::New { missed: 0 })));
    let late = Ok(Some(Heard::Late { missed: 3 }));
    assert_eq!(audience.hear(0, 0, 6), late, "itself, 7 and 8");
    assert_eq!(audience.hear(0, 0, 9), Ok(Some(Heard::Duplicate)));
    census.learn(&[(0, 10), (1, 5)]).unwrap();
    census.know(Nanos::MAX);
    assert_eq!(audience.settle(0), (Nanos::MAX, 0));
    assert_eq!(audience.hear(0, 1, 3), Ok(Some(Heard::New { missed: 0 })));
    assert_eq!(audience.outstanding(), 1);
    assert!(
        audience.hear(0, 2, 0).is_err(),
        "there is no such publisher"
    );
}
