//! From runs to figures: medians over the rounds, ratios within them, and whether a difference could be chance.

use std::collections::BTreeMap;

use super::results::{CaseRecord, Results, Role};
use crate::stats::compare::median;
pub(crate) use crate::stats::rounds::Rounds as Versus;
use crate::stats::rounds::compare_rounds;

/// The difference between two servers that nobody minds.
pub(crate) const NOISE: f64 = 0.03;

/// The floor that others are set beside.
const FLOOR: &str = "floor-ring";

/// A median over the rounds, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Figure {
    pub(crate) median: f64,
    pub(crate) lowest: f64,
    pub(crate) highest: f64,
}

/// One line of a case's table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) label: String,
    /// By metric of the case.
    pub(crate) figures: Vec<Option<Figure>>,
    /// The first entrant's primary figure over this one's.
    pub(crate) versus: Option<Versus>,
    /// This one's primary figure over the floor's.
    pub(crate) over_floor: Option<Versus>,
    /// Its throughput is not the client's.
    pub(crate) throughput_valid: bool,
}

/// The lines of a case's table.
pub(crate) fn rows(case: &CaseRecord) -> Vec<Row> {
    let first = &case.entrants[0];
    case.entrants
        .iter()
        .map(|label| Row {
            label: label.clone(),
            figures: case
                .metrics
                .iter()
                .map(|metric| figure(&case.values(label, &metric.key)))
                .collect(),
            versus: (label != first)
                .then(|| versus(case, first, label))
                .flatten(),
            over_floor: over_floor(case, label),
            throughput_valid: case.throughput_valid(label),
        })
        .collect()
}

/// The median of what an entrant has of a metric.
pub(crate) fn median_of(case: &CaseRecord, label: &str, key: &str) -> Option<f64> {
    figure(&case.values(label, key)).map(|figure| figure.median)
}

/// What is quoted of a case.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Headline {
    /// The first entrant's.
    pub(crate) first: Option<Figure>,
    pub(crate) floor: Option<Figure>,
    /// The best of those that are neither Corecast nor a floor.
    pub(crate) best: Option<(String, Figure)>,
    /// The first one beside that.
    pub(crate) versus: Option<Versus>,
}

/// What is quoted of a case: by its primary metric, of which less is better.
pub(crate) fn headline(results: &Results, case: &CaseRecord) -> Headline {
    let key = &case.metrics[0].key;
    let of = |label: &str| figure(&case.values(label, key));
    let others = case
        .entrants
        .iter()
        .filter(|label| results.role(label) == Some(Role::Other) && **label != case.entrants[0]);
    let best = others
        .filter_map(|label| Some((label.clone(), of(label)?)))
        .min_by(|one, other| one.1.median.total_cmp(&other.1.median));
    let first = &case.entrants[0];
    Headline {
        first: of(first),
        floor: of(FLOOR),
        versus: best
            .as_ref()
            .and_then(|(label, _)| versus(case, first, label)),
        best,
    }
}

/// How one entrant's primary figure relates to another's.
pub(crate) fn versus(case: &CaseRecord, subject: &str, against: &str) -> Option<Versus> {
    let key = &case.metrics[0].key;
    ratio_of(case, subject, against, key)
}

/// How one entrant's figure relates to another's.
pub(crate) fn ratio_of(
    case: &CaseRecord,
    subject: &str,
    against: &str,
    key: &str,
) -> Option<Versus> {
    let (above, below) = (case.values(subject, key), case.values(against, key));
    compare_rounds(&within_rounds(&above, &below), NOISE)
}

fn over_floor(case: &CaseRecord, label: &str) -> Option<Versus> {
    (label != FLOOR)
        .then(|| versus(case, label, FLOOR))
        .flatten()
}

/// `above` over `below`, in each round that both have.
fn within_rounds(above: &BTreeMap<u64, f64>, below: &BTreeMap<u64, f64>) -> Vec<f64> {
    above
        .iter()
        .filter_map(|(round, value)| {
            let other = *below.get(round)?;
            (other > 0.0).then_some(value / other)
        })
        .collect()
}

fn figure(values: &BTreeMap<u64, f64>) -> Option<Figure> {
    let mut list: Vec<f64> = values.values().copied().collect();
    list.sort_by(f64::total_cmp);
    Some(Figure {
        median: median(&list)?,
        lowest: *list.first()?,
        highest: *list.last()?,
    })
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;
    use crate::stats::compare::Change;

    #[test]
    fn ratios_are_taken_within_rounds() {
        // Both drift upwards by the same factor: the medians alone would be compared across rounds.
        let case = samples::case(
            "c",
            &[
                ("corecast", &[1.0, 2.0, 4.0, 8.0]),
                ("bun", &[2.0, 4.0, 8.0, 16.0]),
            ],
        );
        let versus = versus(&case, "corecast", "bun").unwrap();
        assert_eq!(versus.ratio, 0.5);
        assert_eq!(versus.interval, Some((0.5, 0.5)), "the same in every round");
    }

    #[test]
    fn a_round_that_only_one_has_is_left_out() {
        let mut case = samples::case("c", &[("corecast", &[1.0, 9.0]), ("bun", &[2.0, 3.0])]);
        samples::spoil(&mut case, "bun", 2);
        assert_eq!(versus(&case, "corecast", "bun").unwrap().ratio, 0.5);
        assert_eq!(case.invalid().len(), 1);
        assert_eq!(median_of(&case, "bun", "cost"), Some(2.0), "never averaged");
    }

    #[test]
    fn five_rounds_tell_a_difference_and_two_do_not() {
        let low = [1.0, 1.01, 0.99, 1.02, 1.0];
        let high = [2.0, 2.02, 1.98, 2.0, 2.01];
        let case = samples::case("c", &[("corecast", &low), ("bun", &high)]);
        let told = versus(&case, "corecast", "bun").unwrap();
        assert_eq!(told.change, Change::Lower);
        assert!(told.interval.unwrap().1 < 0.52, "{told:?}");
        let same = samples::case("c", &[("corecast", &low), ("bun", &low)]);
        assert_eq!(
            versus(&same, "corecast", "bun").unwrap().change,
            Change::Same
        );
        let few = samples::case("c", &[("corecast", &low[..2]), ("bun", &high[..2])]);
        let few = versus(&few, "corecast", "bun").unwrap();
        assert_eq!((few.interval, few.change), (None, Change::TooFewRuns));
    }

    #[test]
    fn the_best_other_is_no_floor_and_no_variant() {
        let results = samples::results();
        let headline = headline(&results, &results.cases[0]);
        assert_eq!(headline.best.unwrap().0, "bun");
        assert_eq!(headline.floor.unwrap().median, 1.0);
        assert_eq!(headline.versus.unwrap().ratio, 0.5);
    }

    #[test]
    fn a_floor_of_nothing_has_no_ratio() {
        let case = samples::case("c", &[("corecast", &[1.0]), ("floor-ring", &[0.0])]);
        assert_eq!(rows(&case)[0].over_floor, None);
        assert_eq!(versus(&case, "corecast", "floor-ring"), None);
    }
}
