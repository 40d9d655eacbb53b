//! What the summaries of all load commands have in common.

use super::Setup;
use crate::cli::PaceArgs;
use crate::client::fates::Fates;
use crate::report::summary::{ConnectPhases, Errors, Parameters, Summary};
use crate::stats::faults::Faults;
use crate::stats::validity::{Evidence, JudgedBy, Judgement, Kind};
use crate::telemetry::window::Window;

/// What was found, whatever the load was.
pub(super) struct Findings<'a> {
    /// While it was measured.
    pub(super) window: &'a Window,
    /// Messages, deliveries or connections that have a cost; 0: there are none.
    pub(super) count: u64,
    /// What became of the connections.
    pub(super) fates: &'a Fates,
    /// What was wrong with messages, where they are checked.
    pub(super) faults: Option<Faults>,
}

/// Says what is most likely wrong when nothing at all was counted; `silence`: when nothing came either.
pub(super) fn explain_nothing(judgement: &mut Judgement, seen: &Evidence, silence: &str) {
    let text = match (seen.messages, seen.broken) {
        (0, 0) => silence,
        (0, _) => "nothing came in the window that was as it should be: the errors tell what did",
        _ => return,
    };
    judgement.reword(Kind::TooFewMessages, text);
}

impl Setup<'_> {
    /// A summary with the verdict, the server, the client, the connections and the errors.
    pub(super) fn summarize(
        &self,
        command: &str,
        judgement: Judgement,
        by: JudgedBy,
        parameters: Parameters,
        findings: &Findings<'_>,
    ) -> Summary {
        let &Findings {
            window,
            count,
            fates,
            faults,
        } = findings;
        let target = self.common.target.to_string();
        let mut summary = Summary::new(command, target, judgement, by, parameters, window.wall);
        summary.connect_us = Some(ConnectPhases::new(&fates.times));
        summary.server = window.server(count);
        summary.client = window.client(count);
        summary.agents = self.crew.parts();
        summary.errors = Errors::new(&fates.refused, &fates.broken, faults);
        summary
    }

    /// What was asked for of the pace of messages, beside what every command is asked for.
    pub(super) fn paced_parameters(&self, pace: &PaceArgs) -> Parameters {
        let course = pace.course();
        let mode = if pace.rate.is_some() {
            "open"
        } else {
            "closed"
        };
        Parameters {
            mode: Some(mode.to_owned()),
            rate: course.mean_rate().map(|rate| rate.round() as u64),
            rate_from: course.climb().map(|rate| rate.from),
            rate_to: course.climb().map(|rate| rate.to),
            ramp_s: pace.ramp.map(|ramp| ramp.as_secs_f64()),
            tick_s: pace.tick.map(|tick| tick.as_secs_f64()),
            busy_poll: Some(pace.busy_poll),
            warmup_s: Some(pace.warmup.as_secs_f64()),
            duration_s: Some(pace.duration.as_secs_f64()),
            ..self.parameters()
        }
    }
}

/// By what a run is judged, with or without --cost.
pub(super) fn judged_by(cost: bool) -> JudgedBy {
    if cost {
        JudgedBy::Cost
    } else {
        JudgedBy::Throughput
    }
}
