//! Offers and answers (RFC 7692 §5, §7.1).

use std::mem;

use crate::handshake::Request;
use crate::handshake::extensions::{Extensions, Parameters, Value};

/// The name of the extension (§7).
pub(crate) const NAME: &str = "permessage-deflate";

const SERVER_NO_CONTEXT_TAKEOVER: &str = "server_no_context_takeover";
const CLIENT_NO_CONTEXT_TAKEOVER: &str = "client_no_context_takeover";
const SERVER_MAX_WINDOW_BITS: &str = "server_max_window_bits";
const CLIENT_MAX_WINDOW_BITS: &str = "client_max_window_bits";

/// Bits of the largest window, 32 KiB: what holds where nothing is said (§7.1.2).
const MAX_BITS: u8 = 15;

/// Bits of the smallest window that a server here compresses with: deflate libraries have no smaller one.
const MIN_SERVER_BITS: u8 = 9;

/// Bits of the smallest window that can be negotiated (§7.1.2).
const MIN_BITS: u8 = 8;

/// What was agreed for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Params {
    /// The server begins each message with an empty window (§7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client begins each message with an empty window (§7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The server's window has at most 2 to this power bytes (§7.1.2.1): 9 to 15, or 8 where the server at the other end
    /// has said so.
    pub server_max_window_bits: u8,
    /// The client's window has at most 2 to this power bytes (§7.1.2.2): 8 to 15. Libraries that deflate have no
    /// window of 8 bits: a client that is held to one sends its messages uncompressed.
    pub client_max_window_bits: u8,
}

/// What a server accepts.
///
/// Window bits outside of the ranges below are taken as the nearest within.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acceptance {
    /// The server keeps its window between messages, unless the client wants it otherwise. If not, all that it sends to
    /// many can be compressed once for all of them; so offers of windows smaller than its own then all get the
    /// smallest, of 9 bits, and there are two kinds of compressed messages instead of seven.
    pub server_context: bool,
    /// The client may keep its window between messages, which costs the server one of the same size.
    pub client_context: bool,
    /// Bits of the server's window at most: 9 to 15.
    pub server_max_window_bits: u8,
    /// Bits of the client's window at most, while it may keep it: 8 to 15.
    pub client_max_window_bits: u8,
}

/// What a client offers.
///
/// The default asks for nothing: the server may keep its window, both windows are of any size, and the client does not say
/// that it could make its own smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Offer {
    /// The server must begin each message with an empty window (§7.1.1.1).
    pub server_no_context_takeover: bool,
    /// The client is going to begin each message with an empty window, whatever the answer is (§7.1.1.2).
    pub client_no_context_takeover: bool,
    /// The server's window must have at most so many bits (§7.1.2.1): 8 to 15.
    pub server_max_window_bits: Option<u8>,
    /// What is said of the client's own window (§7.1.2.2).
    pub client_max_window_bits: ClientWindow,
}

/// What an offer says of the client's window (§7.1.2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientWindow {
    /// Nothing: the server must not limit it.
    #[default]
    NotNamed,
    /// `client_max_window_bits` without a value: the server may limit it.
    Named,
    /// It is going to have at most so many bits, 8 to 15, whatever the answer is; the server may limit it further.
    AtMost(u8),
}

/// An offer that was accepted, and its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Agreement {
    params: Params,
    offer: Offer,
}

/// Why an element `permessage-deflate` is no valid offer, or no valid answer to ours (§7.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ParameterError {
    /// RFC 7692 knows no such parameter.
    #[error("a parameter is unknown")]
    Unknown,
    /// A parameter stands more than once.
    #[error("a parameter is repeated")]
    Repeated,
    /// Window bits that are not 8 to 15 in plain decimal, a value where none belongs, or none where one does.
    #[error("the value of a parameter is missing, out of range or not allowed")]
    InvalidValue,
    /// `server_no_context_takeover` was asked for and is missing (§7.1.1.1).
    #[error("server_no_context_takeover was asked for and is missing")]
    ServerContext,
    /// `server_max_window_bits` was asked for, and is missing or larger (§7.1.2.1).
    #[error("server_max_window_bits was asked for, and is missing or larger")]
    ServerWindow,
    /// `client_max_window_bits` was not offered, or is larger than what was (§7.1.2.2).
    #[error("client_max_window_bits was not offered, or is larger than what was")]
    ClientWindow,
}

impl Acceptance {
    /// No window outlives a message, on neither side: a connection costs no memory.
    #[must_use]
    pub const fn shared() -> Self {
        Self {
            server_context: false,
            client_context: false,
            server_max_window_bits: MAX_BITS,
            client_max_window_bits: MAX_BITS,
        }
    }

    /// Both sides may keep windows of so many bits, 9 to 15: the better ratio, for memory of each connection.
    #[must_use]
    pub const fn dedicated(window_bits: u8) -> Self {
        Self {
            server_context: true,
            client_context: true,
            server_max_window_bits: window_bits,
            client_max_window_bits: window_bits,
        }
    }

    /// Accepts the first offer of `permessage-deflate` in the request that can be met (§5.1, §7.1). `None`: the connection
    /// goes on without compression.
    ///
    /// Declined are offers with parameters that are unknown, repeated or have wrong values (§7.1), and a
    /// server's window of 8 bits. Where `Sec-WebSocket-Extensions` is no list at all (RFC 6455 §9.1) everything in
    /// it is declined, since nobody can say where an offer ends; the upgrade itself is not refused for it. Several headers
    /// are one list. Takes time linear in the headers, and allocates nothing.
    #[must_use]
    pub fn choose(&self, request: &Request<'_>) -> Option<Agreement> {
        self.choose_from(
            request
                .headers()
                .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))
                .map(|(_, value)| value),
        )
    }

    fn choose_from<'a>(&self, lists: impl Iterator<Item = &'a [u8]>) -> Option<Agreement> {
        let mut chosen = None;
        // To the end: what follows decides whether it is a list.
        for extension in lists.flat_map(Extensions::new) {
            let extension = extension.ok()?;
            if chosen.is_none() && extension.name == NAME.as_bytes() {
                let offer = Offer::read(extension.parameters()).ok();
                chosen = offer.and_then(|offer| self.meet(offer));
            }
        }
        chosen
    }

    fn meet(&self, offer: Offer) -> Option<Agreement> {
        let server_max_window_bits = self.server_window(offer.server_max_window_bits)?;
        let own = self.client_max_window_bits.clamp(MIN_BITS, MAX_BITS);
        let client_max_window_bits = match offer.client_max_window_bits {
            ClientWindow::NotNamed => MAX_BITS,
            ClientWindow::Named => own,
            ClientWindow::AtMost(bits) => bits.min(own),
        };
        // A larger window than ours cannot be forbidden to a client that has not named it, but keeping it can.
        let keeps_too_much = client_max_window_bits > own;
        let client_no_context_takeover =
            offer.client_no_context_takeover || !self.client_context || keeps_too_much;
        let params = Params {
            server_no_context_takeover: offer.server_no_context_takeover || !self.server_context,
            client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits,
        };
        Some(Agreement { params, offer })
    }

    /// Bits of our window for a client that asks for so many at most.
    fn server_window(&self, asked: Option<u8>) -> Option<u8> {
        let own = self.server_max_window_bits.clamp(MIN_SERVER_BITS, MAX_BITS);
        match asked {
            Some(bits) if bits < MIN_SERVER_BITS => None,
            Some(bits) if bits < own && self.server_context => Some(bits),
            Some(bits) if bits < own => Some(MIN_SERVER_BITS),
            _ => Some(own),
        }
    }
}

impl Agreement {
    /// What holds for the connection.
    #[must_use]
    pub const fn params(&self) -> Params {
        self.params
    }

    /// The offer that was accepted.
    #[must_use]
    pub const fn offer(&self) -> Offer {
        self.offer
    }

    /// The value of `Sec-WebSocket-Extensions` in the answer.
    #[must_use]
    pub fn header_value(&self) -> String {
        self.answer().header_value()
    }

    /// The parameters of the answer. They have the form of an offer.
    fn answer(&self) -> Offer {
        let params = self.params;
        let asked = self.offer.server_max_window_bits.is_some();
        let server_bits = params.server_max_window_bits;
        let client_bits = params.client_max_window_bits;
        Offer {
            server_no_context_takeover: params.server_no_context_takeover,
            client_no_context_takeover: params.client_no_context_takeover,
            server_max_window_bits: (asked || server_bits < MAX_BITS).then_some(server_bits),
            // Below the maximum only where the client named it.
            client_max_window_bits: if client_bits < MAX_BITS {
                ClientWindow::AtMost(client_bits)
            } else {
                ClientWindow::NotNamed
            },
        }
    }
}

impl Offer {
    /// Whether its windows have sizes that can be asked for.
    pub(crate) fn is_valid(&self) -> bool {
        let valid = |bits| (MIN_BITS..=MAX_BITS).contains(&bits);
        let client_valid = match self.client_max_window_bits {
            ClientWindow::AtMost(bits) => valid(bits),
            ClientWindow::NotNamed | ClientWindow::Named => true,
        };
        client_valid && self.server_max_window_bits.is_none_or(valid)
    }

    /// The value of `Sec-WebSocket-Extensions`.
    pub(crate) fn header_value(&self) -> String {
        let mut value = String::from(NAME);
        let mut push = |name, bits: Option<u8>| {
            value.push_str("; ");
            value.push_str(name);
            if let Some(bits) = bits {
                value.push('=');
                value.push_str(&bits.to_string());
            }
        };
        if self.server_no_context_takeover {
            push(SERVER_NO_CONTEXT_TAKEOVER, None);
        }
        if self.client_no_context_takeover {
            push(CLIENT_NO_CONTEXT_TAKEOVER, None);
        }
        if self.server_max_window_bits.is_some() {
            push(SERVER_MAX_WINDOW_BITS, self.server_max_window_bits);
        }
        match self.client_max_window_bits {
            ClientWindow::NotNamed => {}
            ClientWindow::Named => push(CLIENT_MAX_WINDOW_BITS, None),
            ClientWindow::AtMost(bits) => push(CLIENT_MAX_WINDOW_BITS, Some(bits)),
        }
        value
    }

    /// Judges the server's answer to this offer (§7.1): what holds for the connection.
    pub(crate) fn judge(&self, answer: Parameters<'_>) -> Result<Params, ParameterError> {
        let answer = Self::read(answer)?;
        if self.server_no_context_takeover && !answer.server_no_context_takeover {
            return Err(ParameterError::ServerContext);
        }
        let server_max_window_bits = answer.server_max_window_bits.unwrap_or(MAX_BITS);
        if self.server_max_window_bits.is_some_and(|asked| {
            answer.server_max_window_bits.is_none() || server_max_window_bits > asked
        }) {
            return Err(ParameterError::ServerWindow);
        }
        Ok(Params {
            server_no_context_takeover: answer.server_no_context_takeover,
            client_no_context_takeover: self.client_no_context_takeover
                || answer.client_no_context_takeover,
            server_max_window_bits,
            client_max_window_bits: self.judge_client_window(answer.client_max_window_bits)?,
        })
    }

    /// What is offered of our own window holds without an answer to it, too.
    fn judge_client_window(&self, answer: ClientWindow) -> Result<u8, ParameterError> {
        let largest = match self.client_max_window_bits {
            ClientWindow::AtMost(bits) => bits,
            ClientWindow::NotNamed | ClientWindow::Named => MAX_BITS,
        };
        match answer {
            ClientWindow::NotNamed => Ok(largest),
            // Only an offer may leave out the value.
            ClientWindow::Named => Err(ParameterError::InvalidValue),
            ClientWindow::AtMost(_) if self.client_max_window_bits == ClientWindow::NotNamed => {
                Err(ParameterError::ClientWindow)
            }
            ClientWindow::AtMost(bits) if bits > largest => Err(ParameterError::ClientWindow),
            ClientWindow::AtMost(bits) => Ok(bits),
        }
    }

    /// Reads the parameters of an offer, or of an answer. Stops at the first that is wrong.
    fn read(parameters: Parameters<'_>) -> Result<Self, ParameterError> {
        let mut offer = Self::default();
        for parameter in parameters {
            let name = std::str::from_utf8(parameter.name).expect("a token is ASCII");
            let repeated = match (name, parameter.value) {
                (SERVER_NO_CONTEXT_TAKEOVER, None) => {
                    mem::replace(&mut offer.server_no_context_takeover, true)
                }
                (CLIENT_NO_CONTEXT_TAKEOVER, None) => {
                    mem::replace(&mut offer.client_no_context_takeover, true)
                }
                (SERVER_MAX_WINDOW_BITS, Some(value)) => {
                    let bits = window_bits(value)?;
                    offer.server_max_window_bits.replace(bits).is_some()
                }
                (CLIENT_MAX_WINDOW_BITS, value) => {
                    let window = match value {
                        None => ClientWindow::Named,
                        Some(value) => ClientWindow::AtMost(window_bits(value)?),
                    };
                    let before = mem::replace(&mut offer.client_max_window_bits, window);
                    before != ClientWindow::NotNamed
                }
                (
                    SERVER_NO_CONTEXT_TAKEOVER
                    | CLIENT_NO_CONTEXT_TAKEOVER
                    | SERVER_MAX_WINDOW_BITS,
                    _,
                ) => return Err(ParameterError::InvalidValue),
                _ => return Err(ParameterError::Unknown),
            };
            if repeated {
                return Err(ParameterError::Repeated);
            }
        }
        Ok(offer)
    }
}

/// §7.1.2: 8 to 15, in decimal, without leading zeros.
fn window_bits(value: Value<'_>) -> Result<u8, ParameterError> {
    let mut digits = value.bytes();
    match (digits.next(), digits.next(), digits.next()) {
        (Some(ones @ b'8'..=b'9'), None, None) => Ok(ones - b'0'),
        (Some(b'1'), Some(ones @ b'0'..=b'5'), None) => Ok(10 + ones - b'0'),
        _ => Err(ParameterError::InvalidValue),
    }
}

#[cfg(test)]
mod tests;
