//! Proves on a socket pair, when a ring is set up, what the manual pages leave open.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use bytes::Bytes;
use socket2::SockRef;

use super::{Completion, Op, Ring, Token, Wait};

/// Whether receives bring what was sent to where the pool believes it to be. With the exchange of
/// published entries allowed, this is what tells whether the kernel honours it (see
/// [`super::BufferRing`]).
///
/// # Errors
/// Receiving does not work at all.
pub(super) fn receives(ring: &mut Ring) -> io::Result<bool> {
    let (mut writer, reader) = UnixStream::pair()?;
    reader.set_nonblocking(true)?;
    let token = Token::new(Op::Recv, u32::MAX, 0);
    ring.uring().recv(token, reader.as_fd())?;

    let mut completions = Vec::new();
    let mut as_sent = true;
    for bytes in [&b"one"[..], b"and two", b"and the third"] {
        writer.write_all(bytes)?;
        turn(ring, &mut completions)?;
        let chunk = completions.iter().find_map(|completion| completion.chunk);
        let chunk = chunk.ok_or_else(|| io::Error::other(format!("no bytes: {completions:?}")))?;
        as_sent &= ring.buffers().bytes(chunk) == bytes;
        ring.rotate();
    }

    drop(writer);
    let ended = |completion: &Completion| completion.token == token && !completion.more;
    for _ in 0..TURNS_TO_END {
        turn(ring, &mut completions)?;
        if completions.iter().any(ended) {
            ring.rotate();
            return Ok(as_sent);
        }
    }
    Err(io::Error::other("the end of a stream was not seen"))
}

/// One is enough; a second is patience.
const TURNS_TO_END: usize = 2;

/// Whether a send that lends its bytes is over when it has been submitted, brings the bytes that it says, and gives them
/// back: to a peer that reads only later, so that it falls short.
///
/// # Errors
/// It is not so, or there is no loopback to try it on.
pub(super) fn sends_without_copies(ring: &mut Ring) -> io::Result<()> {
    let (writer, mut reader) = narrow_pair()?;
    let bytes: Vec<u8> = (0..LENT).map(|n: u32| (n / 7) as u8).collect();
    let bytes = Bytes::from(bytes);
    let token = Token::new(Op::Send, u32::MAX, 0);
    let mut batch = ring.uring().batch();
    batch.lend(token, writer.as_fd(), bytes.clone());
    batch.submit(Wait::No)?;
    let mut completions = Vec::new();
    ring.take_completions(&mut completions);
    let sent = completions
        .iter()
        .find(|completion| completion.token == token);
    let sent =
        sent.ok_or_else(|| io::Error::other("a zero-copy send does not say that it fell short"))?;
    let sent =
        usize::try_from(sent.result).map_err(|_| io::Error::from_raw_os_error(-sent.result))?;

    let mut received = vec![0; sent];
    reader.read_exact(&mut received)?;
    if received != bytes[..sent] {
        return Err(io::Error::other("a zero-copy send brings other bytes"));
    }
    drop((writer, reader));
    for _ in 0..TURNS_TO_GIVE_BACK {
        if ring.take_lending().bytes == 0 {
            return Ok(());
        }
        turn(ring, &mut completions)?;
    }
    Err(io::Error::other("a zero-copy send keeps its bytes"))
}

/// Bytes of the send: more than the buffers of both sockets take.
const LENT: u32 = 1 << 20;

/// One is enough where the memory was copied; packets may wait to be freed.
const TURNS_TO_GIVE_BACK: usize = 4;

/// A connection over loopback that takes few bytes at a time.
fn narrow_pair() -> io::Result<(TcpStream, TcpStream)> {
    const BUFFER: usize = 32 << 10;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    SockRef::from(&listener).set_recv_buffer_size(BUFFER)?;
    let writer = TcpStream::connect(listener.local_addr()?)?;
    SockRef::from(&writer).set_send_buffer_size(BUFFER)?;
    let (reader, _) = listener.accept()?;
    reader.set_read_timeout(Some(Duration::from_secs(1)))?;
    Ok((writer, reader))
}

fn turn(ring: &mut Ring, completions: &mut Vec<Completion>) -> io::Result<()> {
    ring.uring()
        .batch()
        .submit(Wait::For(Some(Duration::from_secs(1))))?;
    ring.take_completions(completions);
    Ok(())
}
