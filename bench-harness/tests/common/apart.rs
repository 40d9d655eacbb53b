//! A server in a process of its own: what it uses is not what other tests use meanwhile.

use std::io::{self, Read as _};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::{env, process};

use super::harness::Process;
use super::servers::url;

/// Says that this process is to be the server.
const VARIABLE: &str = "CORECAST_TEST_SERVES";

/// Before the address, on standard output.
const MARK: &str = "serves at ";

/// A running server; ends with the value.
pub(crate) struct Apart {
    process: Process,
    /// `ws://` address.
    pub(crate) url: String,
}

impl Apart {
    /// Starts `serve` in another process: this very `test` is run there by its name, until it comes here.
    pub(crate) fn start(test: &str, serve: impl FnOnce() -> SocketAddr) -> Self {
        if env::var_os(VARIABLE).is_some() {
            println!("{MARK}{}", url(serve()));
            // The pipe ends with the test, however that ends.
            let _ = io::stdin().read_to_end(&mut Vec::new());
            process::exit(0);
        }
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture", "--test-threads=1"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut process = Process::start(command.env(VARIABLE, "1"));
        let line = process.line_with(MARK);
        let url = line.split(MARK).nth(1).unwrap().to_owned();
        Self { process, url }
    }

    /// For `--server-pid`.
    pub(crate) fn pid(&self) -> String {
        self.process.id().to_string()
    }
}
