//! Who receives a broadcast message.

use std::sync::Mutex;

use slab::Slab;
use tokio::sync::mpsc::{self, UnboundedReceiver, UnboundedSender};

/// Messages that a connection takes from its queue before it flushes.
pub const BATCH: usize = 64;

/// One unbounded queue per connection behind one lock, as in tokio-tungstenite's
/// `examples/server.rs` and in sockudo-ws's `PubSub`.
pub struct Hub<T> {
    queues: Mutex<Slab<UnboundedSender<T>>>,
}

/// A connection's place in the hub; dropping it leaves the hub.
pub struct Seat<T: 'static> {
    hub: &'static Hub<T>,
    key: usize,
    /// Messages to send to this connection.
    pub queue: UnboundedReceiver<T>,
}

impl<T: Clone> Hub<T> {
    /// An empty hub, for a `static`.
    pub const fn new() -> Self {
        Self {
            queues: Mutex::new(Slab::new()),
        }
    }

    /// Adds a connection.
    pub fn join(&'static self) -> Seat<T> {
        let (sender, queue) = mpsc::unbounded_channel();
        let key = self.lock().insert(sender);
        Seat {
            hub: self,
            key,
            queue,
        }
    }

    /// Queues `message` for every connection.
    pub fn publish(&self, message: &T) {
        for (_, queue) in self.lock().iter() {
            // A closed queue belongs to a connection that is about to leave.
            let _ = queue.send(message.clone());
        }
    }
}

impl<T: Clone> Default for Hub<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Hub<T> {
    fn lock(&self) -> std::sync::MutexGuard<'_, Slab<UnboundedSender<T>>> {
        self.queues.lock().expect("no code panics under this lock")
    }
}

impl<T> Drop for Seat<T> {
    fn drop(&mut self) {
        self.hub.lock().remove(self.key);
    }
}
