//! A chat room: who connects says a name, and what anyone says reaches everybody in the room.
//!
//! `cargo run --release -p corecast --example chat_room -- 127.0.0.1:9001`, then connect to
//! `ws://127.0.0.1:9001/room/lobby?name=ada` from as many places as you like.

use corecast::{Accept, CloseCode, Closed, Conn, Handler, Message, Reject, Request, Server};

/// One per core: no locks. Members of a room may live on different cores all the same.
struct Rooms;

/// What the server knows of a member.
struct Member {
    name: String,
    room: String,
}

const MAX_NAME: usize = 32;

impl Handler for Rooms {
    type Data = Member;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Member>, Reject> {
        let name = request.query("name").ok_or(Reject::unauthorized())?;
        if name.is_empty() || name.len() > MAX_NAME {
            return Err(Reject::bad_request());
        }
        let (name, room) = (name.into_owned(), request.path().to_owned());
        Ok(Accept::new(Member { name, room }))
    }

    fn open(&mut self, ws: &mut Conn<'_, Member>) {
        let Member { name, room } = ws.data();
        let (line, room) = (format!("{name} joined"), room.clone());
        ws.subscribe(&room);
        ws.publish(&room, Message::Text(&line));
    }

    fn message(&mut self, ws: &mut Conn<'_, Member>, message: Message<'_>) {
        let Message::Text(text) = message else {
            return ws.close(CloseCode::UNSUPPORTED, "text only");
        };
        let Member { name, room } = ws.data();
        let (line, room) = (format!("{name}: {text}"), room.clone());
        ws.publish(&room, Message::Text(&line));
    }

    fn close(&mut self, ws: &mut Conn<'_, Member>, _why: Closed<'_>) {
        let Member { name, room } = ws.data();
        let (line, room) = (format!("{name} left"), room.clone());
        ws.publish(&room, Message::Text(&line));
    }
}

fn main() -> corecast::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addrs()[0]);
    server
        .max_message(4 << 10)
        .route("/room/*", |_core| Rooms)
        .run()
}
