//! Whether a figure differs between two servers that were measured in the same rounds: by the ratios within the rounds, so that what
//! changes on the machine from one round to the next meets both.
//!
//! One test says how large the ratio is and whether it could be chance: Student's t of the ratios' logarithms. Tests by rank ask for
//! less, but with five rounds not even the clearest outcome is significant by them (2 in 32).

use statrs::distribution::{ContinuousCDF as _, StudentsT};

use super::compare::{Change, median};

/// Chance that a difference which is none is taken for one.
const SIGNIFICANT: f64 = 0.05;

/// With fewer rounds, nobody can tell how far they lie apart by themselves.
const FEWEST: usize = 4;

/// How a figure of one server relates to that of another.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rounds {
    /// The median of the ratios.
    pub(crate) ratio: f64,
    /// Where it lies with 95 % confidence; `None` with too few rounds.
    pub(crate) interval: Option<(f64, f64)>,
    /// What that means.
    pub(crate) change: Change,
}

/// Whether a difference is one that nobody minds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Agreement {
    /// All of the interval lies within the margin.
    Agrees,
    /// All of it lies beyond.
    Differs,
    /// It may be either: an interval that noise has made wide shows no agreement.
    NotTold,
}

impl Rounds {
    /// Whether both agree within a margin, such as 0.05: 1.05 times as much, or as little.
    pub(crate) fn agreement(&self, margin: f64) -> Agreement {
        let (least, most) = (1.0 / (1.0 + margin), 1.0 + margin);
        match self.interval {
            Some((low, high)) if least <= low && high <= most => Agreement::Agrees,
            Some((low, high)) if high < least || most < low => Agreement::Differs,
            _ => Agreement::NotTold,
        }
    }
}

/// Judges the ratios of some rounds. `noise` is the relative difference that nobody minds, such as 0.03. `None` without a round, or
/// with a ratio that is not positive.
pub(crate) fn compare_rounds(ratios: &[f64], noise: f64) -> Option<Rounds> {
    let sound = |ratio: &f64| ratio.is_finite() && *ratio > 0.0;
    if !ratios.iter().all(sound) {
        return None;
    }
    let ratio = median(ratios)?;
    let interval = (ratios.len() >= FEWEST).then(|| interval(ratios));
    let beyond = ratio > 1.0 + noise || ratio * (1.0 + noise) < 1.0;
    let change = match interval {
        None => Change::TooFewRuns,
        Some((low, _)) if beyond && low > 1.0 => Change::Higher,
        Some((_, high)) if beyond && high < 1.0 => Change::Lower,
        Some(_) => Change::Same,
    };
    Some(Rounds {
        ratio,
        interval: interval.map(|(low, high)| (low.min(ratio), high.max(ratio))),
        change,
    })
}

fn interval(ratios: &[f64]) -> (f64, f64) {
    let logs: Vec<f64> = ratios.iter().map(|ratio| ratio.ln()).collect();
    let count = logs.len() as f64;
    let mean = logs.iter().sum::<f64>() / count;
    let squares: f64 = logs.iter().map(|log| (log - mean).powi(2)).sum();
    let deviation = (squares / (count - 1.0) / count).sqrt();
    let student = StudentsT::new(0.0, 1.0, count - 1.0).expect("there are several rounds");
    let reach = student.inverse_cdf(1.0 - SIGNIFICANT / 2.0) * deviation;
    ((mean - reach).exp(), (mean + reach).exp())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;

    fn rounds(ratios: &[f64]) -> Rounds {
        compare_rounds(ratios, 0.03).unwrap()
    }

    /// So many ratios around `mean`, as of two servers whose figures vary by this share.
    fn noisy(rng: &mut Rng, count: usize, mean: f64, noise: f64) -> Vec<f64> {
        let mut uniform = || rng.next_u64() as f64 / u64::MAX as f64;
        let mut normal = || (0..12).map(|_| uniform()).sum::<f64>() - 6.0;
        (0..count)
            .map(|_| mean * (noise * normal()).exp())
            .collect()
    }

    /// By hand, with 2.7764451051978, the quantile of Student's t for four degrees of freedom in tables.
    #[test]
    fn intervals_are_those_of_tables() {
        let (low, high) = interval(&[0.9, 0.95, 1.0, 1.05, 1.1]);
        assert!(
            (low - 0.903936714889).abs() < 1e-9 && (high - 1.100731039317).abs() < 1e-9,
            "{low} {high}"
        );
    }

    #[test]
    fn servers_that_are_alike_are_seldom_told_apart() {
        for count in [4, 5, 8] {
            let wrong = (0..400).filter(|&seed| {
                let mut rng = Rng::new(seed, 8);
                rounds(&noisy(&mut rng, count, 1.0, 0.08)).change != Change::Same
            });
            // 5 % are 20; three standard deviations are 13.
            let wrong = wrong.count();
            assert!(wrong <= 33, "{wrong} of 400 with {count} rounds");
        }
    }

    #[test]
    fn five_rounds_tell_ten_percent() {
        for seed in 0..100 {
            let mut rng = Rng::new(seed, 9);
            let found = rounds(&noisy(&mut rng, 5, 1.1, 0.01));
            assert_eq!(found.change, Change::Higher, "{found:?}");
        }
    }

    #[test]
    fn the_sign_never_contradicts_the_interval() {
        let mut told = 0;
        for seed in 0..300 {
            let mut rng = Rng::new(seed, 10);
            let found = rounds(&noisy(&mut rng, 5, 0.93, 0.05));
            let (low, high) = found.interval.unwrap();
            assert!(low <= found.ratio && found.ratio <= high);
            let apart = high < 1.0 || low > 1.0;
            match found.change {
                Change::Same => assert!(!apart || (found.ratio - 1.0).abs() < 0.031, "{found:?}"),
                _ => assert!(apart, "{found:?}"),
            }
            told += usize::from(found.change == Change::Lower);
        }
        assert!((50..290).contains(&told), "{told} of 300");
    }

    #[test]
    fn noise_is_no_agreement() {
        let agreement = |interval| {
            let rounds = Rounds {
                ratio: 1.0,
                interval,
                change: Change::Same,
            };
            rounds.agreement(0.05)
        };
        for (interval, expected) in [
            (Some((0.98, 1.04)), Agreement::Agrees),
            (Some((1.01, 1.04)), Agreement::Agrees),
            (Some((0.28, 3.07)), Agreement::NotTold),
            (Some((1.01, 1.06)), Agreement::NotTold),
            (Some((1.06, 1.08)), Agreement::Differs),
            (Some((0.80, 0.94)), Agreement::Differs),
            (None, Agreement::NotTold),
        ] {
            assert_eq!(agreement(interval), expected, "{interval:?}");
        }
    }

    #[test]
    fn few_rounds_tell_nothing() {
        let few = rounds(&[2.0, 2.0, 2.0]);
        assert_eq!(
            (few.ratio, few.interval, few.change),
            (2.0, None, Change::TooFewRuns)
        );
        assert_eq!(rounds(&[2.0; 4]).change, Change::Higher);
        assert_eq!(rounds(&[1.0; 4]).change, Change::Same);
        for bad in [&[][..], &[0.0, 1.0], &[f64::INFINITY], &[f64::NAN], &[-1.0]] {
            assert_eq!(compare_rounds(bad, 0.03), None);
        }
    }
}
