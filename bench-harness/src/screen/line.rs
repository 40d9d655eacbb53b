//! A run in one line, for where no full screen is wanted: a progress bar on a terminal, a line every few seconds elsewhere.
//! Both on standard error, so that standard output has the result and nothing else.

use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::figures::Figures;
use super::words::{clean, count, seconds, time};
use super::{Screen, View, interrupt, phase_name, writable};
use crate::error::BenchError;
use crate::telemetry::sample::Phase;

/// Between two lines where there is no terminal. A run that is shorter says nothing.
const PACE: Duration = Duration::from_secs(5);

/// Frames per second of the bar at most: more than the conductor asks for, so that it sets the pace.
const FRAMES: u8 = 10;

/// Steps of the bar.
const STEPS: u64 = 1_000;

/// A bar on the terminal that standard error is.
#[derive(Debug)]
pub(super) struct Bar {
    bar: ProgressBar,
}

impl Bar {
    /// Not drawn before there is something to show.
    pub(super) fn new() -> Self {
        let bar =
            ProgressBar::with_draw_target(Some(STEPS), ProgressDrawTarget::stderr_with_hz(FRAMES));
        let style = ProgressStyle::with_template("{prefix:>10} [{bar:24}] {wide_msg}");
        bar.set_style(
            style
                .expect("the template is in order")
                .progress_chars("=> "),
        );
        Self { bar }
    }
}

impl Screen for Bar {
    fn show(&mut self, view: &View<'_>) -> Result<(), BenchError> {
        interrupt::check()?;
        if !writable(io::stderr()) {
            return Ok(());
        }
        // Of the three, only the last one draws.
        let bar = self
            .bar
            .clone()
            .with_prefix(phase_name(view.phase))
            .with_message(words(view));
        bar.set_position((share(view) * STEPS as f64) as u64);
        Ok(())
    }

    fn rest(&mut self, time: Duration) -> Result<bool, BenchError> {
        interrupt::rest(time)
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// A line every few seconds.
#[derive(Debug)]
pub(super) struct Lines {
    last: Instant,
}

impl Lines {
    /// The first one comes after the pause, too.
    pub(super) fn new() -> Self {
        Self {
            last: Instant::now(),
        }
    }
}

impl Screen for Lines {
    fn show(&mut self, view: &View<'_>) -> Result<(), BenchError> {
        interrupt::check()?;
        if self.last.elapsed() >= PACE && writable(io::stderr()) {
            self.last = Instant::now();
            // Whoever does not listen to standard error misses nothing of the result.
            let _ = writeln!(io::stderr(), "{}", line(view));
        }
        Ok(())
    }

    fn rest(&mut self, time: Duration) -> Result<bool, BenchError> {
        interrupt::rest(time)
    }

    fn end(&mut self) {}
}

fn line(view: &View<'_>) -> String {
    format!(
        "{}: {}, {}",
        clean(view.title),
        phase_name(view.phase),
        words(view)
    )
}

/// How much of the phase is over, 0 to 1.
pub(super) fn share(view: &View<'_>) -> f64 {
    let share = match (view.phase, view.phase_s) {
        (_, Some((passed, length))) => passed / length,
        (Phase::Opening, None) => {
            let open = view.samples.last().map_or(0, |row| row.open);
            open as f64 / view.connections as f64
        }
        (_, None) => 1.0,
    };
    if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    }
}

/// What matters most, in words.
fn words(view: &View<'_>) -> String {
    let figures = Figures::new(view);
    let mut parts = Vec::new();
    if let Some((passed, length)) = view.phase_s {
        parts.push(format!("{} of {}", seconds(passed), seconds(length)));
    }
    if view.phase == Phase::Opening {
        let (open, wanted) = (count(figures.open as f64), count(view.connections as f64));
        parts.push(format!("{open} of {wanted} connections open"));
    } else {
        parts.extend(figures.rate.map(|rate| format!("{}/s", count(rate))));
        let p99 = view.so_far.corrected.or(figures.latency);
        parts.extend(p99.map(|latency| format!("p99 {}", time(latency.p99))));
        let cost = figures.server.and_then(|server| server.cost_us);
        parts.extend(cost.map(|cost| format!("server {} each", time(cost))));
    }
    if figures.errors > 0 {
        parts.push(format!("{} errors", count(figures.errors as f64)));
    }
    if let Some((reason, _)) = view.failures.by_count().first() {
        parts.push(format!("most often: {}", clean(reason)));
    }
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::screen::example::{Run, distribution};

    #[test]
    fn a_line_says_what_matters() {
        let mut run = Run::in_phase(Phase::Measuring);
        run.so_far.corrected = Some(distribution(1.0));
        assert_eq!(
            line(&run.view()),
            "echo ws://127.0.0.1:9001/echo: measuring, 2.0 s of 10.0 s, 100,000/s, p99 1.50 ms, server 2.00 µs each"
        );
        run.samples[2].errors = 1_200;
        assert!(line(&run.view()).ends_with(", 1,200 errors"));
    }

    #[test]
    fn opening_has_connections_and_no_rate() {
        let mut run = Run::in_phase(Phase::Opening);
        run.phase_s = None;
        assert_eq!(words(&run.view()), "872 of 1,000 connections open");
        assert_eq!(share(&run.view()), 0.872);
        run.samples.clear();
        assert_eq!(
            (words(&run.view()), share(&run.view())),
            ("0 of 1,000 connections open".to_owned(), 0.0)
        );
    }

    #[test]
    fn a_hostile_title_cannot_drive_the_terminal() {
        let mut run = Run::in_phase(Phase::Measuring);
        run.title = "echo ws://h:1/\u{1b}]0;owned\u{7}\r\n";
        assert!(line(&run.view()).starts_with("echo ws://h:1/·]0;owned···: measuring"));
    }

    #[test]
    fn no_time_makes_no_share() {
        let mut run = Run::in_phase(Phase::WarmUp);
        for (phase_s, wanted) in [((0.0, 0.0), 0.0), ((f64::NAN, 1.0), 0.0), ((3.0, 2.0), 1.0)] {
            run.phase_s = Some(phase_s);
            assert_eq!(share(&run.view()), wanted, "{phase_s:?}");
        }
    }
}
