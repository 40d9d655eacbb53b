//! Whether a figure differs between two sets of runs: by how much, and whether that could be chance.
//!
//! A change counts when it is larger than what the user allows for *and* unlikely to be chance: by the Mann–Whitney U test, which asks
//! only how the runs of both sets are ordered, so that one wild run decides nothing. Many figures are compared at once, and of twenty
//! that did not change one would look as if it had: their p values are adjusted for their number by Holm's method, which keeps the
//! chance that *any* of a family is taken for a change at 5 %. So few runs that even the clearest outcome could be chance tell nothing,
//! and are told so.

use serde::Serialize;

use super::ranks::{cut, least_p, mann_whitney};

/// Chance that a difference which is none is taken for one, in all the figures that are compared together.
pub(super) const SIGNIFICANT: f64 = 0.05;

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

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};

    use super::*;
    use crate::rng::Rng;

    proptest! {
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
