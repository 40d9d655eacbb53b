//! Gates: what a run has to hold, and the highest rate at which it does.

pub(crate) mod expectation;
pub(crate) mod figure;
pub(crate) mod find_max;
pub(crate) mod unit;

use serde_json::Value;

use crate::report::Record;
use crate::report::summary::{Expected, Summary};
use crate::stats::latency::Latency;
use crate::telemetry::monitor::History;
use expectation::Expectation;
use figure::Figures;

/// Holds expectations against a run, and leaves in its summary what came of it.
pub(crate) fn hold(expectations: &[Expectation], record: &mut Record) {
    record.summary.expectations = check(expectations, record);
}

/// Holds expectations against a run.
pub(crate) fn check(expectations: &[Expectation], record: &Record) -> Vec<Expected> {
    if expectations.is_empty() {
        return Vec::new();
    }
    let summary = value(&record.summary);
    let [corrected, uncorrected] = latencies(&record.history);
    let run = Figures {
        summary: &summary,
        latencies: [corrected.as_ref(), uncorrected.as_ref()],
    };
    expectations
        .iter()
        .map(|expectation| expectation.check(&run))
        .collect()
}

/// A summary as figures are looked up in it.
pub(crate) fn value(summary: &Summary) -> Value {
    serde_json::to_value(summary).expect("plain structures serialize")
}

/// An expectation for people: what it is, what was seen, and whether it held.
pub(crate) fn line(expected: &Expected) -> String {
    let word = if expected.held { "ok" } else { "FAILED" };
    format!("{}: {} {word}", expected.expectation, expected.shown)
}

/// All latencies of the window: corrected, and uncorrected.
fn latencies(history: &History) -> [Option<Latency>; 2] {
    let merged = |packed: &mut dyn Iterator<Item = &Vec<u8>>| {
        packed
            .map(|bytes| Latency::unpack(bytes).expect("it was packed by this program"))
            .reduce(|mut all, one| {
                all.merge(&one);
                all
            })
    };
    let stretches = &history.stretches;
    [
        merged(&mut stretches.iter().map(|stretch| &stretch.corrected)),
        merged(
            &mut stretches
                .iter()
                .filter_map(|stretch| stretch.uncorrected.as_ref()),
        ),
    ]
}
