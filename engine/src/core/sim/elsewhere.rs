//! The other cores of the server, as far as this one meets them: what they are subscribed to, what they send to it, and
//! what must reach them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::awaited::Said;
use super::conversation::{compressed_messages, messages};
use super::topics::{FILTERS, TOPICS};
use crate::core::hub::Published;
use crate::core::interest::{Interests, Registry, TopicInterest};
use crate::core::mailbox::{Full, Mail, Post, Publication};
use crate::transport::ring::simulated::Dice;

/// How much may wait between two cores.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// For `Elsewhere::shared`: how many are to get it is not known, so however many do is right.
const UNKNOWN: (usize, usize) = (usize::MAX, usize::MAX);

/// All of them.
pub(super) struct Elsewhere {
    cores: Vec<Other>,
    room: Room,
    /// Of each message that some cores took and others did not: how many are to get it, and how many have.
    shared: Vec<(usize, usize)>,
}

/// One of them.
struct Other {
    post: Post,
    interests: Interests,
    filters: BTreeMap<usize, TopicInterest>,
    /// In how many acts it does not read its mail, each time.
    stalls: u32,
    expected: VecDeque<Expected>,
}

/// Something that will come by mail.
#[derive(Clone, Debug)]
struct Expected {
    what: What,
    /// Bytes that count against the room.
    bytes: usize,
    /// Whether it comes depends on which of the cores had room: its number in `shared`.
    maybe: Option<usize>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Message(Forwarded),
    Forget(usize),
}

/// What is published to a topic for other cores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Forwarded {
    pub(super) topic: usize,
    pub(super) said: Said,
    pub(super) key: Option<u64>,
    pub(super) retain: bool,
}

impl Elsewhere {
    /// The cores with these ends of the mail.
    pub(super) fn new(
        dice: &mut Dice,
        posts: Vec<Post>,
        room: Room,
        registry: &Arc<Registry>,
    ) -> Self {
        let cores = posts.into_iter().map(|post| Other {
            interests: Interests::new(Arc::clone(registry), post.own()),
            post,
            filters: BTreeMap::new(),
            stalls: [0, 3, 40][dice.among(0..=2)],
            expected: VecDeque::new(),
        });
        Self {
            cores: cores.collect(),
            room,
            shared: Vec::new(),
        }
    }

    /// One of them, to send something from, or a thread that is none.
    pub(super) fn any(&self, dice: &mut Dice) -> Option<usize> {
        dice.among(0..=self.cores.len()).checked_sub(1)
    }

    /// One of them sends something to the core that is simulated.
    pub(super) fn send(&mut self, from: usize, publication: Publication) -> Result<(), Full> {
        let post = &mut self.cores[from].post;
        post.reserve(0, &publication.topic, publication.frames.len())?;
        post.send(0, Mail::Publish(Arc::new(publication)));
        post.ring();
        Ok(())
    }
}

/// What they do.
impl Elsewhere {
    /// Each reads its mail if it is not stalled, and subscribes to something else.
    pub(super) fn act(
        &mut self,
        dice: &mut Dice,
        any_filter: impl Fn(&mut Dice) -> usize,
    ) -> Result<(), String> {
        for core in &mut self.cores {
            if dice.one_in(1 + core.stalls) {
                core.read(&mut self.shared, self.room)?;
            }
            if dice.one_in(8) {
                core.change(any_filter(dice));
            }
        }
        Ok(())
    }

    /// From now on everybody reads at once.
    pub(super) fn calm_down(&mut self) {
        for core in &mut self.cores {
            core.stalls = 0;
        }
    }

    /// Whether all has come that was to come.
    pub(super) fn is_settled(&self) -> bool {
        let mut cores = self.cores.iter();
        cores.all(|core| {
            core.expected
                .iter()
                .all(|expected| expected.maybe.is_some())
        })
    }

    /// All has come, and everything else of what some cores were to get.
    pub(super) fn check_end(&self) -> Result<(), String> {
        match self.shared.iter().find(|(promised, came)| promised != came) {
            Some((promised, came)) => Err(format!("{came} other cores got it, and not {promised}")),
            None if !self.is_settled() => Err("mail to other cores is missing".to_owned()),
            None => Ok(()),
        }
    }

    /// They know of this core's subscribers what is true.
    pub(super) fn check_knowledge(
        &mut self,
        has_subscribers: impl Fn(usize) -> bool,
    ) -> Result<(), String> {
        let Some(core) = self.cores.first_mut() else {
            return Ok(());
        };
        for (topic, name) in TOPICS.iter().enumerate() {
            let known = core.interests.elsewhere(name, None).contains(0);
            if known != has_subscribers(topic) {
                return Err(format!(
                    "others believe that {name} has subscribers: {known}"
                ));
            }
        }
        Ok(())
    }
}

/// What is sent to them.
impl Elsewhere {
    /// What was published has to reach those who have a subscriber, or all where it is retained, unless there was no room.
    pub(super) fn expect(
        &mut self,
        message: &Forwarded,
        published: &Published,
    ) -> Result<(), String> {
        let bytes = TOPICS[message.topic].len() + message.said.frame_len();
        let mut receivers: Vec<&mut Other> = self.cores.iter_mut().collect();
        receivers.retain(|core| message.retain || core.receives(message.topic));
        let Published {
            forwarded, refused, ..
        } = *published;
        let room = self.room;
        let full = receivers.iter().filter(|core| core.may_refuse(bytes, room));
        if forwarded + refused != receivers.len() || refused > full.count() {
            let receivers = receivers.len();
            return Err(format!("{published:?} for {receivers} other cores"));
        }
        if forwarded == 0 {
            return Ok(());
        }
        let maybe = (refused > 0).then_some(self.shared.len());
        if refused > 0 {
            self.shared.push((forwarded, 0));
        }
        for core in receivers {
            core.expected.push_back(Expected {
                what: What::Message(message.clone()),
                bytes,
                maybe,
            });
        }
        Ok(())
    }

    /// All of them have to be told that a topic's message is retained no longer.
    pub(super) fn expect_forget(&mut self, topic: usize, all: bool) -> Result<(), String> {
        let bytes = TOPICS[topic].len();
        let room = self.room;
        if !all && !self.cores.iter().any(|core| core.may_refuse(bytes, room)) {
            return Err("other cores could not be told, and have room".to_owned());
        }
        for core in &mut self.cores {
            let maybe = (!all).then_some(self.shared.len());
            core.expected.push_back(Expected {
                what: What::Forget(topic),
                bytes,
                maybe,
            });
        }
        if !all {
            // How many were told is not said.
            self.shared.push(UNKNOWN);
        }
        Ok(())
    }
}

impl Other {
    fn receives(&self, topic: usize) -> bool {
        let mut filters = self.filters.keys();
        filters.any(|&filter| FILTERS[filter].1[topic])
    }

    /// Whether so much may be too much. How what was sent is spread over entries is not known, but that none is empty.
    fn may_refuse(&self, bytes: usize, room: Room) -> bool {
        let waiting: usize = self.expected.iter().map(|expected| expected.bytes).sum();
        self.expected.len() >= room.entries || (waiting > 0 && waiting + bytes > room.bytes)
    }

    /// Its last subscriber of a filter goes, or its first one comes.
    fn change(&mut self, filter: usize) {
        let name: Arc<str> = FILTERS[filter].0.into();
        match self.filters.remove(&filter) {
            Some(mut interest) => self.interests.unsubscribed(&mut interest, &name, true),
            None => {
                let mut interest = TopicInterest::default();
                self.interests.subscribed(&mut interest, &name);
                self.filters.insert(filter, interest);
            }
        }
    }

    fn read(&mut self, shared: &mut [(usize, usize)], room: Room) -> Result<(), String> {
        self.post.collect();
        let mut entries = 0;
        while let Some(mail) = self.post.next_mail() {
            entries += 1;
            match mail {
                Mail::Publish(publication) => self.got(&publication, shared)?,
                Mail::Forget(topic) => self.got_one(&What::Forget(number(&topic)), shared)?,
                Mail::Drain(_) | Mail::Stop => return Err("an order of another core".to_owned()),
            }
        }
        match entries <= room.entries {
            true => Ok(()),
            false => Err(format!("{entries} pieces of mail, and room for {room:?}")),
        }
    }

    fn got(
        &mut self,
        publication: &Publication,
        shared: &mut [(usize, usize)],
    ) -> Result<(), String> {
        let messages = messages(&publication.frames);
        if let Some(deflated) = publication.deflated.get()
            && compressed_messages(deflated)? != messages
        {
            return Err(format!("{messages:?} are not what they are compressed"));
        }
        for said in messages {
            let message = Forwarded {
                topic: number(&publication.topic),
                said,
                key: publication.key,
                retain: publication.retain,
            };
            self.got_one(&What::Message(message), shared)?;
        }
        Ok(())
    }

    fn got_one(&mut self, what: &What, shared: &mut [(usize, usize)]) -> Result<(), String> {
        loop {
            match self.expected.pop_front() {
                Some(Expected {
                    what: next,
                    maybe: Some(maybe),
                    ..
                }) if next == *what => {
                    shared[maybe].1 = shared[maybe].1.saturating_add(1);
                    let mut rest = self.expected.iter_mut();
                    let certain = rest.find(|expected| expected.maybe.is_none());
                    if let Some(same) = certain.filter(|expected| expected.what == *what) {
                        // It may have been this one as well.
                        same.maybe = Some(maybe);
                        shared[maybe] = UNKNOWN;
                    }
                    return Ok(());
                }
                Some(expected) if expected.what == *what => return Ok(()),
                Some(expected) if expected.maybe.is_some() => {}
                other => return Err(format!("mail to another core: {what:?} for {other:?}")),
            }
        }
    }
}

fn number(topic: &str) -> usize {
    let number = TOPICS.iter().position(|name| *name == topic);
    number.expect("one of the topics")
}
