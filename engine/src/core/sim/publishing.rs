//! What is published, by the application or by other cores and threads, and what it has to mean for each connection.

use std::time::Duration;

use super::application::{Application, message, said};
use super::awaited::{Accepted, Said};
use super::compressing::plain;
use super::conversation::{compressed_messages, messages};
use super::elsewhere::Forwarded;
use super::sending::{Before, CLOSE_FRAME, closes, drops};
use super::stage::Stage;
use super::topics::{FILTERS, TOPICS};
use crate::core::TURN_OUTPUT;
use crate::core::app::Message;
use crate::core::config::SlowPolicy;
use crate::core::fanout::{Content, PublishRequest};
use crate::core::hub::{Hub, Published};
use crate::core::mailbox::Publication;

/// What a message that is retained counts for at most beside its name, twice, and its bytes.
const RETAINED_EXTRA: usize = 320;

/// What is published, as the observer sees it.
struct Publishing {
    to: To,
    messages: Vec<Said>,
    key: Option<u64>,
    except: Option<u32>,
}

/// Who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum To {
    Topic(usize),
    /// One connection alone, by its index: what was retained.
    Connection(u32),
}

impl Publishing {
    fn topic(&self) -> Option<usize> {
        match self.to {
            To::Topic(topic) => Some(topic),
            To::Connection(_) => None,
        }
    }

    fn is_for(&self, stage: &Stage, before: &Before) -> bool {
        match self.to {
            To::Topic(topic) => {
                self.except != Some(before.index) && stage.receives(before.id, topic)
            }
            To::Connection(index) => index == before.index,
        }
    }
}

/// What became of it, all connections taken together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tally {
    sent: usize,
    queued: usize,
    dropped: usize,
    replaced: usize,
    /// Of those that were dropped, what came behind the one for which a connection was closed.
    unheard: usize,
    /// Connections that lost older messages for it, and how many bytes.
    losers: Vec<(u32, usize)>,
}

/// Publishing.
impl Application {
    /// The application publishes a message, one of its own or one that it was given.
    pub(super) fn publish_some(
        &mut self,
        hub: &mut Hub,
        given: Option<Message<'_>>,
        except: Option<u32>,
    ) {
        let topic = self.with_stage(|stage, dice| stage.play.any_topic(dice));
        let relayed = given.filter(|&given| {
            let stage = self.stage.borrow();
            stage.play.topics == 1 && !stage.is_ambiguous(&said(given))
        });
        let own = self.own(Some(topic));
        let message = relayed.unwrap_or(message(&own));
        let key = self.one_in(3).then(|| self.among(0..=2) as u64);
        let retain = self.one_in(5);
        self.publish(hub, topic, message, key, except, retain);
    }

    /// Several messages of a topic one after the other, while its subscribers come and go.
    pub(super) fn publish_in_a_row(&mut self, hub: &mut Hub) {
        let topic = self.with_stage(|stage, dice| stage.play.any_topic(dice));
        for _ in 0..self.among(2..=4) {
            let own = self.own(Some(topic));
            self.publish(hub, topic, message(&own), None, None, false);
            for index in hub.conns.indices() {
                let id = self.id(hub, index);
                let subscribed = self.conversation(id, |c| c.filters.contains(&topic));
                match hub.conns[index].is_open() && self.one_in(4) {
                    true if subscribed => self.unsubscribe_from(hub, index, topic),
                    true => self.subscribe_to(hub, index, topic),
                    false => {}
                }
            }
        }
    }

    fn publish(
        &mut self,
        hub: &mut Hub,
        topic: usize,
        message: Message<'_>,
        key: Option<u64>,
        except: Option<u32>,
        retain: bool,
    ) {
        let publishing = Publishing {
            to: To::Topic(topic),
            messages: vec![said(message)],
            key,
            except,
        };
        let request = PublishRequest {
            topic: TOPICS[topic],
            content: Content::Message(message),
            key,
            except,
            retain,
        };
        let published = self.watch(hub, &publishing, |hub| Some(hub.publish(&request)));
        if retain {
            self.note_retained(hub, topic, &publishing.messages[0]);
        }
        if let Some(published) = &published {
            self.forwards(
                Forwarded {
                    topic,
                    said: publishing.messages[0].clone(),
                    key,
                    retain,
                },
                published,
            );
        }
        let is_kept = retain && self.stage.borrow().retained.contains_key(&topic);
        if published.is_some_and(|published| published.retained != is_kept) {
            self.violation(|| format!("{published:?}, and it is kept: {is_kept}"));
        }
        if except.is_some() {
            self.stage.borrow_mut().saw("published to all but one");
        }
    }

    /// Other cores are to get what was published.
    fn forwards(&self, message: Forwarded, published: &Published) {
        let stage = &mut *self.stage.borrow_mut();
        let expected = stage.elsewhere.expect(&message, published);
        expected.unwrap_or_else(|what| self.violation(|| what));
        if published.forwarded > 0 {
            stage.saw("forwarded to other cores");
        }
        if published.refused > 0 {
            stage.saw("refused by other cores");
        }
        if published.forwarded > 0 && published.refused > 0 {
            stage.saw("refused by one of two cores");
        }
    }

    /// Something published elsewhere is delivered.
    pub(super) fn deliver(&mut self, hub: &mut Hub, publication: &Publication) {
        let topic = TOPICS
            .iter()
            .position(|topic| *topic == &*publication.topic);
        let topic = topic.expect("one of the topics");
        let publishing = Publishing {
            to: To::Topic(topic),
            messages: messages(&publication.frames),
            key: publication.key,
            except: None,
        };
        self.watch(hub, &publishing, |hub| {
            hub.deliver_mail(publication);
            None
        });
        if let Some(deflated) = publication.deflated.get()
            && compressed_messages(deflated).as_ref() != Ok(&publishing.messages)
        {
            let messages = &publishing.messages;
            self.violation(|| format!("{messages:?} are not what they are compressed"));
        }
        if publication.retain {
            self.note_retained(hub, topic, &publishing.messages[0]);
        }
    }

    /// What is retained of a topic is this now, unless there was no room.
    fn note_retained(&self, hub: &mut Hub, topic: usize, said: &Said) {
        let name = TOPICS[topic];
        let kept = hub.retained_of(name);
        let stage = &mut *self.stage.borrow_mut();
        match &kept[..] {
            [] => {
                let forms = 1 + usize::from(stage.frames.compressing().is_on());
                let frames = forms * said.frame_len();
                let most = hub.retained.bytes() + 2 * name.len() + frames + RETAINED_EXTRA;
                if most <= hub.config.max_retained {
                    self.violation(|| format!("{said:?} is not retained, and would make {most}"));
                }
                stage.retained.remove(&topic);
                stage.saw("had no room to retain");
            }
            [kept] if *kept == plain(said) => drop(stage.retained.insert(topic, said.clone())),
            _ => self.violation(|| format!("{said:?} is not what is retained")),
        }
    }

    pub(super) fn forget(&mut self, hub: &mut Hub) {
        let topic = self.with_stage(|stage, dice| stage.play.any_topic(dice));
        let all = hub.forget_retained(TOPICS[topic]);
        let stage = &mut *self.stage.borrow_mut();
        stage.retained.remove(&topic);
        let expected = stage.elsewhere.expect_forget(topic, all);
        expected.unwrap_or_else(|what| self.violation(|| what));
    }

    /// A connection gets what was retained of the topics that a filter matches.
    pub(super) fn send_retained(&mut self, hub: &mut Hub, index: u32, filter: usize) {
        let (name, matches) = FILTERS[filter];
        // In which order is the engine's affair.
        let frames: Vec<Said> = hub
            .retained_of(name)
            .iter()
            .flat_map(|f| messages(f))
            .collect();
        let retained = self.stage.borrow().retained.clone();
        let expected = retained.iter().filter(|&(&topic, _)| matches[topic]);
        let mut expected = expected.map(|(_, said)| said);
        let count = expected.clone().count();
        if frames.len() != count || !expected.all(|said| frames.contains(said)) {
            self.violation(|| format!("{frames:?} are retained of {name}, and not {retained:?}"));
            return;
        }
        let messages = frames;
        let known = hub.conns[index].backlog.is_none() || self.stage.borrow().play.closes();
        let ambiguous = {
            let stage = self.stage.borrow();
            messages.iter().any(|said| stage.is_ambiguous(said))
        };
        let full = hub.buffered(index) >= TURN_OUTPUT / 2;
        if (messages.len() > 1 && (!known || full)) || ambiguous || !hub.conns[index].is_open() {
            // It could not be told what it gets.
            return;
        }
        let publishing = Publishing {
            to: To::Connection(index),
            messages,
            key: None,
            except: None,
        };
        self.watch(hub, &publishing, |hub| {
            hub.send_retained(index, name);
            None
        });
        if !publishing.messages.is_empty() {
            self.stage.borrow_mut().saw("sent what was retained");
        }
    }

    /// Looks at every connection before and after something is published.
    fn watch(
        &mut self,
        hub: &mut Hub,
        publishing: &Publishing,
        publish: impl FnOnce(&mut Hub) -> Option<Published>,
    ) -> Option<Published> {
        let mut open = hub.conns.indices();
        open.retain(|&index| hub.conns[index].is_open());
        let len: usize = publishing.messages.iter().map(Said::frame_len).sum();
        for &index in &open {
            // Else it would not be known how much of this was there before.
            if hub.buffered(index) + len >= TURN_OUTPUT / 2 {
                hub.catch_up(index);
            }
        }
        let before: Vec<Before> = open.iter().map(|&index| Before::of(hub, index)).collect();
        let dropped_before = hub.stats.dropped.get();
        let published = publish(hub);
        let dropped = hub.stats.dropped.get() - dropped_before;
        let stage = &mut *self.stage.borrow_mut();
        let mut tally = Tally::default();
        for before in &before {
            let concluded = conclude(stage, hub, before, publishing, &mut tally);
            concluded.unwrap_or_else(|what| {
                self.violation(|| {
                    format!(
                        "{:?} published to {:?}: {what}",
                        publishing.messages, publishing.to
                    )
                });
            });
        }
        self.note("publish", tally.sent as i64, tally.queued as i64);
        let agreed = agree(stage, hub, &tally, dropped, published);
        agreed.unwrap_or_else(|what| self.violation(|| what));
        published
    }
}

/// What is seen of a connection for which something was published.
struct Sight<'a> {
    before: &'a Before,
    publishing: &'a Publishing,
    /// Bytes that each message is for it.
    lens: Vec<usize>,
    /// What goes out to it refers to earlier messages, so that its length is not known.
    context: bool,
    changed: bool,
    policy: SlowPolicy,
    open: bool,
    /// By how many bytes more is buffered.
    grown: isize,
    turn: u32,
    /// Until when it has to go out where there is no backlog, and whether it may have to wait for that.
    due: Option<Duration>,
    delays: bool,
}

impl Sight<'_> {
    /// How many messages were taken, from the first on, where there is no backlog.
    fn taken(&self) -> Option<usize> {
        match self.context {
            // All of them or none: there is room, or it has been seen that there is none.
            true => Some(if self.changed { self.lens.len() } else { 0 }),
            false => prefix(&self.lens, self.grown),
        }
    }

    fn accepted(&self, number: usize) -> Accepted {
        let slow = self.before.slow;
        let topic = self.publishing.topic();
        let conflates = slow && topic.is_some() && self.policy == SlowPolicy::Conflate;
        Accepted {
            said: self.publishing.messages[number].clone(),
            len: self.lens[number],
            alone: slow,
            topic,
            key: conflates.then_some((topic, self.publishing.key)),
            turn: self.turn,
            droppable: slow || (topic.is_some() && self.delays),
            due: self.due.filter(|_| !slow),
        }
    }

    fn wrong(&self) -> Result<(), String> {
        let (policy, open, grown) = (self.policy, self.open, self.grown);
        let before = self.before;
        Err(format!(
            "{before:?}, {policy:?}, open: {open}, grown by {grown}"
        ))
    }
}

/// Takes note of what became of a publication for a connection, if it is what should have become of it.
fn conclude(
    stage: &mut Stage,
    hub: &Hub,
    before: &Before,
    publishing: &Publishing,
    tally: &mut Tally,
) -> Result<(), String> {
    let form = stage.conversations[before.id as usize].form;
    let window = form.of_message(before.slow);
    let messages = publishing.messages.iter();
    let sight = Sight {
        before,
        publishing,
        lens: messages
            .map(|said| stage.frames.len(window, said))
            .collect(),
        context: form.context && !before.slow,
        changed: before.has_changed(hub),
        policy: stage.policy(before.id, publishing.topic()),
        open: hub.conns[before.index].is_open(),
        grown: before.grown(hub),
        turn: hub.output.turn(),
        due: publishing.topic().map(|topic| stage.due(topic, hub.now)),
        delays: !stage.play.settings.longest_delay().is_zero(),
    };
    if !publishing.is_for(stage, before) || publishing.messages.is_empty() {
        // To leave it out, it was given what came before.
        let caught_up = publishing.except == Some(before.index) && hub.batched(before.index) == 0;
        return match sight.open && (sight.grown == 0 || (sight.context && caught_up)) {
            true => Ok(()),
            false => sight.wrong(),
        };
    }
    match (sight.open, before.slow) {
        (false, _) => conclude_closed(stage, &sight, tally),
        (true, false) => conclude_fast(stage, &sight, tally),
        (true, true) => conclude_slow(stage, hub, &sight, tally),
    }
}

/// It was closed for being too slow: behind what was taken comes the Close frame.
fn conclude_closed(stage: &mut Stage, sight: &Sight<'_>, tally: &mut Tally) -> Result<(), String> {
    let messages = &sight.publishing.messages;
    let taken = match sight.context {
        true => Some(0),
        false => prefix(&sight.lens, sight.grown - CLOSE_FRAME as isize),
    };
    let Some(taken) = taken.filter(|&taken| taken < messages.len() && closes(sight.policy)) else {
        return sight.wrong();
    };
    // Without a backlog what is published together is one.
    let one_by_one = sight.before.slow || sight.publishing.topic().is_none();
    if taken > 0 && !one_by_one {
        return sight.wrong();
    }
    let conversation = &mut stage.conversations[sight.before.id as usize];
    for number in 0..taken {
        conversation.to_peer.push(sight.accepted(number));
    }
    conversation.ended_by_server = true;
    let dropped = if one_by_one {
        messages.len() - taken
    } else {
        1
    };
    tally.queued += taken;
    tally.dropped += dropped;
    tally.unheard += dropped - 1;
    stage.saw("closed for being slow");
    Ok(())
}

/// Without a backlog it gets all that is published together, or nothing.
fn conclude_fast(stage: &mut Stage, sight: &Sight<'_>, tally: &mut Tally) -> Result<(), String> {
    let messages = &sight.publishing.messages;
    let one_by_one = sight.publishing.topic().is_none();
    let Some(taken) = sight.taken() else {
        return sight.wrong();
    };
    let all = taken == messages.len();
    if !all && (!drops(sight.policy) || (taken > 0 && !one_by_one)) {
        return sight.wrong();
    }
    let conversation = &mut stage.conversations[sight.before.id as usize];
    for number in 0..taken {
        conversation.to_peer.push(sight.accepted(number));
    }
    conversation.owed_drain |= !all;
    let (sent, dropped) = match one_by_one {
        true => (taken, messages.len() - taken),
        false => (usize::from(all), usize::from(!all)),
    };
    tally.sent += sent;
    tally.dropped += dropped;
    Ok(())
}

/// With a backlog, each message is for its policy.
fn conclude_slow(
    stage: &mut Stage,
    hub: &Hub,
    sight: &Sight<'_>,
    tally: &mut Tally,
) -> Result<(), String> {
    let messages = &sight.publishing.messages;
    let drops_any = stage.play.drops();
    let window = stage.conversations[sight.before.id as usize].form.alone;
    let conversation = &mut stage.conversations[sight.before.id as usize];
    let taken = match (sight.policy, &messages[..]) {
        (SlowPolicy::DropOldest, [said]) => {
            let index = sight.before.index;
            let backlog = hub.conns[index].backlog.as_ref().expect("it stays slow");
            let is_last = backlog.ends_with(&stage.frames.frame(window, said));
            let taken: Vec<usize> = is_last.then_some(0).into_iter().collect();
            let len: usize = taken.iter().map(|&number| sight.lens[number]).sum();
            let Ok(lost) = usize::try_from(len as isize - sight.grown) else {
                return sight.wrong();
            };
            if lost > 0 {
                tally.losers.push((index, lost));
            }
            taken
        }
        (SlowPolicy::Conflate, [_]) if sight.publishing.topic().is_some() => {
            let replaced = conversation.queue(sight.accepted(0), sight.grown, drops_any)?;
            tally.queued += 1;
            tally.replaced += usize::from(replaced);
            return Ok(());
        }
        (SlowPolicy::Close | SlowPolicy::Conflate | SlowPolicy::DropNewest, _) => {
            let Some(taken) = subset(&sight.lens, sight.grown) else {
                return sight.wrong();
            };
            if closes(sight.policy) && taken.len() < messages.len() {
                return sight.wrong();
            }
            taken
        }
        _ => return sight.wrong(),
    };
    tally.queued += taken.len();
    tally.dropped += messages.len() - taken.len();
    conversation.owed_drain |= taken.len() < messages.len();
    for number in taken {
        conversation.to_peer.push(sight.accepted(number));
    }
    Ok(())
}

/// Compares what the engine says with what was seen. What was dropped for later messages is told for all connections
/// together.
fn agree(
    stage: &mut Stage,
    hub: &Hub,
    tally: &Tally,
    dropped: u64,
    published: Option<Published>,
) -> Result<(), String> {
    let displaced = dropped.checked_sub((tally.dropped - tally.unheard) as u64);
    let lost = displaced.and_then(|displaced| displaced.checked_sub(tally.replaced as u64));
    let Some(lost) = lost else {
        return Err(format!("{dropped} counted as dropped, but {tally:?}"));
    };
    let known = tally.losers.len() == 1;
    for &(index, bytes) in &tally.losers {
        let conversation = &mut stage.conversations[hub.conns[index].data as usize];
        conversation.lose(hub, index, bytes, known.then_some(lost));
        let flooded = conversation.to_peer.is_flooded();
        if flooded {
            stage.saw("flooded with control frames");
        }
    }
    match tally.losers.len() {
        0 if lost > 0 => {
            return Err(format!(
                "{lost} dropped, and nobody has lost any: {tally:?}"
            ));
        }
        0 => {}
        1 => stage.saw("dropped the oldest"),
        _ => stage.saw("dropped of several at once"),
    }
    if tally.replaced > 0 {
        stage.saw("replaced the latest");
    }
    if tally.dropped > 0 {
        stage.saw("dropped the newest");
    }
    let Some(published) = published else {
        return Ok(());
    };
    let told = (published.sent, published.queued, published.dropped);
    let seen = (tally.sent, tally.queued, tally.dropped);
    if told != seen || displaced != Some(published.displaced as u64) {
        return Err(format!(
            "{published:?}, but {tally:?}, {dropped} dropped in all"
        ));
    }
    Ok(())
}

/// How many messages from the first on have so many bytes.
fn prefix(lens: &[usize], bytes: isize) -> Option<usize> {
    let mut rest = bytes;
    (0..=lens.len()).find(|&count| {
        if count > 0 {
            rest -= lens[count - 1] as isize;
        }
        rest == 0
    })
}

/// Which of the messages have so many bytes, by number. Each is longer than all before it together.
fn subset(lens: &[usize], bytes: isize) -> Option<Vec<usize>> {
    let mut rest = bytes;
    let mut taken = Vec::new();
    for (number, &len) in lens.iter().enumerate().rev() {
        if len as isize <= rest {
            rest -= len as isize;
            taken.insert(0, number);
        }
    }
    (rest == 0).then_some(taken)
}
