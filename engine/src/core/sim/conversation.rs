//! What each side of a connection may expect of the other, and a reader of the server's bytes that knows nothing of
//! the engine's.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use corecast_protocol::deflate::Params;

use super::admission::Standing;
use super::answer::refusal;
use super::awaited::{Accepted, Awaited, Said};
use super::compressing::Form;
use super::streams::{Reader, inflate_alone};
use super::topics::FILTERS;
use crate::core::config::SlowPolicy;
use crate::core::hub::Hub;

/// A ping of the peer's.
#[derive(Debug)]
pub(super) struct Ping {
    pub(super) payload: Bytes,
    /// Where it ends among all bytes that the peer says.
    pub(super) end: u64,
    /// There was a backlog when the server had received it, so that a later one may be answered in its place.
    skippable: bool,
    /// Its pong may have been dropped.
    optional: bool,
}

impl Ping {
    pub(super) fn new(payload: Vec<u8>, end: u64) -> Self {
        Self {
            payload: payload.into(),
            end,
            skippable: false,
            optional: false,
        }
    }
}

/// What a peer asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Head {
    #[default]
    Whole,
    /// Its end never comes.
    CutOff,
    Garbled,
    TooLong,
}

/// One connection, as an omniscient observer sees it.
#[derive(Default)]
pub(super) struct Conversation {
    /// When it was accepted, since the start.
    pub(super) accepted: Option<Duration>,
    pub(super) standing: Standing,
    pub(super) head: Head,
    /// Its head has had as much time as heads are given.
    pub(super) overdue: bool,
    /// The application panicked at its request.
    pub(super) request_failed: bool,
    /// The peer's messages that the application has not been given.
    pub(super) to_application: VecDeque<Said>,
    /// The application's messages that were accepted and that the kernel has not taken.
    pub(super) to_peer: Awaited,
    /// What it is subscribed to while it is open, by number.
    pub(super) filters: BTreeSet<usize>,
    /// The largest limit of its own that its backlog has had.
    pub(super) backlog_limit: usize,
    /// Its own policy, if the application has set one.
    pub(super) policy: Option<SlowPolicy>,
    /// Pings of the peer that were not answered, and of the application that were not sent.
    pub(super) pings_of_peer: VecDeque<Ping>,
    pub(super) pings_of_application: VecDeque<Bytes>,
    /// What the server has answered on its own.
    pub(super) refused_with: Option<u16>,
    /// The response that the application has written.
    pub(super) response: Option<Bytes>,
    pub(super) opened: bool,
    pub(super) closed: bool,
    /// With which `close` told of the end.
    pub(super) code: u16,
    /// The application, or the server on its own, has begun to close it.
    pub(super) ended_by_server: bool,
    /// The `drain` callback has to come, or `close`.
    pub(super) owed_drain: bool,
    /// Pings that a pong to a later one answered as well.
    pub(super) skipped: u64,
    /// There was a backlog after the last turn.
    pub(super) slow: bool,
    /// When the first of what was taken in this turn had to go out.
    pub(super) due: Option<Duration>,
    /// What was agreed of compression, and in which form it gets messages.
    pub(super) agreed: Option<Params>,
    pub(super) form: Form,
    /// The code with which the server has to fail what the peer says last.
    pub(super) deserves: Option<u16>,
    reader: Option<Reader>,
    wire: Wire,
}

impl fmt::Debug for Conversation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Conversation")
            .field("head", &self.head)
            .field("standing", &self.standing)
            .field("request_failed", &self.request_failed)
            .field("refused_with", &self.refused_with)
            .field("to_application", &self.to_application.len())
            .field("to_peer", &self.to_peer)
            .field("pings_of_peer", &self.pings_of_peer.len())
            .field("pings_of_application", &self.pings_of_application.len())
            .field("owed_drain", &self.owed_drain)
            .field("unread", &self.wire.unread.len())
            .finish_non_exhaustive()
    }
}

/// How far the server's bytes have been read.
#[derive(Default)]
struct Wire {
    unread: BytesMut,
    reached: Reached,
    /// A Close frame went out: nothing may follow.
    closed: bool,
    /// Messages of other cores that came by, in their order, of each source.
    mail: HashMap<Source, usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reached {
    #[default]
    Answer,
    Frames,
    /// The connection was refused: nothing may follow.
    End,
}

/// What other cores and threads have published, to which topic, and who has.
pub(super) type Mailed = Vec<(Source, Bytes)>;

/// A topic, and who publishes to it: a core, or a thread. Only what they have in common keeps its order.
pub(super) type Source = (usize, Option<usize>);

impl Conversation {
    pub(super) fn new(head: Head) -> Self {
        Self {
            head,
            ..Self::default()
        }
    }

    /// This was agreed of compression.
    pub(super) fn agree(&mut self, params: Params) {
        self.agreed = Some(params);
        self.form = Form::agreed(&params);
        self.reader = Some(Reader::new(&params));
    }

    /// How many messages it was sent compressed, and how.
    pub(super) fn compressed(&self) -> Option<(&'static str, u64)> {
        let reader = self.reader.as_ref().filter(|reader| reader.read > 0)?;
        let how = match (reader.has_context(), reader.window_bits) {
            (true, _) => "compressed for one peer",
            (false, 15) => "compressed for all",
            (false, _) => "compressed for all with a small window",
        };
        Some((how, reader.read))
    }

    /// Whether it gets what is published to a topic.
    pub(super) fn receives(&self, topic: usize) -> bool {
        let mut filters = self.filters.iter();
        filters.any(|&filter| FILTERS[filter].1[topic])
    }

    /// Whether all that was accepted is on its way, to the last byte.
    pub(super) fn is_complete(&self) -> bool {
        let answer_is_out = self.response.is_none() || self.is_answered();
        self.to_peer.is_complete() && self.wire.unread.is_empty() && answer_is_out
    }

    /// Whether the whole answer to the peer's request is on its way.
    pub(super) fn is_answered(&self) -> bool {
        self.wire.reached != Reached::Answer
    }

    /// Whether everything that was said to either side has arrived, control frames included.
    pub(super) fn is_settled(&self) -> bool {
        let answered = self.pings_of_peer.iter().all(|ping| ping.optional);
        let pings = answered && self.pings_of_application.is_empty();
        self.is_complete() && self.to_application.is_empty() && pings && !self.owed_drain
    }

    /// Nothing is buffered for the peer: all that was accepted has been taken, or was thrown away.
    pub(super) fn settle(&mut self) -> Result<(), String> {
        if self.to_peer.is_flooded() {
            self.pings_of_application.clear();
        }
        if !self.is_complete() || !self.pings_of_application.is_empty() {
            return Err(format!("nothing is buffered: {self:?}"));
        }
        self.to_peer.settle()
    }

    /// Messages of so many bytes were thrown away for a later one; `count` is how many, if that is known. If more
    /// control frames waited than are kept then, some of them may be among those bytes.
    pub(super) fn lose(&mut self, hub: &Hub, index: u32, bytes: usize, count: Option<u64>) {
        self.to_peer.lose(bytes, count);
        let backlog = hub.conns[index].backlog.as_ref();
        if backlog.is_some_and(|backlog| backlog.is_flooded()) {
            self.to_peer.flood();
            for ping in &mut self.pings_of_peer {
                ping.optional = true;
            }
        }
    }

    /// A message was queued in a backlog, which has grown by so many bytes. Whether it took the place of the last one of
    /// its key: within a turn it has to, since nothing is committed, unless that one may have been thrown away.
    pub(super) fn queue(
        &mut self,
        accepted: Accepted,
        grown: isize,
        drops: bool,
    ) -> Result<bool, String> {
        let len = accepted.len as isize;
        let latest = accepted.key.and_then(|key| self.to_peer.latest(key));
        match (accepted.key, latest) {
            (Some(key), Some(latest)) if grown == len - latest.len as isize => {
                self.to_peer.replace(key, accepted);
                Ok(true)
            }
            (_, Some(latest)) if latest.turn == accepted.turn && !drops => {
                Err(format!("{:?} was not replaced", latest.said))
            }
            _ if grown == len => {
                self.to_peer.push(accepted);
                Ok(false)
            }
            _ => Err(format!("{len} bytes, and it has grown by {grown}")),
        }
    }

    /// Checks bytes that the kernel has taken for the peer.
    pub(super) fn on_wire(&mut self, bytes: &[u8], mailed: &Mailed) -> Result<(), String> {
        self.wire.unread.extend_from_slice(bytes);
        if self.wire.reached == Reached::Answer {
            self.pass_answer()?;
        }
        match self.wire.reached {
            Reached::Answer => return Ok(()),
            Reached::End => return self.nothing_follows(),
            Reached::Frames => {}
        }
        while let Some(frame) = next_frame(&mut self.wire.unread)? {
            self.on_frame(frame, mailed)?;
        }
        Ok(())
    }

    /// There is a backlog.
    pub(super) fn note_backlog(&mut self, received: u64) {
        self.to_peer.wait_for_peer();
        self.note_pings(received);
    }

    /// There is a backlog, or was one when the turn began, and the server has received so many bytes.
    pub(super) fn note_pings(&mut self, received: u64) {
        let pings = self.pings_of_peer.iter_mut();
        for ping in pings.take_while(|ping| ping.end <= received) {
            ping.skippable = true;
        }
    }

    /// Goes past the answer to the request if all of it is there.
    fn pass_answer(&mut self) -> Result<(), String> {
        let unread = &self.wire.unread;
        let len = match &self.response {
            Some(response) => {
                let common = unread.len().min(response.len());
                if unread[..common] != response[..common] {
                    return Err(format!("not the response: {:?}", &unread[..common.min(64)]));
                }
                (common == response.len()).then_some(common)
            }
            None => {
                let refusal = refusal(unread)?;
                self.refused_with = refusal.map(|(status, _)| status);
                refusal.map(|(_, len)| len)
            }
        };
        if self
            .refused_with
            .is_some_and(|status| !self.may_be_refused(status))
        {
            return Err(format!("not to be refused so: {self:?}"));
        }
        if let Some(len) = len {
            self.wire.unread.advance(len);
            self.wire.reached = match self.opened {
                true => Reached::Frames,
                false => Reached::End,
            };
        }
        Ok(())
    }

    /// Whether the server may answer this status on its own.
    fn may_be_refused(&self, status: u16) -> bool {
        let whole = self.head == Head::Whole;
        match status {
            400 => self.head == Head::Garbled,
            408 => self.overdue,
            429 => whole && self.standing == Standing::Limited,
            431 => self.head == Head::TooLong,
            500 => whole && self.request_failed,
            503 => whole && self.standing == Standing::Surplus,
            _ => false,
        }
    }

    fn nothing_follows(&self) -> Result<(), String> {
        let unread = &self.wire.unread;
        match unread.is_empty() {
            true => Ok(()),
            false => Err(format!(
                "{} bytes behind a refusal: {:?}",
                unread.len(),
                &unread[..unread.len().min(64)]
            )),
        }
    }

    fn on_frame(&mut self, frame: Frame, mailed: &Mailed) -> Result<(), String> {
        let Frame {
            opcode, payload, ..
        } = frame;
        if self.wire.closed {
            return Err(format!("a frame of opcode {opcode} after a Close frame"));
        }
        match opcode {
            1 | 2 if frame.compressed => self.on_compressed(opcode == 1, &payload, mailed),
            _ if frame.compressed => Err(format!("opcode {opcode} with RSV1")),
            1 | 2 => {
                let said = Said {
                    text: opcode == 1,
                    payload,
                };
                self.on_message(said, mailed).map(drop)
            }
            8 => {
                self.wire.closed = true;
                match self.to_peer.is_complete() {
                    true => Ok(()),
                    false => Err(format!("a Close frame before all else: {self:?}")),
                }
            }
            9 if payload.is_empty() => Ok(()),
            9 => self.on_ping(&payload),
            10 => self.on_pong(&payload),
            _ => Err(format!("opcode {opcode}")),
        }
    }

    fn on_ping(&mut self, payload: &Bytes) -> Result<(), String> {
        loop {
            match self.pings_of_application.pop_front() {
                Some(expected) if expected == payload => return Ok(()),
                Some(_) if self.to_peer.is_flooded() => {}
                other => return Err(format!("a ping out of order: {payload:?} for {other:?}")),
            }
        }
    }

    /// A pong answers the next ping. Where there was a backlog it may be the latest of several (§5.5.3).
    fn on_pong(&mut self, payload: &Bytes) -> Result<(), String> {
        loop {
            match self.pings_of_peer.pop_front() {
                Some(ping) if ping.payload == payload => return Ok(()),
                Some(ping) if ping.skippable || ping.optional => self.skipped += 1,
                Some(ping) => return Err(format!("a pong {payload:?} and none to {ping:?}")),
                None => return Err(format!("a pong to no ping: {payload:?}")),
            }
        }
    }

    fn on_compressed(
        &mut self,
        text: bool,
        compressed: &[u8],
        mailed: &Mailed,
    ) -> Result<(), String> {
        let Some(reader) = &mut self.reader else {
            return Err("RSV1, and nothing was agreed".to_owned());
        };
        let payload = reader.read(compressed)?;
        let said = Said {
            text,
            payload: payload.clone(),
        };
        let accepted = self.on_message(said, mailed)?;
        match &mut self.reader {
            // Others may have been dropped around it.
            Some(reader) if accepted.is_some_and(|accepted| accepted.alone) => {
                reader.must_stand_alone(compressed, &payload)
            }
            _ => Ok(()),
        }
    }

    /// Gives what is known of a message that was to come.
    fn on_message(&mut self, said: Said, mailed: &Mailed) -> Result<Option<Accepted>, String> {
        if let Some(accepted) = self.to_peer.arrive(&said) {
            self.due = self.due.into_iter().chain(accepted.due).min();
            return Ok(Some(accepted));
        }
        let came_by = &mut self.wire.mail;
        let number = mailed
            .iter()
            .position(|(_, payload)| *payload == said.payload);
        if let Some(number) = number {
            // Mail is numbered, so a payload is one message.
            let came_by = came_by.entry(mailed[number].0).or_default();
            if number >= *came_by {
                *came_by = number + 1;
                return Ok(None);
            }
        }
        Err(format!(
            "a message that is not the next one: {said:?} instead of {:?}",
            self.to_peer
        ))
    }
}

/// The messages that are whole frames one behind the other, none of them compressed.
pub(super) fn messages(frames: &[u8]) -> Vec<Said> {
    let frames = whole_frames(frames).expect("frames of a server");
    let said = frames.into_iter().map(|frame| {
        assert!(!frame.compressed, "it is for those who cannot inflate, too");
        Said {
            text: frame.opcode == 1,
            payload: frame.payload,
        }
    });
    said.collect()
}

/// The same of frames that may be compressed, each by itself.
pub(super) fn compressed_messages(frames: &[u8]) -> Result<Vec<Said>, String> {
    let said = whole_frames(frames)?.into_iter().map(|frame| {
        let payload = match frame.compressed {
            true => inflate_alone(&frame.payload)?,
            false => frame.payload,
        };
        Ok(Said {
            text: frame.opcode == 1,
            payload,
        })
    });
    said.collect()
}

fn whole_frames(frames: &[u8]) -> Result<Vec<Frame>, String> {
    let mut unread = BytesMut::from(frames);
    let mut whole = Vec::new();
    while let Some(frame) = next_frame(&mut unread)? {
        whole.push(frame);
    }
    match unread.is_empty() {
        true => Ok(whole),
        false => Err("a part of a frame".to_owned()),
    }
}

/// A whole message or control frame of a server's.
struct Frame {
    opcode: u8,
    compressed: bool,
    payload: Bytes,
}

/// The frame at the front, if all of it is there. A server's frames are whole messages, unmasked, without reserved bits but
/// the one that says it is compressed, and their lengths take the shortest form (RFC 6455 §5.1, §5.2).
fn next_frame(unread: &mut BytesMut) -> Result<Option<Frame>, String> {
    let &[first, second, ..] = &unread[..] else {
        return Ok(None);
    };
    if first & 0xB0 != 0x80 || second & 0x80 != 0 {
        return Err(format!("not a server's frame: {first:#04x} {second:#04x}"));
    }
    let (header, len) = match second {
        126 => match unread[2..].first_chunk() {
            Some(&bytes) => (4, u64::from(u16::from_be_bytes(bytes))),
            None => return Ok(None),
        },
        127 => match unread[2..].first_chunk() {
            Some(&bytes) => (10, u64::from_be_bytes(bytes)),
            None => return Ok(None),
        },
        short => (2, u64::from(short)),
    };
    let shortest = match len {
        0..=125 => 2,
        126..=0xFFFF => 4,
        _ => 10,
    };
    if header != shortest {
        return Err(format!("{len} bytes in a header of {header}"));
    }
    if ((unread.len() - header) as u64) < len {
        return Ok(None);
    }
    unread.advance(header);
    Ok(Some(Frame {
        opcode: first & 0x0F,
        compressed: first & 0x40 != 0,
        payload: unread.split_to(len as usize).freeze(),
    }))
}
