//! What to type instead of flags that other commands have.

use std::ffi::OsString;

use clap::Parser as _;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};

use super::Cli;

/// A flag that is missed by those who know it from another command.
struct Missed {
    commands: &'static [&'static str],
    flags: &'static [&'static str],
    hint: &'static str,
}

const MISSED: [Missed; 2] = [
    Missed {
        commands: &["connect", "idle"],
        flags: &["-r", "--rate"],
        hint: "nothing is sent here; new connections per second are '--connect-rate'",
    },
    Missed {
        commands: &["echo", "connect", "idle"],
        flags: &["--publish-url", "--publishers"],
        hint: "'broadcast' publishes",
    },
];

impl Cli {
    /// Reads a command line, whose first word is the program.
    ///
    /// # Errors
    /// Flags that are not known or make no sense, with the nearest that is known.
    pub(crate) fn read(words: impl IntoIterator<Item = OsString>) -> Result<Self, Error> {
        let words: Vec<OsString> = words.into_iter().collect();
        Self::try_parse_from(&words).map_err(|error| explained(error, &words))
    }
}

fn explained(mut error: Error, words: &[OsString]) -> Error {
    let Some(hint) = hint(&error, words) else {
        return error;
    };
    // What is near by its letters is something else, and the usage would name it, too.
    error.remove(ContextKind::SuggestedArg);
    error.remove(ContextKind::Usage);
    let hint = ContextValue::StyledStrs(vec![hint.into()]);
    error.insert(ContextKind::Suggested, hint);
    error
}

fn hint(error: &Error, words: &[OsString]) -> Option<&'static str> {
    let Some(ContextValue::String(flag)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let command = words.get(1)?.to_str()?;
    let fits = |missed: &&Missed| {
        missed.commands.contains(&command) && missed.flags.contains(&flag.as_str())
    };
    let unknown = error.kind() == ErrorKind::UnknownArgument;
    MISSED
        .iter()
        .find(fits)
        .filter(|_| unknown)
        .map(|it| it.hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(words: &str) -> String {
        let words = words.split(' ').map(OsString::from);
        Cli::read(words).unwrap_err().to_string()
    }

    #[test]
    fn flags_of_other_commands_lead_to_the_right_one() {
        for words in [
            "bench connect ws://h:1/ -r 10",
            "bench connect ws://h:1/ --rate 10",
            "bench connect ws://h:1/ --rate=10",
            "bench idle ws://h:1/ --server-pid 1 -r10",
        ] {
            let error = error(words);
            assert!(error.contains("--connect-rate'"), "{words}: {error}");
            let misleads = error.contains("--duration") || error.contains("as a value");
            assert!(!misleads, "{words}: {error}");
        }
        let error = error("bench echo ws://h:1/ --publishers 3");
        assert!(error.contains("'broadcast' publishes"), "{error}");
    }

    #[test]
    fn other_errors_stay_as_they_are() {
        let error = error("bench connect ws://h:1/ --conections 3");
        assert!(error.contains("'--connections'"), "{error}");
    }
}
