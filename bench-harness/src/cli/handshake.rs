//! What the opening handshake of every connection says beside the URL, and how a connection keeps to a protocol of the server's.

use std::fmt;
use std::str::FromStr;

use clap::Args;
use corecast_protocol::handshake::{ClientRequest, HeaderError};
use serde::{Deserialize, Serialize};

/// Flags of every command that connects to a WebSocket server.
#[derive(Clone, Debug, Default, Args, Serialize, Deserialize)]
pub(crate) struct HandshakeArgs {
    /// Offer this subprotocol; may be given several times, the preferred one first. A server that chooses none of them makes
    /// the connection fail, as in browsers.
    #[arg(long, value_name = "NAME", value_parser = subprotocol)]
    pub(crate) subprotocol: Vec<String>,
    /// Send this header with the handshake, such as 'Authorization: Bearer abc'; may be given several times. Host replaces
    /// the one of the URL. In values, in --hello and in the URL's path and query, {connection} is the number of the
    /// connection, from 0, and {line:FILE} that line of a file.
    #[arg(short = 'H', long, value_name = "'NAME: VALUE'")]
    pub(crate) header: Vec<HeaderLine>,
    /// Send this Origin with the handshake, as browsers do.
    #[arg(long, value_name = "ORIGIN", value_parser = origin)]
    pub(crate) origin: Option<String>,
    /// Send this text message on every connection once it is open, such as a login or a subscription; may be given several
    /// times.
    #[arg(long, value_name = "TEXT")]
    pub(crate) hello: Vec<String>,
    /// Answer every text message that is PING with the text PONG, such as 2=3; may be given several times. These messages are
    /// none of the load's, and do not count for --skip.
    #[arg(long, value_name = "PING=PONG")]
    pub(crate) answer: Vec<Heartbeat>,
    /// Messages that begin with this text are none of the load's; may be given several times.
    #[arg(long, value_name = "TEXT", value_parser = beginning)]
    pub(crate) ignore: Vec<String>,
}

/// A heartbeat of the application: text messages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Heartbeat {
    /// What the server sends.
    pub(crate) ping: String,
    /// What it is answered.
    pub(crate) pong: String,
}

/// A header as users type it, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct HeaderLine {
    /// A token (RFC 9110 §5.1).
    pub(crate) name: String,
    /// Without spaces around it.
    pub(crate) value: String,
}

/// Headers that cannot be set, and why.
const REFUSED: [(&[&str], &str); 5] = [
    (
        &[
            "connection",
            "upgrade",
            "sec-websocket-key",
            "sec-websocket-version",
            "sec-websocket-accept",
        ],
        "is part of the handshake, which sets it itself",
    ),
    (
        &["content-length", "transfer-encoding", "expect", "trailer"],
        "announces a body, and a handshake has none",
    ),
    (
        &["keep-alive", "proxy-connection", "te"],
        "is about the HTTP connection, which becomes a WebSocket",
    ),
    (&["sec-websocket-protocol"], "is set by --subprotocol"),
    (&["sec-websocket-extensions"], "is set by --deflate"),
];

impl HandshakeArgs {
    /// Whether anything is asked for.
    pub(crate) fn is_empty(&self) -> bool {
        let Self {
            subprotocol,
            header,
            origin,
            hello,
            answer,
            ignore,
        } = self;
        subprotocol.is_empty()
            && header.is_empty()
            && origin.is_none()
            && hello.is_empty()
            && answer.is_empty()
            && ignore.is_empty()
    }
}

impl FromStr for HeaderLine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, value) = text
            .split_once(':')
            .ok_or("expected a name, a colon and a value, such as 'Authorization: Bearer abc'")?;
        let lower = name.to_ascii_lowercase();
        let refused = REFUSED.iter().find(|(names, _)| names.contains(&&*lower));
        if let Some((_, why)) = refused {
            return Err(format!("{name} {why}"));
        }
        if lower == "origin" {
            return Err("Origin is set by --origin".to_owned());
        }
        let value = value.trim_matches([' ', '\t']);
        let mut request = nothing_asked();
        let headers = [(name, value)];
        if lower == "host" {
            request.host = value;
        } else {
            request.headers = &headers;
        }
        checked(&request)?;
        Ok(Self {
            name: name.to_owned(),
            value: value.to_owned(),
        })
    }
}

impl FromStr for Heartbeat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('=').filter(|(ping, _)| !ping.is_empty());
        let (ping, pong) = parts.ok_or(
            "expected what the server sends, a sign of equality, and what it is answered, such as 2=3",
        )?;
        Ok(Self {
            ping: ping.to_owned(),
            pong: pong.to_owned(),
        })
    }
}

impl fmt::Display for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.ping, self.pong)
    }
}

fn beginning(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("every message begins with nothing: give its first letters".to_owned());
    }
    Ok(text.to_owned())
}

fn subprotocol(text: &str) -> Result<String, String> {
    let mut request = nothing_asked();
    let offered = [text];
    request.subprotocols = &offered;
    checked(&request)?;
    Ok(text.to_owned())
}

fn origin(text: &str) -> Result<String, String> {
    let mut request = nothing_asked();
    request.origin = Some(text);
    checked(&request)?;
    Ok(text.to_owned())
}

fn nothing_asked() -> ClientRequest<'static> {
    ClientRequest::new("localhost", "/", [0; 16])
}

/// Whether the handshake can be written.
fn checked(request: &ClientRequest<'_>) -> Result<(), String> {
    let encoded = request.encode(&mut Vec::new());
    encoded.map_err(|error: HeaderError| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_names_and_values() {
        let header: HeaderLine = "X-Room:  a: b ".parse().unwrap();
        assert_eq!((&*header.name, &*header.value), ("X-Room", "a: b"));
        assert_eq!("X-Empty:".parse::<HeaderLine>().unwrap().value, "");
        assert!("Host: chat.example.org:8080".parse::<HeaderLine>().is_ok());
    }

    #[test]
    fn headers_that_cannot_be_set_are_refused_with_a_reason() {
        for (text, why) in [
            ("X-Room", "a colon"),
            ("Room one: 1", "token"),
            (": 1", "token"),
            ("X-Room: a\r\nX-Other: b", "line breaks"),
            ("Upgrade: h2c", "handshake"),
            ("sec-websocket-key: x", "handshake"),
            ("Sec-WebSocket-Protocol: chat", "--subprotocol"),
            ("Sec-WebSocket-Extensions: x", "--deflate"),
            ("Content-Length: 5", "body"),
            ("Transfer-Encoding: chunked", "body"),
            ("TE: trailers", "HTTP connection"),
            ("Origin: http://a", "--origin"),
            ("Host: a b", "host"),
            ("Host:", "host"),
        ] {
            let error = text.parse::<HeaderLine>().unwrap_err();
            assert!(error.contains(why), "{text:?}: {error}");
        }
    }

    #[test]
    fn heartbeats_are_a_message_and_its_answer() {
        let json: Heartbeat = "{\"type\":\"ping\"}={\"a\":\"=\"}".parse().unwrap();
        assert_eq!(json.ping, "{\"type\":\"ping\"}");
        assert_eq!(json.pong, "{\"a\":\"=\"}");
        assert_eq!("2=".parse::<Heartbeat>().unwrap().pong, "");
        for text in ["", "2", "=3"] {
            let error = text.parse::<Heartbeat>().unwrap_err();
            assert!(error.contains("such as 2=3"), "{text:?}: {error}");
        }
        assert!(beginning("").is_err() && beginning("42").is_ok());
    }

    #[test]
    fn subprotocols_and_origins_are_checked() {
        assert!(subprotocol("graphql-transport-ws").is_ok());
        for text in ["", "a b", "a,b"] {
            assert!(subprotocol(text).unwrap_err().contains("token"), "{text:?}");
        }
        assert!(origin("https://example.org").is_ok());
        assert!(origin("https://example.org\r\n").is_err());
    }
}
