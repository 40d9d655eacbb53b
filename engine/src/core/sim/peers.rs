//! Peers: clients that behave, clients that do not, and other cores that publish.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use corecast_protocol::frame::RSV1;
use corecast_protocol::{FrameKind, Opcode, encode_client};

use super::admission::any_address;
use super::awaited::Said;
use super::breaking::break_rules;
use super::compressing::Window;
use super::conversation::{Conversation, Head, Ping, messages};
use super::stage::Stage;
use super::streams::Writer;
use super::topics::TOPICS;
use crate::core::mailbox::{Mail, Mailboxes, Publication};
use crate::transport::ring::simulated::{Arrived, Dice, LinkId, Outside, World};

/// How a peer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reading {
    Always,
    Little,
    /// Not before the faults stop.
    Later,
    Never,
}

/// How a peer ends its connection, if the server does not end it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Close,
    Fin,
    Reset,
    BreaksTheRules,
    Stays,
}

/// What is inflated at once, in bytes made and in bytes read.
const STEP_OUTPUT: usize = 64 << 10;
const STEP_INPUT: usize = 16 << 10;

/// Acts in a row without anything to do, each after twice the time, until a peer only waits.
const DOZES: u32 = 12;

/// One client.
struct Peer {
    address: IpAddr,
    link: Option<LinkId>,
    /// When it does something next; `None`: never again.
    next: Option<Duration>,
    reading: Reading,
    ending: Ending,
    /// In how many acts it may be reset; `None`: in none.
    reset_in: Option<usize>,
    answers_pings: bool,
    answers_close: bool,
    /// Things that it has still to say.
    left_to_say: usize,
    /// To be sent.
    outbox: Vec<u8>,
    /// All bytes that were sent.
    sent: u64,
    /// Read, and not understood yet.
    inbox: BytesMut,
    past_response: bool,
    /// If compression was agreed.
    writer: Option<Writer>,
    /// Its Close frame, FIN or an error is in the outbox: it says nothing more.
    last_word: bool,
    /// FIN after the outbox.
    wants_fin: bool,
    sent_fin: bool,
    /// All bytes that it has read.
    read: u64,
    seen_fin: bool,
    quiet: u32,
}

/// Everybody outside.
pub(super) struct Peers {
    peers: Vec<Peer>,
    stage: Rc<RefCell<Stage>>,
    mailboxes: Mailboxes,
    next_mail: Option<Duration>,
}

impl Peers {
    pub(super) fn new(
        dice: &mut Dice,
        count: usize,
        hosts: usize,
        stage: Rc<RefCell<Stage>>,
        mailboxes: Mailboxes,
    ) -> Self {
        Self {
            peers: (0..count).map(|_| Peer::draw(dice, hosts)).collect(),
            stage,
            mailboxes,
            next_mail: dice.one_in(2).then_some(Duration::ZERO),
        }
    }

    /// From now on everybody reads, and answers, and ends in no other way than by a Close frame.
    pub(super) fn calm_down(&mut self, now: Duration) {
        self.next_mail = None;
        for peer in &mut self.peers {
            peer.calm_down(now);
        }
    }

    /// Everybody still there leaves, each in its way.
    pub(super) fn leave(&mut self, world: &mut World) {
        for peer in &mut self.peers {
            peer.leave(world);
        }
    }

    /// Whether a connection's peer is there, reads, and has sent all that it wants to send.
    pub(super) fn is_waiting(&self, id: LinkId) -> bool {
        self.peers.iter().any(|peer| {
            peer.link == Some(id)
                && peer.next.is_some()
                && peer.reading != Reading::Never
                && peer.outbox.is_empty()
                && !peer.last_word
        })
    }

    /// Whether everybody who can has said all.
    pub(super) fn are_silent(&self) -> bool {
        self.peers.iter().all(|peer| {
            let has_said_all =
                peer.link.is_some() && peer.left_to_say == 0 && peer.outbox.is_empty();
            let cannot = peer.last_word || peer.reading == Reading::Never;
            peer.next.is_none() || has_said_all || cannot
        })
    }
}

impl Outside for Peers {
    fn next(&self, world: &World) -> Option<Duration> {
        let peers = self.peers.iter().filter_map(|peer| peer.due(world));
        peers.chain(self.next_mail).min()
    }

    fn act(&mut self, world: &mut World) {
        let now = world.time;
        if self.next_mail.is_some_and(|next| next <= now) {
            self.post(world);
        }
        for peer in &mut self.peers {
            if peer.due(world).is_some_and(|due| due <= now) {
                peer.act(world, &mut self.stage.borrow_mut());
            }
        }
    }
}

impl Peers {
    /// Another core or thread publishes something.
    fn post(&mut self, world: &mut World) {
        let mut stage = self.stage.borrow_mut();
        let mut payloads = Vec::new();
        let mut frames = Vec::new();
        let count = stage.messages_of_mail(&mut world.dice);
        let most = stage.largest.min(9_000) / if count > 1 { 16 } else { 1 };
        for _ in 0..count {
            // Longer than all before it together, so that it can be told which of them a connection gets.
            let len = frames.len() + world.dice.up_to(most);
            let mut payload = stage.patterns.payload(&mut world.dice, false, len);
            stage.number(&mut payload);
            corecast_protocol::encode_server(&mut frames, Opcode::Binary, &payload);
            payloads.push(Bytes::from(payload));
        }
        let deflated = OnceLock::new();
        if stage.frames.compressing().is_on() && world.dice.one_in(2) {
            // That core had use for it.
            let said = messages(&frames);
            let compressed = said
                .iter()
                .map(|said| stage.frames.frame(Some(Window::Usual), said))
                .collect::<Vec<_>>();
            deflated
                .set(compressed.concat().into())
                .expect("it was empty");
        }
        let (number, len) = (stage.numbered, frames.len());
        let alone = payloads.len() == 1;
        let key = alone && world.dice.one_in(3);
        let topic = stage.play.any_topic(&mut world.dice);
        let publication = Publication {
            topic: TOPICS[topic].into(),
            frames: frames.into(),
            deflated,
            key: key.then(|| world.dice.among(0..=2) as u64),
            retain: alone && stage.play.watches_mail && world.dice.one_in(4),
        };
        let from = stage.elsewhere.any(&mut world.dice);
        let posted = match from {
            Some(core) => stage.elsewhere.send(core, publication),
            None => self.mailboxes[0].post(Mail::Publish(Arc::new(publication))),
        };
        if posted.is_ok() {
            if !stage.play.watches_mail {
                let mail = payloads.into_iter().map(|payload| ((topic, from), payload));
                stage.mailed.extend(mail);
            }
            world.bell = true;
            world.note("mail", number as i64, len as i64);
        }
        let wait = world.dice.up_to(20_000) as u64;
        self.next_mail = Some(world.time + Duration::from_micros(wait));
    }
}

impl Peer {
    fn draw(dice: &mut Dice, hosts: usize) -> Self {
        let reading = match dice.among(0..=9) {
            0..6 => Reading::Always,
            6..8 => Reading::Little,
            8 => Reading::Later,
            _ => Reading::Never,
        };
        let ending = match dice.among(0..=11) {
            0..4 => Ending::Close,
            4..6 => Ending::Fin,
            6 => Ending::Reset,
            7 => Ending::BreaksTheRules,
            _ => Ending::Stays,
        };
        Self {
            address: any_address(dice, hosts),
            link: None,
            next: Some(Duration::from_micros(dice.up_to(200_000) as u64)),
            reading,
            ending,
            reset_in: dice.one_in(6).then(|| dice.up_to(60)),
            answers_pings: !dice.one_in(8),
            answers_close: !dice.one_in(8),
            left_to_say: dice.up_to(60),
            outbox: Vec::new(),
            sent: 0,
            inbox: BytesMut::new(),
            past_response: false,
            writer: None,
            last_word: false,
            wants_fin: false,
            sent_fin: false,
            read: 0,
            seen_fin: false,
            quiet: 0,
        }
    }

    fn calm_down(&mut self, now: Duration) {
        self.left_to_say = self.left_to_say.min(4);
        self.reset_in = None;
        if self.reading != Reading::Never {
            self.reading = Reading::Always;
        }
        self.answers_pings = true;
        self.answers_close = true;
        self.quiet = 0;
        if self.next.is_some() {
            self.next = Some(now);
        }
    }

    fn leave(&mut self, world: &mut World) {
        let Some(id) = self.link.filter(|_| self.next.is_some()) else {
            self.next = None;
            return;
        };
        if self.reading == Reading::Never || world.dice.one_in(4) {
            world.arrive_reset(id, libc::ECONNRESET);
            self.next = None;
            return;
        }
        if world.dice.one_in(3) || !self.past_response {
            self.wants_fin = true;
        } else {
            self.say_close(&mut world.dice);
        }
        self.last_word = true;
        self.quiet = 0;
        self.next = Some(world.time);
    }

    /// When it has something to do. Who has been idle for long waits for news.
    fn due(&self, world: &World) -> Option<Duration> {
        match self.link {
            Some(id) if self.quiet == DOZES => {
                let reads = matches!(self.reading, Reading::Always | Reading::Little);
                let news = reads && world.has_news(id);
                self.next.filter(|_| news)
            }
            _ => self.next,
        }
    }

    fn act(&mut self, world: &mut World, stage: &mut Stage) {
        let Some(id) = self.link else {
            return self.connect(world, stage);
        };
        if let Some(acts) = &mut self.reset_in {
            match acts.checked_sub(1) {
                Some(less) => *acts = less,
                None => {
                    let error = [libc::ECONNRESET, libc::ETIMEDOUT][world.dice.among(0..=1)];
                    world.arrive_reset(id, error);
                    self.next = None;
                    return;
                }
            }
        }
        let before = (self.read, self.outbox.len(), self.left_to_say);
        self.read(world, id);
        self.speak(world, id, stage);
        self.flush(world, id);
        if self.next.is_none() {
            return;
        }
        let busy = before != (self.read, self.outbox.len(), self.left_to_say);
        self.quiet = if busy { 0 } else { (self.quiet + 1).min(DOZES) };
        let wait = (world.dice.up_to(4_000) as u64 + 1) << self.quiet;
        self.next = Some(world.time + Duration::from_micros(wait));
    }

    fn connect(&mut self, world: &mut World, stage: &mut Stage) {
        let most = if world.dice.one_in(2) {
            2_000
        } else {
            4 * stage.largest
        };
        // Not so small that a message takes for ever.
        let send_buffer = 1 + stage.largest / 500 + world.dice.up_to(most);
        let receive_buffer = 200 + stage.largest / 50 + world.dice.up_to(2 * stage.largest);
        self.link = world.connect(self.address, send_buffer, receive_buffer);
        let Some(id) = self.link else {
            self.next = None;
            return;
        };
        let head = match world.dice.among(0..=29) {
            0 => Head::CutOff,
            1 => Head::Garbled,
            2 => Head::TooLong,
            _ => Head::Whole,
        };
        self.outbox = match head {
            Head::Whole => format!("GET /{id} HTTP/1.1\r\nHost: sim\r\n\r\n"),
            Head::CutOff => format!("GET /{id} HTTP/1.1\r\nHo"),
            Head::Garbled => format!("GET \0{id} HTTP/1.1\r\nHost: sim\r\n\r\n"),
            Head::TooLong => format!("GET /{id} HTTP/1.1\r\n{}", "h".repeat(480)),
        }
        .into();
        self.last_word = head != Head::Whole;
        stage.conversations.push(Conversation::new(head));
        self.flush(world, id);
        self.next = Some(world.time + Duration::from_micros(world.dice.up_to(2_000) as u64));
    }
}

/// Reading.
impl Peer {
    fn read(&mut self, world: &mut World, id: LinkId) {
        loop {
            let most = match self.reading {
                Reading::Always => usize::MAX,
                Reading::Little => world.dice.up_to(300),
                Reading::Later | Reading::Never => 0,
            };
            if most == 0 {
                return;
            }
            match world.read(id, most) {
                Arrived::Bytes(bytes) => {
                    self.read += bytes.len() as u64;
                    self.inbox.extend_from_slice(&bytes);
                    self.understand(&mut world.dice);
                    if self.reading == Reading::Little {
                        return;
                    }
                }
                Arrived::Nothing => return,
                Arrived::Fin => {
                    self.seen_fin = true;
                    self.left_to_say = 0;
                    self.wants_fin = true;
                    self.last_word = true;
                    return;
                }
                Arrived::Reset => {
                    self.next = None;
                    return;
                }
            }
        }
    }

    fn understand(&mut self, dice: &mut Dice) {
        if !self.past_response {
            let Some(end) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") else {
                return;
            };
            self.past_response = self.inbox.starts_with(b"HTTP/1.1 101 ");
            if !self.past_response {
                return self.inbox.clear();
            }
            self.inbox.advance(end + 4);
        }
        while let Some((opcode, payload)) = self.next_frame() {
            match opcode {
                8 if self.answers_close => {
                    if !self.last_word {
                        self.say_close(dice);
                    }
                    self.wants_fin |= dice.one_in(3);
                }
                9 if self.answers_pings && !self.last_word => {
                    self.say(dice, Opcode::Pong, &payload);
                }
                _ => {}
            }
        }
    }

    fn next_frame(&mut self) -> Option<(u8, Bytes)> {
        let (&first, &second) = (self.inbox.first()?, self.inbox.get(1)?);
        let (header, len) = match second {
            126 => (
                4,
                usize::from(u16::from_be_bytes(*self.inbox.get(2..)?.first_chunk()?)),
            ),
            127 => (
                10,
                u64::from_be_bytes(*self.inbox.get(2..)?.first_chunk()?) as usize,
            ),
            short => (2, usize::from(short)),
        };
        if self.inbox.len() < header + len {
            return None;
        }
        self.inbox.advance(header);
        Some((first & 0x0F, self.inbox.split_to(len).freeze()))
    }
}

/// Speaking.
impl Peer {
    fn speak(&mut self, world: &mut World, id: LinkId, stage: &mut Stage) {
        if self.last_word || (!self.past_response && !world.dice.one_in(10)) {
            return;
        }
        if self.left_to_say == 0 {
            return self.end(world, id, stage);
        }
        if self.outbox.len() > 2 * stage.largest + 1_000 {
            return;
        }
        self.left_to_say -= 1;
        let dice = &mut world.dice;
        match dice.among(0..=9) {
            0 => self.say_ping(dice, id, stage),
            1 => self.say(dice, Opcode::Pong, b"unasked"),
            _ => self.say_message(dice, id, stage),
        }
    }

    /// A message in one frame or in several, with control frames between.
    fn say_message(&mut self, dice: &mut Dice, id: LinkId, stage: &mut Stage) {
        let text = dice.one_in(2);
        let len = dice.length(stage.largest);
        let payload = stage.patterns.payload(dice, text, len);
        let opcode = if text { Opcode::Text } else { Opcode::Binary };
        let mut kind = FrameKind::from(opcode);
        let writer = self.writer(dice, id, stage).filter(|_| !dice.one_in(4));
        let compressed = writer.map(|writer| writer.write(dice, &payload));
        if let Some(compressed) = &compressed {
            kind.rsv = RSV1;
            stage.saw("compressed by a peer");
            if payload.len() > STEP_OUTPUT || compressed.len() > STEP_INPUT {
                stage.saw("inflated in several steps");
            }
        }
        let mut rest = compressed.as_deref().unwrap_or(&payload);
        let cuts = if dice.one_in(4) { dice.among(1..=3) } else { 0 };
        for _ in 0..cuts {
            let (part, after) = rest.split_at(dice.among(0..=rest.len()));
            self.say(dice, FrameKind { fin: false, ..kind }, part);
            (kind, rest) = (Opcode::Continuation.into(), after);
            if dice.one_in(3) {
                self.say_ping(dice, id, stage);
            }
        }
        self.say(dice, kind, rest);
        stage.conversations[id as usize]
            .to_application
            .push_back(Said {
                text,
                payload: payload.into(),
            });
    }

    /// What compresses its messages, if that was agreed and it knows of it.
    fn writer(&mut self, dice: &mut Dice, id: LinkId, stage: &Stage) -> Option<&mut Writer> {
        let agreed = stage.conversations[id as usize].agreed;
        let params = agreed.filter(|_| self.past_response)?;
        Some(
            self.writer
                .get_or_insert_with(|| Writer::new(&params, dice)),
        )
    }

    fn say_ping(&mut self, dice: &mut Dice, id: LinkId, stage: &mut Stage) {
        let len = dice.among(1..=125);
        let payload = stage.patterns.payload(dice, false, len);
        self.say(dice, Opcode::Ping, &payload);
        stage.conversations[id as usize]
            .pings_of_peer
            .push_back(Ping::new(payload, self.sent + self.outbox.len() as u64));
    }

    fn say_close(&mut self, dice: &mut Dice) {
        let payload: &[u8] = match dice.one_in(3) {
            true => &[],
            false => b"\x03\xe8bye",
        };
        self.say(dice, Opcode::Close, payload);
        self.last_word = true;
        if dice.one_in(8) {
            // To be ignored (RFC 6455 §5.5.1).
            self.say(dice, Opcode::Text, b"after the Close frame");
        }
    }

    fn say(&mut self, dice: &mut Dice, kind: impl Into<FrameKind>, payload: &[u8]) {
        let key = (dice.bits() as u32).to_be_bytes();
        encode_client(&mut self.outbox, kind, payload, key);
    }

    fn end(&mut self, world: &mut World, id: LinkId, stage: &mut Stage) {
        match self.ending {
            Ending::Stays => {}
            Ending::Close => {
                self.say_close(&mut world.dice);
            }
            Ending::Fin => {
                self.wants_fin = true;
                self.last_word = true;
            }
            Ending::Reset => {
                world.arrive_reset(id, libc::ECONNRESET);
                self.next = None;
            }
            Ending::BreaksTheRules => {
                let conversation = &mut stage.conversations[id as usize];
                let knows = self.past_response.then_some(conversation.agreed.is_some());
                conversation.deserves =
                    break_rules(&mut world.dice, knows, stage.largest, &mut self.outbox);
                self.last_word = true;
            }
        }
    }

    /// Sends a part of what there is to send, and the FIN behind the last of it.
    fn flush(&mut self, world: &mut World, id: LinkId) {
        if !self.outbox.is_empty() {
            let most = match world.dice.one_in(2) {
                true => self.outbox.len(),
                false => world.dice.up_to(self.outbox.len()),
            };
            let arrived = world.arrive(id, &self.outbox[..most]);
            self.outbox.drain(..arrived);
            self.sent += arrived as u64;
        }
        if self.outbox.is_empty() && self.wants_fin && !self.sent_fin {
            self.sent_fin = true;
            world.arrive_fin(id);
        }
        let gone = world.links[id as usize].reset;
        if gone || (self.seen_fin && self.sent_fin) {
            self.next = None;
        }
    }
}
