//! Messages that are none of the load's: heartbeats of the application, which are answered, and others that are left out.
//!
//! [`Sieves`] stand between a connection's bytes and whoever reads its messages. They look at the first bytes of a message
//! only, and copy nothing but what they cannot judge yet.

use std::borrow::Cow;
use std::sync::Arc;

use corecast_protocol::{Header, Opcode, encode_client};

use crate::cli::HandshakeArgs;

/// Mask key of answers: any will do, they are few.
const ANSWER_KEY: [u8; 4] = [0x4d, 0x17, 0xc2, 0x9b];

/// A message that cannot be judged after so many bytes beyond the longest text is the load's: its frames have no end.
const PATIENCE: usize = 4096;

/// What is none of the load's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asides {
    /// Text messages, and the frames that answer them.
    answers: Vec<(Vec<u8>, Vec<u8>)>,
    /// Begins of messages.
    ignored: Vec<Vec<u8>>,
    /// Bytes of the longest of all.
    longest: usize,
}

/// What a piece of a connection's bytes is.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Sifted<'a> {
    /// The load's.
    Load(&'a mut [u8]),
    /// A message came that is answered with this frame.
    Answer(&'a [u8]),
}

/// Where one connection is in its bytes.
#[derive(Debug, Default)]
struct Sieve {
    /// A message or a header as far as it has come, when that is too little to judge it.
    held: Vec<u8>,
    /// Payload bytes of the current frame still to come, and whether they are the load's.
    left: u64,
    passes: bool,
    /// Within a message of several frames: whether it is the load's.
    message: Option<bool>,
}

/// Where the connections of a thread are in their bytes.
#[derive(Debug)]
pub(crate) struct Sieves {
    asides: Arc<Asides>,
    by_slot: Vec<Sieve>,
}

/// What is to be done with the bytes that were looked at.
struct Judgement<'a> {
    /// So many of them belong together.
    len: usize,
    /// They, and so many bytes more, are the load's, or nobody's.
    left: u64,
    passes: bool,
    /// Whether further frames of the message are.
    message: Option<bool>,
    answer: Option<&'a [u8]>,
    /// Control frames amidst a message that does not pass.
    controls: Vec<u8>,
}

/// What a message is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind<'a> {
    Load,
    Ignored,
    Answered(&'a [u8]),
    /// More of it is needed.
    Open,
}

impl Asides {
    /// From the flags; `None` when every message is the load's.
    pub(crate) fn new(flags: &HandshakeArgs) -> Option<Self> {
        let mut asides = Self::default();
        for heartbeat in &flags.answer {
            let mut frame = Vec::new();
            let pong = heartbeat.pong.as_bytes();
            encode_client(&mut frame, Opcode::Text, pong, ANSWER_KEY);
            let ping = heartbeat.ping.clone().into_bytes();
            asides.answers.push((ping, frame));
        }
        asides.ignored = flags
            .ignore
            .iter()
            .map(|text| text.clone().into_bytes())
            .collect();
        let answers = asides.answers.iter().map(|(ping, _)| ping.len());
        let longest = answers.chain(asides.ignored.iter().map(Vec::len)).max();
        asides.longest = longest?;
        Some(asides)
    }

    /// What a message is that begins with `begin`; `whole`: and ends there.
    fn kind(&self, text: bool, begin: &[u8], whole: bool) -> Kind<'_> {
        let answers = || self.answers.iter().filter(|_| text);
        if whole && let Some((_, frame)) = answers().find(|(ping, _)| ping == begin) {
            return Kind::Answered(frame);
        }
        if !whole && answers().any(|(ping, _)| ping.starts_with(begin)) {
            return Kind::Open;
        }
        if self.ignored.iter().any(|start| begin.starts_with(start)) {
            return Kind::Ignored;
        }
        if !whole && self.ignored.iter().any(|start| start.starts_with(begin)) {
            return Kind::Open;
        }
        Kind::Load
    }
}

impl Sieves {
    /// For so many connections.
    pub(crate) fn new(asides: Arc<Asides>, slots: usize) -> Self {
        let mut by_slot = Vec::new();
        by_slot.resize_with(slots, Sieve::default);
        Self { asides, by_slot }
    }

    /// A new connection begins on this slot.
    pub(crate) fn begin(&mut self, slot: u32) {
        self.by_slot[slot as usize] = Sieve::default();
    }

    /// Takes in bytes of a connection and hands on what they are, in order.
    ///
    /// # Errors
    /// That of `take`, at once.
    pub(crate) fn sift<E>(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        mut take: impl FnMut(Sifted<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.by_slot[slot as usize].sift(bytes, &self.asides, &mut take)
    }
}

impl Sieve {
    fn sift<E>(
        &mut self,
        bytes: &mut [u8],
        asides: &Asides,
        take: &mut impl FnMut(Sifted<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // What lies between is the load's, and not handed on yet.
        let (mut from, mut at) = (0, 0);
        while at < bytes.len() {
            if self.left > 0 {
                let here = self.left.min((bytes.len() - at) as u64);
                self.left -= here;
                if !self.passes {
                    pass(&mut bytes[from..at], take)?;
                    from = at + here as usize;
                }
                at += here as usize;
                continue;
            }
            if !self.held.is_empty() {
                self.held.push(bytes[at]);
                at += 1;
                from = at;
                self.judge_held(asides, take)?;
                continue;
            }
            let Some(judgement) = self.judge(&bytes[at..], asides) else {
                self.held.extend_from_slice(&bytes[at..]);
                return pass(&mut bytes[from..at], take);
            };
            self.go_on_after(&judgement);
            if !judgement.passes {
                pass(&mut bytes[from..at], take)?;
                from = at + judgement.len;
                leave_out(judgement, take)?;
                at = from;
                continue;
            }
            at += judgement.len;
        }
        pass(&mut bytes[from..at], take)
    }

    /// Judges what is held back, when that is enough now.
    #[cold]
    fn judge_held<E>(
        &mut self,
        asides: &Asides,
        take: &mut impl FnMut(Sifted<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let Some(judgement) = self.judge(&self.held, asides) else {
            return Ok(());
        };
        let mut held = std::mem::take(&mut self.held);
        let mut rest = held.split_off(judgement.len);
        self.go_on_after(&judgement);
        if judgement.passes {
            pass(&mut held, take)?;
        } else {
            leave_out(judgement, take)?;
        }
        // There is more only where patience has ended.
        self.sift(&mut rest, asides, take)
    }

    fn go_on_after(&mut self, judgement: &Judgement<'_>) {
        self.left = judgement.left;
        self.passes = judgement.passes;
        self.message = judgement.message;
    }

    /// Judges bytes that begin with a frame. `None`: more of them are needed.
    fn judge<'a>(&self, bytes: &[u8], asides: &'a Asides) -> Option<Judgement<'a>> {
        let header = match Header::decode(bytes) {
            Ok(header) => header?,
            // Whoever reads the messages says what is wrong.
            Err(_) => return Some(Judgement::load(bytes.len(), u64::MAX, None)),
        };
        let len = usize::from(header.header_len);
        if header.opcode.is_control() {
            return Some(Judgement::load(len, header.payload_len, self.message));
        }
        let orphan = header.opcode == Opcode::Continuation || header.rsv != 0;
        if let Some(passes) = self.message.or(orphan.then_some(true)) {
            return Some(Judgement {
                passes,
                ..Judgement::load(len, header.payload_len, (!header.fin).then_some(passes))
            });
        }
        judge_message(bytes, header.opcode == Opcode::Text, asides)
    }
}

/// Judges bytes that begin with a message.
fn judge_message<'a>(bytes: &[u8], text: bool, asides: &'a Asides) -> Option<Judgement<'a>> {
    let (mut at, mut begin, mut controls) = (0, Cow::Borrowed(&[][..]), Vec::new());
    loop {
        let header = match Header::decode(&bytes[at..]) {
            Ok(header) => header?,
            Err(_) => return Some(Judgement::load(bytes.len(), u64::MAX, None)),
        };
        let body = at + usize::from(header.header_len);
        let here = header.payload_len.min((bytes.len() - body) as u64);
        let end = body + here as usize;
        let left = header.payload_len - here;
        if header.opcode.is_control() {
            if left > 0 {
                return None;
            }
            controls.extend_from_slice(&bytes[at..end]);
            at = end;
            continue;
        }
        if begin.is_empty() {
            begin = Cow::Borrowed(&bytes[body..end]);
        } else {
            begin.to_mut().extend_from_slice(&bytes[body..end]);
        }
        let mut kind = asides.kind(text, &begin, header.fin && left == 0);
        if kind == Kind::Open && bytes.len() > asides.longest + PATIENCE {
            kind = Kind::Load;
        }
        if kind != Kind::Open {
            let passes = kind == Kind::Load;
            return Some(Judgement {
                len: end,
                left,
                passes,
                message: (!header.fin).then_some(passes),
                answer: match kind {
                    Kind::Answered(frame) => Some(frame),
                    _ => None,
                },
                controls,
            });
        }
        if left > 0 {
            return None;
        }
        at = end;
    }
}

impl Judgement<'_> {
    /// The load's.
    fn load(len: usize, left: u64, message: Option<bool>) -> Self {
        Self {
            len,
            left,
            passes: true,
            message,
            answer: None,
            controls: Vec::new(),
        }
    }
}

fn pass<E>(bytes: &mut [u8], take: &mut impl FnMut(Sifted<'_>) -> Result<(), E>) -> Result<(), E> {
    if bytes.is_empty() {
        return Ok(());
    }
    take(Sifted::Load(bytes))
}

/// Hands on what is left of a message that is not the load's.
fn leave_out<E>(
    mut judgement: Judgement<'_>,
    take: &mut impl FnMut(Sifted<'_>) -> Result<(), E>,
) -> Result<(), E> {
    if let Some(frame) = judgement.answer {
        take(Sifted::Answer(frame))?;
    }
    pass(&mut judgement.controls, take)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::{Just, any, prop_assert_eq, prop_oneof, proptest};

    use super::*;

    fn asides() -> Asides {
        let flags = HandshakeArgs {
            answer: ["2=3", "ping=pong", "2probe=3probe"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
            ignore: vec!["42[\"notice".to_owned(), "pin".to_owned()],
            ..HandshakeArgs::default()
        };
        Asides::new(&flags).unwrap()
    }

    /// A frame as servers send it.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(len as u8),
            len => {
                frame.push(126);
                frame.extend((len as u16).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    fn text(payload: &str) -> Vec<u8> {
        frame(0x81, payload.as_bytes())
    }

    /// What passes, and how many answers of which payload there were, of a stream that comes in pieces.
    fn sifted(stream: &[u8], piece: usize) -> (Vec<u8>, Vec<String>) {
        let (asides, mut sieve) = (asides(), Sieve::default());
        let (mut passed, mut answers) = (Vec::new(), Vec::new());
        for bytes in stream.chunks(piece) {
            let mut take = |sifted: Sifted<'_>| {
                match sifted {
                    Sifted::Load(bytes) => passed.extend_from_slice(bytes),
                    Sifted::Answer(frame) => {
                        let payload = frame[6..].iter().zip(ANSWER_KEY.iter().cycle());
                        let payload = payload.map(|(byte, key)| byte ^ key).collect();
                        answers.push(String::from_utf8(payload).unwrap());
                    }
                }
                Ok::<(), ()>(())
            };
            sieve.sift(&mut bytes.to_vec(), &asides, &mut take).unwrap();
        }
        (passed, answers)
    }

    #[test]
    fn heartbeats_are_answered_and_left_out() {
        let stream = [
            text("2"),
            text("23"),
            text("2probe"),
            text("ping"),
            text("pong"),
        ]
        .concat();
        for piece in 1..=stream.len() {
            let (passed, answers) = sifted(&stream, piece);
            assert_eq!(passed, [text("23"), text("pong")].concat());
            assert_eq!(answers, ["3", "3probe", "pong"], "in pieces of {piece}");
        }
    }

    #[test]
    fn messages_that_begin_so_are_left_out() {
        let notice = text(&format!("42[\"notice{}", "x".repeat(300)));
        let stream = [
            &notice[..],
            &text("42[\"echo"),
            &text("pin"),
            &text("pings"),
        ]
        .concat();
        for piece in 1..=stream.len() {
            let (passed, answers) = sifted(&stream, piece);
            assert_eq!(passed, text("42[\"echo"), "in pieces of {piece}");
            assert!(answers.is_empty());
        }
    }

    #[test]
    fn binary_messages_are_no_heartbeats_but_may_be_ignored() {
        let stream = [frame(0x82, b"2"), frame(0x82, b"pin!")].concat();
        assert_eq!(sifted(&stream, 3), (frame(0x82, b"2"), Vec::new()));
    }

    #[test]
    fn fragments_are_judged_as_one_and_control_frames_pass() {
        let ping = frame(0x89, b"hi");
        let stream = [
            &frame(0x01, b"pi")[..],
            &ping,
            &frame(0x80, b"ng"),
            &frame(0x01, b""),
            &frame(0x00, b"42[\"not"),
            &ping,
            &frame(0x00, b"ice"),
            &ping,
            &frame(0x80, b"s"),
            &frame(0x01, b"p"),
            &ping,
            &frame(0x80, b"ost"),
        ]
        .concat();
        let left = [
            &ping[..],
            &ping,
            &ping,
            &frame(0x01, b"p"),
            &ping,
            &frame(0x80, b"ost"),
        ]
        .concat();
        for piece in 1..=stream.len() {
            let expected = (left.clone(), vec!["pong".to_owned()]);
            assert_eq!(sifted(&stream, piece), expected, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_against_the_rules_is_left_to_the_reader() {
        for wrong in [
            &b"\x83\x01x"[..],
            b"\x89\x7e\x00\x80",
            b"\x80\x01x",
            b"\xc1\x012",
        ] {
            let stream = [&text("2")[..], wrong, b"rest of it"].concat();
            for piece in 1..=stream.len() {
                let (passed, _) = sifted(&stream, piece);
                assert!(passed.starts_with(wrong), "{wrong:?}: {passed:?}");
            }
        }
    }

    #[test]
    fn frames_without_end_are_not_kept() {
        let stream = [frame(0x01, b"pi"), frame(0x00, b"").repeat(10_000)].concat();
        assert_eq!(sifted(&stream, 1).0.len(), stream.len());
    }

    #[test]
    fn nothing_to_leave_out_is_no_sieve() {
        assert!(Asides::new(&HandshakeArgs::default()).is_none());
    }

    proptest! {
        #[test]
        fn the_loads_messages_pass_as_they_are(
            messages in vec((prop_oneof![
                Just("2".to_owned()), Just("ping".to_owned()), Just("pinx".to_owned()), Just("42[\"notice!".to_owned()),
                "[2p4]{0,6}", "[a-z]{0,200}",
            ], any::<bool>(), 0_usize..4), 0..12),
            piece in 1_usize..40,
        ) {
            let (mut stream, mut passed, mut answers) = (Vec::new(), Vec::new(), Vec::new());
            for (message, binary, cut) in &messages {
                let cut = (*cut).min(message.len());
                let opcode = 1 + u8::from(*binary);
                let frames = if cut == 0 {
                    frame(0x80 | opcode, message.as_bytes())
                } else {
                    let (first, second) = message.as_bytes().split_at(cut);
                    [frame(opcode, first), frame(0x80, second)].concat()
                };
                stream.extend_from_slice(&frames);
                let answer = match message.as_str() {
                    "2" => Some("3"),
                    "ping" => Some("pong"),
                    "2probe" => Some("3probe"),
                    _ => None,
                };
                match answer.filter(|_| !binary) {
                    Some(answer) => answers.push(answer.to_owned()),
                    None if message.starts_with("pin") || message.starts_with("42[\"notice") => {}
                    None => passed.extend(frames),
                }
            }
            prop_assert_eq!(sifted(&stream, piece), (passed, answers));
        }
    }
}
