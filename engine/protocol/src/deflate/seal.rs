//! Turns a finished stream into one that goes on.
//!
//! A compressor of whole streams marks its last block as final (RFC 1951 §3.2.3). RFC 7692 §7.2.3.4 allows that, but
//! receivers that keep one inflater over messages stop at such a block. So the mark is taken off, and the
//! header of an empty stored block set behind the stream, as if it had been flushed: with the four bytes of §7.2.1
//! it is complete, and whole bytes again.
//!
//! That takes to know where the stream ends, to the bit. Its last symbol is the end of its block, and
//! zeros fill the last byte. When that symbol's code has a one in it, the last one of the stream is that one. The code is
//! in the block's header, so of a dynamic block no more than the header has to be read.

use super::bits::Bits;

/// The order in which a dynamic block lists the lengths of the codes for code lengths (RFC 1951 §3.2.7).
const LENGTHS_ORDER: [usize; 19] = [
    16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15,
];

/// The codes for code lengths have at most so many bits.
const MAX_LENGTHS_CODE: usize = 7;

/// Codes for literals and lengths have at most so many bits.
const MAX_CODE: usize = 15;

/// What stands for the length before it, in the list of lengths.
const AS_BEFORE: usize = 16;

const END_OF_BLOCK: usize = 256;

/// Makes the finished stream that begins at `start` one that goes on: append `00 00 ff ff`, and the next block may
/// follow. It may get one byte longer.
///
/// `false`, and nothing is changed, when that cannot be told without reading more than a block's header: the stream
/// has several blocks, or the end of the block has a code of zeros alone.
///
/// The stream must be one of RFC 1951 whose last byte is filled up with zeros. Any other bytes may be taken for one, and do
/// no harm.
pub fn seal(out: &mut Vec<u8>, start: usize) -> bool {
    let Some(end) = out.get(start..).and_then(end_of_only_block) else {
        return false;
    };
    // Not final any more.
    out[start] &= !1;
    // The next block's header takes three bits, all zero as the filling is.
    if end.next_multiple_of(8) - end < 3 {
        out.push(0);
    }
    true
}

/// Where the only block of a stream ends, in bits.
fn end_of_only_block(stream: &[u8]) -> Option<usize> {
    let mut bits = Bits::new(stream);
    let is_final = bits.take(1)? == 1;
    if !is_final {
        return None;
    }
    let end = match bits.take(2)? {
        0b00 => end_of_stored(stream),
        0b01 => end_of_static(stream, bits),
        0b10 => end_of_dynamic(stream, bits),
        _ => None,
    }?;
    // What follows is the filling of the last byte.
    (end.div_ceil(8) == stream.len()).then_some(end)
}

/// RFC 1951 §3.2.4: the rest of the header's byte, the length and its complement, as many bytes.
fn end_of_stored(stream: &[u8]) -> Option<usize> {
    let length = u16::from_le_bytes(stream.get(1..3)?.try_into().ok()?);
    Some((5 + usize::from(length)) * 8)
}

/// RFC 1951 §3.2.6. The end of the block is zeros alone there, but such blocks are short: reads them to their end.
fn end_of_static(stream: &[u8], mut bits: Bits<'_>) -> Option<usize> {
    loop {
        let code = bits.peek_code(8);
        let (length, symbol) = match code {
            0x00..0x30 => (7, 256 + (code >> 1)),
            0x30..0xc0 => (8, 0),
            0xc0..0xc8 => (8, 280 + (code - 0xc0)),
            _ => (9, 0),
        };
        bits.skip(length)?;
        let extra = match symbol {
            0 => continue,
            256 => return Some(stream.len() * 8 - bits.left()),
            257..=264 | 285 => 0,
            265..=284 => (symbol - 261) / 4,
            _ => return None,
        };
        bits.skip(extra as usize)?;
        let distance = bits.peek_code(5);
        let extra = match distance {
            0..=3 => 0,
            4..=29 => distance / 2 - 1,
            _ => return None,
        };
        bits.skip(5)?;
        bits.skip(extra as usize)?;
    }
}

/// RFC 1951 §3.2.7. The last one of the stream lies in the last symbol, the end of the block.
fn end_of_dynamic(stream: &[u8], mut bits: Bits<'_>) -> Option<usize> {
    let (code, length) = end_of_block_code(&mut bits)?;
    if code == 0 {
        return None;
    }
    let last = stream.iter().rposition(|&byte| byte != 0)?;
    let last_one = last * 8 + stream[last].ilog2() as usize;
    let end = last_one + 1 + code.trailing_zeros() as usize;
    // If it is there, whoever wrote the stream did so by the same rules, and filled it up with zeros.
    let begin = end.checked_sub(length)?;
    let mut tail = Bits::new(&stream[begin / 8..]);
    tail.skip(begin % 8)?;
    (tail.peek_code(length) == code).then_some(end)
}

/// The code of the end of a dynamic block, and how many bits it has. Reads the header from behind its type.
fn end_of_block_code(bits: &mut Bits<'_>) -> Option<(u32, usize)> {
    let symbols = bits.take(5)? as usize + 257;
    let _distances = bits.take(5)?;
    let listed = bits.take(4)? as usize + 4;
    let mut lengths = [0; LENGTHS_ORDER.len()];
    for &symbol in &LENGTHS_ORDER[..listed] {
        lengths[symbol] = bits.take(3)? as u8;
    }
    let codes = LengthCodes::new(&lengths)?;

    // How many symbols have codes of each length; and of those before the end of the block.
    let mut counts = [0; MAX_CODE + 1];
    let mut before = [0; MAX_CODE + 1];
    let mut end_length = 0;
    // There is none before the first.
    let mut previous = AS_BEFORE;
    let mut symbol = 0;
    while symbol < symbols {
        let (length, run) = codes.read(bits, previous)?;
        if length == AS_BEFORE {
            return None;
        }
        previous = length;
        // A run may go on into the lengths of the distances.
        let run = run.min(symbols - symbol);
        if (symbol..symbol + run).contains(&END_OF_BLOCK) {
            end_length = length;
            before[length] += END_OF_BLOCK - symbol;
        } else if symbol < END_OF_BLOCK {
            before[length] += run;
        }
        counts[length] += run;
        symbol += run;
    }
    canonical(&counts, before[end_length], end_length)
}

/// The code of the symbol that has `before` others of its length before it (RFC 1951 §3.2.2), and its length.
fn canonical(counts: &[usize; MAX_CODE + 1], before: usize, length: usize) -> Option<(u32, usize)> {
    if length == 0 {
        return None;
    }
    let first = (1..length).fold(0, |code, shorter| (code + counts[shorter]) << 1);
    Some(((first + before) as u32, length))
}

/// The codes for code lengths, by the next seven bits of the stream.
struct LengthCodes {
    table: [LengthCode; 1 << MAX_LENGTHS_CODE],
}

/// One code. All kinds are read in the same way: which one comes next cannot be foreseen, and a wrong guess takes the
/// processor longer than the work.
#[derive(Debug, Clone, Copy)]
struct LengthCode {
    /// How many bits it has: 0 where there is no such code.
    bits: u8,
    /// How many more say how often the length comes, beyond `times`.
    more: u8,
    times: u8,
    /// The length, or [`AS_BEFORE`].
    length: u8,
}

impl LengthCode {
    const NONE: Self = Self {
        bits: 0,
        more: 0,
        times: 0,
        length: 0,
    };

    const fn new(symbol: usize, bits: u8) -> Self {
        let (length, times, more) = match symbol {
            16 => (AS_BEFORE as u8, 3, 2),
            17 => (0, 3, 3),
            18 => (0, 11, 7),
            length => (length as u8, 1, 0),
        };
        Self {
            bits,
            more,
            times,
            length,
        }
    }
}

impl LengthCodes {
    /// `None` when more codes are asked for than there are.
    fn new(lengths: &[u8; LENGTHS_ORDER.len()]) -> Option<Self> {
        let mut counts = [0; MAX_LENGTHS_CODE + 1];
        for &length in lengths {
            counts[usize::from(length)] += 1;
        }
        // The next code of each length (RFC 1951 §3.2.2).
        let mut next = [0u32; MAX_LENGTHS_CODE + 1];
        for length in 1..=MAX_LENGTHS_CODE {
            let shorter = if length > 1 { counts[length - 1] } else { 0 };
            next[length] = (next[length - 1] + shorter) << 1;
            if next[length] + counts[length] > 1 << length {
                return None;
            }
        }
        let mut table = [LengthCode::NONE; 1 << MAX_LENGTHS_CODE];
        for (symbol, &length) in lengths.iter().enumerate() {
            if length == 0 {
                continue;
            }
            // Codes come with their first bit lowest.
            let code = next[usize::from(length)].reverse_bits() >> (32 - u32::from(length));
            next[usize::from(length)] += 1;
            for place in (code as usize..table.len()).step_by(1 << length) {
                table[place] = LengthCode::new(symbol, length);
            }
        }
        Some(Self { table })
    }

    /// The next length, and how often it comes.
    #[inline]
    fn read(&self, bits: &mut Bits<'_>, previous: usize) -> Option<(usize, usize)> {
        let next = bits.peek(MAX_LENGTHS_CODE + 7);
        let code = self.table[next as usize % self.table.len()];
        if code.bits == 0 {
            return None;
        }
        bits.skip(usize::from(code.bits + code.more))?;
        let more = (next >> code.bits) & ((1 << code.more) - 1);
        let length = usize::from(code.length);
        let length = if length == AS_BEFORE {
            previous
        } else {
            length
        };
        Some((length, usize::from(code.times) + more as usize))
    }
}

#[cfg(test)]
mod tests;
