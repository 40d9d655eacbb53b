//! Echo and broadcast on `sockudo-ws`.
//!
//! Echo is the README's loop for batched replies ("For a Tokio unified echo loop,
//! explicitly queue data replies with `feed`"): the stream flushes by itself before it
//! waits for more input. Keep-alive pings and the idle timeout are off, because no other
//! peer has them on. The README's `mimalloc` feature is on (see `Cargo.toml`).

use std::process::ExitCode;

use bytes::{Buf, BytesMut};
use futures_util::{SinkExt, StreamExt};
use peer_common::{BATCH, Hub, Mode};
use sockudo_ws::handshake::{build_response, generate_accept_key, parse_request};
use sockudo_ws::{Config, Error, Message, Result, Role, WebSocketStream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Room for a request head before the buffer has to grow, as in the authors' examples.
const REQUEST_HEAD: usize = 4096;

static HUB: Hub<Message> = Hub::new();

fn main() -> ExitCode {
    // Before the runtime starts, as the README asks: it blocks while it calibrates.
    sockudo_ws::init_clock();
    peer_common::run("sockudo-ws", serve)
}

async fn serve(stream: TcpStream, mode: Mode) {
    let Ok(ws) = accept(stream).await else {
        return; // Not a WebSocket client, or one that left.
    };
    // A connection's end is not news, whichever way it came about.
    let _ = match mode {
        Mode::Echo => echo(ws).await,
        Mode::Broadcast => broadcast(ws).await,
    };
}

/// The opening handshake of the authors' `examples/simple_echo.rs`, which keeps what
/// the client sent behind its request.
async fn accept(mut stream: TcpStream) -> Result<WebSocketStream<TcpStream>> {
    let mut head = BytesMut::with_capacity(REQUEST_HEAD);
    let consumed = loop {
        if stream.read_buf(&mut head).await? == 0 {
            return Err(Error::ConnectionClosed);
        }
        if let Some((request, consumed)) = parse_request(&head)? {
            let response = build_response(&generate_accept_key(request.key), None, None);
            stream.write_all(&response).await?;
            break consumed;
        }
    };
    head.advance(consumed);
    let config = Config::builder().auto_ping(false).idle_timeout(0).build();
    let early = (!head.is_empty()).then(|| head.freeze());
    Ok(WebSocketStream::from_raw_with_leftover(
        stream,
        Role::Server,
        config,
        early,
    ))
}

async fn echo(mut ws: WebSocketStream<TcpStream>) -> Result<()> {
    while let Some(message) = ws.next().await {
        // Ping, pong and close are answered by the stream.
        if let message @ (Message::Text(_) | Message::Binary(_)) = message? {
            ws.feed(message).await?;
        }
    }
    Ok(())
}

/// One queue per connection, as in the library's own `PubSub`, but in front of the
/// unified stream: the authors' performance audit finds that a split writer costs two
/// task hops per message.
async fn broadcast(mut ws: WebSocketStream<TcpStream>) -> Result<()> {
    let mut seat = HUB.join();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            message = ws.next() => match message.transpose()? {
                Some(message @ (Message::Text(_) | Message::Binary(_))) => HUB.publish(&message),
                Some(_) => {}
                None => return Ok(()),
            },
            _ = seat.queue.recv_many(&mut batch, BATCH) => {
                for message in batch.drain(..) {
                    ws.feed(message).await?;
                }
                ws.flush().await?;
            }
        }
    }
}
