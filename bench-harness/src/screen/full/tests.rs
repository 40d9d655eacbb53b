//! What a terminal shows, phase by phase, and of what nobody would wish to show.

use std::env;
use std::io::Read as _;

use nix::sys::termios::tcgetattr;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::Full;
use super::draw::draw;
use crate::screen::Screen as _;
use crate::screen::example::{Run, distribution};
use crate::telemetry::sample::{Phase, ServerSample};

/// The smallest terminal that people have.
const COMMON: (u16, u16) = (80, 24);

const WIDE: (u16, u16) = (140, 40);

impl Run {
    fn shown(&self, size: (u16, u16)) -> Terminal<TestBackend> {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, &self.view())).unwrap();
        terminal
    }

    fn text(&self, size: (u16, u16)) -> String {
        self.shown(size).backend().to_string()
    }
}

/// Tells this program to panic in a terminal, see [`a_panic_is_read_on_the_terminal_as_it_was`].
const PANIC: &str = "CORECAST_TEST_PANIC_IN_A_TERMINAL";

const WORDS: &str = "something is quite wrong";

/// How many spaces stand between words does not matter.
fn assert_shows(text: &str, wanted: &[&str]) {
    let squeezed = |text: &str| {
        text.split(' ')
            .filter(|word| !word.is_empty())
            .collect::<Vec<_>>()
            .join(" ")
    };
    for part in wanted {
        assert!(
            squeezed(text).contains(&squeezed(part)),
            "{part:?} is not in\n{text}"
        );
    }
}

/// No cell holds anything that a terminal would act upon.
fn assert_harmless(terminal: &Terminal<TestBackend>) {
    for cell in terminal.backend().buffer().content() {
        let symbol = cell.symbol();
        assert!(!symbol.chars().any(char::is_control), "{symbol:?}");
    }
}

#[test]
fn opening_counts_connections() {
    let mut run = Run::in_phase(Phase::Opening);
    run.phase_s = None;
    for (number, sample) in (0..).zip(&mut run.samples) {
        (sample.done, sample.open, sample.latency_us) = (0, 50 * number, None);
    }
    let text = run.text(COMMON);
    assert_shows(
        &text,
        &[
            "opening   █",
            " 750 of 1,000 open",
            "opening   128",
            "opened    200/s",
            "errors none",
        ],
    );
}

#[test]
fn the_warm_up_has_no_figures_that_count() {
    let text = Run::in_phase(Phase::WarmUp).text(COMMON);
    assert_shows(
        &text,
        &[
            "warm-up   █",
            "2.0 s of 10.0 s",
            "Messages per second: 100,000─",
        ],
    );
    assert!(!text.contains("100,000 now"), "{text}");
}

#[test]
fn measuring_shows_both_sides() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.so_far.corrected = Some(distribution(2.0));
    let text = run.text(COMMON);
    assert_shows(
        &text,
        &[
            "echo ws://127.0.0.1:9001/echo",
            "q stops",
            "measuring █",
            "100,000 now, 100,000 so far",
            "872 of 1,000",
            "75.0 %",
            "woke late 61.0 µs",
            "50.0 %",
            "2.00 µs",
            "12.0 MiB",
            "8.00 MiB",
            "so far                 160 µs     400 µs    3.00 ms    5.00 ms    18.0 ms",
            "now                   80.0 µs     200 µs    1.50 ms    2.50 ms    9.00 ms",
            "errors none",
        ],
    );
    assert!(!text.contains("SATURATED"), "{text}");
    assert_eq!(text.lines().count(), usize::from(COMMON.1));
}

#[test]
fn an_open_loop_has_corrected_and_uncorrected_beside_each_other() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.rate = Some(100_000);
    run.so_far.corrected = Some(distribution(3.0));
    run.so_far.uncorrected = Some(distribution(1.0));
    for size in [COMMON, WIDE] {
        let text = run.text(size);
        assert_shows(
            &text,
            &[
                "so far, from due       240 µs",
                "so far, from sent     80.0 µs",
                "now, from due",
                "now, from sent",
            ],
        );
    }
    assert_shows(&run.text(COMMON), &["100,000 asked for"]);
    assert_shows(&run.text(WIDE), &["p99 above, p50 below"]);
}

#[test]
fn draining_says_so() {
    let mut run = Run::in_phase(Phase::Draining);
    run.phase_s = None;
    assert_shows(&run.text(COMMON), &["draining  █", "4.0 s"]);
}

#[test]
fn a_saturated_client_is_told_in_words_and_red() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.samples
        .iter_mut()
        .for_each(|row| row.client.busy = 0.99);
    let terminal = run.shown(COMMON);
    assert_shows(&terminal.backend().to_string(), &["99.0 %", "SATURATED"]);
    let red = |cell: &&ratatui::buffer::Cell| cell.fg == Color::Red && cell.symbol() == "S";
    assert!(
        terminal
            .backend()
            .buffer()
            .content()
            .iter()
            .any(|cell| red(&cell))
    );
}

#[test]
fn errors_are_listed_by_frequency() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.samples[3].errors = 7;
    for (reason, times) in [
        ("rare", 1),
        ("connect: refused", 3),
        ("a", 2),
        ("b", 2),
        ("c", 2),
    ] {
        (0..times).for_each(|_| run.failures.add(reason));
    }
    let text = run.text(COMMON);
    assert_shows(
        &text,
        &[
            "errors 10",
            "3 × connect: refused",
            "and 2 other reasons",
            "failed    10",
        ],
    );
    assert!(!text.contains("rare"), "{text}");
    assert_shows(&run.text(WIDE), &["1 × rare"]);
}

#[test]
fn a_server_that_is_not_watched_is_not_told_of() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.samples.iter_mut().for_each(|row| row.server = None);
    assert_shows(&run.text(COMMON), &["not watched", "--server-pid PID"]);
}

#[test]
fn small_terminals_show_what_matters_most() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.so_far.corrected = Some(distribution(1.0));
    assert_shows(
        &run.text((20, 5)),
        &["measuring ", "rate 100,000/s now", "p50 80.0 µs"],
    );
    assert_shows(
        &run.text((60, 12)),
        &[
            "rate 100,000/s now, 100,000/s so far",
            "p50 80.0 µs p99 1.50 ms max 9.00 ms so far",
            "open 872 of 1,000",
            "client busy 75.0 %",
            "server busy 50.0 %, 2.00 µs each",
            "q stops",
        ],
    );
}

#[test]
fn nothing_from_outside_reaches_the_terminal_as_it_is() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.title = "echo ws://h:1/\u{1b}[2J\u{1b}]0;owned\u{7}\u{202e}\r\n\u{9b}31m/path";
    run.failures
        .add("closed: \u{1b}[31mred\u{1b}[0m\n\u{8}\u{8}\u{200b}");
    for size in [COMMON, WIDE, (60, 12), (20, 5)] {
        assert_harmless(&run.shown(size));
    }
    assert_shows(
        &run.text(COMMON),
        &[
            "echo ws://h:1/·[2J·]0;owned·····31m/path",
            "closed: ·[31mred·[0m····",
        ],
    );
}

#[test]
fn a_long_title_leaves_room_for_the_key() {
    let mut run = Run::in_phase(Phase::Measuring);
    run.title = concat!(
        "echo ws://127.0.0.1:9001/",
        "日本語のとても長い道日本語のとても長い道日本語のとても長い道"
    );
    let text = run.text(COMMON);
    assert_shows(&text, &["…", "q stops\""]);
}

#[test]
fn any_size_and_any_figures_can_be_drawn() {
    let odd = [
        f64::NAN,
        f64::INFINITY,
        f64::NEG_INFINITY,
        -1.0,
        0.0,
        f64::MAX,
        1e-300,
    ];
    let mut runs = vec![
        Run::in_phase(Phase::Opening),
        Run::in_phase(Phase::Draining),
    ];
    runs[0].samples.clear();
    runs[0].phase_s = Some((0.0, 0.0));
    runs[1].samples.truncate(1);
    for value in odd {
        let mut run = Run::in_phase(Phase::Measuring);
        run.phase_s = Some((value, value));
        run.rate = Some(u64::MAX);
        run.so_far.corrected = Some(distribution(value));
        for row in run.samples.iter_mut().step_by(2) {
            (row.done, row.errors, row.open) = (u64::MAX, u64::MAX, u64::MAX);
            (row.length_s, row.client.busy, row.client.cpu_us) = (value, value, value);
            row.latency_us = Some(distribution(value));
            row.server = Some(ServerSample {
                cpu_us: value,
                busy: value,
                ..ServerSample::default()
            });
        }
        runs.push(run);
    }
    for run in &runs {
        for width in [1, 2, 3, 20, 71, 72, 80, 111, 112, 160] {
            for height in [1, 2, 5, 19, 20, 24, 60] {
                assert_harmless(&run.shown((width, height)));
            }
        }
    }
}

/// The panic is in a process of its own: this very test, in a terminal.
#[test]
fn a_panic_is_read_on_the_terminal_as_it_was() {
    if env::var_os(PANIC).is_some() {
        let mut full = Full::new().unwrap();
        full.show(&Run::in_phase(Phase::Measuring).view()).unwrap();
        panic!("{WORDS}");
    }
    let name = "screen::full::tests::a_panic_is_read_on_the_terminal_as_it_was";
    let (mut pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(COMMON.1, COMMON.0))
        .unwrap();
    let before = tcgetattr(&pts).unwrap().local_flags;
    let mut child = pty_process::blocking::Command::new(env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(PANIC, "1")
        .spawn_borrowed(&pts)
        .unwrap();
    // This side stays open until the program has ended, and what it wrote waits here: a frame and a message are few bytes.
    assert_eq!(child.wait().unwrap().code(), Some(101));
    assert_eq!(tcgetattr(&pts).unwrap().local_flags, before);
    drop(pts);
    let mut written = Vec::new();
    // The error says that nobody has the other side any more.
    let _ = pty.read_to_end(&mut written);
    let written = String::from_utf8_lossy(&written);
    let place = |text: &str| {
        written
            .find(text)
            .unwrap_or_else(|| panic!("{text:?} is not in {written:?}"))
    };
    assert!(place("\x1b[?1049h") < place("\x1b[?1049l"));
    assert!(place("\x1b[?1049l") < place(WORDS));
}
