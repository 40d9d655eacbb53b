//! Which pages' scripts may connect (RFC 6455 §10.2).

use std::fmt;
use std::net::Ipv6Addr;
use std::str::FromStr;

use corecast_protocol::handshake;

/// An origin as browsers serialize it (RFC 6454 §6.2): scheme, host, and the port where it is not the scheme's own; or `null`, which
/// stands for all that have none, such as sandboxed frames and local files.
///
/// Scheme and host are compared in any case, IPv6 addresses however they are written, and a port that is the scheme's own is
/// as good as none. There are no wildcards: subdomains are other origins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The scheme in lower case; `None` is `null`.
    place: Option<(String, Host<String>)>,
    port: Option<u16>,
}

impl Origin {
    fn matches(&self, text: &str) -> bool {
        let Some((scheme, host)) = &self.place else {
            return text == "null";
        };
        Parts::read(text).is_some_and(|parts| {
            parts.scheme.eq_ignore_ascii_case(scheme)
                && parts.host.is(host)
                && parts.port == self.port
        })
    }
}

impl FromStr for Origin {
    type Err = InvalidOrigin;

    fn from_str(text: &str) -> Result<Self, InvalidOrigin> {
        if text == "null" {
            return Ok(Self {
                place: None,
                port: None,
            });
        }
        let parts = Parts::read(text).ok_or_else(|| InvalidOrigin(text.to_owned()))?;
        let (scheme, host) = (parts.scheme, parts.host);
        Ok(Self {
            place: Some((scheme.to_ascii_lowercase(), host.to_lowercase())),
            port: parts.port,
        })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.place, self.port) {
            (None, _) => f.write_str("null"),
            (Some((scheme, host)), None) => write!(f, "{scheme}://{host}"),
            (Some((scheme, host)), Some(port)) => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

/// Where a scheme leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Host<T> {
    /// Also an IPv4 address: compared as it is written, in any case.
    Name(T),
    /// An address that can be written in several.
    Address(Ipv6Addr),
}

impl<'a> Host<&'a str> {
    /// A name or an IPv4 address, or an IPv6 address in brackets; names beyond ASCII come in their ASCII form. No `*`:
    /// whoever writes it expects a wildcard.
    fn read(text: &'a str) -> Option<Self> {
        if let Some(rest) = text.strip_prefix('[') {
            return rest.strip_suffix(']')?.parse().ok().map(Self::Address);
        }
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        (!text.is_empty() && text.bytes().all(fits)).then_some(Self::Name(text))
    }

    fn is(self, other: &Host<String>) -> bool {
        match (self, other) {
            (Self::Name(name), Host::Name(other)) => name.eq_ignore_ascii_case(other),
            (Self::Address(address), Host::Address(other)) => address == *other,
            _ => false,
        }
    }

    fn to_lowercase(self) -> Host<String> {
        match self {
            Self::Name(name) => Host::Name(name.to_ascii_lowercase()),
            Self::Address(address) => Host::Address(address),
        }
    }
}

impl fmt::Display for Host<String> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => match address.segments() {
                // Browsers have no dots in it.
                [0, 0, 0, 0, 0, 0xffff, high, low] => write!(f, "[::ffff:{high:x}:{low:x}]"),
                _ => write!(f, "[{address}]"),
            },
        }
    }
}

/// Text that is no origin.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not an origin: it should be scheme and host, like https://example.org, with nothing behind them"
)]
pub struct InvalidOrigin(String);

/// The origins that a server lets in.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    /// Empty for all.
    pub(crate) allowed: Vec<Origin>,
    /// What could not be read; an error once the server starts.
    pub(crate) invalid: Option<InvalidOrigin>,
    /// Whoever sends none is refused too.
    pub(crate) required: bool,
}

impl Origins {
    pub(crate) fn allow(&mut self, origin: &str) {
        match origin.parse() {
            Ok(origin) => self.allowed.push(origin),
            Err(invalid) => self.invalid = Some(invalid),
        }
    }

    /// Whether a request comes from where it may. More than one origin in it is none that can be trusted.
    pub(crate) fn admit(&self, head: &handshake::Request<'_>) -> bool {
        let mut values = head
            .headers()
            .filter(|(name, _)| name.eq_ignore_ascii_case("origin"))
            .map(|(_, value)| value);
        let Some(value) = values.next() else {
            return !self.required;
        };
        let allowed = |origin: &str| self.allowed.iter().any(|known| known.matches(origin));
        self.allowed.is_empty()
            || (values.next().is_none() && std::str::from_utf8(value).is_ok_and(allowed))
    }
}

/// Scheme, host and port, as they stand in the text.
struct Parts<'a> {
    scheme: &'a str,
    host: Host<&'a str>,
    /// `None` for the scheme's own.
    port: Option<u16>,
}

impl<'a> Parts<'a> {
    fn read(text: &'a str) -> Option<Self> {
        let (scheme, authority) = text.split_once("://")?;
        let (host, port) = match authority.rsplit_once(':') {
            // The colons of an IPv6 address are inside of brackets.
            Some((host, port)) if !port.contains(']') => (host, Some(read_port(port)?)),
            _ => (authority, None),
        };
        let own = [("http", 80), ("https", 443)]
            .into_iter()
            .find_map(|(name, port)| scheme.eq_ignore_ascii_case(name).then_some(port));
        let host = Host::read(host)?;
        is_scheme(scheme).then_some(Self {
            scheme,
            host,
            port: port.filter(|&port| Some(port) != own),
        })
    }
}

fn read_port(text: &str) -> Option<u16> {
    text.bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| text.parse().ok())?
}

/// RFC 3986 §3.1.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &str, origin: &str) -> bool {
        allowed
            .parse::<Origin>()
            .expect("an origin")
            .matches(origin)
    }

    #[test]
    fn the_same_origin_matches_however_it_is_written() {
        for (allowed, origin) in [
            ("https://example.org", "https://example.org"),
            ("HTTPS://Example.ORG", "https://example.org"),
            ("https://example.org", "HTTPS://EXAMPLE.ORG"),
            ("https://example.org:443", "https://example.org"),
            ("http://example.org", "http://example.org:80"),
            ("http://localhost:8080", "http://localhost:8080"),
            ("http://[::1]:8080", "http://[::1]:8080"),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
            ("https://[2001:0DB8::0001]", "https://[2001:db8::1]"),
            ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
            (
                "https://xn--gre-6ka8i.example",
                "https://xn--gre-6ka8i.example",
            ),
            ("chrome-extension://abcdef", "chrome-extension://abcdef"),
            ("null", "null"),
        ] {
            assert!(allows(allowed, origin), "{origin} against {allowed}");
        }
    }

    #[test]
    fn what_only_looks_like_it_does_not_match() {
        let allowed = "https://example.org";
        for origin in [
            "http://example.org",
            "https://example.org:8443",
            "https://example.org:80",
            "https://www.example.org",
            "https://evilexample.org",
            "https://example.org.evil.com",
            "https://example.orgevil.com",
            "https://example.org@evil.com",
            "https://evil.com#https://example.org",
            "https://evil.com/https://example.org",
            "https://evil.com?https://example.org",
            "https://example.org/",
            "https://example.org.",
            "https://example.org\0",
            "https://example.org\t",
            " https://example.org",
            "https://example.org https://evil.com",
            "https://example.org,https://evil.com",
            "https://example.org:",
            "https://example.org:+443",
            "https://example.org:443:443",
            "https://example.org:65979",
            "https:/example.org",
            "https:example.org",
            "example.org",
            "//example.org",
            "https://",
            "https://*",
            "https://exampl\u{435}.org",
            "null",
            "NULL",
            "*",
            "",
        ] {
            assert!(!allows(allowed, origin), "{origin:?}");
        }
        assert!(!allows("null", "NULL") && !allows("null", ""));
        assert!(!allows("null", "https://null"));
        for origin in [
            "http://[::2]",
            "http://::1",
            "http://[::1",
            "http://[::1]]",
            "http://[::1%lo]",
            "http://[[::1]]",
            "http://0.0.0.1",
        ] {
            assert!(!allows("http://[::1]", origin), "{origin}");
        }
    }

    #[test]
    fn what_is_no_origin_cannot_be_allowed() {
        for text in [
            "",
            "*",
            "example.org",
            "https://",
            "https://*.example.org",
            "https://example.org/",
            "https://example.org/chat",
            "https://user@example.org",
            "https://[::1",
            "https://[]",
            "https://example.org:99999",
            "1https://example.org",
            "Null",
        ] {
            let error = text.parse::<Origin>().expect_err(text);
            assert!(error.to_string().contains("like https://example.org"));
        }
    }

    #[test]
    fn origins_are_shown_as_browsers_write_them() {
        for (text, shown) in [
            ("HTTPS://Example.org:443", "https://example.org"),
            ("http://a:8080", "http://a:8080"),
            ("http://[0:0:0:0:0:0:0:1]:80", "http://[::1]"),
            ("http://[2001:DB8:0::1]:8080", "http://[2001:db8::1]:8080"),
            ("http://[::ffff:192.0.2.1]", "http://[::ffff:c000:201]"),
            ("null", "null"),
        ] {
            assert_eq!(
                text.parse::<Origin>().expect("an origin").to_string(),
                shown
            );
        }
    }
}
