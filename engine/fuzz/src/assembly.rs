//! However a stream is cut, the same events come of it, each with the same byte, and the same error
//! at the earliest byte that shows it.
//!
//! Input: a [`Case`].

use corecast_protocol::ProtocolError;

use crate::input::cut;
use crate::receive::{Got, Peer};
use crate::stream::Case;

/// Streams up to this length are cut in two at every place.
const CUT_EVERYWHERE: usize = 40;

/// Streams up to this length are fed byte by byte.
const BYTE_BY_BYTE: usize = 1000;

/// Feeds the stream whole, in the input's pieces and, if it is short enough, byte by byte and in two
/// at every place.
///
/// # Panics
/// When the results differ.
pub fn check(data: &[u8]) {
    let case = Case::read(data);
    let expected = Outcome::of(&case);
    expected.compare(&case, &case.sizes);
    if case.stream.len() <= BYTE_BY_BYTE {
        expected.compare(&case, &[1]);
    }
    if case.stream.len() <= CUT_EVERYWHERE {
        for first in 1..case.stream.len() {
            expected.compare(&case, &[first, case.stream.len()]);
        }
    }
}

/// What came of a stream in one piece.
struct Outcome {
    /// Events before the error, with the byte that ended each.
    events: Vec<(Got, usize)>,
    /// The error, with the bytes that it takes to see it.
    failed: Option<(ProtocolError, usize)>,
    /// Whether the stream ended between messages.
    idle: bool,
}

impl Outcome {
    fn of(case: &Case) -> Self {
        let peer = receive(case, case.stream.len());
        let mut events = peer.got().to_vec();
        let failed = match events.last() {
            Some(&(Got::Failed(error), _)) => {
                events.pop();
                let before = events.last().map_or(0, |&(_, end)| end);
                Some((error, failed_at(case, before)))
            }
            _ => None,
        };
        Self {
            events,
            failed,
            idle: peer.is_idle(),
        }
    }

    /// The same stream in other pieces: no event or error sooner or later.
    fn compare(&self, case: &Case, sizes: &[usize]) {
        let mut peer = peer(case);
        let mut end = 0;
        for piece in cut(&case.stream, sizes) {
            peer.feed(piece);
            end += piece.len();
            let due = self.events.partition_point(|&(_, at)| at <= end);
            let failed = self.failed.filter(|&(_, at)| at <= end);
            let got = peer.got();
            let count = due + usize::from(failed.is_some());
            assert_eq!(got.len(), count, "events by byte {end}");
            if let (Some((error, _)), Some((last, _))) = (failed, got.last()) {
                assert_eq!(*last, Got::Failed(error));
            }
        }
        assert_eq!(peer.got()[..self.events.len()], self.events);
        assert_eq!(peer.is_idle(), self.idle, "idle at the end");
    }
}

fn peer(case: &Case) -> Peer {
    Peer::new(case.role, case.limits, case.recycle)
}

/// Feeds the first `len` bytes of the stream in one piece.
fn receive(case: &Case, len: usize) -> Peer {
    let mut peer = peer(case);
    peer.feed(&case.stream[..len]);
    peer
}

/// The fewest bytes of the stream that show the error, which follows the events of its first `before`
/// bytes. Bisects: [`Outcome::compare`] is what would notice if it came and went.
fn failed_at(case: &Case, before: usize) -> usize {
    let (mut unseen, mut seen) = (before, case.stream.len());
    while seen - unseen > 1 {
        let middle = unseen.midpoint(seen);
        if receive(case, middle).has_ended() {
            seen = middle;
        } else {
            unseen = middle;
        }
    }
    seen
}
