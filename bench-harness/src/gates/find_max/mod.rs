//! `--find-max`: the highest rate that holds what is expected.

mod search;

use std::io::{self, Write as _};
use std::time::Duration;

use super::unit::Unit;
use crate::error::{BenchError, Verdict};
use crate::gates;
use crate::report::summary::{Ended, Expected, FindMax, Step, Summary};
use crate::report::{self, Record};
use crate::session::folder::STEPS;
use crate::session::{self, Load};
use crate::stats::validity::{Kind, Reason};
use crate::units::Rate;
use search::{End, Outcome, Search};

/// Messages that a step needs: one more or less at the end of the window is then no rate missed.
const ENOUGH: f64 = 200.0;

/// Where a search begins when -r does not say, unless a step needs more.
const START: u64 = 200;

/// What can be varied to find a highest rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    /// Where to begin.
    start: u64,
    /// With less than this, a step is no measurement.
    lowest: u64,
    /// How long a step measures, and a run that confirms; `None` of a load that ends with so many things.
    lengths: Option<(Duration, Duration)>,
}

/// A run with its place in the search.
struct Tried {
    record: Record,
    rate: u64,
    confirms: bool,
}

impl Rates {
    /// Of a load that lasts as long as it is told to. `given` is the rate of -r.
    ///
    /// # Errors
    /// When the rate given climbs.
    pub(crate) fn timed(
        given: Option<Rate>,
        step: Option<Duration>,
        duration: Duration,
    ) -> Result<Self, BenchError> {
        if given.is_some_and(|rate| !rate.is_constant()) {
            return Err(BenchError::usage(
                "--find-max begins at one rate: -r may not climb",
            ));
        }
        let given = given.map(Rate::peak);
        let shortest = duration.min(Duration::from_secs(1));
        let step = step.unwrap_or((duration / 5).max(shortest));
        let lowest = (ENOUGH / step.as_secs_f64().max(1e-3)).ceil() as u64;
        Ok(Self {
            start: given.unwrap_or(START.max(lowest)),
            lowest: lowest.min(given.unwrap_or(u64::MAX)),
            lengths: Some((step, duration)),
        })
    }

    /// How long a run at this rate measures: longer than was asked for where that would be too few messages to tell anything by.
    fn length(&self, rate: u64, confirms: bool) -> Option<Duration> {
        let (step, whole) = self.lengths?;
        let enough = Duration::from_secs_f64(ENOUGH / rate as f64);
        Some(if confirms { whole } else { step }.max(enough))
    }

    /// Where to begin.
    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    /// Of a load that ends with so many things: it begins with what takes a second, and no step takes more than half a minute.
    pub(crate) fn counted(given: Option<u64>, things: u64) -> Self {
        let lowest = things.div_ceil(30).max(1);
        Self {
            start: given.unwrap_or(things),
            lowest: lowest.min(given.unwrap_or(u64::MAX)),
            lengths: None,
        }
    }
}

/// Searches, and delivers the run that confirmed what was found.
///
/// # Errors
/// Those of a run, loads that have no rate, and files that cannot be written.
pub(crate) fn run(load: &dyn Load) -> Result<(Summary, Verdict), BenchError> {
    let common = load.common();
    let flags = &common.gates;
    let rates = load.rates()?;
    let precision = flags.find_max_precision;
    if precision < 0.001 {
        let text =
            "--find-max-precision is at least 0.1%: runs do not repeat themselves more closely";
        return Err(BenchError::usage(text));
    }
    let mut search = Search::new(rates.start, rates.lowest, precision, flags.find_max_confirm);
    let mut hunt = Hunt {
        load,
        steps: Vec::new(),
        held: None,
        last: None,
    };
    hunt.head()?;
    while let Some(rate) = search.rate() {
        let confirms = search.confirms();
        let length = rates.length(rate, confirms);
        let (tried, outcome) = hunt.step(rate, length, confirms)?;
        search.heard(outcome);
        hunt.keep(tried, outcome == Outcome::Held);
    }
    let end = search.end().expect("a search without a next rate is over");
    hunt.deliver(end)
}

struct Hunt<'a> {
    load: &'a dyn Load,
    steps: Vec<Step>,
    /// The run that held, and tells most: the last that confirmed, or else the one at the highest rate.
    held: Option<Tried>,
    /// The last that did not hold.
    last: Option<Tried>,
}

impl Hunt<'_> {
    fn step(
        &mut self,
        rate: u64,
        length: Option<Duration>,
        confirms: bool,
    ) -> Result<(Tried, Outcome), BenchError> {
        let common = self.load.common();
        let load = self.load.at_rate(rate, length);
        let load = load.expect("a load with rates can be had at each of them");
        let record = session::measure(load.as_ref())?;
        let expected = gates::check(&common.gates.find_max, &record);
        let (outcome, reason) = judge(&record.summary, &expected);
        let reason = reason.map(|reason| reason.text.clone());
        let reasons = record.summary.reasons.iter();
        let step = Step {
            rate,
            reached: reached(&record.summary),
            outcome,
            confirms,
            expectations: expected,
            reasons: reasons.map(|reason| reason.text.clone()).collect(),
        };
        self.line(&step, reason)?;
        self.steps.push(step);
        if let Some(folder) = &common.output {
            let number = format!("{:02}-{rate}", self.steps.len());
            report::leave(&record, &folder.join(STEPS).join(number))?;
        }
        let tried = Tried {
            record,
            rate,
            confirms,
        };
        Ok((tried, outcome))
    }

    fn keep(&mut self, tried: Tried, held: bool) {
        if !held {
            self.last = Some(tried);
            return;
        }
        let kept = self.held.as_ref();
        let tells_less = |kept: &Tried| {
            let spoils = kept.confirms
                && kept.rate == tried.rate
                && kept.record.summary.valid
                && !tried.record.summary.valid;
            !spoils && (tried.confirms || !kept.confirms && kept.rate <= tried.rate)
        };
        if kept.is_none_or(tells_less) {
            self.held = Some(tried);
        }
    }

    fn deliver(self, end: End) -> Result<(Summary, Verdict), BenchError> {
        let common = self.load.common();
        let flags = &common.gates;
        let held = !matches!(end, End::Nothing(_) | End::AtLeast(None, _));
        let (first, second) = if held {
            (self.held, self.last)
        } else {
            (self.last, self.held)
        };
        let mut record = first
            .or(second)
            .expect("a search has at least one step")
            .record;
        let text = conclude(end, &self.steps, &mut record.summary);
        record.summary.find_max = Some(FindMax {
            objective: flags.find_max.iter().map(ToString::to_string).collect(),
            precision: flags.find_max_precision,
            rate: match end {
                End::Found(rate) => Some(rate),
                End::AtLeast(rate, _) => rate,
                End::Nothing(_) => None,
            },
            ended: match end {
                End::Found(_) => Ended::Found,
                End::AtLeast(_, Outcome::ClientLimit) => Ended::ClientLimit,
                End::AtLeast(..) => Ended::OthersLimit,
                End::Nothing(_) => Ended::NothingHolds,
            },
            text: text.clone(),
            steps: self.steps,
        });
        // The rate found is a figure, too.
        record.summary.expectations =
            gates::check(&[&flags.find_max[..], &flags.expect].concat(), &record);
        say(common.json, &format!("{text}\n\n"))?;
        let verdict = report::deliver(&record, common.output.as_deref(), common)?;
        let verdict = match end {
            End::Found(_) => verdict,
            End::AtLeast(..) => Verdict::Invalid,
            End::Nothing(_) => Verdict::Unmet,
        };
        Ok((record.summary, verdict))
    }

    fn head(&self) -> Result<(), BenchError> {
        let common = self.load.common();
        let objective: Vec<String> = common
            .gates
            .find_max
            .iter()
            .map(ToString::to_string)
            .collect();
        let text = format!(
            "finding the highest rate that holds {}\n  {:>4} {:>12} {:>12}  result\n",
            objective.join(" and "),
            "step",
            "rate",
            "reached"
        );
        say(common.json, &text)
    }

    fn line(&self, step: &Step, reason: Option<String>) -> Result<(), BenchError> {
        let mut result = word(step.outcome).to_owned();
        if step.confirms {
            result += " (confirming)";
        }
        for expected in &step.expectations {
            result += &format!(", {} {}", expected.figure, expected.shown);
        }
        if let Some(reason) = reason {
            result += &format!("; {reason}");
        }
        let line = format!(
            "  {:>4} {:>12} {:>12}  {result}\n",
            self.steps.len() + 1,
            Unit::Rate.show(step.rate as f64),
            Unit::Rate.show(step.reached)
        );
        say(self.load.common().json, &line)
    }
}

/// To people: on standard output, unless that takes JSON.
fn say(json: bool, text: &str) -> Result<(), BenchError> {
    if json {
        io::stderr().write_all(text.as_bytes())?;
    } else {
        let mut out = io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    Ok(())
}

/// What a run came to, and why. Whatever spoilt one that holds has made it no easier for the server.
fn judge<'a>(summary: &'a Summary, expected: &[Expected]) -> (Outcome, Option<&'a Reason>) {
    let find = |kind: Kind| summary.reasons.iter().find(|reason| reason.kind == kind);
    // Neither held nor failed: it was not measured.
    if let Some(cut) = find(Kind::WindowCut) {
        return (Outcome::OthersLimit, Some(cut));
    }
    let short = [Kind::ConnectionsMissing, Kind::Errors, Kind::RateMissed]
        .into_iter()
        .find_map(find);
    if short.is_none() && expected.iter().all(|expected| expected.held) {
        return (Outcome::Held, None);
    }
    // No client loses or repeats a server's messages for being busy.
    if let Some(errors) = find(Kind::Errors) {
        return (Outcome::Failed, Some(errors));
    }
    // A client that waits for a processor is busy, too: others come first.
    let spoilt = [
        (Kind::Starved, Outcome::OthersLimit),
        (Kind::ClientSaturated, Outcome::ClientLimit),
        (Kind::ClientLate, Outcome::ClientLimit),
    ];
    let spoilt = spoilt
        .into_iter()
        .find_map(|(kind, outcome)| Some((outcome, Some(find(kind)?))));
    spoilt.unwrap_or((Outcome::Failed, short))
}

/// An outcome for people.
pub(crate) fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Held => "held",
        Outcome::Failed => "failed",
        Outcome::ClientLimit => "the client was the limit",
        Outcome::OthersLimit => "others were the limit",
    }
}

/// Messages or connections per second; for a broadcast those published.
fn reached(summary: &Summary) -> f64 {
    let published = summary
        .broadcast
        .as_ref()
        .map(|part| part.published_per_second);
    let messages = summary.messages.as_ref().map(|part| part.per_second);
    let opened = summary.connections.as_ref().map(|part| part.per_second);
    published.or(messages).or(opened).unwrap_or_default()
}

/// Says how the search ended. A run that cannot tell what the server can do is not valid.
fn conclude(end: End, steps: &[Step], summary: &mut Summary) -> String {
    let (least, limit) = match end {
        End::Found(rate) => return format!("{rate}/s is the highest rate that holds"),
        End::Nothing(rate) => return format!("not even {rate}/s holds"),
        End::AtLeast(least, limit) => (least, limit),
    };
    let (kind, why) = match limit {
        Outcome::ClientLimit => (
            Kind::ClientSaturated,
            "the client was the limit: give it more processors (--cores)",
        ),
        _ => (
            Kind::Starved,
            "other processes kept the server or the client from running",
        ),
    };
    let text = match least {
        Some(rate) => {
            let held = |step: &&Step| step.rate == rate && step.outcome == Outcome::Held;
            let once = match steps.iter().filter(held).count() {
                1 => " (in one run, which no other has confirmed)",
                _ => "",
            };
            format!("the server holds at least {rate}/s{once}; beyond that {why}")
        }
        None => format!("no rate has held, and {why}"),
    };
    summary.valid = false;
    summary.throughput_valid = false;
    summary.reasons.push(Reason {
        kind,
        text: text.clone(),
    });
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn summary(reasons: &[&str]) -> Summary {
        let reasons: Vec<_> = reasons
            .iter()
            .map(|kind| json!({"kind": kind, "text": kind}))
            .collect();
        let summary = json!({
            "schema": 1, "command": "echo", "target": "ws://h:1/", "valid": reasons.is_empty(), "judged_by": "throughput",
            "throughput_valid": reasons.is_empty(), "cost_valid": false, "reasons": reasons, "limited_by": "rate",
            "parameters": {"connections": 1, "cores": [], "seed": 1}, "window_s": 1.0,
            "client": {"threads": 1, "running": 0.1, "busy": 0.1},
            "errors": {"refused": 0, "broken": 0, "lost": 0, "reasons": []},
        });
        serde_json::from_value(summary).unwrap()
    }

    fn expected(held: bool) -> Vec<Expected> {
        vec![Expected {
            expectation: "p99 < 5 ms".to_owned(),
            figure: "p99".to_owned(),
            value: None,
            shown: "not measured".to_owned(),
            held,
        }]
    }

    #[test]
    fn only_the_server_can_fail() {
        for (held, reasons, outcome, why) in [
            (true, &["no-server-pid"][..], Outcome::Held, None),
            (true, &["client-saturated", "starved"], Outcome::Held, None),
            (true, &["rate-missed"], Outcome::Failed, Some("rate-missed")),
            (true, &["errors"], Outcome::Failed, Some("errors")),
            (false, &[], Outcome::Failed, None),
            (
                true,
                &["window-cut"],
                Outcome::OthersLimit,
                Some("window-cut"),
            ),
            (
                false,
                &["window-cut"],
                Outcome::OthersLimit,
                Some("window-cut"),
            ),
            (
                false,
                &["client-saturated"],
                Outcome::ClientLimit,
                Some("client-saturated"),
            ),
            (
                true,
                &["rate-missed", "client-late"],
                Outcome::ClientLimit,
                Some("client-late"),
            ),
            (
                false,
                &["client-saturated", "starved"],
                Outcome::OthersLimit,
                Some("starved"),
            ),
            (
                true,
                &["client-saturated", "errors"],
                Outcome::Failed,
                Some("errors"),
            ),
        ] {
            let summary = summary(reasons);
            let (came_to, reason) = judge(&summary, &expected(held));
            assert_eq!(came_to, outcome, "{held} {reasons:?}");
            assert_eq!(reason.map(|reason| reason.text.as_str()), why);
        }
    }

    #[test]
    fn a_lower_bound_is_no_valid_result() {
        let mut run = summary(&[]);
        let step = |rate, outcome| Step {
            rate,
            reached: rate as f64,
            outcome,
            confirms: false,
            expectations: Vec::new(),
            reasons: Vec::new(),
        };
        let mut steps = vec![
            step(4_000, Outcome::Held),
            step(8_000, Outcome::ClientLimit),
        ];
        let end = End::AtLeast(Some(4_000), Outcome::ClientLimit);
        let text = conclude(end, &steps, &mut run);
        assert!(
            text.contains("at least 4000/s (in one run") && text.contains("--cores"),
            "{text}"
        );
        steps.push(step(4_000, Outcome::Held));
        let text = conclude(end, &steps, &mut summary(&[]));
        assert!(text.contains("at least 4000/s; beyond"), "{text}");
        assert!(!run.valid && run.reasons[0].kind == Kind::ClientSaturated);
        let mut run = summary(&[]);
        assert_eq!(
            conclude(End::Found(5), &steps, &mut run),
            "5/s is the highest rate that holds"
        );
        assert!(run.valid);
    }

    #[test]
    fn steps_are_long_enough_to_count() {
        let second = Duration::from_secs(1);
        let rates = |given, step| Rates::timed(given, step, 10 * second).unwrap();
        let derived = rates(None, None);
        assert_eq!(
            (derived.start, derived.lowest, derived.length(200, false)),
            (200, 100, Some(2 * second))
        );
        assert_eq!(derived.length(200, true), Some(10 * second));
        let short = rates(None, Some(second / 10));
        assert_eq!((short.start, short.lowest), (2_000, 2_000));
        let given = rates(Some(50.into()), None);
        assert_eq!((given.start, given.lowest), (50, 50));
        // 200 messages take four seconds, and at one a second longer than a run.
        assert_eq!(given.length(50, false), Some(4 * second));
        assert_eq!(given.length(1, true), Some(200 * second));
        assert!(Rates::timed(Some(Rate { from: 1, to: 2 }), None, second).is_err());
        let brief = Rates::timed(None, None, second / 2).unwrap();
        let length = brief.length(1_000, false);
        assert_eq!(length, Some(second / 2), "never longer than a run");
        let counted = Rates::counted(None, 3_000);
        assert_eq!((counted.start, counted.lowest), (3_000, 100));
        assert_eq!(counted.length(100, false), None);
    }
}
