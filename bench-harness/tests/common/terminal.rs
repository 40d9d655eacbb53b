//! A terminal with the harness in it: a pseudo-terminal, and an emulator that knows what is on it.

use std::io::{ErrorKind, Read as _, Write as _};
use std::num::NonZeroU16;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};
use vt100::Parser;

use super::harness::Process;
use super::patience::{LIMIT, POLL, until};

/// Lines that have left the screen at the top are kept, to be asked for.
const SCROLLBACK: usize = 200;

/// What has come from the program.
struct Seen {
    bytes: Vec<u8>,
    emulator: Parser,
}

/// A program in a terminal.
pub(crate) struct Terminal {
    pty: Arc<Pty>,
    child: Process,
    seen: Arc<Mutex<Seen>>,
    reader: Option<JoinHandle<()>>,
}

impl Terminal {
    /// Starts the harness in a terminal of so many columns and rows.
    pub(crate) fn start(args: &[&str], size: (u16, u16), environment: &[(&str, &str)]) -> Self {
        let (pty, pts) = open().unwrap();
        pty.resize(Size::new(size.1, size.0)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_corecast-bench"))
            .args(args)
            .env("TERM", "xterm-256color")
            .env_remove("NO_COLOR")
            .envs(environment.iter().copied())
            .spawn(pts)
            .unwrap();
        let pty = Arc::new(pty);
        let seen = Arc::new(Mutex::new(Seen {
            bytes: Vec::new(),
            emulator: Parser::new(nonzero(size.1), nonzero(size.0), SCROLLBACK),
        }));
        let reader = thread::spawn({
            let (pty, seen) = (Arc::clone(&pty), Arc::clone(&seen));
            move || read(&pty, &seen)
        });
        Self {
            pty,
            child: Process(child),
            seen,
            reader: Some(reader),
        }
    }

    /// Waits until the screen shows this, and returns all of it.
    pub(crate) fn wait_for(&self, text: &str) -> String {
        self.wait_until(&format!("{text:?}"), |screen| screen.contains(text))
    }

    /// Waits until the screen is as it should be, and returns it. What is drawn comes in pieces: one part of a frame may be
    /// there while another is not.
    pub(crate) fn wait_until(&self, what: &str, is_so: impl Fn(&str) -> bool) -> String {
        let begun = Instant::now();
        loop {
            let screen = self.screen();
            if is_so(&screen) {
                return screen;
            }
            assert!(begun.elapsed() < LIMIT, "{what} does not come:\n{screen}");
            thread::sleep(POLL);
        }
    }

    /// What is on the screen now.
    pub(crate) fn screen(&self) -> String {
        self.seen.lock().unwrap().emulator.screen().contents()
    }

    /// Everything that came, as it came.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.seen.lock().unwrap().bytes.clone()
    }

    /// Whether the program has switched to the other screen.
    pub(crate) fn is_switched_over(&self) -> bool {
        self.seen
            .lock()
            .unwrap()
            .emulator
            .screen()
            .alternate_screen()
    }

    /// Types.
    pub(crate) fn type_keys(&self, keys: &[u8]) {
        (&*self.pty).write_all(keys).unwrap();
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id() as i32), signal).unwrap();
    }

    /// Changes the size.
    pub(crate) fn resize(&self, size: (u16, u16)) {
        let mut seen = self.seen.lock().unwrap();
        seen.emulator
            .screen_mut()
            .set_size(nonzero(size.1), nonzero(size.0));
        self.pty.resize(Size::new(size.1, size.0)).unwrap();
    }

    /// Waits for the program's end: its exit code.
    pub(crate) fn end(&mut self) -> Option<i32> {
        let child = &mut self.child;
        let status = until("the program's end", || child.try_wait().unwrap());
        if let Some(reader) = self.reader.take() {
            reader.join().unwrap();
        }
        status.code()
    }

    /// Fails when the terminal is not as it was before the program.
    pub(crate) fn assert_restored(&self) {
        assert!(!self.is_switched_over(), "the other screen is still there");
        let seen = self.seen.lock().unwrap();
        assert!(!seen.emulator.screen().hide_cursor(), "there is no cursor");
        let flags = tcgetattr(&*self.pty).unwrap().local_flags;
        let cooked = LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG;
        assert!(flags.contains(cooked), "the terminal is raw: {flags:?}");
    }
}

fn nonzero(size: u16) -> NonZeroU16 {
    NonZeroU16::new(size).expect("a terminal has columns and rows")
}

fn read(mut pty: &Pty, seen: &Mutex<Seen>) {
    let mut piece = [0; 8192];
    loop {
        match pty.read(&mut piece) {
            // EIO: nobody has the other side open any more.
            Ok(0) => return,
            Err(error) if error.kind() != ErrorKind::Interrupted => return,
            Err(_) => {}
            Ok(length) => {
                let mut seen = seen.lock().unwrap();
                seen.bytes.extend_from_slice(&piece[..length]);
                seen.emulator.process(&piece[..length]);
            }
        }
    }
}
