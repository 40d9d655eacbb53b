//! Bits in the order of RFC 1951 §3.1.1: the lowest of a byte comes first.

/// A place in a stream.
#[derive(Debug, Clone)]
pub(super) struct Bits<'s> {
    stream: &'s [u8],
    /// In bits; never beyond the end.
    position: usize,
}

impl<'s> Bits<'s> {
    pub(super) fn new(stream: &'s [u8]) -> Self {
        Self {
            stream,
            position: 0,
        }
    }

    /// How many bits lie before this place.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// The next `count` bits, up to 16, as a number whose lowest bit comes first. Beyond the end there are zeros.
    pub(super) fn peek(&self, count: usize) -> u32 {
        debug_assert!(count <= 16, "{count} bits");
        let rest = &self.stream[self.position / 8..];
        let bytes = match rest.first_chunk() {
            Some(&bytes) => bytes,
            None => {
                let mut bytes = [0; 4];
                bytes[..rest.len()].copy_from_slice(rest);
                bytes
            }
        };
        u32::from_le_bytes(bytes) >> (self.position % 8) & ((1 << count) - 1)
    }

    /// The next `count` bits, one to 16, as a Huffman code, whose highest bit comes first.
    pub(super) fn peek_code(&self, count: usize) -> u32 {
        self.peek(count).reverse_bits() >> (32 - count)
    }

    /// `None` when the stream ends before that.
    pub(super) fn skip(&mut self, count: usize) -> Option<()> {
        let position = self.position + count;
        if position > self.stream.len() * 8 {
            return None;
        }
        self.position = position;
        Some(())
    }

    /// The next `count` bits, up to 16. `None` when the stream ends before that.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let bits = self.peek(count);
        self.skip(count)?;
        Some(bits)
    }
}
