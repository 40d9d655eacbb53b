//! What one end of a subscription holds: six bytes.

/// Connections and topics are numbered below this. The 24-bit numbers from here on mark where a list lies.
pub(crate) const LIMIT: u32 = (1 << 24) - 64;

/// One subscriber of a topic, as [`Topics::slow`](crate::Topics::slow) and
/// [`Topics::fast`](crate::Topics::fast) lend it.
///
/// Both ends of a subscription have this shape: who is at the other end, and where that one's list holds
/// its half. A topic's half names a connection, a connection's half names a topic.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Subscription {
    other: [u8; 3],
    at: [u8; 3],
}

pub(crate) use Subscription as Half;

// What the memory budget counts on: six bytes on either end.
const _: () = assert!(size_of::<Half>() == 6 && align_of::<Half>() == 1);

impl Subscription {
    /// Index of the subscribed connection.
    #[inline]
    #[must_use]
    pub const fn conn(self) -> u32 {
        self.other()
    }

    #[inline]
    pub(crate) const fn new(other: u32, at: u32) -> Self {
        Self {
            other: pack(other),
            at: pack(at),
        }
    }

    /// Who is at the other end.
    #[inline]
    pub(crate) const fn other(self) -> u32 {
        unpack(self.other)
    }

    /// Where the list of the other end holds its half.
    #[inline]
    pub(crate) const fn at(self) -> u32 {
        unpack(self.at)
    }

    #[inline]
    pub(crate) const fn set_at(&mut self, at: u32) {
        self.at = pack(at);
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.other(), self.at())
    }
}

#[inline]
const fn pack(number: u32) -> [u8; 3] {
    debug_assert!(number < 1 << 24);
    let [a, b, c, _] = number.to_le_bytes();
    [a, b, c]
}

#[inline]
const fn unpack([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}
