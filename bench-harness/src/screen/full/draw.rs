//! The layout: what stands where, on terminals of any size.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Paragraph};

use super::bars::{self, bar};
use super::{charts, tables};
use crate::screen::figures::Figures;
use crate::screen::line::share;
use crate::screen::words::{bytes, clean, count, percent, seconds, time};
use crate::screen::{View, phase_name};
use crate::telemetry::sample::Phase;

/// Below this size there are lines instead of panels.
const PANELS_FROM: (u16, u16) = (72, 20);

/// From this width on latencies have a chart beside that of the rate.
const TWO_CHARTS_FROM: u16 = 112;

/// From this height on there is room for more reasons.
const TALL_FROM: u16 = 30;

/// Reasons of failures at most: on a terminal of the common size, and on a tall one.
const REASONS: (usize, usize) = (3, 8);

/// Height of the panels at the foot, with their frames.
const PANELS_HEIGHT: u16 = 6;

/// Draws the view, whatever the size.
pub(super) fn draw(frame: &mut Frame<'_>, view: &View<'_>) {
    let figures = Figures::new(view);
    let area = frame.area();
    if area.width >= PANELS_FROM.0 && area.height >= PANELS_FROM.1 {
        panels(frame, view, &figures);
    } else {
        lines(frame, view, &figures);
    }
}

fn panels(frame: &mut Frame<'_>, view: &View<'_>, figures: &Figures) {
    let area = frame.area();
    let latencies = tables::latency_rows(view, figures);
    let errors = error_lines(view, figures, area.height);
    let [header, progress, charts, latency, foot, bottom] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(4),
        Constraint::Length(latencies.len() as u16 + 3),
        Constraint::Length(PANELS_HEIGHT),
        Constraint::Length(errors.len() as u16),
    ])
    .areas(area);
    frame.render_widget(title(view, area.width), header);
    frame.render_widget(progress_line(view, figures, area.width), progress);
    if area.width >= TWO_CHARTS_FROM {
        let [left, right] = Layout::horizontal([Constraint::Fill(1); 2]).areas(charts);
        frame.render_widget(charts::rate(view, figures), left);
        frame.render_widget(charts::latency(view), right);
    } else {
        frame.render_widget(charts::rate(view, figures), charts);
    }
    frame.render_widget(tables::latency(latencies), latency);
    let [left, middle, right] = Layout::horizontal([Constraint::Fill(1); 3]).areas(foot);
    frame.render_widget(connections(view, figures), left);
    frame.render_widget(client(figures, middle), middle);
    frame.render_widget(server(figures, right), right);
    frame.render_widget(Paragraph::new(errors), bottom);
}

/// What matters, the most important first: as many lines as there is room for.
fn lines(frame: &mut Frame<'_>, view: &View<'_>, figures: &Figures) {
    let area = frame.area();
    let mut list = vec![progress_line(view, figures, area.width), rate_line(figures)];
    for row in tables::latency_rows(view, figures) {
        list.push(row.line());
    }
    if figures.errors > 0 {
        list.extend(error_lines(view, figures, area.height));
    }
    list.push(Line::from(format!(
        "open {} of {}, opening {}",
        count(figures.open as f64),
        count(view.connections as f64),
        count(figures.opening as f64)
    )));
    if let Some(busy) = figures.client_busy {
        list.push(Line::from(vec![
            Span::raw("client busy "),
            Span::styled(percent(busy), bars::style(busy)),
        ]));
    }
    if let Some(server) = figures.server {
        let cost = server
            .cost_us
            .map_or(String::new(), |cost| format!(", {} each", time(cost)));
        list.push(Line::from(format!(
            "server busy {}{cost}",
            percent(server.busy)
        )));
    }
    list.push(title(view, area.width));
    frame.render_widget(Paragraph::new(list), area);
}

/// What is run, and the key that ends it at the right margin.
fn title(view: &View<'_>, width: u16) -> Line<'static> {
    const KEY: &str = "q stops";
    let what = clean(view.title);
    let room = usize::from(width).saturating_sub(KEY.len() + 1);
    let mut line = Line::from(Span::styled(
        shortened(&what, room),
        Style::new().add_modifier(Modifier::BOLD),
    ));
    let gap = room.saturating_sub(line.width()) + 1;
    line.push_span(" ".repeat(gap));
    line.push_span(KEY);
    line
}

/// So much of a text as fits into so many columns, with an ellipsis when it is not all.
fn shortened(text: &str, columns: usize) -> String {
    if Span::raw(text).width() <= columns {
        return text.to_owned();
    }
    let mut short = String::new();
    for character in text.chars() {
        short.push(character);
        if Span::raw(&short).width() >= columns {
            short.pop();
            break;
        }
    }
    if columns > 0 {
        short.push('…');
    }
    short
}

fn progress_line(view: &View<'_>, figures: &Figures, width: u16) -> Line<'static> {
    let name = format!("{:<10}", phase_name(view.phase));
    let passed = match (view.phase, view.phase_s) {
        (_, Some((passed, length))) => format!(" {} of {}", seconds(passed), seconds(length)),
        (Phase::Opening, None) => {
            let open = count(figures.open as f64);
            format!(" {open} of {} open", count(view.connections as f64))
        }
        (_, None) => format!(" {}", seconds(view.elapsed_s)),
    };
    let texts = name.chars().count() + passed.chars().count();
    let room = usize::from(width).saturating_sub(texts);
    let mut line = Line::from(Span::styled(
        name,
        Style::new().add_modifier(Modifier::BOLD),
    ));
    line.extend(bar(share(view), room, None, Style::new()));
    line.push_span(passed);
    line
}

fn rate_line(figures: &Figures) -> Line<'static> {
    let rate =
        |rate: Option<f64>| rate.map_or("–".to_owned(), |rate| format!("{}/s", count(rate)));
    Line::from(match figures.mean_rate {
        None => format!("rate {}", rate(figures.rate)),
        mean => format!("rate {} now, {} so far", rate(figures.rate), rate(mean)),
    })
}

fn connections(view: &View<'_>, figures: &Figures) -> Paragraph<'static> {
    let failed = view.failures.total();
    let style = if failed > 0 {
        bars::alarm()
    } else {
        Style::new()
    };
    let rate = figures.opening_rate.filter(|&rate| rate > 0.0);
    let list = vec![
        entry(
            "open",
            format!(
                "{} of {}",
                count(figures.open as f64),
                count(view.connections as f64)
            ),
        ),
        entry("opening", count(figures.opening as f64)),
        entry("failed", count(failed as f64)).style(style),
        entry(
            "opened",
            rate.map_or("–".to_owned(), |rate| format!("{}/s", count(rate))),
        ),
    ];
    Paragraph::new(list).block(Block::bordered().title("Connections"))
}

fn client(figures: &Figures, area: Rect) -> Paragraph<'static> {
    let busy = figures.client_busy.unwrap_or(0.0);
    let verdict = if busy >= bars::SATURATED {
        Line::from(Span::styled("SATURATED: it is the limit", bars::alarm()))
    } else {
        Line::from(format!("saturated from {}", percent(bars::SATURATED)))
    };
    let list = vec![
        bars::busy_line(busy, Some(bars::SATURATED), area),
        entry(
            "woke late",
            figures.timer_lag_us.map_or("–".to_owned(), time),
        ),
        entry(
            "cpu each",
            figures.client_cost_us.map_or("–".to_owned(), time),
        ),
        verdict,
    ];
    Paragraph::new(list).block(Block::bordered().title("Client"))
}

fn server(figures: &Figures, area: Rect) -> Paragraph<'static> {
    let list = match figures.server {
        None => vec![
            Line::from("not watched:"),
            Line::from("give --server-pid PID"),
        ],
        Some(server) => vec![
            bars::busy_line(server.busy, None, area),
            entry("cpu each", server.cost_us.map_or("–".to_owned(), time)),
            entry("memory", bytes(server.resident)),
            entry("anonymous", bytes(server.anonymous)),
        ],
    };
    Paragraph::new(list).block(Block::bordered().title("Server"))
}

fn error_lines(view: &View<'_>, figures: &Figures, height: u16) -> Vec<Line<'static>> {
    if figures.errors == 0 && view.failures.total() == 0 {
        return vec![Line::from("errors none")];
    }
    let most = if height >= TALL_FROM {
        REASONS.1
    } else {
        REASONS.0
    };
    let reasons = view.failures.by_count();
    let head = format!(
        "errors {}",
        count(figures.errors.max(view.failures.total()) as f64)
    );
    let mut list = vec![Line::from(Span::styled(head, bars::alarm()))];
    for (reason, times) in reasons.iter().take(most) {
        list.push(Line::from(format!(
            "  {} × {}",
            count(*times as f64),
            clean(reason)
        )));
    }
    if reasons.len() > most {
        list.push(Line::from(format!(
            "  and {} other reasons",
            reasons.len() - most
        )));
    }
    list
}

fn entry(label: &str, text: String) -> Line<'static> {
    Line::from(format!("{label:<10}{text}"))
}
