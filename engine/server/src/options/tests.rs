use std::fs;

use super::*;

fn parse(args: &[&str]) -> Result<Options, clap::Error> {
    Options::from_args([&["corecast"], args].concat())
}

fn wrong(args: &[&str]) -> String {
    let error = parse(args).unwrap_err();
    assert_eq!(error.exit_code(), 2, "{error}");
    error.to_string()
}

#[test]
fn the_declaration_is_sound() {
    command().debug_assert();
}

#[test]
fn no_arguments_leave_everything_at_its_default() {
    let options = parse(&[]).unwrap();
    assert!(options.listen.is_empty() && options.origin.is_empty());
    assert!(options.app.is_none() && options.io.is_none() && options.cores.is_none());
}

#[test]
fn flags_may_stand_with_or_without_the_command() {
    let args = [
        "-l",
        "127.0.0.1:1",
        "-l",
        "[::1]:2",
        "--app",
        "echo",
        "--cores",
        "0,2",
        "--steer",
    ];
    for prefix in [&[][..], &["serve"][..]] {
        let options = parse(&[prefix, &args].concat()).unwrap();
        assert_eq!(options.listen, ["127.0.0.1:1", "[::1]:2"]);
        assert_eq!(options.app, Some(App::Echo));
        assert_eq!(options.cores, Some(Cores::These(vec![0, 2])));
        assert_eq!(options.steer, Some(true));
    }
}

#[test]
fn every_io_and_policy_of_the_engine_can_be_named() {
    for name in ["auto", "ring", "monoio", "epoll"] {
        let io = parse(&["--io", name]).unwrap().io.unwrap();
        assert_eq!(io.to_string(), name);
    }
    for (name, policy) in [
        ("close", SlowPolicy::Close),
        ("drop-newest", SlowPolicy::DropNewest),
        ("drop-oldest", SlowPolicy::DropOldest),
        ("conflate", SlowPolicy::Conflate),
    ] {
        assert_eq!(parse(&["--slow", name]).unwrap().slow(), Some(policy));
    }
    assert!(wrong(&["--slow", "conflte"]).contains("'conflate'"));
}

#[test]
fn compression_has_its_modes() {
    let modes = [
        ("off", Deflate::off()),
        ("shared", Deflate::shared()),
        ("dedicated", Deflate::dedicated(15)),
        ("dedicated:9", Deflate::dedicated(9)),
        ("dedicated:15", Deflate::dedicated(15)),
    ];
    for (mode, deflate) in modes {
        let options = parse(&["--deflate", mode]).unwrap();
        assert_eq!(options.deflate, Some(deflate), "{mode}");
    }
    for (mode, says) in [
        ("on", "off, shared, dedicated or dedicated:BITS"),
        ("shared:12", "off, shared, dedicated or dedicated:BITS"),
        ("dedicated:8", "9 to 15 bits"),
        ("dedicated:16", "9 to 15 bits"),
        ("dedicated:", "9 to 15 bits"),
    ] {
        let error = wrong(&["--deflate", mode]);
        assert!(error.contains(says), "{mode}: {error}");
    }
}

#[test]
fn an_unknown_flag_is_told_with_the_nearest_known_one() {
    let message = wrong(&["--max-mesage", "1k"]);
    assert!(
        message.contains("--max-mesage") && message.contains("'--max-message'"),
        "{message}"
    );
    assert!(wrong(&["serv"]).contains("serve"));
    assert!(wrong(&["--io", "rng"]).contains("ring"));
}

#[test]
fn bad_values_say_what_a_good_one_looks_like() {
    assert!(wrong(&["-l", "9001"]).contains("HOST:PORT"));
    assert!(wrong(&["-l", ":9001"]).contains("HOST:PORT"));
    assert!(wrong(&["-l", "host:99999"]).contains("HOST:PORT"));
    assert!(wrong(&["--idle-timeout", "10"]).contains("has a unit"));
    assert!(wrong(&["--max-head", "2m"]).contains("1m"));
    assert!(wrong(&["--max-head", "0"]).contains("1 byte"));
    assert!(wrong(&["--max-headers", "97"]).contains("96 header fields"));
    assert!(wrong(&["--handshake-timeout", "0"]).contains("some time"));
    assert!(wrong(&["--handshake-rate", "5/m"]).contains("20/s"));
    assert!(wrong(&["--max-per-address", "0"]).contains("from 1 up"));
    assert!(wrong(&["--flush-delay", "1001ms"]).contains("1s at most"));
    assert!(wrong(&["--cores", "x"]).contains("0-3"));
    assert!(wrong(&["--origin", "example.org"]).contains("https://"));
}

#[test]
fn flags_win_over_the_file_and_the_file_over_the_defaults() {
    let path = std::env::temp_dir().join(format!("corecast-options-{}.toml", std::process::id()));
    fs::write(
        &path,
        "app = 'chat'\nlisten = '127.0.0.1:7'\nmax_message = '1k'\nsteer = true\n",
    )
    .unwrap();
    let file = path.to_str().unwrap();
    let options = parse(&[
        "-c",
        file,
        "--app",
        "echo",
        "-l",
        "127.0.0.1:8",
        "--steer=false",
    ])
    .unwrap();
    fs::write(&path, "ap = 'chat'\n").unwrap();
    let message = wrong(&["-c", file]);
    fs::remove_file(&path).unwrap();
    assert_eq!(options.app, Some(App::Echo));
    assert_eq!(options.listen, ["127.0.0.1:8"]);
    assert_eq!(options.max_message, Some(1024));
    assert_eq!(options.steer, Some(false));
    assert!(
        message.contains(":1: unknown key `ap`; did you mean `app`?"),
        "{message}"
    );
    assert!(wrong(&["-c", "/nonexistent.toml"]).contains("/nonexistent.toml"));
}

#[test]
fn an_origin_has_a_scheme_and_no_path() {
    for good in ["https://example.org", "http://127.0.0.1:9001", "null"] {
        assert_eq!(origin(good).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "example.org",
        "https://",
        "https://example.org/",
        "https://a/b",
    ] {
        assert!(origin(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn every_setting_has_a_default_in_its_help() {
    for arg in command().get_arguments() {
        let help = arg.get_help().expect("help for every flag").to_string();
        let said = help.matches("[default: ").count();
        assert_eq!(said, usize::from(arg.get_id() != "config"), "{help}");
    }
}

const SECURITY: &str = include_str!("../../../../SECURITY.md");

/// The cells of the table of limits: limit, default, flag, method, answer.
fn documented_limits() -> impl Iterator<Item = [&'static str; 5]> {
    SECURITY
        .lines()
        .skip_while(|line| !line.starts_with("| limit | default | flag |"))
        .skip(2)
        .take_while(|line| line.starts_with('|'))
        .map(|row| {
            let cells: Vec<_> = row
                .split('|')
                .map(|cell| cell.trim().trim_matches('`'))
                .collect();
            let [_, limit, default, flag, method, answer, _] = cells[..] else {
                panic!("a row has five cells: {row}");
            };
            [limit, default, flag, method, answer]
        })
}

/// The default of a flag, as its help says it, which has it from the engine.
fn in_help(flag: &str) -> String {
    let command = command();
    let mut args = command.get_arguments();
    let arg = args.find(|arg| arg.get_long() == Some(flag));
    let arg = arg.unwrap_or_else(|| panic!("no such flag: --{flag}"));
    let help = arg.get_help().expect("help for every flag").to_string();
    let default = help.split_once("[default: ").expect("a default").1;
    default
        .strip_suffix(']')
        .expect("nothing after it")
        .to_owned()
}

/// What no flag changes.
fn fixed(limit: &str) -> String {
    let messages = defaults::TURN_INPUT / defaults::MESSAGE_INPUT;
    match limit {
        "fragments of a message" => grouped(defaults::MAX_FRAGMENTS as usize),
        "times its size that it may become, beyond 1 MiB" => defaults::MAX_INFLATION.to_string(),
        "messages above 64 KiB in mid-inflation, per core" => {
            defaults::INFLATING_AT_ONCE.to_string()
        }
        "time for the closing handshake" => units::show_duration(defaults::CLOSE_TIMEOUT),
        "input handled per connection and turn" => {
            format!("{} KiB, {messages} messages", defaults::TURN_INPUT >> 10)
        }
        "mail of one core from threads" => format!(
            "{} messages, {} MiB",
            grouped(defaults::MAX_MAIL),
            defaults::MAX_MAIL_BYTES >> 20
        ),
        "mail of one core from the others" => format!(
            "{} batches, {} MiB",
            grouped(defaults::MAX_CORE_MAIL),
            defaults::MAX_CORE_MAIL_BYTES >> 20
        ),
        other => panic!("`{other}` has no flag, and is compared with nothing"),
    }
}

/// `131,072`.
fn grouped(number: usize) -> String {
    assert!((1000..1_000_000).contains(&number), "{number}");
    format!("{},{:03}", number / 1000, number % 1000)
}

/// The limits in `SECURITY.md` have the flags, defaults and methods that they are said to have.
#[test]
fn the_documented_limits_are_the_real_ones() {
    let api = concat!(
        include_str!("../../../src/server.rs"),
        include_str!("../../../src/running.rs"),
        include_str!("../../../src/core/compression.rs")
    );
    let (mut with_flag, mut without) = (0, 0);
    for [limit, default, flag, method, answer] in documented_limits() {
        assert!(!answer.is_empty(), "{limit}");
        assert!(
            method.is_empty()
                || ["fn", "const fn"]
                    .iter()
                    .any(|kind| api.contains(&format!("pub {kind} {method}("))),
            "{limit}: no such method"
        );
        let Some(flag) = flag.strip_prefix("--") else {
            assert_eq!(default, fixed(limit), "{limit}");
            without += 1;
            continue;
        };
        let said = match default {
            "*off*" => "no limit",
            "allowed" => "false",
            other => other.split(',').next().expect("a first part"),
        };
        assert_eq!(said, in_help(flag), "{limit}");
        with_flag += 1;
    }
    assert_eq!((with_flag, without), (17, 7));

    for said in [
        format!(
            "503 to {} at a time per core",
            defaults::SURPLUS_CONNECTIONS
        ),
        format!("{} at least", grouped(defaults::MAX_ADDRESSES)),
    ] {
        assert!(SECURITY.contains(&said), "{said}");
    }
}
