//! One publication, subscribers with whom different things were agreed: each gets it in its form, once and in order, and
//! it is compressed once for all who share a form.

use std::time::Duration;

use corecast::{Conn, CoreId, Deflate, Io, Message, Publish, Server, Subscribe};

use crate::common::client::{CLOSE, Client, Frame, TEXT, request_with, tcp};
use crate::common::errands::{Errands, Member, Offers, Seen};
use crate::common::payload::{record, record_of};
use crate::common::{eventually, over_every_transport, processors};

over_every_transport![
    everybody_gets_the_same_whatever_was_agreed,
    everybody_gets_the_same_on_two_cores,
    few_subscribers_get_theirs_one_by_one,
    what_is_published_is_compressed_once_for_all_who_share_a_form,
    two_cores_compress_once_where_both_need_it,
    a_core_without_compressed_subscribers_leaves_it_to_others,
    subscribing_and_leaving_within_a_batch,
    a_publisher_that_is_left_out_gets_all_else,
    what_waits_for_further_messages_comes_in_each_form,
    what_is_retained_comes_in_each_form,
    a_drain_lets_everything_out_in_each_form,
    a_subscriber_that_ends_in_the_middle_disturbs_nobody,
];

/// Each kind of client gets a form of its own.
fn dedicated(server: Server) -> Server {
    server.deflate(Deflate::dedicated(15))
}

/// So many of each kind.
fn members(server: &Errands, each: usize) -> Vec<(Offers, Member)> {
    let kinds = Offers::ALL.into_iter().flat_map(|kind| vec![kind; each]);
    kinds
        .map(|kind| (kind, server.member_that(kind, false)))
        .collect()
}

/// Below any threshold, and above all of them.
const SIZES: [usize; 4] = [24, 200, 4_000, 70_000];

fn message(n: u64) -> String {
    record(n, SIZES[n as usize % SIZES.len()])
}

/// The records among a member's frames, which came in its form.
#[track_caller]
fn records(kind: Offers, frames: &[Frame]) -> Vec<u64> {
    let records = frames.iter().map(|frame| {
        assert_eq!(frame.opcode, TEXT);
        if frame.payload.len() > 1_000 {
            assert_eq!(frame.is_compressed(), kind != Offers::Nothing, "{kind:?}");
        }
        record_of(&frame.payload)
    });
    records.collect()
}

/// Publishes some records in one callback, with a word of the connection's own after each.
fn publish(member: &mut Member, topic: &'static str, range: std::ops::Range<u64>) {
    member.run(move |ws| {
        for n in range {
            let published = ws.publish(topic, Message::Text(&message(n)));
            assert_eq!((published.dropped, published.refused), (0, 0));
        }
    });
}

/// Publishers of all kinds, and a thread, publish to members of all kinds.
fn to_everybody(server: &Errands, mut members: Vec<(Offers, Member)>) {
    for (n, (_, member)) in members.iter_mut().enumerate() {
        match n % 3 {
            0 => member.subscribe(&["news/now"]),
            1 => member.subscribe(&["news/*"]),
            _ => member.subscribe(&["news/now", "news/#", "weather"]),
        }
    }
    let mut published = 0;
    for (_, mut publisher) in self::members(server, 1) {
        for burst in [1, 3, 8] {
            publish(&mut publisher, "news/now", published..published + burst);
            published += burst;
            expect_up_to(&mut members, published - burst, published);
        }
    }
    let thread = server.publisher();
    for n in published..published + 8 {
        assert_eq!(
            thread
                .publish("news/now", Message::Text(&message(n)))
                .refused,
            0
        );
    }
    expect_up_to(&mut members, published, published + 8);
    for (_, member) in &mut members {
        assert!(member.read_all().is_empty(), "each once");
    }
}

/// Everybody gets these, in order; some may be on another core and come later.
fn expect_up_to(members: &mut [(Offers, Member)], from: u64, to: u64) {
    let expected: Vec<_> = (from..to).collect();
    for (kind, member) in members {
        let mut read = Vec::new();
        eventually("all of it comes", || {
            read.extend(records(*kind, &member.read_all()));
            read.len() >= expected.len()
        });
        assert_eq!(read, expected, "{kind:?}");
    }
}

fn everybody_gets_the_same_whatever_was_agreed(io: Io) {
    let server = Errands::serve(io, dedicated);
    let members = members(&server, 4);
    to_everybody(&server, members);
}

fn everybody_gets_the_same_on_two_cores(io: Io) {
    if let Some(server) = Errands::serve_on_two_cores(io, dedicated) {
        // The kernel spreads them.
        let members = members(&server, 6);
        to_everybody(&server, members);
    }
}

fn few_subscribers_get_theirs_one_by_one(io: Io) {
    let server = Errands::serve(io, dedicated);
    for kind in Offers::ALL {
        let mut member = server.member_that(kind, false);
        member.subscribe(&["few"]);
        let mut publisher = server.member();
        publish(&mut publisher, "few", 0..9);
        assert_eq!(
            records(kind, &member.read_all()),
            (0..9).collect::<Vec<_>>()
        );
        member.into_client().close(1000);
    }
}

/// Messages that the server compressed while this ran.
fn compressed(server: &Errands, run: impl FnOnce()) -> u64 {
    let before = server.stats().compressed;
    run();
    server.stats().compressed - before
}

/// What each got on the wire for one publication of a record.
#[track_caller]
fn carried(members: &mut [Member], n: u64) -> Vec<Vec<u8>> {
    let frames = members.iter_mut().map(|member| {
        let frame = member.frame();
        assert_eq!(record_of(&frame.payload), n);
        frame.deflated.expect("it is worth it")
    });
    frames.collect()
}

fn what_is_published_is_compressed_once_for_all_who_share_a_form(io: Io) {
    const SUBSCRIBERS: usize = 200;
    let shared = |server: Server| server.deflate(Deflate::shared());
    let server = Errands::serve(io, shared);
    let subscribe = |count: usize| {
        let members = (0..count).map(|_| {
            let mut member = server.member_that(Offers::Alone, false);
            member.subscribe(&["t"]);
            member
        });
        members.collect::<Vec<_>>()
    };
    let mut publisher = server.member();
    // One by one, and as a batch.
    for count in [1, 3, SUBSCRIBERS] {
        let mut members = subscribe(count);
        for n in 0..5 {
            let times = compressed(&server, || {
                publisher.run(move |ws| ws.publish("t", Message::Text(&record(n, 4_000))));
            });
            assert_eq!(times, 1, "for {count}");
            let carried = carried(&mut members, n);
            assert!(carried.iter().all(|one| *one == carried[0]), "the same");
        }
        for member in members {
            member.into_client().close(1000);
        }
    }
    // Twice where there are two forms, and never for those who get messages as they are.
    let mut members = subscribe(SUBSCRIBERS / 2);
    let mut small = Vec::new();
    for _ in 0..SUBSCRIBERS / 2 {
        let mut member = server.member_that(Offers::AloneAndSmall, false);
        member.subscribe(&["t"]);
        small.push(member);
    }
    publisher.subscribe(&["t"]);
    let times = compressed(&server, || {
        publisher.run(|ws| ws.publish("t", Message::Text(&record(7, 4_000))));
    });
    assert_eq!(times, 2);
    let (wide, narrow) = (carried(&mut members, 7), carried(&mut small, 7));
    assert!(wide.iter().all(|one| *one == wide[0]));
    assert!(narrow.iter().all(|one| *one == narrow[0]));
    assert!(!publisher.frame().is_compressed());
}

/// Two cores with so many members each that take messages that stand alone.
fn alone_on_two_cores(server: &Errands, each: [usize; 2]) -> [Vec<Member>; 2] {
    let first = CoreId(processors()[0]);
    let mut members = [Vec::new(), Vec::new()];
    for _ in 0..200 {
        let mut member = server.member_that(Offers::Alone, false);
        let on = usize::from(member.core != first);
        if members[on].len() < each[on] {
            member.subscribe(&["t"]);
            members[on].push(member);
        }
        if members[0].len() == each[0] && members[1].len() == each[1] {
            return members;
        }
    }
    panic!("200 connections, and not {each:?} on the cores");
}

fn two_cores_compress_once_where_both_need_it(io: Io) {
    let shared = |server: Server| server.deflate(Deflate::shared());
    let Some(server) = Errands::serve_on_two_cores(io, shared) else {
        return;
    };
    let [mut here, mut there] = alone_on_two_cores(&server, [6, 6]);
    for n in 0..4 {
        let times = compressed(&server, || {
            here[0].run(move |ws| ws.publish("t", Message::Text(&record(n, 4_000))));
            let (ours, theirs) = (carried(&mut here, n), carried(&mut there, n));
            assert!(ours.iter().chain(&theirs).all(|one| *one == ours[0]));
        });
        assert_eq!(times, 1);
        // A thread compresses nothing: each core may, but not both need to.
        let times = compressed(&server, || {
            let published = server
                .publisher()
                .publish("t", Message::Text(&record(n, 4_000)));
            assert_eq!(published.refused, 0);
            carried(&mut here, n);
            carried(&mut there, n);
        });
        assert!((1..=2).contains(&times), "{times}");
    }
}

fn a_core_without_compressed_subscribers_leaves_it_to_others(io: Io) {
    let shared = |server: Server| server.deflate(Deflate::shared());
    let Some(server) = Errands::serve_on_two_cores(io, shared) else {
        return;
    };
    let [_, mut there] = alone_on_two_cores(&server, [0, 6]);
    let [mut here, _] = server.members_on_two_cores(1);
    let publisher = &mut here[0];
    publisher.subscribe(&["t"]);
    let times = compressed(&server, || {
        publisher.run(|ws| ws.publish("t", Message::Text(&record(1, 4_000))));
        carried(&mut there, 1);
    });
    assert_eq!(times, 1, "by the core that needs it");
    assert!(!publisher.frame().is_compressed());
}

/// Publishes a record, and a word that says so.
fn tell(ws: &mut Conn<'_, Seen>, n: u64) {
    ws.publish("t", Message::Text(&message(n)));
}

fn subscribing_and_leaving_within_a_batch(io: Io) {
    let server = Errands::serve(io, dedicated);
    for kind in Offers::ALL {
        // So many that there is a batch, in all forms but one's own, or in none but it.
        for crowd in [&Offers::ALL[..], &[kind], &[Offers::Nothing]] {
            let mut others = Vec::new();
            for n in 0..6 {
                let kind = crowd[n % crowd.len()];
                let mut member = server.member_that(kind, false);
                member.subscribe(&["t"]);
                others.push((kind, member));
            }
            let mut member = server.member_that(kind, false);
            member.run(|ws| {
                tell(ws, 2);
                ws.send_text(&message(100));
                assert!(ws.subscribe("t"));
                tell(ws, 3);
                ws.send_text(&message(101));
                tell(ws, 6);
                assert!(ws.unsubscribe("t"));
                tell(ws, 7);
                ws.send_text(&message(102));
                assert!(ws.subscribe("*"));
                tell(ws, 10);
                assert!(ws.subscribe("t"));
                tell(ws, 11);
                assert!(ws.unsubscribe("*"));
                tell(ws, 14);
                ws.send_text(&message(103));
            });
            let read = records(kind, &member.read_all());
            assert_eq!(read, [100, 3, 101, 6, 102, 10, 11, 14, 103], "{kind:?}");
            for (kind, other) in &mut others {
                let read = records(*kind, &other.read_all());
                assert_eq!(read, [2, 3, 6, 7, 10, 11, 14], "{kind:?} in {crowd:?}");
            }
            for (_, other) in others {
                other.into_client().close(1000);
            }
            member.into_client().close(1000);
            eventually("all are gone", || server.stats().connections == 0);
        }
    }
}

fn a_publisher_that_is_left_out_gets_all_else(io: Io) {
    let server = Errands::serve(io, dedicated);
    let mut members = members(&server, 3);
    for (_, member) in &mut members {
        member.subscribe(&["t"]);
    }
    for at in 0..members.len() {
        members[at].1.run(|ws| {
            for n in 0..8 {
                match n % 2 {
                    0 => ws.publish("t", Message::Text(&message(n))),
                    _ => ws.publish_others("t", Message::Text(&message(n))),
                };
                ws.send_text(&message(n + 50));
            }
        });
        for (n, (kind, member)) in members.iter_mut().enumerate() {
            let read = records(*kind, &member.read_all());
            match n == at {
                true => assert_eq!(read, [0, 50, 51, 2, 52, 53, 4, 54, 55, 6, 56, 57]),
                false => assert_eq!(read, (0..8).collect::<Vec<_>>(), "{kind:?}"),
            }
        }
    }
}

fn what_waits_for_further_messages_comes_in_each_form(io: Io) {
    const DELAY: Duration = Duration::from_millis(300);
    let server = Errands::serve(io, |server| dedicated(server).flush_delay(DELAY));
    let mut members = members(&server, 3);
    for (_, member) in &mut members {
        member.subscribe(&["t"]);
    }
    let mut publisher = server.member();
    // In several turns, which may take longer than the delay.
    for n in 0..12 {
        publisher.run(move |ws| tell(ws, n));
    }
    // What is sent alone comes behind what was published before, though that waits.
    for (_, member) in &mut members {
        member.run(|ws| ws.send_text(&message(50)));
    }
    publisher.run(|ws| tell(ws, 12));
    for (kind, member) in &mut members {
        let mut read = Vec::new();
        while read.len() < 14 {
            read.extend(records(*kind, &[member.frame()]));
        }
        let own = read.iter().position(|&n| n == 50).expect("its own");
        assert_eq!(own, 12, "{read:?}");
        read.remove(own);
        assert_eq!(read, (0..13).collect::<Vec<_>>(), "{kind:?}");
    }
}

fn what_is_retained_comes_in_each_form(io: Io) {
    let servers = [
        Some(Errands::serve(io, dedicated)),
        Errands::serve_on_two_cores(io, dedicated),
    ];
    for server in servers.into_iter().flatten() {
        let mut publisher = server.member_that(Offers::Context, false);
        let keep = |ws: &mut Conn<'_, Seen>, topic: &str, n: u64| {
            let publish = Publish::new().retain();
            let published = ws.publish_with(topic, Message::Text(&record(n, 3_000)), publish);
            assert!(published.retained && published.refused == 0);
        };
        publisher.run(move |ws| {
            keep(ws, "t/1", 1);
            keep(ws, "t/2", 2);
            keep(ws, "t/1", 3);
        });
        let thread = server.publisher();
        // Another core has it when it has what was published behind it.
        let mut members = members(&server, 6);
        eventually("all cores have it", || {
            members.iter_mut().all(|(kind, member)| {
                member.run(|ws| {
                    ws.unsubscribe("t/*");
                    ws.subscribe_with("t/*", Subscribe::new().retained())
                });
                let mut read = records(*kind, &member.read_all());
                read.sort_unstable();
                read == [2, 3]
            })
        });
        // Again, behind what was sent and before what is published.
        for (kind, member) in &mut members {
            member.run(|ws| {
                ws.unsubscribe("t/*");
                ws.send_text(&record(8, 3_000));
                assert!(ws.subscribe_with("t/1", Subscribe::new().retained()));
                ws.send_text(&record(9, 3_000));
            });
            assert_eq!(records(*kind, &member.read_all()), [8, 3, 9], "{kind:?}");
        }
        assert_eq!(
            thread
                .publish("t/1", Message::Text(&record(4, 3_000)))
                .refused,
            0
        );
        expect_up_to(&mut members, 4, 5);
    }
}

fn a_drain_lets_everything_out_in_each_form(io: Io) {
    let server = Errands::serve(io, dedicated);
    let mut members = members(&server, 3);
    for (_, member) in &mut members {
        member.subscribe(&["t"]);
    }
    let mut publisher = server.member();
    publish(&mut publisher, "t", 0..40);
    server.drain(Duration::from_secs(30));
    for (kind, member) in members {
        let mut client = member.into_client();
        let read = records(kind, &client.until_close(1001));
        assert_eq!(read, (0..40).collect::<Vec<_>>(), "{kind:?}");
        client.answer_close(1001);
        client.expect_end();
    }
}

fn a_subscriber_that_ends_in_the_middle_disturbs_nobody(io: Io) {
    let server = Errands::serve(io, dedicated);
    let mut members = members(&server, 3);
    for (_, member) in &mut members {
        member.subscribe(&["t", "#"]);
    }
    let mut publisher = server.member();
    let mut published = 0;
    for round in 0..12 {
        let kind = Offers::ALL[round % 4];
        let header = kind.header();
        let stream = tcp(server.address());
        let mut leaving = Client::upgrade(stream, &request_with("/", header));
        let mut guest = server.member_that(kind, false);
        guest.subscribe(&["t"]);
        publish(&mut publisher, "t", published..published + 5);
        // Its slot is used again, by whoever comes next.
        match round % 3 {
            0 => guest.into_client().reset(),
            1 => drop(guest),
            _ => guest.send(CLOSE, &1000_u16.to_be_bytes()),
        }
        leaving.send(CLOSE, &1000_u16.to_be_bytes());
        publish(&mut publisher, "t", published + 5..published + 10);
        leaving.until_close(1000);
        expect_up_to(&mut members, published, published + 10);
        published += 10;
    }
}
