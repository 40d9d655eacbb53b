//! Every message comes back. `cargo run --release -p corecast --example echo -- 127.0.0.1:9001`

use corecast::{Conn, Handler, Message, SendStatus, Server};

struct Echo;

impl Handler for Echo {
    type Data = ();

    fn message(&mut self, ws: &mut Conn<'_, ()>, message: Message<'_>) {
        if ws.send(message) == SendStatus::Queued {
            // The peer does not read as fast as it writes: let TCP hold it back.
            ws.pause();
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, ()>) {
        ws.resume();
    }
}

fn main() -> corecast::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addrs()[0]);
    server.route("*", |_core| Echo).run()
}
