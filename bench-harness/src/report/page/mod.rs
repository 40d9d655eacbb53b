//! A report as one HTML document: text, tables and charts. It asks for nothing that is not in it, so it opens from a file, without a
//! network, and can be passed on as it is.
//!
//! Everything said in it is escaped; its policy (Content Security Policy level 3) allows the styles and scripts that it is made of,
//! by their hashes, and nothing else.

mod chart;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use maud::{DOCTYPE, Markup, PreEscaped, html};
use sha2::{Digest as _, Sha256};

pub(crate) use chart::{Axis, Band, Chart, Series, Unit};

const STYLES: &str = concat!(
    include_str!("../../../vendor/uplot/uPlot.min.css"),
    "\n",
    include_str!("page.css")
);

const SCRIPT: &str = concat!(
    include_str!("../../../vendor/uplot/uPlot.iife.min.js"),
    "\n",
    include_str!("format.js"),
    include_str!("charts.js")
);

/// A report on the way.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    title: String,
    parts: Vec<Part>,
}

/// What a report consists of.
#[derive(Clone, Debug)]
enum Part {
    Heading(String),
    Text(String),
    Banner(Banner),
    Figures(Vec<Figure>),
    Table(Table),
    Chart(Chart),
    Links(Vec<(String, String)>),
}

/// What a reader has to know before anything else.
#[derive(Clone, Debug)]
pub(crate) struct Banner {
    /// Whether the figures may be used.
    pub(crate) good: bool,
    /// In a few words.
    pub(crate) head: String,
    /// And more exactly.
    pub(crate) lines: Vec<String>,
}

/// A number that is worth large type.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    /// What it is.
    pub(crate) label: String,
    /// Number and unit.
    pub(crate) value: String,
    /// What else to say of it; may be empty.
    pub(crate) note: String,
    /// Where it stands in `summary.json`, such as `server.cpu_us_per_message`: lets a program compare the two.
    pub(crate) source: &'static str,
    /// Not to be used: the note says why, and the figure looks like it.
    pub(crate) spoilt: bool,
}

/// A table. A column with a head whose cells all begin with a digit, a sign or a dash has numbers, which stand on the right.
#[derive(Clone, Debug, Default)]
pub(crate) struct Table {
    /// Heads of the columns; empty for a table without.
    pub(crate) head: Vec<String>,
    /// Rows of cells.
    pub(crate) rows: Vec<Vec<String>>,
}

impl Page {
    /// An empty report.
    pub(crate) fn new(title: impl Into<String>) -> Self {
        Self {
            title: title.into(),
            parts: Vec::new(),
        }
    }

    /// Begins a section.
    pub(crate) fn heading(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Heading(text.into()));
    }

    /// Adds a paragraph.
    pub(crate) fn text(&mut self, text: impl Into<String>) {
        self.parts.push(Part::Text(text.into()));
    }

    /// Adds what nobody should overlook.
    pub(crate) fn banner(&mut self, banner: Banner) {
        self.parts.push(Part::Banner(banner));
    }

    /// Adds a row of large figures.
    pub(crate) fn figures(&mut self, figures: Vec<Figure>) {
        self.parts.push(Part::Figures(figures));
    }

    /// Adds a table, unless it is empty.
    pub(crate) fn table(&mut self, table: Table) {
        if !table.rows.is_empty() {
            self.parts.push(Part::Table(table));
        }
    }

    /// Adds a chart, unless there is nothing in it. Charts that follow one another share the width of the page.
    pub(crate) fn chart(&mut self, chart: Chart) {
        if !chart.series.is_empty() {
            self.parts.push(Part::Chart(chart));
        }
    }

    /// Adds links to files beside the report: name, and what is in it.
    pub(crate) fn links(&mut self, files: &[(&str, &str)]) {
        let owned = files.iter().map(|&(name, what)| (name.into(), what.into()));
        self.parts.push(Part::Links(owned.collect()));
    }

    /// The document.
    pub(crate) fn render(&self) -> String {
        let policy = format!(
            "default-src 'none'; style-src {}; script-src {}; img-src data:; base-uri 'none'; form-action 'none'",
            hash(STYLES),
            hash(SCRIPT)
        );
        let document = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(policy);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    // Else a browser asks for one when the report is served.
                    link rel="icon" href="data:,";
                    title { (self.title) }
                    style { (PreEscaped(STYLES)) }
                }
                body {
                    h1 { (self.title) }
                    @for parts in self.parts.chunk_by(|one, next| one.is_chart() && next.is_chart()) {
                        (joined(parts))
                    }
                    script { (PreEscaped(SCRIPT)) }
                }
            }
        };
        document.into_string()
    }
}

impl Table {
    fn has_numbers(&self, column: usize) -> bool {
        let number =
            |text: &String| text.starts_with(|c: char| c.is_ascii_digit() || "+-−–—".contains(c));
        let mut cells = self.rows.iter().filter_map(|row| row.get(column));
        column > 0 && !self.head.is_empty() && cells.all(number)
    }
}

impl Part {
    fn is_chart(&self) -> bool {
        matches!(self, Self::Chart(_))
    }
}

/// Charts that follow one another, or one other part.
fn joined(parts: &[Part]) -> Markup {
    if !parts[0].is_chart() {
        return part(&parts[0]);
    }
    html! {
        noscript { p { "The charts need JavaScript; it is part of this file. All figures are in the tables." } }
        div.charts { @for one in parts { (part(one)) } }
    }
}

fn part(part: &Part) -> Markup {
    match part {
        Part::Heading(text) => html! { h2 { (text) } },
        Part::Text(text) => html! { p { (text) } },
        Part::Banner(it) => html! {
            section.banner data-good=(it.good) {
                strong { (it.head) }
                @if !it.lines.is_empty() {
                    ul { @for line in &it.lines { li { (line) } } }
                }
            }
        },
        Part::Figures(list) => html! {
            div.figures { @for it in list { (figure(it)) } }
        },
        Part::Table(it) => table(it),
        Part::Chart(it) => chart(it),
        Part::Links(files) => html! {
            ul.files {
                @for (name, what) in files { li { a href=(name) { (name) } " " (what) } }
            }
        },
    }
}

fn figure(figure: &Figure) -> Markup {
    html! {
        div.figure data-spoilt[figure.spoilt] {
            span.label { (figure.label) }
            span.value data-source=(figure.source) { (figure.value) }
            @if !figure.note.is_empty() { span.note { (figure.note) } }
        }
    }
}

fn table(table: &Table) -> Markup {
    let numbers = |column| table.has_numbers(column);
    html! {
        div.table { table {
            @if !table.head.is_empty() {
                thead { tr {
                    @for (column, text) in table.head.iter().enumerate() {
                        th.number[numbers(column)] scope="col" { (text) }
                    }
                } }
            }
            tbody {
                @for row in &table.rows {
                    tr {
                        @for (column, text) in row.iter().enumerate() {
                            @if column == 0 { th scope="row" { (text) } }
                            @else { td.number[numbers(column)] { (text) } }
                        }
                    }
                }
            }
        } }
    }
}

fn chart(chart: &Chart) -> Markup {
    html! {
        figure.chart {
            figcaption {
                h3 { (chart.title) }
                @if let Some(note) = &chart.note { p { (note) } }
            }
            div.plot role="img" aria-label=(chart.title) {}
            script type="application/json" { (PreEscaped(json(chart))) }
        }
    }
}

/// JSON that nothing in it can end: no `<`, which begins `</script` and `<!--`, and no line ends that only JavaScript knows.
fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value)
        .expect("plain structures serialize")
        .replace('<', "\\u003c")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

fn hash(text: &str) -> String {
    let digest = BASE64_STANDARD.encode(Sha256::digest(text));
    format!("'sha256-{digest}'")
}

#[cfg(test)]
mod tests;
