//! The coordinator's part in what agents tell each other about their publishers.
//!
//! No clocks are compared. An agent asks, with the time on its own clock; then all count; what they count is passed on to
//! everybody; and the agent hears the time of its question again. Whatever is not in these counts was sent after the count was
//! asked for, and so after that time. Questions that come during a count are answered by the next one. At the end each agent
//! tells its last counts unasked, and when all have, these are final.

use std::mem;
use std::sync::{Mutex, MutexGuard};

use super::census::{FOR_GOOD, Sent};
use crate::clock::Nanos;

/// What is under way between the agents of a run.
#[derive(Debug)]
pub(crate) struct Exchange(Mutex<State>);

#[derive(Debug)]
struct State {
    /// By agent: the time of the question that the next count will answer, and of the one that this one will.
    asked: Vec<Option<Nanos>>,
    answering: Vec<Option<Nanos>>,
    /// Agents whose counts are missing, when all were asked for them.
    uncounted: Option<usize>,
    /// Agents that have not told their last counts.
    unfinished: usize,
    /// The last counts have been passed on.
    over: bool,
    /// What has not been passed on yet.
    news: Vec<Sent>,
    /// A thread does what is to be done.
    busy: bool,
}

/// What an agent says about publishers.
#[derive(Debug)]
pub(crate) enum Said {
    /// It wants to know what has been sent by this time of its clock.
    Asked(Nanos),
    /// These have sent more.
    Sent(Vec<Sent>),
    /// That is all, up to the time when it was asked to count.
    Counted,
    /// That is all, for good.
    Finished,
}

/// What is to be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Every agent has to count.
    Count,
    /// Every agent has to learn this, and by agent, of what time it then knows; nothing for those who did not ask.
    PassOn {
        sent: Vec<Sent>,
        known: Vec<Option<Nanos>>,
    },
}

impl Exchange {
    /// Between so many agents.
    pub(crate) fn new(agents: usize) -> Self {
        Self(Mutex::new(State {
            asked: vec![None; agents],
            answering: vec![None; agents],
            uncounted: None,
            unfinished: agents,
            over: false,
            news: Vec::new(),
            busy: false,
        }))
    }

    /// Takes in what an agent says.
    pub(crate) fn hear(&self, agent: usize, said: Said) {
        let mut state = self.lock();
        match said {
            Said::Asked(time) => state.asked[agent] = Some(time),
            Said::Sent(news) => state.news.extend(news),
            Said::Counted => state.uncounted = state.uncounted.map(|left| left.saturating_sub(1)),
            Said::Finished => state.unfinished = state.unfinished.saturating_sub(1),
        }
    }

    /// Does what is to be done, one step after the other. One thread does so at a time, and no other waits for it: all
    /// others go on listening to their agents, so that these go on listening, too.
    ///
    /// # Errors
    /// Those of `act`.
    pub(crate) fn go_on<E>(&self, mut act: impl FnMut(Step) -> Result<(), E>) -> Result<(), E> {
        if mem::replace(&mut self.lock().busy, true) {
            return Ok(());
        }
        loop {
            let step = {
                let mut state = self.lock();
                let step = state.next();
                state.busy = step.is_some();
                step
            };
            match step {
                Some(step) => act(step)?,
                None => return Ok(()),
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("nobody panics with the state")
    }
}

impl State {
    fn next(&mut self) -> Option<Step> {
        if self.over {
            return None;
        }
        let agents = self.asked.len();
        if self.unfinished == 0 {
            self.over = true;
            let known = vec![Some(FOR_GOOD); agents];
            return Some(self.pass_on(known));
        }
        if self.uncounted == Some(0) {
            self.uncounted = None;
            let known = mem::replace(&mut self.answering, vec![None; agents]);
            return Some(self.pass_on(known));
        }
        let wanted = self.uncounted.is_none() && self.asked.iter().any(Option::is_some);
        wanted.then(|| {
            self.uncounted = Some(agents);
            self.answering = mem::replace(&mut self.asked, vec![None; agents]);
            Step::Count
        })
    }

    fn pass_on(&mut self, known: Vec<Option<Nanos>>) -> Step {
        let sent = mem::take(&mut self.news);
        Step::PassOn { sent, known }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is to be done after an agent has said this.
    fn steps(exchange: &Exchange, agent: usize, said: Said) -> Vec<Step> {
        exchange.hear(agent, said);
        let mut list = Vec::new();
        let note = |step| {
            list.push(step);
            Ok::<(), ()>(())
        };
        exchange.go_on(note).unwrap();
        list
    }

    #[test]
    fn a_count_answers_the_questions_that_came_before_it() {
        let exchange = Exchange::new(2);
        let after = |agent, said| steps(&exchange, agent, said);
        assert_eq!(after(0, Said::Asked(7)), [Step::Count]);
        assert_eq!(after(1, Said::Asked(9)), [], "during the count");
        assert_eq!(after(1, Said::Sent(vec![(3, 4)])), []);
        assert_eq!(after(1, Said::Counted), []);
        let answer = |sent, known: [Option<Nanos>; 2]| Step::PassOn {
            sent,
            known: known.to_vec(),
        };
        let first = answer(vec![(3, 4)], [Some(7), None]);
        assert_eq!(after(0, Said::Counted), [first, Step::Count]);
        assert_eq!(after(0, Said::Counted), []);
        let second = answer(vec![], [None, Some(9)]);
        assert_eq!(after(1, Said::Counted), [second]);
    }

    #[test]
    fn the_last_counts_of_all_are_final() {
        let exchange = Exchange::new(2);
        let after = |agent, said| steps(&exchange, agent, said);
        assert_eq!(after(0, Said::Sent(vec![(0, 8)])), []);
        assert_eq!(after(0, Said::Finished), []);
        assert_eq!(after(1, Said::Asked(5)), [Step::Count]);
        assert_eq!(after(0, Said::Counted), []);
        assert_eq!(after(1, Said::Sent(vec![(1, 2)])), []);
        let last = Step::PassOn {
            sent: vec![(0, 8), (1, 2)],
            known: vec![Some(FOR_GOOD); 2],
        };
        assert_eq!(after(1, Said::Finished), [last]);
        assert_eq!(after(1, Said::Counted), [], "everything has been said");
    }

    #[test]
    fn one_thread_acts_at_a_time() {
        let exchange = Exchange::new(1);
        exchange.hear(0, Said::Asked(1));
        let mut seen = Vec::new();
        let act = |step| {
            if step == Step::Count {
                exchange.hear(0, Said::Counted);
                let other = |_| -> Result<(), ()> { panic!("somebody else is at it") };
                exchange.go_on(other).unwrap();
            }
            seen.push(step);
            Ok::<(), ()>(())
        };
        exchange.go_on(act).unwrap();
        assert_eq!(seen.len(), 2, "{seen:?}");
    }
}
