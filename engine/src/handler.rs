//! What an application implements.

use crate::{CloseCode, Conn, Message, Request};

/// An application's side of a route. There is one per core, made by the closure given to
/// [`Server::route`](crate::Server::route): no locks, no `Send`.
///
/// No callback may block: everything on its core waits meanwhile. A callback that panics costs its connection (close code 1011), never
/// the core; what it left half-changed in the handler stays as it is.
pub trait Handler: 'static {
    /// The application's data for one connection.
    type Data: 'static;

    /// Decides about a request for this route, before the connection is open (RFC 6455 §4.2.2).
    ///
    /// # Errors
    /// The refusal that the client gets.
    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Self::Data>, Reject>
    where
        Self::Data: Sized,
    {
        let _ = request;
        default_data::<Self::Data>()
    }

    /// The connection is open; what is sent here arrives before anything else.
    fn open(&mut self, ws: &mut Conn<'_, Self::Data>) {
        let _ = ws;
    }

    /// A whole message, lent for the length of the call.
    fn message(&mut self, ws: &mut Conn<'_, Self::Data>, message: Message<'_>);

    /// Everything that had been queued behind a slow peer is gone: [`Conn::buffered`] has fallen to zero.
    fn drain(&mut self, ws: &mut Conn<'_, Self::Data>) {
        let _ = ws;
    }

    /// The last callback of a connection that was open. Nothing can be sent to it any more.
    fn close(&mut self, ws: &mut Conn<'_, Self::Data>, why: Closed<'_>) {
        let _ = (ws, why);
    }
}

/// What `upgrade` does unless it is written: accepts where the data is `()`, and refuses where only the application can
/// know what the data should be.
fn default_data<D: 'static>() -> Result<Accept<D>, Reject> {
    let mut unit = Some(());
    match (&mut unit as &mut dyn std::any::Any).downcast_mut::<Option<D>>() {
        Some(data) => Ok(Accept::new(data.take().expect("taken once"))),
        None => Err(Reject::new(501, "this route does not say whom it accepts")),
    }
}

/// A connection that is accepted: its data, and what the response says.
#[derive(Debug)]
pub struct Accept<D> {
    pub(crate) data: D,
    pub(crate) subprotocol: Option<String>,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) compressed: bool,
}

impl<D> Accept<D> {
    /// Accepts with this data.
    #[must_use]
    pub fn new(data: D) -> Self {
        Self {
            data,
            subprotocol: None,
            headers: Vec::new(),
            compressed: true,
        }
    }

    /// Names the subprotocol in use: one of [`Request::subprotocols`], or else browsers fail the
    /// connection (RFC 6455 §4.1).
    #[must_use]
    pub fn subprotocol(mut self, name: impl Into<String>) -> Self {
        self.subprotocol = Some(name.into());
        self
    }

    /// Adds a header to the response. A name or value that HTTP does not allow makes the request fail with 500.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// Agrees to no compression with this client, whatever it offers and the server has
    /// ([`Server::deflate`](crate::Server::deflate)): for what is compressed already, and for secrets beside text that somebody
    /// else chooses, whose length would tell of them.
    #[must_use]
    pub fn uncompressed(mut self) -> Self {
        self.compressed = false;
        self
    }
}

/// A request that is refused: an HTTP status, and a line of text for humans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reject {
    pub(crate) status: u16,
    pub(crate) reason: &'static str,
}

impl Reject {
    /// Refuses with a status of 400 to 599; others become 500.
    #[must_use]
    pub const fn new(status: u16, reason: &'static str) -> Self {
        let status = if matches!(status, 400..=599) {
            status
        } else {
            500
        };
        Self { status, reason }
    }

    /// 400: the request makes no sense.
    #[must_use]
    pub const fn bad_request() -> Self {
        Self::new(400, "bad request")
    }

    /// 401: who are you?
    #[must_use]
    pub const fn unauthorized() -> Self {
        Self::new(401, "unauthorized")
    }

    /// 403: not for you.
    #[must_use]
    pub const fn forbidden() -> Self {
        Self::new(403, "forbidden")
    }

    /// 404: nothing here.
    #[must_use]
    pub const fn not_found() -> Self {
        Self::new(404, "not found")
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Closed<'a> {
    /// The peer's close code; 1005 when its Close frame had none, 1006 when there was no Close frame, and our own code when we
    /// failed the connection (RFC 6455 §7.1.5).
    pub code: CloseCode,
    /// The reason beside the code; may be empty.
    pub reason: &'a str,
    /// Both Close frames were exchanged (§7.1.4).
    pub clean: bool,
}
