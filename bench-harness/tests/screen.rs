//! The screen in a real terminal: what is seen, how a run is stopped, and how the terminal is left.

mod common;

use std::time::Instant;

use common::hub::{self, Subscribers};
use common::patience::lengthen;
use common::terminal::Terminal;
use common::{Floor, echo_url, listener, ring_available, run, url};
use nix::sys::signal::Signal;

const SIZE: (u16, u16) = (80, 24);

/// A run that nobody waits for to its end.
const LONG: &[&str] = &["-c", "4", "-z", "10m", "--warmup", "100ms"];

/// One that comes to its end.
const SHORT: &[&str] = &["-c", "4", "-z", "1s", "--warmup", "300ms"];

fn started(url: &str, flags: &[&str], environment: &[(&str, &str)]) -> Terminal {
    Terminal::start(&[&["echo", url], flags].concat(), SIZE, environment)
}

#[test]
fn a_run_is_watched_and_then_summed_up() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let parts = [
        "measuring",
        &*floor.url,
        "q stops",
        "p99.9",
        "4 of 4",
        "errors none",
        "memory",
        "so far",
    ];
    let watch = |times: u32| {
        let duration = format!("{times}s");
        let flags = [
            "-c",
            "4",
            "-z",
            &duration,
            "--server-pid",
            &floor.pid,
            "--cost",
        ];
        let mut terminal = started(&floor.url, &flags, &[]);
        let is_whole = |screen: &str| parts.iter().all(|part| screen.contains(part));
        terminal.wait_until("the view, or the end", |screen| {
            is_whole(screen) || screen.contains("verdict")
        });
        let seen = terminal.is_switched_over();
        let code = terminal.end();
        (terminal, seen, code)
    };
    // A busy machine may leave too little of a run for it to be seen, or to be valid.
    let (terminal, seen, code) = lengthen(watch, |(_, seen, code)| *seen && *code == Some(0));
    assert!(seen, "the screen never has all of {parts:?}");
    assert_eq!(code, Some(0));
    terminal.assert_restored();
    let screen = terminal.screen();
    assert!(screen.contains("verdict      valid"), "{screen}");
    assert!(!screen.contains("q stops"), "{screen}");
}

#[test]
fn keys_and_signals_stop_a_run() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    for (way, code) in [
        ("q", 130),
        ("Ctrl-C", 130),
        ("SIGINT", 130),
        ("SIGTERM", 143),
    ] {
        let mut terminal = started(&url, LONG, &[]);
        terminal.wait_for("measuring");
        match way {
            "q" => terminal.type_keys(b"q"),
            "Ctrl-C" => terminal.type_keys(b"\x03"),
            "SIGINT" => terminal.signal(Signal::SIGINT),
            _ => terminal.signal(Signal::SIGTERM),
        }
        assert_eq!(terminal.end(), Some(code), "{way}");
        terminal.assert_restored();
        let screen = terminal.screen();
        assert!(screen.contains("corecast-bench: stopped"), "{screen}");
    }
}

#[test]
fn every_command_can_be_stopped_in_every_phase() {
    if !ring_available() {
        return;
    }
    let floor = Floor::start("epoll");
    let hub = url(hub::serve(Subscribers::send_to_all));
    // It takes connections, and never answers.
    let listener = listener();
    let silent = url(listener.local_addr().unwrap());
    let endless = ["-z", "10m"];
    let idle = ["--server-pid", &*floor.pid, "-c", "4"];
    let runs: [(&str, &str, &[&str], &str); 5] = [
        ("echo", &silent, &["-c", "4"], "opening"),
        (
            "echo",
            &floor.url,
            &["-c", "4", "--warmup", "10m"],
            "warm-up",
        ),
        ("broadcast", &hub, &["-c", "4"], "measuring"),
        ("connect", &echo_url(), &["--churn"], "measuring"),
        ("idle", &floor.url, &idle, "measuring"),
    ];
    for (command, url, flags, phase) in runs {
        let mut terminal =
            Terminal::start(&[&[command, url], flags, &endless[..]].concat(), SIZE, &[]);
        terminal.wait_for(phase);
        terminal.type_keys(b"q");
        assert_eq!(terminal.end(), Some(130), "{command}, {phase}");
        terminal.assert_restored();
    }
}

#[test]
fn a_stop_signal_does_not_leave_the_terminal_switched_over() {
    if !ring_available() {
        return;
    }
    let mut terminal = started(&echo_url(), LONG, &[]);
    terminal.wait_for("measuring");
    terminal.signal(Signal::SIGTSTP);
    terminal.type_keys(b"\x1a");
    terminal.type_keys(b"q");
    assert_eq!(terminal.end(), Some(130));
    terminal.assert_restored();
}

#[test]
fn an_error_is_read_on_the_terminal_as_it_was() {
    if !ring_available() {
        return;
    }
    let mut floor = Floor::start("epoll");
    let flags = [LONG, &["--server-pid", &floor.pid]].concat();
    let mut terminal = started(&floor.url, &flags, &[]);
    terminal.wait_for("measuring");
    floor.kill();
    assert_eq!(terminal.end(), Some(1));
    terminal.assert_restored();
    assert!(
        terminal.screen().contains("corecast-bench: "),
        "{}",
        terminal.screen()
    );
}

#[test]
fn the_view_follows_the_size() {
    if !ring_available() {
        return;
    }
    let mut terminal = started(&echo_url(), LONG, &[]);
    terminal.wait_for("┌Connections");
    terminal.resize((130, 34));
    terminal.wait_until("all of the wide view", |screen| {
        let widest = screen.lines().map(|line| line.chars().count()).max();
        widest == Some(130) && screen.contains("p99 above, p50 below")
    });
    terminal.resize((40, 8));
    terminal.wait_until("the small view", |screen| {
        screen.contains("open 4 of 4") && !screen.contains('┌')
    });
    terminal.type_keys(b"q");
    assert_eq!(terminal.end(), Some(130));
    terminal.assert_restored();
}

#[test]
fn colours_can_be_refused() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    let coloured = |environment: &[(&str, &str)]| {
        let mut terminal = started(&url, LONG, environment);
        terminal.wait_for("measuring");
        terminal.wait_for("┌Client");
        terminal.type_keys(b"q");
        assert_eq!(terminal.end(), Some(130));
        String::from_utf8_lossy(&terminal.bytes()).contains("\x1b[38;5;")
    };
    assert!(coloured(&[]));
    assert!(!coloured(&[("NO_COLOR", "1")]));
}

#[test]
fn without_the_full_screen_there_is_a_bar() {
    if !ring_available() {
        return;
    }
    let url = echo_url();
    for flag in ["--no-tui", "--json"] {
        let mut terminal = started(&url, &[LONG, &[flag]].concat(), &[]);
        terminal.wait_for("measuring [");
        terminal.wait_for("p99");
        assert!(!terminal.is_switched_over());
        terminal.type_keys(b"\x03");
        assert_eq!(terminal.end(), Some(130));
        terminal.assert_restored();
    }
}

#[test]
fn a_terminal_without_a_cursor_is_not_drawn_on() {
    if !ring_available() {
        return;
    }
    let mut terminal = started(&echo_url(), SHORT, &[("TERM", "dumb")]);
    terminal.end();
    assert!(
        !terminal.bytes().contains(&b'\x1b'),
        "{}",
        terminal.screen()
    );
    assert!(
        terminal.screen().contains("verdict"),
        "{}",
        terminal.screen()
    );
}

#[test]
fn without_a_terminal_standard_output_has_the_result_alone() {
    if !ring_available() {
        return;
    }
    let begun = Instant::now();
    let output = run(&[&["echo", &*echo_url()], SHORT].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("echo ws://"), "{text}");
    assert!(
        !text.contains('\x1b') && !text.contains("measuring"),
        "{text}"
    );
    // On standard error there is progress, once in five seconds: of a run that takes less, nothing.
    let errors = String::from_utf8(output.stderr).unwrap();
    let lines = errors.lines().count() as u64;
    assert!(lines <= begun.elapsed().as_secs() / 5, "{errors}");
}
