//! What a member may ask for, parsed.

use std::borrow::Cow;

use corecast::Message;
use serde::Serialize;
use simd_json::borrowed::{self, Object, Value};
use simd_json::{Buffers, ErrorType};

/// Bytes in one command: a long paragraph. It also bounds what a room remembers, and what a hostile
/// nest of brackets can make the parser do.
pub(super) const MAX_COMMAND: usize = 16 << 10;

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Join {
        room: Cow<'a, str>,
    },
    Say {
        text: Cow<'a, str>,
        room: Cow<'a, str>,
    },
    Leave {
        room: Cow<'a, str>,
    },
    Last {
        room: Cow<'a, str>,
    },
}

/// Why a command cannot be done.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    pub(super) error: Cow<'static, str>,
    pub(super) at: At,
}

/// Where it is wrong.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub(super) enum At {
    /// A byte offset in the message.
    Byte(usize),
    /// The command or field.
    Field(Cow<'static, str>),
}

impl Problem {
    pub(super) fn field(error: impl Into<Cow<'static, str>>, field: &'static str) -> Self {
        Self {
            error: error.into(),
            at: At::Field(field.into()),
        }
    }

    fn byte(error: impl Into<Cow<'static, str>>, offset: usize) -> Self {
        Self {
            error: error.into(),
            at: At::Byte(offset),
        }
    }
}

/// Parses one command; its strings lie in `scratch`.
pub(super) fn parse<'a>(
    message: Message<'_>,
    scratch: &'a mut Vec<u8>,
    buffers: &mut Buffers,
) -> Result<Command<'a>, Problem> {
    let Message::Text(text) = message else {
        return Err(Problem::byte("commands are JSON in text messages", 0));
    };
    if text.len() > MAX_COMMAND {
        return Err(Problem::byte(
            format!("a command has at most {MAX_COMMAND} bytes"),
            MAX_COMMAND,
        ));
    }
    scratch.clear();
    scratch.extend_from_slice(text.as_bytes());
    let value = borrowed::to_value_with_buffers(scratch, buffers)
        .map_err(|error| Problem::byte(describe(error.error()), error.index()))?;
    match value {
        Value::Object(fields) => command(*fields),
        _ => Err(Problem::byte("a command is a JSON object", 0)),
    }
}

fn command(mut fields: Object<'_>) -> Result<Command<'_>, Problem> {
    const NAMES: [&str; 4] = ["join", "say", "leave", "last"];
    let mut given = NAMES.into_iter().filter(|name| fields.contains_key(*name));
    let (Some(name), None) = (given.next(), given.next()) else {
        return Err(Problem::byte(
            "a command is one of join, say, leave, last",
            0,
        ));
    };
    let subject = take(&mut fields, name)?;
    let command = match name {
        "join" => Command::Join { room: subject },
        "say" => Command::Say {
            text: subject,
            room: take(&mut fields, "in")?,
        },
        "leave" => Command::Leave { room: subject },
        _ => Command::Last { room: subject },
    };
    match fields.into_iter().next() {
        None => Ok(command),
        Some((name, _)) => {
            let at = At::Field(name.into_owned().into());
            Err(Problem {
                error: "this command has no such field".into(),
                at,
            })
        }
    }
}

fn take<'a>(fields: &mut Object<'a>, name: &'static str) -> Result<Cow<'a, str>, Problem> {
    match fields.remove(name) {
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Problem::field("must be a string", name)),
        None => Err(Problem::field("is missing", name)),
    }
}

fn describe(error: &ErrorType) -> Cow<'static, str> {
    match error {
        ErrorType::Eof | ErrorType::UnterminatedString => "the JSON ends too early".into(),
        ErrorType::DepthLimitExceeded => "the JSON is nested too deeply".into(),
        ErrorType::TrailingData => "there is more after the JSON".into(),
        ErrorType::InvalidEscape
        | ErrorType::InvalidUnicodeEscape
        | ErrorType::InvalidUnicodeCodepoint => "a string has an invalid escape".into(),
        _ => "this is not JSON".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_parsed<R>(text: &str, check: impl FnOnce(Result<Command<'_>, Problem>) -> R) -> R {
        check(parse(
            Message::Text(text),
            &mut Vec::new(),
            &mut Buffers::default(),
        ))
    }

    fn problem(text: &str) -> Problem {
        with_parsed(text, |result| result.unwrap_err())
    }

    #[test]
    fn commands_are_objects_with_one_verb() {
        with_parsed(r#"{"join":"a"}"#, |it| {
            assert_eq!(it, Ok(Command::Join { room: "a".into() }))
        });
        with_parsed(r#" { "leave" : "a" } "#, |it| {
            assert_eq!(it, Ok(Command::Leave { room: "a".into() }));
        });
        with_parsed(r#"{"last":"a"}"#, |it| {
            assert_eq!(it, Ok(Command::Last { room: "a".into() }))
        });
        with_parsed(r#"{"in":"a","say":"\u00e9\n\"x\""}"#, |it| {
            let said = Command::Say {
                text: "é\n\"x\"".into(),
                room: "a".into(),
            };
            assert_eq!(it, Ok(said));
        });
    }

    #[test]
    fn what_is_no_command_is_told_where() {
        assert_eq!(
            problem(r#"{"join":7}"#),
            Problem::field("must be a string", "join")
        );
        assert_eq!(
            problem(r#"{"say":"x"}"#),
            Problem::field("is missing", "in")
        );
        assert_eq!(
            problem(r#"{"join":"a","color":1}"#).at,
            At::Field("color".into())
        );
        assert_eq!(problem(r#"{"join":"a","leave":"a"}"#).at, At::Byte(0));
        assert_eq!(problem("{}").at, At::Byte(0));
        assert_eq!(problem("[]").at, At::Byte(0));
    }

    #[test]
    fn what_is_no_json_is_told_at_which_byte() {
        assert_eq!(problem(r#"{"join":nul}"#).at, At::Byte(8));
        for text in [
            "",
            " ",
            "{",
            r#"{"join""#,
            r#"{"join":"a"}{}"#,
            r#"{"join":"\x"}"#,
            "\0",
        ] {
            assert!(matches!(problem(text).at, At::Byte(_)), "{text:?}");
        }
        assert!(matches!(problem(&"[".repeat(MAX_COMMAND)).at, At::Byte(_)));
        assert!(matches!(
            problem(&"[".repeat(MAX_COMMAND + 1)).at,
            At::Byte(MAX_COMMAND)
        ));
    }

    #[test]
    fn binary_messages_are_no_commands() {
        let mut scratch = Vec::new();
        let parsed = parse(
            Message::Binary(b"{}"),
            &mut scratch,
            &mut Buffers::default(),
        );
        assert_eq!(parsed.unwrap_err().at, At::Byte(0));
    }
}
