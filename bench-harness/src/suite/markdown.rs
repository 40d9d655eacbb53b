//! `README.md` of a suite's folder: its tables, to be read where the folder is kept and quoted elsewhere.

use super::notes;
use super::notes::AT_A_GLANCE;
use super::results::Results;
use super::tables;
use crate::report::page::Table;

/// The whole file.
pub(crate) fn page(results: &Results) -> String {
    let mut lines = vec!["# Suite".to_owned(), String::new()];
    if results.quick {
        paragraph(&mut lines, notes::QUICK);
    }
    let circumstances = notes::circumstances(results);
    bullets(
        &mut lines,
        circumstances
            .into_iter()
            .chain([notes::contestants(results)]),
    );
    paragraph(&mut lines, notes::LEGEND);
    section(&mut lines, AT_A_GLANCE, &tables::headlines(results));
    for case in results.cases.iter().filter(|case| case.curve.is_none()) {
        section(&mut lines, &case.title, &tables::of_case(case));
        if let Some(told) = notes::about_the_screen(case) {
            paragraph(&mut lines, &told);
        }
        let (taken, load) = (notes::taken(case), &case.measured.load);
        paragraph(&mut lines, &format!("{taken}: `{load}`"));
        bullets(&mut lines, notes::against(case));
    }
    for points in tables::curves(results) {
        let title = points[0].curve.as_ref().map_or("", |curve| &curve.title);
        section(
            &mut lines,
            &format!("By {title}"),
            &tables::of_curve(&points),
        );
        bullets(
            &mut lines,
            points.iter().flat_map(|case| notes::against(case)),
        );
    }
    let left_out = notes::left_out(results);
    if !left_out.is_empty() {
        paragraph(&mut lines, "## Not measured");
    }
    bullets(&mut lines, left_out);
    lines.join("\n").trim_end().to_owned() + "\n"
}

fn section(lines: &mut Vec<String>, title: &str, table: &Table) {
    if table.rows.is_empty() {
        return;
    }
    lines.extend([format!("## {title}"), String::new()]);
    lines.push(row(&table.head));
    // The first column is text, all others are figures.
    let rules = table.head.iter().enumerate();
    let rules = rules.map(|(at, _)| if at == 0 { "---" } else { "---:" });
    lines.push(format!("| {} |", rules.collect::<Vec<_>>().join(" | ")));
    lines.extend(table.rows.iter().map(|cells| row(cells)));
    lines.push(String::new());
}

fn row(cells: &[String]) -> String {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    format!("| {} |", cells.join(" | "))
}

fn paragraph(lines: &mut Vec<String>, text: &str) {
    lines.extend([text.to_owned(), String::new()]);
}

fn bullets(lines: &mut Vec<String>, items: impl IntoIterator<Item = String>) {
    let before = lines.len();
    lines.extend(items.into_iter().map(|item| format!("- {item}")));
    if lines.len() > before {
        lines.push(String::new());
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples;
    use super::*;

    /// The line that begins so.
    fn line<'a>(page: &'a str, start: &str) -> &'a str {
        page.lines()
            .find(|line| line.starts_with(start))
            .unwrap_or_else(|| panic!("no line begins with {start:?}:\n{page}"))
    }

    #[test]
    fn tables_have_medians_ratios_and_the_floor() {
        let page = page(&samples::results());
        assert_eq!(
            line(&page, "| the case echo-512"),
            "| the case echo-512 | server CPU per message, µs | 1.20 | 1.00 | 2.40 (bun) | 0.500× (0.500–0.500) |"
        );
        assert_eq!(
            line(&page, "| bun |"),
            "| bun | 2.40 (2.38–2.42) | 416,667 (412,541–420,875) | 0.500× (0.500–0.500) | 2.40× |"
        );
        assert!(
            line(&page, "| corecast-epoll |").contains("1.09×"),
            "{page}"
        );
    }

    #[test]
    fn rates_of_the_client_are_marked() {
        let page = page(&samples::results());
        assert!(line(&page, "| corecast |").contains("≥ 833,333"), "{page}");
        assert!(!line(&page, "| bun |").contains('≥'), "{page}");
        assert!(
            line(&page, "| 16 |").contains("| ≥ 1,000,000 | 2.00 | 500,000 |"),
            "{page}"
        );
    }

    #[test]
    fn times_that_the_client_has_a_part_in_and_costs_below_the_floor_are_marked() {
        let mut results = samples::results();
        let table = &mut results.cases[0];
        table.metrics[1].key = "p50".to_owned();
        for run in &mut table.runs {
            run.figures.insert("p50".to_owned(), 50.0);
            if run.entrant == "bun" {
                run.figures.insert("cost".to_owned(), 0.5);
            }
        }
        let page = page(&results);
        assert!(line(&page, "| corecast |").contains("| ≤ 50.0 |"), "{page}");
        assert!(line(&page, "| bun |").contains("| 50.0 |"), "{page}");
        assert!(line(&page, "| bun |").ends_with("| 0.500× † |"), "{page}");
    }

    #[test]
    fn a_first_server_of_another_name_is_named() {
        let mut results = samples::results();
        results.put(samples::case(
            "other",
            &[("bun", &[2.0; 5]), ("slow|peer", &[4.0; 5])],
        ));
        let page = page(&results);
        assert!(
            line(&page, "| case | figure |").contains("| the first |"),
            "{page}"
        );
        assert!(
            line(&page, "| the case echo-512").contains("| 1.20 (corecast) |"),
            "{page}"
        );
        let other = line(&page, "| the case other");
        assert!(
            other.contains("| 2.00 (bun) | — | 4.00 (slow\\|peer) | 0.500×"),
            "{page}"
        );
    }

    #[test]
    fn a_name_cannot_break_a_table() {
        let page = page(&samples::results());
        assert!(
            line(&page, "| slow\\|peer |").ends_with("| 4.80× |"),
            "{page}"
        );
    }

    #[test]
    fn what_is_invalid_missing_or_left_out_is_told() {
        let mut results = samples::results();
        samples::spoil(&mut results.cases[0], "bun", 3);
        let page = page(&results);
        let told = line(&page, "- invalid: ");
        assert_eq!(
            told,
            "- invalid: echo-512, bun, round 3: the server vanished"
        );
        assert!(line(&page, "- ws: ").contains("scripts/peers build"));
        assert!(line(&page, "- idle: ").contains("descriptors"));
    }

    #[test]
    fn a_quick_suite_says_so() {
        let mut results = samples::results();
        assert!(!page(&results).contains("quick"));
        results.quick = true;
        assert!(page(&results).contains("A quick suite"));
    }

    #[test]
    fn the_screen_is_judged_by_every_figure() {
        let mut results = samples::results();
        let rounds = [1.0, 1.01, 0.99, 1.0, 1.0];
        let entrants: [(&str, &[f64]); 2] =
            [("x, no screen", &rounds), ("x, live screen", &rounds)];
        results.put(samples::case("screen", &entrants));
        let page = page(&results);
        let told = line(&page, "With the live screen");
        assert!(
            told.contains("server CPU per message 1.00× (1.00–1.00), agrees within 5 %"),
            "{told}"
        );
        assert!(told.contains("messages per second 1.00×"), "{told}");
    }
}
