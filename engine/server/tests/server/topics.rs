//! The `topics` application over all cores, on each transport.

use std::fs;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use tungstenite::Message;
use tungstenite::protocol::frame::coding::CloseCode;

use crate::queued::queued_bytes;
use crate::running::{Client, Running, close_code, text};

on_each_io! {
    messages_reach_the_subscribers_of_their_topic
    a_connection_that_names_no_topic_broadcasts
    sending_without_a_topic_to_send_to_closes
    each_publishers_order_holds_on_every_core
    who_does_not_subscribe_does_not_hear_itself
    a_topic_named_twice_is_one_subscription
    names_are_decoded_and_the_applications_own
    a_query_that_asks_too_much_is_refused
    subscribers_may_leave_at_any_time
    a_slow_subscriber_is_closed_and_delays_nobody
    a_slow_subscriber_misses_whole_messages_if_the_policy_says_so
    a_slow_subscriber_gets_the_latest_if_the_policy_says_so
    a_wildcard_hears_every_topic_that_it_matches
    the_last_message_is_kept_for_who_asks
    what_cannot_be_kept_closes_its_publisher
    a_flush_delay_holds_messages_back_and_loses_none
}

/// Enough that each core very likely has some.
const SUBSCRIBERS: usize = 16;

fn subscribers(server: &Running, query: &str) -> Vec<Client> {
    let path = format!("/topics?{query}");
    (0..SUBSCRIBERS).map(|_| server.connect(&path)).collect()
}

fn messages_reach_the_subscribers_of_their_topic(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut to_both = subscribers(&server, "sub=a&sub=b");
    let mut only_b = server.connect("/topics?sub=b");
    let mut to_a = server.connect("/topics?pub=a");
    let mut to_b = server.connect("/topics?sub=c&pub=b");
    to_a.send(Message::text("for a")).unwrap();
    for subscriber in &mut to_both {
        assert_eq!(text(subscriber), "for a");
    }
    to_b.send(Message::binary(vec![1, 2, 3])).unwrap();
    for subscriber in to_both.iter_mut().chain([&mut only_b]) {
        assert_eq!(subscriber.read().unwrap(), Message::binary(vec![1, 2, 3]));
    }
}

fn a_connection_that_names_no_topic_broadcasts(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut all = [
        server.connect("/topics"),
        server.connect("/topics?sub=broadcast"),
    ];
    all[0].send(Message::text("to all, to me too")).unwrap();
    for client in &mut all {
        assert_eq!(text(client), "to all, to me too");
    }
    assert_eq!(server.try_connect("/topics?sub=", &[]).unwrap_err(), 400);
}

fn sending_without_a_topic_to_send_to_closes(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut client = server.connect("/topics?sub=a");
    client.send(Message::text("to whom?")).unwrap();
    assert_eq!(close_code(&mut client), CloseCode::Policy);
}

fn each_publishers_order_holds_on_every_core(io: &str) {
    const PUBLISHERS: u8 = 4;
    const MESSAGES: u16 = 200;
    let server = Running::start(&["--io", io]);
    let mut listening = subscribers(&server, "sub=a");
    // Text and binary by turns: who sent it, and its number.
    let message = |publisher: u8, number: u16| match number % 2 {
        0 => Message::text(format!("{publisher} {number}")),
        _ => Message::binary(vec![publisher, (number >> 8) as u8, number as u8]),
    };
    let publishers: Vec<_> = (0..PUBLISHERS)
        .map(|publisher| {
            let mut client = server.connect("/topics?pub=a");
            thread::spawn(move || {
                for number in 0..MESSAGES {
                    client.send(message(publisher, number)).unwrap();
                }
                client
            })
        })
        .collect();
    for subscriber in &mut listening {
        let mut next = [0; PUBLISHERS as usize];
        for _ in 0..u16::from(PUBLISHERS) * MESSAGES {
            let received = subscriber.read().unwrap();
            let due = (0..PUBLISHERS).find(|&publisher| {
                let number = next[usize::from(publisher)];
                number < MESSAGES && received == message(publisher, number)
            });
            let publisher = due.unwrap_or_else(|| panic!("{received:?} is not due: {next:?}"));
            next[usize::from(publisher)] += 1;
        }
    }
    for publisher in publishers {
        publisher.join().unwrap();
    }
}

fn who_does_not_subscribe_does_not_hear_itself(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut other = server.connect("/topics?sub=a&pub=b");
    let mut publisher = server.connect("/topics?pub=a&sub=b");
    publisher.send(Message::text("to a")).unwrap();
    assert_eq!(text(&mut other), "to a");
    other.send(Message::text("to b")).unwrap();
    // Had its own come back, it would have come first.
    assert_eq!(text(&mut publisher), "to b");
}

fn a_topic_named_twice_is_one_subscription(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut client = server.connect("/topics?sub=a&sub=b&sub=a&pub=a");
    for number in 0..3 {
        client.send(Message::text(number.to_string())).unwrap();
    }
    for number in 0..3 {
        assert_eq!(text(&mut client), number.to_string());
    }
}

fn names_are_decoded_and_the_applications_own(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut subscriber = server.connect("/topics?sub=caf%C3%A9%2Froom+1");
    let mut in_chat = server.connect("/chat");
    in_chat.send(Message::text(r#"{"join":"tea"}"#)).unwrap();
    assert_eq!(text(&mut in_chat), r#"{"joined":"tea"}"#);
    for topic in ["chat/tea", "tea", "topics/tea"] {
        let mut stranger = server.connect(&format!("/topics?pub={topic}&sub={topic}"));
        stranger.send(Message::text("not for the chat")).unwrap();
        assert_eq!(text(&mut stranger), "not for the chat");
    }
    in_chat
        .send(Message::text(r#"{"say":"x","in":"tea"}"#))
        .unwrap();
    assert!(text(&mut in_chat).contains(r#""said":"x""#));
    let mut publisher = server.connect("/topics?pub=caf%c3%a9/room%201");
    publisher.send(Message::text("same name")).unwrap();
    assert_eq!(text(&mut subscriber), "same name");
}

fn a_query_that_asks_too_much_is_refused(io: &str) {
    let server = Running::start(&["--io", io]);
    let many = |count: usize| format!("/topics?sub=0{}", "&sub=a".repeat(count - 1));
    let refused = [
        "/topics?pub=".to_owned(),
        "/topics?pub=a&pub=b".to_owned(),
        format!("/topics?sub={}", "x".repeat(257)),
        many(65),
    ];
    for path in refused {
        assert_eq!(server.try_connect(&path, &[]).map(drop), Err(400), "{path}");
    }
    for path in [format!("/topics?sub={}", "x".repeat(256)), many(64)] {
        assert_eq!(server.try_connect(&path, &[]).map(drop), Ok(()), "{path}");
    }
}

fn subscribers_may_leave_at_any_time(io: &str) {
    const MESSAGES: usize = 300;
    let server = Running::start(&["--io", io]);
    let mut staying = subscribers(&server, "sub=a");
    let mut leaving = subscribers(&server, "sub=a");
    let mut publisher = server.connect("/topics?pub=a");
    for number in 0..MESSAGES {
        publisher.send(Message::text(number.to_string())).unwrap();
        if number % 10 != 0 {
            continue;
        }
        // With and without a closing handshake, and newcomers in their places.
        let mut client = leaving.remove(0);
        if number % 20 == 0 {
            client.close(None).unwrap();
        }
        leaving.push(server.connect("/topics?sub=a"));
    }
    for client in &mut staying {
        for number in 0..MESSAGES {
            assert_eq!(text(client), number.to_string());
        }
    }
}

const LARGE: usize = 64 << 10;

/// More than a socket and a backlog of 1 MiB take, and not so many more that a server that has begun to close a connection would
/// have given it up (after 5 s) before they are through.
fn large_messages() -> u32 {
    let sizes = fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").unwrap();
    let largest: usize = sizes.split_whitespace().last().unwrap().parse().unwrap();
    ((largest + (4 << 20)) / LARGE) as u32
}

/// A server that pings nobody while a test lasts, and to whom nobody is idle.
fn patient(args: &[&str]) -> Running {
    let long = ["--ping-interval", "10m", "--idle-timeout", "15m"];
    Running::start(&[args, &long].concat())
}

/// Publishes large messages to a subscriber that reads each of them, beside one that reads nothing, which is returned
/// with the publisher.
fn flooded(server: &Running) -> (Client, Client) {
    flooded_while(server, |_| true)
}

/// The same for as long as it is to go on, of which the connection is asked that reads nothing.
fn flooded_while(
    server: &Running,
    mut goes_on: impl FnMut(&TcpStream) -> bool,
) -> (Client, Client) {
    let stalled = server.connect_narrow("/topics?sub=a");
    let mut reader = server.connect("/topics?sub=a");
    let mut publisher = server.connect("/topics?pub=a");
    for number in 0..large_messages() {
        let mut payload = vec![number as u8; LARGE];
        payload[..4].copy_from_slice(&number.to_be_bytes());
        publisher.send(Message::binary(payload)).unwrap();
        assert_eq!(numbered(&reader.read().unwrap()), number);
        if !goes_on(stalled.get_ref()) {
            break;
        }
    }
    (stalled, publisher)
}

/// The number of a large message that is whole.
fn numbered(message: &Message) -> u32 {
    let Message::Binary(payload) = message else {
        panic!("expected a large message, got {message:?}");
    };
    let number = u32::from_be_bytes(payload[..4].try_into().unwrap());
    assert_eq!(payload.len(), LARGE);
    assert!(payload[4..].iter().all(|&byte| byte == number as u8));
    number
}

fn a_slow_subscriber_is_closed_and_delays_nobody(io: &str) {
    const BACKLOG: usize = 512 << 10;
    let server = patient(&["--io", io, "--backlog", "512k"]);
    // Until the kernel has taken nothing for longer than the backlog had room, and no longer: from then on it has five seconds
    // for its Close frame.
    let (mut queued, mut refused) = (0, 0);
    let (mut stalled, _publisher) = flooded_while(&server, |stalled| {
        let before = std::mem::replace(&mut queued, bytes_on_the_way_to(stalled));
        refused = if queued == before { refused + LARGE } else { 0 };
        refused <= BACKLOG
    });
    // What was queued before the policy met it may arrive, whole and in order.
    let mut next = 0;
    let code = loop {
        match stalled.read().unwrap() {
            Message::Close(frame) => break frame.expect("a code").code,
            message => {
                assert_eq!(numbered(&message), next);
                next += 1;
            }
        }
    };
    assert_eq!(code, CloseCode::Again);
    assert!(next < large_messages(), "all of it was taken");
}

/// Bytes that the kernel has of the server's for a connection of ours.
fn bytes_on_the_way_to(client: &TcpStream) -> u64 {
    let ours = client.local_addr().unwrap();
    let theirs = client.peer_addr().unwrap();
    let (unacknowledged, _) = queued_bytes(theirs, ours).expect("the connection is open");
    let (_, unread) = queued_bytes(ours, theirs).expect("the connection is open");
    unacknowledged + unread
}

fn a_slow_subscriber_misses_whole_messages_if_the_policy_says_so(io: &str) {
    let server = patient(&["--io", io, "--backlog", "512k", "--slow", "drop-newest"]);
    let (mut stalled, mut publisher) = flooded(&server);
    publisher.send(Message::text("the end")).unwrap();
    let mut received = Vec::new();
    // It may have been dropped, too: once there is room again, what is sent arrives.
    loop {
        match stalled.read().unwrap() {
            Message::Text(_) => break,
            message => received.push(numbered(&message)),
        }
        publisher.send(Message::text("the end")).unwrap();
    }
    assert!(
        received.is_sorted_by(|one, other| one < other),
        "{received:?}"
    );
    assert!(
        received.len() < large_messages() as usize,
        "all of it was taken"
    );
}

fn a_slow_subscriber_gets_the_latest_if_the_policy_says_so(io: &str) {
    for policy in ["drop-oldest", "conflate"] {
        let server = patient(&["--io", io, "--backlog", "1m", "--slow", policy]);
        let (mut stalled, _publisher) = flooded(&server);
        // The end of what it gets is the end of what there was.
        let mut received = Vec::new();
        while received.last() != Some(&(large_messages() - 1)) {
            received.push(numbered(&stalled.read().unwrap()));
        }
        assert!(
            received.is_sorted_by(|one, other| one < other),
            "{policy}: {received:?}"
        );
        assert!(
            received.len() < large_messages() as usize,
            "{policy}: all of it was taken"
        );
    }
}

fn a_wildcard_hears_every_topic_that_it_matches(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut one_level = subscribers(&server, "sub=rooms/*");
    let mut the_rest = subscribers(&server, "sub=rooms/%23");
    let mut both = server.connect("/topics?sub=rooms/*&sub=rooms/%23&sub=rooms/tea");
    let mut everything = server.connect("/topics?sub=%23");
    for topic in ["rooms", "rooms/tea", "rooms/tea/cups", "elsewhere"] {
        let mut publisher = server.connect(&format!("/topics?pub={topic}&sub={topic}"));
        publisher.send(Message::text(topic)).unwrap();
        // It was heard on all cores that have subscribers before the next one is published.
        assert_eq!(text(&mut publisher), topic);
        assert_eq!(text(&mut everything), topic);
        if topic != "elsewhere" {
            assert_eq!(text(&mut both), topic, "once");
            for client in &mut the_rest {
                assert_eq!(text(client), topic);
            }
        }
        if topic == "rooms/tea" {
            for client in &mut one_level {
                assert_eq!(text(client), topic);
            }
        }
    }
    // Had it heard more, or anything twice, that would come before the pong.
    for client in one_level.iter_mut().chain([&mut both]) {
        client.send(Message::Ping("".into())).unwrap();
        assert_eq!(client.read().unwrap(), Message::Pong("".into()));
    }
    // What is published to is a name, whatever it looks like.
    let mut literal = server.connect("/topics?pub=rooms/*");
    literal.send(Message::text("to a name")).unwrap();
    assert_eq!(text(&mut one_level[0]), "to a name");
    let mut tea = server.connect("/topics?sub=rooms/tea&pub=rooms/tea");
    literal.send(Message::text("not to tea")).unwrap();
    assert_eq!(text(&mut everything), "to a name");
    assert_eq!(text(&mut everything), "not to tea");
    tea.send(Message::text("to tea")).unwrap();
    assert_eq!(text(&mut tea), "to tea");
}

fn the_last_message_is_kept_for_who_asks(io: &str) {
    let server = Running::start(&["--io", io]);
    let mut publisher = server.connect("/topics?pub=rooms/a&sub=rooms/a&retain");
    for message in ["first", "second"] {
        publisher.send(Message::text(message)).unwrap();
        assert_eq!(text(&mut publisher), message);
    }
    let mut plain = server.connect("/topics?pub=rooms/a");
    for query in ["sub=rooms/a&last", "sub=rooms/*&last=1"] {
        // On whichever core they are.
        for mut client in subscribers(&server, query) {
            assert_eq!(text(&mut client), "second");
        }
    }
    let mut asks_not = server.connect("/topics?sub=rooms/a");
    plain.send(Message::text("not kept")).unwrap();
    assert_eq!(text(&mut asks_not), "not kept");
    let mut late = server.connect("/topics?sub=rooms/a&last");
    assert_eq!(text(&mut late), "second");
    // An empty message is published, and nothing is kept any more.
    publisher.send(Message::text("")).unwrap();
    for client in [&mut late, &mut asks_not] {
        assert_eq!(text(client), "");
    }
    for mut client in subscribers(&server, "sub=rooms/a&last&pub=rooms/a") {
        client.send(Message::text("its own")).unwrap();
        assert_eq!(text(&mut client), "its own");
    }
    for refused in ["sub=a&retain", "pub=a&last"] {
        let path = format!("/topics?{refused}");
        assert_eq!(server.try_connect(&path, &[]).map(drop), Err(400), "{path}");
    }
}

fn what_cannot_be_kept_closes_its_publisher(io: &str) {
    let server = Running::start(&["--io", io, "--max-retained", "1k"]);
    let mut subscriber = server.connect("/topics?sub=a");
    let mut publisher = server.connect("/topics?pub=a&retain");
    let large = "x".repeat(1 << 10);
    publisher.send(Message::text(large.as_str())).unwrap();
    assert_eq!(close_code(&mut publisher), CloseCode::Again);
    assert_eq!(text(&mut subscriber), large, "it was published");
}

fn a_flush_delay_holds_messages_back_and_loses_none(io: &str) {
    const DELAY: Duration = Duration::from_millis(300);
    let server = Running::start(&["--io", io, "--flush-delay", "300ms"]);
    let mut listening = subscribers(&server, "sub=a");
    let mut publisher = server.connect("/topics?pub=a");
    let start = Instant::now();
    for number in 0..10 {
        publisher.send(Message::text(number.to_string())).unwrap();
    }
    for client in &mut listening {
        for number in 0..10 {
            assert_eq!(text(client), number.to_string());
        }
    }
    assert!(start.elapsed() >= DELAY, "{:?}", start.elapsed());
}
