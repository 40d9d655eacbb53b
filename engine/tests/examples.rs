//! The examples do what they say.

#[path = "common/mod.rs"]
mod common;

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use common::PATIENCE;
use common::client::{Client, http, request};

/// An example that runs until this is dropped.
struct Example {
    process: Child,
    address: SocketAddr,
}

impl Example {
    fn start(name: &str) -> Self {
        let mut process = Command::new(binary(name))
            .arg("127.0.0.1:0")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{name}: {e}; `cargo test` builds it"));
        let output = process.stdout.take().expect("piped");
        let line = common::within(PATIENCE, "starting", move || {
            let mut line = String::new();
            BufReader::new(output)
                .read_line(&mut line)
                .expect("it says where it listens");
            line
        });
        let address = line.trim().strip_prefix("listening on ");
        let address = address.and_then(|address| address.parse().ok());
        let Some(address) = address else {
            // Not left running by a test that ends here.
            let _ = process.kill();
            panic!("{name} says: {line}");
        };
        Self { process, address }
    }

    fn connect(&self, path: &str) -> Client {
        // It says where it listens before it does.
        common::eventually("it listens", || {
            std::net::TcpStream::connect(self.address).is_ok()
        });
        Client::connect_to(self.address, path)
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // Fails only if it has ended already, which the test has noticed.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `target/<profile>/examples/NAME`, beside this test's `target/<profile>/deps`.
fn binary(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("this test");
    let profile = test.parent().and_then(|deps| deps.parent());
    profile.expect("a profile").join("examples").join(name)
}

#[test]
fn echo_answers() {
    let example = Example::start("echo");
    let mut client = example.connect("/anything");
    client.round_trip("hello");
    client.close(1000);
}

#[test]
fn chat_room_has_rooms() {
    let example = Example::start("chat_room");
    let mut ada = example.connect("/room/lobby?name=ada");
    ada.expect_text("ada joined");
    let mut other = example.connect("/room/other?name=eve");
    other.expect_text("eve joined");
    let mut bob = example.connect("/room/lobby?name=bob%20b");
    ada.expect_text("bob b joined");
    bob.expect_text("bob b joined");
    bob.text("hi, ada");
    ada.expect_text("bob b: hi, ada");
    bob.expect_text("bob b: hi, ada");
    bob.close(1000);
    ada.expect_text("bob b left");
    other.text("alone");
    other.expect_text("eve: alone");
    ada.send(common::client::BINARY, b"no text");
    ada.expect_close(1003);
    for (path, status) in [
        ("/room/lobby", 401),
        ("/room/lobby?name=", 400),
        ("/lobby?name=ada", 404),
    ] {
        assert_eq!(http(example.address, &request(path)).status, status);
    }
}

#[test]
fn publish_from_thread_ticks() {
    let example = Example::start("publish_from_thread");
    let mut client = example.connect("/");
    let mut next = || -> u64 {
        let frame = client.frame();
        let text = String::from_utf8(frame.payload).expect("text");
        let tick = text.strip_prefix("tick ").and_then(|n| n.parse().ok());
        tick.unwrap_or_else(|| panic!("{text}"))
    };
    let first = next();
    assert_eq!([next(), next()], [first + 1, first + 2]);
}
