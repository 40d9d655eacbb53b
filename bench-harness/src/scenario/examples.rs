//! Scenarios that come with the program.

use super::file;

const EXAMPLES: [(&str, &str); 4] = [
    ("chat", include_str!("../../scenarios/chat.toml")),
    (
        "market-data",
        include_str!("../../scenarios/market-data.toml"),
    ),
    (
        "game-ticks",
        include_str!("../../scenarios/game-ticks.toml"),
    ),
    (
        "iot-telemetry",
        include_str!("../../scenarios/iot-telemetry.toml"),
    ),
];

/// The text of an example.
///
/// # Errors
/// There is none of this name: with those that there are.
pub(super) fn find(name: &str) -> Result<&'static str, String> {
    let found = EXAMPLES.iter().find(|(known, _)| *known == name);
    found.map(|(_, text)| *text).ok_or_else(|| {
        let nearest = file::nearest(name, names());
        let hint = nearest.map_or(String::new(), |known| format!("; did you mean `{known}`?"));
        let names: Vec<&str> = names().collect();
        format!(
            "there is no example `{name}`, but {}{hint}",
            names.join(", ")
        )
    })
}

fn names() -> impl Iterator<Item = &'static str> {
    EXAMPLES.iter().map(|(name, _)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::plan::Plan;

    #[test]
    fn every_example_is_a_scenario_at_any_scale() {
        for name in names() {
            for scale in [1, 10] {
                let plan = Plan::parse(find(name).unwrap(), scale);
                let plan = plan.unwrap_or_else(|error| panic!("{name}: {error}"));
                let seconds = plan.length() / 1_000_000_000;
                assert!(seconds < 30, "{name} takes {seconds} s");
                assert!(plan.connections() < 16_000 * scale, "{name}");
            }
        }
    }

    #[test]
    fn a_slip_names_the_nearest() {
        assert!(find("chatt").unwrap_err().ends_with("did you mean `chat`?"));
    }
}
