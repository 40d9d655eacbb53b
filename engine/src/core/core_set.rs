//! A set of a server's cores, by their positions.

/// Cores that one server may run on.
pub(crate) const MAX_CORES: usize = 64 * WORDS;

/// Words of 64 cores in a set.
pub(super) const WORDS: usize = 4;

/// Some of a server's cores.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct CoreSet([u64; WORDS]);

impl CoreSet {
    /// From a bit per core, those of the first 64 in the first word.
    #[inline]
    pub(super) fn from_words(words: [u64; WORDS]) -> Self {
        Self(words)
    }

    /// The first `count` cores.
    pub(crate) fn first(count: usize) -> Self {
        let mut all = Self::default();
        (0..count).for_each(|core| all.insert(core));
        all
    }

    #[inline]
    pub(crate) fn insert(&mut self, core: usize) {
        self.0[core / 64] |= 1 << (core % 64);
    }

    #[inline]
    pub(crate) fn remove(&mut self, core: usize) {
        self.0[core / 64] &= !(1 << (core % 64));
    }

    #[cfg(test)]
    pub(crate) fn contains(self, core: usize) -> bool {
        self.0[core / 64] & 1 << (core % 64) != 0
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// How many they are.
    #[cfg(test)]
    pub(crate) fn len(self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Those of either.
    #[inline]
    #[must_use]
    pub(crate) fn union(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] | other.0[word]))
    }

    /// Their positions, in ascending order.
    #[inline]
    pub(crate) fn iter(self) -> impl Iterator<Item = usize> {
        self.0.into_iter().enumerate().flat_map(|(word, bits)| {
            let lowest = |bits: &u64| (*bits != 0).then(|| bits & (bits - 1));
            std::iter::successors(Some(bits), lowest)
                .take_while(|bits| *bits != 0)
                .map(move |bits| 64 * word + bits.trailing_zeros() as usize)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut set = CoreSet::default();
        let cores = [0, 1, 63, 64, 127, 200, MAX_CORES - 1];
        cores.iter().for_each(|&core| set.insert(core));
        assert!(set.iter().eq(cores));
        assert_eq!(set.len(), cores.len());
        assert!((0..MAX_CORES).all(|core| set.contains(core) == cores.contains(&core)));
        set.remove(64);
        assert!(!set.contains(64));
        assert!(
            set.union(CoreSet::first(3))
                .iter()
                .eq([0, 1, 2, 63, 127, 200, 255])
        );
        set.iter().for_each(|core| set.remove(core));
        assert!(set.is_empty() && set.iter().next().is_none());
        assert_eq!(CoreSet::first(MAX_CORES).len(), MAX_CORES);
    }
}
