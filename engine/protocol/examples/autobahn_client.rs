//! A blocking client on this crate, for Autobahn's fuzzing server: it plays every case, and echoes. It offers
//! permessage-deflate, which the server accepts where a case is about it; then whatever can be compressed is.
//!
//! `cargo run -p corecast-protocol --example autobahn_client -- 127.0.0.1:9001 corecast`
//!
//! The fuzzing server judges, not this program, so a connection that breaks in a case is only told;
//! `scripts/autobahn` runs both and reads the verdicts.

use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use corecast_protocol::deflate::{ClientWindow, Context, Deflater, Offer, Params};
use corecast_protocol::frame::{FrameKind, RSV1};
use corecast_protocol::handshake::{ClientHandshake, ClientRequest};
use corecast_protocol::{
    CloseCode, Event, Inflation, Input, Limits, Opcode, Receiver, Role, Shared, encode_client,
    encode_close_client,
};

const USAGE: &str = "usage: autobahn_client HOST:PORT AGENT [HOST:PORT to connect to instead]";

/// Bytes of one read, and of the response head at most.
const READ_LEN: usize = 64 * 1024;

/// The server may limit our window: what cases ask for it with. Anything else it may ask for in any case.
const OFFER: Offer = Offer {
    server_no_context_takeover: false,
    client_no_context_takeover: false,
    server_max_window_bits: None,
    client_max_window_bits: ClientWindow::Named,
};

/// zlib's own choice.
const LEVEL: u8 = 6;

/// No case keeps a connection silent for longer, on a slow machine either.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let suite = match arguments.as_slice() {
        [host, agent] => Suite::new(host, agent, host),
        [host, agent, through] => Suite::new(host, agent, through),
        _ => return Err(USAGE.into()),
    };
    let cases = suite.case_count()?;
    for case in 1..=cases {
        suite.run_case(case)?;
    }
    suite.update_reports()?;
    println!("played {cases} cases");
    Ok(())
}

/// The fuzzing server: one connection for every question and for every case.
struct Suite<'a> {
    /// The value of `Host`, which the fuzzing server compares with its own port.
    host: &'a str,
    /// The name under which it keeps the results.
    agent: &'a str,
    /// Where to connect: `host`, or a proxy before it.
    through: &'a str,
}

impl<'a> Suite<'a> {
    fn new(host: &'a str, agent: &'a str, through: &'a str) -> Self {
        Self {
            host,
            agent,
            through,
        }
    }

    fn case_count(&self) -> Result<u32, Box<dyn Error>> {
        let mut answer = String::new();
        self.open("/getCaseCount")?.run(|event, _| {
            if let Event::Text(text) = event {
                answer.push_str(text);
            }
        })?;
        let count = answer.parse();
        Ok(count.map_err(|_| format!("the fuzzing server counts its cases as {answer:?}"))?)
    }

    fn run_case(&self, case: u32) -> Result<(), Box<dyn Error>> {
        let agent = self.agent;
        let connection = self.open(&format!("/runCase?case={case}&agent={agent}"))?;
        let ended = connection.run(|event, outgoing| match event {
            Event::Text(text) => outgoing.send(Opcode::Text, text.as_bytes()),
            Event::Binary(bytes) => outgoing.send(Opcode::Binary, bytes),
            _ => {}
        });
        if let Err(error) = ended {
            eprintln!("case number {case}: {error}");
        }
        Ok(())
    }

    fn update_reports(&self) -> Result<(), Box<dyn Error>> {
        let agent = self.agent;
        let connection = self.open(&format!("/updateReports?agent={agent}"))?;
        Ok(connection.run(|_, _| {})?)
    }

    fn open(&self, path: &str) -> Result<Connection, Box<dyn Error>> {
        let failed = |error: Box<dyn Error>| format!("{path} at {}: {error}", self.through);
        let connection = Connection::open(self.through, self.host, path);
        Ok(connection.map_err(failed)?)
    }
}

/// An open WebSocket.
struct Connection {
    stream: TcpStream,
    incoming: Vec<u8>,
    /// Bytes at the front of `incoming` that came with the response head.
    early: usize,
    receiver: Receiver,
    outgoing: Outgoing,
}

impl Connection {
    fn open(address: &str, host: &str, path: &str) -> Result<Self, Box<dyn Error>> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(SILENCE_LIMIT))?;
        stream.set_write_timeout(Some(SILENCE_LIMIT))?;
        let mut random = Random::new()?;
        let mut request = ClientRequest::new(host, path, random.draw());
        request.deflate = Some(OFFER);
        let mut head = Vec::new();
        request.encode(&mut head)?;
        stream.write_all(&head)?;

        let handshake = ClientHandshake::new(&request);
        let mut incoming = vec![0; READ_LEN];
        let mut filled = 0;
        let (consumed, deflate) = loop {
            // A head that fills the buffer was refused before.
            let read = stream.read(&mut incoming[filled..])?;
            if read == 0 {
                return Err("closed in the opening handshake".into());
            }
            filled += read;
            if let Some(response) = handshake.handle(&incoming[..filled])? {
                break (response.consumed, response.deflate);
            }
        };
        incoming.copy_within(consumed..filled, 0);
        Ok(Self {
            stream,
            incoming,
            early: filled - consumed,
            receiver: Receiver::with_inflation(inflation(deflate)),
            outgoing: Outgoing {
                bytes: Vec::new(),
                random,
                compressor: deflate.and_then(Compressor::new),
                compressed: Vec::new(),
            },
        })
    }

    /// Answers what comes until the server has closed the connection. Pings and Close frames are
    /// answered here; `on_event` sees every event and may send.
    fn run(mut self, mut on_event: impl FnMut(&Event<'_>, &mut Outgoing)) -> io::Result<()> {
        let mut shared = Shared::new(Role::Client, Limits::default());
        let mut filled = self.early;
        let mut closing = false;
        loop {
            let mut input = Input::new(&mut self.incoming[..filled]);
            loop {
                match self.receiver.poll(&mut shared, &mut input) {
                    Ok(None) => break,
                    Ok(Some(event)) => {
                        closing |= matches!(event, Event::Close(_));
                        on_event(&event, &mut self.outgoing);
                        self.outgoing.answer(&event);
                    }
                    // After this the receiver ignores what comes (RFC 6455 §7.1.7).
                    Err(error) => {
                        closing = true;
                        self.outgoing.close(error.close_code());
                    }
                }
            }
            filled = match self.exchange() {
                // The server closes first (§7.1.1): a client waits for the end of the stream.
                Ok(0) => return Ok(()),
                Ok(read) => read,
                // The fuzzing server does not linger after the closing handshake.
                Err(error) if closing && is_reset(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// Sends what there is to send, and reads once. 0: the end of the stream.
    fn exchange(&mut self) -> io::Result<usize> {
        self.stream.write_all(&self.outgoing.bytes)?;
        self.outgoing.bytes.clear();
        self.stream.read(&mut self.incoming)
    }
}

fn is_reset(error: &io::Error) -> bool {
    let kind = error.kind();
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

/// How the server compresses what it sends.
fn inflation(deflate: Option<Params>) -> Inflation {
    match deflate {
        None => Inflation::Off,
        Some(params) if params.server_no_context_takeover => Inflation::Whole,
        Some(params) => Inflation::Context {
            window_bits: params.server_max_window_bits,
        },
    }
}

/// How we compress what we send.
struct Compressor {
    deflater: Deflater,
    /// What the server lets us refer to.
    context: Option<Context>,
}

impl Compressor {
    /// `None` when the server holds us to a window that is too small to compress with.
    fn new(params: Params) -> Option<Self> {
        let bits = params.client_max_window_bits;
        (bits >= 9).then(|| Self {
            deflater: Deflater::new(LEVEL, bits),
            context: (!params.client_no_context_takeover).then(Context::new),
        })
    }

    /// Whether `out` is now the message, compressed; if not, it has to go out as it is.
    fn compress(&mut self, payload: &[u8], out: &mut Vec<u8>) -> bool {
        out.clear();
        match &mut self.context {
            None => self.deflater.deflate(payload, out),
            Some(context) => self.deflater.deflate_with(context, payload, out),
        }
    }
}

/// Frames to send, each masked with a key of its own.
struct Outgoing {
    bytes: Vec<u8>,
    random: Random,
    compressor: Option<Compressor>,
    /// The last message that was compressed.
    compressed: Vec<u8>,
}

impl Outgoing {
    /// Sends a message.
    fn send(&mut self, opcode: Opcode, payload: &[u8]) {
        let key = self.random.draw();
        let compressor = self.compressor.as_mut();
        if compressor.is_some_and(|it| it.compress(payload, &mut self.compressed)) {
            let mut kind = FrameKind::from(opcode);
            kind.rsv = RSV1;
            encode_client(&mut self.bytes, kind, &self.compressed, key);
        } else {
            encode_client(&mut self.bytes, opcode, payload, key);
        }
    }

    fn close(&mut self, code: CloseCode) {
        encode_close_client(&mut self.bytes, code, "", self.random.draw());
    }

    /// What the protocol itself asks for: a pong for a ping (§5.5.2), the same code for a Close (§5.5.1).
    fn answer(&mut self, event: &Event<'_>) {
        match event {
            Event::Ping(payload) => {
                encode_client(&mut self.bytes, Opcode::Pong, payload, self.random.draw());
            }
            Event::Close(reason) => {
                self.close(reason.map_or(CloseCode::NO_STATUS, |(code, _)| code))
            }
            _ => {}
        }
    }
}

/// Bytes that nobody can predict, for nonces and mask keys (§10.3): the operating system's.
struct Random(BufReader<File>);

impl Random {
    fn new() -> io::Result<Self> {
        File::open("/dev/urandom").map(|file| Self(BufReader::with_capacity(256, file)))
    }

    fn draw<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        let read = self.0.read_exact(&mut bytes);
        read.expect("/dev/urandom never ends and never fails once it is open (random(4))");
        bytes
    }
}
