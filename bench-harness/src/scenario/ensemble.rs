//! All roles on one thread: one ring, whose connections belong to one role after the other.

use std::rc::Rc;
use std::time::Duration;

use corecast_protocol::{Opcode, encode_client};

use super::account::{Account, Closed};
use super::curve::Curve;
use super::fleet::{Fleet, Share};
use super::plan::{Message, Plan, Role, TOPIC, Task, Who};
use super::roles::Actor;
use super::roles::broadcast::{Broadcast, Cast};
use super::roles::churn::{Churn, Talk};
use super::roles::echo::{DEPTH, Echo};
use super::roles::idle::Idle;
use super::roles::published::Published;
use super::roles::turns::Dues;
use crate::agents::Census;
use crate::cli::ScenarioArgs;
use crate::client::dial::Failures;
use crate::client::links::{Driver, End, Links, Manner, OpenTimes, Outbox};
use crate::client::publication::Publication;
use crate::client::workload::{Recipe, Workload};
use crate::clock::{Nanos, nanos};
use crate::error::BenchError;
use crate::ring::Wait;
use crate::rng::Rng;
use crate::target::Wire;
use crate::telemetry::progress::Progress;
use crate::telemetry::recorder::{Recorded, Recorder};

/// Mask key of control frames and of churn's messages: any will do.
pub(super) const CONTROL_KEY: [u8; 4] = [0x1f, 0x8b, 0x5c, 0xa7];

/// Opening gives up when there have not been more connections than before for so long…
const STALL: Duration = Duration::from_secs(10);

/// …or none at all, where some could not be opened: nobody is there…
const NOBODY: Duration = Duration::from_secs(3);

/// …and when it has taken so long in all.
const OPENING_LIMIT: Duration = Duration::from_secs(15 * 60);

/// What is on the way at the end is waited for until nothing has come for so long…
const DRAIN_QUIET: Duration = Duration::from_secs(5);

/// …and at most so long.
const DRAIN_LIMIT: Duration = Duration::from_secs(30);

/// Connections may take this long to close in the end.
const CLOSING: Duration = Duration::from_secs(2);

/// While something is waited for, how often to look.
const GLANCE: Duration = Duration::from_millis(5);

/// What a role sends, made once for all threads.
pub(super) enum Material {
    /// Of an echo.
    Echo(Workload),
    /// Of a broadcast.
    Broadcast(Box<Publication>),
    /// Others make their own.
    None,
}

impl Material {
    /// Of a role; the same for all threads of the run of that number, in whatever process.
    pub(super) fn new(role: &Role, number: usize, seed: u64, run: u32) -> Self {
        // Roles of the same kind must not take each other's messages for their own.
        let seed = seed.wrapping_add((number as u64) << 32);
        match &role.task {
            Task::Echo(message) => Self::Echo(workload(message, seed)),
            Task::Broadcast { message, .. } => {
                let publication = Publication::new(&message.contents(), false, seed, run);
                Self::Broadcast(Box::new(publication))
            }
            Task::Idle | Task::Churn { .. } => Self::None,
        }
    }
}

fn workload(message: &Message, seed: u64) -> Workload {
    let recipe = Recipe {
        wire: Wire::WebSocket,
        contents: message.contents(),
        deflate: false,
        in_flight: DEPTH,
    };
    Workload::new(&recipe, seed)
}

/// All roles on one thread.
pub(super) struct Ensemble<'a> {
    actors: Vec<Box<dyn Actor + 'a>>,
    /// By role: frames that its connections send first.
    hellos: Vec<Vec<u8>>,
    /// By slot: whose it is.
    owners: Vec<u16>,
    progress: &'a Progress,
    census: &'a Census,
    recorder: Option<Recorder<'a>>,
    /// From its end on.
    recorded: Option<Recorded>,
    /// Connections of all roles that could not be opened, and that broke.
    refused: Failures,
    broken: Failures,
    /// Connections count as what is done: no role has replies.
    counts_opened: bool,
    length: Nanos,
    measured: std::ops::Range<Nanos>,
}

/// How many slots each role has on a thread.
pub(super) fn slots(plan: &Plan, share: Share) -> usize {
    let of = |role: &Role| share.of(role.connections) + share.of(role.own_publishers());
    plan.roles.iter().map(of).sum::<u64>() as usize
}

impl<'a> Ensemble<'a> {
    /// The roles of `plan` on the thread of this share.
    pub(super) fn new(
        args: &'a ScenarioArgs,
        plan: &'a Plan,
        (materials, census): (&'a [Material], &'a Census),
        share: Share,
        links: &mut Links<'_>,
        progress: &'a Progress,
    ) -> Self {
        let mut ensemble = Self {
            actors: Vec::new(),
            hellos: plan.roles.iter().map(hello).collect(),
            owners: Vec::new(),
            progress,
            census,
            recorded: None,
            recorder: None,
            refused: Failures::default(),
            broken: Failures::default(),
            counts_opened: !plan.has_replies(),
            length: plan.length(),
            measured: plan.measured(),
        };
        let mut publishers = 0;
        for (number, (role, material)) in plan.roles.iter().zip(materials).enumerate() {
            let base = ensemble.owners.len() as u32;
            let slots = share.of(role.connections) + share.of(role.own_publishers());
            ensemble
                .owners
                .extend(std::iter::repeat_n(number as u16, slots as usize));
            let mut recruit = Recruit {
                args,
                plan,
                role,
                share,
                base,
                published: Published::new(census, publishers, role.publishers() as usize),
                rng: Rng::new(args.common.seed, number as u64),
            };
            publishers += role.publishers() as usize;
            ensemble.actors.push(recruit.actor(material, links));
        }
        ensemble
    }

    /// Opens what is wanted at the begin; what cannot be opened stays away.
    pub(super) fn open(&mut self, links: &mut Links<'_>) -> Result<(), BenchError> {
        let clock = links.clock();
        let begin = clock.now();
        let (mut moved, mut most) = (begin, links.open_now());
        loop {
            let now = clock.now();
            self.act(links, now)?;
            if !self.is_waiting(now) {
                return Ok(());
            }
            let nobody = most == 0 && self.refused.total() > 0;
            let patience = nanos(if nobody { NOBODY } else { STALL });
            if now.saturating_sub(moved) > patience || now - begin > nanos(OPENING_LIMIT) {
                links.give_up_opening(Duration::from_nanos(now.saturating_sub(moved)));
                return links.turn(Wait::No, self);
            }
            links.turn(Wait::AtMost(GLANCE), self)?;
            self.show();
            // A server that closes what it has opened gets nowhere, however busy it is.
            if links.open_now() > most {
                (moved, most) = (clock.now(), links.open_now());
            }
        }
    }

    /// Plays the scenario from `start` to its end.
    pub(super) fn run(&mut self, links: &mut Links<'_>, start: Nanos) -> Result<(), BenchError> {
        let clock = links.clock();
        let end = start + self.length;
        let measured = start + self.measured.start..start + self.measured.end;
        self.actors.iter_mut().for_each(|actor| actor.begin(start));
        self.recorder = Some(Recorder::new(self.progress, measured, true));
        loop {
            let now = clock.now();
            if now >= end {
                break;
            }
            let next = self.act(links, now)?.min(end).min(self.look(now));
            let wait = if next <= now {
                Wait::No
            } else {
                Wait::AtMost(clock.until(next))
            };
            links.turn(wait, self)?;
            self.show();
        }
        let now = clock.now();
        self.actors.iter_mut().for_each(|actor| actor.stop(now));
        Ok(())
    }

    /// Waits for what is on the way. While anybody in the run still publishes, that is not known, and it goes on; which is
    /// not for ever, since everybody gives up.
    pub(super) fn drain(&mut self, links: &mut Links<'_>) -> Result<(), BenchError> {
        let clock = links.clock();
        let (mut since, mut moved, mut shown) = (clock.now(), clock.now(), 0);
        let mut complete = false;
        loop {
            let now = clock.now();
            self.act(links, now)?;
            if !complete && self.census.is_complete() {
                (since, moved, complete) = (now, now, true);
            }
            let long = now.saturating_sub(moved) > nanos(DRAIN_QUIET)
                || now.saturating_sub(since) > nanos(DRAIN_LIMIT);
            if complete && (long || !self.is_waiting(now)) {
                break;
            }
            if long {
                self.actors.iter_mut().for_each(|actor| actor.give_up());
            }
            links.turn(Wait::AtMost(GLANCE), self)?;
            let before = std::mem::replace(&mut shown, self.show());
            if shown != before {
                moved = clock.now();
            }
        }
        self.recorded = self.recorder.take().map(Recorder::finish);
        // What was queued for the ring in the last round is submitted here, before Close frames.
        links.turn(Wait::No, self)
    }

    /// Closes all connections.
    pub(super) fn close(&mut self, links: &mut Links<'_>) -> Result<(), BenchError> {
        let clock = links.clock();
        let now = clock.now();
        self.actors
            .iter_mut()
            .for_each(|actor| actor.leave(now, links.outbox()));
        let end = now + nanos(CLOSING);
        while links.open_now() > 0 && clock.now() < end {
            links.turn(Wait::AtMost(clock.until(end)), self)?;
        }
        Ok(())
    }

    /// What each role has noted down, and the latencies of all messages.
    pub(super) fn finish(self) -> (Vec<Closed>, Recorded) {
        let closed = self.actors.into_iter().map(Actor::close);
        let recorded = self.recorded.expect("recording has been stopped");
        (closed.collect(), recorded)
    }

    fn act(&mut self, links: &mut Links<'_>, now: Nanos) -> Result<Nanos, BenchError> {
        let mut next = Nanos::MAX;
        for actor in &mut self.actors {
            next = next.min(actor.act(links, now, &mut self.recorder)?);
        }
        Ok(next)
    }

    fn is_waiting(&self, now: Nanos) -> bool {
        self.actors.iter().any(|actor| actor.is_waiting(now))
    }

    /// Ends the interval if its time is over. Returns when the one that runs will end.
    fn look(&mut self, now: Nanos) -> Nanos {
        self.recorder.as_mut().map_or(Nanos::MAX, |recorder| {
            recorder.look(now);
            recorder.end()
        })
    }

    /// Shows the counts, and returns how much has happened so far: what has come and was sent, and connections that opened or
    /// closed.
    fn show(&self) -> u64 {
        let (mut done, mut sent, mut opened, mut closed, mut errors) = (0, 0, 0, 0, 0);
        for actor in &self.actors {
            let account = actor.account();
            let so_far = account.so_far();
            done += so_far.done;
            sent += so_far.sent;
            opened += so_far.opened;
            closed += so_far.closed;
            errors += account.errors();
        }
        let things = if self.counts_opened { opened } else { done };
        self.progress.show(things, sent, errors);
        done + sent + opened + closed
    }

    #[inline]
    fn actor(&mut self, slot: u32) -> &mut (dyn Actor + 'a) {
        &mut *self.actors[usize::from(self.owners[slot as usize])]
    }
}

fn hello(role: &Role) -> Vec<u8> {
    let mut frames = Vec::new();
    for text in &role.hello {
        encode_client(&mut frames, Opcode::Text, text.as_bytes(), CONTROL_KEY);
    }
    frames
}

impl Driver for Ensemble<'_> {
    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, out: &mut Outbox) {
        let hello = &self.hellos[usize::from(self.owners[slot as usize])];
        if !hello.is_empty() {
            out.send(slot, hello.clone());
        }
        self.actor(slot).opened(slot, times, now, out);
    }

    #[inline]
    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<(), String> {
        let owner = usize::from(self.owners[slot as usize]);
        self.actors[owner].received(slot, bytes, now, out, &mut self.recorder)
    }

    fn writable(&mut self, slot: u32) {
        self.actor(slot).writable(slot);
    }

    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos) {
        self.actor(slot).ended(slot, opened, end, now);
        let accounts = || self.actors.iter().map(|actor| actor.account());
        let failed: u64 = accounts().map(Account::errors).sum();
        if failed == self.refused.total() + self.broken.total() {
            return;
        }
        let (mut refused, mut broken) = (Failures::default(), Failures::default());
        for account in accounts() {
            refused.merge(account.refused.clone());
            broken.merge(account.broken.clone());
        }
        (self.refused, self.broken) = (refused, broken);
    }

    fn failures(&self) -> [&Failures; 2] {
        [&self.refused, &self.broken]
    }
}

/// Makes the actor of a role.
struct Recruit<'a> {
    args: &'a ScenarioArgs,
    plan: &'a Plan,
    role: &'a Role,
    share: Share,
    base: u32,
    published: Published<'a>,
    rng: Rng,
}

impl<'a> Recruit<'a> {
    fn actor(&mut self, material: &'a Material, links: &mut Links<'_>) -> Box<dyn Actor + 'a> {
        let slots = self.share.of(self.role.connections) as u32;
        let account = Account::new(self.plan);
        let fleet = self.fleet(self.base, slots, &self.role.open);
        match (&self.role.task, material) {
            (Task::Echo(_), Material::Echo(load)) => {
                let region = links.adopt(load.frames.clone());
                let dues = self.dues();
                Box::new(Echo::new(
                    load,
                    region,
                    self.args.verify,
                    slots,
                    fleet,
                    dues,
                    account,
                ))
            }
            (
                Task::Broadcast {
                    topics, publishers, ..
                },
                Material::Broadcast(publication),
            ) => {
                let own = self.share.of(self.role.own_publishers()) as u32;
                let cast = Cast {
                    share: self.share,
                    subscribers: slots,
                    publishers: own,
                    topics: *topics as usize,
                };
                let fleet_of_publishers = match publishers {
                    Who::Subscribers => None,
                    Who::Own(count) => {
                        let all = Curve::constant(*count as f64, self.plan.length());
                        Some(self.fleet(self.base + slots, own, &all))
                    }
                };
                Box::new(Broadcast::new(
                    (publication, self.published),
                    self.args.verify,
                    &cast,
                    fleet,
                    fleet_of_publishers,
                    self.dues(),
                    account,
                ))
            }
            (
                Task::Churn {
                    messages,
                    size,
                    hold,
                },
                _,
            ) => {
                let talk = Talk {
                    skip: self.role.skip,
                    messages: *messages,
                    size: *size,
                    hold: *hold,
                };
                let dues = self.dues();
                Box::new(Churn::new(
                    self.base,
                    slots,
                    &talk,
                    dues,
                    account,
                    &mut self.rng,
                ))
            }
            (Task::Idle, _) => Box::new(Idle::new(slots, fleet, account)),
            _ => unreachable!("materials are made for the roles in their order"),
        }
    }

    fn fleet(&self, base: u32, slots: u32, wanted: &Curve) -> Fleet {
        Fleet::new(
            base,
            slots,
            self.share,
            wanted,
            self.plan.length(),
            CONTROL_KEY,
        )
        .with_greeting(self.role.skip)
    }

    /// A thread without a connection that may send has nothing to do.
    fn dues(&self) -> Dues {
        let senders = self.role.senders(&self.plan.phases);
        Dues::new(&self.role.rate, self.share, senders)
    }
}

/// How each connection of a thread is made, in the order of its slots.
pub(super) fn manners(plan: &Plan, share: Share, url_path: &str) -> Vec<Rc<Manner>> {
    let mut list = Vec::new();
    for role in &plan.roles {
        let path = role.path.as_deref().unwrap_or(url_path);
        let (publish, topics) = match &role.task {
            Task::Broadcast {
                publish_path,
                topics,
                ..
            } => (publish_path.as_deref().unwrap_or(path), *topics as u32),
            _ => (path, 1),
        };
        let of = |path: &str, count: u64| -> Vec<Rc<Manner>> {
            let named = |topic: u32| Manner {
                path: path.replace(TOPIC, &topic.to_string()),
                stalls: false,
            };
            let by_topic: Vec<Rc<Manner>> =
                (0..topics).map(|topic| Rc::new(named(topic))).collect();
            let topic = |place: u32| (share.number(place) % topics) as usize;
            (0..count as u32)
                .map(|place| Rc::clone(&by_topic[topic(place)]))
                .collect()
        };
        list.extend(of(path, share.of(role.connections)));
        list.extend(of(publish, share.of(role.own_publishers())));
    }
    list
}
