//! Proves on a socket pair, when a ring is set up, what the manual pages leave open.

use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

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

fn turn(ring: &mut Ring, completions: &mut Vec<Completion>) -> io::Result<()> {
    ring.uring()
        .batch()
        .submit(Wait::For(Some(Duration::from_secs(1))))?;
    ring.take_completions(completions);
    Ok(())
}
