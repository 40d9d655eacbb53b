//! Echo and broadcast on `fastwebsockets`.
//!
//! Echo follows the authors' own benchmark server, `examples/echo_server.rs`: hyper
//! upgrade, `FragmentCollector`, the frame written back as it came, the task
//! `unconstrained`, a current-thread runtime. Vectored writes above 1 KiB are the
//! library's default. It offers no batching of writes.

use std::convert::Infallible;
use std::future::ready;
use std::process::ExitCode;

use bytes::Bytes;
use fastwebsockets::upgrade::{UpgradeFut, upgrade};
use fastwebsockets::{
    FragmentCollector, FragmentCollectorRead, Frame, OpCode, Payload, WebSocketError,
    WebSocketWrite,
};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use peer_common::{BATCH, Hub, Mode, Seat};
use tokio::io::AsyncWrite;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

static HUB: Hub<Queued> = Hub::new();

fn main() -> ExitCode {
    peer_common::run("fastwebsockets", serve)
}

async fn serve(stream: TcpStream, mode: Mode) {
    let upgrade = service_fn(move |request| accept(request, mode));
    // An error here is a client that left or sent a bad request: it has been answered.
    let _ = http1::Builder::new()
        .serve_connection(TokioIo::new(stream), upgrade)
        .with_upgrades()
        .await;
}

async fn accept(
    mut request: Request<Incoming>,
    mode: Mode,
) -> Result<Response<Empty<Bytes>>, WebSocketError> {
    let (response, connection) = upgrade(&mut request)?;
    // A connection's end is not news, whichever way it came about.
    match mode {
        Mode::Echo => tokio::spawn(tokio::task::unconstrained(async {
            let _ = echo(connection).await;
        })),
        Mode::Broadcast => tokio::spawn(tokio::task::unconstrained(async {
            let _ = broadcast(connection).await;
        })),
    };
    Ok(response)
}

async fn echo(connection: UpgradeFut) -> Result<(), WebSocketError> {
    let mut ws = FragmentCollector::new(connection.await?);
    loop {
        let frame = ws.read_frame().await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => ws.write_frame(frame).await?,
            _ => {}
        }
    }
}

/// A message on its way to a connection: `Frame` itself cannot be shared.
#[derive(Clone)]
struct Queued {
    opcode: OpCode,
    payload: Bytes,
}

impl From<Frame<'_>> for Queued {
    fn from(frame: Frame<'_>) -> Self {
        let payload = match frame.payload {
            Payload::Bytes(bytes) => bytes.freeze(),
            Payload::Owned(vec) => vec.into(),
            Payload::Borrowed(slice) => Bytes::copy_from_slice(slice),
            Payload::BorrowedMut(slice) => Bytes::copy_from_slice(slice),
        };
        Self {
            opcode: frame.opcode,
            payload,
        }
    }
}

/// Reads in one task and writes in another, as `examples/echo_server_split.rs` splits:
/// `read_frame` loses bytes when it is cancelled, so the two cannot be selected over.
async fn broadcast(connection: UpgradeFut) -> Result<(), WebSocketError> {
    let (reader, writer) = connection.await?.split(tokio::io::split);
    let mut reader = FragmentCollectorRead::new(reader);
    let seat = HUB.join();
    let (control, controls) = mpsc::unbounded_channel();
    tokio::spawn(tokio::task::unconstrained(write(writer, seat, controls)));
    loop {
        let mut obligation = |frame: Frame<'_>| {
            // Refused only when the writer is gone, and then reading ends as well.
            let _ = control.send(Queued::from(frame));
            ready(Ok::<(), Infallible>(()))
        };
        let frame = reader.read_frame(&mut obligation).await?;
        match frame.opcode {
            OpCode::Close => return Ok(()),
            OpCode::Text | OpCode::Binary => HUB.publish(&frame.into()),
            _ => {}
        }
    }
}

/// Writes this connection's share of the broadcasts and its reader's pongs and close.
/// Ends with the reader, whose end closes `controls`.
async fn write<S: AsyncWrite + Unpin>(
    mut writer: WebSocketWrite<S>,
    mut seat: Seat<Queued>,
    mut controls: mpsc::UnboundedReceiver<Queued>,
) -> Result<(), WebSocketError> {
    let mut batch = Vec::with_capacity(BATCH);
    loop {
        tokio::select! {
            queued = controls.recv() => match queued {
                Some(queued) => batch.push(queued),
                None => return Ok(()),
            },
            _ = seat.queue.recv_many(&mut batch, BATCH) => {}
        }
        for queued in batch.drain(..) {
            let payload = Payload::Borrowed(&queued.payload);
            writer
                .write_frame(Frame::new(true, queued.opcode, None, payload))
                .await?;
        }
    }
}
