//! Publishing from any thread.

use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::core::mailbox::{Mail, Mailbox};
use crate::{Message, Published};

/// Every core's mailbox, once the server has started.
pub(crate) type Mailboxes = Arc<OnceLock<Arc<[Arc<Mailbox>]>>>;

/// Publishes to a server's topics from any thread. Clones publish to the same server.
#[derive(Clone, Debug)]
pub struct Publisher {
    mailboxes: Mailboxes,
}

impl Publisher {
    pub(crate) fn new(mailboxes: Mailboxes) -> Self {
        Self { mailboxes }
    }

    /// Sends a message to every subscriber of a topic, on all cores.
    ///
    /// It is encoded here, once. `forwarded` says how many cores took it, `refused` how many could not because their
    /// mailboxes are full: their subscribers do not get it. What happens at each subscriber is not known yet, so the
    /// other counts are zero. Before the server runs there is no core, and no subscriber.
    pub fn publish(&self, topic: &str, message: Message<'_>) -> Published {
        let Some(mailboxes) = self.mailboxes.get() else {
            return Published::default();
        };
        let mut frame = Vec::with_capacity(message.len() + 10);
        corecast_protocol::encode_server(&mut frame, message.opcode(), message.as_bytes());
        let mail = Mail::Publish {
            topic: topic.into(),
            frame: Bytes::from(frame),
        };
        let forwarded = mailboxes
            .iter()
            .filter(|mailbox| mailbox.post(mail.clone()).is_ok())
            .count();
        Published {
            forwarded,
            refused: mailboxes.len() - forwarded,
            ..Published::default()
        }
    }
}
