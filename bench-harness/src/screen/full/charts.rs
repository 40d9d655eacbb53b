//! Rate and latency over time.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::symbols::Marker;
use ratatui::text::Line;
use ratatui::widgets::{Axis, Block, Chart, Dataset, GraphType, Widget};

use crate::screen::View;
use crate::screen::figures::Figures;
use crate::screen::words::{count, seconds, short_count, time};
use crate::telemetry::sample::{Phase, Sample};

/// A chart shows so many seconds at most: older rows would be narrower than a dot.
const SPAN_S: f64 = 120.0;

/// Room above the highest point.
const HEADROOM: f64 = 1.1;

/// From this height on, with the frame, there is a line for the times.
const TIMES_FROM: u16 = 9;

/// Lines over time.
pub(super) struct Course {
    title: String,
    lines: Vec<(Vec<(f64, f64)>, Color)>,
    /// Seconds of the first and the last point.
    times: (f64, f64),
    label: fn(f64) -> String,
}

/// The rate: warm-up and the like apart from the measurement, and what was asked for.
pub(super) fn rate(view: &View<'_>, figures: &Figures) -> Course {
    let mut title = format!("{} per second: ", capitalised(view.things));
    title += &figures.rate.map_or("–".to_owned(), count);
    if let Some(mean) = figures.mean_rate {
        title += &format!(" now, {} so far", count(mean));
    }
    if let Some(rate) = view.rate {
        title += &format!(", {} asked for", count(rate as f64));
    }
    let rows = shown(view.samples);
    let times = times(rows);
    let measures = |row: &Sample| row.phase == Phase::Measuring;
    let first = rows.iter().position(measures).unwrap_or(rows.len());
    let last = rows.iter().rposition(measures).unwrap_or(first);
    // Lines meet where a phase ends.
    let before = rows.get(..first).unwrap_or_default();
    let measured = rows.get(first.saturating_sub(1)..=last).unwrap_or_default();
    let after = rows.get(last..).unwrap_or_default();
    let points = |rows: &[Sample]| {
        let point = |row: &Sample| (row.at_s, row.done as f64 / row.length_s);
        rows.iter().map(point).collect()
    };
    let asked = view.rate.filter(|_| view.phase != Phase::Opening);
    let asked = asked.map_or(Vec::new(), |rate| {
        vec![(times.0, rate as f64), (times.1, rate as f64)]
    });
    Course {
        title,
        lines: vec![
            (asked, Color::DarkGray),
            (points(before), Color::Gray),
            (points(after), Color::Gray),
            (points(measured), Color::Cyan),
        ],
        times,
        label: short_count,
    }
}

/// Median and 99th percentile of each interval.
pub(super) fn latency(view: &View<'_>) -> Course {
    let rows = shown(view.samples);
    let points = |pick: fn(&crate::stats::latency::Distribution) -> f64| {
        let of = |row: &Sample| Some((row.at_s, pick(row.latency_us.as_ref()?)));
        rows.iter().filter_map(of).collect()
    };
    Course {
        title: "Latency: p99 above, p50 below".to_owned(),
        lines: vec![
            (points(|it| it.p50), Color::Green),
            (points(|it| it.p99), Color::Yellow),
        ],
        times: times(rows),
        label: time,
    }
}

impl Widget for Course {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let lines: Vec<(Vec<(f64, f64)>, Color)> = self
            .lines
            .into_iter()
            .map(|(points, colour)| (points.into_iter().filter(drawable).collect(), colour))
            .collect();
        let highest = lines
            .iter()
            .flat_map(|(points, _)| points)
            .map(|&(_, y)| y)
            .fold(0.0, f64::max);
        let block = Block::bordered().title(self.title);
        if highest <= 0.0 || self.times.1 <= self.times.0 {
            return block.render(area, buffer);
        }
        let top = highest * HEADROOM;
        let datasets = lines
            .iter()
            .filter(|(points, _)| !points.is_empty())
            .map(|(points, colour)| {
                Dataset::default()
                    .marker(Marker::Braille)
                    .graph_type(GraphType::Line)
                    .style(Style::new().fg(*colour))
                    .data(points)
            })
            .collect();
        let mut x = Axis::default().bounds([self.times.0, self.times.1]);
        if area.height >= TIMES_FROM {
            x = x.labels([seconds(self.times.0), seconds(self.times.1)].map(Line::from));
        }
        let y = Axis::default()
            .bounds([0.0, top])
            .labels(["0".to_owned(), (self.label)(top)].map(Line::from));
        Chart::new(datasets)
            .block(block)
            .x_axis(x)
            .y_axis(y)
            .render(area, buffer);
    }
}

fn drawable(point: &(f64, f64)) -> bool {
    point.0.is_finite() && point.1.is_finite() && point.1 < f64::MAX / HEADROOM
}

fn shown(samples: &[Sample]) -> &[Sample] {
    let now = samples.last().map_or(0.0, |row| row.at_s);
    let first = samples.partition_point(|row| row.at_s < now - SPAN_S);
    &samples[first..]
}

fn times(rows: &[Sample]) -> (f64, f64) {
    let first = rows.first().map_or(0.0, |row| row.at_s);
    (first, rows.last().map_or(0.0, |row| row.at_s))
}

fn capitalised(word: &str) -> String {
    let mut rest = word.chars();
    let first = rest.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(rest).collect()
}
