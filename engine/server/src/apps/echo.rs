//! Every message comes back, with its opcode.

use corecast::{Conn, Handler, Message, SendStatus};

pub(super) struct Echo;

impl Handler for Echo {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        // What comes back slower than it arrives would pile up: let the peer wait instead.
        if ws.send(message) == SendStatus::Queued {
            ws.pause();
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, ()>) {
        ws.resume();
    }
}
