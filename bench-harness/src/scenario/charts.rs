//! The course of a scenario as charts: each role a line, each phase a stretch.

use super::figures::{Interval, RoleFigures, ScenarioFigures};
use super::file::Kind;
use crate::report::page::{Axis, Band, Chart, Series, Unit};

/// Charts of a scenario share cursor and zoom. Their clock begins with the load, unlike the run's.
const GROUP: &str = "scenario";

/// Rates, latencies and connections of all roles.
pub(crate) fn charts(scenario: &ScenarioFigures) -> Vec<Chart> {
    let mut charts = vec![rates(scenario), latencies(scenario), connections(scenario)];
    for chart in &mut charts {
        chart.group = Some(GROUP.to_owned());
        chart.bands = bands(scenario);
    }
    charts
}

fn rates(scenario: &ScenarioFigures) -> Chart {
    let axis = Axis::log("", Unit::PerSecond);
    let mut chart = Chart::new("Messages per second, by role", time(), vec![axis]);
    chart.note = Some("Of churn: connections opened. Broken lines: what fell due; of broadcasts, what was to be published.".to_owned());
    for (colour, role) in scenario.roles.iter().enumerate() {
        let came = |it: &Interval| match role.kind {
            Kind::Churn => it.opened,
            _ => it.done,
        };
        let active = role.kind != Kind::Idle;
        let per_second = |of: &dyn Fn(&Interval) -> u64| -> Vec<(f64, f64)> {
            let rate = |(it, length): (&Interval, f64)| (it.at_s, of(it) as f64 / length);
            lengths(role).filter(|_| active).map(rate).collect()
        };
        chart.push(Series::new(role.name.clone(), per_second(&came), colour));
        let due = format!("{}: due", role.name);
        chart.push(Series::new(due, per_second(&|it| it.due), colour).dashed());
    }
    chart
}

fn latencies(scenario: &ScenarioFigures) -> Chart {
    let axis = Axis::log("", Unit::Micros);
    let mut chart = Chart::new("Latency (p99), by role", time(), vec![axis]);
    chart.note = Some("From the time due; of churn, until a connection was open.".to_owned());
    for (colour, role) in scenario.roles.iter().enumerate() {
        let p99 = |it: &Interval| (it.at_s, it.latency_us.map_or(f64::NAN, |times| times.p99));
        chart.push(Series::new(
            role.name.clone(),
            role.course.iter().map(p99),
            colour,
        ));
    }
    chart
}

fn connections(scenario: &ScenarioFigures) -> Chart {
    let axis = Axis::linear("", Unit::Count);
    let mut chart = Chart::new("Connections open, by role", time(), vec![axis]);
    for (colour, role) in scenario.roles.iter().enumerate() {
        let open = role.course.iter().map(|it| (it.at_s, it.open as f64));
        chart.push(Series::new(role.name.clone(), open, colour));
    }
    chart
}

/// Intervals with their lengths.
fn lengths(role: &RoleFigures) -> impl Iterator<Item = (&Interval, f64)> {
    let begins = std::iter::once(0.0).chain(role.course.iter().map(|it| it.at_s));
    role.course
        .iter()
        .zip(begins)
        .map(|(it, begin)| (it, it.at_s - begin))
}

fn bands(scenario: &ScenarioFigures) -> Vec<Band> {
    let band = |phase: &super::figures::PhaseFigures| Band {
        from: phase.from_s,
        to: phase.from_s + phase.length_s,
        label: phase.name.clone(),
        shaded: !phase.measured,
    };
    scenario.phases.iter().map(band).collect()
}

fn time() -> Axis {
    Axis::linear("since the load began", Unit::Seconds)
}
