//! Repeatable randomness for payloads, mask keys and nonces.

/// SplitMix64 (Steele, Lea, Flood 2014): one addition and three mixes per 64 bits. Good enough to
/// make payloads that do not compress or repeat; not for secrets.
#[derive(Clone, Debug)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The same seed and stream give the same bytes.
    pub(crate) fn new(seed: u64, stream: u64) -> Self {
        let mut rng = Self(seed);
        let offset = rng.next_u64();
        Self(offset ^ stream.wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }

    /// Next 64 bits.
    pub(crate) fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 to `limit - 1`. Small ones are a little likelier, by less than `limit` in 2⁶⁴.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next_u64() % limit
    }

    /// Fills a buffer.
    pub(crate) fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }

    /// An array of bytes.
    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let mut out = [0; N];
        self.fill(&mut out);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_repeat_and_streams_differ() {
        let first: [u8; 19] = Rng::new(7, 1).bytes();
        assert_eq!(first, Rng::new(7, 1).bytes());
        assert_ne!(first, Rng::new(7, 2).bytes());
        assert_ne!(first, Rng::new(8, 1).bytes());
    }
}
