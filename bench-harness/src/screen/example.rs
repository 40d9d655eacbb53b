//! A run that can be shown, for tests.

use super::{SoFar, View};
use crate::client::dial::Failures;
use crate::procfs::Memory;
use crate::stats::latency::Distribution;
use crate::telemetry::sample::{ClientSample, Phase, Sample, ServerSample};

/// A run that goes well, at one moment.
pub(super) struct Run {
    pub(super) title: &'static str,
    pub(super) phase: Phase,
    pub(super) phase_s: Option<(f64, f64)>,
    pub(super) rate: Option<u64>,
    pub(super) samples: Vec<Sample>,
    pub(super) so_far: SoFar,
    pub(super) failures: Failures,
}

impl Run {
    /// Four seconds of rows, all of this phase.
    pub(super) fn in_phase(phase: Phase) -> Self {
        Self {
            title: "echo ws://127.0.0.1:9001/echo",
            phase,
            phase_s: Some((2.0, 10.0)),
            rate: None,
            samples: (1..=16)
                .map(|number| sample(phase, f64::from(number) / 4.0))
                .collect(),
            so_far: SoFar::default(),
            failures: Failures::default(),
        }
    }

    /// What a screen is shown.
    pub(super) fn view(&self) -> View<'_> {
        View {
            title: self.title,
            things: "messages",
            phase: self.phase,
            elapsed_s: 4.0,
            phase_s: self.phase_s,
            connections: 1_000,
            rate: self.rate,
            samples: &self.samples,
            so_far: self.so_far,
            failures: &self.failures,
        }
    }
}

/// A quarter of a second with 100,000 messages per second.
fn sample(phase: Phase, at_s: f64) -> Sample {
    Sample {
        at_s,
        length_s: 0.25,
        phase,
        done: 25_000,
        sent: 25_000,
        errors: 0,
        opening: 128,
        open: 872,
        latency_us: Some(distribution(1.0)),
        uncorrected_us: None,
        client: ClientSample {
            running: 0.7,
            busy: 0.75,
            cpu_us: 100_000.0,
            timer_lag_us: Some(61.0),
        },
        server: Some(ServerSample {
            cpu_us: 50_000.0,
            busy: 0.5,
            memory: Memory {
                resident: 12 << 20,
                anonymous: 8 << 20,
                ..Memory::default()
            },
            ..ServerSample::default()
        }),
    }
}

/// Percentiles, so many times those of a sample.
pub(super) fn distribution(factor: f64) -> Distribution {
    Distribution {
        count: 25_000,
        min: 40.0 * factor,
        mean: 90.0 * factor,
        p50: 80.0 * factor,
        p90: 200.0 * factor,
        p99: 1_500.0 * factor,
        p99_9: 2_500.0 * factor,
        max: 9_000.0 * factor,
    }
}
