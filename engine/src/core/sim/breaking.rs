//! What peers say that breaks the rules.

use corecast_protocol::frame::RSV1;
use corecast_protocol::{FrameKind, Opcode, encode_client};
use flate2::{Compress, Compression, FlushCompress};

use super::streams::TAIL;
use crate::transport::ring::simulated::Dice;

/// Says something that a server must not take. `compressed` is whether compression was agreed, if the peer knows it, and
/// `most` what a message may have. Gives the close code that it deserves, where there is one alone.
pub(super) fn break_rules(
    dice: &mut Dice,
    compressed: Option<bool>,
    most: usize,
    outbox: &mut Vec<u8>,
) -> Option<u16> {
    if compressed == Some(true) && !dice.one_in(4) {
        return Some(break_compression(dice, most, outbox));
    }
    // Whether the first of them breaks any is not known before the response.
    let first = usize::from(compressed != Some(false));
    outbox.extend_from_slice(BROKEN[dice.among(first..=BROKEN.len() - 1)]);
    None
}

/// Data that cannot be inflated or becomes too much, or RSV1 where it must not be (RFC 7692 §6).
fn break_compression(dice: &mut Dice, most: usize, outbox: &mut Vec<u8>) -> u16 {
    let key = (dice.bits() as u32).to_be_bytes();
    let compressed = |opcode: Opcode| FrameKind {
        rsv: RSV1,
        ..opcode.into()
    };
    match dice.among(0..=3) {
        0 => {
            encode_client(outbox, compressed(Opcode::Ping), b"", key);
            1002
        }
        1 => {
            encode_client(outbox, Opcode::Text.unfinished(), b"as it is", key);
            encode_client(outbox, compressed(Opcode::Continuation), &[0], key);
            1002
        }
        _ => {
            let (payload, code) = broken(dice, most);
            encode_client(outbox, compressed(Opcode::Text), &payload, key);
            code
        }
    }
}

/// Something compressed that a server must not take, with the close code that it deserves: a first frame's payload. `most`
/// is what a message may have.
fn broken(dice: &mut Dice, most: usize) -> (Vec<u8>, u16) {
    let mut deflater = Compress::new(Compression::new(6), false);
    let mut writer = |message: &[u8]| {
        let mut written = Vec::with_capacity(message.len() + 100);
        let written_all = deflater.compress_vec(message, &mut written, FlushCompress::Sync);
        written_all.expect("a new stream takes any");
        written
    };
    // There is no such kind of block.
    let corrupt = [0b111];
    match dice.among(0..=3) {
        0 => (corrupt.to_vec(), 1007),
        1 => ([&writer(b"well so far")[..], &corrupt].concat(), 1007),
        2 => {
            let written = writer(b"\xc0\x80");
            (written[..written.len() - TAIL.len()].to_vec(), 1007)
        }
        _ => {
            let bomb = vec![0; most + 1 + dice.up_to(4 * most)];
            let written = writer(&bomb);
            (written[..written.len() - TAIL.len()].to_vec(), 1009)
        }
    }
}

/// What breaks the protocol: a reserved bit (unless compression was agreed), no mask, reserved opcode, a ping without FIN, a continuation of nothing,
/// bad UTF-8, a length with its top bit set, a Close frame of one byte.
const BROKEN: &[&[u8]] = &[
    b"\xc1\x80\0\0\0\0",
    b"\x81\x01x",
    b"\x83\x80\0\0\0\0",
    b"\x09\x80\0\0\0\0",
    b"\x80\x80\0\0\0\0",
    b"\x81\x82\0\0\0\0\xc0\x80",
    b"\x82\xff\xff\0\0\0\0\0\0\0\0\0\0\0",
    b"\x88\x81\0\0\0\0x",
];
