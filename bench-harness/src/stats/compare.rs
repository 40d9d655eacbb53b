//! Whether a figure differs between two sets of runs: by how much, and whether that could be chance.
//!
//! A change counts when it is larger than what the user allows for *and* unlikely to be chance: by the Mann–Whitney U test, which asks
//! only how the runs of both sets are ordered, so that one wild run decides nothing. Many figures are compared at once, and of twenty
//! that did not change one would look as if it had: their p values are adjusted for their number by Holm's method, which keeps the
//! chance that *any* of a family is taken for a change at 5 %. So few runs that even the clearest outcome could be chance tell nothing,
//! and are told so.

use serde::Serialize;

/// Chance that a difference which is none is taken for one, in all the figures that are compared together.
const SIGNIFICANT: f64 = 0.05;

/// Up to so many values in both sets the p value is counted out exactly; with more the normal approximation is as good.
const EXACT_UP_TO: usize = 50;

/// Standard deviations beyond which the normal distribution has 2.5 %, half of what is significant.
const NORMAL_TAIL: f64 = 1.959_963_984_540_054;

/// How a figure changed from one set of runs to another.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Comparison {
    /// Runs in each set.
    pub(crate) runs: (usize, usize),
    /// Median of each set.
    pub(crate) medians: (f64, f64),
    /// The second median over the first; `None` when only the first is 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
    /// Where the ratio lies with at least 95 % confidence, looked at alone; `None` when the runs are too few for that, or without a
    /// ratio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) interval: Option<(f64, f64)>,
    /// Chance of a difference at least as clear when there is none, two-sided, looked at alone. `None` when the runs are too few for
    /// any outcome to be significant.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p: Option<f64>,
    /// The same among all figures that are compared together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p_adjusted: Option<f64>,
    /// What that means.
    pub(crate) change: Change,
    #[serde(skip)]
    tolerance: Tolerance,
}

/// A difference that nobody minds, however sure it is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Tolerance {
    /// As a share, such as 0.03; as wide downwards: 1.03 times as much, or 1.03 times as little.
    pub(crate) relative: f64,
    /// In the figure's unit: what is next to nothing may double and still be next to nothing.
    pub(crate) absolute: f64,
}

/// What became of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Change {
    /// It grew.
    Higher,
    /// It shrank.
    Lower,
    /// Within what nobody minds, or not told from chance.
    Same,
    /// No outcome of so few runs could be told from chance.
    TooFewRuns,
}

/// Compares what was measured before with what was measured after, as the only figure: several are [`adjust`]ed afterwards. `None`
/// when a set is empty, or has a value that is negative or no number.
pub(crate) fn compare_sets(
    before: &[f64],
    after: &[f64],
    tolerance: Tolerance,
) -> Option<Comparison> {
    let sound = |set: &[f64]| {
        !set.is_empty()
            && set
                .iter()
                .all(|value| value.is_finite() && value.is_sign_positive())
    };
    if !sound(before) || !sound(after) {
        return None;
    }
    let medians = (median(before)?, median(after)?);
    let ratio = ratio_of(medians);
    let runs = (before.len(), after.len());
    let mut comparison = Comparison {
        runs,
        medians,
        ratio,
        interval: ratio.and_then(|ratio| interval(before, after, ratio)),
        p: (least_p(runs) < SIGNIFICANT).then(|| mann_whitney(before, after)),
        p_adjusted: None,
        change: Change::Same,
        tolerance,
    };
    adjust(&mut [&mut comparison]);
    Some(comparison)
}

/// Judges figures that are compared together (Holm 1979): the smallest p value counts as many times as there are figures, the next
/// one time less, and none less than the one before it. Figures of too few runs to be tested at all are no part of the family.
pub(crate) fn adjust(family: &mut [&mut Comparison]) {
    let mut tested: Vec<&mut &mut Comparison> =
        family.iter_mut().filter(|one| one.p.is_some()).collect();
    let p = |one: &Comparison| one.p.unwrap_or(1.0);
    tested.sort_by(|one, other| p(one).total_cmp(&p(other)));
    let count = tested.len();
    let mut least: f64 = 0.0;
    for (before, one) in tested.into_iter().enumerate() {
        least = least.max((p(one) * (count - before) as f64).min(1.0));
        one.p_adjusted = Some(least);
    }
    for one in family {
        one.change = one.judge(count);
    }
}

/// Runs that each side needs for the clearest outcome to be significant among so many figures.
pub(crate) fn runs_needed(figures: usize) -> usize {
    let enough = |runs: &usize| least_p((*runs, *runs)) * figures.max(1) as f64 <= BELOW;
    (1..).find(enough).expect("more runs tell more")
}

/// Just under what is significant, so that what is computed in another order is not taken for less.
const BELOW: f64 = SIGNIFICANT * (1.0 - 1e-9);

impl Comparison {
    /// Whether the runs could tell a change among so many figures.
    fn can_tell(&self, figures: usize) -> bool {
        least_p(self.runs) * figures.max(1) as f64 <= BELOW
    }

    fn judge(&self, figures: usize) -> Change {
        let sure = self.p_adjusted.is_some_and(|p| p <= BELOW);
        match self.beyond() {
            Some(change) if sure => change,
            _ if self.can_tell(figures) || sure => Change::Same,
            _ => Change::TooFewRuns,
        }
    }

    /// In which direction it lies beyond what nobody minds.
    fn beyond(&self) -> Option<Change> {
        let (before, after) = self.medians;
        let Tolerance { relative, absolute } = self.tolerance;
        if (after - before).abs() <= absolute {
            return None;
        }
        // What was nothing and is something has grown beyond any share.
        match self.ratio.unwrap_or(f64::INFINITY) {
            higher if higher > 1.0 + relative => Some(Change::Higher),
            lower if lower * (1.0 + relative) < 1.0 => Some(Change::Lower),
            _ => None,
        }
    }
}

/// 1 when both are 0.
fn ratio_of((before, after): (f64, f64)) -> Option<f64> {
    if before > 0.0 {
        Some(after / before)
    } else {
        (after == 0.0).then_some(1.0)
    }
}

/// The middle value, or the mean of the two in the middle; `None` when there is none.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        even if even % 2 == 0 => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
        _ => Some(sorted[middle]),
    }
}

/// The p value of the clearest outcome there is, all of one set above all of the other: two in all the ways to deal the runs out.
fn least_p((before, after): (usize, usize)) -> f64 {
    let ways = (1..=before.min(after)).fold(1.0, |ways, n| {
        ways * ((before.max(after) + n) as f64) / n as f64
    });
    2.0 / ways
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

    /// Counts the ways to choose the first set that lie as far out.
    fn exact(&self) -> f64 {
        let ways = self.ways();
        let distance = self.sum.abs_diff(self.expected());
        let as_far = |sum: usize| sum.abs_diff(self.expected()) >= distance;
        let far: f64 = (0..ways.len())
            .filter(|&sum| as_far(sum))
            .map(|sum| ways[sum])
            .sum();
        far / ways.iter().sum::<f64>()
    }

    /// In how many ways the first set can be chosen, by the sum of its doubled ranks.
    fn ways(&self) -> Vec<f64> {
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
        ways.swap_remove(self.first)
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

/// Where the ratio lies: the ratios of every run after to every run before, in order, without so many at both ends as the
/// Mann–Whitney test allows (Hodges and Lehmann 1963; Bauer 1972). It leaves 1 out exactly when the test, of this figure alone,
/// is significant. `None` when the runs are too few for 95 %.
fn interval(before: &[f64], after: &[f64], ratio: f64) -> Option<(f64, f64)> {
    let cut = cut((before.len(), after.len()))?;
    let of = |&before: &f64| move |&after: &f64| ratio_of((before, after)).unwrap_or(f64::INFINITY);
    let mut ratios: Vec<f64> = before
        .iter()
        .flat_map(|run| after.iter().map(of(run)))
        .collect();
    ratios.sort_by(f64::total_cmp);
    let (low, high) = (ratios[cut], ratios[ratios.len() - 1 - cut]);
    // The medians' ratio is another estimate of the same; it is the one that is shown.
    let interval = (low.min(ratio), high.max(ratio));
    high.is_finite().then_some(interval)
}

/// How many ratios the interval leaves out at each end: the most by which U may lie above its least and still be significant.
fn cut((before, after): (usize, usize)) -> Option<usize> {
    let pairs = before * after;
    if before + after > EXACT_UP_TO {
        let deviation = (pairs as f64 * (before + after + 1) as f64 / 12.0).sqrt();
        let cut = pairs as f64 / 2.0 - NORMAL_TAIL * deviation - 0.5;
        return (cut >= 0.0).then_some(cut as usize);
    }
    // Any values will do that are all different.
    let values: Vec<f64> = (0..before + after).map(|value| value as f64).collect();
    let ways = Ranks::new(&values[..before], &values[before..]).ways();
    let (all, least) = (ways.iter().sum::<f64>(), before * (before + 1));
    let mut share = 0.0;
    let significant = |u: &usize| {
        share += ways[least + 2 * u] / all;
        share <= SIGNIFICANT / 2.0
    };
    (0..=pairs).take_while(significant).last()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::rng::Rng;

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
            relative in 0.0..1.0,
        ) {
            let tolerance = Tolerance { relative, absolute: 0.0 };
            if let Some(comparison) = compare_sets(&before, &after, tolerance) {
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

    const NOISE: Tolerance = Tolerance {
        relative: 0.03,
        absolute: 0.0,
    };

    fn compared(before: &[f64], after: &[f64]) -> Comparison {
        compare_sets(before, after, NOISE).unwrap()
    }

    /// So many figures that did not change, compared together.
    fn family(seed: u64, figures: usize, count: usize, noise: f64) -> Vec<Comparison> {
        let mut rng = Rng::new(seed, 5);
        let mut one = || runs(&mut rng, count, 12.0, noise);
        (0..figures).map(|_| compared(&one(), &one())).collect()
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
    fn of_many_figures_that_did_not_change_none_is_taken_for_one() {
        let changed = |family: &[Comparison]| {
            let told = |one: &Comparison| matches!(one.change, Change::Higher | Change::Lower);
            family.iter().any(told)
        };
        let (mut alone, mut together) = (0, 0);
        for seed in 0..200 {
            let mut figures = family(seed, 13, 8, 0.06);
            alone += usize::from(changed(&figures));
            adjust(&mut figures.iter_mut().collect::<Vec<_>>());
            together += usize::from(changed(&figures));
        }
        assert!(together <= 10, "{together} of 200");
        // What the adjustment is for.
        assert!(alone >= 60, "{alone} of 200");
    }

    #[test]
    fn holm_counts_the_figures_that_are_left() {
        // Eight runs: all apart, all but one pair apart, and no difference.
        let low: Vec<f64> = (0..8).map(|n| 10.0 + f64::from(n) / 100.0).collect();
        let high: Vec<f64> = low.iter().map(|value| value + 2.0).collect();
        let mut nearly = high.clone();
        nearly[7] = 9.0;
        let mut family = [
            compared(&low, &nearly),
            compared(&low, &low),
            compared(&low, &high),
            compared(&[1.0], &[2.0]),
        ];
        let alone: Vec<Option<f64>> = family.iter().map(|one| one.p).collect();
        adjust(&mut family.iter_mut().collect::<Vec<_>>());
        let adjusted: Vec<Option<f64>> = family.iter().map(|one| one.p_adjusted).collect();
        let times = |p: Option<f64>, times: f64| p.map(|p| (p * times).min(1.0));
        assert_eq!(
            adjusted,
            [
                times(alone[0], 2.0),
                times(alone[1], 1.0),
                times(alone[2], 3.0),
                None
            ]
        );
        let changes = family.map(|one| one.change);
        assert_eq!(
            changes,
            [
                Change::Higher,
                Change::Same,
                Change::Higher,
                Change::TooFewRuns
            ]
        );
    }

    #[test]
    fn ten_percent_are_found_among_two_percent_of_noise() {
        for seed in 0..100 {
            let mut rng = Rng::new(seed, 2);
            let before = runs(&mut rng, 8, 12.0, 0.02);
            let after = runs(&mut rng, 8, 13.2, 0.02);
            let mut figures = family(seed, 12, 8, 0.02);
            figures.extend([compared(&before, &after), compared(&after, &before)]);
            adjust(&mut figures.iter_mut().collect::<Vec<_>>());
            let changes: Vec<Change> = figures.iter().map(|one| one.change).collect();
            assert_eq!(
                changes[12..],
                [Change::Higher, Change::Lower],
                "{figures:?}"
            );
        }
    }

    #[test]
    fn the_interval_holds_the_ratio() {
        for count in [4, 5, 8, 30] {
            let held = (0..400).filter(|&seed| {
                let mut rng = Rng::new(seed, 3);
                let before = runs(&mut rng, count, 12.0, 0.02);
                let after = runs(&mut rng, count, 13.2, 0.02);
                let found = compared(&before, &after);
                let (low, high) = found.interval.unwrap();
                assert!(low <= found.ratio.unwrap() && found.ratio.unwrap() <= high);
                low <= 1.1 && 1.1 <= high
            });
            // At least 95 % in the long run: 380, and three standard deviations are 13.
            let held = held.count();
            assert!(held >= 367, "{held} of 400 with {count} runs");
        }
    }

    #[test]
    fn the_interval_and_the_test_say_the_same() {
        let mut significant = 0;
        for seed in 0..300 {
            let mut rng = Rng::new(seed, 6);
            let found = compared(
                &runs(&mut rng, 6, 12.0, 0.04),
                &runs(&mut rng, 7, 12.5, 0.04),
            );
            let (low, high) = found.interval.unwrap();
            let apart = low > 1.0 || high < 1.0;
            let sure = found.p.unwrap() < SIGNIFICANT;
            // The medians' ratio may lie beyond what the test is about, and is in the interval all the same.
            assert!(sure || !apart, "{found:?}");
            significant += usize::from(sure);
        }
        assert!((30..270).contains(&significant), "{significant} of 300");
        assert_eq!(compared(&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]).interval, None);
        let all = compared(&[1.0, 2.0, 3.0, 4.0], &[5.0, 6.0, 7.0, 8.0]);
        assert_eq!(all.interval, Some((1.25, 8.0)));
    }

    #[test]
    fn few_runs_tell_nothing() {
        for (before, after) in [
            (&[10.0][..], &[10.0][..]),
            (&[10.0], &[10.4]),
            (&[10.0], &[99.0]),
            (&[10.0, 10.1, 10.2], &[20.0, 20.1, 20.2]),
        ] {
            let found = compared(before, after);
            assert_eq!((found.p, found.interval), (None, None));
            assert_eq!(found.change, Change::TooFewRuns, "{found:?}");
        }
        // Enough for one figure, and not for seven.
        let four = compared(&[10.0, 10.1, 10.2, 10.3], &[20.0, 20.1, 20.2, 20.3]);
        assert_eq!(four.change, Change::Higher);
        let mut seven = vec![four; 7];
        adjust(&mut seven.iter_mut().collect::<Vec<_>>());
        assert!(seven.iter().all(|one| one.change == Change::TooFewRuns));
        let needed: Vec<usize> = [1, 2, 6, 7, 13, 2_000].map(runs_needed).into();
        assert_eq!(needed, [4, 5, 5, 6, 6, 10]);
    }

    #[test]
    fn nothing_can_be_compared() {
        let none = compared(&[0.0; 4], &[0.0; 4]);
        assert_eq!((none.ratio, none.change), (Some(1.0), Change::Same));
        let some = compared(&[0.0; 4], &[1.0; 4]);
        assert_eq!((some.ratio, some.change), (None, Change::Higher));
        for bad in [&[][..], &[f64::NAN], &[f64::INFINITY, 1.0], &[-1.0]] {
            assert_eq!(compare_sets(bad, &[1.0], NOISE), None);
            assert_eq!(compare_sets(&[1.0], bad, NOISE), None);
        }
    }

    #[test]
    fn what_is_next_to_nothing_may_double() {
        let tolerance = Tolerance {
            relative: 0.03,
            absolute: 1.0,
        };
        let change = |after: f64| {
            compare_sets(&[0.2; 8], &[after; 8], tolerance)
                .unwrap()
                .change
        };
        assert_eq!((change(1.1), change(1.3)), (Change::Same, Change::Higher));
        let from_nothing = compare_sets(&[0.0; 8], &[0.3; 8], tolerance).unwrap();
        assert_eq!(from_nothing.change, Change::Same);
    }
}
