//! A server of independent make with an echo and topics, which does to deliveries what a test wants.

use std::collections::HashMap;
use std::io::Write as _;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use tungstenite::handshake::server::{Request, Response};
use tungstenite::{Message, WebSocket};

use super::hub::frame;
use super::servers::{accept_on, listener};

/// What is done to a message that is published: the frames that a subscriber gets for message `n`, counted over all topics.
pub(crate) type Treatment = dyn Fn(u64, &[u8]) -> Vec<Vec<u8>> + Send + Sync;

/// A server in this process.
pub(crate) struct Town {
    pub(crate) address: SocketAddr,
    /// Connections so far, by path.
    joined: Mutex<HashMap<String, u64>>,
    /// Subscribers by topic.
    topics: Mutex<HashMap<String, Vec<TcpStream>>>,
    published: AtomicU64,
    treatment: Box<Treatment>,
}

impl Town {
    /// Everything comes as it should.
    pub(crate) fn honest() -> Arc<Self> {
        Self::serve(|_, payload| vec![frame(payload)])
    }

    pub(crate) fn serve(
        treatment: impl Fn(u64, &[u8]) -> Vec<Vec<u8>> + Send + Sync + 'static,
    ) -> Arc<Self> {
        let listener = listener();
        let town = Arc::new(Self {
            address: listener.local_addr().unwrap(),
            joined: Mutex::default(),
            topics: Mutex::default(),
            published: AtomicU64::new(0),
            treatment: Box::new(treatment),
        });
        let served = Arc::clone(&town);
        accept_on(listener, move |_, stream| served.talk(stream));
        town
    }

    #[expect(clippy::result_large_err, reason = "tungstenite's signature")]
    fn talk(&self, stream: TcpStream) {
        let writer = stream.try_clone().unwrap();
        let mut path = String::new();
        let mut topics = None;
        let looked = |request: &Request, response: Response| {
            path = request.uri().to_string();
            // Who is told that it has joined is there before anything else is published, however long this thread has to wait.
            topics = value(&path, "sub").map(|topic| (topic, self.topics.lock().unwrap()));
            match path.as_str() {
                "/full" => Err(Response::builder().status(503).body(None).unwrap()),
                "/hang" => {
                    thread::sleep(Duration::from_secs(600));
                    Ok(response)
                }
                _ => Ok(response),
            }
        };
        let Ok(mut peer) = tungstenite::accept_hdr(stream, looked) else {
            return;
        };
        if let Some((topic, mut topics)) = topics {
            topics.entry(topic).or_default().push(writer);
        }
        *self.joined.lock().unwrap().entry(path.clone()).or_default() += 1;
        if path == "/brief" {
            thread::sleep(Duration::from_millis(5));
            return;
        }
        self.listen(&mut peer, &path, value(&path, "pub").as_deref());
        // The topic holds the connection, too.
        let _ = peer.get_ref().shutdown(Shutdown::Both);
    }

    fn listen(&self, peer: &mut WebSocket<TcpStream>, path: &str, topic: Option<&str>) {
        // It says something first, and answers what is said to it first.
        if path.contains("greets") {
            let welcome = |peer: &mut WebSocket<TcpStream>| -> tungstenite::Result<()> {
                peer.send(Message::text("welcome"))?;
                let hello = peer.read()?;
                peer.send(Message::text(format!("welcome, {hello}")))
            };
            if welcome(peer).is_err() {
                return;
            }
        }
        let mut heard = 0;
        while let Ok(message) = peer.read() {
            match (topic, &message) {
                (Some(topic), Message::Binary(payload)) => self.publish(topic, payload),
                (None, Message::Binary(_) | Message::Text(_)) if path.starts_with("/echo") => {
                    if path.contains("slow") {
                        thread::sleep(Duration::from_millis(4));
                    }
                    // Of every connection's hundred messages one is dropped, and one comes twice.
                    heard += 1;
                    let copies = match (path.contains("faulty"), heard % 100) {
                        (true, 50) => 0,
                        (true, 70) => 2,
                        _ => 1,
                    };
                    if (0..copies).any(|_| peer.send(message.clone()).is_err()) {
                        return;
                    }
                }
                _ => {}
            }
        }
    }

    fn publish(&self, topic: &str, payload: &[u8]) {
        let mut topics = self.topics.lock().unwrap();
        let number = self.published.fetch_add(1, Ordering::Relaxed);
        let frames = (self.treatment)(number, payload);
        for stream in topics.entry(topic.to_owned()).or_default() {
            for frame in &frames {
                // Whoever has left is no concern of a test's.
                let _ = stream.write_all(frame);
            }
        }
    }

    pub(crate) fn joined(&self, path: &str) -> u64 {
        self.joined.lock().unwrap().get(path).copied().unwrap_or(0)
    }

    pub(crate) fn url(&self) -> String {
        format!("ws://{}/echo", self.address)
    }
}

/// What a query says of a name.
fn value(path: &str, name: &str) -> Option<String> {
    let mut pairs = path
        .split(['?', '&'])
        .filter_map(|pair| pair.split_once('='));
    pairs
        .find(|(key, _)| *key == name)
        .map(|(_, value)| value.to_owned())
}
