//! Echo and broadcast on `tokio-tungstenite`.
//!
//! The default buffers of 128 KiB are the ones that tungstenite's `WebSocketConfig`
//! recommends for high load. The same page says that replies should be written without
//! an immediate flush; so replies are fed while input is at hand and flushed before the
//! task waits, which is what `forward` does in the authors' `examples/echo-server.rs`,
//! here without the lock that `split` adds.

use std::pin::Pin;
use std::process::ExitCode;
use std::task::{Context, Poll, ready};

use futures_util::{Sink, SinkExt, Stream, StreamExt};
use peer_common::{BATCH, Hub, Mode};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, accept_async};

static HUB: Hub<Message> = Hub::new();

fn main() -> ExitCode {
    peer_common::run("tokio-tungstenite", serve)
}

async fn serve(stream: TcpStream, mode: Mode) {
    let Ok(ws) = accept_async(stream).await else {
        return; // Not a WebSocket client, or one that left.
    };
    // A connection's end is not news, whichever way it came about.
    let _ = match mode {
        Mode::Echo => echo(ws).await,
        Mode::Broadcast => broadcast(ws).await,
    };
}

async fn echo(mut ws: WebSocketStream<TcpStream>) -> Result<(), Error> {
    while let Some(message) = std::future::poll_fn(|cx| poll_next_or_flush(&mut ws, cx)).await {
        let message = message?;
        if message.is_text() || message.is_binary() {
            ws.feed(message).await?;
        }
    }
    Ok(())
}

/// The next message, with everything fed so far flushed before it is waited for.
fn poll_next_or_flush(
    ws: &mut WebSocketStream<TcpStream>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Message, Error>>> {
    if let Poll::Ready(message) = Pin::new(&mut *ws).poll_next(cx) {
        return Poll::Ready(message);
    }
    match ready!(Pin::new(ws).poll_flush(cx)) {
        Ok(()) => Poll::Pending,
        Err(error) => Poll::Ready(Some(Err(error))),
    }
}

/// One queue per connection, as in the authors' `examples/server.rs`.
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
