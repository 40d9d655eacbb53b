//! Replies that do not come in their turn or not at all, and messages that are none.

use std::time::Duration;

use super::{EchoDriver, Pace};
use crate::client::reply::ReplyError;
use crate::clock::{Nanos, nanos};
use crate::commands::echo::account::{Displaced, Missing};
use crate::commands::echo::unexpected;
use crate::target::Wire;

/// A connection that may send no more until a reply comes, and has heard nothing for so long, is allowed another message…
const PATIENCE: Duration = Duration::from_secs(1);

/// …as long as not more than this are missing in a row: then it is not a message that was lost, but a server that stalls.
const MISSING_IN_A_ROW: u64 = 3;

impl EchoDriver<'_> {
    /// Another message than the one that was due has come back.
    #[cold]
    pub(super) fn displaced(
        &mut self,
        slot: u32,
        variant: usize,
        now: Nanos,
    ) -> Result<(), String> {
        let talk = &self.talks[slot as usize];
        match self
            .account
            .displaced(slot, variant, talk.answered, talk.sent)
        {
            Displaced::Ahead(number) => {
                self.pass_over(slot, number);
                self.answer(slot, now)?;
            }
            Displaced::Late(missing) => {
                self.answered += 1;
                let place = talk.place.expect("only active connections are answered");
                let due = match &self.pace {
                    Pace::Open { schedule, .. } => {
                        schedule.due(missing.number * self.active.len() as u64 + u64::from(place))
                    }
                    _ => missing.sent,
                };
                self.record(due, missing.sent, now);
            }
            Displaced::Again => {}
            Displaced::Unknown => return Err(self.uncalled_for(slot)),
        }
        let talk = &mut self.talks[slot as usize];
        let variants = self.load.variants as u64;
        talk.reader.expect((talk.answered % variants) as usize);
        Ok(())
    }

    /// Waits no longer for the messages of a connection before this one.
    #[cold]
    fn pass_over(&mut self, slot: u32, number: u64) {
        let talk = &mut self.talks[slot as usize];
        let place = u64::from(talk.place.expect("only active connections wait"));
        let stamp = |number| self.stamps[(place * self.depth + number % self.depth) as usize];
        let missing = (talk.answered..number).map(|number| Missing {
            number,
            sent: stamp(number),
        });
        self.account.miss(slot, missing, number);
        if matches!(self.pace, Pace::Closed) {
            talk.due += number - talk.answered;
        }
        talk.answered = number;
        let variants = self.load.variants as u64;
        talk.reader.expect((number % variants) as usize);
        talk.mark(slot, &mut self.dirty);
    }

    /// Lets connections go on that wait for a message that seems to be lost.
    #[cold]
    pub(super) fn lose_patience(&mut self, now: Nanos) {
        // With few payloads, or one, a late reply would be taken for that of a later message.
        let are_told_apart =
            self.replies.distinct() && self.load.variants as u64 > MISSING_IN_A_ROW;
        if !are_told_apart || self.depth > MISSING_IN_A_ROW {
            return;
        }
        for place in 0..self.active.len() {
            let slot = self.active[place];
            let talk = &self.talks[slot as usize];
            let waiting = talk.sent - talk.answered;
            if !talk.open || waiting < self.depth {
                continue;
            }
            let oldest = place as u64 * self.depth + talk.answered % self.depth;
            let silent = now.saturating_sub(self.stamps[oldest as usize]) > nanos(PATIENCE);
            let missing = waiting + self.account.silent(slot, talk.answered);
            if silent && !talk.reader.is_within() && missing <= MISSING_IN_A_ROW {
                self.pass_over(slot, talk.sent);
            }
        }
    }

    /// A message came that cannot be a reply.
    #[cold]
    pub(super) fn unexpected(
        &mut self,
        slot: u32,
        error: &ReplyError,
        bytes: &[u8],
        rest: &[u8],
    ) -> String {
        let talk = &self.talks[slot as usize];
        let hint = unexpected::hint(error, talk.answered > 0);
        let Some(hint) = hint.filter(|_| self.load.wire == Wire::WebSocket) else {
            return error.to_string();
        };
        let came = match self.load.deflate {
            true => &[],
            false => talk.reader.unexpected(error, bytes, rest),
        };
        self.surprises.tell(error.to_string(), hint, came)
    }

    /// A reply came where none could.
    #[cold]
    pub(super) fn uncalled_for(&mut self, slot: u32) -> String {
        let error = "a reply came that nothing was sent for".to_owned();
        let hint = unexpected::hint_on_words(self.talks[slot as usize].answered > 0);
        self.surprises.tell(error, hint, &[])
    }
}
