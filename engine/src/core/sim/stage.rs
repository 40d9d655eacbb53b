//! What the application, the peers and the observer share.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::awaited::Said;
use super::compressing::Frames;
use super::conversation::{Conversation, Mailed};
use super::elsewhere::Elsewhere;
use super::scenario::Patterns;
use super::topics::{FILTERS, TOPICS, TopicSettings, any_delay};
use crate::core::config::SlowPolicy;
use crate::transport::ring::simulated::Dice;

/// What the application, the peers and the observer share.
pub(super) struct Stage {
    /// By the number of their connection.
    pub(super) conversations: Vec<Conversation>,
    pub(super) mailed: Mailed,
    pub(super) patterns: Patterns,
    /// As the server has to compress.
    pub(super) frames: Frames,
    pub(super) largest: usize,
    pub(super) play: Play,
    /// The other cores.
    pub(super) elsewhere: Elsewhere,
    /// By topic.
    pub(super) retained: BTreeMap<usize, Said>,
    /// How often something happened that should happen in many runs.
    pub(super) sights: BTreeMap<&'static str, u64>,
    /// Messages that were given a number.
    pub(super) numbered: u64,
    /// When it began.
    pub(super) started: Instant,
    /// The application does nothing of its own any more.
    pub(super) calm: bool,
}

/// What the application does with topics and policies in a run.
#[derive(Clone, Debug)]
pub(super) struct Play {
    /// The server's policy, and all that are chosen from.
    pub(super) slow: SlowPolicy,
    pub(super) policies: Vec<SlowPolicy>,
    pub(super) settings: TopicSettings,
    /// How many of [`TOPICS`] are in use.
    pub(super) topics: usize,
    /// Whether there are subscriptions to patterns.
    pub(super) wildcards: bool,
    /// The observer looks on while the core reads its mail. Else it is only known what may come.
    pub(super) watches_mail: bool,
}

impl Play {
    pub(super) fn draw(dice: &mut Dice) -> Self {
        const ALL: [SlowPolicy; 4] = [
            SlowPolicy::Close,
            SlowPolicy::DropNewest,
            SlowPolicy::DropOldest,
            SlowPolicy::Conflate,
        ];
        let policies = match dice.among(0..=5) {
            0 => ALL.to_vec(),
            1 => ALL[..2].to_vec(),
            only => vec![ALL[only - 2]],
        };
        let flush_delay = match dice.one_in(3) {
            true => any_delay(dice),
            false => Duration::ZERO,
        };
        let mut play = Self {
            slow: policies[dice.among(0..=policies.len() - 1)],
            settings: TopicSettings::draw(dice, &policies, flush_delay),
            policies,
            topics: dice.among(1..=TOPICS.len() - 1),
            wildcards: dice.one_in(3),
            watches_mail: true,
        };
        play.watches_mail = !play.keeps_all() || dice.one_in(2);
        play
    }

    /// Whether whatever is accepted arrives, unless the connection ends.
    pub(super) fn keeps_all(&self) -> bool {
        let mut policies = self.policies.iter();
        policies.all(|policy| matches!(policy, SlowPolicy::Close | SlowPolicy::DropNewest))
    }

    /// Whether whoever is too slow is closed, whichever policy is his.
    pub(super) fn closes(&self) -> bool {
        let mut policies = self.policies.iter();
        policies.all(|policy| matches!(policy, SlowPolicy::Close | SlowPolicy::Conflate))
    }

    /// Whether messages may have to go for later ones, so that each has to be told from all others.
    pub(super) fn drops(&self) -> bool {
        self.policies.contains(&SlowPolicy::DropOldest)
    }

    pub(super) fn any_topic(&self, dice: &mut Dice) -> usize {
        dice.among(0..=self.topics - 1)
    }

    /// The number of a filter to subscribe to.
    pub(super) fn any_filter(&self, dice: &mut Dice) -> usize {
        match self.wildcards && dice.one_in(3) {
            true => dice.among(TOPICS.len()..=FILTERS.len() - 1),
            false => self.any_topic(dice),
        }
    }
}

impl Stage {
    /// Counts something that should happen in many runs.
    pub(super) fn saw(&mut self, what: &'static str) {
        *self.sights.entry(what).or_default() += 1;
    }

    /// Whether a connection gets what is published to a topic.
    pub(super) fn receives(&self, id: u32, topic: usize) -> bool {
        self.conversations[id as usize].receives(topic)
    }

    /// What happens to a connection that is too slow for a message.
    pub(super) fn policy(&self, id: u32, topic: Option<usize>) -> SlowPolicy {
        let of_topic = topic.and_then(|topic| self.play.settings.policy(topic));
        let of_connection = self.conversations[id as usize].policy;
        of_topic.or(of_connection).unwrap_or(self.play.slow)
    }

    /// Until when something published to a topic has to go out. Where there are wildcards, it may wait with what was
    /// published to another topic.
    pub(super) fn due(&self, topic: usize, now: Instant) -> Duration {
        let settings = &self.play.settings;
        let delay = match self.play.wildcards {
            true => settings.longest_delay(),
            false => settings.delay(topic),
        };
        now - self.started + delay
    }

    /// Whether a message could be taken for one that is on its way to a connection already.
    pub(super) fn is_ambiguous(&self, said: &Said) -> bool {
        let mut conversations = self.conversations.iter();
        self.play.drops() && conversations.any(|c| c.to_peer.contains(said))
    }

    /// How many messages another core's mail may be: in all of their lengths together it can then be seen which of them
    /// were taken, if none has to go for another. Of compressed ones only which was the first that was not.
    pub(super) fn messages_of_mail(&self, dice: &mut Dice) -> usize {
        let compressed = self.frames.compressing().is_on() && !self.play.closes();
        let told = self.play.keeps_all() && !compressed;
        let several = told && self.largest < 10_000 && dice.one_in(3);
        if several { dice.among(2..=4) } else { 1 }
    }

    /// Makes a payload unlike any other.
    pub(super) fn number(&mut self, payload: &mut Vec<u8>) -> u64 {
        self.numbered += 1;
        let number = format!("{}:", self.numbered);
        payload.splice(0..0, number.into_bytes());
        self.numbered
    }
}
