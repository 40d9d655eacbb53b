//! How connections end, and why.

use std::io;
use std::mem;
use std::net::Shutdown;
use std::time::Duration;

use super::{Driver, End, Links, Stage};
use crate::clock::Nanos;

impl Links<'_> {
    /// Ends all connections that are still being opened, which has taken too long.
    pub(crate) fn give_up_opening(&mut self, waited: Duration) {
        (0..self.links.len() as u32).for_each(|slot| self.give_up(slot, waited));
    }

    /// Ends a connection, if it is still being opened after so long.
    pub(crate) fn give_up(&mut self, slot: u32, waited: Duration) {
        let seconds = waited.as_secs();
        let reason = match &self.links[slot as usize].stage {
            Stage::Connecting => format!("connect: no answer for {seconds} s"),
            Stage::Upgrading(upgrade) => {
                upgrade.unanswered(&format!("nothing came for {seconds} s"))
            }
            Stage::Free | Stage::Open | Stage::Ended(_) => return,
        };
        self.fail(slot, End::Failed(reason));
    }

    /// Begins the end of a connection.
    pub(super) fn fail(&mut self, slot: u32, end: End) {
        let link = &mut self.links[slot as usize];
        let opened = match link.stage {
            Stage::Free | Stage::Ended(_) => {
                self.over.push(slot);
                return;
            }
            Stage::Connecting | Stage::Upgrading(_) => {
                self.opening -= 1;
                false
            }
            Stage::Open => {
                self.open -= 1;
                true
            }
        };
        link.stage = Stage::Ended(Box::new((opened, end)));
        if let Some(socket) = &link.socket {
            // The ring's operations hold the socket open; this ends them. It fails only for a
            // socket that is no longer connected, where they have ended already.
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.over.push(slot);
    }

    /// Frees the slots of connections that are over. Only after all completions of the turn were taken: none
    /// of an earlier connection can then be mistaken for one of the next in the same slot.
    pub(super) fn remove(&mut self, driver: &mut impl Driver, now: Nanos) {
        if self.over.is_empty() {
            return;
        }
        for slot in mem::take(&mut self.over) {
            let link = &mut self.links[slot as usize];
            if link.connecting || link.receiving || link.polled {
                continue;
            }
            if let Stage::Ended(end) = mem::take(&mut link.stage) {
                link.socket = None;
                let (opened, end) = *end;
                driver.ended(slot, opened, end, now);
            }
        }
        let failures = driver.failures();
        let failed = failures.iter().map(|list| list.total()).sum();
        if failed != self.failed {
            self.failed = failed;
            self.progress.show_failures(failures);
        }
    }
}

/// Why there is no TCP connection, and what to do about it where that is known.
pub(super) fn connect_failure(error: &io::Error) -> String {
    let what_to_do = match error.raw_os_error() {
        Some(libc::EADDRNOTAVAIL) => ": no source port is left, name more addresses (--source-ip)",
        Some(libc::EACCES | libc::EPERM) => ": does a firewall forbid it?",
        _ => "",
    };
    format!("connect: {error}{what_to_do}")
}
