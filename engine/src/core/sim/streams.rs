//! Deflated data as the other side of a connection reads and writes it, by another library than the engine's own code.

use bytes::Bytes;
use corecast_protocol::deflate::Params;
use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::transport::ring::simulated::Dice;

/// What is left out at the end of each message (RFC 7692 §7.2.1).
pub(super) const TAIL: [u8; 4] = [0, 0, 0xFF, 0xFF];

/// Output of one call. References that reach further back than the window show where calls are short.
const STEP: usize = 512;

/// Reads what a server sends to one peer: one inflater for all messages, as clients have it.
pub(super) struct Reader {
    kept: Decompress,
    /// For messages that must refer to no other.
    alone: Decompress,
    context: bool,
    /// Messages that came compressed.
    pub(super) read: u64,
    pub(super) window_bits: u8,
}

impl Reader {
    pub(super) fn new(params: &Params) -> Self {
        let bits = params.server_max_window_bits;
        Self {
            kept: Decompress::new_with_window_bits(false, bits),
            alone: Decompress::new_with_window_bits(false, bits),
            context: !params.server_no_context_takeover,
            read: 0,
            window_bits: bits,
        }
    }

    pub(super) fn has_context(&self) -> bool {
        self.context
    }

    /// The message that this is, compressed.
    pub(super) fn read(&mut self, payload: &[u8]) -> Result<Bytes, String> {
        self.read += 1;
        let message = inflate(&mut self.kept, payload)?;
        if !self.context {
            self.must_stand_alone(payload, &message)?;
        }
        Ok(message)
    }

    /// Whoever has not got what came before can read it as well.
    pub(super) fn must_stand_alone(
        &mut self,
        payload: &[u8],
        message: &Bytes,
    ) -> Result<(), String> {
        self.alone.reset(false);
        match inflate(&mut self.alone, payload) {
            Ok(alone) if alone == message => Ok(()),
            other => Err(format!("a message refers to others: alone it is {other:?}")),
        }
    }
}

/// What a message is that stands alone.
pub(super) fn inflate_alone(payload: &[u8]) -> Result<Bytes, String> {
    inflate(&mut Decompress::new(false), payload)
}

fn inflate(inflater: &mut Decompress, payload: &[u8]) -> Result<Bytes, String> {
    let ended = [payload, &TAIL].concat();
    let mut rest = &ended[..];
    let mut message = Vec::new();
    loop {
        let mut step = [0; STEP];
        let (read, made) = (inflater.total_in(), inflater.total_out());
        let status = inflater
            .decompress(rest, &mut step, FlushDecompress::Sync)
            .map_err(|e| format!("{} bytes that cannot be inflated: {e}", payload.len()))?;
        rest = &rest[(inflater.total_in() - read) as usize..];
        let made = (inflater.total_out() - made) as usize;
        message.extend_from_slice(&step[..made]);
        match status {
            Status::StreamEnd => return Err("a final block: many readers end there".to_owned()),
            _ if rest.is_empty() && made < STEP => return Ok(message.into()),
            Status::BufError => return Err("deflated data that goes nowhere".to_owned()),
            Status::Ok => {}
        }
    }
}

/// Writes what a peer sends.
pub(super) struct Writer {
    deflater: Compress,
    context: bool,
    /// The next message refers to nothing.
    fresh: bool,
}

impl Writer {
    pub(super) fn new(params: &Params, dice: &mut Dice) -> Self {
        let level = Compression::new(dice.among(0..=9) as u32);
        // zlib has no window of eight bits, and its kind reads nine where eight are agreed.
        let bits = params.client_max_window_bits.max(9);
        Self {
            deflater: Compress::new_with_window_bits(level, false, bits),
            context: !params.client_no_context_takeover,
            fresh: true,
        }
    }

    /// A message compressed in one of the ways that are allowed.
    pub(super) fn write(&mut self, dice: &mut Dice, message: &[u8]) -> Vec<u8> {
        if !self.context && !self.fresh {
            self.deflater.reset();
        }
        self.fresh = false;
        let mut written = Vec::new();
        if message.is_empty() {
            // Nothing is flushed where there is nothing (§7.2.3.6).
            return vec![0];
        }
        let mut rest = message;
        if dice.one_in(4) {
            let (part, after) = message.split_at(dice.among(1..=message.len()));
            self.append(part, FlushCompress::Sync, &mut written);
            rest = after;
        }
        if rest.is_empty() {
            written.truncate(written.len() - TAIL.len());
        } else if dice.one_in(6) {
            // §7.2.3.4: a final block, and an empty one behind it.
            self.append(rest, FlushCompress::Finish, &mut written);
            written.push(0);
            self.deflater.reset();
            self.fresh = true;
        } else {
            self.append(rest, FlushCompress::Sync, &mut written);
            assert!(written.ends_with(&TAIL), "a sync flush");
            written.truncate(written.len() - TAIL.len());
        }
        written
    }

    fn append(&mut self, mut rest: &[u8], flush: FlushCompress, written: &mut Vec<u8>) {
        loop {
            let room = rest.len() + rest.len() / 8 + 100;
            written.reserve(room);
            let read = self.deflater.total_in();
            let status = self.deflater.compress_vec(rest, written, flush);
            let status = status.expect("room, and something to do");
            rest = &rest[(self.deflater.total_in() - read) as usize..];
            let has_room = written.len() < written.capacity();
            if rest.is_empty() && (has_room || status == Status::StreamEnd) {
                return;
            }
        }
    }
}
