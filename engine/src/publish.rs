//! How to publish, and how to subscribe.

/// Options of a publication: see [`Conn::publish_with`](crate::Conn::publish_with) and
/// [`Publisher::publish_with`](crate::Publisher::publish_with).
///
/// ```
/// use corecast::{Message, Publish, Server};
///
/// # fn main() -> corecast::Result<()> {
/// # let publisher = Server::bind("127.0.0.1:0")?.publisher();
/// let price = Publish::new().key(17).retain();
/// publisher.publish_with("prices", Message::Text("17: 4.20"), price);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct Publish {
    pub(crate) key: Option<u64>,
    pub(crate) retain: bool,
    pub(crate) others: bool,
}

impl Publish {
    /// To every subscriber, and nothing else.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What the message is the latest of, for subscribers that are too slow for all
    /// ([`SlowPolicy::Conflate`](crate::SlowPolicy::Conflate)): an instrument, a player, a sensor. Without a key it is the
    /// latest of its topic.
    #[must_use]
    pub fn key(mut self, key: u64) -> Self {
        self.key = Some(key);
        self
    }

    /// Keeps the message for those who subscribe later and ask for it ([`Subscribe::retained`]), instead of the one
    /// that was kept before. Memory for that is bounded by [`Server::max_retained`](crate::Server::max_retained).
    /// Each core keeps its own: of what two cores publish at the same time, one may come last here and the other there.
    #[must_use]
    pub fn retain(mut self) -> Self {
        self.retain = true;
        self
    }

    /// Not to the connection that publishes.
    #[must_use]
    pub fn others(mut self) -> Self {
        self.others = true;
        self
    }
}

/// Options of a subscription: see [`Conn::subscribe_with`](crate::Conn::subscribe_with).
#[derive(Clone, Copy, Debug, Default)]
pub struct Subscribe {
    pub(crate) retained: bool,
}

impl Subscribe {
    /// To what is published from now on.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// And to what was kept of it ([`Publish::retain`]), which comes first: of each topic that the filter matches
    /// the last message, the topics in no particular order. All of it is sent in one go: what is more than
    /// [`Server::backlog`](crate::Server::backlog), and than 512 KiB, meets the connection's policy for slow ones.
    #[must_use]
    pub fn retained(mut self) -> Self {
        self.retained = true;
        self
    }
}
