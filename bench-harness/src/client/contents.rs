//! What the messages of a run contain: `--payload`, `--size`, `--text` and `--binary`.

use std::fs;
use std::path::PathBuf;
use std::str::FromStr;

use corecast_protocol::Opcode;
use serde::{Deserialize, Serialize};

use super::payload::{self, JSON_OVERHEAD};
use crate::error::BenchError;
use crate::rng::Rng;
use crate::units::{MAX_MESSAGE, Sizes};

/// Different payloads of each size that take turns. A prime, so that a slip by a power of two shows.
const VARIANTS: usize = 7;

/// Generated payloads stay below this (one core's share of cache), with fewer of them when they are large…
const CACHE_BUDGET: usize = 512 << 10;

/// …but at least this many of each size: with one, a repeated reply would look right.
const MIN_VARIANTS: usize = 2;

/// A frame header is at most this long.
const MAX_HEADER: usize = 14;

/// What messages carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PayloadKind {
    /// Random bytes, or as text random characters; neither compresses.
    #[default]
    Random,
    /// JSON records of several kinds, no two alike.
    Json,
    /// English words.
    Text,
    /// Zeros, which compress to nothing.
    Zero,
    /// A file, which is the message.
    File,
    /// The lines of a file, each a message.
    Lines,
}

/// `--payload`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct PayloadChoice {
    /// What messages carry.
    pub(crate) kind: PayloadKind,
    /// Where it is read from; only for those kinds.
    pub(crate) path: Option<PathBuf>,
}

/// What the messages of a run contain, checked.
#[derive(Clone, Debug)]
pub(crate) struct Contents {
    /// What they carry.
    pub(crate) kind: PayloadKind,
    /// Text or Binary.
    pub(crate) opcode: Opcode,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    /// Payloads of these sizes, in turn.
    Generated(Vec<usize>),
    /// Messages, in turn.
    Read(Vec<Vec<u8>>),
}

impl PayloadKind {
    /// How its messages are sent unless the user says otherwise.
    fn usual_opcode(self) -> Opcode {
        match self {
            Self::Random | Self::Zero => Opcode::Binary,
            Self::Json | Self::Text | Self::File | Self::Lines => Opcode::Text,
        }
    }
}

impl FromStr for PayloadChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, path) = text
            .split_once(':')
            .map_or((text, None), |(name, path)| (name, Some(path)));
        let kind = match (name, path) {
            ("random", None) => PayloadKind::Random,
            ("json", None) => PayloadKind::Json,
            ("text", None) => PayloadKind::Text,
            ("zero", None) => PayloadKind::Zero,
            ("file", Some(_)) => PayloadKind::File,
            ("lines", Some(_)) => PayloadKind::Lines,
            _ => {
                return Err("expected random, json, text, zero, file:PATH or lines:PATH".to_owned());
            }
        };
        Ok(Self {
            kind,
            path: path.map(PathBuf::from),
        })
    }
}

impl PayloadChoice {
    /// The file as typed, when there is one.
    pub(crate) fn file(&self) -> Option<String> {
        self.path.as_ref().map(|path| path.display().to_string())
    }
}

impl Contents {
    /// From the flags; `opcode` is that of `--text` or `--binary`. Files are read.
    ///
    /// # Errors
    /// Flags that do not go together, or a file that cannot be what it should.
    pub(crate) fn new(
        choice: &PayloadChoice,
        sizes: Option<&Sizes>,
        usual_size: usize,
        opcode: Option<Opcode>,
    ) -> Result<Self, BenchError> {
        let kind = choice.kind;
        let opcode = opcode.unwrap_or_else(|| kind.usual_opcode());
        let Some(path) = &choice.path else {
            let sizes = sizes.map_or_else(|| vec![usual_size], |sizes| sizes.0.clone());
            return Ok(Self::generated(kind, opcode, &sizes));
        };
        let told =
            |what: String| BenchError::usage(format!("--payload {}: {what}", path.display()));
        if sizes.is_some() {
            let problem = "its messages have the sizes they have; leave --size out";
            return Err(told(problem.to_owned()));
        }
        let bytes = fs::read(path).map_err(|error| told(format!("cannot be read: {error}")))?;
        let messages = messages(kind, bytes).map_err(&told)?;
        if opcode == Opcode::Text {
            check_text(&messages).map_err(&told)?;
        }
        Ok(Self {
            kind,
            opcode,
            source: Source::Read(messages),
        })
    }

    /// Generated payloads of these sizes, in turn.
    pub(crate) fn generated(kind: PayloadKind, opcode: Opcode, sizes: &[usize]) -> Self {
        assert!(!sizes.is_empty());
        Self {
            kind,
            opcode,
            source: Source::Generated(sizes.to_vec()),
        }
    }

    /// Bytes of the shortest and of the longest message.
    pub(crate) fn range(&self) -> (usize, usize) {
        let lengths: Vec<usize> = match &self.source {
            Source::Generated(sizes) => sizes.clone(),
            Source::Read(messages) => messages.iter().map(Vec::len).collect(),
        };
        let least = lengths.iter().min().copied().unwrap_or_default();
        (least, lengths.iter().max().copied().unwrap_or_default())
    }

    /// Whether every message has the size that was asked for.
    pub(crate) fn is_generated(&self) -> bool {
        matches!(self.source, Source::Generated(_))
    }

    /// Bytes of a generated message at least.
    pub(crate) fn smallest(&self) -> usize {
        match self.kind {
            // One that opens with a brace and has no records.
            PayloadKind::Json => 1 + JSON_OVERHEAD,
            _ => 0,
        }
    }

    /// The messages that take turns. Not shorter than [`Contents::smallest`].
    pub(crate) fn messages(&self, rng: &mut Rng) -> Vec<Vec<u8>> {
        let sizes = match &self.source {
            Source::Read(messages) => return messages.clone(),
            Source::Generated(sizes) => sizes,
        };
        let round: usize = sizes.iter().map(|size| size + MAX_HEADER).sum();
        let rounds = VARIANTS.min((CACHE_BUDGET / round).max(MIN_VARIANTS));
        let all = (0..rounds).flat_map(|_| sizes);
        all.map(|&size| self.generate(rng, "{", size)).collect()
    }

    /// What follows the stamp in the messages of a broadcast, in turn. For JSON that is the rest of a document, which begins
    /// with `opening`; of a generated one's size, `head_len` bytes are the stamp's.
    pub(crate) fn rests(&self, rng: &mut Rng, opening: &str, head_len: usize) -> Vec<Vec<u8>> {
        match &self.source {
            Source::Read(messages) => messages.clone(),
            Source::Generated(sizes) => {
                let mut rest = |&size: &usize| self.generate(rng, opening, size - head_len);
                sizes.iter().map(&mut rest).collect()
            }
        }
    }

    fn generate(&self, rng: &mut Rng, opening: &str, len: usize) -> Vec<u8> {
        match (self.kind, self.opcode) {
            (PayloadKind::Json, _) => payload::json(rng, opening, len),
            (PayloadKind::Text, _) => payload::words(rng, len),
            (PayloadKind::Zero, _) => vec![0; len],
            (_, Opcode::Text) => payload::printable(rng, len),
            _ => payload::random(rng, len),
        }
    }
}

/// The messages that a file holds.
fn messages(kind: PayloadKind, bytes: Vec<u8>) -> Result<Vec<Vec<u8>>, String> {
    let messages: Vec<Vec<u8>> = if kind == PayloadKind::Lines {
        let lines = bytes.split(|&byte| byte == b'\n');
        let lines = lines.map(|line| line.strip_suffix(b"\r").unwrap_or(line));
        let lines = lines.filter(|line| !line.is_empty());
        lines.map(<[u8]>::to_vec).collect()
    } else {
        vec![bytes]
    };
    if messages.is_empty() {
        return Err("it has no line that is not empty".to_owned());
    }
    if messages
        .iter()
        .any(|message| message.len() as u64 > MAX_MESSAGE)
    {
        return Err("a message has at most 1g".to_owned());
    }
    Ok(messages)
}

/// Text messages are UTF-8 (RFC 6455 §5.6).
fn check_text(messages: &[Vec<u8>]) -> Result<(), String> {
    for (number, message) in messages.iter().enumerate() {
        if let Err(error) = std::str::from_utf8(message) {
            let byte = error.valid_up_to();
            return Err(format!(
                "byte {byte} of message {} is not UTF-8, as text must be; pass --binary to send it as it is",
                number + 1
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn choice(text: &str) -> PayloadChoice {
        text.parse().unwrap()
    }

    /// A file that is removed in the end.
    struct Scratch(PathBuf);

    impl Scratch {
        fn new(name: &str, bytes: &[u8]) -> Self {
            let name = format!("corecast-bench-{}-{name}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::write(&path, bytes).unwrap();
            Self(path)
        }

        fn choice(&self, kind: &str) -> PayloadChoice {
            choice(&format!("{kind}:{}", self.0.display()))
        }
    }

    impl Drop for Scratch {
        fn drop(&mut self) {
            fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn payloads_are_named_or_read() {
        assert_eq!(choice("json").kind, PayloadKind::Json);
        assert_eq!(choice("file:a:b").path, Some(PathBuf::from("a:b")));
        for text in ["", "jsn", "json:x", "file", "lines", "Random"] {
            assert!(text.parse::<PayloadChoice>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn sizes_take_turns_and_each_has_several_payloads() {
        let contents = Contents::generated(PayloadKind::Random, Opcode::Binary, &[10, 300]);
        let messages = contents.messages(&mut Rng::new(1, 0));
        assert_eq!(messages.len(), 14);
        for (number, message) in messages.iter().enumerate() {
            assert_eq!(message.len(), [10, 300][number % 2]);
        }
        let different: std::collections::HashSet<_> = messages.iter().collect();
        assert_eq!(different.len(), 14);
        assert_eq!(contents.range(), (10, 300));
        let large = Contents::generated(PayloadKind::Random, Opcode::Binary, &[1 << 20]);
        assert_eq!(large.messages(&mut Rng::new(1, 0)).len(), 2);
    }

    #[test]
    fn what_is_sent_as_text_is_text() {
        for kind in [
            PayloadKind::Random,
            PayloadKind::Json,
            PayloadKind::Text,
            PayloadKind::Zero,
        ] {
            let contents = Contents::generated(kind, Opcode::Text, &[500]);
            for message in contents.messages(&mut Rng::new(1, 0)) {
                assert!(std::str::from_utf8(&message).is_ok(), "{kind:?}");
            }
        }
    }

    #[test]
    fn a_file_is_a_message() {
        let file = Scratch::new("message", "{\"a\": \"é\"}\n".as_bytes());
        let contents = Contents::new(&file.choice("file"), None, 64, None).unwrap();
        assert_eq!(contents.opcode, Opcode::Text);
        assert!(!contents.is_generated());
        let messages = contents.messages(&mut Rng::new(1, 0));
        assert_eq!(messages, ["{\"a\": \"é\"}\n".as_bytes()]);
    }

    #[test]
    fn lines_are_messages_of_their_own_length() {
        let file = Scratch::new("lines", b"one\r\n\nthree four\n");
        let contents = Contents::new(&file.choice("lines"), None, 64, None).unwrap();
        let messages = contents.messages(&mut Rng::new(1, 0));
        assert_eq!(messages, [b"one".to_vec(), b"three four".to_vec()]);
        assert_eq!(contents.range(), (3, 10));
    }

    #[test]
    fn what_cannot_be_sent_is_refused() {
        let file = Scratch::new("bytes", b"fine\nnot \xff\xfe fine\n");
        let refused = |choice, sizes: Option<&Sizes>, opcode| {
            let refused = Contents::new(&choice, sizes, 64, opcode);
            refused.unwrap_err().to_string()
        };
        let error = refused(file.choice("lines"), None, None);
        assert!(
            error.contains("byte 4 of message 2 is not UTF-8"),
            "{error}"
        );
        assert!(Contents::new(&file.choice("lines"), None, 64, Some(Opcode::Binary)).is_ok());
        let error = refused(file.choice("file"), Some(&Sizes(vec![5])), None);
        assert!(error.contains("leave --size out"), "{error}");
        let error = refused(choice("file:/nowhere/at/all"), None, None);
        assert!(error.contains("/nowhere/at/all: cannot be read"), "{error}");
        let empty = Scratch::new("empty", b"\n\r\n\n");
        let error = refused(empty.choice("lines"), None, None);
        assert!(error.contains("no line that is not empty"), "{error}");
    }
}
