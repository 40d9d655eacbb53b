//! From a path to a handler: the application as the core sees it.

use std::any::Any;
use std::os::fd::BorrowedFd;
use std::sync::Arc;

use bytes::Bytes;
use corecast_protocol::deflate::Acceptance;
use corecast_protocol::handshake::{self, Refusal, encode_http, encode_switching};

use crate::core::{App, CoreId, Decision, Ended, Hub, Message};
use crate::handler::{Accept, Closed, Handler, Reject};
use crate::origin::Origins;
use crate::{Conn, Request};

/// What a server serves; shared by its cores, which make their own handlers from it.
#[derive(Default)]
pub(crate) struct Site {
    pub(crate) routes: Vec<Blueprint>,
    pub(crate) pages: Vec<Page>,
    pub(crate) origins: Origins,
    /// What is agreed to with clients that offer compression.
    pub(crate) deflate: Option<Acceptance>,
}

/// A route before it has a core.
pub(crate) struct Blueprint {
    pattern: Pattern,
    make: Box<dyn Fn(CoreId) -> Box<dyn Endpoint> + Send + Sync>,
}

impl Blueprint {
    pub(crate) fn new<H: Handler>(
        pattern: &str,
        make: impl Fn(CoreId) -> H + Send + Sync + 'static,
    ) -> Self {
        let make = move |core| -> Box<dyn Endpoint> {
            Box::new(Typed {
                handler: make(core),
                core,
                data: DataTable::default(),
            })
        };
        Self {
            pattern: Pattern::new(pattern),
            make: Box::new(make),
        }
    }
}

/// A plain HTTP answer.
pub(crate) struct Page {
    pub(crate) path: String,
    pub(crate) content_type: String,
    pub(crate) body: Bytes,
}

/// Which paths a route answers.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Pattern {
    Exact(String),
    /// Everything that begins so.
    Prefix(String),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        match pattern.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.to_owned()),
            None => Self::Exact(pattern.to_owned()),
        }
    }

    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
        }
    }
}

/// The routes of one core.
pub(crate) struct Routes {
    site: Arc<Site>,
    core: CoreId,
    endpoints: Vec<Box<dyn Endpoint>>,
}

impl Routes {
    pub(crate) fn new(site: Arc<Site>, core: CoreId) -> Self {
        let endpoints = site.routes.iter().map(|route| (route.make)(core)).collect();
        Self {
            site,
            core,
            endpoints,
        }
    }

    fn respond(&self, head: &handshake::Request<'_>, response: &mut Vec<u8>) {
        let Some(page) = self.site.pages.iter().find(|page| page.path == head.path()) else {
            return refuse(
                head,
                &Refusal::new(404, "nothing is served at this path"),
                response,
            );
        };
        let head_only = head.method() == "HEAD";
        let encoded = encode_http(response, 200, &page.content_type, &page.body, head_only);
        if encoded.is_err() {
            let refusal = Refusal::new(500, "the page has an impossible content type");
            refuse(head, &refusal, response);
        }
    }

    fn upgrade(
        &mut self,
        head: &handshake::Request<'_>,
        socket: BorrowedFd<'_>,
        response: &mut Vec<u8>,
    ) -> Result<Decision, Refusal> {
        let found = self
            .site
            .routes
            .iter()
            .position(|route| route.pattern.matches(head.path()));
        let Some(route) = found else {
            self.respond(head, response);
            return Ok(Decision::Respond);
        };
        let has_page = || self.site.pages.iter().any(|page| page.path == head.path());
        if !head.is_upgrade() && has_page() {
            self.respond(head, response);
            return Ok(Decision::Respond);
        }
        let key = head.check_upgrade()?;
        if !self.site.origins.admit(head) {
            return Err(Refusal::new(
                403,
                "connections from this origin are not allowed",
            ));
        }
        let endpoint = &mut self.endpoints[route];
        let answer = endpoint
            .upgrade(&Request::new(head, socket))
            .map_err(|reject| Refusal::new(reject.status, reject.reason))?;
        let deflate = self.site.deflate.filter(|_| answer.compressed);
        let deflate = deflate.and_then(|acceptance| acceptance.choose(head));
        let headers: Vec<_> = answer
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let written = encode_switching(
            response,
            key,
            answer.subprotocol.as_deref(),
            deflate.as_ref(),
            &headers,
        );
        if let Err(error) = written {
            endpoint.forget(answer.data);
            tracing::error!(%error, "the application's response headers are impossible");
            response.clear();
            return Err(Refusal::new(
                500,
                "the application's response headers are impossible",
            ));
        }
        Ok(Decision::Accept {
            route: route as u16,
            data: answer.data,
            deflate: deflate.map(|agreement| agreement.params()),
        })
    }
}

impl App for Routes {
    fn request(
        &mut self,
        request: &handshake::Request<'_>,
        socket: BorrowedFd<'_>,
        response: &mut Vec<u8>,
    ) -> Decision {
        self.upgrade(request, socket, response)
            .unwrap_or_else(|refusal| {
                refuse(request, &refusal, response);
                Decision::Respond
            })
    }

    fn open(&mut self, hub: &mut Hub, index: u32) {
        let (route, slot) = place(hub, index);
        self.endpoints[route].open(hub, index, slot);
    }

    #[inline]
    fn message(&mut self, hub: &mut Hub, index: u32, message: Message<'_>) {
        let (route, slot) = place(hub, index);
        self.endpoints[route].message(hub, index, slot, message);
    }

    fn drain(&mut self, hub: &mut Hub, index: u32) {
        let (route, slot) = place(hub, index);
        self.endpoints[route].drain(hub, index, slot);
    }

    fn close(&mut self, hub: &mut Hub, index: u32, ended: &Ended) {
        let (route, slot) = place(hub, index);
        let why = Closed {
            code: ended.code,
            reason: &ended.reason,
            clean: ended.clean,
        };
        self.endpoints[route].close(hub, index, slot, why);
    }

    fn data(&mut self, route: u16, slot: u32) -> Option<(CoreId, &mut dyn Any)> {
        let data = self.endpoints.get_mut(usize::from(route))?.data(slot)?;
        Some((self.core, data))
    }
}

fn refuse(head: &handshake::Request<'_>, refusal: &Refusal, response: &mut Vec<u8>) {
    tracing::debug!(
        status = refusal.status,
        reason = refusal.reason,
        "request refused"
    );
    match head.method() {
        "HEAD" => refusal.encode_head(response),
        _ => refusal.encode(response),
    }
}

fn place(hub: &Hub, index: u32) -> (usize, u32) {
    let conn = &hub.conns[index];
    (usize::from(conn.route), conn.data)
}

/// A handler without its type.
trait Endpoint {
    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<u32>, Reject>;
    /// Drops the data of a connection that did not come to be.
    fn forget(&mut self, slot: u32);
    fn open(&mut self, hub: &mut Hub, index: u32, slot: u32);
    fn message(&mut self, hub: &mut Hub, index: u32, slot: u32, message: Message<'_>);
    fn drain(&mut self, hub: &mut Hub, index: u32, slot: u32);
    fn close(&mut self, hub: &mut Hub, index: u32, slot: u32, why: Closed<'_>);
    fn data(&mut self, slot: u32) -> Option<&mut dyn Any>;
}

/// A handler and its connections' data.
struct Typed<H: Handler> {
    handler: H,
    core: CoreId,
    data: DataTable<H::Data>,
}

impl<H: Handler> Endpoint for Typed<H> {
    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<u32>, Reject> {
        let Accept {
            data,
            subprotocol,
            headers,
            compressed,
        } = self.handler.upgrade(request)?;
        Ok(Accept {
            data: self.data.insert(data),
            subprotocol,
            headers,
            compressed,
        })
    }

    fn forget(&mut self, slot: u32) {
        self.data.remove(slot);
    }

    fn open(&mut self, hub: &mut Hub, index: u32, slot: u32) {
        if let Some(data) = self.data.get(slot) {
            self.handler
                .open(&mut Conn::new(hub, index, self.core, data));
        }
    }

    #[inline]
    fn message(&mut self, hub: &mut Hub, index: u32, slot: u32, message: Message<'_>) {
        if let Some(data) = self.data.get(slot) {
            self.handler
                .message(&mut Conn::new(hub, index, self.core, data), message);
        }
    }

    fn drain(&mut self, hub: &mut Hub, index: u32, slot: u32) {
        if let Some(data) = self.data.get(slot) {
            self.handler
                .drain(&mut Conn::new(hub, index, self.core, data));
        }
    }

    fn close(&mut self, hub: &mut Hub, index: u32, slot: u32, why: Closed<'_>) {
        // Out of the table first: a panic in the callback must not keep the slot.
        if let Some(mut data) = self.data.remove(slot) {
            self.handler
                .close(&mut Conn::new(hub, index, self.core, &mut data), why);
        }
    }

    fn data(&mut self, slot: u32) -> Option<&mut dyn Any> {
        self.data.get(slot).map(|data| data as &mut dyn Any)
    }
}

/// The data of a route's connections, by slot. Costs nothing per connection where the data is `()`,
/// but for a byte.
struct DataTable<D> {
    slots: Vec<Option<D>>,
    free: Vec<u32>,
}

impl<D> Default for DataTable<D> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
        }
    }
}

impl<D> DataTable<D> {
    fn insert(&mut self, data: D) -> u32 {
        if let Some(slot) = self.free.pop() {
            self.slots[slot as usize] = Some(data);
            return slot;
        }
        self.slots.push(Some(data));
        self.slots.len() as u32 - 1
    }

    #[inline]
    fn get(&mut self, slot: u32) -> Option<&mut D> {
        self.slots.get_mut(slot as usize)?.as_mut()
    }

    fn remove(&mut self, slot: u32) -> Option<D> {
        let data = self.slots.get_mut(slot as usize)?.take()?;
        self.free.push(slot);
        Some(data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_paths() {
        for (pattern, path, expected) in [
            ("/chat", "/chat", true),
            ("/chat", "/chat/", false),
            ("/chat/*", "/chat/room", true),
            ("/chat/*", "/chat", false),
            ("*", "/", true),
            ("*", "/anything", true),
        ] {
            assert_eq!(
                Pattern::new(pattern).matches(path),
                expected,
                "{pattern} on {path}"
            );
        }
    }

    #[test]
    fn slots_are_used_again() {
        let mut table = DataTable::default();
        let (a, b) = (table.insert("a"), table.insert("b"));
        assert_eq!(table.remove(a), Some("a"));
        assert_eq!(table.remove(a), None);
        assert_eq!(table.insert("c"), a);
        assert_eq!(table.get(a), Some(&mut "c"));
        assert_eq!(table.get(b), Some(&mut "b"));
    }
}
