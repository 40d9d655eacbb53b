//! What the user of connections is told, and how they opened and ended.

use super::Outbox;
use crate::client::dial::Failures;
use crate::clock::Nanos;
use crate::stats::phases::ConnectTimes;

/// What a command does with its connections. All calls come from [`Links::turn`](super::Links::turn).
pub(crate) trait Driver {
    /// A connection is ready: connected, and upgraded if it is a WebSocket.
    fn opened(&mut self, slot: u32, times: OpenTimes, now: Nanos, out: &mut Outbox);

    /// Bytes came on an open connection at `now`. An error ends the connection with that reason.
    fn received(
        &mut self,
        slot: u32,
        bytes: &mut [u8],
        now: Nanos,
        out: &mut Outbox,
    ) -> Result<(), String>;

    /// A polled send is over: [`Links::can_send`](super::Links::can_send) is true again.
    fn writable(&mut self, slot: u32);

    /// The connection is gone and its slot free. `opened` says whether it ever was ready.
    fn ended(&mut self, slot: u32, opened: bool, end: End, now: Nanos);

    /// The connections that have failed so far: those that were never open, and those that were.
    fn failures(&self) -> [&Failures; 2];

    /// Open connections that the server still has to say something on before it counts.
    fn not_greeted(&self) -> u64 {
        0
    }
}

/// How long opening took.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OpenTimes {
    /// From when it was due until it began, where there is a rate.
    pub(crate) waited: Nanos,
    /// TCP: from the start to established.
    pub(crate) tcp: Nanos,
    /// From the request to the complete 101 response; `None` for `tcp://`.
    pub(crate) upgrade: Option<Nanos>,
}

impl OpenTimes {
    /// Adds them to those of other connections.
    pub(crate) fn record(self, times: &mut ConnectTimes) {
        times.tcp.record(self.tcp);
        if let Some(upgrade) = self.upgrade {
            times.upgrade.record(upgrade);
        }
        let open = self.waited + self.tcp + self.upgrade.unwrap_or(0);
        times.open.record(open);
    }
}

/// Why a connection ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The server closed the TCP connection.
    Closed,
    /// Something failed.
    Failed(String),
}

impl End {
    /// Why, for people.
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Closed => "the server ended the connection".to_owned(),
            Self::Failed(reason) => reason,
        }
    }
}
