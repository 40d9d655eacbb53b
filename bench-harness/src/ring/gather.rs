//! Message headers and vectors of gathered sends, valid until they are submitted.

use std::ptr;

/// Most vectors of one message (`UIO_MAXIOV` is 1024; a turn rarely brings more than a few).
pub(super) const MAX_PIECES: usize = 64;

/// Vectors that may be queued between two submissions: on average four for every message.
const VECTORS_PER_MESSAGE: usize = 4;

/// Two arrays that never grow, so that the addresses in queued entries stay good.
pub(super) struct Gather {
    messages: Box<[libc::msghdr]>,
    vectors: Box<[libc::iovec]>,
    messages_used: usize,
    vectors_used: usize,
}

impl Gather {
    /// Room for as many messages as there are submission entries.
    pub(super) fn new(messages: usize) -> Self {
        // SAFETY: both are plain C structures for which all-zero bytes mean empty.
        let (message, vector) = unsafe {
            (
                std::mem::zeroed::<libc::msghdr>(),
                std::mem::zeroed::<libc::iovec>(),
            )
        };
        let vectors = (messages * VECTORS_PER_MESSAGE).max(MAX_PIECES);
        Self {
            messages: vec![message; messages].into_boxed_slice(),
            vectors: vec![vector; vectors].into_boxed_slice(),
            messages_used: 0,
            vectors_used: 0,
        }
    }

    /// Whether a message of so many pieces can be added before [`Gather::reset`].
    pub(super) fn fits(&self, pieces: usize) -> bool {
        self.messages_used < self.messages.len() && pieces <= self.vectors.len() - self.vectors_used
    }

    /// Adds a message and returns its header for a SENDMSG. [`Gather::fits`] must have said yes.
    pub(super) fn message<'a>(
        &mut self,
        pieces: impl ExactSizeIterator<Item = &'a [u8]>,
    ) -> *const libc::msghdr {
        let count = pieces.len();
        assert!(count <= MAX_PIECES && self.fits(count));
        let vectors = &mut self.vectors[self.vectors_used..][..count];
        for (vector, piece) in vectors.iter_mut().zip(pieces) {
            *vector = libc::iovec {
                // SENDMSG reads through it only, whatever the type says.
                iov_base: piece.as_ptr().cast_mut().cast(),
                iov_len: piece.len(),
            };
        }
        let message = &mut self.messages[self.messages_used];
        message.msg_iov = vectors.as_mut_ptr();
        message.msg_iovlen = count as _;
        self.messages_used += 1;
        self.vectors_used += count;
        ptr::from_ref(message)
    }

    /// Starts over. Everything added must have been submitted.
    pub(super) fn reset(&mut self) {
        self.messages_used = 0;
        self.vectors_used = 0;
    }
}
