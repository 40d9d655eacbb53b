//! Echo and broadcast on `tokio-websockets`.
//!
//! Echo is the authors' own benchmark server, `examples/echo_server.rs` (unlimited frame
//! size, no limits, the task `unconstrained`, a current-thread runtime), with one change
//! for pipelined messages: what is at hand is fed and flushed once, because pending
//! messages then leave in one vectored write (the changelog's note on `SinkExt::feed`).
//! It is collected first, because the stream flushes whenever it is polled.

use std::process::ExitCode;

use futures_util::{FutureExt, SinkExt, StreamExt};
use peer_common::{BATCH, Hub, Mode};
use tokio::net::TcpStream;
use tokio_websockets::{Config, Error, Limits, Message, ServerBuilder, WebSocketStream};

static HUB: Hub<Message> = Hub::new();

fn main() -> ExitCode {
    peer_common::run("tokio-websockets", |stream, mode| {
        tokio::task::unconstrained(serve(stream, mode))
    })
}

async fn serve(stream: TcpStream, mode: Mode) {
    let accepted = ServerBuilder::new()
        .config(Config::default().frame_size(usize::MAX))
        .limits(Limits::unlimited())
        .accept(stream)
        .await;
    let Ok((_request, ws)) = accepted else {
        return; // Not a WebSocket client, or one that left.
    };
    // A connection's end is not news, whichever way it came about.
    let _ = match mode {
        Mode::Echo => echo(ws).await,
        Mode::Broadcast => broadcast(ws).await,
    };
}

async fn echo(mut ws: WebSocketStream<TcpStream>) -> Result<(), Error> {
    let mut batch = Vec::with_capacity(BATCH);
    while let Some(first) = ws.next().await {
        batch.push(first?);
        while batch.len() < BATCH
            && let Some(Some(more)) = ws.next().now_or_never()
        {
            batch.push(more?);
        }
        for message in batch.drain(..) {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
        }
        ws.flush().await?;
    }
    Ok(())
}

/// Feeds what is queued and flushes once, as above.
async fn broadcast(mut ws: WebSocketStream<TcpStream>) -> Result<(), Error> {
    let mut seat = HUB.join();
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            message = ws.next() => match message.transpose()? {
                Some(message) if message.is_text() || message.is_binary() => HUB.publish(&message),
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
