//! Publishing from any thread.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::core::core_set::CoreSet;
use crate::core::interest::Registry;
use crate::core::mailbox::{Mail, Mailboxes, Publication};
use crate::{Message, Publish, Published};

/// What any thread may use of a server's cores, once they have started.
#[derive(Clone, Debug)]
pub(crate) struct Cores {
    pub(crate) mailboxes: Mailboxes,
    pub(crate) registry: Arc<Registry>,
}

/// Publishes to a server's topics from any thread. Clones publish to the same server.
///
/// Messages that one thread publishes to a topic arrive in that order.
#[derive(Clone, Debug)]
pub struct Publisher {
    cores: Arc<OnceLock<Cores>>,
}

impl Publisher {
    pub(crate) fn new(cores: Arc<OnceLock<Cores>>) -> Self {
        Self { cores }
    }

    /// Sends a message to every subscriber of a topic, on all cores.
    ///
    /// It is encoded here, once, and only cores with a subscriber get it. `forwarded` says how many of them took it, `refused` how
    /// many could not because their mailboxes are full: their subscribers do not get it. What happens at each subscriber is not known
    /// yet, so the other counts are zero. Before the server runs there is no core, and no subscriber.
    pub fn publish(&self, topic: &str, message: Message<'_>) -> Published {
        self.publish_with(topic, message, Publish::new())
    }

    /// As [`publish`](Self::publish), and what else is asked for. A message that is to be retained goes to every core, also to those
    /// without a subscriber.
    pub fn publish_with(&self, topic: &str, message: Message<'_>, how: Publish) -> Published {
        let mut published = Published::default();
        let Some(cores) = self.cores.get() else {
            return published;
        };
        let to = match how.retain {
            true => CoreSet::first(cores.mailboxes.len()),
            false => cores.registry.cores(topic),
        };
        if to.is_empty() {
            return published;
        }
        let publication = Arc::new(encode(topic, message, how));
        for core in to.iter() {
            let mail = Mail::Publish(Arc::clone(&publication));
            match cores.mailboxes[core].post(mail) {
                Ok(()) => published.forwarded += 1,
                Err(_) => published.refused += 1,
            }
        }
        published
    }

    /// Keeps nothing of a topic for later subscribers any more, on all cores. `false` when the mailbox of one is full: there it is
    /// still kept.
    pub fn forget_retained(&self, topic: &str) -> bool {
        let Some(cores) = self.cores.get() else {
            return true;
        };
        let topic: Arc<str> = topic.into();
        let posted = cores
            .mailboxes
            .iter()
            .map(|mailbox| mailbox.post(Mail::Forget(Arc::clone(&topic))));
        posted.filter(Result::is_err).count() == 0
    }

    /// How many connections are subscribed to exactly this topic or filter, on all cores. They come and go meanwhile.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> u64 {
        let cores = self.cores.get();
        cores.map_or(0, |cores| cores.registry.subscribers(topic))
    }
}

fn encode(topic: &str, message: Message<'_>, how: Publish) -> Publication {
    let mut frame = Vec::with_capacity(message.len() + 10);
    corecast_protocol::encode_server(&mut frame, message.opcode(), message.as_bytes());
    Publication {
        topic: topic.into(),
        frames: Bytes::from(frame),
        deflated: Default::default(),
        key: how.key,
        retain: how.retain,
    }
}
