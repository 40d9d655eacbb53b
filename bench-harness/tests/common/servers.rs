//! Small WebSocket servers of independent make, in this process.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use tungstenite::http::{HeaderValue, Request, Response};
use tungstenite::{Message, WebSocket};

/// A connection as the server sees it.
pub(crate) type Peer = WebSocket<TcpStream>;

/// The address as a URL.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("ws://{address}/")
}

/// A listener on a free port.
pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Calls `talk` for each connection, with its number, on a thread of its own.
pub(crate) fn accept_on(
    listener: TcpListener,
    talk: impl Fn(usize, TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let address = listener.local_addr().unwrap();
    let talk = Arc::new(talk);
    thread::spawn(move || {
        let streams = listener.incoming().map_while(Result::ok);
        for (number, stream) in streams.enumerate() {
            let talk = Arc::clone(&talk);
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                talk(number, stream);
            });
        }
    });
    address
}

/// Serves each WebSocket with `talk`, which gets the connection's number, on a thread of its own.
pub(crate) fn serve(talk: impl Fn(usize, Peer) + Send + Sync + 'static) -> SocketAddr {
    accept_on(listener(), move |number, stream| {
        if let Ok(peer) = tungstenite::accept(stream) {
            talk(number, peer);
        }
    })
}

/// Serves each WebSocket with `talk`, after `answer` has looked at the request and changed the response.
#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
pub(crate) fn serve_asked(
    answer: impl Fn(&Request<()>, &mut Response<()>) + Send + Sync + 'static,
    talk: impl Fn(Peer) + Send + Sync + 'static,
) -> SocketAddr {
    accept_on(listener(), move |_, stream| {
        let looked = |request: &Request<()>, mut response: Response<()>| {
            answer(request, &mut response);
            Ok(response)
        };
        if let Ok(peer) = tungstenite::accept_hdr(stream, looked) {
            talk(peer);
        }
    })
}

/// Chooses a subprotocol, whatever was offered.
pub(crate) fn choose(response: &mut Response<()>, subprotocol: &'static str) {
    let headers = response.headers_mut();
    headers.insert(
        "sec-websocket-protocol",
        HeaderValue::from_static(subprotocol),
    );
}

/// Serves each WebSocket with what `answer` says to every text and binary message. It gets the number of the connection, from
/// 0, and that of the message on it, from 1. Returns the URL.
pub(crate) fn answering(
    answer: impl Fn(usize, u64, Message) -> Vec<Message> + Send + Sync + 'static,
) -> String {
    url(serve(move |connection, mut peer| {
        let mut count = 0;
        while let Ok(message) = peer.read() {
            if !message.is_text() && !message.is_binary() {
                continue;
            }
            count += 1;
            for reply in answer(connection, count, message) {
                if peer.send(reply).is_err() {
                    return;
                }
            }
        }
    }))
}

/// The URL of a server that sends every message back.
pub(crate) fn echo_url() -> String {
    url(serve(|_, peer| echo(peer)))
}

/// Sends every message back, and answers the closing handshake.
pub(crate) fn echo(mut peer: Peer) {
    while let Ok(message) = peer.read() {
        let data = message.is_text() || message.is_binary();
        if data && peer.send(message).is_err() {
            return;
        }
    }
}
