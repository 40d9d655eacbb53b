//! What one thread notes down of one role, phase by phase.

use serde::{Deserialize, Serialize};

use super::course::{Course, Row};
use super::plan::Plan;
use crate::client::dial::Failures;
use crate::clock::Nanos;
use crate::stats::latency::{Latency, Tally};

/// The notes of one role on one thread.
pub(super) struct Account {
    /// When the load begins.
    start: Nanos,
    /// Ends of the phases, from `start` on.
    ends: Vec<Nanos>,
    /// The phase that the clock is in; events before the first count for that.
    current: usize,
    pages: Vec<Page>,
    /// The load is over…
    over: bool,
    /// …and this came after it: too late to be a phase's.
    after: Counts,
    course: Course,
    /// Why connections could not be opened, and why they broke.
    pub(super) refused: Failures,
    pub(super) broken: Failures,
}

/// One phase.
#[derive(Clone, Debug)]
pub(super) struct Page {
    pub(super) counts: Counts,
    corrected: Tally,
    uncorrected: Tally,
    connect: Tally,
}

/// One phase's notes, complete.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Notes {
    pub(super) counts: Counts,
    /// From the time due, of what fell due in the phase.
    pub(super) corrected: Latency,
    /// From the time sent.
    pub(super) uncorrected: Latency,
    /// Opening of connections.
    pub(super) connect: Latency,
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    pub(super) due: u64,
    pub(super) sent: u64,
    pub(super) done: u64,
    pub(super) opened: u64,
    pub(super) closed: u64,
    /// Connections that could not be opened; dialling them again that failed, too, is in `attempts`.
    pub(super) refused: u64,
    pub(super) attempts: u64,
    pub(super) broken: u64,
    pub(super) lost: u64,
    pub(super) duplicated: u64,
    pub(super) reordered: u64,
    /// What fell due in the phase, and came when it was over.
    pub(super) late: u64,
    /// Connections open at the phase's end.
    pub(super) open: u64,
}

/// All that a thread has to tell of a role: to the main thread, or to the coordinator.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Closed {
    /// By phase.
    pub(super) notes: Vec<Notes>,
    /// What came after the last one's end. What was wrong with it is in the last one.
    pub(super) after: Counts,
    /// By interval.
    pub(super) course: Vec<Row>,
    pub(super) refused: Failures,
    pub(super) broken: Failures,
}

impl Account {
    /// Nothing noted yet.
    pub(super) fn new(plan: &Plan) -> Self {
        let tally = || Tally::new(Latency::new());
        let page = |_| Page {
            counts: Counts::default(),
            corrected: tally(),
            uncorrected: tally(),
            connect: tally(),
        };
        Self {
            start: Nanos::MAX,
            ends: plan.phases.iter().map(|phase| phase.span.end).collect(),
            current: 0,
            pages: plan.phases.iter().map(page).collect(),
            over: false,
            after: Counts::default(),
            course: Course::new(plan.length()),
            refused: Failures::default(),
            broken: Failures::default(),
        }
    }

    /// The load begins then.
    pub(super) fn begin(&mut self, start: Nanos) {
        self.start = start;
    }

    /// The clock goes on; `open` connections are open.
    pub(super) fn look(&mut self, now: Nanos, open: usize) {
        let passed = now.saturating_sub(self.start);
        while self.current + 1 < self.ends.len() && passed >= self.ends[self.current] {
            self.pages[self.current].counts.open = open as u64;
            self.current += 1;
        }
        let length = self.ends[self.ends.len() - 1];
        while self.course.is_due(passed.min(length)) {
            let mut counts = self.all();
            counts.open = open as u64;
            self.course.cut(counts);
        }
    }

    /// The counts of all phases.
    fn all(&self) -> Counts {
        let mut all = Counts::default();
        self.pages.iter().for_each(|page| all.add(&page.counts));
        all
    }

    /// The load is over; `open` connections are open.
    pub(super) fn end(&mut self, now: Nanos, open: usize) {
        self.look(now, open);
        self.counts().open = open as u64;
        self.over = true;
    }

    /// The counts of what happens now: of the phase that the clock is in, or of the time after the last.
    #[inline]
    pub(super) fn counts(&mut self) -> &mut Counts {
        if self.over {
            &mut self.after
        } else {
            &mut self.pages[self.current].counts
        }
    }

    /// The counts of what goes wrong: the last phase's are complete when everything has been waited for.
    #[inline]
    pub(super) fn faults(&mut self) -> &mut Counts {
        &mut self.pages[self.current].counts
    }

    /// Something fell due then.
    #[inline]
    pub(super) fn due(&mut self, due: Nanos) {
        let phase = self.phase_at(due);
        self.pages[phase].counts.due += 1;
    }

    /// What was due and sent then has come back, or to a subscriber.
    #[inline]
    pub(super) fn answered(&mut self, due: Nanos, sent: Nanos, now: Nanos) {
        self.course.record(now.saturating_sub(due));
        let phase = self.phase_at(due);
        let late = self.over || phase < self.current;
        let page = &mut self.pages[phase];
        page.counts.late += u64::from(late);
        page.corrected.record(now.saturating_sub(due));
        page.uncorrected.record(now.saturating_sub(sent));
    }

    /// What was counted as lost has come after all, after a later one.
    pub(super) fn came_late(&mut self) {
        self.faults().reordered += 1;
        let mut pages = self.pages[..=self.current].iter_mut().rev();
        if let Some(page) = pages.find(|page| page.counts.lost > 0) {
            page.counts.lost -= 1;
        }
    }

    /// A connection took so long to open.
    pub(super) fn connected(&mut self, took: Nanos) {
        self.counts().opened += 1;
        self.pages[self.current].connect.record(took);
    }

    /// A connection could not be opened.
    pub(super) fn refuse(&mut self, reason: impl Into<String>) {
        self.faults().refused += 1;
        self.faults().attempts += 1;
        self.refused.add(reason);
    }

    /// One that could not be opened before could not be opened again.
    pub(super) fn refuse_again(&mut self) {
        self.faults().attempts += 1;
    }

    /// A connection broke.
    pub(super) fn break_off(&mut self, reason: impl Into<String>) {
        self.faults().broken += 1;
        self.broken.add(reason);
    }

    /// Connections that could not be opened, or broke.
    pub(super) fn errors(&self) -> u64 {
        self.refused.total() + self.broken.total()
    }

    /// All counts so far.
    pub(super) fn so_far(&self) -> Counts {
        let mut all = self.all();
        all.add(&self.after);
        all
    }

    /// Everything.
    pub(super) fn close(self) -> Closed {
        let notes = self.pages.into_iter().map(|page| Notes {
            counts: page.counts,
            corrected: page.corrected.finish(),
            uncorrected: page.uncorrected.finish(),
            connect: page.connect.finish(),
        });
        Closed {
            notes: notes.collect(),
            after: self.after,
            course: self.course.finish(),
            refused: self.refused,
            broken: self.broken,
        }
    }

    #[inline]
    fn phase_at(&self, time: Nanos) -> usize {
        let time = time.saturating_sub(self.start);
        // Most of what comes back fell due in the same phase.
        let mut phase = self.current;
        while phase > 0 && time < self.ends[phase - 1] {
            phase -= 1;
        }
        while time >= self.ends[phase] && phase + 1 < self.ends.len() {
            phase += 1;
        }
        phase
    }
}

impl Closed {
    /// Connections that were opened, whenever.
    pub(super) fn opened(&self) -> u64 {
        let phases: u64 = self.notes.iter().map(|notes| notes.counts.opened).sum();
        phases + self.after.opened
    }

    /// Adds what another thread noted of the same role.
    pub(super) fn merge(&mut self, other: Self) {
        for (all, one) in self.notes.iter_mut().zip(&other.notes) {
            all.merge(one);
        }
        self.after.add(&other.after);
        self.course
            .iter_mut()
            .zip(other.course)
            .for_each(|(all, one)| all.merge(one));
        self.refused.merge(other.refused);
        self.broken.merge(other.broken);
    }
}

impl Notes {
    /// Adds others.
    pub(super) fn merge(&mut self, other: &Self) {
        self.counts.add(&other.counts);
        self.corrected.merge(&other.corrected);
        self.uncorrected.merge(&other.uncorrected);
        self.connect.merge(&other.connect);
    }
}

impl Counts {
    /// What was counted since; the connections that are open as they are.
    pub(super) fn since(&self, before: &Self) -> Self {
        Self {
            due: self.due - before.due,
            sent: self.sent - before.sent,
            done: self.done - before.done,
            opened: self.opened - before.opened,
            closed: self.closed - before.closed,
            refused: self.refused - before.refused,
            attempts: self.attempts - before.attempts,
            broken: self.broken - before.broken,
            // What was taken for lost may come after all.
            lost: self.lost.saturating_sub(before.lost),
            duplicated: self.duplicated - before.duplicated,
            reordered: self.reordered - before.reordered,
            late: self.late - before.late,
            open: self.open,
        }
    }

    /// Adds others.
    pub(super) fn add(&mut self, other: &Self) {
        let Self {
            due,
            sent,
            done,
            opened,
            closed,
            refused,
            attempts,
            broken,
            lost,
            duplicated,
            reordered,
            late,
            open,
        } = other;
        self.due += due;
        self.sent += sent;
        self.done += done;
        self.opened += opened;
        self.closed += closed;
        self.refused += refused;
        self.attempts += attempts;
        self.broken += broken;
        self.lost += lost;
        self.duplicated += duplicated;
        self.reordered += reordered;
        self.late += late;
        self.open += open;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::Plan;

    const SECOND: Nanos = 1_000_000_000;

    #[test]
    fn latencies_belong_to_the_phase_in_which_they_were_due() {
        let text = "title = 'x'\n[[role]]\nname = 'a'\nkind = 'idle'\nconnections = 5\n\
            [[phase]]\nname = 'p'\nduration = '1s'\n[[phase]]\nname = 'q'\nduration = '1s'\n";
        let plan = Plan::parse(text, 1).unwrap();
        let mut account = Account::new(&plan);
        account.begin(10 * SECOND);
        account.due(10 * SECOND);
        account.look(10 * SECOND + 5, 3);
        account.counts().done += 1;
        account.look(11 * SECOND, 4);
        account.answered(11 * SECOND - 1, 11 * SECOND, 12 * SECOND);
        account.answered(11 * SECOND, 11 * SECOND, 11 * SECOND + 50_000);
        account.counts().done += 2;
        account.due(11 * SECOND);
        account.end(12 * SECOND, 7);
        account.counts().done += 100;
        account.counts().sent += 200;
        account.connected(5);
        account.faults().duplicated += 9;
        account.refuse("no");
        account.answered(11 * SECOND, 11 * SECOND, 13 * SECOND);
        let so_far = account.so_far();
        assert_eq!((so_far.done, so_far.sent), (103, 200));
        let closed = account.close();
        let last = &closed.notes[1].counts;
        assert_eq!((last.opened, last.duplicated, last.refused), (0, 9, 1));
        let after = &closed.after;
        assert_eq!((after.done, after.sent, after.opened), (100, 200, 1));
        let of = |n: usize| {
            let notes: &Notes = &closed.notes[n];
            let count = notes.corrected.distribution().map_or(0, |it| it.count);
            (
                notes.counts.due,
                notes.counts.done,
                notes.counts.open,
                notes.counts.late,
                count,
            )
        };
        assert_eq!((of(0), of(1)), ((1, 1, 4, 1, 1), (1, 2, 7, 1, 2)));
        let slow = closed.notes[0].corrected.distribution().unwrap();
        assert!((slow.max / 1e6 - 1.0).abs() < 0.01, "{slow:?}");
    }
}
