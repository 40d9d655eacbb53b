//! How a fuzz input is read: settings from its front, then the bytes under test.

/// Piece sizes in an input at most.
const MAX_SIZES: u8 = 8;

/// A fuzz input. Past its end it reads as zeros, so every input means something.
#[derive(Debug, Clone)]
pub struct Reader<'d> {
    rest: &'d [u8],
}

impl<'d> Reader<'d> {
    /// At the first byte of `data`.
    #[must_use]
    pub const fn new(data: &'d [u8]) -> Self {
        Self { rest: data }
    }

    /// Whether all bytes were read.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        self.array::<1>()[0]
    }

    /// The next `N` bytes.
    pub fn array<const N: usize>(&mut self) -> [u8; N] {
        let mut array = [0; N];
        let taken = self.take(N);
        array[..taken.len()].copy_from_slice(taken);
        array
    }

    /// The next bytes, `max` of them unless the input ends before.
    pub fn take(&mut self, max: usize) -> &'d [u8] {
        let (taken, rest) = self.rest.split_at(max.min(self.rest.len()));
        self.rest = rest;
        taken
    }

    /// Everything that was not read yet.
    #[must_use]
    pub const fn rest(self) -> &'d [u8] {
        self.rest
    }

    /// A list of piece sizes: its length, then a byte for each. None means: no cut at all.
    pub fn sizes(&mut self) -> Vec<usize> {
        let count = self.byte() % (MAX_SIZES + 1);
        (0..count).map(|_| usize::from(self.byte()) + 1).collect()
    }
}

/// `bytes` in pieces of these sizes, over and over; in one piece when there are none.
pub fn cut<'s>(bytes: &'s [u8], sizes: &[usize]) -> impl Iterator<Item = &'s [u8]> {
    let mut sizes = sizes.iter().copied().cycle();
    let mut rest = bytes;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let size = sizes.next().unwrap_or(usize::MAX).min(rest.len());
        let (piece, after) = rest.split_at(size);
        rest = after;
        Some(piece)
    })
}
