//! Chat rooms, spoken in JSON text messages.
//!
//! | command | answer to its sender | to every member of the room |
//! |---|---|---|
//! | `{"join":"room"}` | `{"joined":"room"}` | |
//! | `{"say":"text","in":"room"}` | | `{"in":"room","from":"name","said":"text"}`, its sender included |
//! | `{"leave":"room"}` | `{"left":"room"}` | |
//! | `{"last":"room"}` | `{"last":"room","from":"name","said":"text"}`, both `null` before anyone spoke | |
//!
//! A name is chosen with `/chat?name=ada`; without one, a guest gets `guest-CORE-NUMBER`.
//!
//! What cannot be done is answered by `{"error":"why","at":where}`, and the connection stays:
//! `where` is the command or field at fault, or the byte offset of what is not JSON.
//!
//! `last` is what was said last on any core; a room is forgotten with its last member. When the
//! way to another core is full, its members miss a message, and the speaker is told so.

mod command;
mod rooms;

use std::mem;
use std::sync::Arc;

use corecast::{Accept, Conn, CoreId, Handler, Message, Reject, Request, SendStatus};
use serde::Serialize;
use simd_json::Buffers;

use self::command::{At, Command, Problem};
pub(in crate::apps) use self::rooms::Rooms;
use self::rooms::{Said, Seat};

/// Bytes in the name of a room or a member: short, since every message carries both.
const MAX_NAME: usize = 64;

/// Rooms that one connection may be in, so that `max_connections` bounds the number of rooms.
const MAX_ROOMS: usize = 32;

/// Keeps rooms apart from the topics of the other applications on the server.
const TOPIC_PREFIX: &str = "chat/";

/// One core's side of the chat. Memory: a room lives while it has a member, so all cores together
/// hold at most `max_connections` × [`MAX_ROOMS`] rooms, each with one text of
/// [`command::MAX_COMMAND`].
pub(super) struct Chat {
    core: CoreId,
    guests: u64,
    rooms: Rooms,
    /// Where commands are copied to be parsed, since that rewrites them.
    scratch: Vec<u8>,
    buffers: Buffers,
}

/// One connection.
pub(super) struct Member {
    name: Arc<str>,
    seats: Vec<Seat>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Reply<'a> {
    Joined {
        joined: &'a str,
    },
    Left {
        left: &'a str,
    },
    Last {
        last: &'a str,
        from: Option<&'a str>,
        said: Option<&'a str>,
    },
    Said {
        r#in: &'a str,
        from: &'a str,
        said: &'a str,
    },
    Problem {
        error: &'a str,
        at: At,
    },
}

impl Chat {
    pub(super) fn new(core: CoreId, rooms: Rooms) -> Self {
        Self {
            core,
            guests: 0,
            rooms,
            scratch: Vec::new(),
            buffers: Buffers::default(),
        }
    }

    fn obey(&mut self, ws: &mut Conn<'_, Member>, command: &Command<'_>) -> Result<(), Problem> {
        match command {
            Command::Join { room } => self.join(ws, room),
            Command::Say { text, room } => say(ws, text, room),
            Command::Leave { room } => leave(ws, room),
            Command::Last { room } => {
                self.last(ws, room);
                Ok(())
            }
        }
    }

    fn join(&mut self, ws: &mut Conn<'_, Member>, room: &str) -> Result<(), Problem> {
        if room.is_empty() || room.len() > MAX_NAME {
            return Err(Problem::field(
                format!("a room's name has 1 to {MAX_NAME} bytes"),
                "join",
            ));
        }
        if is_pattern(room) {
            return Err(Problem::field(
                "a room's name has no * or # alone between its slashes: it would stand for other rooms",
                "join",
            ));
        }
        if ws.data().seats.len() == MAX_ROOMS {
            let error = format!("leave a room first: {MAX_ROOMS} are the most");
            return Err(Problem::field(error, "join"));
        }
        let topic = topic_of(room);
        if !ws.subscribe(&topic) {
            return Err(Problem::field("already in this room", "join"));
        }
        let seat = self.rooms.enter(&topic);
        ws.data_mut().seats.push(seat);
        answer(ws, &Reply::Joined { joined: room });
        Ok(())
    }

    fn last(&self, ws: &mut Conn<'_, Member>, room: &str) {
        let said = self.rooms.last(&topic_of(room));
        let (from, said) = said.map(|said| (said.from, said.text)).unzip();
        answer(
            ws,
            &Reply::Last {
                last: room,
                from: from.as_deref(),
                said: said.as_deref(),
            },
        );
    }
}

impl Handler for Chat {
    type Data = Member;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Member>, Reject> {
        let name = match request.query("name") {
            Some(name) if name.is_empty() || name.len() > MAX_NAME => {
                return Err(Reject::new(400, "a name has 1 to 64 bytes"));
            }
            Some(name) => name.into(),
            None => {
                self.guests += 1;
                format!("guest-{}-{}", self.core.0, self.guests).into()
            }
        };
        Ok(Accept::new(Member {
            name,
            seats: Vec::new(),
        }))
    }

    fn message(&mut self, ws: &mut Conn<'_, Member>, message: Message<'_>) {
        let mut scratch = mem::take(&mut self.scratch);
        let result = match command::parse(message, &mut scratch, &mut self.buffers) {
            Ok(command) => self.obey(ws, &command),
            Err(problem) => Err(problem),
        };
        self.scratch = scratch;
        if let Err(Problem { error, at }) = result {
            answer(ws, &Reply::Problem { error: &error, at });
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, Member>) {
        ws.resume();
    }
}

fn say(ws: &mut Conn<'_, Member>, text: &str, room: &str) -> Result<(), Problem> {
    let topic = topic_of(room);
    let from = Arc::clone(&ws.data().name);
    let Some(seat) = ws.data().seats.iter().find(|seat| seat.topic() == topic) else {
        return Err(Problem::field("join the room first", "in"));
    };
    seat.remember(Said {
        from: Arc::clone(&from),
        text: text.into(),
    });
    let said = encode(&Reply::Said {
        r#in: room,
        from: &from,
        said: text,
    });
    if ws.publish(&topic, Message::Text(&said)).refused > 0 {
        return Err(Problem::field(
            "too busy: some members did not get this",
            "say",
        ));
    }
    Ok(())
}

fn leave(ws: &mut Conn<'_, Member>, room: &str) -> Result<(), Problem> {
    let topic = topic_of(room);
    if !ws.unsubscribe(&topic) {
        return Err(Problem::field("not in this room", "leave"));
    }
    ws.data_mut().seats.retain(|seat| seat.topic() != topic);
    answer(ws, &Reply::Left { left: room });
    Ok(())
}

/// Whether a subscription to the room's topic might be one to other rooms, too ([`Conn::subscribe`]).
fn is_pattern(room: &str) -> bool {
    room.split('/').any(|level| matches!(level, "*" | "#"))
}

fn topic_of(room: &str) -> String {
    format!("{TOPIC_PREFIX}{room}")
}

/// Answers; a peer that does not read its answers gets to ask no more until it has.
fn answer(ws: &mut Conn<'_, Member>, reply: &Reply<'_>) {
    if ws.send_text(&encode(reply)) == SendStatus::Queued {
        ws.pause();
    }
}

fn encode(reply: &Reply<'_>) -> String {
    simd_json::to_string(reply).expect("strings and numbers always have a JSON form")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_peers_say_is_escaped() {
        let said = Reply::Said {
            r#in: "a\"b",
            from: "\\",
            said: "\u{1}\n\u{2028}é",
        };
        assert_eq!(
            encode(&said),
            "{\"in\":\"a\\\"b\",\"from\":\"\\\\\",\"said\":\"\\u0001\\n\u{2028}é\"}"
        );
    }

    #[test]
    fn replies_have_the_documented_form() {
        let last = Reply::Last {
            last: "a",
            from: None,
            said: None,
        };
        assert_eq!(encode(&last), r#"{"last":"a","from":null,"said":null}"#);
        assert_eq!(encode(&Reply::Joined { joined: "a" }), r#"{"joined":"a"}"#);
        let problem = Reply::Problem {
            error: "no",
            at: At::Byte(7),
        };
        assert_eq!(encode(&problem), r#"{"error":"no","at":7}"#);
        let problem = Reply::Problem {
            error: "no",
            at: At::Field("join".into()),
        };
        assert_eq!(encode(&problem), r#"{"error":"no","at":"join"}"#);
    }
}
