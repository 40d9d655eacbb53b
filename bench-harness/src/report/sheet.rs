//! Lines of a label and a text each: what a run prints, and what `summary.md` has as a table.

use std::fmt::{self, Display, Formatter};

/// Width of the labels in plain text.
const LABEL: usize = 12;

/// A title, and lines under it.
#[derive(Clone, Debug)]
pub(crate) struct Sheet {
    title: String,
    lines: Vec<(String, String)>,
}

impl Sheet {
    /// A sheet without lines yet.
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            lines: Vec::new(),
        }
    }

    /// Adds a line. One without a label goes on where the line before it ends.
    pub(crate) fn line(&mut self, label: &str, text: impl Display) {
        self.lines.push((label.to_owned(), text.to_string()));
    }

    /// What the sheet is about.
    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    /// Labels and texts.
    pub(crate) fn lines(&self) -> &[(String, String)] {
        &self.lines
    }

    /// A table as issues and READMEs take it (GitHub Flavored Markdown).
    pub(crate) fn markdown(&self) -> String {
        let mut text = format!("**{}**\n\n| | |\n|---|---|\n", markdown(&self.title));
        for (label, line) in &self.lines {
            let label = if label.is_empty() {
                String::new()
            } else {
                format!("**{}**", markdown(label))
            };
            text += &format!("| {label} | {} |\n", markdown(line));
        }
        text
    }
}

impl Display for Sheet {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        self.lines
            .iter()
            .try_for_each(|(label, text)| writeln!(f, "  {label:<LABEL$} {text}"))
    }
}

/// A text that Markdown shows as it is: a URL has `_` and `*`, and what a server says may have anything.
fn markdown(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' | '\r' => escaped.push(' '),
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '&' => escaped += "&amp;",
            '|' | '*' | '_' | '`' | '\\' | '[' | ']' | '~' => escaped.extend(['\\', character]),
            _ => escaped.push(character),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sheet() -> Sheet {
        let mut sheet = Sheet::new("echo ws://h:1/a_b".to_owned());
        sheet.line("errors", 2);
        sheet.line("", "1 × <b>|</b>\nmore");
        sheet
    }

    #[test]
    fn plain_text_has_a_column_of_labels() {
        let text = sheet().to_string();
        assert!(text.starts_with("echo ws://h:1/a_b\n  errors       2\n               1 × "));
    }

    #[test]
    fn markdown_keeps_hostile_texts_in_their_cells() {
        let text = sheet().markdown();
        assert_eq!(
            text,
            "**echo ws://h:1/a\\_b**\n\n| | |\n|---|---|\n| **errors** | 2 |\n|  | 1 × &lt;b&gt;\\|&lt;/b&gt; more |\n"
        );
    }
}
