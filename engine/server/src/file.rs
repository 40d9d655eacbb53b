//! The configuration file: TOML whose keys are the flags.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use clap::{Arg, ArgAction, Args, Command, FromArgMatches};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::options::Options;

/// Unlike names are not suggested: below this similarity (0 to 1) a guess is noise.
const SUGGEST_FROM: f64 = 0.7;

/// Reads the settings in a file.
///
/// # Errors
/// One message that begins with the file, and the line where there is one: the file cannot be
/// read, is not TOML, has a key that is no flag (it names the nearest), or a value that the flag
/// would not take.
pub(crate) fn read(path: &Path) -> Result<Options, String> {
    let file = path.display();
    let text = fs::read_to_string(path).map_err(|error| format!("{file}: {error}"))?;
    parse(&text).map_err(|wrong| match wrong.offset {
        Some(offset) => format!("{file}:{}: {}", line_of(&text, offset), wrong.message),
        None => format!("{file}: {}", wrong.message),
    })
}

/// What is wrong with the text, and at which byte if it is known.
#[derive(Debug)]
struct Wrong {
    offset: Option<usize>,
    message: String,
}

/// Each key and value becomes the flag that it stands for, so that both are parsed alike.
fn parse(text: &str) -> Result<Options, Wrong> {
    let table = DeTable::parse(text).map_err(|error| Wrong {
        offset: error.span().map(|span| span.start),
        message: error.message().to_owned(),
    })?;
    let mut flags = flags();
    let mut seen = HashSet::new();
    let mut matched = Options::default();
    for (key, value) in table.get_ref() {
        let at = |message| Wrong {
            offset: Some(key.span().start),
            message,
        };
        let name = key.get_ref().replace('_', "-");
        let args = to_args(&flags, key.get_ref(), &name, value).map_err(at)?;
        if !seen.insert(name) {
            return Err(at(format!(
                "`{}` is set twice, with a dash and an underscore",
                key.get_ref()
            )));
        }
        let matches = flags
            .try_get_matches_from_mut(args)
            .map_err(|error| at(reason(&error)))?;
        matched
            .update_from_arg_matches(&matches)
            .map_err(|error| at(reason(&error)))?;
    }
    Ok(matched)
}

/// The flags that a file may set: all but the one that names the file.
fn flags() -> Command {
    let all = Options::augment_args(Command::new("corecast"));
    all.no_binary_name(true)
        .disable_help_flag(true)
        .mut_arg("config", |arg| arg.long(None::<&str>))
}

fn to_args(
    flags: &Command,
    key: &str,
    name: &str,
    value: &Spanned<DeValue<'_>>,
) -> Result<Vec<String>, String> {
    let flag = find(flags, name).ok_or_else(|| unknown(flags, key, name))?;
    let repeatable = matches!(flag.get_action(), ArgAction::Append);
    let values = match value.get_ref() {
        DeValue::Array(values) if repeatable => values.iter().map(Spanned::get_ref).collect(),
        DeValue::Array(_) => return Err(format!("`{key}` takes one value, not a list")),
        one => vec![one],
    };
    let scalars = values.into_iter().map(scalar);
    let args = scalars.map(|scalar| scalar.map(|scalar| format!("--{name}={scalar}")));
    args.collect::<Option<_>>()
        .ok_or_else(|| format!("`{key}` takes a string, a number or a boolean"))
}

fn scalar(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(truth) => Some(truth.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

fn find<'a>(flags: &'a Command, name: &str) -> Option<&'a Arg> {
    flags
        .get_arguments()
        .find(|flag| flag.get_long() == Some(name))
}

fn unknown(flags: &Command, key: &str, name: &str) -> String {
    let known = flags.get_arguments().filter_map(Arg::get_long);
    let alike = known.map(|known| (strsim::jaro_winkler(known, name), known));
    match alike.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((similarity, nearest)) if similarity >= SUGGEST_FROM => {
            format!("unknown key `{key}`; did you mean `{nearest}`?")
        }
        _ => format!("unknown key `{key}`; the keys are the flags of `corecast serve --help`"),
    }
}

/// The first line of clap's message: the rest is about the command line.
fn reason(error: &clap::Error) -> String {
    let message = error.to_string();
    let first = message.lines().next().unwrap_or_default();
    first.trim_start_matches("error: ").to_owned()
}

/// The number of the line that holds this byte, counted from 1.
fn line_of(text: &str, offset: usize) -> usize {
    text.bytes()
        .take(offset)
        .filter(|&byte| byte == b'\n')
        .count()
        + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(text: &str) -> String {
        parse(text).unwrap_err().message
    }

    #[test]
    fn keys_are_the_flags_with_dashes_or_underscores() {
        let options = parse(
            "listen = ['127.0.0.1:1', '127.0.0.1:2']\n\
             max-message = '64k'\n\
             max_connections = 500\n\
             max_per_address = 20\n\
             handshake-rate = '5/s'\n\
             steer = true\n\
             origin = 'https://example.org'\n\
             idle_timeout = 0",
        )
        .unwrap();
        assert_eq!(options.listen, ["127.0.0.1:1", "127.0.0.1:2"]);
        assert_eq!(options.max_message, Some(64 << 10));
        assert_eq!(options.max_connections, Some(500));
        assert_eq!(options.max_per_address, Some(20));
        assert_eq!(options.handshake_rate, Some(5));
        assert_eq!(options.steer, Some(true));
        assert_eq!(options.origin, ["https://example.org"]);
        assert_eq!(options.idle_timeout, Some(std::time::Duration::ZERO));
    }

    #[test]
    fn an_unknown_key_is_told_with_the_nearest_known_one() {
        assert_eq!(
            wrong("max_mesage = 1"),
            "unknown key `max_mesage`; did you mean `max-message`?"
        );
        assert!(wrong("zzz = 1").contains("corecast serve --help"));
        // A file that names another file is not supported, nor is asking it for help.
        assert!(wrong("config = 'other.toml'").contains("unknown key"));
        assert!(wrong("help = true").contains("unknown key"));
    }

    #[test]
    fn values_are_checked_as_the_flags_are() {
        assert!(
            wrong("idle_timeout = 10").contains("has a unit"),
            "{}",
            wrong("idle_timeout = 10")
        );
        assert!(wrong("app = 'ecko'").contains("ecko"));
        assert!(wrong("app = ['echo']").contains("one value"));
        assert!(wrong("backlog = 1.5").contains("`backlog`"));
        assert!(wrong("[listen]").contains("`listen`"));
        assert!(wrong("max_message = 1\nmax-message = 2").contains("twice"));
    }

    #[test]
    fn errors_tell_the_line() {
        let text = "app = 'echo'\n\nbacklock = '1m'\n";
        let offset = parse(text).unwrap_err().offset.unwrap();
        assert_eq!(line_of(text, offset), 3);
        let broken = "app = 'echo'\nbacklog = = 1\n";
        let offset = parse(broken).unwrap_err().offset.unwrap();
        assert_eq!(line_of(broken, offset), 2);
    }
}
