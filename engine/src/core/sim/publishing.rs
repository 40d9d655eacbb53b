//! What is published, by the application or by other cores and threads, and what it has to mean for each connection.

use bytes::Bytes;

use super::application::{Application, message, said};
use super::awaited::{Accepted, Said};
use super::conversation::messages;
use super::sending::{Before, CLOSE_FRAME, closes, drops};
use super::stage::Stage;
use super::topics::TOPICS;
use crate::core::app::Message;
use crate::core::config::SlowPolicy;
use crate::core::fanout::{Content, PublishRequest};
use crate::core::hub::{Hub, Published};
use crate::core::mailbox::Publication;

/// What is published, as the observer sees it.
struct Publishing {
    topic: usize,
    messages: Vec<Said>,
    key: Option<u64>,
    except: Option<u32>,
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
        let publishing = Publishing {
            topic,
            messages: vec![said(message)],
            key,
            except,
        };
        let request = PublishRequest {
            topic: TOPICS[topic],
            content: Content::Message(message),
            key,
            except,
            retain: false,
        };
        self.watch(hub, &publishing, |hub| Some(hub.publish(&request)));
        if except.is_some() {
            self.stage.borrow_mut().saw("published to all but one");
        }
    }

    /// Something published elsewhere is delivered.
    pub(super) fn deliver(&mut self, hub: &mut Hub, publication: &Publication) {
        let topic = TOPICS
            .iter()
            .position(|topic| *topic == &*publication.topic);
        let publishing = Publishing {
            topic: topic.expect("one of the topics"),
            messages: messages(&publication.frames),
            key: publication.key,
            except: None,
        };
        self.watch(hub, &publishing, |hub| {
            hub.deliver_mail(publication);
            None
        });
    }

    /// Looks at every connection before and after something is published.
    fn watch(
        &mut self,
        hub: &mut Hub,
        publishing: &Publishing,
        publish: impl FnOnce(&mut Hub) -> Option<Published>,
    ) {
        let mut open = hub.conns.indices();
        open.retain(|&index| hub.conns[index].is_open());
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
                        "{:?} published to {}: {what}",
                        publishing.messages, TOPICS[publishing.topic]
                    )
                });
            });
        }
        self.note("publish", tally.sent as i64, tally.queued as i64);
        let agreed = agree(stage, hub, &tally, dropped, published);
        agreed.unwrap_or_else(|what| self.violation(|| what));
    }
}

/// What is seen of a connection for which something was published.
struct Sight<'a> {
    before: &'a Before,
    publishing: &'a Publishing,
    policy: SlowPolicy,
    open: bool,
    /// By how many bytes more is buffered.
    grown: isize,
    turn: u32,
    /// Messages may have to wait although there is no backlog.
    delays: bool,
}

impl Sight<'_> {
    fn accepted(&self, said: &Said) -> Accepted {
        let slow = self.before.slow;
        let topic = Some(self.publishing.topic);
        let conflates = slow && self.policy == SlowPolicy::Conflate;
        Accepted {
            said: said.clone(),
            topic,
            key: conflates.then_some((topic, self.publishing.key)),
            turn: self.turn,
            droppable: slow || self.delays,
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
    let sight = Sight {
        before,
        publishing,
        policy: stage.policy(before.id, Some(publishing.topic)),
        open: hub.conns[before.index].is_open(),
        grown: before.grown(hub),
        turn: hub.output.turn(),
        delays: !stage.play.settings.longest_delay().is_zero(),
    };
    let receives = stage.receives(before.id, publishing.topic);
    if publishing.except == Some(before.index) || !receives {
        return match sight.open && sight.grown == 0 {
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
    let taken = prefix(messages, sight.grown - CLOSE_FRAME as isize);
    let Some(taken) = taken.filter(|&taken| taken < messages.len() && closes(sight.policy)) else {
        return sight.wrong();
    };
    if taken > 0 && !sight.before.slow {
        return sight.wrong();
    }
    let conversation = &mut stage.conversations[sight.before.id as usize];
    for said in &messages[..taken] {
        conversation.to_peer.push(sight.accepted(said));
    }
    conversation.ended_by_server = true;
    let together = if sight.before.slow { 1 } else { messages.len() };
    let dropped = (messages.len() - taken).div_ceil(together);
    tally.queued += taken;
    tally.dropped += dropped;
    tally.unheard += dropped - 1;
    stage.saw("closed for being slow");
    Ok(())
}

/// Without a backlog it gets all or nothing.
fn conclude_fast(stage: &mut Stage, sight: &Sight<'_>, tally: &mut Tally) -> Result<(), String> {
    let messages = &sight.publishing.messages;
    let len: usize = messages.iter().map(Said::frame_len).sum();
    let conversation = &mut stage.conversations[sight.before.id as usize];
    if sight.grown == len as isize {
        for said in messages {
            conversation.to_peer.push(sight.accepted(said));
        }
        tally.sent += 1;
    } else if sight.grown == 0 && drops(sight.policy) {
        conversation.owed_drain = true;
        tally.dropped += 1;
    } else {
        return sight.wrong();
    }
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
    let conversation = &mut stage.conversations[sight.before.id as usize];
    let taken = match (sight.policy, &messages[..]) {
        (SlowPolicy::DropOldest, [said]) => {
            let index = sight.before.index;
            let backlog = hub.conns[index].backlog.as_ref().expect("it stays slow");
            let taken: Vec<&Said> = messages
                .iter()
                .filter(|_| backlog.ends_with(&frame(said)))
                .collect();
            let len: usize = taken.iter().map(|said| said.frame_len()).sum();
            let Ok(lost) = usize::try_from(len as isize - sight.grown) else {
                return sight.wrong();
            };
            if lost > 0 {
                tally.losers.push((index, lost));
            }
            taken
        }
        (SlowPolicy::Conflate, [said]) => {
            let replaced = conversation.queue(sight.accepted(said), sight.grown, drops_any)?;
            tally.queued += 1;
            tally.replaced += usize::from(replaced);
            return Ok(());
        }
        (SlowPolicy::Close | SlowPolicy::DropNewest, _) => {
            let Some(taken) = subset(messages, sight.grown) else {
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
    for said in taken {
        conversation.to_peer.push(sight.accepted(said));
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
fn prefix(messages: &[Said], bytes: isize) -> Option<usize> {
    let mut rest = bytes;
    (0..=messages.len()).find(|&count| {
        if count > 0 {
            rest -= messages[count - 1].frame_len() as isize;
        }
        rest == 0
    })
}

/// Which of the messages have so many bytes. Each is longer than all before it together.
fn subset(messages: &[Said], bytes: isize) -> Option<Vec<&Said>> {
    let mut rest = bytes;
    let mut taken: Vec<&Said> = Vec::new();
    for said in messages.iter().rev() {
        let len = said.frame_len() as isize;
        if len <= rest {
            rest -= len;
            taken.insert(0, said);
        }
    }
    (rest == 0).then_some(taken)
}

/// As it goes out.
fn frame(said: &Said) -> Bytes {
    let mut frame = Vec::new();
    let message = message(said);
    corecast_protocol::encode_server(&mut frame, message.opcode(), message.as_bytes());
    frame.into()
}
