//! When things are due in an open loop.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Nanos, nanos};
use crate::units::Rate;

const SECOND: u128 = 1_000_000_000;

/// How many events per second there are to be, over time.
///
/// Event `n` (from 0) is due when `n` events' worth of time has passed: at a constant rate, after `n / rate`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    shape: Shape,
    /// Events fall due together, once in so many nanoseconds; 0: each at its own time.
    tick: Nanos,
}

/// A time in which the rate goes evenly from one value to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Segment {
    /// How long it takes; 0 is a jump, which nothing happens in.
    pub(crate) length: Nanos,
    /// Events per second when it begins.
    pub(crate) from: f64,
    /// Events per second when it ends.
    pub(crate) to: f64,
}

/// Events of a profile, dealt out to `stride` threads in turn. Due times are computed from the event's number, so
/// rounding never adds up. At a constant rate they are exact to the nanosecond.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Schedule {
    start: Nanos,
    profile: Profile,
    /// This thread's number, and how many there are.
    offset: u64,
    stride: u64,
}

/// The course of a run: over the ramp from nothing to where the rate begins, in the warm-up there, and over the
/// measurement to where it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course {
    /// `None` in a closed loop.
    pub(crate) rate: Option<Rate>,
    /// Before the warm-up; open loop only.
    pub(crate) ramp: Duration,
    /// Messages fall due together, once in so long; zero: each at its own time.
    pub(crate) tick: Duration,
    /// Under load, not measured.
    pub(crate) warmup: Duration,
    /// Measured.
    pub(crate) duration: Duration,
}

#[derive(Clone, Debug, PartialEq)]
enum Shape {
    Constant(u64),
    Pieces(Arc<[Piece]>),
}

/// A segment and what was before it. The last one never ends.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Piece {
    /// Nanoseconds from the profile's begin.
    begin: Nanos,
    /// Events before it.
    before: f64,
    /// Events per second when it begins.
    from: f64,
    /// Events per second, gained in every second.
    slope: f64,
}

impl Profile {
    /// Always so many per second, at least 1.
    pub(crate) fn constant(rate: u64) -> Self {
        assert!(rate > 0);
        Self::of(Shape::Constant(rate))
    }

    /// One segment after the other. After the last one its end rate holds; when that is 0, nothing is due any more.
    ///
    /// Rates are finite and not negative.
    pub(crate) fn new(segments: &[Segment]) -> Self {
        let (mut begin, mut before) = (0, 0.0);
        let mut pieces = Vec::with_capacity(segments.len() + 1);
        for segment in segments {
            let Segment { length, from, to } = *segment;
            assert!(from.is_finite() && to.is_finite() && from >= 0.0 && to >= 0.0);
            if length == 0 {
                continue;
            }
            let seconds = seconds(length);
            pieces.push(Piece {
                begin,
                before,
                from,
                slope: (to - from) / seconds,
            });
            begin += length;
            before += f64::midpoint(from, to) * seconds;
        }
        pieces.push(Piece {
            begin,
            before,
            from: segments.last().map_or(0.0, |segment| segment.to),
            slope: 0.0,
        });
        Self::of(Shape::Pieces(pieces.into()))
    }

    fn of(shape: Shape) -> Self {
        Self { shape, tick: 0 }
    }

    /// The same, with events that wait for the next tick: all that fell due in `tick` fall due at its end.
    pub(crate) fn in_ticks(self, tick: Nanos) -> Self {
        Self { tick, ..self }
    }

    /// Events due before `time`, counted from the profile's begin.
    pub(crate) fn events_before(&self, time: Nanos) -> f64 {
        match &self.shape {
            Shape::Constant(rate) => *rate as f64 * seconds(time),
            Shape::Pieces(pieces) => {
                let piece = at(pieces, |piece| piece.begin <= time);
                let t = seconds(time - piece.begin);
                piece.before + t * (piece.from + piece.slope * t / 2.0)
            }
        }
    }

    /// Events per second over a time that is counted from the profile's begin.
    pub(crate) fn mean_over(&self, time: Range<Nanos>) -> f64 {
        let events = self.events_before(time.end) - self.events_before(time.start);
        events / seconds(time.end - time.start)
    }

    /// When event `number` is due, from the profile's begin; `Nanos::MAX` when never.
    #[inline]
    fn due(&self, number: u128) -> Nanos {
        let due = match &self.shape {
            Shape::Constant(rate) => (number * SECOND / u128::from(*rate)) as Nanos,
            Shape::Pieces(pieces) => due_in(pieces, number as f64),
        };
        if self.tick == 0 {
            return due;
        }
        due.checked_next_multiple_of(self.tick)
            .unwrap_or(Nanos::MAX)
    }
}

impl Schedule {
    /// The share of thread `offset` of `stride` in a profile that begins at `start`.
    pub(crate) fn new(start: Nanos, profile: &Profile, offset: usize, stride: usize) -> Self {
        assert!(offset < stride);
        Self {
            start,
            profile: profile.clone(),
            offset: offset as u64,
            stride: stride as u64,
        }
    }

    /// When event `number` (from 0) of this thread is due; `Nanos::MAX` when never.
    #[inline]
    pub(crate) fn due(&self, number: u64) -> Nanos {
        let global = u128::from(number) * u128::from(self.stride) + u128::from(self.offset);
        self.start.saturating_add(self.profile.due(global))
    }
}

impl Course {
    /// What is measured of a run whose first message is due at `start`.
    pub(crate) fn measured(&self, start: Nanos) -> Range<Nanos> {
        let from = start + nanos(self.ramp + self.warmup);
        from..from + nanos(self.duration)
    }

    /// The rate over time; `None` in a closed loop.
    pub(crate) fn profile(&self) -> Option<Profile> {
        let rate = self.rate?;
        if rate.is_constant() && self.ramp.is_zero() {
            return Some(Profile::constant(rate.from).in_ticks(nanos(self.tick)));
        }
        let (from, to) = (rate.from as f64, rate.to as f64);
        let segment = |length, from, to| Segment {
            length: nanos(length),
            from,
            to,
        };
        let profile = Profile::new(&[
            segment(self.ramp, 0.0, from),
            segment(self.warmup, from, from),
            segment(self.duration, from, to),
        ]);
        Some(profile.in_ticks(nanos(self.tick)))
    }

    /// The rate, when it is not the same all the time of the measurement.
    pub(crate) fn climb(&self) -> Option<Rate> {
        self.rate.filter(|rate| !rate.is_constant())
    }

    /// Events per second to be expected over the measurement; `None` in a closed loop.
    pub(crate) fn mean_rate(&self) -> Option<f64> {
        let profile = self.profile()?;
        Some(profile.mean_over(self.measured(0)))
    }
}

/// The last piece for which `holds`, as it does for the first.
#[inline]
fn at(pieces: &[Piece], holds: impl Fn(&Piece) -> bool) -> &Piece {
    &pieces[pieces.partition_point(holds).saturating_sub(1)]
}

/// Solves `before + from·t + slope·t²/2 = number` for the time `t`, in the form that does not subtract two numbers of about
/// the same size.
fn due_in(pieces: &[Piece], number: f64) -> Nanos {
    let index = pieces
        .partition_point(|piece| piece.before <= number)
        .saturating_sub(1);
    let piece = &pieces[index];
    let missing = number - piece.before;
    // Of a piece that ends at rate 0, rounding may leave a little less than nothing.
    let root = (piece.from * piece.from + 2.0 * piece.slope * missing).max(0.0);
    let t = if missing > 0.0 {
        2.0 * missing / (piece.from + root.sqrt())
    } else if piece.from > 0.0 || piece.slope > 0.0 {
        0.0
    } else {
        f64::INFINITY
    };
    // The conversion ends at `Nanos::MAX`.
    let due = piece.begin.saturating_add((t * 1e9) as Nanos);
    pieces
        .get(index + 1)
        .map_or(due, |following| due.min(following.begin))
}

fn seconds(time: Nanos) -> f64 {
    time as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    const S: Nanos = 1_000_000_000;

    fn segment(length: Nanos, from: f64, to: f64) -> Segment {
        Segment { length, from, to }
    }

    #[test]
    fn in_ticks_events_fall_due_together() {
        let profile = Profile::constant(1_000).in_ticks(10_000_000);
        let schedule = Schedule::new(3, &profile, 0, 1);
        let ticks = (0..31).map(|number| (schedule.due(number) - 3) / 10_000_000);
        let together = |tick| ticks.clone().filter(|at| *at == tick).count();
        assert_eq!([0, 1, 2, 3].map(together), [1, 10, 10, 10]);
        assert!((0..31).all(|number| (schedule.due(number) - 3).is_multiple_of(10_000_000)));
        let never = Profile::new(&[]).in_ticks(10);
        assert_eq!(Schedule::new(3, &never, 0, 1).due(0), Nanos::MAX);
    }

    #[test]
    fn due_times_do_not_drift() {
        let schedule = Schedule::new(5, &Profile::constant(3), 0, 1);
        assert_eq!(schedule.due(0), 5);
        assert_eq!(schedule.due(1), 333_333_338);
        assert_eq!(schedule.due(3), 1_000_000_005);
        assert_eq!(schedule.due(3_000_000_000), 1_000_000_000_000_000_005);
    }

    #[test]
    fn a_rate_that_climbs_is_followed() {
        // 0 to 100 in 2 s: 100 events; event n is due at √(n / 25) s.
        let profile = Profile::new(&[segment(2 * S, 0.0, 100.0)]);
        let schedule = Schedule::new(7, &profile, 0, 1);
        assert_eq!(schedule.due(0), 7);
        assert_eq!(schedule.due(25), S + 7);
        assert_eq!(schedule.due(100), 2 * S + 7);
        // The end rate holds.
        assert_eq!(schedule.due(101), 2 * S + S / 100 + 7);
        assert_eq!(schedule.due(100 + 100 * 3600), 3602 * S + 7);
        assert_eq!(profile.mean_over(0..2 * S), 50.0);
        assert_eq!(profile.mean_over(2 * S..9 * S), 100.0);
        assert_eq!(profile.events_before(S), 25.0);
    }

    #[test]
    fn a_run_climbs_warms_up_and_climbs_on() {
        let seconds = Duration::from_secs;
        let course = |rate, ramp| Course {
            rate: Some(rate),
            ramp,
            tick: Duration::ZERO,
            warmup: seconds(3),
            duration: seconds(10),
        };
        let flat = course(Rate::from(100), seconds(2));
        assert_eq!(flat.measured(S), 6 * S..16 * S);
        assert_eq!(flat.mean_rate(), Some(100.0));
        let flat = flat.profile().unwrap();
        assert_eq!(flat.mean_over(0..2 * S), 50.0);
        assert_eq!(flat.mean_over(2 * S..100 * S), 100.0);
        let climbing = course(Rate { from: 100, to: 300 }, seconds(2));
        assert_eq!(climbing.mean_rate(), Some(200.0));
        let climbing = climbing.profile().unwrap();
        assert_eq!(climbing.mean_over(2 * S..5 * S), 100.0);
        assert_eq!(climbing.mean_over(5 * S..15 * S), 200.0);
        assert_eq!(climbing.mean_over(15 * S..16 * S), 300.0);
        let plain = course(Rate::from(7), Duration::ZERO);
        assert_eq!(plain.profile(), Some(Profile::constant(7)));
        let closed = Course {
            rate: None,
            ..plain
        };
        assert_eq!((closed.profile(), closed.mean_rate()), (None, None));
    }

    #[test]
    fn a_rate_that_falls_to_nothing_ends() {
        let profile = Profile::new(&[segment(2 * S, 100.0, 0.0)]);
        let schedule = Schedule::new(0, &profile, 0, 1);
        assert_eq!(schedule.due(75), S);
        assert!(schedule.due(99) < 2 * S);
        for number in 100..103 {
            assert_eq!(schedule.due(number), Nanos::MAX);
        }
        assert_eq!(profile.events_before(50 * S), 100.0);
    }

    #[test]
    fn nothing_is_due_in_a_pause() {
        let profile = Profile::new(&[
            segment(S, 0.0, 0.0),
            segment(S, 10.0, 10.0),
            segment(S, 0.0, 0.0),
            segment(S, 10.0, 10.0),
            segment(0, 500.0, 500.0),
            segment(S, 0.0, 0.0),
        ]);
        let schedule = Schedule::new(0, &profile, 0, 1);
        let due: Vec<_> = (0..20).map(|number| schedule.due(number)).collect();
        assert_eq!(due[0], S);
        assert_eq!(due[9], S + 9 * S / 10);
        assert_eq!(due[10], 3 * S);
        assert_eq!(due[19], 3 * S + 9 * S / 10);
        assert_eq!(schedule.due(20), Nanos::MAX);
        assert_eq!(profile.mean_over(0..4 * S), 5.0);
    }

    /// Profiles of up to 8 segments: flat, climbing, falling, pausing, and of very different lengths.
    fn any_profile(rng: &mut Rng) -> (Profile, Nanos) {
        let rate = |rng: &mut Rng| match rng.below(4) {
            0 => 0.0,
            1 => rng.below(10) as f64 / 3.0,
            2 => rng.below(1_000) as f64,
            _ => rng.below(2_000_000) as f64 / 7.0,
        };
        let segments: Vec<_> = (0..=rng.below(8))
            .map(|_| {
                let (from, to) = (rate(rng), rate(rng));
                let to = if rng.below(3) == 0 { from } else { to };
                segment(rng.below(30 * S), from, to)
            })
            .collect();
        let length = segments.iter().map(|segment| segment.length).sum();
        (Profile::new(&segments), length)
    }

    #[test]
    fn any_profile_is_monotonic_and_does_not_drift() {
        let mut rng = Rng::new(1, 0);
        for round in 0..300 {
            let (profile, length) = any_profile(&mut rng);
            let schedule = Schedule::new(0, &profile, 0, 1);
            let total = profile.events_before(length) as u64;
            let mut last = 0;
            for step in 0..2_000 {
                // Neighbours and far ones.
                let number = (total / 1_000).max(2) * (step / 2) + step % 2;
                let due = schedule.due(number);
                assert!(due >= last, "round {round}: {number} before its time");
                last = due;
                if due == Nanos::MAX {
                    break;
                }
                // As many events as that have passed, to a nanosecond's worth at the highest rate.
                let events = profile.events_before(due);
                let slack = 1e-3 + number as f64 * 1e-12;
                assert!(
                    (events - number as f64).abs() < slack,
                    "round {round}: event {number} is due after {events}"
                );
            }
        }
    }

    #[test]
    fn threads_share_any_profile_without_overlap() {
        let mut rng = Rng::new(2, 0);
        for round in 0..100 {
            let profile = if round == 0 {
                Profile::constant(7_000)
            } else {
                any_profile(&mut rng).0
            };
            let whole = Schedule::new(9, &profile, 0, 1);
            let threads: Vec<_> = (0..3)
                .map(|offset| Schedule::new(9, &profile, offset, 3))
                .collect();
            for number in 0..1_000_u64 {
                let thread = &threads[(number % 3) as usize];
                assert_eq!(thread.due(number / 3), whole.due(number));
            }
        }
    }

    #[test]
    fn the_mean_of_any_profile_is_what_its_parts_add_up_to() {
        let mut rng = Rng::new(3, 0);
        for _ in 0..100 {
            let (profile, length) = any_profile(&mut rng);
            let (length, parts) = (length.max(100), 7);
            let part = length / parts;
            let sum: f64 = (0..parts)
                .map(|n| profile.mean_over(n * part..(n + 1) * part))
                .sum();
            let mean = profile.mean_over(0..parts * part);
            assert!((sum / parts as f64 - mean).abs() <= 1e-6 * (1.0 + mean));
        }
    }
}
