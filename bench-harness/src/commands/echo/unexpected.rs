//! What to do about messages of a server that cannot be replies.

use corecast_protocol::Opcode;

use crate::client::reply::ReplyError;

/// What may help against this error, if anything is known. `answered`: a reply has come on this connection before.
pub(super) fn hint(error: &ReplyError, answered: bool) -> Option<&'static str> {
    match error {
        ReplyError::Protocol(_) | ReplyError::Inflate(_) => None,
        // The server can echo: this time something went wrong.
        ReplyError::Content { .. } if answered => None,
        ReplyError::Opcode {
            found: Opcode::Text,
            ..
        } if !answered => Some(
            "does the server send back what it is sent, or text only (--text)? What it says first is left out by --skip COUNT",
        ),
        _ => Some(hint_on_words(answered)),
    }
}

/// What may help against words of the server's own.
pub(super) fn hint_on_words(answered: bool) -> &'static str {
    if answered {
        "what the server says beside replies is left out by --ignore TEXT, or answered by --answer PING=PONG"
    } else {
        "does the server send back what it is sent? What it says first is left out by --skip COUNT"
    }
}

#[cfg(test)]
mod tests {
    use corecast_protocol::ProtocolError;

    use super::*;

    #[test]
    fn hints_depend_on_what_came_and_when() {
        let length = ReplyError::Length {
            found: 20,
            expected: 512,
        };
        let text = ReplyError::Opcode {
            found: Opcode::Text,
            expected: Opcode::Binary,
        };
        let content = ReplyError::Content { at: 0, len: 5 };
        for (error, answered, told) in [
            (&length, false, "--skip"),
            (&length, true, "--ignore"),
            (&text, false, "--text"),
            (&text, true, "--answer"),
            (&content, false, "--skip"),
        ] {
            let hint = hint(error, answered).unwrap();
            assert!(hint.contains(told), "{error}, {answered}: {hint}");
        }
        assert_eq!(hint(&content, true), None);
        let protocol = ReplyError::Protocol(ProtocolError::MaskForbidden);
        assert_eq!(hint(&protocol, false), None);
    }
}
