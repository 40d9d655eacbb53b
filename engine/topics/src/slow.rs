//! Which connections are slow: a bit each, up to the highest that was.

use crate::pages::bytes;

#[derive(Debug, Default)]
pub(crate) struct SlowSet {
    words: Vec<u64>,
}

impl SlowSet {
    #[inline]
    pub(crate) fn has(&self, conn: u32) -> bool {
        let (word, bit) = place(conn);
        self.words.get(word).is_some_and(|word| word & bit != 0)
    }

    /// Whether that changed anything.
    pub(crate) fn set(&mut self, conn: u32, slow: bool) -> bool {
        if self.has(conn) == slow {
            return false;
        }
        let (word, bit) = place(conn);
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] ^= bit;
        true
    }

    /// Bytes of heap memory.
    pub(crate) fn memory(&self) -> usize {
        bytes(&self.words)
    }
}

fn place(conn: u32) -> (usize, u64) {
    (conn as usize / 64, 1 << (conn % 64))
}
