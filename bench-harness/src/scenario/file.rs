//! A scenario as it stands in its file. [`super`] describes the format.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{self, Deserializer, Visitor};
use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::client::contents::PayloadKind;
use crate::units;

/// A key is suggested for one that is not known when they are at least so similar (Jaro-Winkler).
const SUGGEST_FROM: f64 = 0.7;

/// A whole file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) title: String,
    pub(super) role: Vec<Spanned<RoleText>>,
    pub(super) phase: Vec<Spanned<PhaseText>>,
}

/// A `[[role]]`. What a kind of role does not know is refused by [`super::plan`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleText {
    pub(super) name: String,
    pub(super) kind: Kind,
    pub(super) connections: Count,
    pub(super) path: Option<String>,
    pub(super) rate: Option<Count>,
    pub(super) size: Option<Size>,
    pub(super) payload: Option<Payload>,
    pub(super) text: Option<bool>,
    pub(super) publishers: Option<Publishers>,
    pub(super) publish_path: Option<String>,
    pub(super) topics: Option<Count>,
    pub(super) messages: Option<u64>,
    pub(super) hold: Option<Time>,
    pub(super) skip: Option<u64>,
    pub(super) hello: Option<Texts>,
}

/// What messages carry. Those of a file are not for scenarios: agents have no such file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Payload {
    Random,
    Json,
    Text,
    Zero,
}

impl From<Payload> for PayloadKind {
    fn from(payload: Payload) -> Self {
        match payload {
            Payload::Random => Self::Random,
            Payload::Json => Self::Json,
            Payload::Text => Self::Text,
            Payload::Zero => Self::Zero,
        }
    }
}

/// A text, or several.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected a text, or a list of texts")]
pub(super) enum Texts {
    One(String),
    Many(Vec<String>),
}

impl From<Texts> for Vec<String> {
    fn from(texts: Texts) -> Self {
        match texts {
            Texts::One(text) => vec![text],
            Texts::Many(list) => list,
        }
    }
}

/// What a role does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Sends, and expects each message back.
    Echo,
    /// Publishes, and expects each message at every subscriber.
    Broadcast,
    /// Holds connections.
    Idle,
    /// Opens connections, talks, and closes them.
    Churn,
}

/// A `[[phase]]`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PhaseText {
    pub(super) name: String,
    pub(super) duration: Time,
    pub(super) rate: Option<Share>,
    pub(super) connections: Option<Share>,
    #[serde(default = "yes")]
    pub(super) measure: bool,
    /// What is different for single roles.
    #[serde(default)]
    pub(super) role: BTreeMap<Spanned<String>, RoleInPhase>,
}

/// What is different for one role in a phase.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RoleInPhase {
    pub(super) rate: Option<Share>,
    pub(super) connections: Option<Share>,
}

/// A share of what a role has, from the begin of a phase to its end: a number, or a table with `from` and `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    pub(super) from: f64,
    pub(super) to: f64,
}

/// Who publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Publishers {
    /// Connections of their own.
    Own(u64),
    /// The subscribers.
    All,
}

/// A number of things, as [`units::count`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u64);

/// A number of bytes, as [`units::size`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

/// A time, as [`units::duration`] reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

/// What is wrong with a file, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub(super) struct Wrong {
    /// Counted from 1.
    pub(super) line: usize,
    pub(super) message: String,
}

impl File {
    /// Reads a file's text. Whether the parts go together is looked at by [`super::plan`].
    ///
    /// # Errors
    /// Where it is no TOML, or not of this format; for a key that is not known, with the nearest that is.
    pub(super) fn parse(text: &str) -> Result<Self, Wrong> {
        toml::from_str(text).map_err(|error| Wrong {
            line: line_of(text, error.span().map_or(0, |span| span.start)),
            message: explained(error.message()),
        })
    }
}

impl Wrong {
    /// Something wrong with the part of `text` that begins at byte `at`.
    pub(super) fn at(text: &str, at: usize, message: impl Into<String>) -> Self {
        Self {
            line: line_of(text, at),
            message: message.into(),
        }
    }
}

fn yes() -> bool {
    true
}

/// The number of the line that holds this byte, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    let before = text.bytes().take(offset);
    before.filter(|&byte| byte == b'\n').count() + 1
}

/// A message of the parser, with the nearest name where one is not known.
fn explained(message: &str) -> String {
    let first = message.lines().next().unwrap_or_default().to_owned();
    if !first.starts_with("unknown ") {
        return first;
    }
    // "unknown field `a`, expected one of `b`, `c`": every other piece is a name.
    let mut names = first.split('`').skip(1).step_by(2);
    let Some(name) = names.next() else {
        return first;
    };
    match nearest(name, names) {
        Some(known) => format!("{first}; did you mean `{known}`?"),
        None => first,
    }
}

/// The name that is most similar, when one is similar enough.
pub(super) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    known
        .map(|known| (strsim::jaro_winkler(known, name), known))
        .filter(|(similarity, _)| *similarity >= SUGGEST_FROM)
        .max_by(|one, other| one.0.total_cmp(&other.0))
        .map(|(_, known)| known)
}

/// Reads a value that people may type as a string with its unit or as a bare number.
struct Typed<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for Typed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<T, E> {
        self.visit_str(&number.to_string())
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Typed {
            expected: "a count such as 500 or \"15k\"",
            parse: |text| units::count(text).map(Self),
        })
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Typed {
            expected: "a size such as 512 or \"16k\"",
            parse: |text| units::size(text).map(Self),
        })
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Typed {
            expected: "a time with its unit such as \"500ms\" or \"10s\"",
            parse: |text| units::duration(text).map(Self),
        })
    }
}

impl FromStr for Publishers {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "all" => Ok(Self::All),
            count => units::count(count)
                .map(Self::Own)
                .map_err(|error| format!("{error}, or \"all\"")),
        }
    }
}

impl<'de> Deserialize<'de> for Publishers {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Typed {
            expected: "a count of publishers, or \"all\" for the subscribers themselves",
            parse: Self::from_str,
        })
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(ShareVisitor)
    }
}

struct ShareVisitor;

/// The table form of a share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Ramp {
    from: f64,
    to: f64,
}

impl<'de> Visitor<'de> for ShareVisitor {
    type Value = Share;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a share such as 0.5, or { from = 0.2, to = 1.0 }")
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Share, E> {
        Ok(Share {
            from: number,
            to: number,
        })
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<Share, E> {
        self.visit_f64(number as f64)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Share, A::Error> {
        let Ramp { from, to } = Ramp::deserialize(de::value::MapAccessDeserializer::new(map))?;
        Ok(Share { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SMALLEST: &str = "title = 'x'\n\
        [[role]]\nname = 'a'\nkind = 'idle'\nconnections = 5\n\
        [[phase]]\nname = 'p'\nduration = '1s'\n";

    fn wrong(text: &str) -> String {
        File::parse(text).unwrap_err().to_string()
    }

    #[test]
    fn values_have_units_or_are_numbers() {
        let text = SMALLEST.replace("connections = 5", "connections = '1.5k'\nsize = '1k'");
        let file = File::parse(&text).unwrap();
        let role = file.role[0].get_ref();
        assert_eq!(
            (role.connections, role.size),
            (Count(1_500), Some(Size(1_024)))
        );
        assert!(file.phase[0].get_ref().measure);
    }

    #[test]
    fn shares_are_numbers_or_ramps() {
        let share = |value: &str| {
            let file = File::parse(&format!("{SMALLEST}rate = {value}\n"))?;
            Ok::<_, Wrong>(file.phase[0].get_ref().rate.unwrap())
        };
        let both = |from, to| Share { from, to };
        assert_eq!(share("0.5"), Ok(both(0.5, 0.5)));
        assert_eq!(share("2"), Ok(both(2.0, 2.0)));
        assert_eq!(share("{ from = 0.25, to = 1.0 }"), Ok(both(0.25, 1.0)));
        assert!(
            share("{ from = 0.2 }")
                .unwrap_err()
                .message
                .contains("`to`")
        );
        assert!(share("'a'").unwrap_err().message.contains("a share"));
    }

    #[test]
    fn errors_have_a_line_and_the_nearest_name() {
        let error = wrong(&SMALLEST.replace("connections", "conections"));
        assert!(
            error.starts_with("line 5: unknown field `conections`"),
            "{error}"
        );
        assert!(error.ends_with("did you mean `connections`?"), "{error}");
        let error = wrong(&SMALLEST.replace("'idle'", "'idel'"));
        assert!(
            error.starts_with("line 4:") && error.ends_with("did you mean `idle`?"),
            "{error}"
        );
        let error = wrong(&SMALLEST.replace("'1s'", "10"));
        assert!(
            error.starts_with("line 8:") && error.contains("unit is missing"),
            "{error}"
        );
        let error = wrong(&SMALLEST.replace("title = 'x'", "title = "));
        assert!(error.starts_with("line 1:"), "{error}");
        let error = wrong(&format!("{SMALLEST}role.a = {{ rat = 1 }}\n"));
        assert!(
            error.starts_with("line 9:") && error.ends_with("did you mean `rate`?"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "\\PC*") {
            let _ = File::parse(&text);
        }

        #[test]
        fn no_change_of_a_good_file_makes_it_panic(at in 0..SMALLEST.len(), with in "[\\PC\n]{0,6}") {
            let mut text = SMALLEST.to_owned();
            text.replace_range(at..=at, &with);
            if let Err(error) = File::parse(&text) {
                prop_assert!(error.line <= text.lines().count() + 1 && !error.message.is_empty());
            }
        }
    }
}
