//! One run: a core, its ring, and the world around them, turn by turn.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::admission::Admission;
use super::application::Application;
use super::compressing::Frames;
use super::conversation::Conversation;
use super::elsewhere::Elsewhere;
use super::invariants::{Invariants, link_of};
use super::peers::Peers;
use super::scenario::{Patterns, Scenario};
use super::stage::Stage;
use crate::core::Core;
use crate::core::interest::{Interests, Registry};
use crate::core::mailbox::{self, Mail, Mailboxes};
use crate::core::ring_loop::Pump;
use crate::core::stats::CoreStats;
use crate::core::sync::AtomicU64;
use crate::transport::ring::simulated::{Dice, Fault, Log, SimulatedKernel, World, listener};
use crate::transport::ring::{Ring, Wait};

/// Turns that the calm after the faults may take.
const CALM_TURNS: usize = 4_000;

/// Turns that a core may take to end once its deadline is past.
const TURNS_TO_END: u32 = 40;

/// How one run went.
pub(super) struct Outcome {
    pub(super) hash: u64,
    pub(super) faults: [u64; Fault::COUNT],
    pub(super) turns: usize,
    /// Connections that were opened.
    pub(super) opened: u64,
    /// Statuses that the server has answered on its own.
    pub(super) refusals: Vec<u16>,
    /// Pings that a pong to a later one answered as well.
    pub(super) skipped: u64,
    /// How often other things happened that should happen.
    pub(super) sights: BTreeMap<&'static str, u64>,
}

/// A run in progress.
pub(super) struct Simulation {
    world: Rc<RefCell<World>>,
    stage: Rc<RefCell<Stage>>,
    peers: Rc<RefCell<Peers>>,
    application: Application,
    core: Core,
    pump: Pump<SimulatedKernel>,
    mailboxes: Mailboxes,
    invariants: Invariants,
    admission: Admission,
    scenario: Scenario,
    started: Instant,
    turns: usize,
}

impl Simulation {
    /// Sets up what a seed stands for. The world is shared, so that its log outlives a panic.
    pub(super) fn new(seed: u64, aloud: bool) -> io::Result<Self> {
        let mut dice = Dice::new(seed);
        let scenario = Scenario::draw(&mut dice);
        let started = Instant::now();
        let room = scenario.room;
        let (mailboxes, mut posts) =
            mailbox::set_up_small(scenario.cores, room.entries, room.bytes as u64)?;
        let post = posts.remove(0);
        let registry = Arc::new(Registry::new());
        let stage = Rc::new(RefCell::new(Stage {
            conversations: Vec::new(),
            mailed: Vec::new(),
            patterns: Patterns::new(scenario.largest, scenario.compressing.is_on()),
            frames: Frames::new(scenario.compressing),
            largest: scenario.largest,
            play: scenario.play.clone(),
            elsewhere: Elsewhere::new(&mut dice, posts, room, &registry),
            retained: BTreeMap::new(),
            sights: BTreeMap::new(),
            numbered: 0,
            started,
            calm: false,
        }));
        let peers = Peers::new(
            &mut dice,
            scenario.peers,
            scenario.hosts,
            Rc::clone(&stage),
            Arc::clone(&mailboxes),
        );
        let peers = Rc::new(RefCell::new(peers));
        let world = Rc::new(RefCell::new(World::new(dice, Log::new(aloud))?));
        let application = Application {
            world: Rc::clone(&world),
            stage: Rc::clone(&stage),
        };
        let config = Arc::new(scenario.config.clone());
        let stats = CoreStats::new(Arc::new(AtomicU64::new(0)), config.max_connections);
        let interests = Interests::new(registry, 0);
        let mut core = Core::new(
            config,
            Arc::new(stats),
            post,
            interests,
            Box::new(application.clone()),
        );
        core.started = started;
        let outside: Rc<RefCell<Peers>> = Rc::clone(&peers);
        let kernel = SimulatedKernel::new(Rc::clone(&world), outside, started, scenario.queues);
        let ring = Ring::simulated(kernel, scenario.pool)?;
        let mut pump = Pump::new(ring, vec![listener(&world)?], scenario.config.busy_poll);
        pump.watch_bell(&core)?;
        Ok(Self {
            world,
            stage,
            peers,
            application,
            core,
            pump,
            mailboxes,
            invariants: Invariants::new(scenario.pool),
            admission: Admission::new(scenario.allowance),
            scenario,
            started,
            turns: 0,
        })
    }

    pub(super) fn world(&self) -> &Rc<RefCell<World>> {
        &self.world
    }

    /// Runs to the end, or to the first violation.
    pub(super) fn run(&mut self) -> Result<Outcome, String> {
        let leaves_at = self
            .scenario
            .leaves
            .then(|| self.among(0..=self.scenario.turns - 1));
        for turn in 0..self.scenario.turns {
            if leaves_at == Some(turn) {
                self.tell_to_leave();
            }
            self.turn()?;
            if self.core.is_done() {
                return self.finish();
            }
            self.between_turns()?;
        }
        if self.scenario.leaves {
            self.until_done()?;
        } else {
            self.calm_down()?;
            self.everybody_leaves()?;
        }
        self.finish()
    }

    fn turn(&mut self) -> Result<(), String> {
        self.turns += 1;
        let began = self.world.borrow().time;
        self.read_mail();
        let (waits, looks) = self.calls();
        let waiting = !self.core.hub.output.batches.is_empty();
        let untaken = self.pump.ring.has_completions();
        let progress = self.pump.turn(&mut self.core).map_err(|e| e.to_string())?;
        let world = &mut *self.world.borrow_mut();
        let (waits_after, looks_after) = self.calls();
        let slept = waits_after > waits;
        // Somebody who looked before may have taken them.
        if slept && untaken && looks_after == looks {
            let what = || "the loop waited although completions were there".to_owned();
            world.log.violation(what);
        }
        let dirty = self.core.has_work();
        self.invariants
            .check_progress(world, progress || dirty, slept);
        let stage = &mut *self.stage.borrow_mut();
        if waiting && looks_after > looks + 1 {
            stage.saw("looked for more before a flush");
        }
        self.admission.check(&self.core, world, stage);
        self.invariants
            .check(&self.core, &self.pump, world, stage, began);
        match world.log.first_violation() {
            Some(what) => Err(what.to_owned()),
            None => Ok(()),
        }
    }

    /// Calls that were allowed to wait, and such that only looked, until now.
    fn calls(&self) -> (u64, u64) {
        let kernel = self.pump.ring.kernel();
        (kernel.waits(), kernel.looks())
    }

    /// Reads the mail as the core does when a turn begins, and looks at what each piece of it leads to.
    fn read_mail(&mut self) {
        if !self.scenario.play.watches_mail {
            return;
        }
        let now = self.pump.ring.now();
        self.core.advance(now);
        while !self.core.hub.crowded && self.core.hub.post.has_mail() {
            self.core.hub.post.collect();
            while !self.core.hub.crowded
                && let Some(mail) = self.core.hub.post.next_mail()
            {
                match &mail {
                    Mail::Publish(publication) => {
                        self.application.deliver(&mut self.core.hub, publication);
                    }
                    _ => self.core.on_mail(now, &mail),
                }
            }
        }
    }

    /// Futures run, and the loop goes to sleep beside them, as `Pump::sleep_in_runtime` does.
    fn between_turns(&mut self) -> Result<(), String> {
        self.others_act()?;
        if self.among(0..=5) == 0 {
            let mut application = self.application.clone();
            application.between_turns(&mut self.core.hub);
        }
        if self.among(0..=9) == 0 && !self.core.has_work() && self.pump.starved.is_empty() {
            let submitted = self.pump.ring.uring().batch().submit(Wait::No);
            submitted.map_err(|e| e.to_string())?;
        }
        Ok(())
    }

    /// The other cores read what was sent to them.
    fn others_act(&mut self) -> Result<(), String> {
        let stage = &mut *self.stage.borrow_mut();
        let dice = &mut self.world.borrow_mut().dice;
        let Stage {
            elsewhere,
            play,
            conversations,
            ..
        } = stage;
        elsewhere.act(dice, |dice| play.any_filter(dice))?;
        let hub = &self.core.hub;
        let mut open = hub.conns.indices();
        open.retain(|&index| hub.conns[index].is_open());
        let has_subscribers = |topic| {
            let mut ids = open.iter().map(|&index| hub.conns[index].data);
            ids.any(|id| conversations[id as usize].receives(topic))
        };
        elsewhere.check_knowledge(has_subscribers)
    }

    fn tell_to_leave(&mut self) {
        let wait = Duration::from_millis(self.among(0..=3_000) as u64);
        let mail = match self.among(0..=3) {
            0 => Mail::Stop,
            _ => Mail::Drain(self.started + self.world.borrow().time + wait),
        };
        self.mailboxes[0]
            .post(mail)
            .expect("orders are always taken");
        let mut world = self.world.borrow_mut();
        world.bell = true;
        world.note("drain", wait.as_millis() as i64, 0);
    }

    /// On its way out, the core is done at its deadline, however its peers behave.
    fn until_done(&mut self) -> Result<(), String> {
        let deadline = self.world.borrow().time + Duration::from_secs(4);
        let mut late = 0;
        while !self.core.is_done() {
            self.turn()?;
            // The clock may have jumped past it just now.
            late += u32::from(self.world.borrow().time > deadline);
            if late > TURNS_TO_END {
                return Err(format!(
                    "not done long after the deadline: {} connections, leaving: {}",
                    self.core.hub.conns.len(),
                    self.core.hub.leaving
                ));
            }
        }
        Ok(())
    }

    /// The faults stop, everybody reads: all that was accepted arrives, and all that is owed comes.
    fn calm_down(&mut self) -> Result<(), String> {
        {
            let mut world = self.world.borrow_mut();
            world.dice.calm_down();
            world.note("calm", 0, 0);
            for link in &mut world.links {
                link.send_buffer = link.send_buffer.max(1 << 20);
                link.receive_buffer = link.receive_buffer.max(1 << 20);
            }
            let mut stage = self.stage.borrow_mut();
            stage.calm = true;
            stage.elsewhere.calm_down();
            self.peers.borrow_mut().calm_down(world.time);
        }
        self.application.clone().resume_all(&mut self.core.hub);
        for _ in 0..CALM_TURNS {
            self.turn()?;
            self.others_act()?;
            if self.missing().is_none() {
                return Ok(());
            }
        }
        Err(self.missing().unwrap_or_default())
    }

    /// What somebody still waits for.
    fn missing(&self) -> Option<String> {
        let (stage, peers) = (self.stage.borrow(), self.peers.borrow());
        if !peers.are_silent() {
            return Some("somebody cannot say all".to_owned());
        }
        if !stage.elsewhere.is_settled() {
            return Some("another core waits for mail".to_owned());
        }
        let hub = &self.core.hub;
        hub.conns.indices().into_iter().find_map(|index| {
            let conn = &hub.conns[index];
            let id = link_of(conn);
            if !conn.is_open() || !peers.is_waiting(id) {
                return None;
            }
            let conversation = &stage.conversations[id as usize];
            (!conversation.is_settled()).then(|| format!("connection {id} waits: {conversation:?}"))
        })
    }

    fn everybody_leaves(&mut self) -> Result<(), String> {
        self.peers.borrow_mut().leave(&mut self.world.borrow_mut());
        for _ in 0..CALM_TURNS {
            if self.core.hub.conns.len() == 0 && self.world.borrow().asleep {
                return Ok(());
            }
            self.turn()?;
        }
        Err(format!("{} connections remain", self.core.hub.conns.len()))
    }

    fn finish(&mut self) -> Result<Outcome, String> {
        // What the last turn has received comes back with the turn after next.
        for _ in 0..2 {
            self.turn()?;
        }
        self.stage.borrow_mut().elsewhere.calm_down();
        self.others_act()?;
        Invariants::check_end(&self.core, &self.pump)?;
        let stage = self.stage.borrow();
        stage.elsewhere.check_end()?;
        let unclosed = stage
            .conversations
            .iter()
            .position(|c| c.opened && !c.closed);
        if let Some(id) = unclosed {
            return Err(format!("connection {id} was never closed"));
        }
        let mut sights = stage.sights.clone();
        for (sight, count) in stage
            .conversations
            .iter()
            .flat_map(Conversation::compressed)
        {
            *sights.entry(sight).or_default() += count;
        }
        let world = self.world.borrow();
        let refusals = stage.conversations.iter();
        Ok(Outcome {
            hash: world.log.hash(),
            faults: *world.dice.counts(),
            turns: self.turns,
            opened: self.core.hub.stats.opened.get(),
            refusals: refusals.filter_map(|c| c.refused_with).collect(),
            skipped: stage.conversations.iter().map(|c| c.skipped).sum(),
            sights,
        })
    }

    fn among(&self, range: std::ops::RangeInclusive<usize>) -> usize {
        self.world.borrow_mut().dice.among(range)
    }
}
