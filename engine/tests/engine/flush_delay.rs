//! Published messages that wait for further ones, to leave with them.

use std::time::{Duration, Instant};

use corecast::{Io, Message, Server, TopicOptions};

use crate::common::client::BINARY;
use crate::common::errands::{Errands, Member};
use crate::common::over_every_transport;
use crate::common::payload::numbered;

over_every_transport![
    a_message_waits_and_further_ones_leave_with_it,
    a_topics_own_delay_counts_before_the_servers,
    what_waits_keeps_its_place_among_what_is_sent,
    who_comes_or_goes_meanwhile_gets_what_is_its_own,
    a_wait_ends_before_it_costs_anybody_a_message,
    what_waits_is_still_sent_when_the_connection_closes,
    a_delay_holds_on_other_cores,
];

/// Nothing here takes so long unless it waits for it.
const DELAY: Duration = Duration::from_millis(500);
/// More than those that are given messages one by one.
const CROWD: usize = 6;

fn crowd(server: &Errands, topics: &[&str]) -> Vec<Member> {
    let members = (0..CROWD).map(|_| {
        let mut member = server.member();
        member.subscribe(topics);
        member
    });
    members.collect()
}

fn a_message_waits_and_further_ones_leave_with_it(io: Io) {
    for size in [1, CROWD] {
        let server = Errands::serve(io, |server| server.flush_delay(DELAY));
        let mut members = crowd(&server, &["t"]);
        members.truncate(size);
        let mut publisher = server.member();
        publisher.subscribe(&["t"]);
        let began = Instant::now();
        let buffered = publisher.run(|ws| {
            ws.publish("t", Message::Text("first"));
            ws.buffered()
        });
        assert_eq!(buffered, 7, "with its header");
        let buffered = publisher.run(|ws| {
            ws.publish("t", Message::Text("second"));
            ws.buffered()
        });
        // It may be late, if this machine is, and then it has left alone; not more than both wait in any case.
        assert!([8, 15].contains(&buffered), "{buffered}");
        for member in &mut members {
            member.expect_text("first");
            // Half of it leaves room for a core that reads its clock a little before its messages.
            assert!(began.elapsed() > DELAY / 2, "{:?}", began.elapsed());
            member.expect_text("second");
        }
        publisher.expect_text("first");
        publisher.expect_text("second");
        assert_eq!(publisher.run(|ws| ws.buffered()), 0);
    }
}

fn a_topics_own_delay_counts_before_the_servers(io: Io) {
    let server = Errands::serve(io, |server: Server| {
        let none = TopicOptions::new().flush_delay(Duration::ZERO);
        server.flush_delay(DELAY).topic("news/*", none)
    });
    let mut members = crowd(&server, &["news/now", "weather"]);
    let mut publisher = server.member();
    publisher.run(|ws| {
        ws.publish("weather", Message::Text("waits"));
        ws.publish("news/now", Message::Text("does not wait"));
    });
    for member in &mut members {
        member.expect_text("does not wait");
        member.expect_text("waits");
    }
    let server = Errands::serve(io, |server: Server| {
        server.topic("weather", TopicOptions::new().flush_delay(DELAY))
    });
    let mut members = crowd(&server, &["news/now", "weather"]);
    server.member().run(|ws| {
        ws.publish("weather", Message::Text("waits"));
        ws.publish("news/now", Message::Text("does not wait"));
    });
    for member in &mut members {
        member.expect_text("does not wait");
        member.expect_text("waits");
    }
}

fn what_waits_keeps_its_place_among_what_is_sent(io: Io) {
    let server = Errands::serve(io, |server| server.flush_delay(DELAY));
    let mut members = crowd(&server, &["t"]);
    let mut impatient = server.member();
    impatient.subscribe(&["t"]);
    for round in 0..3 {
        impatient.run(move |ws| {
            assert_eq!(ws.buffered(), 0, "{round}");
            ws.publish("t", Message::Text("one"));
            ws.send_text("two");
            ws.publish("t", Message::Text("three"));
            ws.publish_others("t", Message::Text("for others"));
            ws.ping(b"four");
            ws.publish("t", Message::Text("five"));
            assert_eq!(ws.buffered(), 5 + 5 + 7 + 6 + 6);
        });
        let mut expected = ["one", "two", "three", "four", "five"].into_iter();
        // What is sent to it brings along what waits: all but the last, which a further message brings.
        assert!(impatient.run(|ws| ws.send_text("six")) == corecast::SendStatus::Sent);
        for _ in 0..5 {
            let frame = impatient.frame();
            assert_eq!(Some(&frame.payload[..]), expected.next().map(str::as_bytes));
        }
        impatient.expect_text("six");
        for member in &mut members {
            for text in ["one", "three", "for others", "five"] {
                member.expect_text(text);
            }
        }
    }
    assert!(impatient.read_all().is_empty());
}

fn who_comes_or_goes_meanwhile_gets_what_is_its_own(io: Io) {
    let server = Errands::serve(io, |server| server.flush_delay(DELAY));
    let mut members = crowd(&server, &["t"]);
    let [mut leaving, mut coming, mut back] = [(); 3].map(|()| server.member());
    leaving.subscribe(&["t"]);
    back.subscribe(&["t"]);
    members[0].run(|ws| ws.publish("t", Message::Text("one")));
    leaving.run(|ws| ws.unsubscribe("t"));
    coming.subscribe(&["t"]);
    back.run(|ws| ws.unsubscribe("t"));
    members[0].run(|ws| ws.publish("t", Message::Text("two")));
    back.subscribe(&["t"]);
    members[0].run(|ws| ws.publish("t", Message::Text("three")));
    for member in &mut members {
        for text in ["one", "two", "three"] {
            member.expect_text(text);
        }
    }
    for (member, texts) in [
        (&mut leaving, &["one"][..]),
        (&mut coming, &["two", "three"]),
        (&mut back, &["one", "three"]),
    ] {
        for text in texts {
            member.expect_text(text);
        }
        assert!(member.read_all().is_empty());
    }
}

fn a_wait_ends_before_it_costs_anybody_a_message(io: Io) {
    const BACKLOG: usize = 512 << 10;
    const SIZE: usize = 19_500;
    // Two more than may wait for anybody. The kernel has room for as much at least.
    const MESSAGES: u64 = (BACKLOG / SIZE) as u64 + 3;
    let server = Errands::serve(io, |server| server.flush_delay(DELAY).backlog(BACKLOG));
    let mut members = crowd(&server, &["t"]);
    let mut publisher = server.member();
    for round in 0..3 {
        let numbers = round * MESSAGES..(round + 1) * MESSAGES;
        for n in numbers.clone() {
            let message = numbered(n, SIZE);
            let published = publisher.run(move |ws| ws.publish("t", Message::Binary(&message)));
            assert_eq!(
                published.sent + published.queued,
                CROWD,
                "message {n}: {published:?}"
            );
        }
        for member in &mut members {
            for n in numbers.clone() {
                member.expect(BINARY, &numbered(n, SIZE));
            }
        }
    }
    assert_eq!(server.stats().dropped, 0);
}

fn what_waits_is_still_sent_when_the_connection_closes(io: Io) {
    let server = Errands::serve(io, |server| server.flush_delay(DELAY));
    let mut members = crowd(&server, &["t"]);
    members[0].run(|ws| {
        ws.publish("t", Message::Text("last words"));
        ws.close(corecast::CloseCode::NORMAL, "bye");
        ws.publish("t", Message::Text("not for it"));
    });
    members[0].expect_text("last words");
    members[0].expect_close(1000);
    for member in &mut members[1..] {
        member.expect_text("last words");
        member.expect_text("not for it");
    }
}

fn a_delay_holds_on_other_cores(io: Io) {
    let Some(server) = Errands::serve_on_two_cores(io, |server| server.flush_delay(DELAY)) else {
        return;
    };
    let [mut here, mut there] = server.members_on_two_cores(CROWD);
    for member in here.iter_mut().chain(&mut there) {
        member.subscribe(&["t"]);
    }
    let began = Instant::now();
    for n in 0..30 {
        let text = n.to_string();
        let published = here[0].run(move |ws| ws.publish("t", Message::Text(&text)));
        assert_eq!((published.forwarded, published.refused), (1, 0));
    }
    there[0].expect_text("0");
    assert!(began.elapsed() > DELAY / 2, "{:?}", began.elapsed());
    for n in 1..30 {
        there[0].expect_text(&n.to_string());
    }
    for member in here.iter_mut().chain(&mut there[1..]) {
        for n in 0..30 {
            member.expect_text(&n.to_string());
        }
    }
    let began = Instant::now();
    let published = server
        .publisher()
        .publish("t", Message::Text("from a thread"));
    assert_eq!((published.forwarded, published.refused), (2, 0));
    for member in here.iter_mut().chain(&mut there) {
        member.expect_text("from a thread");
        assert!(began.elapsed() > DELAY / 2, "{:?}", began.elapsed());
    }
    for member in here.iter_mut().chain(&mut there) {
        assert!(member.read_all().is_empty());
    }
}
