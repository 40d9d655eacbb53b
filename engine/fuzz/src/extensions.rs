//! `Sec-WebSocket-Extensions` as RFC 6455 §9.1 and RFC 7692 §7.1 read, with no thought for speed; and offers of
//! permessage-deflate made of fuzz input.

use corecast_protocol::deflate::{Acceptance, ClientWindow, Offer, Params};

use crate::input::Reader;

/// The name of the extension (RFC 7692 §7).
const NAME: &str = "permessage-deflate";

/// An extension, and its parameters with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extension {
    name: String,
    parameters: Vec<(String, Option<String>)>,
}

/// All elements of these headers. `None` when one of them is no list.
pub(crate) fn read(headers: &[String]) -> Option<Vec<Extension>> {
    // No quoted string of a list may hold a separator: unescaped it is a token.
    let elements = headers.iter().flat_map(|header| header.split(','));
    elements
        .map(blanks_off)
        .filter(|element| !element.is_empty())
        .map(extension)
        .collect()
}

fn extension(element: &str) -> Option<Extension> {
    let mut parts = element.split(';').map(blanks_off);
    let name = token(parts.next()?)?;
    let parameters = parts.map(|part| match part.split_once('=') {
        None => Some((token(part)?, None)),
        Some((name, value)) => Some((token(blanks_off(name))?, Some(value_of(value)?))),
    });
    Some(Extension {
        name,
        parameters: parameters.collect::<Option<_>>()?,
    })
}

fn value_of(text: &str) -> Option<String> {
    let text = blanks_off(text);
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text);
    };
    let mut unescaped = String::new();
    let mut characters = quoted.strip_suffix('"')?.chars();
    while let Some(character) = characters.next() {
        unescaped.push(match character {
            '"' => return None,
            '\\' => characters.next()?,
            other => other,
        });
    }
    token(&unescaped)
}

fn token(text: &str) -> Option<String> {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!text.is_empty() && text.bytes().all(valid)).then(|| text.to_owned())
}

fn blanks_off(text: &str) -> &str {
    text.trim_matches([' ', '\t'])
}

/// The offer that a server must take: the first that is valid and whose window can be had.
pub(crate) fn first_good_offer(headers: &[String]) -> Option<Offer> {
    let extensions = read(headers)?;
    extensions
        .iter()
        .filter(|extension| extension.name == NAME)
        .filter_map(parameters)
        .find(|offer| offer.server_max_window_bits != Some(8))
}

/// What a client must make of these headers of the answer; `None` when it must refuse.
pub(crate) fn judge(offer: Option<Offer>, headers: &[String]) -> Option<Option<Params>> {
    let extensions = read(headers)?;
    match (&extensions[..], offer) {
        ([], _) => Some(None),
        ([extension], Some(offer)) if extension.name == NAME => {
            agreed(offer, parameters(extension)?).map(Some)
        }
        _ => None,
    }
}

/// RFC 7692 §7.1.1 and §7.1.2, for an answer that has the form of an offer.
fn agreed(offer: Offer, answer: Offer) -> Option<Params> {
    let server_bits = answer.server_max_window_bits.unwrap_or(15);
    let client_bits = match (offer.client_max_window_bits, answer.client_max_window_bits) {
        (_, ClientWindow::Named) | (ClientWindow::NotNamed, ClientWindow::AtMost(_)) => {
            return None;
        }
        (ClientWindow::AtMost(offered), ClientWindow::AtMost(bits)) if bits > offered => {
            return None;
        }
        (_, ClientWindow::AtMost(bits)) | (ClientWindow::AtMost(bits), _) => bits,
        _ => 15,
    };
    let server_context_is_right =
        answer.server_no_context_takeover || !offer.server_no_context_takeover;
    let server_window_is_right = match offer.server_max_window_bits {
        None => true,
        Some(asked) => answer.server_max_window_bits.is_some() && server_bits <= asked,
    };
    (server_context_is_right && server_window_is_right).then_some(Params {
        server_no_context_takeover: answer.server_no_context_takeover,
        client_no_context_takeover: answer.client_no_context_takeover
            || offer.client_no_context_takeover,
        server_max_window_bits: server_bits,
        client_max_window_bits: client_bits,
    })
}

/// The four parameters, each at most once, with the values that an offer may have.
fn parameters(extension: &Extension) -> Option<Offer> {
    let known = [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    ];
    if !extension
        .parameters
        .iter()
        .all(|(name, _)| known.contains(&name.as_str()))
    {
        return None;
    }
    // The outer `None`: repeated; the inner ones: absent, without a value.
    let once = |name: &str| {
        let same = extension
            .parameters
            .iter()
            .filter(|(other, _)| other == name);
        match same.map(|(_, value)| value).collect::<Vec<_>>()[..] {
            [] => Some(None),
            [value] => Some(Some(value.as_deref())),
            _ => None,
        }
    };
    let flag = |name| match once(name)? {
        None => Some(false),
        Some(None) => Some(true),
        Some(Some(_)) => None,
    };
    let bits = |value: &str| (8..=15_u8).find(|bits| bits.to_string() == value);
    Some(Offer {
        server_no_context_takeover: flag(known[0])?,
        client_no_context_takeover: flag(known[1])?,
        server_max_window_bits: match once(known[2])? {
            None => None,
            Some(value) => Some(bits(value?)?),
        },
        client_max_window_bits: match once(known[3])? {
            None => ClientWindow::NotNamed,
            Some(None) => ClientWindow::Named,
            Some(Some(value)) => ClientWindow::AtMost(bits(value)?),
        },
    })
}

/// An offer: which parameters, then the bits of the windows. Windows that do not exist are among them.
pub(crate) fn offer(reader: &mut Reader<'_>) -> Offer {
    let named = reader.byte();
    let mut bits = || 7 + reader.byte() % 10;
    let server_max_window_bits = (named & 4 != 0).then(&mut bits);
    Offer {
        server_no_context_takeover: named & 1 != 0,
        client_no_context_takeover: named & 2 != 0,
        server_max_window_bits,
        client_max_window_bits: match named >> 3 & 3 {
            0 | 1 => ClientWindow::NotNamed,
            2 => ClientWindow::Named,
            _ => ClientWindow::AtMost(bits()),
        },
    }
}

/// Whether all windows of the offer exist (RFC 7692 §7.1.2).
pub(crate) fn has_windows_that_exist(offer: Offer) -> bool {
    let client_bits = match offer.client_max_window_bits {
        ClientWindow::AtMost(bits) => Some(bits),
        ClientWindow::NotNamed | ClientWindow::Named => None,
    };
    let mut bits = offer.server_max_window_bits.into_iter().chain(client_bits);
    bits.all(|bits| (8..=15).contains(&bits))
}

/// What a server accepts: which windows it keeps, then their bits.
pub(crate) fn acceptance(reader: &mut Reader<'_>) -> Acceptance {
    let kept = reader.byte();
    let mut bits = || 7 + reader.byte() % 10;
    Acceptance {
        server_context: kept & 1 != 0,
        client_context: kept & 2 != 0,
        server_max_window_bits: bits(),
        client_max_window_bits: bits(),
    }
}

/// Whether `params` keep what both sides asked for.
///
/// # Panics
/// When they do not.
pub(crate) fn check_kept(offer: Offer, accepts: Acceptance, params: Params) {
    let own_server = accepts.server_max_window_bits.clamp(9, 15);
    let own_client = accepts.client_max_window_bits.clamp(8, 15);
    let asked = offer.server_max_window_bits.unwrap_or(15);
    let server_bits = params.server_max_window_bits;
    let client_bits = params.client_max_window_bits;
    assert!((9..=own_server.min(asked)).contains(&server_bits));
    assert!(accepts.server_context || [9, own_server].contains(&server_bits));
    assert!(
        params.server_no_context_takeover
            || (accepts.server_context && !offer.server_no_context_takeover)
    );
    assert!(
        params.client_no_context_takeover
            || (accepts.client_context
                && !offer.client_no_context_takeover
                && client_bits <= own_client)
    );
    match offer.client_max_window_bits {
        ClientWindow::NotNamed => assert_eq!(client_bits, 15),
        ClientWindow::Named => assert_eq!(client_bits, own_client),
        ClientWindow::AtMost(bits) => assert_eq!(client_bits, own_client.min(bits)),
    }
}
