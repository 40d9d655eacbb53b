//! What the messages of a connection have in common.

/// Deflate looks so far ahead, and never refers to more than this short of the window (zlib's `MIN_LOOKAHEAD`).
const LOOKAHEAD: usize = 262;

/// What a connection's next message may refer to: the end of what it was sent before (context takeover, RFC 7692
/// §7.1.1).
///
/// It is no more than those bytes. A compressor's own memory is a quarter of a megabyte with the smallest of windows, most of it
/// tables of what the window holds; so that stays with the core's [`Deflater`](super::Deflater), which reads the bytes
/// in again for each message. With hundreds of connections that is quicker, too, than as many tables that no cache holds.
#[derive(Debug, Default, Clone)]
pub struct Context {
    sent: Vec<u8>,
}

impl Context {
    /// Of a connection to which nothing was sent yet. Takes no memory before something is.
    #[must_use]
    pub const fn new() -> Self {
        Self { sent: Vec::new() }
    }

    /// The next message refers to nothing earlier: for when the peer has not got what was sent last. Gives the memory back.
    pub fn forget(&mut self) {
        self.sent = Vec::new();
    }

    /// How many bytes it takes beside itself now.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.sent.capacity()
    }

    /// How many bytes it takes beside itself at most, with a window of so many bits (9 to 15): a little less than the window.
    #[must_use]
    pub const fn max_memory(window_bits: u8) -> usize {
        (1 << window_bits) - LOOKAHEAD
    }

    /// The connection was sent this, compressed by itself: the same bytes as others got, with a window of at most so many
    /// bits (9 to 15). The next message may refer to it.
    pub fn remember(&mut self, payload: &[u8], window_bits: u8) {
        let most = Self::max_memory(window_bits);
        let new = &payload[payload.len().saturating_sub(most)..];
        let kept = self.sent.len().min(most - new.len());
        self.sent.drain(..self.sent.len() - kept);
        let needed = kept + new.len();
        if needed > self.sent.capacity() {
            // It seldom grows, and never beyond its bound.
            let capacity = needed.next_power_of_two().min(most);
            self.sent.reserve_exact(capacity - kept);
        }
        self.sent.extend_from_slice(new);
    }

    /// What can be referred to.
    pub(super) fn sent(&self) -> &[u8] {
        &self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_what_was_sent_is_remembered() {
        for window_bits in 9..=15 {
            let most = Context::max_memory(window_bits);
            let mut context = Context::new();
            let mut all = Vec::new();
            for length in [
                0,
                1,
                7,
                100,
                most / 2,
                most - 1,
                most,
                most + 1,
                3,
                0,
                5 * most,
                2,
            ] {
                let payload: Vec<u8> = (0..length).map(|n| (n * 31 + length) as u8).collect();
                context.remember(&payload, window_bits);
                all.extend(payload);
                assert_eq!(context.sent(), &all[all.len().saturating_sub(most)..]);
                assert!(context.memory() <= most, "{}", context.memory());
            }
            context.forget();
            assert_eq!((context.sent(), context.memory()), (&[][..], 0));
        }
    }
}
