//! Connections on one ring: opening, the upgrade, receiving, sending, ending.
//!
//! [`Links`] does what every command needs and hands the rest to a [`Driver`]. Its rule for sends is
//! the ring's: at most one per connection between two turns, and none while a polled one is
//! under way.

mod driver;
mod ending;
mod numbering;
mod outbox;

use std::io;
use std::mem;
use std::net::SocketAddr;
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::time::Duration;

use socket2::Socket;

use super::asides::{Sieves, Sifted};
use super::sources::Sources;
use super::team::Member;
use super::upgrade::{Upgrade, Wishes};
use crate::clock::{Clock, Nanos};
use crate::error::BenchError;
use crate::ring::{Completion, Lent, Region, Ring, Wait};
use crate::rng::Rng;
use crate::target::{Target, Wire};
use crate::telemetry::progress::Progress;
pub(crate) use driver::{Driver, End, OpenTimes};
use ending::connect_failure;
use numbering::Numbering;
pub(crate) use outbox::Outbox;

/// Receive buffer that a connection that stalls asks for, in bytes: as good as none, so that what is sent to it stays with
/// the server.
const STALLED_BUFFER: usize = 4096;

/// A turn sleeps at most so long, so that a run that is called off ends soon.
const ATTENTION: Duration = Duration::from_millis(500);

/// How a connection is made, when not all are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Path and query of the upgrade.
    pub(crate) path: String,
    /// Reads nothing after the upgrade, until [`Links::read_stalled`].
    pub(crate) stalls: bool,
}

/// The connections of one thread.
pub(crate) struct Links<'a> {
    // The ring comes first: it is closed before the sockets are.
    ring: Ring,
    links: Vec<Link>,
    target: Target,
    wishes: Wishes,
    numbering: Numbering,
    /// Leave out what is none of the load's, where there can be such messages.
    sieves: Option<Sieves>,
    /// By slot; the slots beyond have the target's path and do not stall.
    manners: Vec<Rc<Manner>>,
    /// Connections that stall are read all the same.
    reads_stalled: bool,
    sources: Sources,
    clock: Clock,
    rng: Rng,
    /// Where the connections' states are shown.
    progress: &'a Progress,
    outbox: Outbox,
    /// How many failures are shown.
    failed: u64,
    /// Receives to arm again.
    rearm: Vec<u32>,
    /// Connections that are over.
    over: Vec<u32>,
    opening: usize,
    open: usize,
}

#[derive(Default)]
struct Link {
    socket: Option<Socket>,
    stage: Stage,
    /// A connect is under way.
    connecting: bool,
    /// A receive is armed.
    receiving: bool,
    /// A polled send is under way.
    polled: bool,
    /// What was last sent from a region and is not known to have left.
    region: Option<Region>,
    rest: Range<usize>,
    /// From when it was due until it began.
    waited: Nanos,
    /// When the stage before this one began.
    since: Nanos,
    tcp: Nanos,
}

#[derive(Default)]
enum Stage {
    #[default]
    Free,
    Connecting,
    Upgrading(Box<Upgrade>),
    Open,
    /// Waits for its last completions.
    Ended(Box<(bool, End)>),
}

impl<'a> Links<'a> {
    /// Prepares `slots` connections to `address`; `rng` draws the nonces.
    ///
    /// # Errors
    /// When io_uring cannot be had.
    pub(crate) fn new(
        target: &Target,
        wishes: Wishes,
        address: SocketAddr,
        sources: Sources,
        slots: usize,
        rng: Rng,
        member: &Member<'a>,
    ) -> Result<Self, BenchError> {
        let mut links = Vec::new();
        links.resize_with(slots, Link::default);
        Ok(Self {
            ring: Ring::new(Some(address.into()))?,
            links,
            target: target.clone(),
            sieves: wishes.asides().map(|asides| Sieves::new(asides, slots)),
            wishes,
            numbering: Numbering::of(member),
            manners: Vec::new(),
            reads_stalled: false,
            sources,
            clock: member.clock,
            rng,
            progress: member.progress,
            outbox: Outbox::default(),
            failed: 0,
            rearm: Vec::new(),
            over: Vec::new(),
            opening: 0,
            open: 0,
        })
    }

    /// Offers permessage-deflate without context takeover on every connection, and takes no other answer than yes. To be
    /// called before any is dialled.
    pub(crate) fn insist_on_deflate(&mut self) {
        self.wishes.insist_on_deflate();
    }

    /// Says how the connection of each slot is made. To be called before any is dialled.
    pub(crate) fn set_manners(&mut self, manners: Vec<Rc<Manner>>) {
        self.manners = manners;
    }

    /// The connections of this slot and those after it are numbered on their own, from `number` on over all threads.
    pub(crate) fn number_from(&mut self, slot: u32, number: u64) {
        self.numbering.begin_second(slot, number);
    }

    /// From now on the connections that stalled are read.
    pub(crate) fn read_stalled(&mut self) {
        self.reads_stalled = true;
        let stalled = |slot: &u32| self.stalls(*slot);
        self.rearm = self.open_slots().filter(stalled).collect();
    }

    /// The run's clock.
    pub(crate) fn clock(&self) -> Clock {
        self.clock
    }

    /// Connections on the way to being open.
    pub(crate) fn opening(&self) -> usize {
        self.opening
    }

    /// Connections that are open now.
    pub(crate) fn open_now(&self) -> usize {
        self.open
    }

    /// Slots whose connection is open.
    pub(crate) fn open_slots(&self) -> impl Iterator<Item = u32> {
        let open =
            |(slot, link): (usize, &Link)| matches!(link.stage, Stage::Open).then_some(slot as u32);
        self.links.iter().enumerate().filter_map(open)
    }

    /// Keeps bytes to be sent from with [`Links::send`].
    pub(crate) fn adopt(&mut self, bytes: Vec<u8>) -> Region {
        self.ring.adopt(bytes)
    }

    /// Begins to open the connection of a free slot.
    ///
    /// # Errors
    /// When no socket can be had; the slot stays free.
    pub(crate) fn dial(&mut self, slot: u32) -> io::Result<()> {
        self.dial_due(slot, self.clock.now())
    }

    /// The same, of a connection that was due then.
    ///
    /// # Errors
    /// Those of [`Self::dial`].
    pub(crate) fn dial_due(&mut self, slot: u32, due: Nanos) -> io::Result<()> {
        let socket = self.sources.socket()?;
        if self.stalls(slot) {
            // Before it connects, so that the window it offers is small from the start.
            socket.set_recv_buffer_size(STALLED_BUFFER)?;
        }
        self.ring.connect(socket.as_fd(), slot)?;
        let now = self.clock.now();
        let link = &mut self.links[slot as usize];
        debug_assert!(matches!(link.stage, Stage::Free));
        *link = Link {
            socket: Some(socket),
            stage: Stage::Connecting,
            connecting: true,
            waited: now.saturating_sub(due),
            since: now,
            ..Link::default()
        };
        self.opening += 1;
        Ok(())
    }

    /// Whether [`Links::send`] may be called for this connection in this turn.
    #[inline]
    pub(crate) fn can_send(&self, slot: u32) -> bool {
        let link = &self.links[slot as usize];
        matches!(link.stage, Stage::Open) && !link.polled
    }

    /// Sends a range of an adopted region, at most once per connection and turn. What does not fit
    /// into the socket follows by itself; [`Driver::writable`] then tells when it is through.
    #[inline]
    pub(crate) fn send(
        &mut self,
        slot: u32,
        region: Region,
        range: Range<usize>,
    ) -> io::Result<()> {
        let link = &mut self.links[slot as usize];
        debug_assert!(!link.polled);
        link.region = Some(region);
        link.rest = range.clone();
        let socket = link
            .socket
            .as_ref()
            .expect("an open connection has a socket");
        self.ring.send_silent(socket.as_fd(), slot, region, range)
    }

    /// For sends of their own and hang-ups. Not for a connection that [`Links::send`] was called
    /// for since the last turn.
    pub(crate) fn outbox(&mut self) -> &mut Outbox {
        &mut self.outbox
    }

    /// Connections that are not quite over.
    pub(crate) fn ending(&self) -> usize {
        let ended = |link: &&Link| matches!(link.stage, Stage::Ended(_));
        self.links.iter().filter(ended).count()
    }

    /// Submits what is queued, waits (half a second at most), and handles all that came.
    ///
    /// # Errors
    /// When the ring itself fails, or the run has been called off.
    pub(crate) fn turn(&mut self, wait: Wait, driver: &mut impl Driver) -> Result<(), BenchError> {
        if self.progress.is_called_off() {
            return Err(BenchError::CalledOff);
        }
        self.flush_outbox()?;
        self.ring.turn(wait.at_most(ATTENTION))?;
        let now = self.clock.now();
        while let Some(completion) = self.ring.next() {
            match completion {
                Completion::Received { slot, bytes, armed } => {
                    self.received(slot, bytes, armed, now, driver);
                }
                Completion::Short { slot, sent } => self.short(slot, sent)?,
                Completion::Sent { slot, sent } => self.sent(slot, sent, driver)?,
                Completion::Connected { slot, result } => {
                    self.connected(slot, result, now, driver)?;
                }
                Completion::Accepted { .. } => unreachable!("the client never accepts"),
            }
        }
        self.rearm()?;
        self.remove(driver, now);
        self.progress.show_connections(self.opening, self.open);
        // Before the driver queues sends of its own: a control frame must not share a submission
        // with another send of its connection.
        self.flush_outbox()?;
        Ok(())
    }

    fn connected(
        &mut self,
        slot: u32,
        result: io::Result<()>,
        now: Nanos,
        driver: &mut impl Driver,
    ) -> io::Result<()> {
        let link = &mut self.links[slot as usize];
        link.connecting = false;
        if !matches!(link.stage, Stage::Connecting) {
            // It was given up meanwhile, and only waited for this.
            self.over.push(slot);
            return Ok(());
        }
        if let Err(error) = result {
            self.fail(slot, End::Failed(connect_failure(&error)));
            return Ok(());
        }
        link.tcp = now.saturating_sub(link.since);
        link.since = now;
        self.rearm.push(slot);
        if self.target.wire == Wire::Raw {
            link.stage = Stage::Open;
            self.opening -= 1;
            self.open += 1;
            let times = OpenTimes {
                waited: link.waited,
                tcp: link.tcp,
                upgrade: None,
            };
            driver.opened(slot, times, now, &mut self.outbox);
            return Ok(());
        }
        let upgrade = Upgrade::new(self.numbering.number(slot), self.rng.bytes());
        let path = path_of(&self.manners, &self.target, slot);
        let request = upgrade.request(&self.wishes, path);
        link.stage = Stage::Upgrading(Box::new(upgrade));
        let request = match request {
            Ok(request) => request,
            Err(error) => {
                self.fail(slot, End::Failed(format!("request: {error}")));
                return Ok(());
            }
        };
        link.polled = true;
        let socket = link.socket.as_ref().expect("a connected link has a socket");
        self.ring.send_owned(socket.as_fd(), slot, request)
    }

    #[inline]
    fn received(
        &mut self,
        slot: u32,
        bytes: io::Result<Option<Lent>>,
        armed: bool,
        now: Nanos,
        driver: &mut impl Driver,
    ) {
        let link = &mut self.links[slot as usize];
        link.receiving = armed;
        let mut lent = match bytes {
            Ok(Some(lent)) => lent,
            Ok(None) => {
                let end = match &link.stage {
                    Stage::Upgrading(upgrade) => {
                        End::Failed(upgrade.unanswered("it ended the connection"))
                    }
                    _ => End::Closed,
                };
                return self.fail(slot, end);
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.rearm.push(slot);
                return;
            }
            Err(error) => return self.fail(slot, End::Failed(format!("receive: {error}"))),
        };
        if !armed {
            self.rearm.push(slot);
        }
        let bytes = self.ring.bytes_mut(&mut lent);
        let outcome = match &mut link.stage {
            Stage::Open => hand_on(&mut self.sieves, slot, bytes, now, driver, &mut self.outbox),
            Stage::Upgrading(upgrade) => match upgrade.answered(
                &self.wishes,
                path_of(&self.manners, &self.target, slot),
                bytes,
            ) {
                Ok(None) => Ok(()),
                Err(reason) => Err(reason),
                Ok(Some(mut early)) => {
                    link.stage = Stage::Open;
                    self.opening -= 1;
                    self.open += 1;
                    let times = OpenTimes {
                        waited: link.waited,
                        tcp: link.tcp,
                        upgrade: Some(now - link.since),
                    };
                    let hello = self.wishes.hello(self.numbering.number(slot));
                    if !hello.is_empty() {
                        self.outbox.send(slot, hello);
                    }
                    if let Some(sieves) = &mut self.sieves {
                        sieves.begin(slot);
                    }
                    driver.opened(slot, times, now, &mut self.outbox);
                    if early.is_empty() {
                        Ok(())
                    } else {
                        let out = &mut self.outbox;
                        hand_on(&mut self.sieves, slot, &mut early, now, driver, out)
                    }
                }
            },
            Stage::Free | Stage::Connecting | Stage::Ended(_) => Ok(()),
        };
        self.ring.give_back(lent);
        if let Err(reason) = outcome {
            self.fail(slot, End::Failed(reason));
        }
    }

    /// A silent send fell short: the rest is sent by a polled one.
    fn short(&mut self, slot: u32, sent: io::Result<usize>) -> io::Result<()> {
        let link = &mut self.links[slot as usize];
        match sent {
            Ok(sent) => {
                link.rest.start += sent;
                link.polled = true;
                let socket = link
                    .socket
                    .as_ref()
                    .expect("a link that sends has a socket");
                let region = link.region.expect("a short send came from a region");
                self.ring
                    .send_polled(socket.as_fd(), slot, region, link.rest.clone())?;
            }
            Err(error) => self.fail(slot, End::Failed(format!("send: {error}"))),
        }
        Ok(())
    }

    fn sent(
        &mut self,
        slot: u32,
        sent: io::Result<usize>,
        driver: &mut impl Driver,
    ) -> io::Result<()> {
        let link = &mut self.links[slot as usize];
        link.polled = false;
        let sent = match sent {
            Ok(sent) => sent,
            Err(error) => {
                self.fail(slot, End::Failed(format!("send: {error}")));
                return Ok(());
            }
        };
        if matches!(link.stage, Stage::Ended(_)) {
            self.over.push(slot);
        } else if link.region.is_some() && sent < link.rest.len() {
            // Interrupted in the middle, which MSG_WAITALL allows on a signal: go on.
            return self.short(slot, Ok(sent));
        } else {
            link.region = None;
            driver.writable(slot);
        }
        Ok(())
    }

    fn rearm(&mut self) -> io::Result<()> {
        while let Some(slot) = self.rearm.pop() {
            let stalls = self.stalls(slot) && !self.reads_stalled;
            let link = &mut self.links[slot as usize];
            let wanted = match link.stage {
                Stage::Upgrading(_) => true,
                Stage::Open => !stalls,
                Stage::Ended(_) => {
                    // This receive may have been the last completion that the slot waited for.
                    self.over.push(slot);
                    false
                }
                Stage::Free | Stage::Connecting => false,
            };
            if let (true, false, Some(socket)) = (wanted, link.receiving, &link.socket) {
                link.receiving = true;
                if stalls {
                    self.ring.receive_once(socket.as_fd(), slot)?;
                } else {
                    self.ring.receive(socket.as_fd(), slot)?;
                }
            }
        }
        Ok(())
    }

    #[inline]
    fn stalls(&self, slot: u32) -> bool {
        self.manners
            .get(slot as usize)
            .is_some_and(|manner| manner.stalls)
    }

    fn flush_outbox(&mut self) -> io::Result<()> {
        for slot in mem::take(&mut self.outbox.hang_ups) {
            self.fail(slot, End::Closed);
        }
        if !self.outbox.pongs.is_empty() {
            self.queue_pongs();
        }
        if self.outbox.frames.is_empty() {
            return Ok(());
        }
        for (slot, frame) in mem::take(&mut self.outbox.frames) {
            let link = &mut self.links[slot as usize];
            match (&link.stage, &link.socket) {
                (Stage::Open, Some(_)) if link.polled => self.outbox.frames.push((slot, frame)),
                (Stage::Open, Some(socket)) => {
                    link.polled = true;
                    link.region = None;
                    self.ring.send_owned(socket.as_fd(), slot, frame)?;
                }
                // Ended meanwhile.
                _ => {}
            }
        }
        Ok(())
    }

    /// Queues the pongs that can be sent now, and forgets those of connections that have ended. They go before what waits: behind
    /// a Close frame, a server would not read them any more, and reset the connection for it.
    fn queue_pongs(&mut self) {
        let waiting = mem::take(&mut self.outbox.frames);
        for (slot, frame) in mem::take(&mut self.outbox.pongs) {
            let link = &self.links[slot as usize];
            match link.stage {
                Stage::Open if link.polled => self.outbox.pong(slot, &frame),
                Stage::Open => self.outbox.send(slot, frame),
                _ => {}
            }
        }
        self.outbox.frames.extend(waiting);
    }
}

/// Bytes have come on an open connection: the driver gets those that are the load's.
#[inline]
fn hand_on(
    sieves: &mut Option<Sieves>,
    slot: u32,
    bytes: &mut [u8],
    now: Nanos,
    driver: &mut impl Driver,
    out: &mut Outbox,
) -> Result<(), String> {
    let Some(sieves) = sieves else {
        return driver.received(slot, bytes, now, out);
    };
    sieves.sift(slot, bytes, |sifted| match sifted {
        Sifted::Load(bytes) => driver.received(slot, bytes, now, out),
        // As a ping of the protocol: a server that does not read must not make answers many.
        Sifted::Answer(frame) => {
            out.pong(slot, frame);
            Ok(())
        }
    })
}

fn path_of<'a>(manners: &'a [Rc<Manner>], target: &'a Target, slot: u32) -> &'a str {
    let manner = manners.get(slot as usize);
    manner.map_or(&target.path, |manner| &manner.path)
}

#[cfg(test)]
mod tests;
