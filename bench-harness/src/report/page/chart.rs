//! Charts, as data: `charts.js` draws them.

use serde::Serialize;

/// Digits that a chart can show.
const DIGITS: usize = 6;

/// A chart with one x axis, and one or two y axes.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Chart {
    /// What it shows.
    pub(crate) title: String,
    /// What a reader should know of it.
    #[serde(skip)]
    pub(crate) note: Option<String>,
    /// The axis at the bottom.
    pub(crate) x: Axis,
    /// The axis on the left, and perhaps one on the right.
    pub(crate) y: Vec<Axis>,
    /// What is drawn.
    pub(crate) series: Vec<Series>,
    /// Stretches of the x axis that have a name.
    pub(crate) bands: Vec<Band>,
    /// Charts of one group share cursor and zoom.
    pub(crate) group: Option<String>,
}

/// An axis.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Axis {
    /// What it shows; may be empty where the title says it.
    pub(crate) label: String,
    /// Logarithmic; else from 0.
    pub(crate) log: bool,
    /// How its values read.
    pub(crate) unit: Unit,
}

/// How values read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Unit {
    /// A number, with k and M from 1000 on.
    Count,
    /// The same, of things in a second.
    PerSecond,
    /// Seconds.
    Seconds,
    /// Microseconds, shown as µs, ms or s.
    Micros,
    /// Bytes, shown in binary units.
    Bytes,
    /// A share, shown in percent.
    Share,
    /// `1 / (1 - q)` for the quantile `q`, shown as the percentile: 10 is 90 %, 100 is 99 %.
    Percentile,
}

/// A line.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Series {
    /// What the legend calls it.
    pub(crate) name: String,
    /// The y axis it belongs to: 0 is the left one.
    pub(crate) axis: usize,
    /// Broken, as for what was asked for.
    pub(crate) dashed: bool,
    /// The colour, by number; charts of one group use one colour for one thing.
    pub(crate) colour: usize,
    x: Vec<f64>,
    y: Vec<Option<f64>>,
}

/// A stretch of the x axis with a name.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Band {
    /// Where it begins.
    pub(crate) from: f64,
    /// Where it ends.
    pub(crate) to: f64,
    /// What is written into it.
    pub(crate) label: String,
    /// Whether it is shaded, as what does not count, or only has its name.
    pub(crate) shaded: bool,
}

impl Chart {
    /// A chart without series yet.
    pub(crate) fn new(title: impl Into<String>, x: Axis, y: Vec<Axis>) -> Self {
        Self {
            title: title.into(),
            note: None,
            x,
            y,
            series: Vec::new(),
            bands: Vec::new(),
            group: None,
        }
    }

    /// Adds a line, unless it has no value at all.
    pub(crate) fn push(&mut self, series: Series) {
        if series.y.iter().any(Option::is_some) {
            self.series.push(series);
        }
    }
}

impl Axis {
    /// From 0.
    pub(crate) fn linear(label: impl Into<String>, unit: Unit) -> Self {
        Self {
            label: label.into(),
            log: false,
            unit,
        }
    }

    /// Logarithmic: values that are not above 0 are not drawn.
    pub(crate) fn log(label: impl Into<String>, unit: Unit) -> Self {
        Self {
            log: true,
            ..Self::linear(label, unit)
        }
    }
}

impl Series {
    /// A line through points, in rising order of x. A y that is not a number is a gap. The line has the next colour.
    pub(crate) fn new(
        name: impl Into<String>,
        points: impl IntoIterator<Item = (f64, f64)>,
        colour: usize,
    ) -> Self {
        let (x, y) = points
            .into_iter()
            .map(|(x, y)| (rounded(x), y.is_finite().then(|| rounded(y))))
            .unzip();
        Self {
            name: name.into(),
            axis: 0,
            dashed: false,
            colour,
            x,
            y,
        }
    }

    /// On the right axis.
    pub(crate) fn on_the_right(self) -> Self {
        Self { axis: 1, ..self }
    }

    /// Broken.
    pub(crate) fn dashed(self) -> Self {
        Self {
            dashed: true,
            ..self
        }
    }
}

/// A value with the digits that a chart can show: the rest would be most of the file.
fn rounded(value: f64) -> f64 {
    let text = format!("{value:.*e}", DIGITS - 1);
    text.parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_keep_six_digits() {
        assert_eq!(rounded(12_345.678_9), 12_345.7);
        assert_eq!(rounded(0.000_123_456_789), 0.000_123_457);
        assert_eq!((rounded(0.0), rounded(-3.0)), (0.0, -3.0));
    }

    #[test]
    fn a_value_that_is_none_is_a_gap_and_a_line_of_gaps_is_none() {
        let axis = || Axis::linear("", Unit::Count);
        let mut chart = Chart::new("t", axis(), vec![axis()]);
        chart.push(Series::new("a", [(0.0, 1.0), (1.0, f64::NAN)], 0));
        chart.push(Series::new("b", [(0.0, f64::NAN)], 1));
        let json = serde_json::to_value(&chart).unwrap();
        assert_eq!(json["series"].as_array().unwrap().len(), 1);
        assert_eq!(json["series"][0]["y"], serde_json::json!([1.0, null]));
    }
}
