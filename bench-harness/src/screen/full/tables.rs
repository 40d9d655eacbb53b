//! Latencies, corrected and uncorrected beside each other.

use ratatui::layout::Constraint;
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;
use ratatui::widgets::{Block, Cell, Row, Table};

use crate::screen::View;
use crate::screen::figures::Figures;
use crate::screen::words::time;
use crate::stats::latency::Distribution;

/// Widest label, and room for the widest figure.
const WIDTHS: (u16, u16) = (19, 10);

/// One distribution.
#[derive(Clone, Copy, Debug)]
pub(super) struct LatencyRow {
    label: &'static str,
    latency: Option<Distribution>,
}

impl LatencyRow {
    /// In one line, where there is no room for a table.
    pub(super) fn line(&self) -> Line<'static> {
        let Some(latency) = self.latency else {
            return Line::from(format!("{} –", self.label));
        };
        Line::from(format!(
            "p50 {} p99 {} max {} {}",
            time(latency.p50),
            time(latency.p99),
            time(latency.max),
            self.label
        ))
    }
}

/// The measurement so far, or before it the last interval; in an open loop also from the time sent.
pub(super) fn latency_rows(view: &View<'_>, figures: &Figures) -> Vec<LatencyRow> {
    let open_loop = figures.uncorrected.is_some() || view.so_far.uncorrected.is_some();
    let row = |label, latency| LatencyRow { label, latency };
    if open_loop {
        vec![
            row("so far, from due", view.so_far.corrected),
            row("so far, from sent", view.so_far.uncorrected),
            row("now, from due", figures.latency),
            row("now, from sent", figures.uncorrected),
        ]
    } else {
        vec![
            row("so far", view.so_far.corrected),
            row("now", figures.latency),
        ]
    }
}

/// A table with a row each.
pub(super) fn latency(rows: Vec<LatencyRow>) -> Table<'static> {
    let head = ["", "p50", "p90", "p99", "p99.9", "max"];
    let bold = Style::new().add_modifier(Modifier::BOLD);
    let head = Row::new(head.map(|name| Cell::from(Line::from(name).right_aligned()))).style(bold);
    let widths = [WIDTHS.0, WIDTHS.1, WIDTHS.1, WIDTHS.1, WIDTHS.1, WIDTHS.1].map(Constraint::Max);
    Table::new(rows.into_iter().map(cells), widths)
        .header(head)
        .block(Block::bordered().title("Latency"))
}

fn cells(row: LatencyRow) -> Row<'static> {
    let of = |pick: fn(&Distribution) -> f64| {
        let text = row
            .latency
            .as_ref()
            .map_or("–".to_owned(), |it| time(pick(it)));
        Cell::from(Line::from(text).right_aligned())
    };
    Row::new([
        Cell::from(row.label),
        of(|it| it.p50),
        of(|it| it.p90),
        of(|it| it.p99),
        of(|it| it.p99_9),
        of(|it| it.max),
    ])
}
