//! The application: what a connection's path asks for is what happens to it.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use corecast::{
    Accept, CloseCode, Closed, Conn, ConnHandle, Control, Handler, Message, Reject, Request,
    SendStatus,
};

/// One core's half.
pub(crate) struct Victim {
    /// Which of the cores this is, in the order in which they came up.
    core: usize,
    control: Arc<OnceLock<Control>>,
    /// Connections that were paused for ever.
    paused: Vec<ConnHandle<Peer>>,
}

impl Victim {
    pub(crate) fn new(control: Arc<OnceLock<Control>>) -> Self {
        static CORES: AtomicUsize = AtomicUsize::new(0);
        Self {
            core: CORES.fetch_add(1, Ordering::Relaxed),
            control,
            paused: Vec::new(),
        }
    }

    fn stats(&self) -> String {
        let Some(stats) = self.control.get().map(Control::stats) else {
            return "the server is still starting".to_owned();
        };
        format!(
            "connections={} accepted={} opened={} refused={} dropped={} handler_panics={} \
             ring_overflows={} paused={}",
            stats.connections,
            stats.accepted,
            stats.opened,
            stats.refused,
            stats.dropped,
            stats.handler_panics,
            stats.ring_overflows,
            self.paused.len()
        )
    }
}

/// What a connection is there for.
#[derive(Debug)]
pub(crate) enum Peer {
    Echo,
    Panic(String),
    /// For so long, or until it is released.
    Stall(Option<Duration>),
    Release,
    Topics {
        subscribe: Vec<String>,
        publish: Option<String>,
    },
    /// For so long, or for ever.
    Pause(Option<Duration>),
    Orders,
    Stats,
}

impl Peer {
    fn asked_by(request: &Request<'_>) -> Result<Self, Reject> {
        let time = request.query("ms").map(|ms| ms.parse()).transpose();
        let time = time
            .map_err(|_| Reject::new(400, "ms= takes a number"))?
            .map(Duration::from_millis);
        match request.path() {
            "/echo" => Ok(Self::Echo),
            "/panic" => {
                let at = request.query("at");
                Ok(Self::Panic(at.as_deref().unwrap_or("message").to_owned()))
            }
            "/stall" => Ok(Self::Stall(time)),
            "/release" => Ok(Self::Release),
            "/topics" => Ok(Self::Topics {
                subscribe: request.query_all("sub").map(Into::into).collect(),
                publish: request.query("pub").map(Into::into),
            }),
            "/pause" => Ok(Self::Pause(time)),
            "/orders" => Ok(Self::Orders),
            "/stats" => Ok(Self::Stats),
            _ => Err(Reject::not_found()),
        }
    }

    fn panics(&self, here: &str) {
        if let Self::Panic(at) = self {
            assert!(at != here, "as asked, in {here}");
        }
    }
}

impl Handler for Victim {
    type Data = Peer;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Peer>, Reject> {
        let peer = Peer::asked_by(request)?;
        peer.panics("upgrade");
        Ok(Accept::new(peer).header("X-Core", self.core.to_string()))
    }

    fn open(&mut self, ws: &mut Conn<'_, Peer>) {
        ws.data().panics("open");
        match ws.data_mut() {
            Peer::Topics { subscribe, .. } => {
                for topic in std::mem::take(subscribe) {
                    ws.subscribe(&topic);
                }
            }
            &mut Peer::Pause(time) => self.pause(ws, time),
            _ => {}
        }
    }

    fn message(&mut self, ws: &mut Conn<'_, Peer>, message: Message<'_>) {
        ws.data().panics("message");
        match (ws.data(), message) {
            (&Peer::Stall(time), _) => {
                stall(time);
                echo(ws, message);
            }
            (Peer::Release, _) => {
                *RELEASED.lock().unwrap_or_else(PoisonError::into_inner) += 1;
                RELEASE.notify_all();
                echo(ws, message);
            }
            (Peer::Topics { publish, .. }, _) => {
                let topic = publish.clone().unwrap_or_default();
                publish_and_tell(ws, &topic, message);
            }
            (Peer::Orders, Message::Text(order)) => self.obey(ws, order),
            (Peer::Stats, _) => drop(ws.send_text(&self.stats())),
            _ => echo(ws, message),
        }
    }

    fn drain(&mut self, ws: &mut Conn<'_, Peer>) {
        ws.resume();
    }

    fn close(&mut self, ws: &mut Conn<'_, Peer>, why: Closed<'_>) {
        let code = u16::from(why.code);
        tracing::info!(peer = ?ws.data(), code, reason = why.reason, clean = why.clean, "closed");
        ws.data().panics("close");
    }
}

/// Orders.
impl Victim {
    fn obey(&mut self, ws: &mut Conn<'_, Peer>, order: &str) {
        let words: Vec<&str> = order.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u32>().ok());
        match (words[0], number(1), number(2)) {
            ("close", Some(code), None) => {
                let code = u16::try_from(code).ok().and_then(CloseCode::new);
                ws.close(code.unwrap_or(CloseCode::POLICY), "as told");
            }
            ("send", Some(count), Some(bytes)) => {
                let payload = vec![7; bytes as usize];
                for _ in 0..count {
                    if ws.send_binary(&payload) == SendStatus::Closed {
                        break;
                    }
                }
            }
            ("pause", time, None) => {
                self.pause(ws, time.map(|ms| Duration::from_millis(ms.into())))
            }
            ("resume", None, None) => self.resume_all(),
            _ => echo(ws, Message::Text(order)),
        }
    }

    /// Stops reading, for so long or until [`Self::resume_all`].
    fn pause(&mut self, ws: &mut Conn<'_, Peer>, time: Option<Duration>) {
        ws.pause();
        let handle = ws.handle();
        let Some(time) = time else {
            return self.paused.push(handle);
        };
        corecast::spawn(async move {
            monoio::time::sleep(time).await;
            // Gone meanwhile: nothing to resume.
            let _ = handle.with(|ws| ws.resume());
        });
    }

    /// Reads on from all that were paused for ever, at once.
    fn resume_all(&mut self) {
        let paused = std::mem::take(&mut self.paused);
        corecast::spawn(async move {
            for handle in paused {
                // Gone meanwhile: nothing to resume.
                let _ = handle.with(|ws| ws.resume());
            }
        });
    }
}

/// How often stalled cores were released, and what tells them.
static RELEASED: Mutex<usize> = Mutex::new(0);
static RELEASE: Condvar = Condvar::new();

/// Does what no callback may do: waits.
fn stall(time: Option<Duration>) {
    if let Some(time) = time {
        return std::thread::sleep(time);
    }
    let released = RELEASED.lock().unwrap_or_else(PoisonError::into_inner);
    let before = *released;
    tracing::info!("a core stalls");
    let result = RELEASE.wait_while(released, |released| *released == before);
    drop(result.unwrap_or_else(PoisonError::into_inner));
}

fn echo(ws: &mut Conn<'_, Peer>, message: Message<'_>) {
    if ws.send(message) == SendStatus::Queued {
        ws.pause();
    }
}

fn publish_and_tell(ws: &mut Conn<'_, Peer>, topic: &str, message: Message<'_>) {
    let said = ws.publish(topic, message);
    let answer = format!(
        "sent={} queued={} dropped={} forwarded={} refused={}",
        said.sent, said.queued, said.dropped, said.forwarded, said.refused
    );
    ws.send_text(&answer);
}
