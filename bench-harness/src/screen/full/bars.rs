//! Bars of text, and the colours that go with them. A colour never says what the text beside it does not.

use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};

use crate::screen::words::percent;
use crate::stats::validity::CLIENT_SATURATED;

/// From this share on the client counts as saturated.
pub(super) const SATURATED: f64 = CLIENT_SATURATED;

/// From this share on it is worth a look.
const NEAR: f64 = 0.85;

/// What fills a bar, and its last cell by eighths.
const EIGHTHS: [&str; 9] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"];

/// Something is wrong.
pub(super) fn alarm() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

/// The style for how busy something is.
pub(super) fn style(busy: f64) -> Style {
    match busy {
        b if b >= SATURATED => alarm(),
        b if b >= NEAR => Style::new().fg(Color::Yellow),
        _ => Style::new().fg(Color::Green),
    }
}

/// A bar of so many columns, filled to `share` (0 to 1), with a mark at another share.
pub(super) fn bar(
    share: f64,
    columns: usize,
    mark: Option<f64>,
    style: Style,
) -> Vec<Span<'static>> {
    if columns < 3 {
        return Vec::new();
    }
    let share = if share.is_finite() {
        share.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let eighths = (share * (columns * 8) as f64).round() as usize;
    let mark = mark.map(|mark| ((mark * columns as f64) as usize).min(columns - 1));
    let mut text = String::new();
    for cell in 0..columns {
        let filled = eighths.saturating_sub(cell * 8).min(8);
        text += match filled {
            _ if mark == Some(cell) && filled < 8 => "│",
            0 => "·",
            filled => EIGHTHS[filled],
        };
    }
    vec![Span::styled(text, style)]
}

/// How busy something is, in a panel of this size: label, bar and figure.
pub(super) fn busy_line(busy: f64, mark: Option<f64>, panel: Rect) -> Line<'static> {
    let label = format!("{:<5}", "busy");
    let figure = format!(" {:>7}", percent(busy));
    let columns = usize::from(panel.width.saturating_sub(2));
    let room = columns.saturating_sub(label.len() + figure.len());
    let mut line = Line::from(label);
    line.extend(bar(busy, room, mark, style(busy)));
    line.push_span(figure);
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(share: f64, columns: usize, mark: Option<f64>) -> String {
        Line::from(bar(share, columns, mark, Style::new())).to_string()
    }

    #[test]
    fn bars_fill_by_eighths() {
        assert_eq!(drawn(0.0, 4, None), "····");
        assert_eq!(drawn(0.5, 4, None), "██··");
        assert_eq!(drawn(0.53125, 4, None), "██▏·");
        assert_eq!(drawn(1.0, 4, None), "████");
        for odd in [f64::NAN, f64::NEG_INFINITY, -3.0] {
            assert_eq!(drawn(odd, 4, None), "····");
        }
        assert_eq!(drawn(7.0, 4, Some(0.97)), "████");
        assert_eq!(drawn(0.2, 2, None), "");
    }

    #[test]
    fn the_mark_is_seen_until_it_is_passed() {
        assert_eq!(drawn(0.5, 10, Some(0.97)), "█████····│");
        assert_eq!(drawn(0.96, 10, Some(0.97)), "█████████│");
        assert_eq!(drawn(1.0, 10, Some(0.97)), "██████████");
    }
}
