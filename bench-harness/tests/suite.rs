//! `suite`: a small one for real, servers that misbehave, and what is left of them.

mod common;

use std::fs;
use std::io::Read as _;
use std::process::{Output, Stdio};
use std::thread;

use common::patience::{run_until, until};
use common::schema::{faults_by, suite_schema, undescribed};
use common::{Process, command, ring_available, run};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

const BENCH: &str = env!("CARGO_BIN_EXE_corecast-bench");

/// A folder of its own, gone with the value.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn path(&self, name: &str) -> String {
        self.0.path().join(name).to_str().unwrap().to_owned()
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap()
    }

    fn json(&self, name: &str) -> Value {
        serde_json::from_str(&self.read(name)).unwrap()
    }
}

/// Whether a suite can run here: it needs io_uring, and a processor for each side.
fn available() -> bool {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if processors < 2 {
        println!("skipped: servers and client need a processor each");
    }
    processors >= 2 && ring_available()
}

/// The flags of a short suite without peers.
fn short<'a>(output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    lasting("200ms", output, more)
}

/// The same, with runs as long as that.
fn lasting<'a>(duration: &'a str, output: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    let all = [
        "suite", "--peers", "none", "--curves", "none", "--output", output,
    ];
    let extent = ["--rounds", "1", "--duration", duration, "--quick"];
    [&all[..], &extent, more].concat()
}

/// A server that fans out, started by a shell script in which `$BENCH` is this harness and `$PORT` where to listen. The mode is in the
/// command because a server of one's own takes part in broadcasts only then.
fn scripted(name: &str, script: &str) -> String {
    format!("{name}=env BENCH={BENCH} PORT={{port}} MODE={{mode}} sh -c '{script}'")
}

/// The flags of a suite of broadcasts at one server, given by [`scripted`], with runs as long as that.
fn alone<'a>(duration: &'a str, output: &'a str, server: &'a str) -> Vec<&'a str> {
    let name = server.split('=').next().unwrap();
    let more = ["--server", server, "--contestants", name];
    let case = ["--cases", "one-publisher"];
    lasting(duration, output, &[&more[..], &case].concat())
}

/// Processes that a script writes into a file, once it has.
fn pids(file: &str, count: usize) -> Vec<i32> {
    let number = |word: &str| word.parse::<i32>().ok();
    until("the numbers of processes", || {
        let text = fs::read_to_string(file).ok()?;
        let pids: Vec<i32> = text.split_whitespace().filter_map(number).collect();
        (text.ends_with('\n') && pids.len() == count).then_some(pids)
    })
}

/// As a script has it.
const FLOOR: &str = "$BENCH floor --mode epoll --broadcast 64 -l 127.0.0.1:$PORT";

/// The one run of a server in a suite's folder that was made last.
fn last_run(folder: &Folder, entrant: &str) -> Value {
    let suite = folder.json("suite.json");
    let runs = suite["cases"][0]["runs"].as_array().unwrap();
    let found = runs.iter().rfind(|run| run["entrant"] == entrant);
    found
        .unwrap_or_else(|| panic!("no run of {entrant}: {suite:#}"))
        .clone()
}

/// How many entrants of a case have no valid run of a round. On a machine that is busy with other tests, a short window can be cut
/// even shorter, or have too few messages; nothing else is allowed to spoil one here.
fn spoilt(suite: &Value) -> usize {
    let lists = |value: &Value| value.as_array().unwrap().clone();
    let runs: Vec<Value> = lists(&suite["cases"])
        .iter()
        .flat_map(|case| lists(&case["runs"]))
        .collect();
    for run in runs.iter().filter(|run| run["valid"] == false) {
        let reasons = run["reasons"].to_string();
        let expected = [
            "s were measured",
            "at least 100 are needed",
            "no processor time",
        ];
        assert!(expected.iter().any(|it| reasons.contains(it)), "{run:#}");
    }
    let in_vain = |run: &&Value| run["valid"] == false && run["attempt"] == 2;
    runs.iter().filter(in_vain).count()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    format!(
        "{}{}",
        String::from_utf8_lossy(out),
        String::from_utf8_lossy(err)
    )
}

/// A process that has ended and that nobody has waited for yet counts as gone.
fn gone(pid: i32) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"));
    stat.map_or(true, |stat| stat.contains(") Z "))
        .then_some(())
}

#[test]
fn every_field_of_the_schema_has_a_description() {
    let mut found = Vec::new();
    undescribed(&suite_schema(), "", &mut found);
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn floors_are_compared_and_rendered_again() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("");
    let floors = [
        "--contestants",
        "floor-ring,floor-epoll",
        "--cases",
        "echo-512,screen",
    ];
    let output = run(&short(&path, &floors));
    let printed = text(&output);
    assert!(printed.contains("2 cases, 4 runs, about "), "{printed}");
    let suite = folder.json("suite.json");
    let spoilt = spoilt(&suite);
    let code = if spoilt == 0 { 0 } else { 5 };
    assert_eq!(output.status.code(), Some(code), "{printed}");
    for entrant in ["floor-ring", "floor-epoll"] {
        let run = last_run(&folder, entrant);
        if run["valid"] == false {
            continue;
        }
        assert!(run["figures"]["cost"].as_f64().unwrap() > 0.0, "{run:#}");
        let summary = folder.json(&format!("{}/summary.json", run["folder"].as_str().unwrap()));
        let cost = &summary["server"]["cpu_us_per_message"];
        assert_eq!(*cost, run["figures"]["cost"]);
    }
    assert_eq!(
        faults_by(&suite_schema(), &suite),
        Vec::<String>::new(),
        "{suite:#}"
    );
    let table = folder.read("README.md");
    assert!(table.contains("| floor-epoll | "), "{table}");
    let told = table.contains("With the live screen, against without: ");
    assert!(told || spoilt > 0, "{table}");
    let page = folder.read("report.html");

    for name in ["README.md", "report.html"] {
        fs::remove_file(folder.path(name)).unwrap();
    }
    let output = run(&["suite", "--render", &path]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert_eq!(folder.read("README.md"), table);
    assert_eq!(folder.read("report.html"), page);
}

#[test]
fn another_case_joins_those_that_are_there() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("");
    let common = [
        "--contestants",
        "floor-epoll",
        "--peers",
        "none",
        "--curves",
        "none",
    ];
    let extent = ["--rounds", "1", "--duration", "200ms", "--output", &path];
    for case in ["echo-512", "echo-16k", "echo-512"] {
        let flags = [&["suite", "--cases", case][..], &common, &extent].concat();
        let output = run(&flags);
        let code = output.status.code();
        assert!(matches!(code, Some(0 | 5)), "{}", text(&output));
    }
    let suite = folder.json("suite.json");
    spoilt(&suite);
    let names: Vec<_> = suite["cases"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["name"])
        .collect();
    assert_eq!(names, ["echo-512", "echo-16k"]);
    let quick = run(&short(
        &path,
        &["--contestants", "floor-epoll", "--cases", "echo-512"],
    ));
    assert_eq!(quick.status.code(), Some(2), "{}", text(&quick));
    assert!(
        text(&quick).contains("holds a full suite"),
        "{}",
        text(&quick)
    );
}

#[test]
fn a_server_that_never_listens_is_an_invalid_run() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("");
    let deaf = scripted("deaf", "echo out of paper; exec sleep 600");
    let fails = scripted("fails", "echo no such font; exit 3");
    let more = [
        "--server",
        &deaf,
        "--server",
        &fails,
        "--contestants",
        "deaf,fails",
    ];
    let patience = ["--cases", "one-publisher", "--start-timeout", "300ms"];
    // In less time than a busy machine takes to start a shell, there is nothing that it could have said.
    let words = ["out of paper", "no such font"];
    let said = |output: &Output| words.iter().all(|words| text(output).contains(words));
    let output = run_until(&short(&path, &[&more[..], &patience].concat()), said);
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(5), "{printed}");
    for (entrant, reason, its_words) in [
        ("deaf", "does not listen on port", "out of paper"),
        (
            "fails",
            "ended instead of listening, exit status: 3",
            "no such font",
        ),
    ] {
        let run = last_run(&folder, entrant);
        let told = run["reasons"][0].as_str().unwrap();
        assert!(told.contains(reason) && told.contains(its_words), "{told}");
        assert_eq!((&run["valid"], &run["attempt"]), (&false.into(), &2.into()));
        // A number, which is no other kind of run to `compare`.
        assert!(run["folder"].as_str().unwrap().ends_with("/1.2"), "{run:#}");
        assert!(run["figures"].as_object().unwrap().is_empty(), "{run:#}");
        assert!(printed.contains(its_words), "{printed}");
    }
    let suite = folder.json("suite.json");
    assert_eq!(
        faults_by(&suite_schema(), &suite),
        Vec::<String>::new(),
        "{suite:#}"
    );
    assert!(
        folder
            .read("README.md")
            .contains("- invalid: one-publisher, deaf, round 1: ")
    );
}

#[test]
fn a_server_that_dies_in_the_middle_is_an_invalid_run() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("");
    // It dies some time after it has its 200 subscribers. No further process is in it, which would be taken for a part of the server.
    let script = format!(
        "{FLOOR} & while set -- /proc/$!/fd/*; test $# -lt 200; do :; done; \
         i=0; while test $i -lt 50000; do i=$((i + 1)); done; kill -9 $!; echo I am out; exit 9"
    );
    let dies = scripted("dies", &script);
    // Long enough that it does not end before.
    let output = run(&alone("20s", &path, &dies));
    let printed = text(&output);
    assert_eq!(output.status.code(), Some(5), "{printed}");
    let told = last_run(&folder, "dies")["reasons"].to_string();
    assert!(
        told.contains("I am out") || told.contains("broken") || told.contains("lost"),
        "{told}"
    );
}

#[test]
fn a_server_that_ignores_sigterm_is_killed_with_its_children() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    let path = folder.path("");
    let file = folder.path("pids");
    let script = format!("trap \"\" TERM; {FLOOR} & echo $! $$ > {file}; sleep 600");
    let stubborn = scripted("stubborn", &script);
    let flags = alone("200ms", &path, &stubborn);
    let output = run(&[&flags[..], &["--stop-timeout", "200ms"]].concat());
    let printed = text(&output);
    let run = last_run(&folder, "stubborn");
    assert!(
        run["reasons"].to_string().contains("was killed"),
        "{printed}"
    );
    // The shell only waits; its child does the work, and is measured, too.
    if run["valid"] == true {
        assert!(run["figures"]["cost"].as_f64().unwrap() > 0.0, "{run:#}");
    }
    for pid in pids(&file, 2) {
        until("the end of the server", || gone(pid));
    }
}

/// A suite that has begun to run this script, in which `{pid}` is a file for the number of the server; and the number.
fn begun(folder: &Folder, script: &str) -> (Process, i32) {
    let (path, pid_file) = (folder.path(""), folder.path("pid"));
    let server = scripted("mine", &script.replace("{pid}", &pid_file));
    let mut command = command(&alone("60s", &path, &server));
    let suite = Process::start(command.stdout(Stdio::null()).stderr(Stdio::piped()));
    (suite, pids(&pid_file, 1)[0])
}

/// The same, in the middle of a run.
fn in_the_middle(folder: &Folder) -> (Process, i32) {
    let (suite, pid) = begun(folder, &format!("{FLOOR} & echo $! > {{pid}}; wait"));
    let sockets = format!("/proc/{pid}/fd");
    until("the load", || {
        (fs::read_dir(&sockets).ok()?.count() > 100).then_some(())
    });
    (suite, pid)
}

#[test]
fn an_interrupt_leaves_nothing_behind() {
    if !available() {
        return;
    }
    for signal in [Signal::SIGINT, Signal::SIGTERM] {
        let folder = Folder::new();
        let (mut suite, server) = in_the_middle(&folder);
        kill(Pid::from_raw(suite.id() as i32), signal).unwrap();
        let status = until("the end of the suite", || suite.try_wait().unwrap());
        let mut errors = String::new();
        let stderr = suite.stderr.as_mut().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        assert_eq!(status.code(), Some(1), "{signal}");
        assert!(errors.contains("interrupted"), "{errors}");
        // It is killed by now; the system may take a moment to do it.
        until("the end of the server", || gone(server));
    }
}

#[test]
fn even_a_killed_suite_takes_its_server_along() {
    if !available() {
        return;
    }
    let folder = Folder::new();
    // The server itself, without a shell around it: the kernel tells only children.
    let (mut suite, pid) = begun(&folder, &format!("echo $$ > {{pid}}; exec {FLOOR}"));
    suite.kill().unwrap();
    suite.wait().unwrap();
    until("the end of the server", || gone(pid));
}

#[test]
fn nonsense_is_refused_before_anything_starts() {
    for (flags, reason) in [
        (
            &["--contestants", "corcast"][..],
            "there is no corcast; there are corecast, ",
        ),
        (&["--peers", "bum"], "there is no bum; there are bun, "),
        (
            &["--cases", "echo-513", "--contestants", "floor-ring"],
            "there is no echo-513",
        ),
        (
            &["--curves", "size", "--contestants", "floor-ring"],
            "there is no size",
        ),
        (
            &["--corecast", "/nowhere", "--peers", "none"],
            "cargo build --release -p corecast-server",
        ),
        (&["--server", "corecast=x {port}"], "one of that name"),
        (&["--server", "mine=x"], "needs {port}"),
        (&["--render", "/nowhere"], "cannot read /nowhere/suite.json"),
    ] {
        let output = run(&[&["suite"][..], flags].concat());
        let printed = text(&output);
        let code = output.status.code();
        assert!(matches!(code, Some(1 | 2)), "{flags:?}: {code:?}");
        assert!(printed.contains(reason), "{flags:?}: {printed}");
    }
}
