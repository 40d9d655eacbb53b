//! What must not stand in the files of a run, since people attach them to issues.

/// Parts of names of query values that are secret.
const WITHIN: [&str; 10] = [
    "token",
    "secret",
    "passw",
    "auth",
    "jwt",
    "session",
    "credential",
    "signature",
    "cookie",
    "ticket",
];

/// Ends of such names.
const AT_THE_END: [&str; 6] = ["key", "sid", "sig", "pwd", "pass", "otp"];

/// What stands for a secret.
const HIDDEN: &str = "…";

/// Flags whose values are secret: of a header all but its name is.
const FLAGS: [&str; 3] = ["--header", "--hello", "-H"];

/// The command line without the values of `--header` and `--hello`, and without secrets in addresses.
pub(super) fn hide_in_command(arguments: impl Iterator<Item = String>) -> Vec<String> {
    let mut secret = None;
    let shown = |argument: String| {
        if let Some(flag) = secret.take() {
            return hide_value(flag, &argument);
        }
        for flag in FLAGS {
            if argument == flag {
                secret = Some(flag);
                break;
            }
            let value = argument.strip_prefix(flag);
            // -H takes its value without a sign between them, too.
            let value = value.filter(|value| flag == "-H" || value.starts_with('='));
            if let Some(value) = value {
                let value = value.strip_prefix('=').unwrap_or(value);
                return format!("{flag}={}", hide_value(flag, value));
            }
        }
        hide_in_address(&argument)
    };
    arguments.map(shown).collect()
}

/// An address, or a text with addresses in it, without user and password, and without the values in queries whose names
/// look like those of secrets.
pub(crate) fn hide_in_address(text: &str) -> String {
    hide_users(&hide_in_queries(text))
}

/// Hides what stands before the host.
fn hide_users(text: &str) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(at) = rest.find("://") {
        let (scheme, after) = rest.split_at(at + 3);
        let end = after.find(ends_authority).unwrap_or(after.len());
        shown += scheme;
        rest = after;
        if let Some(at) = after[..end].rfind('@') {
            shown += HIDDEN;
            rest = &after[at..];
        }
    }
    shown + rest
}

fn ends_authority(c: char) -> bool {
    matches!(c, '/' | '?' | '#') || ends_address(c)
}

fn ends_address(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\'')
}

/// Hides values that come after a question mark.
fn hide_in_queries(text: &str) -> String {
    let mut within = false;
    let part = |part: &str| {
        let shown = match part.split_once('=') {
            Some((name, value)) if within && is_secret(name) => {
                let end = value.find(|c| matches!(c, '#' | '&' | '?') || ends_address(c));
                let end = end.unwrap_or(value.len());
                format!("{name}={HIDDEN}{}", &value[end..])
            }
            _ => part.to_owned(),
        };
        if part.ends_with('?') {
            within = true;
        } else if part.contains(ends_address) {
            within = false;
        }
        shown
    };
    text.split_inclusive(['?', '&']).map(part).collect()
}

fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WITHIN.iter().any(|part| name.contains(part))
        || AT_THE_END.iter().any(|end| name.ends_with(end))
}

/// A header without its value; nothing of a message.
fn hide_value(flag: &str, value: &str) -> String {
    let name = value.split_once(':').filter(|_| flag != "--hello");
    name.map_or_else(
        || HIDDEN.to_owned(),
        |(name, _)| format!("{name}: {HIDDEN}"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_left_out_of_commands() {
        let arguments = [
            ("corecast-bench", "corecast-bench"),
            ("ws://h:1/?room=5&token=abc", "ws://h:1/?room=5&token=…"),
            ("-H", "-H"),
            ("Authorization: Bearer abc", "Authorization: …"),
            ("--header=X-Key: def", "--header=X-Key: …"),
            ("-HCookie: ghi", "-H=Cookie: …"),
            ("--hello", "--hello"),
            ("login: jkl", "…"),
            ("--hello=mno", "--hello=…"),
            (
                "--publish-url=ws://h:1/?key=p",
                "--publish-url=ws://h:1/?key=…",
            ),
            ("-c", "-c"),
            ("5", "5"),
        ];
        let (typed, shown): (Vec<&str>, Vec<&str>) = arguments.into_iter().unzip();
        let hidden = hide_in_command(typed.into_iter().map(str::to_owned));
        assert_eq!(hidden, shown);
    }

    #[test]
    fn addresses_keep_what_is_no_secret() {
        for (text, shown) in [
            ("ws://h:1/", "ws://h:1/"),
            ("ws://h/topics?sub=a", "ws://h/topics?sub=a"),
            (
                "ws://h/?EIO=4&transport=websocket",
                "ws://h/?EIO=4&transport=websocket",
            ),
            ("ws://h/?access_token=a&x=1", "ws://h/?access_token=…&x=1"),
            ("ws://h/?x=1&apiKey=a=b", "ws://h/?x=1&apiKey=…"),
            ("ws://h/?SID=a#part", "ws://h/?SID=…#part"),
            ("ws://user:word@h:1/?sig=a", "ws://…@h:1/?sig=…"),
            ("ws://h/@?x=1", "ws://h/@?x=1"),
            (
                "./server --at 'ws://h/?jwt=a' --token=x",
                "./server --at 'ws://h/?jwt=…' --token=x",
            ),
            ("/echo?session=1&b=2", "/echo?session=…&b=2"),
            (
                "ws://h/?next=http://x&token=a",
                "ws://h/?next=http://x&token=…",
            ),
            ("token=a&key=b", "token=a&key=b"),
            (
                "ws://a/?key=1 ws://u@b/?key=2",
                "ws://a/?key=… ws://…@b/?key=…",
            ),
        ] {
            assert_eq!(hide_in_address(text), shown);
        }
    }
}
