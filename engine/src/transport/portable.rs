//! monoio's sockets: one buffer per pending read, so an idle connection costs what the ring saves.

use std::io;
use std::net::TcpListener as StdListener;

use monoio::io::OwnedReadHalf;
use monoio::net::{TcpListener, TcpStream};
use socket2::Socket as Socket2;

use super::socket::{Socket, Writer};

/// A pending read of an idle connection holds this much.
const IDLE_READ_BYTES: usize = 4 << 10;

/// While data flows, reads take up to this much at once.
const BUSY_READ_BYTES: usize = 64 << 10;

/// A listener on monoio's driver.
pub(crate) struct Listener(TcpListener);

impl Listener {
    pub(crate) fn new(socket: Socket2) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        TcpListener::from_std(StdListener::from(socket)).map(Self)
    }

    pub(crate) async fn accept(&self) -> io::Result<(Reader, Socket)> {
        let (stream, _) = self.0.accept().await?;
        let (half, writer) = Writer::split(stream);
        Ok((
            Reader {
                half,
                buffer: Vec::new(),
                next: IDLE_READ_BYTES,
            },
            Socket::Portable(writer),
        ))
    }
}

/// Reads one connection.
pub(crate) struct Reader {
    half: OwnedReadHalf<TcpStream>,
    buffer: Vec<u8>,
    next: usize,
}

impl Reader {
    /// The next bytes; an empty slice is the end.
    pub(crate) async fn read(&mut self) -> io::Result<&mut [u8]> {
        use monoio::io::AsyncReadRent;
        let mut buffer = std::mem::take(&mut self.buffer);
        buffer.clear();
        if buffer.capacity() != self.next {
            buffer = Vec::with_capacity(self.next);
        }
        let (read, buffer) = self.half.read(buffer).await;
        self.buffer = buffer;
        // A full buffer says that there is more; a read that a small buffer would have held, that the rush is over.
        self.next = match read? {
            full if full == self.next => BUSY_READ_BYTES,
            short if short <= IDLE_READ_BYTES => IDLE_READ_BYTES,
            _ => self.next,
        };
        Ok(&mut self.buffer)
    }
}
