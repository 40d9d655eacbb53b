//! How much each publisher of a run has sent, as far as this process knows.
//!
//! Threads of one process share it. A process of several asks the others through the coordinator ([`super::exchange`]), and
//! only when it has to know: when a subscriber has joined in the middle, and at the end.

use std::io;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};

use crate::clock::Nanos;

/// Publishers in one message at most: so nobody is kept from reading for long.
pub(super) const PIECE: usize = 10_000;

/// Processes ask at multiples of this time on the run's clock, so that one count answers all.
const ROUND: Nanos = 100_000_000;

/// What is known at this time never changes again.
pub(crate) const FOR_GOOD: Nanos = Nanos::MAX;

/// A publisher's number in the run, and how many messages it has sent.
pub(crate) type Sent = (u32, u32);

/// How much each publisher of the run has sent.
#[derive(Debug)]
pub(crate) struct Census {
    /// By number of the publisher.
    sent: Vec<AtomicU32>,
    /// Those in this process that may still send.
    left: AtomicUsize,
    /// What there is to know of other processes; `None` when there are none.
    elsewhere: Option<Elsewhere>,
}

#[derive(Debug)]
struct Elsewhere {
    /// The latest time of which a thread wants to know…
    wanted: AtomicU64,
    /// …and of which is known: what a publisher of another process sends beyond the count of it, it sends after that time.
    known: AtomicU64,
    /// The counts that the coordinator has been told, or has told.
    told: Mutex<Vec<u32>>,
}

/// When a process asks the others.
#[derive(Debug, Default)]
pub(crate) struct Curiosity {
    /// When it last did.
    asked: Nanos,
    /// When it will.
    due: Option<Nanos>,
}

impl Census {
    /// Of so many publishers in the run, and of as many `tellers` in this process, each of which will say that it has sent its
    /// last message. `alone`: there is no other process.
    pub(crate) fn new(publishers: usize, tellers: usize, alone: bool) -> Self {
        let mut sent = Vec::new();
        sent.resize_with(publishers, AtomicU32::default);
        let elsewhere = || Elsewhere {
            wanted: AtomicU64::new(0),
            known: AtomicU64::new(0),
            told: Mutex::new(vec![0; publishers]),
        };
        Self {
            sent,
            left: AtomicUsize::new(tellers),
            // Without publishers there is nothing to ask.
            elsewhere: (!alone && publishers > 0).then(elsewhere),
        }
    }

    /// A publisher of this process is about to send, and has then sent so many. Whoever does not see that yet will receive what
    /// comes after.
    #[inline]
    pub(crate) fn sends(&self, publisher: usize, total: u32) {
        self.sent[publisher].store(total, Ordering::Release);
    }

    /// Messages of a publisher so far.
    #[inline]
    pub(crate) fn sent(&self, publisher: usize) -> u32 {
        self.sent[publisher].load(Ordering::Acquire)
    }

    /// A teller has sent its last message. To be called once by each.
    pub(crate) fn tell(&self) {
        self.left.fetch_sub(1, Ordering::AcqRel);
    }

    /// Nobody sends any more, in no process, and all counts are final.
    pub(crate) fn is_complete(&self) -> bool {
        match &self.elsewhere {
            None => self.is_over(),
            Some(elsewhere) => elsewhere.known.load(Ordering::Acquire) == FOR_GOOD,
        }
    }

    /// Whether what a publisher sends beyond its count, it sends after this time, which has come. Until then the others are
    /// asked.
    pub(crate) fn is_known(&self, time: Nanos) -> bool {
        let Some(elsewhere) = &self.elsewhere else {
            return true;
        };
        let known = elsewhere.known.load(Ordering::Acquire) >= time;
        if !known {
            elsewhere.wanted.fetch_max(time, Ordering::Relaxed);
        }
        known
    }

    /// The tellers of this process have sent their last message.
    pub(crate) fn is_over(&self) -> bool {
        self.left.load(Ordering::Acquire) == 0
    }

    /// There are other processes.
    pub(crate) fn is_shared(&self) -> bool {
        self.elsewhere.is_some()
    }

    /// Sends what has changed since the last time, in pieces. What is sent beyond these counts, is sent after the call.
    pub(crate) fn pass_on<E>(
        &self,
        mut send: impl FnMut(Vec<Sent>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(elsewhere) = &self.elsewhere else {
            return Ok(());
        };
        // Held while sending: whoever finds nothing new then knows that it has been sent.
        let mut told = elsewhere.lock();
        let mut news = Vec::new();
        for (number, (told, sent)) in told.iter_mut().zip(&self.sent).enumerate() {
            let sent = sent.load(Ordering::Acquire);
            if sent > *told {
                *told = sent;
                news.push((number as u32, sent));
            }
        }
        news.chunks(PIECE)
            .try_for_each(|piece| send(piece.to_vec()))
    }

    /// Others have sent so much.
    ///
    /// # Errors
    /// When there is no such publisher.
    pub(crate) fn learn(&self, news: &[Sent]) -> io::Result<()> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "there is no such publisher");
        let elsewhere = self.elsewhere.as_ref().ok_or_else(unknown)?;
        let mut told = elsewhere.lock();
        for &(number, total) in news {
            let told = told.get_mut(number as usize).ok_or_else(unknown)?;
            *told = total.max(*told);
            // What this process has told itself comes back, too: by then it may have sent more.
            self.sent[number as usize].fetch_max(total, Ordering::AcqRel);
        }
        Ok(())
    }

    /// All was learnt that others had sent by this time.
    pub(crate) fn know(&self, time: Nanos) {
        if let Some(elsewhere) = &self.elsewhere {
            elsewhere.known.fetch_max(time, Ordering::AcqRel);
        }
    }
}

impl Elsewhere {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<u32>> {
        self.told.lock().expect("nobody panics with the counts")
    }
}

impl Curiosity {
    /// The time of a question, which is `now`, when one is to be asked. One question is asked at a time.
    pub(crate) fn ask(&mut self, census: &Census, now: Nanos) -> Option<Nanos> {
        let elsewhere = census.elsewhere.as_ref()?;
        let known = elsewhere.known.load(Ordering::Acquire);
        if elsewhere.wanted.load(Ordering::Relaxed) <= known || self.asked > known {
            return None;
        }
        if now < *self.due.get_or_insert((now / ROUND + 1) * ROUND) {
            return None;
        }
        self.due = None;
        self.asked = now;
        Some(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn news(census: &Census) -> Vec<Sent> {
        let mut all = Vec::new();
        let collect = |piece: Vec<Sent>| {
            all.extend(piece);
            Ok::<(), ()>(())
        };
        census.pass_on(collect).unwrap();
        all
    }

    #[test]
    fn one_process_knows_everything_at_once() {
        let census = Census::new(3, 2, true);
        census.sends(1, 5);
        assert!(census.is_known(7) && !census.is_complete());
        assert_eq!((census.sent(0), census.sent(1)), (0, 5));
        assert!(news(&census).is_empty(), "there is nobody to tell");
        assert_eq!(Curiosity::default().ask(&census, ROUND), None);
        census.tell();
        assert!(!census.is_complete());
        census.tell();
        assert!(census.is_complete());
    }

    #[test]
    fn only_changes_are_told_and_what_was_learnt_is_none() {
        let census = Census::new(30_000, 1, false);
        (0..25_000).for_each(|publisher| census.sends(publisher, 2));
        let mut pieces = Vec::new();
        let note = |piece: Vec<Sent>| {
            pieces.push(piece.len());
            Ok::<(), ()>(())
        };
        census.pass_on(note).unwrap();
        assert_eq!(pieces, [10_000, 10_000, 5_000]);
        census.sends(4, 3);
        census.learn(&[(29_000, 8), (4, 2)]).unwrap();
        assert_eq!((census.sent(29_000), census.sent(4)), (8, 3));
        assert_eq!(news(&census), [(4, 3)]);
        assert!(news(&census).is_empty());
        assert!(census.learn(&[(30_000, 1)]).is_err());
    }

    #[test]
    fn others_are_asked_once_until_they_answer() {
        let census = Census::new(1, 1, false);
        let mut curiosity = Curiosity::default();
        assert_eq!(curiosity.ask(&census, 5), None, "nobody wants to know");
        assert!(!census.is_known(ROUND / 2));
        assert_eq!(curiosity.ask(&census, ROUND / 2), None, "not yet");
        assert_eq!(curiosity.ask(&census, ROUND + 9), Some(ROUND + 9));
        assert_eq!(curiosity.ask(&census, 9 * ROUND), None, "one at a time");
        census.know(ROUND + 9);
        assert!(census.is_known(ROUND / 2) && census.is_known(ROUND + 9));
        assert_eq!(curiosity.ask(&census, 9 * ROUND), None);
        assert!(!census.is_known(ROUND + 10));
        assert_eq!(
            curiosity.ask(&census, 2 * ROUND),
            None,
            "at the next multiple"
        );
        assert_eq!(curiosity.ask(&census, 3 * ROUND), Some(3 * ROUND));
        assert!(!census.is_complete());
        census.know(FOR_GOOD);
        assert!(census.is_complete() && census.is_known(99 * ROUND));
    }
}
