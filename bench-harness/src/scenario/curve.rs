//! A quantity that changes over time in straight lines: messages per second, or connections.

use std::ops::Range;

use crate::clock::Nanos;

/// A straight piece.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Piece {
    pub(crate) length: Nanos,
    pub(crate) from: f64,
    pub(crate) to: f64,
}

/// Straight pieces, one after the other from time 0 on. It may jump between them; after the last one it is 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Curve(Vec<Piece>);

impl Curve {
    /// Of these pieces.
    pub(crate) fn new(pieces: Vec<Piece>) -> Self {
        Self(pieces)
    }

    /// The same value all the time.
    pub(crate) fn constant(value: f64, length: Nanos) -> Self {
        Self(vec![Piece {
            length,
            from: value,
            to: value,
        }])
    }

    /// The pieces.
    pub(crate) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The value at a time; where it jumps, the later one.
    pub(crate) fn at(&self, time: Nanos) -> f64 {
        let mut begin = 0;
        for piece in &self.0 {
            if time < begin + piece.length {
                return piece.at(time - begin);
            }
            begin += piece.length;
        }
        0.0
    }

    /// The value that it has come to at a time; where it jumps, the earlier one.
    pub(crate) fn before(&self, time: Nanos) -> f64 {
        let mut begin = 0;
        for piece in &self.0 {
            if time <= begin + piece.length {
                return piece.at(time - begin);
            }
            begin += piece.length;
        }
        0.0
    }

    /// Whether it changes at this time, or is about to.
    pub(crate) fn changes_at(&self, time: Nanos) -> bool {
        let piece = self
            .pieces_with_begin()
            .find(|(begin, piece)| time < begin + piece.length);
        piece.is_some_and(|(_, piece)| piece.from != piece.to)
    }

    /// When the piece ends that holds this time; `None` after the last.
    pub(crate) fn next_piece(&self, time: Nanos) -> Option<Nanos> {
        let mut ends = self
            .pieces_with_begin()
            .map(|(begin, piece)| begin + piece.length);
        ends.find(|&end| time < end)
    }

    /// The sum over a time, as of events at that rate per second.
    pub(crate) fn sum(&self, time: Range<Nanos>) -> f64 {
        let part = |(begin, piece): (Nanos, &Piece)| {
            let from = time.start.clamp(begin, begin + piece.length) - begin;
            let to = time.end.clamp(begin, begin + piece.length) - begin;
            (piece.at(from) + piece.at(to)) / 2.0 * (to - from) as f64 / 1e9
        };
        self.pieces_with_begin().map(part).sum()
    }

    /// The largest value.
    pub(crate) fn most(&self) -> f64 {
        self.0
            .iter()
            .fold(0.0, |most, piece| piece.from.max(piece.to).max(most))
    }

    fn pieces_with_begin(&self) -> impl Iterator<Item = (Nanos, &Piece)> {
        self.0.iter().scan(0, |next, piece| {
            let begin = *next;
            *next += piece.length;
            Some((begin, piece))
        })
    }
}

impl Piece {
    fn at(&self, time: Nanos) -> f64 {
        let passed = time as f64 / self.length.max(1) as f64;
        self.from + (self.to - self.from) * passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Nanos = 1_000_000_000;

    fn curve() -> Curve {
        let piece = |seconds, from, to| Piece {
            length: seconds * SECOND,
            from,
            to,
        };
        Curve::new(vec![piece(2, 0.0, 100.0), piece(3, 50.0, 50.0)])
    }

    #[test]
    fn values_lie_on_the_lines() {
        let curve = curve();
        assert_eq!((curve.at(0), curve.at(SECOND)), (0.0, 50.0));
        assert_eq!(
            (curve.before(2 * SECOND), curve.at(2 * SECOND)),
            (100.0, 50.0)
        );
        assert_eq!(
            (curve.before(5 * SECOND), curve.at(5 * SECOND)),
            (50.0, 0.0)
        );
        assert_eq!(curve.most(), 100.0);
    }

    #[test]
    fn sums_are_exact() {
        let curve = curve();
        assert_eq!(curve.sum(0..2 * SECOND), 100.0);
        assert_eq!(curve.sum(SECOND..3 * SECOND), 75.0 + 50.0);
        assert_eq!(curve.sum(0..9 * SECOND), 250.0);
    }

    #[test]
    fn ramps_and_their_ends_are_known() {
        let curve = curve();
        assert!(curve.changes_at(SECOND) && !curve.changes_at(2 * SECOND));
        assert_eq!(curve.next_piece(SECOND), Some(2 * SECOND));
        assert_eq!(curve.next_piece(2 * SECOND), Some(5 * SECOND));
        assert_eq!(curve.next_piece(5 * SECOND), None);
    }
}
