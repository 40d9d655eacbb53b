//! Building and starting a server.

use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use corecast_protocol::handshake::HeaderSlots;
use socket2::Socket;

use crate::core::core_set::MAX_CORES;
use crate::core::interest::{Interests, Registry};
use crate::core::mailbox;
use crate::core::stats::CoreStats;
use crate::core::sync::AtomicU64;
use crate::core::{
    Activity, AddressLimits, Config, CoreId, Deflate, Rate, SlowPolicy, TopicOptions, Upkeep,
};
use crate::handler::Handler;
use crate::limits;
use crate::publisher::{Cores, Publisher};
use crate::routes::{Blueprint, Page, Site};
use crate::running::{self, Control, ServerHandle};
use crate::thread::{self, CoreSetup};
use crate::transport::choice::{self, Io};
use crate::transport::listener;
use crate::{Error, Result};

/// What a message or a backlog may be at most, whatever is asked for: a turn counts bytes in 32 bits.
const MAX_BYTES: usize = 1 << 30;

/// The least that is sent without a copy: a page. For less, what is locked and counted would outweigh what is sent.
const MIN_ZERO_COPY: usize = 4 << 10;

/// A server before it runs: addresses, routes and limits.
pub struct Server {
    /// The first core's listeners; they hold the addresses until the server starts.
    bound: Vec<(SocketAddr, Socket)>,
    processors: Option<Vec<usize>>,
    io: Io,
    steer: bool,
    config: Config,
    addresses: AddressLimits,
    site: Site,
    /// For publishers, once it runs.
    cores: Arc<OnceLock<Cores>>,
}

impl Server {
    /// Binds an address at once, so that a port that is taken is known here. Port 0 lets the system choose one.
    ///
    /// # Errors
    /// The address cannot be read, resolved or bound.
    pub fn bind(address: impl ToSocketAddrs + fmt::Debug) -> Result<Self> {
        let server = Self {
            bound: Vec::new(),
            processors: None,
            io: Io::default(),
            steer: false,
            config: Config::default(),
            addresses: AddressLimits::default(),
            site: Site::default(),
            cores: Arc::default(),
        };
        server.also_bind(address)
    }

    /// Binds a further address.
    ///
    /// # Errors
    /// As [`bind`](Self::bind).
    pub fn also_bind(mut self, address: impl ToSocketAddrs + fmt::Debug) -> Result<Self> {
        let name = format!("{address:?}");
        let name = name.trim_matches('"');
        let addresses = address
            .to_socket_addrs()
            .map_err(|e| Error::Address(name.to_owned(), Some(e)))?;
        let before = self.bound.len();
        for address in addresses {
            let failed = |e| Error::Bind(address, e);
            listener::ensure_free(address).map_err(failed)?;
            let socket = listener::bind(address).map_err(failed)?;
            // Only a listening socket keeps the address from others.
            listener::listen(&socket).map_err(failed)?;
            let local = socket
                .local_addr()
                .map_err(failed)?
                .as_socket()
                .unwrap_or(address);
            self.bound.push((local, socket));
        }
        if self.bound.len() == before {
            return Err(Error::Address(name.to_owned(), None));
        }
        Ok(self)
    }

    /// The addresses bound so far, with their real ports.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.bound.iter().map(|&(address, _)| address).collect()
    }

    /// Runs on these processors, one core each. All that the process may use unless this is called.
    #[must_use]
    pub fn cores(mut self, processors: impl IntoIterator<Item = usize>) -> Self {
        self.processors = Some(processors.into_iter().collect());
        self
    }

    /// Asks for a transport by name.
    #[must_use]
    pub fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Connections at most, over all cores (1,000,000). Further ones are answered with 503.
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> Self {
        self.config.max_connections = connections;
        self
    }

    /// Connections of one address at most, over all cores (no limit). Further ones are answered with 429, a few of them at
    /// a time, or else closed.
    ///
    /// An address is an IPv4 address or an IPv6 network of 64 bits, as the kernel sees it. Behind a reverse proxy all
    /// connections come from the proxy's: leave this off there, and let the proxy limit.
    #[must_use]
    pub fn max_connections_per_address(mut self, connections: usize) -> Self {
        self.addresses.connections = Some(connections.max(1));
        self
    }

    /// Connections that one address may open per second, and at once after a pause (no limit). What goes past it is
    /// answered as in [`max_connections_per_address`](Self::max_connections_per_address), where it is also said what
    /// an address is. Each connection is one handshake.
    ///
    /// Twice as many addresses are remembered as there are connections, 65,536 at least; when more have come within the time that
    /// their allowance takes to fill, those without connections are forgotten.
    #[must_use]
    pub fn handshake_rate_per_address(mut self, per_second: u32, burst: u32) -> Self {
        self.addresses.rate = Some(Rate::new(per_second, burst));
        self
    }

    /// Bytes of a received message at most, fragments together (16 MiB). Larger ones end their
    /// connection with 1009.
    #[must_use]
    pub fn max_message(mut self, bytes: usize) -> Self {
        let bytes = bytes.min(MAX_BYTES) as u64;
        self.config.limits.max_message = bytes;
        self.config.limits.max_frame = bytes;
        self
    }

    /// Bytes that wait for one connection at most, because its peer does not read (1 MiB). A message that
    /// is larger than this is still taken when nothing else waits.
    #[must_use]
    pub fn backlog(mut self, bytes: usize) -> Self {
        self.config.backlog = bytes.min(MAX_BYTES);
        self
    }

    /// What happens to a connection whose backlog is full ([`SlowPolicy::Close`]).
    #[must_use]
    pub fn slow(mut self, policy: SlowPolicy) -> Self {
        self.config.slow = policy;
        self
    }

    /// What holds for topics whose name matches a filter (as in [`Conn::subscribe`](crate::Conn::subscribe)) instead of what
    /// holds for all. Of several filters that match, the one that was given first counts.
    #[must_use]
    pub fn topic(mut self, filter: &str, options: TopicOptions) -> Self {
        self.config.topics.push((filter.into(), options));
        self
    }

    /// How long a published message waits for further ones on its topic, to leave with them in one system call per subscriber.
    /// Zero, which is the default, adds no delay of its own: before a flush that will take long, a core looks for
    /// further messages for a few percent of that time. At most a second, and no longer than until 512 KiB wait on the topic,
    /// or 4 MiB on all. Without the ring it is rounded up to a millisecond.
    #[must_use]
    pub fn flush_delay(mut self, delay: Duration) -> Self {
        self.config.flush_delay = delay;
        self
    }

    /// Lets the network card fetch what is published from where it lies, where a subscriber is sent so many bytes or more at
    /// once, instead of copying them for each (off). Less than 4 KiB counts as 4 KiB.
    ///
    /// Pays for large messages to many subscribers over a network card that gathers: try 32 KiB, and measure. Over loopback, to
    /// containers and to virtual machines of the same host the kernel copies all the same, and the bookkeeping is added.
    ///
    /// It costs memory: the bytes stay until the peer has acknowledged them, not only until the kernel has taken them. They are locked
    /// meanwhile, which `ulimit -l` bounds for each user without CAP_IPC_LOCK: the usual 8 MiB are soon used up. A connection that has more than its [`backlog`](Self::backlog) limit of them
    /// outstanding gets copies, and so does everybody while a core has 256 MiB of them, each subscriber's counted, or memory
    /// cannot be locked. [`buffered`](crate::Conn::buffered) does not count them: the kernel has taken them.
    ///
    /// Only with the ring ([`io`](Self::io)), and only what is published to topics. Where the kernel cannot do it, the log says so and
    /// copies are sent.
    #[must_use]
    pub fn zero_copy(mut self, min_bytes: impl Into<Option<usize>>) -> Self {
        let min_bytes = min_bytes.into();
        self.config.zero_copy = min_bytes.map(|bytes| bytes.max(MIN_ZERO_COPY));
        self
    }

    /// Bytes of the messages that each core keeps for those who subscribe later ([`Publish::retain`](crate::Publish::retain)),
    /// with their topics' names, twice, and 320 bytes for each; where messages are compressed, they count twice, too.
    #[must_use]
    pub fn max_retained(mut self, bytes: usize) -> Self {
        self.config.max_retained = bytes;
        self
    }

    /// Compresses messages for clients that offer permessage-deflate (RFC 7692), and takes compressed ones from them
    /// ([`Deflate::off`]).
    #[must_use]
    pub fn deflate(mut self, deflate: Deflate) -> Self {
        self.config.limits.max_inflation = deflate.max_ratio;
        self.config.deflate = deflate;
        self.site.deflate = deflate.acceptance();
        self
    }

    /// The most that [`max_head`](Self::max_head) can be set to: 1 MiB.
    pub const MAX_HEAD: usize = 1 << 20;

    /// The most that [`max_headers`](Self::max_headers) can be set to, and its default: 96.
    pub const MAX_HEADERS: usize = HeaderSlots::CAPACITY;

    /// Bytes of a request head at most, from the method to the empty line (8 KiB). Larger ones are answered with 431.
    #[must_use]
    pub fn max_head(mut self, bytes: usize) -> Self {
        self.config.head.max_bytes = bytes.min(Self::MAX_HEAD);
        self
    }

    /// Header fields of a request at most (96). More are answered with 431.
    #[must_use]
    pub fn max_headers(mut self, headers: usize) -> Self {
        self.config.head.max_headers = headers.min(Self::MAX_HEADERS);
        self
    }

    /// Time for a client to send its whole request head (10 s). Whoever has sent a part of it by then is answered with 408, whoever has
    /// sent nothing is cut. The kernel keeps a silent connection to itself for the first second.
    #[must_use]
    pub fn handshake_timeout(mut self, time: Duration) -> Self {
        self.config.handshake_timeout = time;
        self
    }

    /// A connection from which nothing is heard for so long is closed (90 s); `None` for never.
    #[must_use]
    pub fn idle_timeout(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.config.idle_timeout = time.into();
        self
    }

    /// A connection from which nothing is heard for so long gets a ping (30 s); `None` for never.
    #[must_use]
    pub fn ping_interval(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.config.ping_interval = time.into();
        self
    }

    /// Time for a peer to answer a Close frame, and then to close its side (5 s each).
    #[must_use]
    pub fn close_timeout(mut self, time: Duration) -> Self {
        self.config.close_timeout = time;
        self
    }

    /// Looks for events so long before it sleeps (not at all). Buys latency for processor time.
    #[must_use]
    pub fn busy_poll(mut self, time: impl Into<Option<Duration>>) -> Self {
        self.config.busy_poll = time.into();
        self
    }

    /// Asks the kernel to hand connections to the core on whose processor their packets arrive (off). Pays
    /// where the network card spreads connections over the same processors.
    #[must_use]
    pub fn steer(mut self, on: bool) -> Self {
        self.steer = on;
        self
    }

    /// Lets browsers connect only from pages of this origin, such as `https://example.com` (RFC 6455 §10.2). May be
    /// called for several; without it, pages from anywhere may connect, with the cookies that the browser has for
    /// this server. Asked before [`Handler::upgrade`](crate::Handler::upgrade); the answer to others is 403. [`Origin`](crate::Origin) says what is
    /// compared. What is no origin is an error of [`spawn`](Self::spawn).
    #[must_use]
    pub fn allow_origin(mut self, origin: impl AsRef<str>) -> Self {
        self.site.origins.allow(origin.as_ref());
        self
    }

    /// [`allow_origin`](Self::allow_origin) for each of several.
    #[must_use]
    pub fn allow_origins(self, origins: impl IntoIterator<Item = impl AsRef<str>>) -> Self {
        origins.into_iter().fold(self, Self::allow_origin)
    }

    /// Refuses clients that do not say where they come from (off): browsers always do, other programs rarely, and can
    /// say what they like.
    #[must_use]
    pub fn require_origin(mut self, on: bool) -> Self {
        self.site.origins.required = on;
        self
    }

    /// Answers GET and HEAD requests for a path, which are not upgrades, with a page.
    #[must_use]
    pub fn page(mut self, path: &str, content_type: &str, body: impl Into<Bytes>) -> Self {
        self.site.pages.push(Page {
            path: path.to_owned(),
            content_type: content_type.to_owned(),
            body: body.into(),
        });
        self
    }

    /// Serves the paths that match a pattern with a handler per core: `/chat` is that path, `/chat/*` all below it,
    /// `*` everything. The first route that matches counts.
    #[must_use]
    pub fn route<H: Handler>(
        mut self,
        pattern: &str,
        make: impl Fn(CoreId) -> H + Send + Sync + 'static,
    ) -> Self {
        self.site.routes.push(Blueprint::new(pattern, make));
        self
    }

    /// Calls `run` on every core's thread: once in `every` while the core has work, for the last time when it has had none
    /// for as long, and never on a core that stays idle; it is told which. For what is done rarely and must not wait
    /// for the next message, such as making the allocator give memory back: the core has freed the buffers that it had kept
    /// only to use them again. It blocks its core meanwhile.
    #[must_use]
    pub fn upkeep(
        mut self,
        every: Duration,
        run: impl Fn(Activity) + Send + Sync + 'static,
    ) -> Self {
        let run = Arc::new(run);
        self.config.upkeep = Some(Upkeep { every, run });
        self
    }

    /// Publishes to this server's topics from any thread; before it runs there is nobody to publish to.
    #[must_use]
    pub fn publisher(&self) -> Publisher {
        Publisher::new(Arc::clone(&self.cores))
    }

    /// Runs the server on threads of its own until all of them have ended.
    ///
    /// # Errors
    /// As [`spawn`](Self::spawn) and [`ServerHandle::join`].
    pub fn run(self) -> Result<()> {
        self.spawn()?.join()
    }

    /// Starts the server: returns when every core accepts connections.
    ///
    /// # Errors
    /// There is no route, an origin to allow is none, the processors or the I/O asked for cannot be had, or a core cannot be set up.
    pub fn spawn(self) -> Result<ServerHandle> {
        if self.site.routes.is_empty() {
            return Err(Error::NoRoute);
        }
        if let Some(invalid) = self.site.origins.invalid {
            return Err(invalid.into());
        }
        let addresses = self.local_addrs();
        let processors = thread::processors(self.processors.as_deref())?;
        let io = choice::choose(self.io).map_err(|reason| Error::Io(self.io, reason))?;
        if let Some(reason) = &io.fallback {
            tracing::warn!(%reason, "the data ring cannot be had, running on {}", io.kind);
        }
        if self.config.zero_copy.is_some() && io.kind != Io::Ring {
            tracing::warn!(
                "zero_copy needs the data ring; it is ignored on {}",
                io.kind
            );
        }
        if processors.len() > MAX_CORES {
            return Err(Error::TooManyCores(processors.len(), MAX_CORES));
        }
        let (mailboxes, posts) =
            mailbox::set_up(processors.len()).map_err(|e| Error::System("mailbox", e))?;
        let registry = Arc::new(Registry::new());
        let mut config = self.config;
        let descriptors = usize::try_from(limits::descriptor_limit()).unwrap_or(usize::MAX);
        config.slots = config.max_connections.min(descriptors);
        config.addresses = self.addresses.table();
        let (config, site) = (Arc::new(config), Arc::new(self.site));
        let total = Arc::new(AtomicU64::new(0));
        let mut first = Some(self.bound);
        let mut setups = Vec::new();
        for (&processor, post) in processors.iter().zip(posts) {
            let listeners = match first.take() {
                Some(bound) => bound.into_iter().map(|(_, socket)| socket).collect(),
                None => bind_all(&addresses)?,
            };
            if self.steer {
                for socket in &listeners {
                    listener::steer(socket, processor)
                        .map_err(|e| Error::System("steering connections (SO_INCOMING_CPU)", e))?;
                }
            }
            setups.push(CoreSetup {
                id: CoreId(processor),
                kind: io.kind,
                listeners,
                interests: Interests::new(Arc::clone(&registry), post.own()),
                post,
                stats: Arc::new(CoreStats::new(Arc::clone(&total), config.max_connections)),
                config: Arc::clone(&config),
                site: Arc::clone(&site),
            });
        }
        let stats = setups
            .iter()
            .map(|setup| Arc::clone(&setup.stats))
            .collect();
        let threads = running::start(setups, &mailboxes)?;
        // Only now: nobody may post to cores that did not start.
        let cores = Cores {
            mailboxes: Arc::clone(&mailboxes),
            registry,
        };
        let _ = self.cores.set(cores);
        let control = Control::new(mailboxes, stats, total);
        let publisher = Publisher::new(self.cores);
        Ok(ServerHandle::new(
            addresses, io, threads, control, publisher,
        ))
    }
}

fn bind_all(addresses: &[SocketAddr]) -> Result<Vec<Socket>> {
    let bind = |&address| listener::bind(address).map_err(|e| Error::Bind(address, e));
    addresses.iter().map(bind).collect()
}
