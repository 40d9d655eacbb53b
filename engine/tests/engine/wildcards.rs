//! Wildcard subscriptions: who gets what, once, on one core and over several; and counts of subscribers.

use corecast::{Io, Message, Published, SlowPolicy};

use crate::common::errands::{Errands, Member};
use crate::common::payload::numbered;
use crate::common::{eventually, over_every_transport};

over_every_transport![
    filters_match_levels,
    filters_match_levels_over_cores,
    several_matching_subscriptions_deliver_once,
    a_slow_one_with_several_matching_subscriptions_is_counted_once,
    a_crowd_behind_a_wildcard_is_served_together,
    subscribers_are_counted_over_cores,
    a_connection_lists_its_topics,
];

/// What is published to, all of it literally.
const NAMES: [&str; 18] = [
    "room",
    "room/1",
    "room/1/door",
    "room/1/door/2",
    "room/*",
    "room/",
    "room//door",
    "/room",
    "hall",
    "hall/door",
    "#general",
    "general",
    "a*",
    "ab",
    "*",
    "#",
    "#/x",
    "",
];

/// Filters, and which of the names they match.
const FILTERS: [(&str, &[&str]); 11] = [
    ("room", &["room"]),
    ("room/1/door", &["room/1/door"]),
    (
        "*",
        &[
            "room", "hall", "#general", "general", "a*", "ab", "*", "#", "",
        ],
    ),
    ("#", &NAMES),
    ("room/*", &["room/1", "room/*", "room/"]),
    (
        "room/#",
        &[
            "room",
            "room/1",
            "room/1/door",
            "room/1/door/2",
            "room/*",
            "room/",
            "room//door",
        ],
    ),
    ("*/door", &["hall/door"]),
    ("room/*/door", &["room/1/door", "room//door"]),
    ("#general", &["#general"]),
    ("a*", &["a*"]),
    ("#/x", &["#/x"]),
];

fn filters_match_levels(io: Io) {
    let server = Errands::serve(io, |server| server);
    let mut publisher = server.member();
    let mut members = FILTERS.map(|(filter, _)| {
        let mut member = server.member();
        member.subscribe(&[filter]);
        member
    });
    for name in NAMES {
        let sent = publisher.run(move |ws| ws.publish(name, Message::Text(name)).sent);
        let matching = FILTERS.iter().filter(|(_, names)| names.contains(&name));
        assert_eq!(sent, matching.count(), "{name:?}");
    }
    for (member, (filter, names)) in members.iter_mut().zip(FILTERS) {
        assert_eq!(
            in_order_of_publishing(member.read_texts()),
            names.len(),
            "{filter}"
        );
        let is_pattern = !["room", "room/1/door", "#general", "a*", "#/x"].contains(&filter);
        assert!(
            is_pattern || names == [filter],
            "{filter} stands for itself"
        );
    }
    for (member, (filter, _)) in members.iter_mut().zip(FILTERS) {
        assert!(member.run(move |ws| ws.unsubscribe(filter)));
        assert!(!member.run(move |ws| ws.unsubscribe(filter)));
    }
    for name in NAMES {
        let published = publisher.run(move |ws| ws.publish(name, Message::Text(name)));
        assert_eq!(published, Published::default(), "{name:?}");
    }
    for member in &mut members {
        assert!(member.read_all().is_empty());
    }
}

/// How many there are; they have to be names in the order in which they are published.
#[track_caller]
fn in_order_of_publishing(texts: Vec<String>) -> usize {
    let position = |text: &String| NAMES.iter().position(|name| name == text);
    assert!(texts.is_sorted_by_key(position), "{texts:?}");
    texts.len()
}

fn filters_match_levels_over_cores(io: Io) {
    let Some(server) = Errands::serve_on_two_cores(io, |server| server) else {
        return;
    };
    let [mut here, mut there] = server.members_on_two_cores(1);
    let (mut publisher, mut subscriber) = (here.remove(0), there.remove(0));
    let threads = server.publisher();
    for (filter, names) in FILTERS {
        subscriber.subscribe(&[filter]);
        for name in NAMES {
            let published = publisher.run(move |ws| ws.publish(name, Message::Text(name)));
            assert_eq!((published.sent, published.refused), (0, 0));
            let forwarded = usize::from(names.contains(&name));
            assert_eq!(published.forwarded, forwarded, "{name:?} to {filter}");
        }
        expect_texts(&mut subscriber, names);
        for name in NAMES {
            let published = threads.publish(name, Message::Text(name));
            assert_eq!(published.refused, 0);
            let forwarded = usize::from(names.contains(&name));
            assert_eq!(published.forwarded, forwarded, "{name:?} to {filter}");
        }
        expect_texts(&mut subscriber, names);
        assert!(subscriber.run(move |ws| ws.unsubscribe(filter)));
    }
    assert!(subscriber.read_all().is_empty(), "nothing more");
}

/// These arrive, in this order.
#[track_caller]
fn expect_texts(member: &mut Member, texts: &[&str]) {
    for text in texts {
        member.expect_text(text);
    }
}

fn several_matching_subscriptions_deliver_once(io: Io) {
    let server = Errands::serve(io, |server| server);
    let filters = ["room/1", "room/*", "room/#", "*/1", "#"];
    let mut member = server.member();
    let mut crowd: Vec<_> = (0..6).map(|_| server.member()).collect();
    for other in &mut crowd {
        other.subscribe(&["room/1", "*/1"]);
    }
    let mut publisher = server.member();
    let mut publish = |text: String, expected: usize| {
        let sent = publisher.run(move |ws| ws.publish("room/1", Message::Text(&text)).sent);
        assert_eq!(sent, expected);
    };
    for n in 0..filters.len() {
        member.subscribe(&filters[n..=n]);
        publish(format!("with {n} more"), 7);
    }
    for (n, filter) in filters.into_iter().enumerate() {
        let left = filters.len() - 1 - n;
        assert!(member.run(move |ws| ws.unsubscribe(filter)));
        publish(format!("without {n}"), 6 + usize::from(left > 0));
    }
    let with = (0..filters.len()).map(|n| format!("with {n} more"));
    let without = (0..filters.len()).map(|n| format!("without {n}"));
    let all: Vec<_> = with.chain(without).collect();
    assert_eq!(member.read_texts(), all[..all.len() - 1]);
    for other in &mut crowd {
        assert_eq!(other.read_texts(), all);
    }
    // Whoever is to be left out is, however many of its subscriptions match.
    for (n, filter) in ["room/1", "*/1"].into_iter().enumerate() {
        let sent = crowd[0].run(|ws| ws.publish_others("room/1", Message::Text("others")).sent);
        assert_eq!(sent, 5, "{n}");
        assert!(crowd[0].run(move |ws| ws.unsubscribe(filter)));
    }
    assert!(crowd[0].read_all().is_empty());
    assert_eq!(crowd[1].read_texts(), ["others"; 2]);
}

fn a_slow_one_with_several_matching_subscriptions_is_counted_once(io: Io) {
    let server = Errands::serve(io, |server| {
        server.backlog(256 << 10).slow(SlowPolicy::DropNewest)
    });
    let mut member = server.narrow_member();
    member.subscribe(&["room/1", "room/*", "#"]);
    let mut publisher = server.member();
    let mut seen = [0; 3];
    for n in 0..20_000 {
        let message = numbered(n, 10_000);
        let published = publisher.run(move |ws| ws.publish("room/1", Message::Binary(&message)));
        let counts = [published.sent, published.queued, published.dropped];
        assert_eq!(counts.iter().sum::<usize>(), 1, "{published:?}");
        (0..3).for_each(|i| seen[i] += counts[i]);
        if seen[2] == 10 {
            break;
        }
    }
    assert!(seen.iter().all(|&count| count > 0), "{seen:?}");
    assert_eq!(member.read_all().len(), seen[0] + seen[1]);
    assert_eq!(server.stats().dropped, 10);
}

fn a_crowd_behind_a_wildcard_is_served_together(io: Io) {
    let server = Errands::serve(io, |server| server);
    let mut crowd: Vec<_> = (0..8).map(|_| server.member()).collect();
    for member in &mut crowd {
        member.subscribe(&["room/*"]);
    }
    let mut publisher = server.member();
    // Of the topics of one filter the order is kept as well: they are one stream to whoever has the filter.
    publisher.run(|ws| {
        for n in 0..100 {
            let topic = format!("room/{}", n % 7);
            assert_eq!(ws.publish(&topic, Message::Text(&n.to_string())).sent, 8);
        }
    });
    let expected: Vec<_> = (0..100).map(|n| n.to_string()).collect();
    for member in &mut crowd {
        assert_eq!(member.read_texts(), expected);
    }
}

fn subscribers_are_counted_over_cores(io: Io) {
    let Some(server) = Errands::serve_on_two_cores(io, |server| server) else {
        return;
    };
    let [here, there] = server.members_on_two_cores(3);
    let mut members: Vec<_> = here.into_iter().chain(there).collect();
    let threads = server.publisher();
    let expect = |members: &mut [Member], topic: &'static str, count: u64| {
        assert_eq!(threads.subscribers(topic), count, "{topic}");
        for member in members {
            assert_eq!(
                member.run(move |ws| ws.subscribers(topic)),
                count,
                "{topic}"
            );
        }
    };
    for n in 0..members.len() {
        expect(&mut members, "t", n as u64);
        members[n].subscribe(&["t", "w/*"]);
        assert!(!members[n].run(|ws| ws.subscribe("t")), "counted once");
    }
    expect(&mut members, "t", 6);
    expect(&mut members, "w/*", 6);
    expect(&mut members, "w/1", 0);
    for member in &mut members[2..4] {
        assert!(member.run(|ws| ws.unsubscribe("t")));
    }
    expect(&mut members, "t", 4);
    // However a connection ends.
    members.pop().expect("a member").into_client().reset();
    members.pop().expect("a member").into_client().close(1000);
    members[0].run(|ws| ws.close(corecast::CloseCode::NORMAL, ""));
    members.remove(0).expect_close(1000);
    eventually("they are gone", || threads.subscribers("w/*") == 3);
    expect(&mut members, "t", 1);
}

fn a_connection_lists_its_topics(io: Io) {
    let server = Errands::serve(io, |server| server);
    let mut member = server.member();
    let mut other = server.member();
    other.subscribe(&["not/its", "a/3"]);
    let listed = |member: &mut Member| {
        member.run(|ws| {
            let mut topics: Vec<_> = ws.topics().map(str::to_owned).collect();
            assert_eq!(ws.topics().len(), topics.len());
            assert!(topics.iter().all(|topic| ws.is_subscribed(topic)));
            topics.sort_unstable();
            topics
        })
    };
    assert!(listed(&mut member).is_empty());
    member.run(|ws| {
        for n in 0..1_000 {
            assert!(ws.subscribe(&format!("a/{n}")));
        }
        assert!(ws.subscribe("a/*") && ws.subscribe("#"));
    });
    member.run(|ws| {
        for n in (0..1_000).filter(|n| n % 10 != 3) {
            assert!(ws.unsubscribe(&format!("a/{n}")));
        }
        assert!(!ws.unsubscribe("not/its") && !ws.is_subscribed("a/4"));
    });
    let mut expected: Vec<_> = (0..100).map(|n| format!("a/{}", 10 * n + 3)).collect();
    expected.extend(["a/*".to_owned(), "#".to_owned()]);
    expected.sort_unstable();
    assert_eq!(listed(&mut member), expected);
    assert_eq!(listed(&mut other), ["a/3", "not/its"]);
}
