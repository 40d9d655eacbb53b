//! The search for the highest rate that holds: which rate to try next. It knows no clock and no server.

pub(super) use crate::report::summary::StepOutcome as Outcome;

/// No server is asked for more than this.
const HIGHEST: u64 = 1_000_000_000;

/// A rate is tried again so many times when something other than the server spoilt the run.
const RETRIES: u32 = 2;

/// The search for the highest rate that holds.
///
/// The rate doubles until one fails, or halves until one holds; then the interval between the two is halved until it is as small
/// as was asked for. The rate found is tried several times more. When most of these runs do not hold, the next lower rate has to stand the
/// same test, in steps that double.
#[derive(Clone, Debug)]
pub(crate) struct Search {
    lowest: u64,
    precision: f64,
    confirmations: u64,
    /// The rate to try now.
    rate: u64,
    /// The highest that has held.
    best: Option<u64>,
    /// The lowest that has failed.
    worst: Option<u64>,
    /// Runs at `rate` that were spoilt.
    spoilt: u32,
    /// Votes on a rate that was found.
    votes: Option<Votes>,
    /// Times that a rate that was found did not stand the test.
    fallen: u32,
    end: Option<End>,
}

/// Runs that hold or do not hold a rate that was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Votes {
    held: u64,
    failed: u64,
}

/// How a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// This is the highest rate.
    Found(u64),
    /// This rate has held, if there is one, and what the server can do beyond it cannot be told: the client, or others, were
    /// the limit.
    AtLeast(Option<u64>, Outcome),
    /// Not even this rate has held.
    Nothing(u64),
}

impl Search {
    /// Begins at a rate, and does not go below another. `precision` is how far the lowest rate that fails may lie above the highest that
    /// holds, as a share.
    pub(crate) fn new(start: u64, lowest: u64, precision: f64, confirmations: u64) -> Self {
        let lowest = lowest.clamp(1, HIGHEST);
        Self {
            lowest,
            precision,
            confirmations,
            rate: start.clamp(lowest, HIGHEST),
            best: None,
            worst: None,
            spoilt: 0,
            votes: None,
            fallen: 0,
            end: None,
        }
    }

    /// The rate to try next; `None` when the search is over.
    pub(crate) fn rate(&self) -> Option<u64> {
        self.end.is_none().then_some(self.rate)
    }

    /// Whether the next run confirms a rate that was found.
    pub(crate) fn confirms(&self) -> bool {
        self.votes.is_some()
    }

    /// How it ended; `None` while it goes on.
    pub(crate) fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes in what the run at [`Search::rate`] came to.
    pub(crate) fn heard(&mut self, outcome: Outcome) {
        let held = match outcome {
            Outcome::Held => true,
            Outcome::Failed => false,
            Outcome::ClientLimit | Outcome::OthersLimit => {
                self.spoilt += 1;
                if self.spoilt > RETRIES {
                    self.end = Some(End::AtLeast(self.best, outcome));
                }
                return;
            }
        };
        self.spoilt = 0;
        match &mut self.votes {
            None => self.narrow(held),
            Some(votes) => {
                *(if held {
                    &mut votes.held
                } else {
                    &mut votes.failed
                }) += 1;
                let votes = *votes;
                self.count(votes);
            }
        }
    }

    fn narrow(&mut self, held: bool) {
        let bound = if held {
            &mut self.best
        } else {
            &mut self.worst
        };
        *bound = Some(self.rate);
        match (self.best, self.worst) {
            (Some(best), None) if best == HIGHEST => {
                self.end = Some(End::AtLeast(self.best, Outcome::ClientLimit));
            }
            (Some(best), None) => self.rate = (best * 2).min(HIGHEST),
            (None, Some(worst)) if worst <= self.lowest => self.end = Some(End::Nothing(worst)),
            (None, Some(worst)) => self.rate = (worst / 2).max(self.lowest),
            (Some(best), Some(worst)) if self.near(best, worst) => self.confirm(best),
            (Some(best), Some(worst)) => {
                let middle = (best as f64 * worst as f64).sqrt().round() as u64;
                self.rate = middle.clamp(best + 1, worst - 1);
            }
            (None, None) => unreachable!("one of them was just set"),
        }
    }

    fn near(&self, best: u64, worst: u64) -> bool {
        worst - best <= 1 || worst as f64 <= best as f64 * (1.0 + self.precision)
    }

    fn confirm(&mut self, rate: u64) {
        self.rate = rate;
        self.votes = Some(Votes::default());
    }

    fn count(&mut self, votes: Votes) {
        if votes.held * 2 > self.confirmations {
            self.end = Some(End::Found(self.rate));
        } else if votes.failed * 2 >= self.confirmations {
            self.fall();
        }
    }

    /// The rate that was found was a lucky one.
    fn fall(&mut self) {
        if self.rate <= self.lowest {
            self.end = Some(End::Nothing(self.rate));
            return;
        }
        let share = self.precision * f64::from(1 << self.fallen.min(16));
        self.fallen += 1;
        let lower = (self.rate as f64 / (1.0 + share)) as u64;
        // What has held higher up has not stood the test.
        self.best = None;
        self.confirm(lower.clamp(self.lowest, self.rate - 1));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{prop, prop_assert, proptest};

    use super::*;
    use crate::rng::Rng;

    /// Searches a server. Returns how it ended and the rates tried.
    fn search(mut search: Search, mut server: impl FnMut(u64) -> Outcome) -> (End, Vec<u64>) {
        let mut tried = Vec::new();
        while let Some(rate) = search.rate() {
            assert!(tried.len() < 500, "{tried:?}");
            tried.push(rate);
            search.heard(server(rate));
        }
        (search.end().unwrap(), tried)
    }

    fn capacity(most: u64) -> impl FnMut(u64) -> Outcome {
        move |rate| {
            if rate <= most {
                Outcome::Held
            } else {
                Outcome::Failed
            }
        }
    }

    proptest! {
        #[test]
        fn the_highest_rate_is_found(
            most in 1_u64..1_000_000,
            start in 1_u64..1_000_000,
            percent in 1_u32..50,
        ) {
            let precision = f64::from(percent) / 100.0;
            let (end, tried) = search(Search::new(start, 1, precision, 3), capacity(most));
            let End::Found(rate) = end else { panic!("{end:?}") };
            prop_assert!(rate <= most, "{rate} of {most}");
            prop_assert!(rate as f64 >= most as f64 / (1.0 + precision) - 1.0, "{rate} of {most}");
            prop_assert!(tried.len() < 45, "{tried:?}");
            prop_assert!(tried[tried.len() - 2..].iter().all(|&tried| tried == rate));
        }

        #[test]
        fn every_search_ends(
            outcomes in prop::collection::vec(0_usize..4, 1..40),
            start in 1_u64..10_000_000,
        ) {
            let all = [Outcome::Held, Outcome::Failed, Outcome::ClientLimit, Outcome::OthersLimit];
            let mut next = outcomes.iter().cycle();
            let server = |_| all[*next.next().unwrap()];
            let (_, tried) = search(Search::new(start, 10, 0.05, 3), server);
            prop_assert!(tried.iter().all(|&rate| (10..=HIGHEST).contains(&rate)));
        }
    }

    #[test]
    fn a_client_at_its_limit_is_no_failure_of_the_server() {
        let server = |rate| {
            if rate <= 5_000 {
                Outcome::Held
            } else {
                Outcome::ClientLimit
            }
        };
        let (end, tried) = search(Search::new(1_000, 1, 0.05, 3), server);
        assert_eq!(end, End::AtLeast(Some(4_000), Outcome::ClientLimit));
        assert_eq!(tried, [1_000, 2_000, 4_000, 8_000, 8_000, 8_000]);
        let (end, _) = search(Search::new(1_000, 1, 0.05, 3), |_| Outcome::OthersLimit);
        assert_eq!(end, End::AtLeast(None, Outcome::OthersLimit));
    }

    #[test]
    fn a_spoilt_run_is_repeated() {
        let mut spoil = true;
        let mut good = capacity(5_000);
        let server = |rate| {
            spoil = !spoil;
            if spoil {
                Outcome::OthersLimit
            } else {
                good(rate)
            }
        };
        let (end, _) = search(Search::new(1_000, 1, 0.05, 3), server);
        assert!(
            matches!(end, End::Found(rate) if (4_750..=5_000).contains(&rate)),
            "{end:?}"
        );
    }

    #[test]
    fn a_lucky_run_is_not_believed() {
        // Between 4,000 and 5,000 it is chance: one run in four holds.
        for seed in 0..50 {
            let mut rng = Rng::new(seed, 0);
            let server = |rate| match rate {
                ..=4_000 => Outcome::Held,
                4_001..=5_000 if rng.below(4) == 0 => Outcome::Held,
                _ => Outcome::Failed,
            };
            let (end, _) = search(Search::new(1_000, 1, 0.05, 5), server);
            // In one search of some ten, three of five runs hold by chance.
            assert!(
                matches!(end, End::Found(rate) if (3_000..=5_000).contains(&rate)),
                "{end:?}"
            );
        }
    }

    #[test]
    fn a_server_that_holds_nothing_is_left_alone() {
        let (end, tried) = search(Search::new(1_000, 100, 0.05, 3), |_| Outcome::Failed);
        assert_eq!(end, End::Nothing(100));
        assert_eq!(tried, [1_000, 500, 250, 125, 100]);
        // One that only holds while it is not confirmed.
        let mut count = 0;
        let server = |rate| {
            count += 1;
            if count < 9 {
                capacity(5_000)(rate)
            } else {
                Outcome::Failed
            }
        };
        let (end, _) = search(Search::new(1_000, 100, 0.05, 3), server);
        assert_eq!(end, End::Nothing(100));
    }
}
