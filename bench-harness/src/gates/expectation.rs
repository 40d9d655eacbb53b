//! What users expect of a run: `p99<5ms`, `rate >= 10k`, `errors==0`.
//!
//! ```text
//! expectation = figure operator value
//! operator    = "<" | "<=" | ">" | ">=" | "==" | "!="
//! ```
//!
//! Spaces may stand between the three. Figures are those of [`super::figure`], values have the unit of their figure.

use std::fmt::{self, Display, Formatter};
use std::str::FromStr;

use super::figure::{Figure, Figures};
use crate::report::summary::Expected;

/// A bound on a figure.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Expectation {
    /// The figure.
    pub(crate) figure: Figure,
    operator: Operator,
    bound: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operator {
    Below,
    AtMost,
    Above,
    AtLeast,
    Equal,
    Unequal,
}

/// The longer ones first, so that `<=` is not taken for `<`.
const OPERATORS: [(&str, Operator); 6] = [
    ("<=", Operator::AtMost),
    (">=", Operator::AtLeast),
    ("==", Operator::Equal),
    ("!=", Operator::Unequal),
    ("<", Operator::Below),
    (">", Operator::Above),
];

impl Expectation {
    /// Holds it against a run.
    pub(crate) fn check(&self, run: &Figures<'_>) -> Expected {
        let value = self.figure.value(run);
        Expected {
            expectation: self.to_string(),
            figure: self.figure.to_string(),
            value,
            shown: value.map_or("not measured".to_owned(), |value| {
                self.figure.unit().show(value)
            }),
            held: value.is_some_and(|value| self.operator.holds(value, self.bound)),
        }
    }
}

impl Operator {
    fn holds(self, value: f64, bound: f64) -> bool {
        match self {
            Self::Below => value < bound,
            Self::AtMost => value <= bound,
            Self::Above => value > bound,
            Self::AtLeast => value >= bound,
            Self::Equal => value == bound,
            Self::Unequal => value != bound,
        }
    }
}

impl FromStr for Expectation {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let begin = text.find(['<', '>', '=', '!']).unwrap_or(text.len());
        let (figure, rest) = text.split_at(begin);
        let known = OPERATORS
            .iter()
            .find_map(|(sign, operator)| Some((operator, rest.strip_prefix(sign)?)));
        let Some((&operator, value)) = known else {
            return Err(
                "expected a figure, one of < <= > >= == !=, and a value, such as 'p99<5ms'"
                    .to_owned(),
            );
        };
        let figure: Figure = figure.trim().parse()?;
        let bound = figure.unit().parse(value.trim());
        Ok(Self {
            operator,
            bound: bound.map_err(|error| format!("{figure}: {error}"))?,
            figure,
        })
    }
}

impl Display for Expectation {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let sign = OPERATORS
            .iter()
            .find(|(_, operator)| *operator == self.operator)
            .map_or("", |(sign, _)| sign);
        let bound = self.figure.unit().show(self.bound);
        write!(f, "{} {sign} {bound}", self.figure)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{Just, Strategy, any, prop_assert, prop_oneof, proptest};
    use serde_json::json;

    use super::*;

    fn expectation(text: &str) -> Expectation {
        text.parse().unwrap()
    }

    #[test]
    fn expectations_are_read() {
        for (text, shown) in [
            ("p99<5ms", "p99 < 5 ms"),
            ("p99.9 <= 20ms", "p99.9 <= 20 ms"),
            ("rate>10k", "rate > 10000/s"),
            ("errors==0", "errors == 0"),
            (" rss/conn < 2k ", "rss/conn < 2 KiB"),
            ("client.busy!=100%", "client.busy != 100 %"),
        ] {
            assert_eq!(expectation(text).to_string(), shown);
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, why) in [
            ("", "expected a figure"),
            ("p99", "expected a figure"),
            ("p99=5ms", "expected a figure"),
            ("p99<", "p99: expected a time"),
            ("p99<5", "p99: expected a time"),
            ("rate>5ms", "rate: expected a number per second"),
            ("p98x<5ms", "no figure is called \"p98x\""),
            ("<5ms", "no figure is called \"\""),
            ("p99<<5ms", "expected a time"),
        ] {
            let error = text.parse::<Expectation>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
    }

    #[test]
    fn bounds_are_kept_to_the_letter() {
        let summary = json!({"messages": {"per_second": 100.0}});
        let run = Figures {
            summary: &summary,
            latencies: [None, None],
        };
        for (text, held) in [
            ("rate<100", false),
            ("rate<=100", true),
            ("rate>100", false),
            ("rate>=100", true),
            ("rate==100", true),
            ("rate!=100", false),
        ] {
            assert_eq!(expectation(text).check(&run).held, held, "{text}");
        }
        let missing = expectation("p99<5s").check(&run);
        assert!(!missing.held && missing.value.is_none() && missing.shown == "not measured");
    }

    proptest! {
        #[test]
        fn nothing_typed_makes_it_panic(text in any::<String>()) {
            let _ = text.parse::<Expectation>();
        }

        #[test]
        fn nothing_like_an_expectation_makes_it_panic(
            figure in "[a-z0-9./]{0,12}",
            sign in prop_oneof![Just("<"), Just("<="), Just("=="), Just("!"), Just("=>")],
            value in "[0-9.]{0,25}".prop_flat_map(|digits| "[a-zµ%/ ]{0,3}".prop_map(move |unit| format!("{digits}{unit}"))),
        ) {
            let text = format!("{figure}{sign}{value}");
            if let Ok(known) = text.parse::<Expectation>() {
                prop_assert!(known.bound.is_finite() && known.bound >= 0.0);
                prop_assert!(!known.to_string().is_empty());
            }
        }
    }
}
