//! A connection, as callbacks and futures see it.

use std::fmt;
use std::marker::PhantomData;
use std::net::SocketAddr;

use socket2::SockRef;

use crate::core::{
    ConnId, Content, Hub, Message, PublishRequest, Published, SendStatus, SlowPolicy, Wire, tasks,
};
use crate::{CloseCode, CoreId, Publish, Subscribe};

/// A connection for the length of a callback, with the application's data for it.
pub struct Conn<'a, D> {
    hub: &'a mut Hub,
    index: u32,
    core: CoreId,
    data: &'a mut D,
}

impl<'a, D> Conn<'a, D> {
    pub(crate) fn new(hub: &'a mut Hub, index: u32, core: CoreId, data: &'a mut D) -> Self {
        Self {
            hub,
            index,
            core,
            data,
        }
    }

    /// The application's data.
    #[must_use]
    pub fn data(&self) -> &D {
        self.data
    }

    /// The application's data, to change it.
    #[must_use]
    pub fn data_mut(&mut self) -> &mut D {
        self.data
    }

    /// Sends a message. It leaves at the end of this turn, with everything else for this connection.
    ///
    /// A payload that lies in the message at hand is not copied when it is large.
    #[inline]
    pub fn send(&mut self, message: Message<'_>) -> SendStatus {
        self.hub.send(self.index, message)
    }

    /// Sends text.
    pub fn send_text(&mut self, text: &str) -> SendStatus {
        self.send(Message::Text(text))
    }

    /// Sends bytes.
    pub fn send_binary(&mut self, bytes: &[u8]) -> SendStatus {
        self.send(Message::Binary(bytes))
    }

    /// Sends a message as it is, also where messages are compressed ([`Server::deflate`](crate::Server::deflate)): what is
    /// compressed already, or a secret beside text that somebody else chose, whose length would tell of it.
    pub fn send_uncompressed(&mut self, message: Message<'_>) -> SendStatus {
        self.hub.send_plain(self.index, message)
    }

    /// Whether messages to it may be compressed: permessage-deflate was agreed with its client.
    #[must_use]
    pub fn is_compressed(&self) -> bool {
        self.hub.conns[self.index].wire != Wire::Plain
    }

    /// Sends a message that is the latest of a key: where messages are conflated
    /// ([`SlowPolicy::Conflate`]) it takes the place of the one of this key that still waits. Otherwise it is like any other.
    pub fn send_keyed(&mut self, key: u64, message: Message<'_>) -> SendStatus {
        self.hub.send_keyed(self.index, key, message)
    }

    /// Sends a ping (RFC 6455 §5.5.2). Keeping connections alive needs none of this: see
    /// [`Server::ping_interval`](crate::Server::ping_interval).
    ///
    /// # Panics
    /// With more than 125 bytes of payload.
    pub fn ping(&mut self, payload: &[u8]) -> SendStatus {
        assert!(
            payload.len() <= 125,
            "a ping carries at most 125 bytes (RFC 6455 §5.5)"
        );
        self.hub.ping(self.index, payload)
    }

    /// Starts the closing handshake (§7.1.2): what was sent before still goes out, no further message is
    /// delivered, and [`Handler::close`](crate::Handler::close) follows when the peer has answered, or
    /// after the close timeout. The reason is cut to 123 bytes; a code that may not be sent (§7.4) becomes 1011.
    pub fn close(&mut self, code: CloseCode, reason: &str) {
        let code = if code.may_be_sent() {
            code
        } else {
            CloseCode::INTERNAL
        };
        self.hub.begin_close(self.index, code, reason);
    }

    /// Subscribes to a topic, or to all that a filter matches; `false` when it was subscribed already, is closing, or the core
    /// has 16 million topics.
    ///
    /// Levels of a name are separated by `/`. A level that is `*` matches any one, and `#` as the last
    /// level matches all further ones, or none: `room/*` matches `room/1`, and `room/#` that, `room` and `room/1/door`. Whoever
    /// has several subscriptions that match gets a message once. Names that are published to are taken as they are.
    ///
    /// What is published from now on arrives, on whatever core. The first messages may be ones that another core or thread
    /// had published before, and that were on the way to this core's other subscribers; if the last of these had left
    /// meanwhile, they need not join with what comes then.
    pub fn subscribe(&mut self, filter: &str) -> bool {
        self.hub.subscribe(self.index, filter)
    }

    /// Subscribes with options. What was retained is sent if it was not subscribed already.
    pub fn subscribe_with(&mut self, filter: &str, options: Subscribe) -> bool {
        let new = self.hub.subscribe(self.index, filter);
        if new && options.retained {
            self.hub.send_retained(self.index, filter);
        }
        new
    }

    /// Ends a subscription; `false` when there was none.
    pub fn unsubscribe(&mut self, topic: &str) -> bool {
        self.hub.unsubscribe(self.index, topic)
    }

    /// Whether it is subscribed to a topic.
    #[must_use]
    pub fn is_subscribed(&self, topic: &str) -> bool {
        self.hub.topics.is_subscribed(self.index, topic)
    }

    /// The topics it is subscribed to, in no particular order.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &str> {
        self.hub.topics.topics_of(self.index)
    }

    /// Sends a message to every subscriber of a topic, on all cores; to this connection too if it is one.
    pub fn publish(&mut self, topic: &str, message: Message<'_>) -> Published {
        self.publish_with(topic, message, Publish::new())
    }

    /// Sends a message to every subscriber of a topic but this connection.
    pub fn publish_others(&mut self, topic: &str, message: Message<'_>) -> Published {
        self.publish_with(topic, message, Publish::new().others())
    }

    /// Sends a message to every subscriber of a topic, with options.
    pub fn publish_with(
        &mut self,
        topic: &str,
        message: Message<'_>,
        options: Publish,
    ) -> Published {
        self.hub.publish(&PublishRequest {
            topic,
            content: Content::Message(message),
            key: options.key,
            except: options.others.then_some(self.index),
            retain: options.retain,
        })
    }

    /// Keeps nothing of a topic for later subscribers any more ([`Publish::retain`]), on all cores. `false` when the mailbox of one is full:
    /// there it is still kept.
    pub fn forget_retained(&mut self, topic: &str) -> bool {
        self.hub.forget_retained(topic)
    }

    /// How many connections are subscribed to exactly this topic or filter, on all cores. They come and go meanwhile.
    #[must_use]
    pub fn subscribers(&self, topic: &str) -> u64 {
        self.hub.interests.subscribers(topic)
    }

    /// How many bytes may wait for this connection, at least 1; `None` is as the server has it
    /// ([`Server::backlog`](crate::Server::backlog)). What waits already stays.
    pub fn set_backlog(&mut self, bytes: Option<usize>) {
        let bytes = bytes.map_or(0, |bytes| u32::try_from(bytes.max(1)).unwrap_or(u32::MAX));
        self.hub.conns[self.index].backlog_limit = bytes;
    }

    /// What happens to this connection when its backlog is full; `None` is as the server has it.
    pub fn set_slow_policy(&mut self, policy: Option<SlowPolicy>) {
        self.hub.conns[self.index].flags.set_policy(policy);
    }

    /// Bytes sent, headers included, that the kernel has not taken yet.
    #[must_use]
    pub fn buffered(&self) -> usize {
        self.hub.buffered(self.index)
    }

    /// Stops reading: no further message is delivered, and the peer is held back by TCP once its window is
    /// full. Deadlines go on, the idle timeout included.
    pub fn pause(&mut self) {
        self.hub.pause(self.index);
    }

    /// Reads again after [`pause`](Self::pause).
    pub fn resume(&mut self) {
        self.hub.resume(self.index);
    }

    /// A reference that a future may keep.
    #[must_use]
    pub fn handle(&self) -> ConnHandle<D> {
        ConnHandle {
            id: self.hub.conns.id(self.index),
            data: PhantomData,
            here: PhantomData,
        }
    }

    /// The peer's address; `None` when it is gone already. Costs a system call.
    #[must_use]
    pub fn peer_addr(&self) -> Option<SocketAddr> {
        SockRef::from(&self.hub.conns[self.index].socket())
            .peer_addr()
            .ok()?
            .as_socket()
    }

    /// The core that this connection lives on, for good.
    #[must_use]
    pub fn core(&self) -> CoreId {
        self.core
    }
}

impl<D: fmt::Debug> fmt::Debug for Conn<'_, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conn")
            .field("index", &self.index)
            .field("data", self.data)
            .finish()
    }
}

/// A weak reference to a connection, for futures of the same core (see [`spawn`](crate::spawn)).
///
/// It does not keep the connection open, and never reaches another one: when the connection is gone, and when its
/// slot is used again, it answers `None`.
pub struct ConnHandle<D> {
    id: ConnId,
    data: PhantomData<fn() -> D>,
    /// Not `Send`: on another core's thread the same numbers name another connection.
    here: PhantomData<*const ()>,
}

impl<D: 'static> ConnHandle<D> {
    /// Runs `f` on the connection if it is open. `None` if it is not, and inside of a callback, which has its connection
    /// at hand already.
    pub fn with<R>(&self, f: impl FnOnce(&mut Conn<'_, D>) -> R) -> Option<R> {
        tasks::with_core(|core| {
            core.with_app(|app, hub| {
                let conn = hub.conns.get(self.id).filter(|conn| conn.is_open())?;
                let (core, data) = app.data(conn.route, conn.data)?;
                Some(f(&mut Conn::new(
                    hub,
                    self.id.index,
                    core,
                    data.downcast_mut()?,
                )))
            })
        })
        .flatten()
    }
}

impl<D> Clone for ConnHandle<D> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<D> Copy for ConnHandle<D> {}

impl<D> fmt::Debug for ConnHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ConnHandle({}#{})", self.id.index, self.id.generation)
    }
}
