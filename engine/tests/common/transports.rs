//! One test, three transports.
//!
//! Where the kernel or a sandbox refuses io_uring, tests on it are skipped, and say so. A run that must not miss them
//! names the transports that have to be there: `CORECAST_REQUIRE=ring,monoio cargo test` fails instead.

use corecast::Io;

/// Declares a test for each transport out of every function given, which `$run` runs over it.
macro_rules! test_each_over {
    ($run:path: $($test:ident),+ $(,)?) => {$(
        mod $test {
            #[test]
            fn ring() {
                $run(corecast::Io::Ring, super::$test);
            }

            #[test]
            fn monoio() {
                $run(corecast::Io::Monoio, super::$test);
            }

            #[test]
            fn epoll() {
                $run(corecast::Io::Epoll, super::$test);
            }
        }
    )+};
}
pub(crate) use test_each_over;

/// The transports that may not be skipped, as `--io` names them, with commas between them.
const REQUIRE: &str = "CORECAST_REQUIRE";

/// To be called where a test over a transport is left out. Fails where it is required.
#[track_caller]
pub(crate) fn skip(io: Io, reason: &str) {
    let required = std::env::var(REQUIRE).unwrap_or_default();
    assert!(
        !is_required(&required, io),
        "{REQUIRE}={required} does not allow to skip this: {reason}"
    );
    eprintln!("skipped: {reason}");
}

/// Whether a list of transports names this one.
#[track_caller]
fn is_required(list: &str, io: Io) -> bool {
    let names = list.split(',').filter(|name| !name.is_empty());
    // All of them, so that a mistake behind it is noticed.
    let required: Vec<Io> = names
        .map(|name| {
            name.parse()
                .unwrap_or_else(|_| panic!("{REQUIRE}={list}: {name:?} is no transport"))
        })
        .collect();
    required.contains(&io)
}

#[test]
fn transports_are_required_by_name() {
    assert!(is_required("ring,monoio", Io::Monoio) && is_required("ring", Io::Ring));
    assert!(!is_required("", Io::Ring) && !is_required("ring", Io::Monoio));
    assert!(std::panic::catch_unwind(|| is_required("ring,uring", Io::Ring)).is_err());
}
