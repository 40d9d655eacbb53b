//! The full-screen view: takes a terminal over, draws, listens to keys, and gives it back as it was.

mod bars;
mod charts;
mod draw;
mod tables;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Stdout, Write as _};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};
use signal_hook::consts::SIGTSTP;
use signal_hook::flag;

use super::{Screen, View, interrupt, writable};
use crate::error::BenchError;

/// Room for a whole frame, so that it goes out in one write.
const FRAME_BYTES: usize = 64 << 10;

/// Input is waited for at most this long, to look for signals between.
const LOOK_UP: Duration = Duration::from_millis(250);

/// Whether the terminal is switched over now.
static TAKEN: AtomicBool = AtomicBool::new(false);

/// A thread has panicked: the terminal has what it said, and is not taken again.
static PANICKED: AtomicBool = AtomicBool::new(false);

/// The full-screen view.
pub(super) struct Full {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl Full {
    /// The terminal is not touched before there is something to show.
    ///
    /// # Errors
    /// When the terminal does not tell its size, or has no keys to listen to.
    pub(super) fn new() -> io::Result<Self> {
        let output = BufWriter::with_capacity(FRAME_BYTES, io::stdout());
        let terminal = Terminal::new(CrosstermBackend::new(output))?;
        // Opens what keys come from; that fails without a controlling terminal.
        event::poll(Duration::ZERO)?;
        give_back_on_panic();
        Ok(Self { terminal })
    }

    fn take(&mut self) -> io::Result<()> {
        refuse_to_be_stopped()?;
        enable_raw_mode()?;
        TAKEN.store(true, Ordering::SeqCst);
        execute!(io::stdout(), EnterAlternateScreen)?;
        // All of it is drawn anew. `Terminal::clear` would ask the terminal where its cursor is, and wait for an answer.
        let size = self.terminal.size()?;
        self.terminal.resize(Rect::from((Position::ORIGIN, size)))
    }
}

impl Screen for Full {
    fn show(&mut self, view: &View<'_>) -> Result<(), BenchError> {
        self.rest(Duration::ZERO)?;
        if PANICKED.load(Ordering::SeqCst) {
            return Ok(());
        }
        if !TAKEN.load(Ordering::SeqCst) {
            self.take()?;
        }
        if writable(io::stdout()) {
            self.terminal.draw(|frame| draw::draw(frame, view))?;
        }
        Ok(())
    }

    fn rest(&mut self, time: Duration) -> Result<bool, BenchError> {
        let end = Instant::now() + time;
        loop {
            interrupt::check()?;
            let left = end.saturating_duration_since(Instant::now());
            if !TAKEN.load(Ordering::SeqCst) {
                return interrupt::rest(left);
            }
            if event::poll(left.min(LOOK_UP))? {
                match event::read()? {
                    Event::Resize(..) => return Ok(true),
                    Event::Key(key) if stops(key) => return Err(interrupt::stopped()),
                    _ => {}
                }
            } else if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn end(&mut self) {
        give_back();
    }
}

impl Drop for Full {
    fn drop(&mut self) {
        give_back();
    }
}

/// `q`, and Ctrl-C, which is a key like others while the terminal is switched over.
fn stops(key: KeyEvent) -> bool {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let named = match key.code {
        KeyCode::Char('q' | 'Q') => !control,
        KeyCode::Char('c') => control,
        _ => false,
    };
    named && key.kind == KeyEventKind::Press
}

/// Switches the terminal back, once.
fn give_back() {
    if TAKEN.swap(false, Ordering::SeqCst) {
        // Each is tried whatever the others came to; a terminal that is gone needs none of them.
        let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
        let _ = disable_raw_mode();
        let _ = io::stdout().flush();
    }
}

/// So that what a panic says is read on the terminal as it was, and stays there.
fn give_back_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panicked| {
            PANICKED.store(true, Ordering::SeqCst);
            give_back();
            before(panicked);
        }));
    });
}

/// While the terminal is switched over Ctrl-Z is a key, so the signal comes from elsewhere. A process that it stopped
/// would leave the shell with a terminal that does not echo.
fn refuse_to_be_stopped() -> io::Result<()> {
    static ONCE: Once = Once::new();
    let mut registered = Ok(());
    ONCE.call_once(|| {
        let heard = Arc::new(AtomicBool::new(false));
        registered = flag::register(SIGTSTP, heard).map(|_| ());
    });
    registered
}
