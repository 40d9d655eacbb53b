//! `timeseries.csv`: the rows of a run's course, for spreadsheets and plots of one's own (RFC 4180; no cell needs quotes). `FILES.md`
//! describes the columns.

use crate::stats::latency::Distribution;
use crate::telemetry::sample::{Phase, Sample, ServerSample};

/// A column: its name, which ends with the unit, and its cell in a row. An empty cell: not measured, or nothing happened.
type Column = (&'static str, fn(&Sample) -> String);

const COLUMNS: &[Column] = &[
    ("at_s", |row| seconds(row.at_s)),
    ("length_s", |row| seconds(row.length_s)),
    ("phase", |row| phase(row.phase).to_owned()),
    ("done", |row| row.done.to_string()),
    ("done_per_s", |row| per_second(row.done, row)),
    ("sent", |row| row.sent.to_string()),
    ("sent_per_s", |row| per_second(row.sent, row)),
    ("errors", |row| row.errors.to_string()),
    ("opening", |row| row.opening.to_string()),
    ("open", |row| row.open.to_string()),
    ("latency_count", |row| corrected(row, |d| d.count as f64)),
    ("latency_min_us", |row| corrected(row, |d| d.min)),
    ("latency_mean_us", |row| corrected(row, |d| d.mean)),
    ("latency_p50_us", |row| corrected(row, |d| d.p50)),
    ("latency_p90_us", |row| corrected(row, |d| d.p90)),
    ("latency_p99_us", |row| corrected(row, |d| d.p99)),
    ("latency_p99_9_us", |row| corrected(row, |d| d.p99_9)),
    ("latency_max_us", |row| corrected(row, |d| d.max)),
    ("uncorrected_min_us", |row| uncorrected(row, |d| d.min)),
    ("uncorrected_mean_us", |row| uncorrected(row, |d| d.mean)),
    ("uncorrected_p50_us", |row| uncorrected(row, |d| d.p50)),
    ("uncorrected_p90_us", |row| uncorrected(row, |d| d.p90)),
    ("uncorrected_p99_us", |row| uncorrected(row, |d| d.p99)),
    ("uncorrected_p99_9_us", |row| uncorrected(row, |d| d.p99_9)),
    ("uncorrected_max_us", |row| uncorrected(row, |d| d.max)),
    ("client_running_share", |row| number(row.client.running)),
    ("client_busy_share", |row| number(row.client.busy)),
    ("client_cpu_us", |row| number(row.client.cpu_us)),
    ("client_timer_lag_us", |row| {
        row.client.timer_lag_us.map(number).unwrap_or_default()
    }),
    ("server_cpu_us", |row| server(row, |s| Some(s.cpu_us))),
    ("server_cpu_us_per_done", |row| {
        server(row, |s| (row.done > 0).then(|| s.cpu_us / row.done as f64))
    }),
    ("server_running_share", |row| {
        server(row, |s| Some(s.running))
    }),
    ("server_busy_share", |row| server(row, |s| Some(s.busy))),
    ("server_resident_bytes", |row| {
        counted(row, |s| Some(s.memory.resident))
    }),
    ("server_anonymous_bytes", |row| {
        counted(row, |s| Some(s.memory.anonymous))
    }),
    ("server_file_bytes", |row| {
        counted(row, |s| Some(s.memory.file))
    }),
    ("server_shared_bytes", |row| {
        counted(row, |s| Some(s.memory.shared))
    }),
    ("server_descriptors", |row| counted(row, |s| s.descriptors)),
    ("server_voluntary_switches", |row| {
        counted(row, |s| s.voluntary_switches)
    }),
    ("server_involuntary_switches", |row| {
        counted(row, |s| s.involuntary_switches)
    }),
    ("server_syscalls", |row| counted(row, |s| s.syscalls)),
];

/// The file's text: a line of names, and a line for each row.
pub(super) fn csv(samples: &[Sample]) -> String {
    let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
    let mut text = names.join(",") + "\n";
    for row in samples {
        let cells: Vec<_> = COLUMNS.iter().map(|(_, cell)| cell(row)).collect();
        text += &(cells.join(",") + "\n");
    }
    text
}

/// A phase as it is called in files and charts.
pub(super) fn phase(phase: Phase) -> &'static str {
    match phase {
        Phase::Opening => "opening",
        Phase::WarmUp => "warm-up",
        Phase::Measuring => "measuring",
        Phase::Draining => "draining",
    }
}

fn per_second(count: u64, row: &Sample) -> String {
    if row.length_s > 0.0 {
        number(count as f64 / row.length_s)
    } else {
        String::new()
    }
}

fn corrected(row: &Sample, figure: fn(&Distribution) -> f64) -> String {
    row.latency_us
        .as_ref()
        .map(figure)
        .map(number)
        .unwrap_or_default()
}

fn uncorrected(row: &Sample, figure: fn(&Distribution) -> f64) -> String {
    let latency = row.uncorrected_us.as_ref();
    latency.map(figure).map(number).unwrap_or_default()
}

fn server(row: &Sample, figure: impl Fn(&ServerSample) -> Option<f64>) -> String {
    let value = row.server.as_ref().and_then(figure);
    value.map(number).unwrap_or_default()
}

fn counted(row: &Sample, figure: fn(&ServerSample) -> Option<u64>) -> String {
    let value = row.server.as_ref().and_then(figure);
    value.map(|count| count.to_string()).unwrap_or_default()
}

fn seconds(value: f64) -> String {
    format!("{value:.6}")
}

fn number(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::telemetry::sample::ClientSample;

    fn row(server: Option<ServerSample>) -> Sample {
        Sample {
            at_s: 1.5,
            length_s: 0.25,
            phase: Phase::Measuring,
            done: 100,
            sent: 101,
            errors: 0,
            opening: 0,
            open: 5,
            latency_us: Some(Distribution {
                count: 100,
                p99: 12.5,
                ..Distribution::default()
            }),
            uncorrected_us: None,
            client: ClientSample::default(),
            server,
        }
    }

    fn cell(csv: &str, line: usize, name: &str) -> String {
        let lines: Vec<Vec<&str>> = csv.lines().map(|line| line.split(',').collect()).collect();
        let column = lines[0].iter().position(|it| *it == name).expect(name);
        assert_eq!(lines[line].len(), lines[0].len());
        lines[line][column].to_owned()
    }

    #[test]
    fn a_row_has_a_cell_for_every_name() {
        let server = ServerSample {
            cpu_us: 250.0,
            descriptors: Some(9),
            ..ServerSample::default()
        };
        let text = csv(&[row(Some(server)), row(None)]);
        assert_eq!(cell(&text, 1, "phase"), "measuring");
        assert_eq!(cell(&text, 1, "done_per_s"), "400");
        assert_eq!(cell(&text, 1, "latency_p99_us"), "12.5");
        assert_eq!(cell(&text, 1, "server_cpu_us_per_done"), "2.5");
        assert_eq!(cell(&text, 1, "server_descriptors"), "9");
        assert_eq!(cell(&text, 1, "server_syscalls"), "");
        assert_eq!(cell(&text, 1, "uncorrected_p99_us"), "");
        assert_eq!(cell(&text, 2, "server_resident_bytes"), "");
    }

    #[test]
    fn every_column_is_described() {
        let text = include_str!("../../FILES.md");
        for (name, _) in COLUMNS {
            assert!(text.contains(&format!("`{name}`")), "{name}");
        }
    }

    #[test]
    fn what_a_sample_has_is_in_a_column() {
        let full = Sample {
            uncorrected_us: Some(Distribution::default()),
            ..row(Some(ServerSample::default()))
        };
        let value = serde_json::to_value(&full).unwrap();
        let names: Vec<_> = COLUMNS.iter().map(|(name, _)| *name).collect();
        // What stands for itself, and what is spread over several columns.
        for key in value.as_object().unwrap().keys() {
            let stem = key.trim_end_matches("_us");
            assert!(names.iter().any(|name| name.starts_with(stem)), "{key}");
        }
        for side in ["client", "server"] {
            for key in value[side].as_object().unwrap().keys() {
                let stem = if key == "memory" { "resident" } else { key };
                let begin = format!("{side}_{stem}");
                assert!(names.iter().any(|name| name.starts_with(&begin)), "{begin}");
            }
        }
    }
}
