//! The queue between two cores without its memory: `rtrb`'s interface, and the two indices that its threads share, with the
//! orderings that it has for them.

use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use loom::sync::atomic::{AtomicUsize, Ordering};

/// A queue of one producer and one consumer.
#[derive(Debug)]
pub(crate) struct RingBuffer<T> {
    capacity: usize,
    /// Taken by the consumer, ever.
    head: AtomicUsize,
    /// Put in by the producer, ever.
    tail: AtomicUsize,
    /// Not loom's lock: that would put the threads' steps in an order that the indices do not give them.
    slots: Mutex<VecDeque<T>>,
}

impl<T> RingBuffer<T> {
    #[expect(clippy::new_ret_no_self, reason = "as the queue that this stands for")]
    pub(crate) fn new(capacity: usize) -> (Producer<T>, Consumer<T>) {
        let buffer = Arc::new(Self {
            capacity,
            head: AtomicUsize::new(0),
            tail: AtomicUsize::new(0),
            slots: Mutex::default(),
        });
        let producer = Producer {
            buffer: Arc::clone(&buffer),
            tail: 0,
            head: Cell::new(0),
        };
        (producer, Consumer { buffer, head: 0 })
    }
}

#[derive(Debug)]
pub(crate) struct Producer<T> {
    buffer: Arc<RingBuffer<T>>,
    tail: usize,
    /// When it was last looked at.
    head: Cell<usize>,
}

impl<T> Producer<T> {
    pub(crate) fn cached_slots(&self) -> usize {
        self.buffer.capacity - (self.tail - self.head.get())
    }

    pub(crate) fn slots(&self) -> usize {
        self.head.set(self.buffer.head.load(Ordering::Acquire));
        self.cached_slots()
    }

    pub(crate) fn push(&mut self, value: T) -> Result<(), T> {
        if self.cached_slots() == 0 && self.slots() == 0 {
            return Err(value);
        }
        self.buffer.slots.lock().unwrap().push_back(value);
        self.tail += 1;
        self.buffer.tail.store(self.tail, Ordering::Release);
        Ok(())
    }
}

#[derive(Debug)]
pub(crate) struct Consumer<T> {
    buffer: Arc<RingBuffer<T>>,
    head: usize,
}

/// The queue is empty.
#[derive(Debug)]
pub(crate) struct Empty;

impl<T> Consumer<T> {
    pub(crate) fn slots(&self) -> usize {
        self.buffer.tail.load(Ordering::Acquire) - self.head
    }

    pub(crate) fn pop(&mut self) -> Result<T, Empty> {
        if self.slots() == 0 {
            return Err(Empty);
        }
        let value = self.buffer.slots.lock().unwrap().pop_front();
        self.head += 1;
        self.buffer.head.store(self.head, Ordering::Release);
        Ok(value.expect("put in before the index was moved"))
    }
}
