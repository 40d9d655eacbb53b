//! A small broadcast server that does to deliveries what a test wants.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Mutex;

use tungstenite::Message;
use tungstenite::http::{Request, Response};

use super::servers::{accept_on, listener};

/// Those who receive what is published.
pub(crate) struct Subscribers {
    /// By number, in the order in which they joined.
    pub(crate) streams: Vec<TcpStream>,
    /// Messages published so far.
    pub(crate) published: u64,
}

/// Serves on a free port. Whoever asks for a path with `pub` only publishes; the others subscribe, and may publish, too.
/// `fan_out` is called for every message, under a lock.
pub(crate) fn serve(fan_out: impl FnMut(&mut Subscribers, &[u8]) + Send + 'static) -> SocketAddr {
    serve_on(listener(), fan_out)
}

/// The same on a given listener.
pub(crate) fn serve_on(
    listener: TcpListener,
    fan_out: impl FnMut(&mut Subscribers, &[u8]) + Send + 'static,
) -> SocketAddr {
    let subscribers = Subscribers {
        streams: Vec::new(),
        published: 0,
    };
    let hub = Mutex::new((subscribers, fan_out));
    accept_on(listener, move |_, stream| talk(stream, &hub))
}

#[expect(clippy::result_large_err, reason = "tungstenite's signature")]
fn talk<F: FnMut(&mut Subscribers, &[u8])>(stream: TcpStream, hub: &Mutex<(Subscribers, F)>) {
    let writer = stream.try_clone().unwrap();
    let mut joining = None;
    let looked = |request: &Request<()>, response: Response<()>| {
        let query = request.uri().query();
        // Held until the answer is sent and the subscriber is on the list: whoever has the answer misses nothing.
        if !query.is_some_and(|query| query.contains("pub")) {
            joining = Some(hub.lock().unwrap());
        }
        Ok(response)
    };
    let Ok(mut peer) = tungstenite::accept_hdr(stream, looked) else {
        return;
    };
    if let Some(mut hub) = joining {
        hub.0.streams.push(writer);
    }
    while let Ok(message) = peer.read() {
        if let Message::Binary(payload) = message {
            let (subscribers, fan_out) = &mut *hub.lock().unwrap();
            subscribers.published += 1;
            fan_out(subscribers, &payload);
        }
    }
    // The hub holds the connection, too.
    let _ = peer.get_ref().shutdown(Shutdown::Both);
}

impl Subscribers {
    /// Sends to all.
    pub(crate) fn send_to_all(&mut self, payload: &[u8]) {
        let frame = frame(payload);
        for stream in &mut self.streams {
            // Whoever has left is no concern of a test's.
            let _ = stream.write_all(&frame);
        }
    }

    /// Sends to one.
    pub(crate) fn send_to(&mut self, subscriber: usize, payload: &[u8]) {
        let _ = self.streams[subscriber].write_all(&frame(payload));
    }
}

/// An unmasked binary frame.
pub(crate) fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![0x82];
    match payload.len() {
        len @ 0..126 => frame.push(len as u8),
        len @ 126..0x1_0000 => {
            frame.push(126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A Close frame with the code 1013 and no reason.
pub(crate) const CLOSE_1013: [u8; 4] = [0x88, 2, 0x03, 0xf5];
