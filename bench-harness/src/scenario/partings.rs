//! The closing handshakes of one role on one thread (RFC 6455 §7.1.2): our Close frame, the server's, and the end of TCP, which is
//! the server's to begin (§7.1.1).

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use corecast_protocol::{CloseCode, encode_close_client};

use crate::client::frames::Control;
use crate::client::links::{End, Outbox};
use crate::clock::{Nanos, nanos};

/// From our Close frame to the end of TCP.
const LIMIT: Duration = Duration::from_secs(5);

/// What a connection that ended without its farewell is said to lack.
const RUDE: &str = "no closing handshake, or no end of TCP after it";

/// Connections that we have begun to close.
pub(super) struct Partings {
    frame: Vec<u8>,
    /// By slot.
    under_way: HashMap<u32, Parting>,
    /// By deadline. Entries of connections that have ended stay until theirs has passed.
    deadlines: VecDeque<(Nanos, u32)>,
}

struct Parting {
    deadline: Nanos,
    /// The server's Close frame has come.
    heard: bool,
}

impl Partings {
    /// None yet. Close frames are masked with `key`.
    pub(super) fn new(key: [u8; 4]) -> Self {
        let mut frame = Vec::new();
        encode_close_client(&mut frame, CloseCode::NORMAL, "", key);
        Self {
            frame,
            under_way: HashMap::new(),
            deadlines: VecDeque::new(),
        }
    }

    /// Says goodbye on a connection.
    pub(super) fn begin(&mut self, slot: u32, now: Nanos, out: &mut Outbox) {
        let deadline = now + nanos(LIMIT);
        out.send(slot, self.frame.clone());
        self.under_way.insert(
            slot,
            Parting {
                deadline,
                heard: false,
            },
        );
        self.deadlines.push_back((deadline, slot));
    }

    /// The server's Close frame has come, with its code.
    ///
    /// # Errors
    /// We had not said goodbye.
    pub(super) fn heard(&mut self, slot: u32, code: &str) -> Result<(), String> {
        match self.under_way.get_mut(&slot) {
            Some(parting) => {
                parting.heard = true;
                Ok(())
            }
            None => Err(format!("the server closed the connection: {code}")),
        }
    }

    /// Does what a control frame of the server asks for. True: it was the server's Close frame, and what follows does not count
    /// (RFC 6455 §5.5.1).
    ///
    /// # Errors
    /// The server closes a connection that we have not said goodbye on.
    pub(super) fn heed(
        &mut self,
        slot: u32,
        control: Control,
        out: &mut Outbox,
    ) -> Result<bool, String> {
        match control {
            Control::Close(code) => self.heard(slot, &code.to_string()).map(|()| true),
            other => out.heed(slot, other).map(|()| false),
        }
    }

    /// Whether we have said goodbye on it.
    #[inline]
    pub(super) fn has(&self, slot: u32) -> bool {
        self.under_way.contains_key(&slot)
    }

    /// A connection has ended: in order, or for this reason.
    pub(super) fn ended(&mut self, slot: u32, end: End) -> Result<(), String> {
        match (self.under_way.remove(&slot), end) {
            (Some(Parting { heard: true, .. }), End::Closed) => Ok(()),
            (Some(_), End::Closed) => Err(RUDE.to_owned()),
            (None, End::Closed) => Err("the server ended the connection".to_owned()),
            (_, End::Failed(reason)) => Err(reason),
        }
    }

    /// It does not matter how this one ended.
    pub(super) fn forget(&mut self, slot: u32) {
        self.under_way.remove(&slot);
    }

    /// Hangs up where the server does not. Returns when to look again.
    pub(super) fn enforce(&mut self, now: Nanos, out: &mut Outbox) -> Nanos {
        while let Some(&(deadline, slot)) = self.deadlines.front() {
            if deadline > now {
                return deadline;
            }
            self.deadlines.pop_front();
            let parting = self.under_way.get_mut(&slot);
            if let Some(parting) = parting.filter(|parting| parting.deadline == deadline) {
                parting.heard = false;
                out.hang_up(slot);
            }
        }
        Nanos::MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_farewell_is_complete_with_both_frames_and_the_end_of_tcp() {
        let (mut partings, mut out) = (Partings::new([1; 4]), Outbox::default());
        for slot in 0..4 {
            partings.begin(slot, 5, &mut out);
        }
        assert!(partings.heard(0, "1000").is_ok() && partings.heard(9, "1000").is_err());
        assert_eq!(partings.ended(0, End::Closed), Ok(()));
        assert_eq!(partings.ended(1, End::Closed), Err(RUDE.to_owned()));
        assert!(partings.ended(2, End::Failed("reset".into())).is_err());
        assert!(partings.has(3) && !partings.has(0));
    }

    #[test]
    fn who_does_not_hang_up_is_hung_up_on() {
        let (mut partings, mut out) = (Partings::new([1; 4]), Outbox::default());
        partings.begin(3, 0, &mut out);
        assert!(partings.heard(3, "1000").is_ok());
        assert_eq!(partings.enforce(7, &mut out), nanos(LIMIT));
        assert_eq!(partings.enforce(nanos(LIMIT), &mut out), Nanos::MAX);
        assert_eq!(partings.ended(3, End::Closed), Err(RUDE.to_owned()));
    }
}
