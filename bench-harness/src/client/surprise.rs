//! Messages that were not expected: what to tell about them.

use std::collections::BTreeMap;

/// Bytes of a message that are shown.
const SHOWN: usize = 60;

/// Kinds of errors that are told apart.
const MAX_KINDS: usize = 100;

/// What has been told of each kind of error: its first message stands for all, so that reasons stay few.
#[derive(Debug, Default)]
pub(crate) struct Surprises(BTreeMap<String, String>);

impl Surprises {
    /// The error with what can be done about it, and the first bytes of the first message that was such an error.
    #[cold]
    pub(crate) fn tell(&mut self, error: String, hint: &str, came: &[u8]) -> String {
        if let Some(told) = self.0.get(&error) {
            return told.clone();
        }
        let mut told = format!("{error}; {hint}");
        if !came.is_empty() {
            told += &format!("; it began with {}", shown(came));
        }
        if self.0.len() < MAX_KINDS {
            self.0.insert(error, told.clone());
        }
        told
    }
}

/// The first bytes of a message: as text where it is some, without control characters.
fn shown(message: &[u8]) -> String {
    let begin = &message[..message.len().min(SHOWN)];
    let dots = if message.len() > SHOWN { "…" } else { "" };
    let text = match std::str::from_utf8(begin) {
        Ok(text) => Some(text),
        // Cut within a character.
        Err(error) if error.error_len().is_none() => {
            std::str::from_utf8(&begin[..error.valid_up_to()]).ok()
        }
        Err(_) => None,
    };
    let escaped = |c: char| match c {
        c if c.is_control() => c.escape_default().to_string(),
        c => c.to_string(),
    };
    match text {
        Some(text) => text.chars().map(escaped).collect::<String>() + dots,
        None => begin.escape_ascii().to_string() + dots,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_shown_in_one_line() {
        for (message, told) in [
            (&b"0{\"sid\":\"a\"}"[..], "0{\"sid\":\"a\"}"),
            (b"a\r\n\x1b[2J", "a\\r\\n\\u{1b}[2J"),
            ("grüß".as_bytes(), "grüß"),
            (&"grüß".as_bytes()[..3], "gr"),
            (b"\xff\x00a", "\\xff\\x00a"),
        ] {
            assert_eq!(shown(message), told);
        }
        let long = shown(&[b'x'; 200]);
        assert_eq!(long, "x".repeat(SHOWN) + "…");
    }

    #[test]
    fn the_first_of_a_kind_stands_for_all() {
        let mut surprises = Surprises::default();
        let first = surprises.tell("too long".to_owned(), "do this", b"abc");
        assert_eq!(first, "too long; do this; it began with abc");
        assert_eq!(
            surprises.tell("too long".to_owned(), "do this", b"xyz"),
            first
        );
        assert_eq!(
            surprises.tell("other".to_owned(), "do that", b""),
            "other; do that"
        );
        for number in 0..1_000 {
            surprises.tell(number.to_string(), "", b"");
        }
        assert_eq!(surprises.0.len(), MAX_KINDS);
    }
}
