//! The Mann–Whitney U test: whether two sets of values are ordered as chance would order them.

use super::compare::SIGNIFICANT;

/// Up to so many values in both sets the p value is counted out exactly; with more the normal approximation is as good.
const EXACT_UP_TO: usize = 50;

/// Standard deviations beyond which the normal distribution has 2.5 %, half of what is significant.
const NORMAL_TAIL: f64 = 1.959_963_984_540_054;

/// The p value of the Mann–Whitney U test, two-sided (Mann and Whitney 1947): the chance that the ranks of one set lie at least as far
/// from what is expected as they do, when both sets are of one kind. Values that are equal share their ranks.
pub(super) fn mann_whitney(one: &[f64], other: &[f64]) -> f64 {
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

/// The p value of the clearest outcome there is, all of one set above all of the other: two in all the ways to deal the runs out.
pub(super) fn least_p((before, after): (usize, usize)) -> f64 {
    let ways = (1..=before.min(after)).fold(1.0, |ways, n| {
        ways * ((before.max(after) + n) as f64) / n as f64
    });
    2.0 / ways
}

/// How many ratios the interval leaves out at each end: the most by which U may lie above its least and still be significant.
pub(super) fn cut((before, after): (usize, usize)) -> Option<usize> {
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
    use proptest::prelude::{prop, prop_assert, proptest};

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
    }

    #[test]
    fn the_approximation_meets_the_exact_value() {
        let one: Vec<f64> = (0..24).map(|i| f64::from(i * 7 % 53)).collect();
        let other: Vec<f64> = (0..25).map(|i| f64::from(i * 11 % 47 + 9)).collect();
        let ranks = Ranks::new(&one, &other);
        let (exact, approximate) = (ranks.exact(), ranks.approximate());
        assert!((exact - approximate).abs() < 0.002, "{exact} {approximate}");
    }
}
