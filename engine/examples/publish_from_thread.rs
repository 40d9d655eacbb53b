//! A ticker: a thread that knows nothing of sockets publishes, and every connection receives.
//!
//! `cargo run --release -p corecast --example publish_from_thread -- 127.0.0.1:9001`

use std::time::Duration;

use corecast::{Conn, Handler, Message, Server};

struct Ticker;

impl Handler for Ticker {
    type Data = ();

    fn open(&mut self, ws: &mut Conn<'_, ()>) {
        ws.subscribe("ticks");
    }

    fn message(&mut self, _ws: &mut Conn<'_, ()>, _message: Message<'_>) {}
}

fn main() -> corecast::Result<()> {
    let address = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let server = Server::bind(address)?;
    println!("listening on {}", server.local_addrs()[0]);

    let publisher = server.publisher();
    std::thread::spawn(move || {
        for tick in 0_u64.. {
            let published = publisher.publish("ticks", Message::Text(&format!("tick {tick}")));
            if published.refused > 0 {
                eprintln!("tick {tick}: {} cores are behind", published.refused);
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    });
    server.route("*", |_core| Ticker).run()
}
