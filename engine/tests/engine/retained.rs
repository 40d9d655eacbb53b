//! Messages that are kept for those who subscribe later.

use corecast::{Io, Message, Publish, Server, Subscribe};

use crate::common::errands::{Errands, Member};
use crate::common::{eventually, over_every_transport};

over_every_transport![
    who_asks_gets_the_last_message_first,
    a_wildcard_gets_the_last_message_of_each_topic,
    what_is_forgotten_is_given_to_nobody,
    what_is_kept_is_bounded,
    every_core_keeps_it,
    a_slow_subscriber_gets_it_behind_what_waits,
];

/// Keeps a message; says how many got it now, and whether it is kept.
#[track_caller]
fn retain(member: &mut Member, topic: &'static str, text: &'static str) -> (usize, bool) {
    member.run(move |ws| {
        let published = ws.publish_with(topic, Message::Text(text), Publish::new().retain());
        (published.sent, published.retained)
    })
}

/// Subscribes anew, and gives what was retained.
#[track_caller]
fn retained(member: &mut Member, filter: &str) -> Vec<String> {
    let filter = filter.to_owned();
    member.run(move |ws| {
        ws.unsubscribe(&filter);
        assert!(ws.subscribe_with(&filter, Subscribe::new().retained()));
    });
    let mut texts = member.read_texts();
    texts.sort_unstable();
    texts
}

fn who_asks_gets_the_last_message_first(io: Io) {
    let server = Errands::serve(io, |server| server);
    let [mut publisher, mut early, mut late, mut indifferent] = [(); 4].map(|()| server.member());
    assert!(retained(&mut early, "t").is_empty());
    assert_eq!(retain(&mut publisher, "t", "first"), (1, true));
    assert_eq!(retain(&mut publisher, "t", "second"), (1, true));
    publisher.run(|ws| ws.publish("t", Message::Text("of the moment")));
    assert_eq!(early.read_texts(), ["first", "second", "of the moment"]);
    indifferent.subscribe(&["t"]);
    assert!(indifferent.read_all().is_empty(), "it did not ask");
    // In the order of things, though all of it happens in one callback.
    late.run(|ws| {
        ws.send_text("before");
        assert!(ws.subscribe_with("t", Subscribe::new().retained()));
        ws.send_text("between");
        ws.publish_with("t", Message::Text("third"), Publish::new().retain());
        assert!(
            !ws.subscribe_with("t", Subscribe::new().retained()),
            "no more news"
        );
        ws.publish_with(
            "t",
            Message::Text("fourth"),
            Publish::new().retain().others(),
        );
        ws.send_text("after");
    });
    assert_eq!(
        late.read_texts(),
        ["before", "second", "between", "third", "after"]
    );
    assert_eq!(indifferent.read_texts(), ["third", "fourth"]);
    assert_eq!(
        retained(&mut late, "t"),
        ["fourth"],
        "also what was for the others"
    );
    assert!(retained(&mut late, "T").is_empty());
}

fn a_wildcard_gets_the_last_message_of_each_topic(io: Io) {
    let server = Errands::serve(io, |server| server);
    let [mut publisher, mut member] = [(); 2].map(|()| server.member());
    for (topic, text) in [
        ("r/1", "old"),
        ("r/1", "one"),
        ("r/2", "two"),
        ("r/2/x", "deep"),
        ("r/*", "star"),
    ] {
        assert_eq!(retain(&mut publisher, topic, text), (0, true));
    }
    assert_eq!(retained(&mut member, "r/*"), ["one", "star", "two"]);
    assert_eq!(retained(&mut member, "r/#"), ["deep", "one", "star", "two"]);
    assert_eq!(retained(&mut member, "r/2"), ["two"]);
    assert_eq!(retained(&mut member, "#"), ["deep", "one", "star", "two"]);
    assert!(retained(&mut member, "*").is_empty());
}

fn what_is_forgotten_is_given_to_nobody(io: Io) {
    let server = Errands::serve(io, |server| server);
    let [mut publisher, mut member] = [(); 2].map(|()| server.member());
    assert_eq!(retain(&mut publisher, "t", "kept"), (0, true));
    assert_eq!(retain(&mut publisher, "u", "stays"), (0, true));
    assert!(member.run(|ws| ws.forget_retained("t")));
    assert!(member.run(|ws| ws.forget_retained("never there")));
    assert!(retained(&mut member, "t").is_empty());
    assert_eq!(retained(&mut member, "#"), ["stays"]);
    // It is about what was, not about what comes.
    publisher.run(|ws| {
        ws.publish_with("t", Message::Text("lost"), Publish::new().retain());
        assert!(ws.forget_retained("t"));
        ws.publish_with("t", Message::Text("found"), Publish::new().retain());
    });
    assert_eq!(member.read_texts(), ["lost", "found"]);
    assert_eq!(retained(&mut member, "t"), ["found"]);
}

fn what_is_kept_is_bounded(io: Io) {
    let settings = |server: Server| server.max_retained(100_000);
    let server = Errands::serve(io, settings);
    let [mut publisher, mut member] = [(); 2].map(|()| server.member());
    let keep = |publisher: &mut Member, topic: String, size: usize| {
        publisher.run(move |ws| {
            let message = "x".repeat(size);
            ws.publish_with(&topic, Message::Text(&message), Publish::new().retain())
                .retained
        })
    };
    let kept = (0..200)
        .take_while(|n| keep(&mut publisher, format!("t/{n}"), 900))
        .count();
    // Each takes its name twice, its frame and 320 bytes.
    assert_eq!(
        kept,
        100_000 / (2 * 4 + 904 + 320),
        "with names of four characters"
    );
    assert!(kept < 100, "or their names would be longer");
    assert_eq!(retained(&mut member, "t/*").len(), kept);
    // What has no room goes out all the same, and what came before it on its topic is not the last any more.
    member.subscribe(&["t/0"]);
    assert!(!keep(&mut publisher, "t/0".into(), 90_000));
    assert_eq!(member.frame().payload.len(), 90_000);
    assert!(retained(&mut member, "t/0").is_empty());
    assert!(
        keep(&mut publisher, "t/0".into(), 10),
        "there is room again"
    );
    member.expect_text(&"x".repeat(10));
    assert_eq!(retained(&mut member, "t/0"), ["x".repeat(10)]);
    assert!(
        !keep(&mut publisher, "large".into(), 100_000),
        "alone it is too large"
    );
}

fn every_core_keeps_it(io: Io) {
    let Some(server) = Errands::serve_on_two_cores(io, |server| server) else {
        return;
    };
    let [mut here, mut there] = server.members_on_two_cores(1);
    let (mut a, mut b) = (here.remove(0), there.remove(0));
    let is_kept = |member: &mut Member, topic: &str, expected: &[&str]| {
        // Other cores learn of it when they read their mail.
        eventually("it is kept", || retained(member, topic) == expected);
    };
    let published =
        a.run(|ws| ws.publish_with("t", Message::Text("by a"), Publish::new().retain()));
    assert_eq!(
        (published.forwarded, published.retained),
        (1, true),
        "without a subscriber"
    );
    is_kept(&mut b, "t", &["by a"]);
    is_kept(&mut a, "t", &["by a"]);
    let threads = server.publisher();
    let published =
        threads.publish_with("u", Message::Text("by a thread"), Publish::new().retain());
    assert_eq!(
        (published.forwarded, published.refused),
        (2, 0),
        "without a subscriber"
    );
    for member in [&mut a, &mut b] {
        is_kept(member, "u", &["by a thread"]);
        is_kept(member, "*", &["by a", "by a thread"]);
    }
    assert!(b.run(|ws| ws.forget_retained("t")));
    is_kept(&mut a, "t", &[]);
    is_kept(&mut b, "t", &[]);
    assert!(threads.forget_retained("u"));
    for member in [&mut a, &mut b] {
        is_kept(member, "#", &[]);
    }
    // In one turn: the last word counts, on the other core as well.
    a.run(|ws| {
        for n in 0..50 {
            let text = format!("number {n}");
            ws.publish_with("v", Message::Text(&text), Publish::new().retain());
            assert!(ws.forget_retained("v"));
        }
        ws.publish_with("v", Message::Text("at last"), Publish::new().retain());
    });
    // What is subscribed on the way may see the messages as they come, and is not told the last one twice.
    b.run(|ws| {
        assert!(
            ws.unsubscribe("t")
                && ws.unsubscribe("u")
                && ws.unsubscribe("*")
                && ws.unsubscribe("#")
        )
    });
    b.read_all();
    is_kept(&mut b, "v", &["at last"]);
}

fn a_slow_subscriber_gets_it_behind_what_waits(io: Io) {
    let server = Errands::serve(io, |server| server.backlog(256 << 10));
    let [mut publisher, _] = [(); 2].map(|()| server.member());
    assert_eq!(retain(&mut publisher, "t", "kept"), (0, true));
    let mut slow = server.narrow_member();
    while slow.run(|ws| ws.send_binary(&[7; 10_000])) != corecast::SendStatus::Queued {}
    slow.run(|ws| {
        ws.send_text("before");
        assert!(ws.subscribe_with("t", Subscribe::new().retained()));
        ws.publish("t", Message::Text("behind"));
        ws.send_text("after");
    });
    let frames = slow.read_all();
    let texts = frames.iter().rev().take(4).rev();
    let texts: Vec<_> = texts
        .map(|frame| String::from_utf8_lossy(&frame.payload))
        .collect();
    assert_eq!(texts, ["before", "kept", "behind", "after"]);
}
