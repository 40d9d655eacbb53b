//! What differs from connection to connection in paths, headers and first messages.
//!
//! `{connection}` is the connection's number in the run, from 0; `{line:FILE}` the line of a file with that number, and
//! behind the last line comes the first again. Other braces stand for themselves.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs;

/// Files of lines longer than this are something else, in bytes.
const MAX_FILE: u64 = 1 << 30;

/// The files that texts refer to, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Placeholders {
    /// By name, the lines that are not empty.
    lists: BTreeMap<String, Vec<String>>,
}

/// A piece of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Piece<'t> {
    Literal(&'t str),
    Connection,
    /// Of this file.
    Line(&'t str),
}

impl Placeholders {
    /// Reads the files that `text` refers to and that are not known.
    ///
    /// # Errors
    /// When one cannot be read, is no text, or has no line.
    pub(crate) fn learn(&mut self, text: &str) -> Result<(), String> {
        for piece in pieces(text) {
            if let Piece::Line(file) = piece
                && !self.lists.contains_key(file)
            {
                let lines = read(file).map_err(|why| format!("{{line:{file}}}: {why}"))?;
                self.lists.insert(file.to_owned(), lines);
            }
        }
        Ok(())
    }

    /// Files with fewer lines than there are connections, and how many lines.
    pub(crate) fn shorter_than(&self, connections: u64) -> impl Iterator<Item = (&str, usize)> {
        let lists = self.lists.iter();
        let lengths = lists.map(|(file, lines)| (file.as_str(), lines.len()));
        lengths.filter(move |&(_, lines)| (lines as u64) < connections)
    }

    /// The text for this connection. A file that has not been learned of stands for itself.
    pub(crate) fn fill<'t>(&self, text: &'t str, connection: u64) -> Cow<'t, str> {
        if !text.contains('{') {
            return Cow::Borrowed(text);
        }
        let mut filled = String::with_capacity(text.len());
        for piece in pieces(text) {
            match piece {
                Piece::Literal(text) => filled += text,
                Piece::Connection => filled += &connection.to_string(),
                Piece::Line(file) => match self.lists.get(file) {
                    Some(lines) => filled += &lines[(connection % lines.len() as u64) as usize],
                    None => filled += &format!("{{line:{file}}}"),
                },
            }
        }
        Cow::Owned(filled)
    }
}

/// Whether a text differs from connection to connection.
pub(crate) fn has_any(text: &str) -> bool {
    pieces(text).any(|piece| !matches!(piece, Piece::Literal(_)))
}

fn pieces(text: &str) -> impl Iterator<Item = Piece<'_>> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        if let Some((piece, len)) = placeholder(rest) {
            rest = &rest[len..];
            return Some(piece);
        }
        // A brace that it begins with stands for itself: the next one may not.
        let begin = usize::from(rest.starts_with('{'));
        let next = rest[begin..].find('{');
        let (literal, behind) = rest.split_at(next.map_or(rest.len(), |at| begin + at));
        rest = behind;
        Some(Piece::Literal(literal))
    })
}

/// The placeholder that a text begins with, and its length.
fn placeholder(text: &str) -> Option<(Piece<'_>, usize)> {
    let (name, _) = text.strip_prefix('{')?.split_once('}')?;
    let len = name.len() + 2;
    if name == "connection" {
        return Some((Piece::Connection, len));
    }
    let file = name.strip_prefix("line:").filter(|file| !file.is_empty())?;
    Some((Piece::Line(file), len))
}

fn read(file: &str) -> Result<Vec<String>, String> {
    let unreadable = |error: std::io::Error| format!("the file cannot be read: {error}");
    let size = fs::metadata(file).map_err(unreadable)?.len();
    if size > MAX_FILE {
        return Err(format!(
            "the file has {size} bytes, at most {MAX_FILE} are read"
        ));
    }
    let text = fs::read_to_string(file).map_err(unreadable)?;
    let lines = text.lines().filter(|line| !line.is_empty());
    let lines: Vec<String> = lines.map(str::to_owned).collect();
    if lines.is_empty() {
        return Err("the file has no line that is not empty".to_owned());
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert_eq, proptest};

    use super::*;

    fn filled(text: &str, connection: u64) -> String {
        let placeholders = Placeholders {
            lists: [(
                "a/b.txt".to_owned(),
                vec!["x".to_owned(), "{connection}".to_owned()],
            )]
            .into(),
        };
        placeholders.fill(text, connection).into_owned()
    }

    #[test]
    fn placeholders_become_what_the_connection_has() {
        for (text, shown) in [
            ("/echo", "/echo"),
            ("/{connection}", "/7"),
            ("/r/{connection}?u={connection}&x", "/r/7?u=7&x"),
            ("{line:a/b.txt}", "{connection}"),
            ("{\"user\":{connection}}", "{\"user\":7}"),
            ("{{connection}}", "{7}"),
            ("{connections} {} {x", "{connections} {} {x"),
            ("é{é{connection}é", "é{é7é"),
            ("{line:} {line:other}", "{line:} {line:other}"),
            ("", ""),
        ] {
            assert_eq!(filled(text, 7), shown, "{text}");
        }
        assert_eq!(filled("{line:a/b.txt}", 8), "x");
        assert_eq!(filled("{connection}", u64::MAX), u64::MAX.to_string());
    }

    #[test]
    fn texts_without_placeholders_are_the_same_for_all() {
        assert!(!has_any("{\"type\":\"login\"}") && !has_any("") && !has_any("{line:}"));
        assert!(has_any("a{connection}") && has_any("{line:users.txt}"));
    }

    #[test]
    fn files_are_read_once_and_by_line() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(&file, "one\r\n\ntwo \n").unwrap();
        let text = format!("Bearer {{line:{}}}", file.path().display());
        let mut placeholders = Placeholders::default();
        placeholders.learn(&text).unwrap();
        fs::write(&file, "").unwrap();
        placeholders.learn(&text).unwrap();
        assert_eq!(placeholders.fill(&text, 0), "Bearer one");
        assert_eq!(placeholders.fill(&text, 1), "Bearer two ");
        assert_eq!(placeholders.fill(&text, 2), "Bearer one");
        let name = file.path().to_str().unwrap();
        let short: Vec<_> = placeholders.shorter_than(3).collect();
        assert_eq!(short, [(name, 2)]);
        assert_eq!(placeholders.shorter_than(2).count(), 0);
        let error = Placeholders::default().learn(&text).unwrap_err();
        assert!(error.contains("no line that is not empty"), "{error}");
        let error = placeholders.learn("{line:/nowhere}").unwrap_err();
        assert!(
            error.contains("{line:/nowhere}: the file cannot be read"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn without_placeholders_nothing_changes(text in any::<String>()) {
            if !has_any(&text) {
                prop_assert_eq!(filled(&text, 3), text);
            }
        }

        #[test]
        fn braces_of_all_kinds_are_read(text in "[{}a:]{0,12}", number in any::<u64>()) {
            let braced = format!("{text}{{connection}}{text}");
            let begin = filled(&braced, number);
            prop_assert_eq!(begin, format!("{text}{number}{text}"));
        }
    }
}
