//! What a completion belongs to, packed into the 64 bits that the kernel hands back.

/// The operation behind a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Op {
    /// Multishot accept on a listener; the index is the listener's.
    Accept = 1,
    /// Multishot receive on a connection.
    Recv = 2,
    /// Silent inline send: completes only when it fell short.
    Send = 3,
    /// Send of a backlog: completes when the kernel has taken the bytes.
    Drain = 4,
    /// Cancellation of a receive.
    Cancel = 5,
    /// The doorbell that other threads ring.
    Bell = 6,
    /// Inline send without a copy; the number is its own, and the connection is known to the ring.
    ZeroCopy = 7,
}

/// Operation, connection index and generation in one `user_data`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Token(u64);

impl Token {
    /// Generations are counted modulo 2^24: that many connections would have to come and go on one
    /// slot while one completion is in flight before two could be confused.
    pub(crate) const GENERATION_MASK: u32 = (1 << 24) - 1;

    pub(crate) fn new(op: Op, index: u32, generation: u32) -> Self {
        let generation = u64::from(generation & Self::GENERATION_MASK);
        Self((op as u64) << 56 | generation << 32 | u64::from(index))
    }

    /// The token of a send without a copy. Numbers are counted modulo 2^56: at a billion a second, two years.
    pub(super) fn zero_copy(number: u64) -> Self {
        Self((Op::ZeroCopy as u64) << 56 | number & ((1 << 56) - 1))
    }

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// `None` for bits that [`Token::new`] never makes.
    pub(crate) fn op(self) -> Option<Op> {
        Some(match (self.0 >> 56) as u8 {
            1 => Op::Accept,
            2 => Op::Recv,
            3 => Op::Send,
            4 => Op::Drain,
            5 => Op::Cancel,
            6 => Op::Bell,
            7 => Op::ZeroCopy,
            _ => return None,
        })
    }

    pub(crate) fn index(self) -> u32 {
        self.0 as u32
    }

    pub(crate) fn generation(self) -> u32 {
        (self.0 >> 32) as u32 & Self::GENERATION_MASK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_survive_packing() {
        for op in [
            Op::Accept,
            Op::Recv,
            Op::Send,
            Op::Drain,
            Op::Cancel,
            Op::Bell,
            Op::ZeroCopy,
        ] {
            let token = Token::new(op, u32::MAX - 1, 0x00ab_cdef);
            let back = Token::from_bits(token.bits());
            assert_eq!(
                (back.op(), back.index(), back.generation()),
                (Some(op), u32::MAX - 1, 0x00ab_cdef)
            );
        }
        assert_eq!(Token::zero_copy(u64::MAX).op(), Some(Op::ZeroCopy));
        assert_ne!(Token::zero_copy(1), Token::zero_copy(1 << 55));
        assert_eq!(Token::from_bits(0).op(), None);
        assert_eq!(Token::new(Op::Recv, 0, 1 << 24).generation(), 0);
    }
}
