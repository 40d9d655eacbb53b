//! Messages in the forms in which connections get them: see [`super::compression`].

use bytes::Bytes;
use corecast_protocol::frame::{Header, Opcode};

use super::app::Message;
use super::batches::Slot;
use super::compression::Wire;
use super::hub::Hub;
use super::mailbox::Publication;
use super::output::Encoded;

/// How many of a topic's subscribers get messages in each form but the plain one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Forms {
    once: [u32; Wire::COMPRESSED_ONCE.len()],
    own: u32,
}

impl Forms {
    pub(crate) fn add(&mut self, wire: Wire) {
        if let Some(count) = self.of(wire) {
            *count += 1;
        }
    }

    pub(crate) fn remove(&mut self, wire: Wire) {
        if let Some(count) = self.of(wire) {
            *count -= 1;
        }
    }

    fn of(&mut self, wire: Wire) -> Option<&mut u32> {
        match wire {
            Wire::Plain => None,
            Wire::Own => Some(&mut self.own),
            _ => Some(&mut self.once[wire.place() - 1]),
        }
    }

    /// Whether all of them get messages as they are.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        *self == Self::default()
    }

    /// The forms in which messages are compressed for all who have them.
    pub(crate) fn compressed_once(self) -> impl Iterator<Item = Wire> {
        let forms = Wire::COMPRESSED_ONCE.into_iter();
        forms.filter(move |wire| self.once[wire.place() - 1] > 0)
    }
}

/// A frame with its parts.
pub(crate) struct Part<'a> {
    pub(crate) opcode: Opcode,
    pub(crate) payload: &'a [u8],
    pub(crate) frame: &'a [u8],
}

/// The frames of whole messages that lie back to back as a server sends them, each payload as it lies there.
pub(crate) fn parts(mut frames: &[u8]) -> impl Iterator<Item = Part<'_>> {
    std::iter::from_fn(move || {
        let header = Header::decode(frames).ok().flatten()?;
        let head = usize::from(header.header_len);
        let (frame, rest) = frames.split_at_checked(head + header.payload_len as usize)?;
        frames = rest;
        Some(Part {
            opcode: header.opcode,
            payload: &frame[head..],
            frame,
        })
    })
}

impl Hub {
    /// A message in a form that is the same for everybody, to be kept.
    pub(crate) fn frame(&mut self, wire: Wire, message: Message<'_>) -> Bytes {
        let (opcode, payload) = (message.opcode(), message.as_bytes());
        let (kind, payload) = self.compression.common(wire, opcode, payload);
        let len = corecast_protocol::server_header_len(payload.len()) + payload.len();
        let mut frame = Vec::with_capacity(len);
        corecast_protocol::encode_server(&mut frame, kind, payload);
        frame.into()
    }

    /// What another core or thread has encoded, in a form that is the same for everybody.
    pub(crate) fn published(&mut self, wire: Wire, publication: &Publication) -> Bytes {
        match wire {
            Wire::Plain | Wire::Own => publication.frames.clone(),
            Wire::Deflate => match publication.deflated.get() {
                Some(deflated) => deflated.clone(),
                None => {
                    let deflated = self.compressed(wire, &publication.frames);
                    // Another core may have been faster. None waits for the other.
                    let _ = publication.deflated.set(deflated.clone());
                    deflated
                }
            },
            Wire::DeflateSmall => self.compressed(wire, &publication.frames),
        }
    }

    /// Plain frames in a compressed form.
    pub(crate) fn compressed(&mut self, wire: Wire, frames: &[u8]) -> Bytes {
        let mut compressed = Vec::new();
        for part in parts(frames) {
            let (kind, payload) = self.compression.common(wire, part.opcode, part.payload);
            corecast_protocol::encode_server(&mut compressed, kind, payload);
        }
        compressed.into()
    }

    /// Gives a connection with a context of its own what a batch holds for it: compressed for it alone.
    pub(crate) fn give_own(&mut self, index: u32, slot: Slot, from: u32) {
        // A copy, since both lie in the turn's memory; beside compressing it that is nothing.
        let frames = self.output.batches.bytes_of(slot)[from as usize..].to_vec();
        self.give_own_frames(index, &frames);
    }

    /// Gives plain frames to a connection with a context of its own.
    pub(crate) fn give_own_frames(&mut self, index: u32, frames: &[u8]) {
        for part in parts(frames) {
            self.give_message(index, Wire::Own, part.opcode, part.payload);
        }
    }

    /// Gives a message to a connection that has no backlog, in a form.
    pub(crate) fn give_message(&mut self, index: u32, wire: Wire, opcode: Opcode, payload: &[u8]) {
        let (kind, payload) = self.compression.of(index, wire, opcode, payload);
        let pending = &mut self.conns[index].pending;
        self.output.push_frame(index, pending, kind, payload);
    }
}

/// Frames that are made when the first one needs them, in each of the forms that are the same for everybody.
#[derive(Default)]
pub(crate) struct EncodedForms([Option<Encoded>; Wire::COMMON]);

impl EncodedForms {
    pub(crate) fn get(&mut self, wire: Wire, encode: impl FnOnce() -> Encoded) -> Encoded {
        *self.0[wire.place()].get_or_insert_with(encode)
    }
}

/// The same for frames that are to be kept, each message by itself.
#[derive(Default)]
pub(crate) struct KeptForms([Option<Vec<Bytes>>; Wire::COMMON]);

impl KeptForms {
    pub(crate) fn get(&mut self, wire: Wire, make: impl FnOnce() -> Vec<Bytes>) -> &[Bytes] {
        self.0[wire.place()].get_or_insert_with(make)
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use corecast_protocol::deflate::Params;
    use flate2::{Decompress, FlushDecompress};

    use super::*;
    use crate::core::compression::Deflate;
    use crate::core::connection::State;
    use crate::core::fanout::{Content, PublishRequest};
    use crate::core::output::Received;
    use crate::core::{Config, Core, bare};
    use crate::transport::ring::Chunk;
    use crate::transport::socket::Socket;

    /// Nothing is sent out of receive buffers here.
    struct NoBuffers;

    impl Received for NoBuffers {
        fn bytes(&self, _: Chunk) -> &[u8] {
            unreachable!("nothing was received")
        }
    }

    fn core(deflate: Deflate) -> Core {
        bare::core(Config {
            deflate,
            ..Config::default()
        })
    }

    /// An open connection with whom this was agreed, if anything, subscribed to a topic.
    fn subscriber(core: &mut Core, params: Option<Params>) -> u32 {
        let (ours, _) = UnixStream::pair().expect("two sockets");
        let id = core.accept(Socket::Ring(OwnedFd::from(ours)));
        let index = id.expect("a place").index;
        core.hub.enter(index, State::Open);
        if let Some(params) = params {
            core.hub.conns[index].wire = Wire::agreed(&params);
            core.hub.compression.enter(index, &params);
        }
        assert!(core.hub.subscribe(index, "t"));
        index
    }

    fn params(server_context: bool, bits: u8) -> Option<Params> {
        Some(Params {
            server_no_context_takeover: !server_context,
            client_no_context_takeover: true,
            server_max_window_bits: bits,
            client_max_window_bits: 15,
        })
    }

    fn publish(core: &mut Core, text: &str) {
        let published = core.hub.publish(&PublishRequest {
            topic: "t",
            content: Content::Message(Message::Text(text)),
            key: None,
            except: None,
            retain: false,
        });
        assert_eq!(published.dropped, 0);
    }

    /// A turn's end: what each connection is sent.
    fn flush(core: &mut Core, indices: &[u32]) -> Vec<Vec<u8>> {
        core.hub.flush(std::time::Instant::now());
        let output = &core.hub.output;
        let sent = indices.iter().map(|&index| {
            let pending = core.hub.conns[index].pending;
            output
                .pieces(pending, &NoBuffers)
                .collect::<Vec<_>>()
                .concat()
        });
        let sent = sent.collect();
        core.end_turn();
        sent
    }

    /// A client that keeps one inflater over all messages, whether it has to or not.
    struct Client(Decompress);

    impl Client {
        fn new(bits: u8) -> Self {
            Self(Decompress::new_with_window_bits(false, bits))
        }

        /// The texts of some frames, and how many came compressed.
        fn read(&mut self, mut frames: &[u8]) -> (Vec<String>, usize) {
            let (mut texts, mut compressed) = (Vec::new(), 0);
            while let Some(header) = Header::decode(frames).expect("frames of our own") {
                let (head, rest) = frames.split_at(header.header_len.into());
                let (payload, rest) = rest.split_at(header.payload_len as usize);
                frames = rest;
                let text = match head[0] & 0x40 {
                    0 => payload.to_vec(),
                    _ => {
                        compressed += 1;
                        let ended = [payload, &[0, 0, 0xFF, 0xFF]].concat();
                        let mut text = Vec::with_capacity(1 << 20);
                        self.0
                            .decompress_vec(&ended, &mut text, FlushDecompress::Sync)
                            .expect("deflated data");
                        text
                    }
                };
                texts.push(String::from_utf8(text).expect("text"));
            }
            (texts, compressed)
        }
    }

    fn text(n: usize) -> String {
        format!(
            "message {n}: {}",
            "so it goes on and on ".repeat(10 + n % 90)
        )
    }

    #[test]
    fn every_form_says_the_same() {
        let mut core = core(Deflate::dedicated(12));
        let kinds = [None, params(false, 15), params(false, 9), params(true, 12)];
        let indices = kinds.map(|kind| subscriber(&mut core, kind));
        let mut clients = [15, 15, 9, 12].map(Client::new);
        for turn in 0..10 {
            let texts: Vec<_> = (turn * 10..turn * 10 + 10).map(text).collect();
            texts.iter().for_each(|text| publish(&mut core, text));
            let sent = flush(&mut core, &indices);
            for (at, client) in clients.iter_mut().enumerate() {
                let (read, compressed) = client.read(&sent[at]);
                assert_eq!(read, texts, "{:?}", kinds[at]);
                assert_eq!(compressed, if at == 0 { 0 } else { texts.len() });
            }
            assert!(sent[1].len() < sent[0].len() / 3);
            assert!(sent[3].len() < sent[1].len(), "it refers to earlier ones");
        }
    }

    #[test]
    fn what_others_are_sent_too_lies_in_memory_once() {
        let mut core = core(Deflate::shared());
        let indices = [(); 4].map(|()| subscriber(&mut core, params(false, 15)));
        publish(&mut core, &text(1));
        core.hub.flush(std::time::Instant::now());
        let first = indices.map(|index| {
            let pending = core.hub.conns[index].pending;
            let mut pieces = core.hub.output.pieces(pending, &NoBuffers);
            pieces.next().expect("a piece").as_ptr()
        });
        assert!(first.iter().all(|&piece| piece == first[0]));
    }

    #[test]
    fn who_subscribes_in_mid_batch_gets_the_rest_in_its_form() {
        let mut core = core(Deflate::shared());
        let early = subscriber(&mut core, params(false, 15));
        let plain = subscriber(&mut core, None);
        publish(&mut core, &text(1));
        publish(&mut core, &text(2));
        let late = subscriber(&mut core, params(false, 15));
        let small = subscriber(&mut core, params(false, 10));
        publish(&mut core, &text(3));
        let sent = flush(&mut core, &[early, plain, late, small]);
        let read = |at: usize| Client::new(15).read(&sent[at]).0;
        assert_eq!(read(0), [text(1), text(2), text(3)]);
        assert_eq!(read(0), read(1));
        assert_eq!(read(2), [text(3)]);
        assert_eq!(read(3), [text(3)]);
    }

    #[test]
    fn what_is_sent_alone_keeps_its_place_among_what_is_published() {
        let mut core = core(Deflate::dedicated(15));
        let indices = [params(false, 15), params(true, 15)].map(|p| subscriber(&mut core, p));
        for n in 0..3 {
            publish(&mut core, &text(2 * n));
            for &index in &indices {
                core.hub.send(index, Message::Text(&text(2 * n + 1)));
            }
        }
        let expected: Vec<_> = (0..6).map(text).collect();
        for sent in flush(&mut core, &indices) {
            assert_eq!(Client::new(15).read(&sent), (expected.clone(), 6));
        }
    }

    #[test]
    fn without_backlog_no_more_what_waited_may_have_been_dropped() {
        let mut core = core(Deflate::dedicated(15));
        let index = subscriber(&mut core, params(true, 15));
        let mut client = Client::new(15);
        publish(&mut core, &text(1));
        let before = flush(&mut core, &[index]);
        assert_eq!(client.read(&before[0]).0, [text(1)]);
        core.hub.conns[index].backlog = Some(Box::default());
        core.hub.becomes_slow(index);
        // Waits, and is thrown away.
        publish(&mut core, &text(2));
        let backlog = core.hub.conns[index].backlog.as_mut().expect("just now");
        assert_eq!(backlog.drop_oldest(1 << 20, 1 << 20), 1);
        core.hub.send(index, Message::Text(&text(3)));
        let backlog = core.hub.conns[index].backlog.as_mut().expect("just now");
        let waits = backlog.next_send().expect("what was not dropped");
        assert_eq!(client.read(&waits), (vec![text(3)], 1));
        core.hub.conns[index].backlog = None;
        core.hub.becomes_fast(index);
        publish(&mut core, &text(2));
        publish(&mut core, &text(3));
        let after = flush(&mut core, &[index]);
        assert_eq!(client.read(&after[0]), (vec![text(2), text(3)], 2));
    }

    #[test]
    fn mail_is_compressed_by_the_first_who_needs_it() {
        let mut core = core(Deflate::shared());
        let indices = [params(false, 15), None].map(|p| subscriber(&mut core, p));
        let texts = [text(1), text(2)];
        let frames = texts
            .iter()
            .map(|text| core.hub.frame(Wire::Plain, Message::Text(text)))
            .collect::<Vec<_>>();
        let publication = Publication {
            topic: "t".into(),
            frames: frames.concat().into(),
            deflated: Default::default(),
            key: None,
            retain: false,
        };
        core.hub.deliver_mail(&publication);
        let made = publication.deflated.get().expect("made here").clone();
        for sent in flush(&mut core, &indices) {
            assert_eq!(Client::new(15).read(&sent).0, texts);
        }
        // Who comes next takes it as it is.
        let publication = Arc::new(publication);
        core.hub.deliver_mail(&publication);
        let sent = flush(&mut core, &indices[..1]);
        assert_eq!(sent[0], made);
    }
}
