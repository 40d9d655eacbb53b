//! Publish and subscribe, chosen by the query string:
//!
//! - `?sub=a&sub=b` receives what is published to `a` and to `b`;
//! - `?pub=a` publishes every message that it sends, text or binary, to all subscribers of `a`;
//! - both may be combined, and who does both with one topic receives its own messages too;
//! - with neither, `sub=broadcast&pub=broadcast`;
//! - `*` and `#` in what is subscribed to stand for other levels of a name, as [`Conn::subscribe`] says; what is
//!   published to is taken as it is;
//! - `?pub=a&retain` has the server keep its last message, until an empty one comes, and `?sub=a&last` gets what was kept before
//!   anything else.
//!
//! A request with an empty or overlong name, too many, or `retain` or `last` without what they are about, is refused with
//! 400. A message on a connection without `pub` closes it with 1008: dropping it would look like success. So does one that
//! is to be kept and cannot be, with 1013, after it was published. A subscriber that does not keep up, be it the publisher
//! itself, meets the server's policy for slow ones.

use std::borrow::Cow;
use std::mem;

use corecast::{Accept, CloseCode, Conn, Handler, Message, Publish, Reject, Request, Subscribe};

/// Keeps these names apart from those of the other applications on the server.
const PREFIX: &str = "topics/";

/// The topic of a connection that names none.
const BROADCAST: &str = "broadcast";

/// Bytes in a name: enough for a path-like name, and a bound on what a subscription can hold on to.
const MAX_NAME: usize = 256;

/// Levels of a name, and those of them that are wildcards. A message is matched against all filters that begin as its
/// topic does: with these there are at most some 2,500 of them for any topic, whatever strangers subscribe to.
const MAX_LEVELS: usize = 16;
const MAX_WILDCARDS: usize = 4;

/// Topics that one connection may subscribe to: more than a page needs, and few enough that
/// `max_connections` times this stays a table that fits in memory.
const MAX_SUBSCRIPTIONS: usize = 64;

pub(super) struct Topics;

/// What the query asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Peer {
    /// Where its messages go.
    publish: Option<Box<str>>,
    /// What it subscribes to; moved to the topic table when it opens.
    subscribe: Vec<Box<str>>,
    /// Whether its messages are kept for later subscribers.
    retain: bool,
    /// Whether it wants what was kept.
    last: bool,
}

impl Handler for Topics {
    type Data = Peer;

    fn upgrade(&mut self, request: &Request<'_>) -> Result<Accept<Peer>, Reject> {
        let peer = Peer::asking(request.query_all("sub"), request.query_all("pub"));
        let peer = peer.and_then(|peer| {
            let asks = |name| request.query(name).is_some();
            peer.with(asks("retain"), asks("last"))
        });
        peer.map(Accept::new)
            .map_err(|reason| Reject::new(400, reason))
    }

    fn open(&mut self, ws: &mut Conn<'_, Peer>) {
        let options = match ws.data().last {
            true => Subscribe::new().retained(),
            false => Subscribe::new(),
        };
        for topic in mem::take(&mut ws.data_mut().subscribe) {
            ws.subscribe_with(&topic, options);
        }
    }

    fn message(&mut self, ws: &mut Conn<'_, Peer>, message: Message<'_>) {
        let Some(topic) = ws.data_mut().publish.take() else {
            ws.close(
                CloseCode::POLICY,
                "this connection has no ?pub=TOPIC to send to",
            );
            return;
        };
        match ws.data().retain {
            true => publish_and_keep(ws, &topic, message),
            false => _ = ws.publish(&topic, message),
        }
        ws.data_mut().publish = Some(topic);
    }
}

/// An empty message ends what was kept: there is nothing to keep of it.
fn publish_and_keep(ws: &mut Conn<'_, Peer>, topic: &str, message: Message<'_>) {
    let done = if message.is_empty() {
        ws.publish(topic, message);
        ws.forget_retained(topic)
    } else {
        ws.publish_with(topic, message, Publish::new().retain())
            .retained
    };
    if !done {
        ws.close(
            CloseCode::TRY_AGAIN_LATER,
            "there is no room to keep this message",
        );
    }
}

impl Peer {
    fn asking<'q>(
        subscribe: impl Iterator<Item = Cow<'q, str>>,
        publish: impl Iterator<Item = Cow<'q, str>>,
    ) -> Result<Self, &'static str> {
        let mut subscribe = names(subscribe, MAX_SUBSCRIPTIONS, "too many sub= topics")?;
        let mut publish = names(publish, 1, "only one pub= topic")?.pop();
        if subscribe.is_empty() && publish.is_none() {
            subscribe.push(topic(BROADCAST));
            publish = Some(topic(BROADCAST));
        }
        Ok(Self {
            publish,
            subscribe,
            retain: false,
            last: false,
        })
    }

    /// With what goes beside the names.
    fn with(self, retain: bool, last: bool) -> Result<Self, &'static str> {
        if retain && self.publish.is_none() {
            return Err("retain is about what is published: it needs pub=TOPIC");
        }
        if last && self.subscribe.is_empty() {
            return Err("last is about what is subscribed to: it needs sub=TOPIC");
        }
        Ok(Self {
            retain,
            last,
            ..self
        })
    }
}

fn names<'q>(
    names: impl Iterator<Item = Cow<'q, str>>,
    most: usize,
    too_many: &'static str,
) -> Result<Vec<Box<str>>, &'static str> {
    let mut taken = Vec::new();
    for name in names {
        if name.is_empty() || name.len() > MAX_NAME {
            return Err("a topic's name has 1 to 256 bytes");
        }
        let wildcards = name.split('/').filter(|&level| level == "*").count();
        if name.split('/').count() > MAX_LEVELS || wildcards > MAX_WILDCARDS {
            return Err("a topic's name has at most 16 levels, and 4 of them may be *");
        }
        if taken.len() == most {
            return Err(too_many);
        }
        taken.push(topic(&name));
    }
    Ok(taken)
}

fn topic(name: &str) -> Box<str> {
    [PREFIX, name].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asking(subscribe: &[&str], publish: &[&str]) -> Result<Peer, &'static str> {
        let cows = |names| <[&str]>::iter(names).map(|&name| name.into());
        Peer::asking(cows(subscribe), cows(publish))
    }

    #[test]
    fn the_query_says_what_a_connection_hears_and_where_it_speaks() {
        let peer = asking(&["a", "b"], &[]).unwrap();
        assert_eq!(
            (peer.subscribe, peer.publish),
            (vec![topic("a"), topic("b")], None)
        );
        let peer = asking(&[], &["a"]).unwrap();
        assert_eq!((peer.subscribe, peer.publish), (vec![], Some(topic("a"))));
    }

    #[test]
    fn a_connection_that_names_nothing_joins_the_broadcast() {
        let peer = asking(&[], &[]).unwrap();
        assert_eq!(
            (peer.subscribe, peer.publish),
            (vec![topic(BROADCAST)], Some(topic(BROADCAST)))
        );
    }

    #[test]
    fn options_need_what_they_are_about() {
        let with = |subscribe, publish, retain, last| {
            asking(subscribe, publish).and_then(|peer| peer.with(retain, last))
        };
        let peer = with(&[], &["a"], true, false).unwrap();
        assert!(peer.retain && !peer.last);
        let peer = with(&["a"], &[], false, true).unwrap();
        assert!(peer.last && !peer.retain);
        assert!(with(&["a"], &[], true, false).is_err());
        assert!(with(&[], &["a"], false, true).is_err());
        assert!(with(&[], &[], true, true).is_ok(), "of the broadcast");
    }

    #[test]
    fn names_are_bounded_in_length_and_number() {
        assert!(asking(&[""], &[]).is_err());
        assert!(asking(&[], &["a", "b"]).is_err());
        let long = "x".repeat(MAX_NAME + 1);
        assert!(asking(&[&long], &[]).is_err());
        assert!(asking(&[&long[1..]], &[]).is_ok());
        assert!(asking(&[&["a"; MAX_LEVELS].join("/")], &[]).is_ok());
        assert!(asking(&[&["a"; MAX_LEVELS + 1].join("/")], &[]).is_err());
        assert!(asking(&["*/a/*/*/*/#"], &[]).is_ok());
        assert!(asking(&["*/a/*/*/*/*"], &[]).is_err());
        assert!(asking(&["a"; MAX_SUBSCRIPTIONS], &[]).is_ok());
        assert!(asking(&["a"; MAX_SUBSCRIPTIONS + 1], &[]).is_err());
    }
}
