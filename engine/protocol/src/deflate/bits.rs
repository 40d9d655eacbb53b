//! Bits in the order of RFC 1951 §3.1.1: the lowest of a byte comes first.

/// A place in a stream.
#[derive(Debug, Clone)]
pub(super) struct Bits<'s> {
    /// What is not in the buffer yet.
    rest: &'s [u8],
    /// The next bits of the stream, and zeros behind them.
    buffer: u64,
    /// How many bits of the buffer are the stream's.
    buffered: usize,
}

impl<'s> Bits<'s> {
    /// The most that is read at once.
    const MOST: usize = 16;

    pub(super) fn new(stream: &'s [u8]) -> Self {
        Self {
            rest: stream,
            buffer: 0,
            buffered: 0,
        }
    }

    /// How many bits are left.
    pub(super) fn left(&self) -> usize {
        self.rest.len() * 8 + self.buffered
    }

    /// The next `count` bits, up to 16, as a number whose lowest bit comes first. Beyond the end there are zeros.
    #[inline]
    pub(super) fn peek(&mut self, count: usize) -> u32 {
        debug_assert!(count <= Self::MOST, "{count} bits");
        if self.buffered < Self::MOST {
            self.fill();
        }
        (self.buffer & ((1 << count) - 1)) as u32
    }

    /// The next `count` bits, one to 16, as a Huffman code, whose highest bit comes first.
    #[inline]
    pub(super) fn peek_code(&mut self, count: usize) -> u32 {
        self.peek(count).reverse_bits() >> (32 - count)
    }

    /// Goes on by up to 16 bits. `None` when the stream ends before that.
    #[inline]
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        debug_assert!(count <= Self::MOST, "{count} bits");
        if self.buffered < count {
            self.fill();
        }
        self.buffered = self.buffered.checked_sub(count)?;
        self.buffer >>= count;
        Some(())
    }

    /// The next `count` bits, up to 16. `None` when the stream ends before that.
    #[inline]
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let bits = self.peek(count);
        self.skip(count)?;
        Some(bits)
    }

    /// Takes as many whole bytes into the buffer as there are and fit.
    fn fill(&mut self) {
        let room = (u64::BITS as usize - 1 - self.buffered) / 8;
        let word = match self.rest.first_chunk() {
            Some(&word) => u64::from_le_bytes(word),
            None => {
                let mut word = [0; 8];
                word[..self.rest.len()].copy_from_slice(self.rest);
                u64::from_le_bytes(word)
            }
        };
        let taken = room.min(self.rest.len());
        self.buffer |= (word & ((1 << (taken * 8)) - 1)) << self.buffered;
        self.buffered += taken * 8;
        self.rest = &self.rest[taken..];
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_lowest_first_and_codes_highest_first() {
        let mut bits = Bits::new(&[0b1010_0110, 0b0000_0001]);
        assert_eq!(bits.take(3), Some(0b110));
        assert_eq!(bits.peek_code(3), 0b001);
        assert_eq!(bits.take(6), Some(0b110100));
        assert_eq!(bits.left(), 7);
        assert_eq!(bits.peek(16), 0, "zeros behind the end");
        assert_eq!(bits.take(8), None);
    }

    #[test]
    fn all_bits_of_a_stream_are_read_in_steps_of_any_size() {
        for length in 0..40u8 {
            let stream: Vec<u8> = (0..length).map(|n| n.wrapping_mul(97) ^ 0x5a).collect();
            for step in 1..=16 {
                let mut bits = Bits::new(&stream);
                let mut read = Vec::new();
                while bits.left() >= step {
                    let left = bits.left();
                    let taken = bits.take(step).expect("so many are left");
                    assert_eq!(bits.left(), left - step);
                    read.extend((0..step).map(|bit| taken >> bit & 1));
                }
                assert_eq!(bits.take(step), None);
                let expected = stream
                    .iter()
                    .flat_map(|&byte| (0..8).map(move |bit| u32::from(byte >> bit & 1)));
                assert!(expected.take(read.len()).eq(read));
            }
        }
    }
}
