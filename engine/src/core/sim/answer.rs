//! A reader of the answers that the server makes on its own, which knows nothing of how it writes them.

/// More than any of them has.
const MOST: usize = 1_000;

/// The answer at the front, if all of it is there: its status, and how many bytes it has (RFC 9112 §4 to §6). It says
/// how long its body is, and that the connection ends.
pub(super) fn refusal(bytes: &[u8]) -> Result<Option<(u16, usize)>, String> {
    const VERSION: &[u8] = b"HTTP/1.1 ";
    let named = |what: &str| format!("{what}: {:?}", String::from_utf8_lossy(bytes));
    let common = bytes.len().min(VERSION.len());
    if bytes[..common] != VERSION[..common] || bytes.len() > MOST {
        return Err(named("not a refusal"));
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return Ok(None);
    };
    let head = std::str::from_utf8(&bytes[..end]).map_err(|_| named("not text"))?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(status_of);
    let status = status.ok_or_else(|| named("not a status line"))?;
    let (mut body, mut ends) = (None, false);
    for line in lines {
        match line.split_once(": ") {
            Some(("Content-Length", len)) if body.is_none() => body = len.parse::<usize>().ok(),
            Some(("Connection", what)) => ends |= what.split(", ").any(|token| token == "close"),
            Some((name, _)) if name != "Content-Length" => {}
            _ => return Err(named("not a header")),
        }
    }
    let Some(body) = body.filter(|_| ends) else {
        return Err(named("no length, or no end"));
    };
    let len = end + 4 + body;
    Ok((bytes.len() >= len).then_some((status, len)))
}

/// `HTTP/1.1 408 Request Timeout`: 408.
fn status_of(line: &str) -> Option<u16> {
    let mut parts = line.splitn(3, ' ').skip(1);
    let (status, phrase) = (parts.next()?, parts.next()?);
    (status.len() == 3 && !phrase.is_empty())
        .then(|| status.parse().ok())
        .flatten()
}
