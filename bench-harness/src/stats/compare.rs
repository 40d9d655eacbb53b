//! Whether a figure differs between two sets of runs: by how much, and whether that could be chance.
//!
//! A change counts when it is larger than the noise that the user allows for *and* unlikely to be chance: by the
//! Mann–Whitney U test, which asks only how the runs of both sets are ordered, so that one wild run decides nothing.
//! Four runs on each side are the fewest with which it can tell anything at 5 %; with fewer a change counts when every run
//! after is beyond the noise from every run before.

use serde::{Deserialize, Serialize};

use crate::rng::Rng;

/// Chance that a difference which is none is taken for one.
const SIGNIFICANT: f64 = 0.05;

/// Up to so many values in both sets the p value is counted out exactly; with more the normal approximation is as good.
const EXACT_UP_TO: usize = 50;

/// Times that the sets are drawn again for the interval of the ratio.
const RESAMPLES: usize = 2_000;

/// Share of the draws that the interval leaves out at each end.
const TAIL: f64 = 0.025;

/// The draws are the same every time, so that a comparison gives the same answer twice.
const SEED: u64 = 1;

/// How a figure changed from one set of runs to another.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Comparison {
    /// Runs in each set.
    pub(crate) runs: (usize, usize),
    /// Median of each set.
    pub(crate) medians: (f64, f64),
    /// The second median over the first; `None` when only the first is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// Where the ratio lies with 95 % confidence; `None` with one run on each side, or without a ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<(f64, f64)>,
    /// Chance of a difference at least as clear when there is none, two-sided. `None` when the runs are too few for any outcome to
    /// be significant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p: Option<f64>,
    /// What that means.
    pub(crate) change: Change,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// It grew.
    Higher,
    /// It shrank.
    Lower,
    /// Within the noise, or not told from chance.
    Same,
    /// Beyond the noise, but with too few runs to tell it from chance.
    TooFewRuns,
}

/// Compares what was measured before with what was measured after. `noise` is the relative change that nobody minds, such as 0.03.
/// `None` when a set is empty, or has a value that is negative or no number.
pub(crate) fn compare_sets(before: &[f64], after: &[f64], noise: f64) -> Option<Comparison> {
    let sound = |set: &[f64]| {
        !set.is_empty()
            && set
                .iter()
                .all(|value| value.is_finite() && value.is_sign_positive())
    };
    if !sound(before) || !sound(after) {
        return None;
    }
    let medians = (median(&mut before.to_vec()), median(&mut after.to_vec()));
    let ratio = ratio_of(medians);
    let runs = (before.len(), after.len());
    let p = can_tell(runs).then(|| mann_whitney(before, after));
    Some(Comparison {
        runs,
        medians,
        ratio,
        interval: ratio
            .filter(|_| runs != (1, 1))
            .map(|ratio| interval(before, after, ratio)),
        p,
        change: judge(before, after, ratio, p, noise),
    })
}

fn judge(before: &[f64], after: &[f64], ratio: Option<f64>, p: Option<f64>, noise: f64) -> Change {
    // What was nothing and is something has grown beyond any noise.
    let ratio = ratio.unwrap_or(f64::INFINITY);
    let change = match ratio {
        higher if higher > 1.0 + noise => Change::Higher,
        // The noise is as wide downwards: 1.03 times as much, or 1.03 times as little.
        lower if lower * (1.0 + noise) < 1.0 => Change::Lower,
        _ => return Change::Same,
    };
    match p {
        Some(p) if p < SIGNIFICANT => change,
        Some(_) => Change::Same,
        None if apart(before, after, change, noise) => change,
        None => Change::TooFewRuns,
    }
}

/// Every run after is beyond the noise from every run before.
fn apart(before: &[f64], after: &[f64], change: Change, noise: f64) -> bool {
    let (low, high) = match change {
        Change::Higher => (before, after),
        _ => (after, before),
    };
    let most = low.iter().copied().fold(0.0, f64::max);
    let least = high.iter().copied().fold(f64::INFINITY, f64::min);
    least > most * (1.0 + noise)
}

/// 1 when both are 0.
fn ratio_of((before, after): (f64, f64)) -> Option<f64> {
    if before > 0.0 {
        Some(after / before)
    } else {
        (after == 0.0).then_some(1.0)
    }
}

/// The middle value, or the mean of the two in the middle.
fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len() % 2 == 1 {
        values[middle]
    } else {
        f64::midpoint(values[middle - 1], values[middle])
    }
}

/// Whether the clearest outcome there is, all of one set above all of the other, would be significant: it has a chance of two
/// in all the ways to deal the runs out.
fn can_tell((before, after): (usize, usize)) -> bool {
    let ways = (1..=before.min(after)).fold(1.0, |ways, n| {
        ways * ((before.max(after) + n) as f64) / n as f64
    });
    2.0 / ways < SIGNIFICANT
}

/// The p value of the Mann–Whitney U test, two-sided (Mann and Whitney 1947): the chance that the ranks of one set lie at least as far
/// from what is expected as they do, when both sets are of one kind. Values that are equal share their ranks.
pub(crate) fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
    let ranks = Ranks::new(one, other);
    if one.len() + other.len() <= EXACT_UP_TO {
        ranks.exact()
    } else {
        ranks.approximate()
    }
}

/// Ranks of two sets in one order. All are doubled: the ranks that equal values share are then whole numbers.
struct Ranks {
    doubled: Vec<usize>,
    /// How many values are of the first set.
    first: usize,
    /// Sum of the first set's doubled ranks.
    sum: usize,
    /// How many values were equal, for each group of equal ones.
    ties: Vec<usize>,
}

impl Ranks {
    fn new(one: &[f64], other: &[f64]) -> Self {
        let marked = |set: &[f64], first: bool| -> Vec<(f64, bool)> {
            set.iter().map(|&value| (value, first)).collect()
        };
        let mut values = [marked(one, true), marked(other, false)].concat();
        values.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut ranks = Self {
            doubled: Vec::new(),
            first: one.len(),
            sum: 0,
            ties: Vec::new(),
        };
        for group in values.chunk_by(|a, b| a.0 == b.0) {
            let before = ranks.doubled.len();
            // Ranks count from 1: twice the mean of before + 1 … before + len.
            let doubled = 2 * before + group.len() + 1;
            ranks.doubled.extend(group.iter().map(|_| doubled));
            ranks.sum += doubled * group.iter().filter(|(_, first)| *first).count();
            ranks.ties.push(group.len());
        }
        ranks
    }

    /// What the sum would be on average.
    fn expected(&self) -> usize {
        self.first * (self.doubled.len() + 1)
    }

    /// Counts the ways to choose the first set that lie as far out, by the sums that so many of the ranks can have.
    fn exact(&self) -> f64 {
        let most: usize = self.doubled.iter().sum();
        let mut ways = vec![vec![0.0; most + 1]; self.first + 1];
        ways[0][0] = 1.0;
        for (seen, &rank) in self.doubled.iter().enumerate() {
            // Downwards, so that no rank is taken twice.
            for taken in (0..self.first.min(seen + 1)).rev() {
                let (fewer, more) = ways.split_at_mut(taken + 1);
                let sums = more[0][rank..].iter_mut().zip(&fewer[taken]);
                sums.for_each(|(more, fewer)| *more += fewer);
            }
        }
        let sums = &ways[self.first];
        let distance = self.sum.abs_diff(self.expected());
        let as_far = |sum: usize| sum.abs_diff(self.expected()) >= distance;
        let far: f64 = (0..=most)
            .filter(|&sum| as_far(sum))
            .map(|sum| sums[sum])
            .sum();
        far / sums.iter().sum::<f64>()
    }

    /// By the normal distribution, corrected for ties and for continuity.
    fn approximate(&self) -> f64 {
        let count = self.doubled.len() as f64;
        let (first, second) = (self.first as f64, count - self.first as f64);
        let cubes = |&tie: &usize| (tie as f64).powi(3) - tie as f64;
        let ties: f64 = self.ties.iter().map(cubes).sum();
        let spread = count + 1.0 - ties / (count * (count - 1.0));
        let deviation = (first * second / 12.0 * spread).sqrt();
        let distance = self.sum.abs_diff(self.expected()) as f64 / 2.0;
        if deviation == 0.0 {
            return 1.0;
        }
        let z = (distance - 0.5).max(0.0) / deviation;
        libm::erfc(z * std::f64::consts::FRAC_1_SQRT_2)
    }
}

/// The percentile bootstrap (Efron 1979) of the ratio of medians: both sets are drawn again and again from themselves. Draws
/// without a ratio count as the ratio itself.
fn interval(before: &[f64], after: &[f64], ratio: f64) -> (f64, f64) {
    let mut rng = Rng::new(SEED, 0);
    let (mut first, mut second) = (before.to_vec(), after.to_vec());
    let mut ratios: Vec<f64> = (0..RESAMPLES)
        .map(|_| {
            draw(before, &mut first, &mut rng);
            draw(after, &mut second, &mut rng);
            ratio_of((median(&mut first), median(&mut second))).unwrap_or(ratio)
        })
        .collect();
    ratios.sort_by(f64::total_cmp);
    let at = |share: f64| ratios[(share * (RESAMPLES - 1) as f64).round() as usize];
    (at(TAIL), at(1.0 - TAIL))
}

fn draw(from: &[f64], into: &mut [f64], rng: &mut Rng) {
    into.fill_with(|| from[rng.below(from.len() as u64) as usize]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;

    fn close(value: f64, expected: f64) {
        assert!(
            (value - expected).abs() < 1e-9,
            "{value} instead of {expected}"
        );
    }

    /// `scipy.stats.mannwhitneyu`, version 1.17.
    #[test]
    fn p_values_are_those_of_scipy() {
        close(
            mann_whitney(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]),
            0.028_571_428_571_428_57,
        );
        let (male, female) = ([19.0, 22.0, 16.0, 29.0, 24.0], [20.0, 11.0, 17.0, 12.0]);
        close(mann_whitney(&male, &female), 0.111_111_111_111_111_1);
        let one = [1.2, 3.4, 2.2, 5.1, 4.8, 0.9];
        let other = [2.1, 6.3, 5.9, 7.2, 8.8];
        close(mann_whitney(&one, &other), 0.051_948_051_948_051_95);
        // 75 values with many ties: the normal approximation.
        let one: Vec<f64> = (0..40).map(|i| f64::from(i * 7 % 53)).collect();
        let other: Vec<f64> = (0..35).map(|i| f64::from(i * 11 % 47 + 6)).collect();
        close(mann_whitney(&one, &other), 0.267_013_051_180_164_7);
    }

    /// Every way to choose the first set, one by one.
    fn by_enumeration(one: &[f64], other: &[f64]) -> f64 {
        let ranks = Ranks::new(one, other);
        let all = ranks.doubled.len();
        let distance = |sum: usize| sum.abs_diff(ranks.expected());
        let (mut far, mut total) = (0.0, 0.0);
        for mask in (0_u32..1 << all).filter(|mask| mask.count_ones() as usize == one.len()) {
            let chosen = (0..all).filter(|bit| mask >> bit & 1 == 1);
            let sum = chosen.map(|bit| ranks.doubled[bit]).sum();
            total += 1.0;
            far += f64::from(u8::from(distance(sum) >= distance(ranks.sum)));
        }
        far / total
    }

    proptest! {
        #[test]
        fn exact_p_values_count_every_way(
            one in prop::collection::vec(0_u8..6, 1..6),
            other in prop::collection::vec(0_u8..6, 1..6),
        ) {
            let floats = |set: &[u8]| set.iter().map(|&value| value.into()).collect::<Vec<f64>>();
            let (one, other) = (floats(&one), floats(&other));
            let p = mann_whitney(&one, &other);
            prop_assert!((p - by_enumeration(&one, &other)).abs() < 1e-12);
            prop_assert!((p - mann_whitney(&other, &one)).abs() < 1e-12);
        }

        #[test]
        fn any_values_can_be_compared(
            before in prop::collection::vec(any::<f64>(), 0..9),
            after in prop::collection::vec(any::<f64>(), 0..9),
            noise in 0.0..1.0,
        ) {
            if let Some(comparison) = compare_sets(&before, &after, noise) {
                prop_assert!(comparison.p.is_none_or(|p| (0.0..=1.0 + 1e-12).contains(&p)));
                prop_assert_eq!(comparison.runs, (before.len(), after.len()));
            }
        }
    }

    #[test]
    fn the_approximation_meets_the_exact_value() {
        let one: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 53)).collect();
        let other: Vec<f64> = (0..25).map(|i| f64::from(i * 11 % 47 + 9)).collect();
        let ranks = Ranks::new(&one, &other);
        let (exact, approximate) = (ranks.exact(), ranks.approximate());
        assert!((exact - approximate).abs() < 0.002, "{exact} {approximate}");
    }

    /// So many runs of about `mean`, spread by `noise` (a standard deviation, as a share): the sum of twelve draws is as good as normal.
    fn runs(rng: &mut Rng, count: usize, mean: f64, noise: f64) -> Vec<f64> {
        let mut uniform = || rng.next_u64() as f64 / u64::MAX as f64;
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (0..count)
            .map(|_| mean * (1.0 + noise * normal()))
            .collect()
    }

    #[test]
    fn no_change_is_seldom_taken_for_one() {
        let wrong = (0..200).filter(|&seed| {
            let mut rng = Rng::new(seed, 1);
            let before = runs(&mut rng, 8, 12.0, 0.02);
            let after = runs(&mut rng, 8, 12.0, 0.02);
            compare_sets(&before, &after, 0.03).unwrap().change != Change::Same
        });
        let wrong = wrong.count();
        assert!(wrong <= 10, "{wrong} of 200");
    }

    #[test]
    fn the_test_errs_as_often_as_it_says() {
        let significant = (0..2_000).filter(|&seed| {
            let mut rng = Rng::new(seed, 4);
            let before = runs(&mut rng, 8, 12.0, 0.04);
            mann_whitney(&before, &runs(&mut rng, 8, 12.0, 0.04)) < SIGNIFICANT
        });
        // 4.99 % of 2000 are 100; three standard deviations are 29.
        let significant = significant.count();
        assert!((71..=129).contains(&significant), "{significant} of 2000");
    }

    #[test]
    fn ten_percent_are_found_among_two_percent_of_noise() {
        for seed in 0..100 {
            let mut rng = Rng::new(seed, 2);
            let before = runs(&mut rng, 8, 12.0, 0.02);
            let after = runs(&mut rng, 8, 13.2, 0.02);
            let found = compare_sets(&before, &after, 0.03).unwrap();
            assert_eq!(found.change, Change::Higher, "{found:?}");
            assert_eq!(
                compare_sets(&after, &before, 0.03).unwrap().change,
                Change::Lower
            );
        }
    }

    #[test]
    fn the_interval_holds_the_ratio() {
        let held = (0..200).filter(|&seed| {
            let mut rng = Rng::new(seed, 3);
            let before = runs(&mut rng, 10, 12.0, 0.02);
            let after = runs(&mut rng, 10, 13.2, 0.02);
            let found = compare_sets(&before, &after, 0.03).unwrap();
            let (low, high) = found.interval.unwrap();
            assert!(low <= found.ratio.unwrap() && found.ratio.unwrap() <= high);
            low <= 1.1 && 1.1 <= high
        });
        // 95 % in the long run; ten runs a side are not that.
        let held = held.count();
        assert!(held >= 180, "{held} of 200");
    }

    #[test]
    fn few_runs_have_to_be_apart() {
        let change = |before: &[f64], after: &[f64]| {
            let found = compare_sets(before, after, 0.03).unwrap();
            assert_eq!(found.p, None);
            found.change
        };
        assert_eq!(change(&[10.0], &[10.2]), Change::Same);
        assert_eq!(change(&[10.0], &[10.4]), Change::Higher);
        assert_eq!(change(&[10.4], &[10.0]), Change::Lower);
        assert_eq!(
            change(&[10.0, 10.1, 12.0], &[11.0, 11.2, 11.1]),
            Change::TooFewRuns
        );
        assert_eq!(
            change(&[10.0, 10.1, 10.2], &[11.0, 11.2, 11.1]),
            Change::Higher
        );
    }

    #[test]
    fn nothing_can_be_compared() {
        let none = compare_sets(&[0.0], &[0.0], 0.03).unwrap();
        assert_eq!((none.ratio, none.change), (Some(1.0), Change::Same));
        let some = compare_sets(&[0.0], &[1.0], 0.03).unwrap();
        assert_eq!((some.ratio, some.change), (None, Change::Higher));
        for bad in [&[][..], &[f64::NAN], &[f64::INFINITY, 1.0], &[-1.0]] {
            assert_eq!(compare_sets(bad, &[1.0], 0.03), None);
            assert_eq!(compare_sets(&[1.0], bad, 0.03), None);
        }
    }

    #[test]
    fn four_runs_a_side_can_tell() {
        assert!(!can_tell((3, 3)) && can_tell((4, 4)));
        assert!(!can_tell((1, 38)) && can_tell((1, 40)), "2 in 41");
    }
}
