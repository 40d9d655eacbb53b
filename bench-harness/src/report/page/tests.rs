use super::*;

const HOSTILE: &str =
    "</script><script>alert(1)</script><!--\u{2028}\u{2029}\"'&<img src=x onerror=alert(1)>";

/// A page with a text in every place where one can stand.
fn everywhere(text: &str) -> String {
    let mut page = Page::new(text);
    page.heading(text);
    page.text(text);
    page.banner(Banner {
        good: false,
        head: text.into(),
        lines: vec![text.into()],
    });
    page.figures(vec![Figure {
        label: text.into(),
        value: text.into(),
        note: text.into(),
        source: "x",
        spoilt: true,
    }]);
    page.table(Table {
        head: vec![text.into()],
        rows: vec![vec![text.into(), text.into()]],
    });
    let axis = || Axis::linear(text, Unit::Count);
    let mut chart = Chart::new(text, axis(), vec![axis()]);
    chart.note = Some(text.into());
    chart.group = Some(text.into());
    chart.push(Series::new(text, [(0.0, 1.0)], 0));
    chart.bands.push(Band {
        from: 0.0,
        to: 1.0,
        label: text.into(),
        shaded: true,
    });
    page.chart(chart);
    page.links(&[("name", text)]);
    page.render()
}

#[test]
fn hostile_texts_stay_texts() {
    let calm = everywhere("calm");
    let page = everywhere(HOSTILE);
    assert_eq!(page.matches('<').count(), calm.matches('<').count());
    for tag in ["<script", "</script", "<img", "<!--"] {
        assert_eq!(
            page.matches(tag).count(),
            calm.matches(tag).count(),
            "{tag}"
        );
    }
    assert!(!calm.contains("<img") && !calm.contains("<!--"));
}

#[test]
fn json_reads_back_as_it_was() {
    let text = json(&HOSTILE);
    assert!(!text.contains(['<', '\u{2028}', '\u{2029}']), "{text}");
    assert_eq!(serde_json::from_str::<String>(&text).unwrap(), HOSTILE);
}

#[test]
fn nothing_is_fetched() {
    let page = everywhere("calm");
    let (_, body) = page.split_once("<body>").unwrap();
    for way in ["src=", "url(", "@import", "<link", "<iframe", "http:"] {
        // The library's own text names its address.
        let body = body.replace(SCRIPT, "");
        assert!(!body.contains(way), "{way}");
    }
    assert!(!STYLES.contains("url(") && !STYLES.contains("@import"));
    assert!(page.contains("default-src 'none'"));
    // What ends a script early would leave the rest of it as text on the page.
    assert!(!SCRIPT.contains("</script") && !STYLES.contains("</style"));
}

#[test]
fn charts_that_follow_one_another_stand_together() {
    let axis = || Axis::linear("", Unit::Count);
    let chart = || {
        let mut chart = Chart::new("t", axis(), vec![axis()]);
        chart.push(Series::new("a", [(0.0, 1.0)], 0));
        chart
    };
    let mut page = Page::new("t");
    page.chart(chart());
    page.chart(chart());
    page.text("between");
    page.chart(chart());
    page.chart(Chart::new("empty", axis(), vec![axis()]));
    let html = page.render();
    assert_eq!(html.matches("class=\"charts\"").count(), 2);
    assert_eq!(html.matches("<figure").count(), 3);
}

#[test]
fn columns_of_numbers_stand_on_the_right() {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let table = Table {
        head: row(["what", "count", "as text"]),
        rows: vec![row(["1", "20 ms", "7 of 9"]), row(["2", "—", "none"])],
    };
    assert_eq!(
        [0, 1, 2].map(|column| table.has_numbers(column)),
        [false, true, false]
    );
    let bare = Table {
        head: Vec::new(),
        ..table
    };
    assert!(!bare.has_numbers(1));
}
