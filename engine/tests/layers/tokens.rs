//! Rust source as tokens, as far as the layer rules need it.

#[derive(Debug, Clone)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) line: usize,
}

impl Token {
    pub(super) fn is_identifier(&self) -> bool {
        self.text.starts_with(is_word)
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Words, `::` and single other characters; no comments, strings or characters.
pub(super) fn tokenize(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    let mut line = 1;
    while let Some(first) = rest.chars().next() {
        let word = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
        let mut push = |text: &str| {
            tokens.push(Token {
                text: text.to_owned(),
                line,
            });
        };
        let len = if let Some(len) = skipped(rest) {
            len
        } else if word > 0 {
            push(&rest[..word]);
            word
        } else if rest.starts_with("::") {
            push("::");
            2
        } else {
            if !first.is_whitespace() {
                push(&rest[..first.len_utf8()]);
            }
            first.len_utf8()
        };
        line += rest[..len].matches('\n').count();
        rest = &rest[len..];
    }
    tokens
}

/// The length of the comment, literal or lifetime at the front of `rest`, if there is one.
fn skipped(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return Some(block_comment(rest));
    }
    if let Some(quoted) = rest.strip_prefix('\'') {
        return Some(1 + character(quoted));
    }
    let prefix = ["br", "cr", "r", "b", "c", ""].into_iter().find(|prefix| {
        rest.strip_prefix(prefix)
            .is_some_and(|tail| tail.trim_start_matches('#').starts_with('"'))
    })?;
    let tail = &rest[prefix.len()..];
    let hashes = tail.len() - tail.trim_start_matches('#').len();
    if prefix.ends_with('r') {
        let close = format!("\"{}", "#".repeat(hashes));
        let body = prefix.len() + hashes + 1;
        return Some(
            rest[body..]
                .find(&close)
                .map_or(rest.len(), |at| body + at + close.len()),
        );
    }
    (hashes == 0).then(|| prefix.len() + 1 + until_quote(&tail[1..], '"'))
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                break;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    at
}

/// After a quote: the rest of a character literal, or the name of a lifetime.
fn character(quoted: &str) -> usize {
    let mut chars = quoted.chars();
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => until_quote(quoted, '\''),
        (Some(c), Some('\'')) => c.len_utf8() + 1,
        _ => quoted.find(|c| !is_word(c)).unwrap_or(quoted.len()),
    }
}

/// The length up to and with the next quote that is not escaped.
fn until_quote(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Attributes are dropped, but for `#[cfg(test)]`.
pub(super) fn without_attributes(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let attribute = tokens[at].text == "#"
            && tokens
                .get(at + 1)
                .is_some_and(|next| matches!(&*next.text, "[" | "!"));
        if attribute && !is_cfg_test(&tokens[at..]) {
            at = end_of_group(tokens, at, "[", "]");
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

/// Drops what `#[cfg(test)]` stands before.
pub(super) fn without_test_modules(tokens: &[Token]) -> Vec<Token> {
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if is_cfg_test(&tokens[at..]) {
            let item = at + 7;
            let ends = |token: &Token| matches!(&*token.text, "{" | ";");
            let end = tokens[item..].iter().position(ends);
            at = match end.map(|end| item + end) {
                Some(body) if tokens[body].text == "{" => end_of_group(tokens, body, "{", "}"),
                Some(semicolon) => semicolon + 1,
                None => tokens.len(),
            };
        } else {
            kept.push(tokens[at].clone());
            at += 1;
        }
    }
    kept
}

fn is_cfg_test(tokens: &[Token]) -> bool {
    let expected = ["#", "[", "cfg", "(", "test", ")", "]"];
    tokens.len() >= expected.len() && tokens.iter().zip(expected).all(|(t, e)| t.text == e)
}

/// The index after the group that opens at or after `from`.
fn end_of_group(tokens: &[Token], from: usize, open: &str, close: &str) -> usize {
    let mut depth = 0;
    for (at, token) in tokens.iter().enumerate().skip(from) {
        if token.text == open {
            depth += 1;
        } else if token.text == close {
            depth -= 1;
            if depth == 0 {
                return at + 1;
            }
        }
    }
    tokens.len()
}
