//! Futures of the application that run beside the event loop, on the core's monoio runtime.
//!
//! The loop has to know whether there are any: with none, it sleeps in its own ring and never turns to
//! the runtime; with some, it gives the runtime its turn.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::future::Future;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use super::SharedCore;
use super::bell::Bell;

thread_local! {
    static FUTURES: RefCell<Futures> = RefCell::default();
    static LIVE: Cell<usize> = const { Cell::new(0) };
    static CURRENT: RefCell<Option<Local>> = const { RefCell::new(None) };
}

/// What a future needs to reach the core it runs on.
#[derive(Clone)]
struct Local {
    core: SharedCore,
    wake: Rc<Wake>,
}

/// Wakes the loop of this thread from a future on the same thread.
pub(crate) struct Wake {
    bell: Bell,
    asleep: Cell<bool>,
}

impl Wake {
    pub(crate) fn new() -> std::io::Result<Rc<Self>> {
        Ok(Rc::new(Self {
            bell: Bell::new()?,
            asleep: Cell::new(false),
        }))
    }

    pub(crate) fn eventfd(&self) -> BorrowedFd<'_> {
        self.bell.fd()
    }

    /// The loop is about to sleep, or awake again.
    pub(crate) fn set_asleep(&self, asleep: bool) {
        self.asleep.set(asleep);
        if !asleep {
            self.bell.silence();
        }
    }

    fn wake(&self) {
        if self.asleep.get() {
            self.bell.ring();
        }
    }
}

/// Makes a core this thread's, until the guard is dropped.
pub(crate) fn enter(core: &SharedCore, wake: &Rc<Wake>) -> Entered {
    let local = Local {
        core: Rc::clone(core),
        wake: Rc::clone(wake),
    };
    CURRENT.with(|current| *current.borrow_mut() = Some(local));
    Entered
}

/// Guard of [`enter`].
pub(crate) struct Entered;

impl Drop for Entered {
    fn drop(&mut self) {
        CURRENT.with(|current| current.borrow_mut().take());
        // The runtime never drops a task that still waits when it ends, so the futures are dropped here. What they do
        // then may spawn others.
        while let Some((_, future)) =
            FUTURES.with_borrow_mut(|futures| futures.by_number.pop_first())
        {
            future.end();
        }
    }
}

/// Runs `f` on this thread's core, from a future. `None` outside a core's thread, and inside a callback.
pub(crate) fn with_core<R>(f: impl FnOnce(&mut super::Core) -> R) -> Option<R> {
    let local = CURRENT.with(|current| current.borrow().clone())?;
    let result = {
        let core = &mut *local.core.try_borrow_mut().ok()?;
        // The loop may have slept for long: what a future begins counts from now.
        core.advance(Instant::now());
        f(core)
    };
    local.wake.wake();
    Some(result)
}

/// Has this thread's loop take another turn.
pub(crate) fn wake_loop() {
    CURRENT.with(|current| {
        if let Some(local) = &*current.borrow() {
            local.wake.wake();
        }
    });
}

/// Whether the runtime has anything to run but the loop.
pub(crate) fn any() -> bool {
    LIVE.get() > 0
}

/// Spawns a future on this core's runtime. One that panics ends there, and never completes.
///
/// # Panics
/// On a thread that is not a core's.
pub fn spawn<T: 'static>(future: impl Future<Output = T> + 'static) -> monoio::task::JoinHandle<T> {
    let future = Rc::new(Live(RefCell::new(Some(Box::pin(future)))));
    let number = FUTURES.with_borrow_mut(|futures| futures.add(Rc::clone(&future) as Rc<dyn End>));
    LIVE.set(LIVE.get() + 1);
    monoio::spawn(Counted { future, number })
}

/// A core's futures that have not ended.
#[derive(Default)]
struct Futures {
    by_number: BTreeMap<u64, Rc<dyn End>>,
    spawned: u64,
}

impl Futures {
    /// Gives the future's number. None is used again: a future that panicked is removed when it ends and once more when the
    /// runtime drops its task, and by then nobody else may have its number.
    fn add(&mut self, future: Rc<dyn End>) -> u64 {
        let number = self.spawned;
        self.spawned += 1;
        self.by_number.insert(number, future);
        number
    }
}

trait End {
    /// Drops the future, if it has not ended yet.
    fn end(&self);
}

struct Live<F>(RefCell<Option<Pin<Box<F>>>>);

impl<F> End for Live<F> {
    fn end(&self) {
        // Out of its place first: dropping it may lead back here.
        let future = self.0.borrow_mut().take();
        if future.is_some() {
            LIVE.set(LIVE.get() - 1);
        }
    }
}

/// Counts a future as live until it is dropped.
struct Counted<F: 'static> {
    future: Rc<Live<F>>,
    number: u64,
}

impl<F: Future> Future for Counted<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let polled = match &mut *self.future.0.borrow_mut() {
            Some(future) => catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(context))),
            None => return Poll::Pending,
        };
        polled.unwrap_or_else(|_| {
            tracing::error!("a future panicked; whoever waits for it waits in vain");
            self.end();
            Poll::Pending
        })
    }
}

impl<F> Counted<F> {
    fn end(&self) {
        self.future.end();
        // Gone already if this thread is ending.
        let _ = FUTURES.try_with(|futures| futures.borrow_mut().by_number.remove(&self.number));
    }
}

impl<F> Drop for Counted<F> {
    fn drop(&mut self) {
        self.end();
    }
}

/// Lets the runtime's other tasks run once.
///
/// By way of a task that is queued behind them: monoio puts a task that wakes itself in front of all others.
pub(crate) async fn yield_now() {
    monoio::spawn(std::future::ready(())).await;
}
