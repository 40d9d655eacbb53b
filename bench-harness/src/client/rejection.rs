//! A server's answer to the upgrade that is no WebSocket: what to tell about it.

use std::fmt::{self, Display, Formatter};

/// Bytes of the body that are told.
const SHOWN: usize = 200;

/// Headers of an answer at most.
const MAX_HEADERS: usize = 128;

/// An HTTP answer other than 101, as far as it has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rejection {
    status: u16,
    reason: String,
    /// Where a redirect leads.
    location: Option<String>,
    /// The body's first bytes.
    body: Vec<u8>,
    /// More of the body may come that would be told.
    awaits_more: bool,
}

impl Rejection {
    /// What `answer` refuses with. `None` when it is no whole head of an answer, or agrees to the upgrade.
    pub(super) fn read(answer: &[u8]) -> Option<Self> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut response = httparse::Response::new(&mut headers);
        let Ok(httparse::Status::Complete(head_len)) = response.parse(answer) else {
            return None;
        };
        let status = response.code.filter(|&status| status != 101)?;
        let value = |name: &str| {
            let mut headers = response.headers.iter();
            let header = headers.find(|header| header.name.eq_ignore_ascii_case(name))?;
            Some(String::from_utf8_lossy(header.value).into_owned())
        };
        let rest = &answer[head_len..];
        let (body, awaits_more) = if value("transfer-encoding").is_some() {
            first_chunk(rest)
        } else {
            let announced = value("content-length").and_then(|length| length.parse().ok());
            let wanted = announced.unwrap_or(SHOWN).min(SHOWN);
            (rest, rest.len() < wanted)
        };
        Some(Self {
            status,
            reason: response.reason.unwrap_or_default().to_owned(),
            location: value("location"),
            body: body[..body.len().min(SHOWN)].to_vec(),
            awaits_more: awaits_more && !matches!(status, 204 | 304),
        })
    }

    /// Whether waiting could bring more to tell.
    pub(super) fn awaits_more(&self) -> bool {
        self.awaits_more
    }
}

impl Display for Rejection {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the server refused the WebSocket: HTTP status {}",
            self.status
        )?;
        if !self.reason.is_empty() {
            write!(f, " {}", printable(self.reason.as_bytes()))?;
        }
        if let (300..400, Some(location)) = (self.status, &self.location) {
            let location = printable(location.as_bytes());
            write!(
                f,
                ", a redirect to {location}; redirects are not followed, pass the address that it leads to"
            )?;
        } else if self.status < 300 {
            f.write_str(", as to an ordinary request; is there a WebSocket at this path?")?;
        }
        let body = printable(&self.body);
        if !body.is_empty() {
            write!(f, ": {body}")?;
        }
        Ok(())
    }
}

/// The first chunk of a chunked body (RFC 9112 §7.1), and whether more of it may come.
fn first_chunk(rest: &[u8]) -> (&[u8], bool) {
    match httparse::parse_chunk_size(rest) {
        Ok(httparse::Status::Complete((begin, len))) => {
            let chunk = &rest[begin..];
            let len = usize::try_from(len).unwrap_or(usize::MAX);
            let here = chunk.len().min(len);
            (&chunk[..here], here < len.min(SHOWN))
        }
        Ok(httparse::Status::Partial) => (&[], true),
        Err(_) => (&[], false),
    }
}

/// Text for a terminal: in one line, without control characters.
fn printable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let words = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(answer: &str) -> String {
        Rejection::read(answer.as_bytes()).unwrap().to_string()
    }

    #[test]
    fn status_reason_and_body_are_told() {
        assert_eq!(
            told(
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 21\r\n\r\n{\"error\":\r\n \"token\"}"
            ),
            "the server refused the WebSocket: HTTP status 401 Unauthorized: {\"error\": \"token\"}"
        );
        assert_eq!(
            told("HTTP/1.0 404\r\n\r\n"),
            "the server refused the WebSocket: HTTP status 404"
        );
        assert!(
            told("HTTP/1.1 302 Found\r\nLocation: /login\r\n\r\n")
                .contains("a redirect to /login;")
        );
        assert!(told("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").contains("at this path?"));
    }

    #[test]
    fn control_characters_do_not_reach_the_terminal() {
        assert_eq!(printable(b" a\x1b[2J\r\n\tb\x00c "), "a [2J b c");
    }

    #[test]
    fn it_is_known_when_more_is_to_come() {
        for (answer, awaits, body) in [
            ("HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nab", true, "ab"),
            (
                "HTTP/1.1 403 No\r\nContent-Length: 5\r\n\r\nabcde",
                false,
                "abcde",
            ),
            ("HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n", false, ""),
            ("HTTP/1.1 403 No\r\n\r\n", true, ""),
            ("HTTP/1.1 304 No\r\n\r\n", false, ""),
            (
                "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab",
                true,
                "ab",
            ),
            (
                "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                false,
                "abc",
            ),
            (
                "HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n",
                true,
                "",
            ),
        ] {
            let refusal = Rejection::read(answer.as_bytes()).unwrap();
            assert_eq!(refusal.awaits_more(), awaits, "{answer}");
            assert_eq!(refusal.body, body.as_bytes(), "{answer}");
        }
    }

    #[test]
    fn what_is_no_refusal_is_none() {
        for answer in [
            "",
            "HTTP/1.1 40",
            "HTTP/1.1 101 Switching\r\n\r\n",
            "\x15\x03\x01",
            "SSH-2.0-x\r\n\r\n",
        ] {
            assert_eq!(Rejection::read(answer.as_bytes()), None, "{answer:?}");
        }
    }

    #[test]
    fn a_long_body_is_cut() {
        let answer = format!("HTTP/1.1 500 Oops\r\n\r\n{}", "x".repeat(5_000));
        assert!(told(&answer).len() < SHOWN + 100);
    }
}
