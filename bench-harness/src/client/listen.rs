//! Listening politely on connections that send nothing themselves.

use corecast_protocol::{Event, Input, Limits, Opcode, Receiver, Role, Shared, encode_client};

use super::links::Outbox;

/// What all listening connections of a thread share.
pub(crate) struct Listener {
    shared: Shared,
    key: [u8; 4],
    /// What every message has to be, if anything.
    expected: Option<Vec<u8>>,
}

/// What a piece of input contained.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heard {
    /// Text and binary messages.
    pub(crate) messages: u64,
    /// Pings; each has been answered.
    pub(crate) pings: u64,
    /// The closing handshake, with its code.
    pub(crate) close: Option<String>,
}

impl Listener {
    /// Masks the pongs it sends with `key`.
    pub(crate) fn new(key: [u8; 4]) -> Self {
        Self {
            shared: Shared::new(Role::Client, Limits::default()),
            key,
            expected: None,
        }
    }

    /// Messages are echoes of this payload.
    pub(crate) fn expect(&mut self, payload: &[u8]) {
        self.expected = Some(payload.to_vec());
    }

    /// Takes in bytes of connection `slot` and answers pings.
    ///
    /// # Errors
    /// The rule that the server broke, or a message that is not the expected one.
    pub(crate) fn hear(
        &mut self,
        receiver: &mut Receiver,
        slot: u32,
        bytes: &mut [u8],
        out: &mut Outbox,
    ) -> Result<Heard, String> {
        let mut heard = Heard::default();
        let mut input = Input::new(bytes);
        let broken = |error| format!("protocol error: {error}");
        while let Some(event) = receiver
            .poll(&mut self.shared, &mut input)
            .map_err(broken)?
        {
            match event {
                Event::Binary(payload) => {
                    heard.messages += 1;
                    if self
                        .expected
                        .as_ref()
                        .is_some_and(|wanted| **wanted != *payload)
                    {
                        return Err("a reply differs from what was sent".to_owned());
                    }
                }
                Event::Text(_) if self.expected.is_some() => {
                    return Err("a reply is text, not binary".to_owned());
                }
                Event::Text(_) => heard.messages += 1,
                Event::Ping(payload) => {
                    heard.pings += 1;
                    let mut pong = Vec::new();
                    encode_client(&mut pong, Opcode::Pong, payload, self.key);
                    out.pong(slot, &pong);
                }
                // Polled again at once it would be the same.
                Event::Inflating { bytes: 0 } => {
                    return Err(
                        "more large compressed messages came at once than can be inflated"
                            .to_owned(),
                    );
                }
                Event::Pong(_) | Event::Fragment | Event::Inflating { .. } => {}
                Event::Close(reason) => {
                    let code = reason.map(|(code, _)| code.to_string());
                    heard.close = Some(code.unwrap_or_else(|| "without a code".to_owned()));
                }
            }
        }
        Ok(heard)
    }
}
